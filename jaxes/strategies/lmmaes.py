"""LM-MA-ES, matrix adaptation in limited memory: for thousands to hundreds of thousands of variables.

The matrix of MA-ES is replaced by a product of m = 4 + floor(3 ln d) simple factors, each from a path of the mean with its own
memory, from one generation to 4**m / lam * d. O(lam m d) time a generation and O(m d) memory. Invariant to translation,
rotation, scaling of the axes together with sigma, and monotone transforms of f.

Reference: I. Loshchilov, T. Glasmachers & H.-G. Beyer, Large scale black-box optimization by limited-memory matrix adaptation,
IEEE Transactions on Evolutionary Computation 23 (2019), 353-358, Algorithm 1 (arXiv 1705.06693). Departures: learning rates,
which are proportional to lam / d and 1 / d there, are bounded for small d and large lam. The product of the factors is
multiplied out as a I + V^T B V, where the rows of V are the paths, so that a population takes two products of matrices, and the
inverse is known: what the paths learn comes from the points told, also where these were moved after `ask`. The step size grows
by a factor of e a generation at most, and stays above what rounding resolves.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import KW_ONLY
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.linalg import solve_triangular

from jaxes.checks import check_integer
from jaxes.control import Controlled
from jaxes.gaussian import GaussianState, fitted_deviations, floor, within_reach
from jaxes.operators.cma import better_half, effective
from jaxes.operators.selection import ranks
from jaxes.pytree import assign, pytree, static
from jaxes.strategy import StopReason


@pytree
class LowRank:
    """The matrix a I + V^T B V, for vectors V (m, d) kept elsewhere."""

    scale: jax.Array  # () a
    mix: jax.Array  # (m, m) B


@pytree
class LMMAESState(GaussianState):
    """What LM-MA-ES learnt, in units of the initial sigma."""

    sigma: jax.Array  # () step size
    path: jax.Array  # (d,) p_sigma
    vectors: jax.Array  # (m, d) the paths m_1 to m_m
    transform: LowRank  # from standard normal vectors to steps
    inverse: LowRank  # and back
    lengths: jax.Array  # (d,) standard deviations at a step size of 1


@pytree
class LMMAES(Controlled):
    """LM-MA-ES (Loshchilov, Glasmachers & Beyer 2019): matrix adaptation in O(m d) memory.

    Args:
        space, lam, lam_max, sigma, start, bounds, sampling: see `jaxes.gaussian.Gaussian`.
        directions: m, how many paths; default 4 + floor(3 ln d).
        control: of the step size: "csa", "tpa" or "msr": see `jaxes.control`.
    """

    # In a few dimensions, where a path is longer than the factors are made for, they stretch a thousandfold and come back.
    IGNORED: ClassVar[tuple[StopReason, ...]] = (StopReason.TOLFACUPX,)

    _: KW_ONLY
    lam_max: int | None = static(default=None)
    directions: int | None = static(default=None)

    def __post_init__(self):
        super().__post_init__()
        count = 4 + math.floor(3 * math.log(self.space.dimension)) if self.directions is None else self.directions
        assign(self, directions=check_integer("LMMAES", "directions", count, at_least=1))

    def _begin(self, state):
        m, dtype = self.directions, state.mean.dtype
        eye = LowRank(jnp.ones((), dtype), jnp.zeros((m, m), dtype))
        return LMMAESState(
            **vars(state),
            sigma=eye.scale,
            path=jnp.zeros_like(state.mean),
            vectors=jnp.zeros((m, self.space.dimension), dtype),
            transform=eye,
            inverse=eye,
            lengths=jnp.ones_like(state.mean),
        )

    def _fitted(self, state, steps, width):
        return dataclasses.replace(state, sigma=fitted_deviations(steps, width)[0])

    def _points(self, state, z):
        return state.mean[None, :] + state.sigma * _times(state.transform, state.vectors, z)

    def _learn(self, state, u, fitness):
        lam, *rows = self._rows(u.dtype)
        weights = better_half(lam, 0.5, *rows)
        mu_eff = effective(weights)
        c_sigma, c_c = self._rates(lam if isinstance(lam, int) else jnp.asarray(lam, u.dtype))
        order = ranks(fitness)
        w = jnp.asarray(weights, u.dtype)[order]

        step = _mul(w, (u - state.mean[None, :]) / state.sigma)
        z = _times(state.inverse, state.vectors, step[None, :])[0]
        step, z = within_reach(z, step, z)
        mean = state.mean + state.sigma * step
        path = (1 - c_sigma) * state.path + (mu_eff * c_sigma * (2 - c_sigma)) ** 0.5 * z
        rates = jnp.asarray(c_c, u.dtype)[:, None]
        vectors = (1 - rates) * state.vectors + jnp.sqrt(mu_eff * rates * (2 - rates)) * z[None, :]
        squared = jnp.mean(path * path, where=self._free(mean))
        growth, control = self._growth(state, c_sigma / 2 * (squared - 1), order, fitness, z)
        sigma = state.sigma * jnp.exp(growth)

        transform, inverse = self._multiplied(vectors, state.generation + 1)
        lengths = _lengths(transform, vectors)
        return dataclasses.replace(
            state,
            mean=mean,
            sigma=floor(sigma, mean, lengths),
            path=path,
            vectors=vectors,
            transform=transform,
            inverse=inverse,
            lengths=lengths,
            control=control,
        )

    def _rates(self, lam: Any) -> tuple[Any, Any]:
        """c_sigma and c_c (m,)."""
        share, age = lam / self.space.dimension, np.arange(self.directions or 0)
        if isinstance(lam, int):
            return min(0.5, 2 * share), np.minimum(0.5, share / 4.0**age)
        return jnp.minimum(0.5, 2 * share), jnp.minimum(0.5, share / jnp.asarray(4.0**age, share.dtype))

    def _multiplied(self, vectors: jax.Array, generation: jax.Array) -> tuple[LowRank, LowRank]:
        """The product of the factors (1 - c_d) I + c_d m_j m_j^T, the first one applied first, and its inverse."""
        (m, d), dtype = vectors.shape, vectors.dtype
        c_d = np.minimum(0.5, 1 / d / 1.5 ** np.arange(m))
        # Line 8: a path with a long memory is not used before it has seen something.
        rates = jnp.where(jnp.arange(m, dtype=jnp.int32) < generation, jnp.asarray(c_d, dtype), 0)
        scale, gram = jnp.prod(1 - rates), _mul(vectors, vectors.T)
        # The inverse of I + t m_j m_j^T is I - s m_j m_j^T, by Sherman & Morrison.
        t, s = rates / (1 - rates), rates / (1 - rates + rates * jnp.diagonal(gram))

        # A factor more on the left of I + V^T B V gives B the row t (e_j + m_j^T V^T B): B = T + T L B, with L the products of
        # paths with earlier ones. A factor more on the right gives the inverse's B such a column.
        def mixed(t):
            return solve_triangular(jnp.eye(m, dtype=dtype) - t[:, None] * jnp.tril(gram, -1), jnp.diag(t), lower=True)

        forth, back = jax.vmap(mixed)(jnp.stack([t, -s]))
        return LowRank(scale, scale * forth), LowRank(1 / scale, back.T / scale)

    def _deviations(self, state):
        return state.sigma * state.lengths


def _times(matrix: LowRank, vectors: jax.Array, rows: jax.Array) -> jax.Array:
    """The matrix times each of rows (n, d)."""
    return matrix.scale * rows + _mul(_mul(_mul(rows, vectors.T), matrix.mix.T), vectors)


def _lengths(matrix: LowRank, vectors: jax.Array) -> jax.Array:
    """(d,) the lengths of the matrix's rows."""
    inner = 2 * matrix.scale * matrix.mix + _mul(_mul(matrix.mix, _mul(vectors, vectors.T)), matrix.mix.T)
    # The sum as a product of matrices, which on a CPU takes a sixth of the time.
    squared = jnp.square(matrix.scale) + _mul(jnp.ones_like(inner[0]), _mul(inner, vectors) * vectors)
    return jnp.sqrt(jnp.maximum(squared, jnp.finfo(squared.dtype).eps))


def _mul(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
