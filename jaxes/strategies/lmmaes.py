"""LM-MA-ES, matrix adaptation in limited memory: for thousands to hundreds of thousands of variables.

The matrix of MA-ES is replaced by a product of m = 4 + floor(3 ln d) simple factors, each from a path of the mean with its own
memory, from one generation to 4**m / lam * d. O(lam m d) time a generation and O(m d) memory. Invariant to translation,
rotation, scaling of the axes together with sigma, and monotone transforms of f.

Reference: I. Loshchilov, T. Glasmachers & H.-G. Beyer, Large scale black-box optimization by limited-memory matrix adaptation,
IEEE Transactions on Evolutionary Computation 23 (2019), 353-358, Algorithm 1 (arXiv 1705.06693). Departures: learning rates,
which are proportional to lam / d and 1 / d there, are bounded for small d and large lam. The product of the factors is
multiplied out as a I + V^T B V, where the rows of V are the paths, so that a population takes three products of matrices, and
a step is easily solved for: what the paths learn comes from the points told, also where these were moved after `ask`. The step
size grows by a factor of e a generation at most, and stays above what rounding resolves.
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

from jaxes.bounds import representable
from jaxes.checks import check_integer
from jaxes.control import Controlled
from jaxes.gaussian import GaussianState, fitted_deviations, floor, within_reach
from jaxes.operators.cma import better_half, count, effective
from jaxes.operators.linalg import solve_triangular
from jaxes.operators.matrix import mul
from jaxes.operators.selection import ranks
from jaxes.pytree import assign, pytree, static
from jaxes.strategy import StopReason


@pytree
class LMMAESState(GaussianState):
    """What LM-MA-ES learnt, in units of the initial sigma."""

    sigma: jax.Array  # () step size
    path: jax.Array  # (d,) p_sigma
    vectors: jax.Array  # (padded, d) the paths m_1 to m_m, and up to two rows of zeros: see `LMMAES.padded`
    gram: jax.Array  # (padded, padded) V V^T, where the rows of V are the paths
    mix: jax.Array  # (padded, padded) B^T: the matrix a I + V^T B V makes steps of standard normal vectors
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
    directions: Any = static(default=None)

    def __post_init__(self):
        super().__post_init__()
        count = 4 + math.floor(3 * math.log(self.space.dimension)) if self.directions is None else self.directions
        assign(self, directions=check_integer("LMMAES", "directions", count, at_least=1))

    @property
    def padded(self) -> int:
        """m or, if it is near, the next multiple of eight: that is what vector instructions hold, and on a CPU, XLA takes half
        as long again for the products of fifteen rows as for those of sixteen."""
        missing = -self.directions % 8
        return self.directions + (missing if missing <= 2 else 0)

    def _of_paths(self, rate: np.ndarray) -> np.ndarray:
        """(padded,) a rate of paths, and zeros."""
        return np.where(np.arange(self.padded) < self.directions, rate, 0)

    def _begin(self, state):
        m, dtype = self.padded, state.mean.dtype
        return LMMAESState(
            **vars(state),
            sigma=jnp.ones((), dtype),
            path=jnp.zeros_like(state.mean),
            vectors=jnp.zeros((m, self.space.dimension), dtype),
            gram=jnp.zeros((m, m), dtype),
            mix=jnp.zeros((m, m), dtype),
            lengths=jnp.ones_like(state.mean),
        )

    def _fitted(self, state, steps, width):
        return dataclasses.replace(state, sigma=fitted_deviations(steps, width)[0])

    def _points(self, state, z):
        scale = jnp.prod(1 - self._shares(state.generation, z.dtype))
        steps = scale * z + mul(mul(mul(z, _transposed(state.vectors)), state.mix), state.vectors)
        return state.mean[None, :] + state.sigma * steps

    def _learn(self, state, u, fitness):
        order = ranks(fitness)
        weights, mu_eff = self._weighted(order, u.dtype)
        c_sigma, c_c = self._rates(self._number(u.dtype))

        step = mul(weights, representable((u - state.mean[None, :]) / state.sigma))
        z = self._solved(state, step)
        step, z = within_reach(z, step, z)
        mean = state.mean + state.sigma * step
        path = (1 - c_sigma) * state.path + (mu_eff * c_sigma * (2 - c_sigma)) ** 0.5 * z
        rates = jnp.asarray(c_c, u.dtype)[:, None]
        vectors = (1 - rates) * state.vectors + jnp.sqrt(mu_eff * rates * (2 - rates)) * z[None, :]
        free = self._free(mean)
        squared = jnp.sum(path * path, where=free) / count(free, path.dtype)
        growth, control = self._growth(state, c_sigma / 2 * (squared - 1), order, fitness, z)
        sigma = state.sigma * jnp.exp(growth)

        gram = mul(vectors, _transposed(vectors))
        mix, lengths = self._multiplied(vectors, gram, state.generation + 1)
        return dataclasses.replace(
            state,
            mean=mean,
            sigma=floor(sigma, mean, lengths),
            path=path,
            vectors=vectors,
            gram=gram,
            mix=mix,
            lengths=lengths,
            control=control,
        )

    def _center(self, state, u, fitness, told):
        return mul(self._weighted(ranks(fitness), u.dtype)[0], u)  # unless that is out of reach

    def _weighted(self, order: jax.Array, dtype: Any) -> tuple[jax.Array, Any]:
        """(lam,) weights of candidates, which sum to 1, from their ranks (lam,); mu_eff."""
        lam, *rows = self._rows(dtype)
        weights = better_half(lam, 0.5, *rows)
        return jnp.asarray(weights, dtype)[order], effective(weights)

    def _rates(self, lam: Any) -> tuple[Any, Any]:
        """c_sigma and c_c (padded,)."""
        share, each = lam / self.space.dimension, self._of_paths(1 / 4.0 ** np.arange(self.padded))
        if isinstance(lam, int):
            return min(0.5, 2 * share), np.minimum(0.5, share * each)
        return jnp.minimum(0.5, 2 * share), jnp.minimum(0.5, share * jnp.asarray(each, share.dtype))

    def _shares(self, generation: jax.Array, dtype: Any) -> jax.Array:
        """(padded,) c_d: factor j is (1 - c_d) I + c_d m_j m_j^T; the first one is applied first."""
        age = np.arange(self.padded)
        # Line 8: a path with a long memory is not used before it has seen something.
        c_d = jnp.asarray(self._of_paths(np.minimum(0.5, 1 / self.space.dimension / 1.5**age)), dtype)
        return jnp.where(jnp.arange(len(age), dtype=jnp.int32) < generation, c_d, 0)

    def _multiplied(self, vectors: jax.Array, gram: jax.Array, generation: jax.Array) -> tuple[jax.Array, jax.Array]:
        """B^T (padded, padded) of the product of the factors, a I + V^T B V, and the lengths (d,) of its rows.

        A factor I + t_j m_j m_j^T more on the left gives B the row t_j (e_j + m_j^T V^T B), but for a: B = T + T L B, where L,
        the lower triangle of V V^T, holds the products of paths with earlier ones.
        """
        rates = self._shares(generation, vectors.dtype)
        scale, t, eye = jnp.prod(1 - rates), rates / (1 - rates), jnp.eye(len(rates), dtype=vectors.dtype)
        inverse = solve_triangular(eye - t[:, None] * jnp.tril(gram, -1), eye, lower=True, transposed=True)
        mixed, factor = mul(inverse, vectors), scale * t
        squared = jnp.square(scale) + mul(factor, (2 * scale * vectors + mul(gram * factor[None, :], mixed)) * mixed)
        return factor[:, None] * inverse, jnp.sqrt(jnp.maximum(squared, jnp.finfo(squared.dtype).eps))

    def _solved(self, state: LMMAESState, step: jax.Array) -> jax.Array:
        """The standard normal vector (d,) of a step (d,).

        By Woodbury's identity, for a = 1 the inverse is I - V^T (B^-1 + V V^T)^-1 V, and B^-1 is T^-1 - L: what is left
        of V V^T is its upper triangle.
        """
        rates = self._shares(state.generation, step.dtype)
        t, eye = rates / (1 - rates), jnp.eye(len(rates), dtype=step.dtype)
        along = solve_triangular(eye + t[:, None] * jnp.triu(state.gram), t * mul(state.vectors, step))
        return (step - mul(along, state.vectors)) / jnp.prod(1 - rates)

    def _deviations(self, state):
        return state.sigma * state.lengths


def _transposed(vectors: jax.Array) -> jax.Array:
    """(d, m) of (m, d), to multiply by: of few numbers, XLA on a CPU does so several times as fast if they are in memory."""
    return lax.optimization_barrier(vectors.T) if vectors.size <= 256 else vectors.T
