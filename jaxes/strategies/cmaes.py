"""CMA-ES, the evolution strategy with covariance matrix adaptation.

A Gaussian follows the better half of its samples, away from the worse half: its mean by weighted recombination, its covariance
matrix by the samples' own (rank mu) and by the path of the mean (rank one), its step size by the length of that path.
Invariant to translation, rotation, scaling of the axes and monotone transforms of f. O(d**3) a generation.

Reference: N. Hansen, The CMA Evolution Strategy: A Tutorial (2016), arXiv 1604.00772, Figure 6, with negative weights (active).
Departures: by default the covariance matrix is factored by Cholesky, in a fraction of an eigendecomposition's time, in every
second or fourth generation only where it changes slowly (section B.2 postpones it, too; evaluations stay the same). The path of
the step size then lives in coordinates that turn slowly (Krause, Arbones & Igel, NIPS 2016). The step size grows by a factor of
e a generation at most, stays above what rounding resolves, and follows the path where no side of the box holds the mean.
Where peers differ from the paper, this is the paper: the cmaes package adds 1e-8 to the squared lengths of eq. 46; purecma's
logarithm of the step size follows the square of the path's length, with a damping of its own, in the place of eq. 44.
"""

from __future__ import annotations

import dataclasses
from dataclasses import KW_ONLY
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxes.branch import where_due
from jaxes.checks import check_choice
from jaxes.control import Controlled
from jaxes.gaussian import GaussianState, fitted_root, floor, steps_and_normals
from jaxes.operators.cma import bounded, parameters, relative_length
from jaxes.operators.linalg import cholesky, eigh, solve, solve_triangular
from jaxes.operators.matrix import diagonal, mul, mul_upper, outer_upper
from jaxes.operators.selection import ranks
from jaxes.pytree import pytree, static

SELDOM = 4
"""Roots of the covariance matrix from one look at the shortest axis to the next; at most, generations from root to root."""


@pytree
class CMAESState(GaussianState):
    """What CMA-ES learnt, in units of the initial sigma."""

    sigma: jax.Array  # () step size
    covariance: jax.Array  # (d, d) C, of which the upper triangle counts
    root: jax.Array  # (d, d) R, R^T R = C as it was when last factored: triangular or symmetric. A sample is R^T z
    shortest: jax.Array  # (d,) about a standard deviation along the shortest principal axis of C
    path_sigma: jax.Array  # (d,)
    path_c: jax.Array  # (d,)


class Proposal(NamedTuple):
    """What a generation adds: the new covariance matrix is kept * C + c_1 p_c p_c^T + c_mu sum of w y y^T (eq. 47)."""

    told: Any  # the state with a new mean, step size and paths, and the old covariance matrix
    kept: jax.Array  # ()
    c_1: Any
    weights: jax.Array  # (lam,) c_mu w, the negative ones of eq. 46
    y: jax.Array  # (lam, d) the steps
    z: jax.Array  # (lam, d) what the steps are made of, R^T z = y


