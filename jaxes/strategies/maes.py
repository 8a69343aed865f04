"""MA-ES, the evolution strategy with matrix adaptation: CMA-ES without a covariance matrix.

What is adapted is the matrix M that makes samples from standard normal vectors; the covariance matrix M M^T is never formed, so
nothing is ever factored. One path serves the step size and the matrix. O(lam d**2) a generation. Invariant to translation,
rotation, scaling of the axes and monotone transforms of f.

Reference: H.-G. Beyer & B. Sendhoff, Simplify your covariance matrix adaptation evolution strategy, IEEE Transactions on
Evolutionary Computation 21 (2017), 746-759, Figure 3. Departures: by default the worse half of the samples has negative
weights, those of Hansen's tutorial (2016): a quarter fewer evaluations on an ill-conditioned ellipsoid. The update is written
as a sum of outer products, which spares a product of d x d matrices. The z of candidates that were moved after `ask`, by bounds
or by a user's repair, are solved for. The step size grows by a factor of e a generation at most, and stays above what rounding
resolves.
"""

from __future__ import annotations

import dataclasses
from dataclasses import KW_ONLY

import jax
import jax.numpy as jnp

from jaxes.control import Controlled
from jaxes.gaussian import GaussianState, fitted_root, floor, steps_and_normals
from jaxes.operators.cma import bounded, parameters, relative_length
from jaxes.operators.linalg import solve
from jaxes.operators.matrix import finite, mul, outer
from jaxes.operators.selection import ranks
from jaxes.pytree import pytree, static


@pytree
class MAESState(GaussianState):
    """What MA-ES learnt, in units of the initial sigma."""

    sigma: jax.Array  # () step size
    matrix: jax.Array  # (d, d) M
    path: jax.Array  # (d,) s


@pytree
class MAES(Controlled):
    """MA-ES (Beyer & Sendhoff 2017): CMA-ES without factoring a matrix.

    Args:
        space, lam, lam_max, sigma, start, bounds, sampling: see `jaxes.gaussian.Gaussian`. Generations in which bounds move the
            mean, or `Reflect` or `Wrap` a candidate, cost O(d**3).
        active: negative weights for the worse half; False for the paper's weights.
        control: of the step size: "csa", "tpa" or "msr": see `jaxes.control`.
    """

    _: KW_ONLY
    active: bool = static(default=True)

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.active, bool):
            raise TypeError(f"MAES(active=...) must be True or False, got {self.active!r}.")

    def _begin(self, state):
        eye, zero = jnp.eye(self.space.dimension, dtype=state.mean.dtype), jnp.zeros_like(state.mean)
        one = jnp.ones((), state.mean.dtype)
        return MAESState(**vars(state), sigma=one, matrix=eye, path=zero)

    def _fitted(self, state, steps, width):
        scale, matrix = fitted_root(steps, width)
        return dataclasses.replace(state, sigma=scale, matrix=matrix)

    def _points(self, state, z):
        return state.mean[None, :] + state.sigma * mul(z, state.matrix.T)

    def _known(self, state, z):
        return mul(z, state.matrix.T), z

    def _seen(self, state, u):
        lengths = jnp.linalg.norm(state.matrix, axis=1)
        return steps_and_normals(state, u, lengths, lambda y: solve(state.matrix, y.T).T)

    def _learn(self, state, steps, fitness):
        y, z = steps
        p = parameters(self.space.dimension, *self._rows(y.dtype))
        order = ranks(fitness)
        weights = jnp.asarray(p.weights, y.dtype)[order]
        best = jnp.maximum(weights, 0)

        mean = state.mean + state.sigma * mul(best, y)  # M9
        moved = mul(best, z)
        path = (1 - p.c_sigma) * state.path + (p.mu_eff * p.c_sigma * (2 - p.c_sigma)) ** 0.5 * moved  # M10
        length = relative_length(path, self._free(mean))
        growth, control = self._growth(state, p.c_sigma / p.d_sigma * (length - 1), order, fitness, moved)
        sigma = state.sigma * jnp.exp(growth)  # M12

        total = 1.0
        if self.active:
            total = p.total
            weights = bounded(weights, z)
        else:
            weights = best
        matrix = (
            (1 - p.c_1 / 2 - p.c_mu / 2 * total) * state.matrix
            + p.c_1 / 2 * mul(state.matrix, path)[:, None] * path[None, :]
            + p.c_mu / 2 * outer(weights[:, None] * y, z)
        )  # M11, M (I + c_1 / 2 (s s^T - I) + c_mu / 2 (sum of w z z^T - I))
        matrix = jnp.where(finite(matrix), matrix, state.matrix)
        deviations = jnp.linalg.norm(matrix, axis=1)
        largest = deviations.max()
        scale = jnp.where((largest > 1e4) | (largest < 1e-4), largest, 1)
        return dataclasses.replace(
            state,
            mean=mean,
            sigma=floor(sigma * scale, mean, deviations / scale),
            matrix=matrix / scale,
            path=path,
            control=control,
        )

    def _deviations(self, state):
        return state.sigma * jnp.linalg.norm(state.matrix, axis=1)

    def _axis(self, state, index):
        return state.sigma * state.matrix[:, index]
