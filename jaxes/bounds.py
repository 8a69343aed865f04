"""Keeping samples inside a box.

A handler is a small value that every strategy takes as `bounds=`. All arrays of a call have one rank and broadcast. The
noise comes in as uniform numbers, so that a handler may choose which distribution to make of them.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxes.branch import any_lane, apart
from jaxes.checks import check_integer
from jaxes.operators.matrix import mul
from jaxes.pytree import pytree, static, where

SQRT2 = 2**0.5


def normal(u: jax.Array) -> jax.Array:
    """Standard normal numbers from uniform numbers in [0, 1), by inversion; within 5.6 in float32."""
    return _quantile(2 * u - 1)


def _quantile(v: jax.Array) -> jax.Array:
    """The standard normal quantile of (v + 1) / 2, finite also at v = -1 and v = 1.

    In single precision by the approximation of M. Giles (Approximating the erfinv function, GPU Computing Gems 2, 2010), on
    which XLA's is based. With the logarithm of a product, as there, it takes less time than with log1p, and is 20 times as
    accurate: to 3e-7 of the value.
    """
    limit = 1 - jnp.finfo(v.dtype).epsneg
    v = jnp.clip(v, -limit, limit)
    if v.dtype != jnp.float32:
        return SQRT2 * lax.erf_inv(v)
    w = -jnp.log((1 - v) * (1 + v))
    # Both are computed for all, which takes less than to choose among coefficients.
    factor = jnp.where(w < 5, _polynomial(w - 2.5, _CENTRAL), _polynomial(jnp.sqrt(w) - 3, _TAIL))
    return SQRT2 * v * factor


# fmt: off
_CENTRAL = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503, -0.00417768164, 0.246640727,
    1.50140941,
)
_TAIL = (
    -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047, 1.00167406,
    2.83297682,
)
# fmt: on


def _polynomial(x: jax.Array, coefficients: tuple[float, ...]) -> jax.Array:
    """By Horner's rule, from the highest power on."""
    total = jnp.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        total = coefficient + total * x
    return total


class Source(NamedTuple):
    """A Gaussian that points are drawn from."""

    mean: jax.Array  # (1, d)
    deviations: jax.Array  # (1, d)
    early: jax.Array  # () bool, whether one may be moved to sides that are near


