"""CEM and IAMaLGaM, estimation of distribution algorithms: a Gaussian is estimated anew from the best of its samples.

CEM smooths the mean and the variances of an elite. IAMaLGaM remembers the covariance matrix of its selection over generations,
moves part of a population on along the path of the mean (anticipated mean shift), and scales the matrix up while improvements
are found more than a standard deviation away, down where there are none (adaptive variance scaling). Invariant to translation
and to monotone transforms of f. O(lam d) a generation; O(d**3 + lam d**2) for a full matrix.

References: P.-T. de Boer, D. Kroese, S. Mannor & R. Rubinstein, A Tutorial on the Cross-Entropy Method, Annals of Operations
Research 134 (2005), 19-67, section 5; R. Rubinstein & D. Kroese, The Cross-Entropy Method (2004), for dynamic smoothing.
P. Bosman, J. Grahl & D. Thierens, Benchmarking Parameter-Free AMaLGaM on Functions With and Without Noise, Evolutionary
Computation 21 (2013), 445-469; P. Bosman, On Empirical Memory Design, Faster Selection of Bayesian Factorizations and
Parameter-Free Gaussian EDAs, GECCO 2009.
Departures: they start from a Gaussian; IAMaLGaM from a uniform population in the papers, which also carry the best solution
along in the population. No variance falls below what rounding resolves.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import KW_ONLY
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxes.checks import as_number, check_choice, check_integer, check_value
from jaxes.gaussian import Gaussian, GaussianState, fitted_deviations, fitted_root, in_sight
from jaxes.operators.linalg import cholesky, solve_triangular
from jaxes.operators.matrix import diagonal, mul, mul_upper, outer
from jaxes.operators.selection import ranks
from jaxes.pytree import assign, pytree, static
from jaxes.space import as_space


@pytree
class CEMState(GaussianState):
    """What CEM learnt, in units of the initial sigma."""

    variance: jax.Array  # (d,)


@pytree
class CEM(Gaussian):
    """Cross-entropy method with independent coordinates (de Boer et al. 2005; Rubinstein & Kroese 2004).

    Args:
        space, lam_max, sigma, start, bounds, sampling: see `jaxes.gaussian.Gaussian`; the default of sigma is 0.3 of the box's
            width.
        lam: candidates a generation; default 100, and
        elite: how many of them the distribution is estimated from; default a tenth, as in the tutorial's examples.
        smoothing: weight of the elite's mean against the old mean; default 0.7, of the 0.5 to 0.9 recommended.
        variance_smoothing: weight of the elite's variances in the first generation; default 0.9, of 0.8 to 0.99.
        variance_decay: power q with which that weight falls, to variance_smoothing * (1 - (1 - 1/t)**q) in generation t: the
            variances shrink as a power of t and not exponentially, lest they vanish before the optimum is found. Default 5,
            of 5 to 10; infinity keeps the weight constant.
    """

    WIDE: ClassVar[float] = 0.3  # about that of the uniform distribution, which the method starts from

    _: KW_ONLY
    elite: int | None = static(default=None)
    smoothing: ArrayLike = 0.7
    variance_smoothing: ArrayLike = 0.9
    variance_decay: ArrayLike = 5.0

    def __post_init__(self):
        if self.lam is None:
            assign(self, lam=100)
        super().__post_init__()
        if self.elite is not None:
            assign(self, elite=check_integer("CEM", "elite", self.elite, at_least=1))
            if self.elite > self.population_size:
                raise ValueError(f"CEM(elite=...) must be at most lam={self.lam}, got {self.elite}.")
        for name in ("smoothing", "variance_smoothing", "variance_decay"):
            assign(self, **{name: as_number("CEM", name, getattr(self, name), self.space.dtype)})
        for name in ("smoothing", "variance_smoothing"):
            check_value("CEM", name, getattr(self, name), lambda v: (v > 0) & (v <= 1), "above 0 and at most 1")
        check_value("CEM", "variance_decay", self.variance_decay, lambda v: v > 0, "positive")

    def enlarged(self, factor):
        elite = None if self.elite is None else factor * self.elite
        return dataclasses.replace(self, lam=factor * self.lam, elite=elite)

    def _begin(self, state):
        return CEMState(**vars(state), variance=jnp.ones_like(state.mean))

    def _fitted(self, state, steps, width):
        scale, deviations = fitted_deviations(steps, width)
        return dataclasses.replace(state, variance=jnp.square(scale * deviations))

    def _points(self, state, z):
        return state.mean[None, :] + jnp.sqrt(state.variance)[None, :] * z

    def _learn(self, state, u, fitness):
        u, lam = in_sight(u, state.mean, self._deviations(state)), jnp.asarray(self.lam, u.dtype)
        elite = jnp.maximum(1, jnp.round(lam / 10)) if self.elite is None else jnp.minimum(self.elite, lam)
        w = jnp.where(ranks(fitness).astype(u.dtype) < elite, 1 / elite, 0)
        center = mul(w, u)
        variance = mul(w, jnp.square(u - center[None, :]))
        age = (state.generation + 1).astype(u.dtype)
        weight = self.variance_smoothing * (1 - (1 - 1 / age) ** self.variance_decay)
        mean = self.smoothing * center + (1 - self.smoothing) * state.mean
        variance = weight * variance + (1 - weight) * state.variance
        return dataclasses.replace(state, mean=mean, variance=_bounded(variance, mean))

    def _deviations(self, state):
        return jnp.sqrt(state.variance)


@pytree
class IAMaLGaMState(GaussianState):
    """What IAMaLGaM learnt, in units of the initial sigma."""

    covariance: jax.Array  # (d, d), or (d,) its diagonal
    root: jax.Array  # (d, d) its lower triangular factor, or (d,)
    shift: jax.Array  # (d,) what the mean moved by, averaged over generations
    multiplier: jax.Array  # () of the covariance matrix
    stalled: jax.Array  # () int32, generations without improvement


@pytree
class IAMaLGaM(Gaussian):
    """Incremental AMaLGaM (Bosman, Grahl & Thierens 2013), with a full or a diagonal covariance matrix.

    Args:
        space, lam_max, sigma, start, bounds, sampling: see `jaxes.gaussian.Gaussian`; the default of sigma is 0.3 of the box's
            width.
        lam: candidates a generation; default 10 sqrt(d), with a diagonal matrix 4 sqrt(d), as in the paper.
        model: "full" or "univariate".
    """

    WIDE: ClassVar[float] = 0.3
    LEAST: ClassVar[int] = 6  # so that two are selected

    _: KW_ONLY
    model: Literal["full", "univariate"] = static(default="full")

    def __post_init__(self):
        check_choice("IAMaLGaM", "model", self.model, RATES)
        if self.lam is None:
            factor = {"full": 10, "univariate": 4}[self.model]
            assign(self, lam=max(self.LEAST, math.floor(factor * math.sqrt(as_space(self.space).dimension))))
        super().__post_init__()

    def _begin(self, state):
        one = jnp.ones_like(state.mean)
        matrix = one if self.model == "univariate" else jnp.diag(one)
        zero = jnp.zeros_like(one)
        return IAMaLGaMState(
            **vars(state), covariance=matrix, root=matrix, shift=zero, multiplier=one[0], stalled=jnp.zeros((), jnp.int32)
        )

    def _fitted(self, state, steps, width):
        scale, root = (fitted_deviations if self.model == "univariate" else fitted_root)(steps, width)
        root = scale * root
        covariance = jnp.square(root) if self.model == "univariate" else mul(root, root.T)
        return dataclasses.replace(state, covariance=covariance, root=root)

    def _points(self, state, z):
        y = state.root[None, :] * z if self.model == "univariate" else mul_upper(z, state.root.T)
        shifted = jnp.arange(self.population_size, dtype=jnp.int32) < selection_size(self.lam) // 2
        anticipated = jnp.where(shifted[:, None], 2 * state.multiplier * state.shift[None, :], 0)
        return state.mean[None, :] + jnp.sqrt(state.multiplier) * y + anticipated

    def _learn(self, state, u, fitness):
        u, selected = in_sight(u, state.mean, self._deviations(state)), selection_size(self._number(u.dtype))
        eta, eta_shift = learning_rates(self.space.dimension, selected, self.model)
        w = jnp.where(ranks(fitness).astype(u.dtype) < selected, 1 / selected, 0).astype(u.dtype)
        mean = mul(w, u)
        shift = (1 - eta_shift) * state.shift + eta_shift * (mean - state.mean)
        y = u - mean[None, :]
        if self.model == "univariate":
            covariance = (1 - eta) * state.covariance + eta * mul(w, jnp.square(y))
            covariance = _bounded(covariance, mean)
            root = jnp.sqrt(covariance)
        else:
            covariance = (1 - eta) * state.covariance + eta * outer(w[:, None] * y, y)
            variances = diagonal(covariance)
            covariance = covariance + jnp.diag(_bounded(variances, mean) - variances)
            root = cholesky(covariance)
            usable = jnp.isfinite(root).all()
            covariance, root = jnp.where(usable, covariance, state.covariance), jnp.where(usable, root, state.root)
        multiplier, stalled = self._scaled(state, u, fitness)
        return dataclasses.replace(
            state, mean=mean, shift=shift, covariance=covariance, root=root, multiplier=multiplier, stalled=stalled
        )

    def _scaled(self, state, u, fitness):
        """Adaptive variance scaling, by how far from the mean, in standard deviations, improvements are on average."""
        better = fitness < state.best_fitness
        share = better.astype(u.dtype) / jnp.maximum(jnp.sum(better), 1).astype(u.dtype)
        away = mul(share, u - state.mean[None, :])
        away = away / state.root if self.model == "univariate" else solve_triangular(state.root, away, lower=True)
        ratio = jnp.abs(away).max() / jnp.sqrt(state.multiplier)
        improved, patience = better.any(), 25 + self.space.dimension
        old = state.multiplier
        stalled = jnp.where(improved, 0, state.stalled + jnp.where(old <= 1, 1, 0).astype(jnp.int32))
        up = jnp.maximum(old, 1) / jnp.where(ratio > 1, 0.9, 1)
        down = jnp.where((old > 1) | (stalled >= patience), 0.9 * old, old)
        down = jnp.where((stalled < patience) & (down < 1), 1, down)
        return jnp.clip(jnp.where(improved, up, down), 1e-10, 1e10), stalled

    def _deviations(self, state):
        variance = state.covariance if self.model == "univariate" else diagonal(state.covariance)
        return jnp.sqrt(state.multiplier * variance)


RATES = {"full": ((-1.1, 1.2, 1.6), (-1.2, 0.31, 0.5)), "univariate": ((-0.4, 0.15, -0.034), (-0.31, 0.27, 0.067))}
"""Of the covariance matrix and of the shift, by Bosman (2009)."""


def selection_size(lam: Any) -> Any:
    """How many of a population IAMaLGaM selects: floor(0.35 lam), without the rounding of 0.35."""
    return 7 * lam // 20


def learning_rates(d: int, selected: Any, model: str) -> tuple[Any, Any]:
    """Of the covariance matrix and of the mean shift."""
    exp: Any = math.exp if isinstance(selected, int) else jnp.exp
    eta, eta_shift = (1 - exp(a * selected**b / d**c) for a, b, c in RATES[model])
    return eta, eta_shift


def _bounded(variance: jax.Array, mean: jax.Array) -> jax.Array:
    """Variances (d,) that rounding resolves around a mean (d,) and that do not overflow."""
    info = jnp.finfo(variance.dtype)
    least = jnp.maximum(info.eps * jnp.abs(mean), float(info.tiny) ** 0.25)
    return jnp.clip(variance, jnp.square(least), float(info.max) ** 0.5)
