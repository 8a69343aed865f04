"""VkD-CMA-ES, the CMA-ES whose covariance matrix is D (I + V^T S V) D: a diagonal matrix and k directions.

What CMA-ES would learn is projected onto such a matrix in every generation, so that the diagonal of the covariance matrix is
exact and k principal axes of the correlations are kept. O(lam k d) time a generation and O((lam + k) d) memory. Invariant to
translation, scaling of the axes and monotone transforms of f; not to rotation, but a few long axes are found wherever they
point.

Reference: Y. Akimoto & N. Hansen, Projection-based restricted covariance matrix adaptation for high dimension, GECCO 2016,
197-204, in the authors' later form, with the learning rates and the two-point step size of pycma's `GaussVkDSampler` (cma 4.5).
Departures: the number k is fixed (Online model selection for restricted covariance matrix adaptation, PPSN 2016, adapts it).
The vectors are made orthogonal once more, which rounding would spoil, and step sizes and condition numbers stay within what
rounding resolves.
"""

from __future__ import annotations

import dataclasses
from dataclasses import KW_ONLY
from typing import ClassVar

import jax
import jax.numpy as jnp

from jaxes.checks import check_integer
from jaxes.control import Controlled
from jaxes.gaussian import GaussianState, fitted_deviations, floor, in_deviations, reach
from jaxes.operators.cma import parameters
from jaxes.operators.linalg import eigh, qr
from jaxes.operators.matrix import mul, outer
from jaxes.operators.selection import ranks
from jaxes.pytree import assign, pytree, static


@pytree
class VkDCMAESState(GaussianState):
    """What VkD-CMA-ES learnt, in units of the initial sigma. The determinant of D (I + V^T S V) D is 1."""

    sigma: jax.Array  # () step size
    scales: jax.Array  # (d,) D
    vectors: jax.Array  # (k, d) V, of length 1 and orthogonal
    excess: jax.Array  # (k,) S, how much the variance along a vector is above 1
    path_c: jax.Array  # (d,)


