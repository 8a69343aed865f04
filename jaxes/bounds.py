"""Keeping samples inside a box.

A handler is a small value that every strategy takes as `bounds=`. All arrays of a call have one rank and broadcast. The
noise comes in as uniform numbers, so that a handler may choose which distribution to make of them.
"""

from __future__ import annotations

import abc
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxes.pytree import pytree

SQRT2 = 2**0.5
ATTEMPTS = 16
"""Draws of a correlated candidate before `Resample` clips it."""


def normal(u: jax.Array) -> jax.Array:
    """Standard normal numbers from uniform numbers in [0, 1), by inversion; within 5.6 in float32."""
    return _quantile(2 * u - 1)


def _quantile(v: jax.Array) -> jax.Array:
    """The standard normal quantile of (v + 1) / 2, finite also at v = -1 and v = 1."""
    limit = 1 - jnp.finfo(v.dtype).epsneg
    return SQRT2 * lax.erf_inv(jnp.clip(v, -limit, limit))


class Bounds(abc.ABC):
    """A way to keep samples inside a box."""

    def gaussian(self, u: jax.Array, mean: jax.Array, sigma: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
        """A sample of the box around each `mean` (inside the box), from uniform `u` in [0, 1)."""
        return self.repair(self.origin(mean, lower, upper) + sigma * normal(u), lower, upper)

    def mean(self, points: jax.Array, weights: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
        """Weighted means (groups, d) of points (n, d) of the box, by weights (groups, n) that sum to one; bounds (1, d)."""
        return jnp.clip(jnp.matmul(weights, points, precision="highest"), lower, upper)

    def mutation_rate(
        self, rate: jax.Array, mean: jax.Array, sigma: jax.Array, lower: jax.Array, upper: jax.Array
    ) -> jax.Array:
        """The probability with which a coordinate of a finished sample was mutated, if each attempt mutates at `rate`."""
        return rate

    @abc.abstractmethod
    def repair(self, x: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
        """The points of the box that any points (n, d) stand for; bounds (1, d)."""

    def population(
        self, drawn: jax.Array, draw: Callable[[jax.Array], jax.Array], lower: jax.Array, upper: jax.Array
    ) -> tuple[jax.Array, jax.Array | None]:
        """Points (n, d) of the box from those drawn anywhere, whose coordinates may be correlated, and what of the latter
        `learnt` has to know. `draw(attempt)` draws others, for attempts from 1."""
        return self.repair(drawn, lower, upper), None

    def origin(self, x: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
        """Points that `repair` maps to points of the box."""
        return x

    def learnt(self, x: jax.Array, drawn: jax.Array | None, lower: jax.Array, upper: jax.Array) -> jax.Array:
        """What a strategy learns from points (n, d) of the box; `drawn` is what `population` gave for them, None if unknown."""
        return x


@pytree
class Resample(Bounds):
    """Discard a candidate that left the box and draw again, until one fits.

    No loop is needed. For a Gaussian with independent coordinates the candidates that survive have independent
    coordinates too, each a normal truncated to its side of the box, and those are drawn by inversion: one draw at the
    corner of 1,000 dimensions, where the loop would need 2**1000. What is redrawn is the mutation, not the parents
    that were recombined nor the individual's step size.
    """

    def gaussian(self, u, mean, sigma, lower, upper):
        below, above = _inside(mean, sigma, lower, upper)
        return jnp.clip(mean + sigma * _quantile(below + u * (above - below)), lower, upper)

    def mutation_rate(self, rate, mean, sigma, lower, upper):
        # An attempt leaves the coordinate alone (and inside) or mutates it and survives with probability `inside`.
        below, above = _inside(mean, sigma, lower, upper)
        inside = (above - below) / 2
        return rate * inside / (1 - rate * (1 - inside))

    def repair(self, x, lower, upper):
        return jnp.clip(x, lower, upper)

    def population(self, drawn, draw, lower, upper):
        # Correlated coordinates are drawn again as a whole, up to `ATTEMPTS` times; then what is still outside is clipped.
        def outside(x):
            return jnp.any((x < lower) | (x > upper), axis=1, keepdims=True)

        def again(carry):
            attempt, x = carry
            return attempt + 1, jnp.where(outside(x), draw(attempt), x)

        def go_on(carry):
            attempt, x = carry
            return (attempt < ATTEMPTS) & outside(x).any()

        _, x = lax.while_loop(go_on, again, (jnp.int32(1), drawn))
        return self.repair(x, lower, upper), None


def _inside(mean, sigma, lower, upper):
    """erf of both sides' distances: a sample is inside with probability (above - below) / 2."""
    scale = 1 / (SQRT2 * sigma)
    return lax.erf((lower - mean) * scale), lax.erf((upper - mean) * scale)


@pytree
class Clip(Bounds):
    """Move what left the box to its nearest point. Puts probability on the faces: good for optima on the boundary."""

    def repair(self, x, lower, upper):
        return jnp.clip(x, lower, upper)


@pytree
class Reflect(Bounds):
    """Mirror what left the box at the side it crossed, as often as it takes."""

    def repair(self, x, lower, upper):
        return jnp.clip(_reflected(x, lower, upper), lower, upper)


@pytree
class Wrap(Bounds):
    """Treat the box as periodic: what leaves on one side comes in on the other (angles, phases).

    A coordinate with an infinite side has no period; it is clipped.
    """

    def repair(self, x, lower, upper):
        return _wrapped(x, lower, upper)

    def mean(self, points, weights, lower, upper):
        # Around the first point, the shortest way: 359 and 1 degrees meet at 0, not at 180.
        width = upper - lower
        away = points - points[:1]
        short = jnp.where(_has_room(width), jnp.mod(away + width / 2, width) - width / 2, away)
        return _wrapped(points[:1] + jnp.matmul(weights, short, precision="highest"), lower, upper)


MARGIN, STRIP = 0.02, 0.2
"""Shares of the box's width, at each side: over which `Smooth` bends, and beyond, what still stands for the bound itself."""


@pytree
class Smooth(Bounds):
    """Bend the space near the bounds, so that nothing is ever outside and the objective has no kink there.

    The box is the image of a larger one, by a map that is the identity but for a margin of 2 % of the width at each side, where
    it is a parabola whose vertex lies on the bound. Beyond the vertex follows a strip of 20 % of the width all of which stands
    for the bound, so that an optimum in a corner is hit exactly; beyond the strip, the larger box is reflected. A strategy
    learns in the larger box. Default of strategies with correlated coordinates.

    Source: the transformation of N. Hansen's pycma (BoundTransform), which has no strip; with it, CMA-ES reaches a corner in a
    fifth of the evaluations, and loses nothing on an ellipsoid half of whose coordinates are bounded (benchmarks/bounds.py).
    """

    def repair(self, x, lower, upper):
        scale = _width(lower, upper)
        margin, strip = MARGIN * scale, STRIP * scale
        x = _reflected(x, lower - margin - strip, upper + margin + strip)
        up, down = jnp.maximum(x - (lower - margin), 0), jnp.maximum(upper + margin - x, 0)
        bent_up = lower + up * (up / (4 * margin))  # the square of a huge box would overflow
        bent_down = upper - down * (down / (4 * margin))
        x = jnp.where(x < lower + margin, bent_up, jnp.where(x > upper - margin, bent_down, x))
        return jnp.clip(x, lower, upper)

    def population(self, drawn, draw, lower, upper):
        return self.repair(drawn, lower, upper), drawn

    def learnt(self, x, drawn, lower, upper):
        # What was drawn, however far outside: folding it back would show the strategy less variance than it sampled with.
        if drawn is None:
            return self.origin(x, lower, upper)
        return jnp.where(x == self.repair(drawn, lower, upper), drawn, self.origin(x, lower, upper))

    def origin(self, x, lower, upper):
        margin = MARGIN * _width(lower, upper)
        bent_up = lower - margin + 2 * jnp.sqrt(margin) * jnp.sqrt(jnp.maximum(x - lower, 0))
        bent_down = upper + margin - 2 * jnp.sqrt(margin) * jnp.sqrt(jnp.maximum(upper - x, 0))
        return jnp.where(x < lower + margin, bent_up, jnp.where(x > upper - margin, bent_down, x))


def _width(lower, upper):
    """Of a box; where a side is infinite, a length of the order of the other."""
    width = upper - lower
    side = jnp.where(jnp.isfinite(lower), jnp.abs(lower), jnp.where(jnp.isfinite(upper), jnp.abs(upper), 0))
    return jnp.where(_has_room(width), width, 1 + side)


def _reflected(x, lower, upper):
    """x mirrored at the sides as often as it takes; what is inside keeps its last digit, which the mirror would round."""
    x, period = _finite(x), 2 * (upper - lower)
    phase = (x - lower) - period * jnp.floor((x - lower) / period)  # `mod` takes several times as long
    between = lower + jnp.minimum(phase, period - phase)
    one_sided = jnp.where(
        jnp.isfinite(lower),
        lower + jnp.abs(x - lower),
        jnp.where(jnp.isfinite(upper), upper - jnp.abs(upper - x), x),
    )
    return jnp.where((lower <= x) & (x <= upper), x, jnp.where(_has_room(period), between, one_sided))


def _wrapped(x, lower, upper):
    x, width = _finite(x), upper - lower
    inside = (lower <= x) & (x <= upper)  # and without the rounding of the box's width
    return jnp.clip(jnp.where(_has_room(width) & ~inside, lower + jnp.mod(x - lower, width), x), lower, upper)


def _has_room(width):
    """Whether a remainder by the width is a number; hardware may flush a subnormal width to zero."""
    return jnp.isfinite(width) & (width > 0)


def _finite(x):
    limit = float(jnp.finfo(x.dtype).max)
    return jnp.clip(x, -limit, limit)