@dataclasses.dataclass(frozen=True, eq=False)
class Factored(Controlled):
    """A strategy whose state is a `CMAESState`: its covariance matrix is kept with a root of it."""

    _: KW_ONLY
    root: Literal["cholesky", "symmetric"] = static(default="cholesky")

    def __post_init__(self):
        super().__post_init__()
        check_choice(type(self).__name__, "root", self.root, ("cholesky", "symmetric"))

    def _begin(self, state):
        eye, zero = jnp.eye(self.space.dimension, dtype=state.mean.dtype), jnp.zeros_like(state.mean)
        one, axis = jnp.ones((), state.mean.dtype), jnp.full_like(zero, len(eye) ** -0.5)
        return CMAESState(**vars(state), sigma=one, covariance=eye, root=eye, shortest=axis, path_sigma=zero, path_c=zero)

    def _fitted(self, state, steps, width):
        scale, root = fitted_root(steps, width)
        return self._factored(dataclasses.replace(state, sigma=scale, covariance=mul(root, root.T)))

    def _points(self, state, z):
        return state.mean[None, :] + state.sigma * self._rooted(state, z)

    def _known(self, state, z):
        return self._rooted(state, z), z

    def _rooted(self, state: Any, z: jax.Array) -> jax.Array:
        """(lam, d) the steps of standard normal z (lam, d)."""
        return mul_upper(z, state.root) if self.root == "cholesky" else mul(z, state.root)

    def _solved(self, state: Any, y: jax.Array) -> jax.Array:
        """(n, d) the z of steps y (n, d)."""
        if self.root == "cholesky":
            return solve_triangular(state.root.T, y.T, lower=True).T
        return solve(state.root, y.T).T

    def _seen(self, state, u):
        lengths = jnp.sqrt(diagonal(state.covariance))
        return steps_and_normals(state, u, lengths, lambda y: self._solved(state, y))

    def _proposed(self, state: Any, steps: Any, fitness: jax.Array) -> Proposal:
        """What CMA-ES learns from steps y and the z that they are made of, each (lam, d), and their fitness (lam,)."""
        (y, z), d = steps, self.space.dimension
        p = parameters(d, *self._rows(y.dtype))
        order = ranks(fitness)
        w = jnp.asarray(p.weights, y.dtype)[order]
        best = jnp.maximum(w, 0)

        mean = state.mean + state.sigma * mul(best, y)  # 42
        moved = mul(best, z)
        path_sigma = (1 - p.c_sigma) * state.path_sigma + (p.c_sigma * (2 - p.c_sigma) * p.mu_eff) ** 0.5 * moved  # 43
        length = relative_length(path_sigma, self._free(mean))
        growth, control = self._growth(state, p.c_sigma / p.d_sigma * (length - 1), order, fitness, moved)  # 44
        sigma = state.sigma * jnp.exp(growth)

        age = 2 * (state.generation + 1).astype(y.dtype)
        unstalled = length < (1.4 + 2 / (d + 1)) * jnp.sqrt(1 - (1 - p.c_sigma) ** age)  # h_sigma
        step = (p.c_c * (2 - p.c_c) * p.mu_eff) ** 0.5 * mul(best, y)
        path_c = (1 - p.c_c) * state.path_c + jnp.where(unstalled, step, 0)  # 45
        lost = jnp.where(unstalled, 0, p.c_1 * p.c_c * (2 - p.c_c))
        return Proposal(
            told=dataclasses.replace(state, mean=mean, sigma=sigma, path_sigma=path_sigma, path_c=path_c, control=control),
            kept=1 + lost - p.c_1 - p.c_mu * p.total,
            c_1=p.c_1,
            weights=p.c_mu * bounded(w, z),
            y=y,
            z=z,
        )

    def _period(self, dtype: Any) -> Any:
        """Generations from one root of the covariance matrix to the next."""
        return 1

    def _factored(self, state: Any) -> Any:
        """The state with the root of its covariance matrix, both in numbers that neither overflow nor vanish.

        Where there is no root, the old one stays, and the matrix goes back to what that is a root of.
        """
        largest = diagonal(state.covariance).max()
        scale = jnp.where((largest > 1e8) | (largest < 1e-8), largest, 1)
        covariance = state.covariance / scale
        if self.root == "cholesky":
            root = cholesky(covariance).T

            def followed(axis):
                # A step of power iteration with C^-1; this is exactly the deviation along its vector.
                half = solve_triangular(root.T, axis, lower=True)
                whole = solve_triangular(root, half)
                return jnp.linalg.norm(half) / jnp.sum(jnp.square(whole)) * whole

            due = state.generation % (SELDOM * self._period(root.dtype)) == 0
            shortest = where_due(due | (scale != 1), followed, state.shortest)
        else:
            values, vectors = eigh(covariance)
            least = jnp.finfo(values.dtype).eps * values.max()
            axes = jnp.sqrt(jnp.maximum(values, least))
            # Rounding may leave no positive definite matrix; then the nearest one is remembered.
            nearest = mul(vectors * jnp.square(axes)[None, :], vectors.T)
            covariance = jnp.where(values.min() >= least, covariance, nearest)
            root, shortest = mul(vectors * axes[None, :], vectors.T), axes[0] * vectors[:, 0]
        usable = jnp.isfinite(diagonal(root)).all() & jnp.isfinite(shortest).all() & (scale > 0)
        root, shortest = (jnp.where(usable, new, old) for new, old in ((root, state.root), (shortest, state.shortest)))
        covariance = where_due(~usable, lambda _: mul(root.T, root), covariance)
        scale = jnp.where(usable, jnp.sqrt(scale), 1)
        return dataclasses.replace(
            state,
            covariance=covariance,
            root=root,
            shortest=shortest,
            sigma=state.sigma * scale,
            path_c=state.path_c / scale,
        )

    def _deviations(self, state):
        return state.sigma * jnp.sqrt(diagonal(state.covariance))

    def _condition(self, state):
        """() that of the covariance matrix, or down to 1 / d of it: by the variances along the coordinates and `shortest`."""
        return diagonal(state.covariance).max() / jnp.sum(jnp.square(state.shortest))

    def _axis(self, state, index):
        return state.sigma * state.shortest


@pytree
class CMAES(Factored):
    """CMA-ES (Hansen 2016), with active covariance matrix adaptation.

    Args:
        space, lam, lam_max, sigma, start, bounds, sampling: see `jaxes.gaussian.Gaussian`.
        root: "cholesky", or "symmetric" for the paper's own root of the covariance matrix, by an eigendecomposition in every
            generation: several times slower, and no better in evaluations.
        control: of the step size: "csa", "tpa" or "msr": see `jaxes.control`.
    """

    def _period(self, dtype: Any) -> Any:
        """Generations from one root to the next, in which the matrix changes by less than a twentieth."""
        if self.root == "symmetric":
            return 1
        p = parameters(self.space.dimension, *self._rows(dtype))
        change = 20 * (p.c_1 + p.c_mu)
        if isinstance(change, float):
            return next(n for n in (SELDOM, 2, 1) if n * change < 1 or n == 1)
        return jnp.where(SELDOM * change < 1, SELDOM, jnp.where(2 * change < 1, 2, 1)).astype(jnp.int32)

    def _learn(self, state, steps, fitness):
        told, kept, c_1, weights, y, _ = self._proposed(state, steps, fitness)
        rank_one = c_1 * told.path_c[:, None] * told.path_c[None, :]
        covariance = kept * state.covariance + rank_one + outer_upper(weights[:, None] * y, y)  # 47
        # What is not read would drift off, to infinity after convergence.
        told = dataclasses.replace(told, covariance=jnp.triu(covariance))
        period = self._period(y.dtype)
        always = isinstance(period, int) and period == 1
        told = self._factored(told) if always else where_due(state.generation % period == 0, self._factored, told)
        return dataclasses.replace(told, sigma=floor(told.sigma, told.mean, jnp.sqrt(diagonal(told.covariance))))
