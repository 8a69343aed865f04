"""Search along the axes of an objective that is a sum of functions of one coordinate each.

Whether it is, two random points tell: with each coordinate of the one replaced by the other's, the differences must add up to
that of the points themselves. If so, every axis is searched for its global minimum on its own, all at once: each candidate of a
generation differs from one base point in one coordinate. Of two candidates more, one joins the best that is known on every
axis, and so tests again whether the objective is a sum; the other joins the vertices of parabolas through it.

On an axis, the interval between two known points is halved in which it is easiest to be better than the best: where a parabola
through its ends takes the least curvature to do so (S. Langerman, G. Seront & H. Bersini, S.T.E.P.: the easiest way to optimize
a function, CEC 1994). In every other generation the parabola through the best and its neighbours says where to look.
"""

from __future__ import annotations

import dataclasses
from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp

from jaxes import random
from jaxes.pytree import pytree, static, where
from jaxes.settings import initial_deviations
from jaxes.space import Space
from jaxes.strategy import Purpose, State, StopReason, Strategy, first_reason, stream

BEYOND = 2.0
"""The place of a point that is not known yet: they are sorted, from 0 to 1."""
PATIENCE = 50
"""Generations without a better point after which the search ends; half of what it takes at least."""


@pytree
class AxesState(State):
    """What is known on every axis."""

    base: jax.Array  # (d,) the point from which axes are searched; places are shares of the way from lower to upper bounds
    base_fitness: jax.Array  # ()
    places: jax.Array  # (d, points) in ascending order
    values: jax.Array  # (d, points) the fitness there, with the base point's other coordinates; infinite if not known
    separable: jax.Array  # () bool, whether the objective still may be a sum


@pytree
class AxisSearch(Strategy):
    """Tests whether the objective is a sum over coordinates, and minimises each of its terms.

    Args:
        space: a `Box` or a pytree of them.
        start, sigma: where there is an infinite side, the search covers 5 sigma around the start instead.
        points: on each axis, at most.
    """

    space: Space
    _: KW_ONLY
    start: Any = None
    sigma: Any = None
    points: int = static(default=256)

    @property
    def population_size(self):
        return self.space.dimension + 2

    def _between(self, places: jax.Array) -> jax.Array:
        """Points of the space at places (..., d)."""
        lower, upper = self.space.bounds()
        if self.start is not None:
            start, reach = self.space.encode(self.start), 5 * initial_deviations(self.space, "sigma", self.sigma)
            lower, upper = (
                jnp.where(jnp.isfinite(lower), lower, jnp.minimum(start, upper) - reach),
                jnp.where(jnp.isfinite(upper), upper, jnp.maximum(start, lower) + reach),
            )
        rows = jnp.atleast_2d(places)
        return self.space.between(lower[None, :], upper[None, :], rows).reshape(places.shape)

    def _init(self, state):
        dtype, shape = self.space.dtype, (self.space.dimension, self.points)
        return AxesState(
            **vars(state),
            base=random.uniform(stream(state, Purpose.RECOMBINE), shape[:1], dtype),
            base_fitness=jnp.full((), jnp.inf, dtype),
            places=jnp.full(shape, BEYOND, dtype),
            values=jnp.full(shape, jnp.inf, dtype),
            separable=jnp.ones((), bool),
        )

    def _looked_at(self, state: AxesState) -> tuple[jax.Array, jax.Array, jax.Array]:
        """(d,) where each axis is looked at in this generation, and two points that are looked at as well."""
        first, generation = state.generation == 0, state.generation
        other = random.uniform(stream(state, Purpose.SAMPLE), state.base.shape, state.base.dtype)
        best, easiest = _best(state), _easiest(state)
        vertex = _vertices(state, easiest)
        places = jnp.where(generation % 2 == 0, vertex, easiest)
        for when, place in ((0, other), (1, 0.0), (2, 1.0)):
            places = jnp.where(generation == when, place, places)
        return places, jnp.where(first, state.base, best), jnp.where(first, other, vertex)

    def _ask(self, state):
        places, best, vertex = self._looked_at(state)
        eye = jnp.eye(places.shape[0], dtype=bool)
        singles = jnp.where(eye, places[None, :], state.base[None, :])
        return self._between(jnp.concatenate([singles, best[None, :], vertex[None, :]])), state

    def _tell(self, state, x, fitness):
        places, _, _ = self._looked_at(state)
        singles, one, other = fitness[:-2], fitness[-2], fitness[-1]
        first = state.generation == 0
        base = jnp.where(first, one, state.base_fitness)
        # In the first generation the terms of the other random point, then the best of each.
        terms = jnp.where(first, singles, state.values.min(axis=1))
        told = jnp.where(first, other, one)
        error = jnp.abs(told - base - jnp.sum(terms - base))
        size = jnp.abs(told) + jnp.abs(base) + jnp.sum(jnp.abs(terms) + jnp.abs(base))
        known = _inserted(state.places, state.values, state.base, jnp.where(first, base, jnp.inf))
        known = where(first, known, (state.places, state.values))
        places, values = _inserted(*known, places, singles)
        return dataclasses.replace(
            state,
            base_fitness=base,
            places=places,
            values=values,
            separable=state.separable & (error <= 16 * float(jnp.finfo(x.dtype).eps) * size),  # NaN is not
        )

    def step_size(self, state):
        """() the longest interval next to the best point of an axis, in the space's own units."""
        below, best, above = _around(state)[0]
        return jnp.maximum(self._between(best) - self._between(below), self._between(above) - self._between(best)).max()

    def stop_reason(self, state):
        idle = state.generation - 1 - state.best_generation
        reasons = {
            StopReason.NOTSEPARABLE: ~state.separable,
            StopReason.STAGNANT: (state.generation >= 2 * PATIENCE) & (idle >= PATIENCE),
            StopReason.MOST: state.generation > self.points - 2,
        }
        return first_reason(state, reasons)


