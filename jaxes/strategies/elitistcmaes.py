"""The (1+1)-CMA-ES: one parent, one child, and the better of the two survives.

The step size follows the share of successful children, the covariance matrix their path; a child much worse than its ancestors
narrows the matrix along its own step (active). A square root of the matrix and its inverse are updated, in O(d**2) a candidate.
A fast local search on problems with one optimum, where candidates are evaluated one at a time; with many optima, or noise, a
population is more robust. Invariant to translation, rotation, scaling of the axes and monotone transforms of f.

References: C. Igel, T. Suttorp & N. Hansen, A computational efficient covariance matrix update and a (1+1)-CMA for evolution
strategies, GECCO 2006, 453-460; with the path and the inverse of T. Suttorp, N. Hansen & C. Igel, Machine Learning 75 (2009),
167-197, Algorithm 2; active: D. V. Arnold & N. Hansen, GECCO 2010, 385-392. Departures: none but a step size that stays above
what rounding resolves. The first candidate is the start itself.
"""

from __future__ import annotations

import dataclasses
from dataclasses import KW_ONLY
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jaxes.gaussian import GaussianState, Rooted, floor, within_reach
from jaxes.operators.matrix import mul
from jaxes.pytree import pytree, static, where
from jaxes.strategy import StopReason

ANCESTORS = 5
"""A child that is worse than this many ancestors, its parent being the first, is much worse."""
TARGET, THRESHOLD, MEMORY = 2 / 11, 0.44, 1 / 12
"""The success rate that the step size aims at; above which the path stalls; and the learning rate of the success rate."""


@pytree
class ElitistCMAESState(GaussianState):
    """What the (1+1)-CMA-ES learnt, in units of the initial sigma; its mean is the parent."""

    parent_fitness: jax.Array  # (5,) of the parent and its ancestors, newest first; infinite before
    sigma: jax.Array  # () step size
    success: jax.Array  # () share of children that were no worse than their parents
    root: jax.Array  # (d, d) A, A A^T = C
    whiten: jax.Array  # (d, d) the inverse of A
    path: jax.Array  # (d,) p_c


@pytree
class ElitistCMAES(Rooted):
    """The (1+1)-CMA-ES (Igel, Suttorp & Hansen 2006), with active covariance matrix adaptation (Arnold & Hansen 2010).

    Args:
        space, sigma, start, bounds: see `jaxes.gaussian.Gaussian`.
        lam: 1. One candidate is evaluated at a time.
        active: learn from children that are worse than their fifth ancestor.
    """

    LEAST: ClassVar[int] = 1
    IGNORED: ClassVar[tuple[StopReason, ...]] = (StopReason.TOLXSTAGNATION,)  # a parent stays until a child is as good

    _: KW_ONLY
    lam: int | None = static(default=1)
    active: bool = static(default=True)

    def __post_init__(self):
        if self.lam is None or self.lam != 1:
            raise ValueError(f"ElitistCMAES(lam=...) must be 1, got {self.lam}.")
        if self.lam_max is not None:
            raise ValueError(f"ElitistCMAES(lam_max=...) must be None, as lam is 1, got {self.lam_max}.")
        super().__post_init__()
        if not isinstance(self.active, bool):
            raise TypeError(f"ElitistCMAES(active=...) must be True or False, got {self.active!r}.")

    def enlarged(self, factor):
        raise ValueError("ElitistCMAES has a population of 1.")

    def _begin(self, state):
        dtype = state.mean.dtype
        eye = jnp.eye(self.space.dimension, dtype=dtype)
        return ElitistCMAESState(
            **vars(state),
            parent_fitness=jnp.full(ANCESTORS, jnp.inf, dtype),
            sigma=jnp.ones((), dtype),
            success=jnp.asarray(TARGET, dtype),
            root=eye,
            whiten=eye,
            path=jnp.zeros_like(state.mean),
        )

    def _points(self, state, z):
        step = state.sigma * mul(z, state.root.T)
        return state.mean[None, :] + jnp.where(state.generation == 0, 0, step)

    def _learn(self, state, u, fitness):
        child, value = u[0], fitness[0]
        first = state.generation == 0
        success = first | (value <= state.parent_fitness[0])
        ancestors = jnp.where(success, jnp.roll(state.parent_fitness, 1).at[0].set(value), state.parent_fitness)
        adapted = self._adapted(state, (child - state.mean) / state.sigma, success, value > state.parent_fitness[-1])
        told = where(first, _own(state), _own(adapted))
        mean = jnp.where(success, child, state.mean)
        told["sigma"] = floor(told["sigma"], mean, jnp.linalg.norm(told["root"], axis=1))
        return dataclasses.replace(state, **told, mean=mean, parent_fitness=ancestors)

    def _adapted(self, state: Any, y: jax.Array, success: jax.Array, bad: jax.Array) -> Any:
        """The state after a child at mean + sigma * y."""
        d, dtype = self.space.dimension, y.dtype
        c, c_plus, c_minus = 2 / (d + 2), 2 / (d * d + 6), 0.4 / (d**1.6 + 1)
        rate = (1 - MEMORY) * state.success + MEMORY * success.astype(dtype)
        sigma = state.sigma * jnp.exp((rate - TARGET) / (1 - TARGET) / (1 + d / 2))

        z = mul(state.whiten, y)
        y, z = within_reach(z, y, z)
        stalled = rate >= THRESHOLD
        path = (1 - c) * state.path + jnp.where(stalled, 0, (c * (2 - c)) ** 0.5 * y)
        path = jnp.where(success, path, state.path)

        # C <- kept C + added (A v) (A v)^T, of which A v = path after a success, y after a very bad child.
        squared = jnp.sum(z * z)
        minus = jnp.minimum(c_minus, 1 / jnp.maximum(2 * squared - 1, 1 / c_minus))  # C stays positive definite
        narrows = bad & ~success & self.active
        v = jnp.where(success, mul(state.whiten, path), z)
        kept = jnp.where(success, 1 - c_plus + jnp.where(stalled, c_plus * c * (2 - c), 0), jnp.where(narrows, 1 + minus, 1))
        added = jnp.where(success, c_plus, jnp.where(narrows, -minus, 0)) / kept
        grown = jnp.sqrt(1 + added * jnp.sum(v * v))
        slope = added / (1 + grown)  # (grown - 1) / |v|^2, also where v = 0
        root = jnp.sqrt(kept) * (state.root + slope * mul(state.root, v)[:, None] * v[None, :])
        whiten = (state.whiten - slope / grown * v[:, None] * mul(v, state.whiten)[None, :]) / jnp.sqrt(kept)

        largest = jnp.linalg.norm(root, axis=1).max()
        scale = jnp.where((largest > 1e4) | (largest < 1e-4), largest, 1)
        usable = jnp.isfinite(root / scale).all() & jnp.isfinite(whiten * scale).all() & jnp.isfinite(path).all()
        told = dataclasses.replace(
            state, sigma=sigma * scale, root=root / scale, whiten=whiten * scale, path=path / scale, success=rate
        )
        kept_back = dataclasses.replace(state, sigma=sigma, success=rate)
        return where(usable, told, kept_back)


def _own(state: ElitistCMAESState) -> dict[str, jax.Array]:
    return {name: getattr(state, name) for name in ("sigma", "success", "root", "whiten", "path")}
