"""sep-CMA-ES, the CMA-ES whose covariance matrix is diagonal.

One variance per coordinate is learnt, (d + 2) / 3 times as fast as a whole matrix could be. O(lam d) a generation. Invariant to
translation, scaling of the axes and monotone transforms of f; not to rotation: on an ill-conditioned problem whose axes are
not the coordinates', CMA-ES needs far fewer evaluations.

Reference: R. Ros & N. Hansen, A simple modification in CMA-ES achieving linear time and space complexity, PPSN X (2008),
296-305. Departures: what C loses while its path stalls is given back, as in Hansen's tutorial (2016). The learning rate is at
most 1. The step size grows by a factor of e a generation at most, and stays above what rounding resolves. Where the cmaes
package differs from the paper, this is the paper: c_cov is shared by the two updates, 1 / mu_eff of it for the path, where
there the path's comes on top.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from jaxes.control import Controlled
from jaxes.gaussian import GaussianState, fitted_deviations, floor, in_deviations, reach
from jaxes.operators.cma import relative_length, separable
from jaxes.operators.matrix import mul
from jaxes.operators.selection import ranks
from jaxes.pytree import pytree


@pytree
class SepCMAESState(GaussianState):
    """What sep-CMA-ES learnt, in units of the initial sigma."""

    sigma: jax.Array  # () step size
    variances: jax.Array  # (d,) the diagonal of C
    path_sigma: jax.Array  # (d,)
    path_c: jax.Array  # (d,)


@pytree
class SepCMAES(Controlled):
    """sep-CMA-ES (Ros & Hansen 2008): a diagonal covariance matrix, in linear time and memory.

    Args:
        space, lam, lam_max, sigma, start, bounds, sampling: see `jaxes.gaussian.Gaussian`.
        control: of the step size: "csa", "tpa" or "msr": see `jaxes.control`.
    """

    def _begin(self, state):
        one, zero = jnp.ones_like(state.mean), jnp.zeros_like(state.mean)
        return SepCMAESState(**vars(state), sigma=one[0], variances=one, path_sigma=zero, path_c=zero)

    def _fitted(self, state, steps, width):
        scale, deviations = fitted_deviations(steps, width)
        return dataclasses.replace(state, sigma=scale, variances=jnp.square(deviations))

    def _points(self, state, z):
        return state.mean[None, :] + (state.sigma * jnp.sqrt(state.variances))[None, :] * z

    def _learn(self, state, u, fitness):
        d, p = self.space.dimension, separable(self.space.dimension, *self._rows(u.dtype))
        order = ranks(fitness)
        w = jnp.asarray(p.weights, u.dtype)[order]
        deviations = jnp.sqrt(state.variances)[None, :]
        z = in_deviations(u, state.mean, state.sigma * deviations)
        y = deviations * reach(z) * z
        step = mul(w, y)

        mean = state.mean + state.sigma * step
        moved = step / jnp.sqrt(state.variances)
        path_sigma = (1 - p.c_sigma) * state.path_sigma + (p.c_sigma * (2 - p.c_sigma) * p.mu_eff) ** 0.5 * moved
        length = relative_length(path_sigma, self._free(mean))
        growth, control = self._growth(state, p.c_sigma / p.d_sigma * (length - 1), order, fitness, moved)
        sigma = state.sigma * jnp.exp(growth)

        age = 2 * (state.generation + 1).astype(u.dtype)
        unstalled = length < (1.4 + 2 / (d + 1)) * jnp.sqrt(1 - (1 - p.c_sigma) ** age)  # H_sigma
        path_c = (1 - p.c_c) * state.path_c + jnp.where(unstalled, (p.c_c * (2 - p.c_c) * p.mu_eff) ** 0.5, 0) * step
        lost = jnp.where(unstalled, 0, p.c_1 * p.c_c * (2 - p.c_c))
        variances = (1 + lost - p.c_1 - p.c_mu) * state.variances + p.c_1 * jnp.square(path_c) + p.c_mu * mul(w, jnp.square(y))
        return _scaled(
            dataclasses.replace(
                state, mean=mean, sigma=sigma, variances=variances, path_sigma=path_sigma, path_c=path_c, control=control
            )
        )

    def _deviations(self, state):
        return state.sigma * jnp.sqrt(state.variances)


def _scaled(state: SepCMAESState) -> SepCMAESState:
    """The state in numbers that neither overflow nor vanish: the variances' common scale goes into the step size."""
    info = jnp.finfo(state.mean.dtype)
    variances = jnp.clip(state.variances, float(info.tiny) ** 0.5, float(info.max) ** 0.5)
    largest = variances.max()
    scale = jnp.where((largest > 1e8) | (largest < 1e-8), largest, 1)
    # A coordinate that no longer matters in units of the widest would otherwise shrink for ever.
    variances = jnp.maximum(variances / scale, float(info.tiny) ** 0.5)
    root = jnp.sqrt(scale)
    sigma = floor(state.sigma * root, state.mean, jnp.sqrt(variances))
    return dataclasses.replace(state, sigma=sigma, variances=variances, path_c=state.path_c / root)