def _beyond(mean: jax.Array, lower: jax.Array, upper: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Whether a mean is below the lower side, and whether above the upper, for each coordinate."""
    return mean < lower, mean > upper


class Bounds(abc.ABC):
    """A way to keep samples inside a box."""

    def gaussian(self, u: jax.Array, mean: jax.Array, sigma: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
        """A sample of the box around each `mean` (inside the box), from uniform `u` in [0, 1)."""
        return self.repair(self.origin(mean, lower, upper) + sigma * normal(u), lower, upper)

    def mean(self, points: jax.Array, weights: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
        """Weighted means (groups, d) of points (n, d) of the box, by weights (groups, n) that sum to one; bounds (1, d)."""
        return jnp.clip(mul(weights, points), lower, upper)

    def mutation_rate(
        self, rate: jax.Array, mean: jax.Array, sigma: jax.Array, lower: jax.Array, upper: jax.Array
    ) -> jax.Array:
        """The probability with which a coordinate of a finished sample was mutated, if each attempt mutates at `rate`."""
        return rate

    @abc.abstractmethod
    def repair(self, x: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
        """The points of the box that any points (n, d) stand for; bounds (1, d)."""

    def population(
        self,
        draw: Callable[[Any], tuple[jax.Array, Any]],
        lower: jax.Array,
        upper: jax.Array,
        source: Source | None = None,
    ) -> tuple[jax.Array, jax.Array | None, Any]:
        """Points (n, d) of the box from those drawn anywhere, whose coordinates may be correlated, and what of the latter
        `learnt` has to know. `draw(attempt)` draws, for attempts from 0, points and a pytree of (n, k) that belongs to them;
        what belongs to those that were taken comes last. `source` is what they are drawn from, if it is a Gaussian."""
        drawn, more = draw(0)
        return self.repair(drawn, lower, upper), None, more

    def origin(self, x: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
        """Points that `repair` maps to points of the box."""
        return x

    def confined(self, mean: jax.Array, deviations: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
        """Where the mean (1, d) of a distribution with these deviations (1, d) may lie, next to it."""
        return mean

    def held(self, mean: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
        """(d,) bool, in which coordinates a side keeps the mean (d,) of a distribution where it is."""
        return jnp.zeros_like(mean, bool)

    def away(self, points: jax.Array, origin: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
        """The way to points of the box from others."""
        return points - origin

    def home(self, mean: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
        """The mean (1, d) nearest to the box of all those around which the same points of it are drawn."""
        return mean

    def learnt(self, x: jax.Array, drawn: jax.Array | None, mean: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
        """What a strategy whose mean (1, d) is at home learns from points (n, d) of the box; `drawn` is what `population` gave
        for them, None if unknown."""
        return x


OUTSIDE, REACH = 2.0, 0.02
"""How far out of the box the mean of a Gaussian may lie: in standard deviations, and in widths of the box."""
PRESSED = 20
"""How many candidates of a generation, the first ones, are pressed onto the sides that the mean is beyond."""
PROBE = 2
"""The candidate that lies on sides that are near, too. The two before it are compared by some controls of step sizes."""


class Nearest(Bounds):
    """Moves what is left outside to its nearest point; strategies with correlated coordinates learn from what they drew.

    Their mean stays near the box: at most 2 standard deviations or 2 % of the width outside, whichever is less. On a plateau of
    clipped points, the mean would wander off and not find back; and where it is moved back, the steps that are learnt are moved
    with it, or else the path of the mean would seem to go on. Without the 2 %, optima inside are found later, and fewer of them
    on multimodal functions: CMA-ES with restarts, in ten dimensions, reaches .69 instead of .72 of the BBOB suite's targets.

    From a mean that near, a sample lies beyond a side with a probability of little more than a half, and in a corner of many
    sides hardly ever. So the first 20 candidates are pressed onto the sides that the mean is beyond: three of five onto all of
    them, so that their ranks tell of the other coordinates alone, and two of five onto all but the one that they were drawn
    farthest inside of, so that a side on which the optimum is not is soon left again: with more sides at a time, the right ones
    would hide the wrong one. Larger populations look for the best of many optima, for which candidates on the sides are of no
    use. In the first generations, one of them also lies on the sides within a standard deviation of the mean: an optimum in a
    corner is there to be found at once. What all this is worth is measured in benchmarks/bounds.py.
    """

    def repair(self, x, lower, upper):
        return jnp.clip(x, lower, upper)

    def population(self, draw, lower, upper, source=None):
        below, above = beyond = (False, False) if source is None else _beyond(source.mean, lower, upper)

        def outside(x):
            """(n, 1) which points (n, d) left the box where they were not to."""
            first = _rows(x) < PRESSED
            return jnp.any(((x < lower) & ~(first & below)) | ((x > upper) & ~(first & above)), axis=1, keepdims=True)

        drawn, more = self._drawn(draw, outside)
        if source is None:
            return self.repair(drawn, lower, upper), drawn, more

        near = _near(source, lower, upper)

        def pressed():
            moved = drawn.at[:PRESSED].set(_pressed(drawn[:PRESSED], beyond, near, lower, upper))
            return self.repair(moved, lower, upper), moved

        due = jnp.stack([*beyond, *near]).any()
        x, drawn = apart(pressed, due, lambda: (self.repair(drawn, lower, upper), drawn))
        return x, drawn, more

    def _drawn(self, draw: Callable, outside: Callable) -> tuple[jax.Array, Any]:
        """What was drawn, in the end, and what belongs to it."""
        return draw(0)

    def learnt(self, x, drawn, mean, lower, upper):
        return x if drawn is None else jnp.where(x == self.repair(drawn, lower, upper), drawn, x)

    def confined(self, mean, deviations, lower, upper):
        reach = jnp.minimum(OUTSIDE * deviations, REACH * _width(lower, upper))
        return jnp.clip(mean, lower - reach, upper + reach)

    def held(self, mean, lower, upper):
        below, above = _beyond(mean, lower, upper)
        return below | above


def _near(source: Source, lower: jax.Array, upper: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Whether, early in a run, a candidate is to lie on the lower side, and whether on the upper, for each coordinate."""
    from_lower, from_upper = source.mean - lower, upper - source.mean
    near_lower = source.early & (from_lower < jnp.minimum(source.deviations, from_upper))
    return near_lower, source.early & (from_upper < jnp.minimum(source.deviations, from_lower))


def _pressed(x: jax.Array, beyond: Any, near: Any, lower: jax.Array, upper: jax.Array) -> jax.Array:
    """The first points (n, d) of a generation, moved to the sides of the box on which they are to lie, unless drawn beyond."""
    row, (below, above), (near_lower, near_upper) = _rows(x), beyond, near

    # (n, d) by how many widths of the box points are on the inner side of a side that the mean is beyond.
    inner = jnp.where(below, x - lower, jnp.where(above, upper - x, -jnp.inf)) / _width(lower, upper)
    pressed = (row % 5 >= 2) | (inner != inner.max(axis=1, keepdims=True))
    probe = row == PROBE
    x = jnp.where((pressed & below) | (probe & near_lower), jnp.minimum(x, lower), x)
    return jnp.where((pressed & above) | (probe & near_upper), jnp.maximum(x, upper), x)


def _rows(x: jax.Array) -> jax.Array:
    """(n, 1) int32 the numbers of the rows of x (n, d)."""
    return jnp.arange(x.shape[0], dtype=jnp.int32)[:, None]


@pytree
class Resample(Nearest):
    """Discard a candidate that left the box and draw again.

    For Gaussians with independent coordinates, until one fits, and no loop is needed: the candidates that survive have
    independent coordinates too, each a normal truncated to its side of the box, and those are drawn by inversion: one draw at
    the corner of 1,000 dimensions, where the loop would need 2**1000. What is redrawn is the mutation, not the parents that
    were recombined nor the individual's step size.

    Args:
        attempts: how often a candidate with correlated coordinates is drawn again, as a whole, before it is moved to the
            nearest point of the box. Default 1: on most of the BBOB functions CMA-ES needs fewer evaluations than without.
            An optimum in a corner takes up to 1.2 times as many, and with 16 up to 20 times (benchmarks/bounds.py).
    """

    attempts: int = static(default=1)

    def __post_init__(self):
        check_integer("Resample", "attempts", self.attempts, at_least=0)

    def gaussian(self, u, mean, sigma, lower, upper):
        below, above = _inside(mean, sigma, lower, upper)
        return jnp.clip(mean + sigma * _quantile(below + u * (above - below)), lower, upper)

    def mutation_rate(self, rate, mean, sigma, lower, upper):
        # An attempt leaves the coordinate alone (and inside) or mutates it and survives with probability `inside`.
        below, above = _inside(mean, sigma, lower, upper)
        inside = (above - below) / 2
        return rate * inside / (1 - rate * (1 - inside))

    def _drawn(self, draw, outside):
        def again(carry):
            attempt, taken, left = carry
            taken = where(left, draw(attempt), taken)
            return attempt + 1, taken, outside(taken[0])

        def go_on(carry):
            attempt, _, left = carry
            return (attempt <= self.attempts) & any_lane(left.any())

        draw = jax.jit(draw, inline=True)  # traced once
        first = draw(jnp.int32(0))
        return lax.while_loop(go_on, again, (jnp.int32(1), first, outside(first[0])))[1]


def _inside(mean, sigma, lower, upper):
    """erf of both sides' distances: a sample is inside with probability (above - below) / 2."""
    scale = 1 / (SQRT2 * sigma)
    return lax.erf((lower - mean) * scale), lax.erf((upper - mean) * scale)


@pytree
class Clip(Nearest):
    """Move what left the box to its nearest point. Puts probability on the faces: good for optima on the boundary."""


class Folded(Bounds):
    """Maps all of space onto the box. Strategies with correlated coordinates learn what they drew, however far outside: seen
    where it was folded to, a step would seem shorter than it was, or to lead to the far side of the box."""

    def population(self, draw, lower, upper, source=None):
        drawn, more = draw(0)
        return self.repair(drawn, lower, upper), drawn, more

    @abc.abstractmethod
    def _image(self, x: jax.Array, mean: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
        """Of all that `repair` maps to points (n, d) of the box, the nearest to a mean that is at home."""

    def learnt(self, x, drawn, mean, lower, upper):
        image = self._image(x, mean, lower, upper)
        return image if drawn is None else jnp.where(x == self.repair(drawn, lower, upper), drawn, image)


@pytree
class Reflect(Folded):
    """Mirror what left the box at the side it crossed, as often as it takes."""

    def repair(self, x, lower, upper):
        return jnp.clip(_reflected(x, lower, upper), lower, upper)

    def _mirrors(self, lower: jax.Array, upper: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Where the mirrors are."""
        return lower, upper

    def home(self, mean, lower, upper):
        lower, upper = self._mirrors(lower, upper)
        period = 2 * (upper - lower)
        first = lower - period / 4  # the box, and half of each of its neighbours
        near = (first <= mean) & (mean <= upper + period / 4)
        return jnp.where(near | ~_has_room(period), mean, first + _remainder(mean - first, period))

    def _image(self, x, mean, lower, upper):
        x, (lower, upper) = self.origin(x, lower, upper), self._mirrors(lower, upper)
        return jnp.where(mean < lower, lower - (x - lower), jnp.where(mean > upper, upper + (upper - x), x))


@pytree
class Wrap(Folded):
    """Treat the box as periodic: what leaves on one side comes in on the other (angles, phases).

    A coordinate with an infinite side has no period; it is clipped.
    """

    def repair(self, x, lower, upper):
        return _wrapped(x, lower, upper)

    def mean(self, points, weights, lower, upper):
        # Around the first point, the shortest way: 359 and 1 degrees meet at 0, not at 180.
        short = self.away(points, points[:1], lower, upper)
        return _wrapped(points[:1] + mul(weights, short), lower, upper)

    def away(self, points, origin, lower, upper):
        away = points - origin
        return away - _turn(away, upper - lower)

    def home(self, mean, lower, upper):
        return jnp.where(_has_room(upper - lower), _wrapped(mean, lower, upper), mean)

    def _image(self, x, mean, lower, upper):
        return x - _turn(x - mean, upper - lower)


def _turn(away, width):
    """What is to be taken off a way in a periodic box, that it be the shortest."""
    turn = jnp.where(away > width / 2, width, jnp.where(away < -width / 2, -width, 0))
    return jnp.where(_has_room(width), turn, 0)


MARGIN = 0.02
"""The share of the box's width, at each side, over which `Smooth` bends."""


@pytree
class Smooth(Reflect):
    """Bend the space near the bounds, so that nothing is ever outside and the objective has no kink there.

    The box is the image of a larger one, by a map that is the identity but for a margin of 2 % of the width at each side, where
    it is a parabola whose vertex lies on the bound. Beyond the vertex, the larger box is reflected. A strategy learns in the
    larger box.

    Source: the transformation of N. Hansen's pycma (BoundTransform).
    """

    def repair(self, x, lower, upper):
        margin = MARGIN * _width(lower, upper)
        x = _reflected(x, *self._mirrors(lower, upper))
        up, down = jnp.maximum(x - (lower - margin), 0), jnp.maximum(upper + margin - x, 0)
        bent_up = lower + up * (up / (4 * margin))  # the square of a huge box would overflow
        bent_down = upper - down * (down / (4 * margin))
        x = jnp.where(x < lower + margin, bent_up, jnp.where(x > upper - margin, bent_down, x))
        return jnp.clip(x, lower, upper)

    def _mirrors(self, lower, upper):
        margin = MARGIN * _width(lower, upper)
        return lower - margin, upper + margin

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
    x, period = representable(x), 2 * (upper - lower)
    phase = _remainder(x - lower, period)
    between = lower + jnp.minimum(phase, period - phase)
    one_sided = jnp.where(
        jnp.isfinite(lower),
        lower + jnp.abs(x - lower),
        jnp.where(jnp.isfinite(upper), upper - jnp.abs(upper - x), x),
    )
    return jnp.where((lower <= x) & (x <= upper), x, jnp.where(_has_room(period), between, one_sided))


def _wrapped(x, lower, upper):
    x, width = representable(x), upper - lower
    inside = (lower <= x) & (x <= upper)  # and without the rounding of the box's width
    return jnp.clip(jnp.where(_has_room(width) & ~inside, lower + _remainder(x - lower, width), x), lower, upper)


def _remainder(x, period):
    """x modulo a period, in [0, period]: `jnp.mod` but for its exactness far away, without a CPU's slow instruction for it."""
    rest = x - period * jnp.floor(x / period)
    return jnp.where((rest >= 0) & (rest <= period), rest, 0)


def _has_room(width):
    """Whether a remainder by the width is a number; hardware may flush a subnormal width to zero."""
    return jnp.isfinite(width) & (width > 0)


def representable(x: jax.Array) -> jax.Array:
    """Infinite numbers as the largest finite ones."""
    limit = float(jnp.finfo(x.dtype).max)
    return jnp.clip(x, -limit, limit)