@pytree
class VkDCMAES(Controlled):
    """VkD-CMA-ES (Akimoto & Hansen 2016): CMA-ES for thousands of variables, with k directions of its own.

    By default the first two candidates of a generation lie ahead of the mean and behind it, along its last step: which of them
    is better decides on the step size.

    Args:
        space, lam, lam_max, sigma, start, bounds, sampling: see `jaxes.gaussian.Gaussian`.
        directions: k, below d; default 2, at most d - 1. The learning rates are proportional to 1 / (k + 1).
        control: of the step size: "tpa" or "msr": see `jaxes.control`.
    """

    CONTROLS: ClassVar[tuple[str, ...]] = ("tpa", "msr")  # no path in coordinates that a whole matrix would make independent

    _: KW_ONLY
    directions: int | None = static(default=None)
    control: str = static(default="tpa")

    def __post_init__(self):
        super().__post_init__()
        d = self.space.dimension
        count = min(2, d - 1) if self.directions is None else self.directions
        count = check_integer("VkDCMAES", "directions", count, at_least=0)
        if count >= d:
            raise ValueError(f"VkDCMAES(directions=...) must be below the dimension, {d}, got {count}.")
        assign(self, directions=count)

    def _begin(self, state):
        one, zero = jnp.ones_like(state.mean), jnp.zeros_like(state.mean)
        nothing = jnp.zeros(self.directions or 0, zero.dtype)
        return VkDCMAESState(
            **vars(state),
            sigma=one[0],
            scales=one,
            vectors=nothing[:, None] * zero[None, :],
            excess=nothing,
            path_c=zero,
        )

    def _fitted(self, state, steps, width):
        scale, scales = fitted_deviations(steps, width)
        return dataclasses.replace(state, sigma=scale, scales=scales)

    def _points(self, state, z):
        y = state.scales[None, :] * _along(state, z, jnp.sqrt(1 + state.excess) - 1)
        return state.mean[None, :] + state.sigma * y

    def _ahead(self, state):
        return self._whitened(state, state.control.before[None, :])[0]

    def _learn(self, state, u, fitness):
        d, k = self.space.dimension, len(state.excess)
        order, p = ranks(fitness), parameters(d, *self._rows(u.dtype))
        weights, mu_eff = jnp.maximum(jnp.asarray(p.weights, u.dtype), 0), p.mu_eff
        elements = d * (k + 1)
        c_1 = 2 / (elements + d + 2 * (k + 2) + mu_eff)
        c_mu = jnp.minimum(1 - c_1, 2 * (mu_eff - 2 + 1 / mu_eff) / (elements + 4 * (k + 2) + mu_eff))
        c_c = c_1**0.5
        y = in_deviations(u, state.mean, state.sigma)
        y = reach(self._whitened(state, y)) * y
        w = weights[order]
        direction = mul(w, y)
        mean = state.mean + state.sigma * direction

        growth, control = self._growth(state, None, order, fitness, direction)
        sigma = state.sigma * jnp.exp(growth)
        unstalled = control.success < 0.5
        path_c = (1 - c_c) * state.path_c + jnp.where(unstalled, (c_c * (2 - c_c) * mu_eff) ** 0.5, 0) * direction

        # The new matrix is D (a^2 I + U^T U) D.
        squared = 1 - c_mu - c_1 + jnp.where(unstalled, 0, c_1 * c_c * (2 - c_c))
        u = jnp.concatenate(
            [
                jnp.sqrt(squared * state.excess)[:, None] * state.vectors,
                jnp.sqrt(c_mu * w)[:, None] * y / state.scales[None, :],
                (c_1**0.5 * path_c / state.scales)[None, :],
            ]
        )
        told = dataclasses.replace(state, mean=mean, sigma=sigma, path_c=path_c, control=control)
        return self._projected(told, squared, u)

    def _projected(self, state: VkDCMAESState, squared: jax.Array, u: jax.Array) -> VkDCMAESState:
        """The state with the matrix nearest to D (squared I + U^T U) D, for U (n, d)."""
        (n, d), k, eps = u.shape, len(state.excess), float(jnp.finfo(u.dtype).eps)
        total = jnp.sum(jnp.square(u))
        if n < d:
            values, axes = eigh(mul(u, u.T))
            vectors = mul(axes[:, n - k :].T, u)
        else:
            values, axes = eigh(outer(u, u))
            vectors = axes[:, d - k :].T
        values, vectors = values[len(values) - k :][::-1], vectors[::-1]
        known = values > eps * total
        vectors = jnp.where(known[:, None], vectors, 0)
        vectors = qr(vectors.T)[0].T if k else vectors
        rest = jnp.maximum(total - jnp.sum(jnp.where(known, values, 0)), 0) / (d - k)
        excess = jnp.where(known, jnp.clip((values - rest) / (squared + rest), 0, 1 / eps), 0)
        scales = state.scales * jnp.sqrt(
            (squared + jnp.sum(jnp.square(u), axis=0)) / (1 + jnp.sum(excess[:, None] * jnp.square(vectors), axis=0))
        )

        scales = jnp.maximum(scales, eps * scales.max())
        common = jnp.exp(jnp.mean(jnp.log(scales)) + jnp.sum(jnp.log1p(excess)) / (2 * d))
        scales = scales / common
        usable = jnp.isfinite(scales).all() & jnp.isfinite(vectors).all() & (common > 0)
        state = dataclasses.replace(
            state,
            scales=jnp.where(usable, scales, state.scales),
            vectors=jnp.where(usable, vectors, state.vectors),
            excess=jnp.where(usable, excess, state.excess),
            path_c=jnp.where(usable, state.path_c / common, state.path_c),
        )
        return dataclasses.replace(state, sigma=floor(state.sigma, state.mean, jnp.sqrt(_variances(state))))

    def _whitened(self, state: VkDCMAESState, y: jax.Array) -> jax.Array:
        """The standard normal vectors of which steps y (n, d) are made."""
        return _along(state, y / state.scales[None, :], 1 / jnp.sqrt(1 + state.excess) - 1)

    def _deviations(self, state):
        return state.sigma * jnp.sqrt(_variances(state))

    def _condition(self, state):
        # Between the condition number and 1 / d**2 of it: the largest diagonal elements of the matrix and of its inverse.
        share = jnp.sum((state.excess / (1 + state.excess))[:, None] * jnp.square(state.vectors), axis=0)
        return _variances(state).max() * ((1 - share) / jnp.square(state.scales)).max()


def _variances(state: VkDCMAESState) -> jax.Array:
    """(d,) the diagonal of the covariance matrix."""
    return jnp.square(state.scales) * (1 + jnp.sum(state.excess[:, None] * jnp.square(state.vectors), axis=0))


def _along(state: VkDCMAESState, rows: jax.Array, factors: jax.Array) -> jax.Array:
    """Rows (n, d) and their parts along each of the vectors, times factors (k,)."""
    return rows + mul(mul(rows, state.vectors.T) * factors[None, :], state.vectors)
