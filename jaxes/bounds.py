"""Keeping samples inside a box.

A handler is a small value that every strategy takes as `bounds=`. All arrays of a call have one rank and broadcast. The
noise comes in as uniform numbers, so that a handler may choose which distribution to make of them.
"""

import abc

import jax
import jax.numpy as jnp
from jax import lax

from jaxes.pytree import pytree

SQRT2 = 2**0.5


def normal(u: jax.Array) -> jax.Array:
    """Standard normal numbers from uniform numbers in [0, 1), by inversion; within 5.6 in float32."""
    return _quantile(2 * u - 1)


def _quantile(v: jax.Array) -> jax.Array:
    """The standard normal quantile of (v + 1) / 2, finite also at v = -1 and v = 1."""
    limit = 1 - jnp.finfo(v.dtype).epsneg
    return SQRT2 * lax.erf_inv(jnp.clip(v, -limit, limit))


class Bounds(abc.ABC):
    """A way to keep samples inside a box."""

    @abc.abstractmethod
    def gaussian(self, u: jax.Array, mean: jax.Array, sigma: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
        """A sample of the box around each `mean` (inside the box), from uniform `u` in [0, 1)."""

    def mean(self, points: jax.Array, weights: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
        """Weighted means (groups, d) of points (n, d) of the box, by weights (groups, n) that sum to one; bounds (1, d)."""
        return jnp.clip(jnp.matmul(weights, points, precision="highest"), lower, upper)

    def mutation_rate(
        self, rate: jax.Array, mean: jax.Array, sigma: jax.Array, lower: jax.Array, upper: jax.Array
    ) -> jax.Array:
        """The probability with which a coordinate of a finished sample was mutated, if each attempt mutates at `rate`."""
        return rate


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


def _inside(mean, sigma, lower, upper):
    """erf of both sides' distances: a sample is inside with probability (above - below) / 2."""
    scale = 1 / (SQRT2 * sigma)
    return lax.erf((lower - mean) * scale), lax.erf((upper - mean) * scale)


@pytree
class Clip(Bounds):
    """Move what left the box to its nearest point. Puts probability on the faces: good for optima on the boundary."""

    def gaussian(self, u, mean, sigma, lower, upper):
        return jnp.clip(mean + sigma * normal(u), lower, upper)


@pytree
class Reflect(Bounds):
    """Mirror what left the box at the side it crossed, as often as it takes."""

    def gaussian(self, u, mean, sigma, lower, upper):
        x = _finite(mean + sigma * normal(u))
        width = upper - lower
        phase = jnp.mod(x - lower, 2 * width)
        between = lower + jnp.minimum(phase, 2 * width - phase)
        above = lower + jnp.abs(x - lower)
        below = upper - jnp.abs(upper - x)
        one_sided = jnp.where(jnp.isfinite(lower), above, jnp.where(jnp.isfinite(upper), below, x))
        return jnp.clip(jnp.where(_has_room(width), between, one_sided), lower, upper)


@pytree
class Wrap(Bounds):
    """Treat the box as periodic: what leaves on one side comes in on the other (angles, phases).

    A coordinate with an infinite side has no period; it is clipped.
    """

    def gaussian(self, u, mean, sigma, lower, upper):
        return _wrapped(mean + sigma * normal(u), lower, upper)

    def mean(self, points, weights, lower, upper):
        # Around the first point, the shortest way: 359 and 1 degrees meet at 0, not at 180.
        width = upper - lower
        away = points - points[:1]
        short = jnp.where(_has_room(width), jnp.mod(away + width / 2, width) - width / 2, away)
        return _wrapped(points[:1] + jnp.matmul(weights, short, precision="highest"), lower, upper)


def _wrapped(x, lower, upper):
    x, width = _finite(x), upper - lower
    return jnp.clip(jnp.where(_has_room(width), lower + jnp.mod(x - lower, width), x), lower, upper)


def _has_room(width):
    """Whether a remainder by the width is a number; hardware may flush a subnormal width to zero."""
    return jnp.isfinite(width) & (width > 0)


def _finite(x):
    limit = float(jnp.finfo(x.dtype).max)
    return jnp.clip(x, -limit, limit)