def _inserted(places: jax.Array, values: jax.Array, place: jax.Array, value: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Both (d, points) with a point of each axis (d,) more; the last one, which is not known yet, is gone."""
    index = jnp.arange(places.shape[1], dtype=jnp.int32)[None, :]
    before = jnp.sum(places < place[:, None], axis=1, dtype=jnp.int32)[:, None]

    def put(array, new):
        new = jnp.broadcast_to(new, place.shape)[:, None]
        return jnp.where(index < before, array, jnp.where(index == before, new, jnp.roll(array, 1, axis=1)))

    return put(places, place), put(values, value)


@jax.jit  # traced once, not for each that looks around
def _around(state: AxesState) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
    """The best point of every axis and its neighbours: places and values, each three times (d,). At an end, the best itself."""
    best = state.values.argmin(axis=1).astype(jnp.int32)
    last = jnp.sum(state.places < BEYOND, axis=1, dtype=jnp.int32) - 1
    around = [jnp.clip(best + step, 0, jnp.maximum(last, 0))[:, None] for step in (-1, 0, 1)]
    at, of = (tuple(jnp.take_along_axis(a, i, axis=1)[:, 0] for i in around) for a in (state.places, state.values))
    return tuple(jnp.minimum(place, 1) for place in at), of


def _best(state: AxesState) -> jax.Array:
    """(d,) the best place of every axis."""
    return _around(state)[0][1]


def _vertices(state: AxesState, otherwise: jax.Array) -> jax.Array:
    """(d,) the lowest point of the parabola through the best point of every axis and its neighbours; or, where there is none,
    halfway between the best and the neighbour that is farther away; or, where that would tell nothing, `otherwise` (d,)."""
    (a, b, c), (fa, fb, fc) = _around(state)
    left, right = (b - a) * (fb - fc), (b - c) * (fb - fa)
    vertex = b - ((b - a) * left - (b - c) * right) / (2 * (left - right))
    halfway = jnp.where(b - a > c - b, (a + b) / 2, (b + c) / 2)
    flat, together = (fa == fb) & (fb == fc), jnp.maximum(b - a, c - b) <= _resolved(b)
    halfway = jnp.where(flat | together, otherwise, halfway)
    return jnp.where((vertex > a) & (vertex < c) & (vertex != b), vertex, halfway)


def _easiest(state: AxesState) -> jax.Array:
    """(d,) the middle of the interval of every axis in which a parabola gets below the best with the least curvature; of the
    widest interval, where all points are equally good."""
    values = state.values
    least = values.min(axis=1, keepdims=True)
    most = jnp.max(values, axis=1, keepdims=True, initial=-jnp.inf, where=jnp.isfinite(values))
    eps = float(jnp.finfo(values.dtype).eps)
    over = jnp.where(values > least, values - least, 0)  # of infinite ones, too
    above = jnp.sqrt(over + eps**0.5 * jnp.where(most > least, most - least, 1))
    width = state.places[:, 1:] - state.places[:, :-1]
    known = (state.places[:, 1:] <= 1) & (width > _resolved(values))
    # (x - v)**2 curvature is f(x) - goal at both ends: their distances to the vertex v add up to the width.
    root = jnp.where(known, (above[:, 1:] + above[:, :-1]) / width, jnp.inf)
    index = root.argmin(axis=1).astype(jnp.int32)[:, None]
    ends = [jnp.take_along_axis(state.places, index + step, axis=1)[:, 0] for step in (0, 1)]
    return jnp.minimum((ends[0] + ends[1]) / 2, 1)


def _resolved(like: jax.Array) -> float:
    """A distance between two places that is not worth halving, in an array's precision."""
    return 64 * float(jnp.finfo(like.dtype).eps)
