"""XNES and SNES, natural evolution strategies.

A Gaussian follows the natural gradient of the expected utility of its samples, which depends on their ranks alone. XNES steps
along the exponential map: its covariance matrix A A^T stays positive definite, by A = sigma B with det B = 1 and
B <- B exp(eta / 2 G). SNES has one standard deviation per coordinate instead. Both are invariant to translation and to
monotone transforms of f, XNES to rotation too. O(lam d**2) and O(lam d) a generation.

References: T. Glasmachers, T. Schaul, Y. Sun, D. Wierstra & J. Schmidhuber, Exponential Natural Evolution Strategies, GECCO
2010; D. Wierstra et al., Natural Evolution Strategies, JMLR 15 (2014), 949-980, Algorithms 5 and 6, Table 1.
Departures: where a step of XNES would make an axis more than e**2 times longer or shorter in a generation, the learning rate
of that generation is reduced (SNES: that coordinate's step). Step sizes and the condition number stay within what rounding
resolves.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import KW_ONLY
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxes.checks import as_number, check_value
from jaxes.gaussian import (
    Gaussian,
    GaussianState,
    Rooted,
    condition,
    fitted_deviations,
    floor,
    in_deviations,
    in_sight,
    within_reach,
)
from jaxes.operators.expm import expm, phi
from jaxes.operators.matrix import mul, outer
from jaxes.operators.selection import ranks
from jaxes.operators.shaping import utilities
from jaxes.pytree import assign, pytree

LONGEST = 2.0
"""How much the logarithm of an axis may change in a generation."""

CHECKED = 4
"""Samples of a generation by which the inverse of B is held to B."""


@pytree
class XNESState(GaussianState):
    """What XNES learnt, in units of the initial sigma."""

    sigma: jax.Array  # () step size
    root: jax.Array  # (d, d) B, of determinant 1: the covariance matrix is sigma**2 B B^T
    whiten: jax.Array  # (d, d) the inverse of B


@pytree
class XNES(Rooted):
    """Exponential natural evolution strategy, with full covariance matrix (Glasmachers et al. 2010).

    Args:
        space, lam, lam_max, sigma, start, bounds, sampling: see `jaxes.gaussian.Gaussian`.
        learning_rate: of the step size and of the covariance matrix; default (9 + 3 ln d) / (5 d sqrt(d)), as in Table 1 of
            Wierstra et al. (2014). Small populations need it; one of lam = 4 d or more bears several times as much.
    """

    _: KW_ONLY
    learning_rate: ArrayLike | None = None

    def __post_init__(self):
        super().__post_init__()
        _check_rate("XNES", self)

    def _begin(self, state):
        eye = jnp.eye(self.space.dimension, dtype=state.mean.dtype)
        return XNESState(**vars(state), sigma=jnp.ones((), eye.dtype), root=eye, whiten=eye)

    def _learn(self, state, u, fitness):
        d = self.space.dimension
        eta = (9 + 3 * math.log(d)) / (5 * d * d**0.5) if self.learning_rate is None else self.learning_rate
        w = jnp.asarray(utilities(*self._rows(u.dtype)), u.dtype)[ranks(fitness)]
        y = in_deviations(u, state.mean, state.sigma)
        z = mul(y, state.whiten.T)
        y, z = within_reach(z, y, z)
        turned = _turned(state.root, state.whiten, y, z, w, eta)
        root, whiten, _ = _usable(turned, state.root, state.whiten)
        mean = state.mean + state.sigma * mul(w, y)
        sigma = floor(state.sigma * jnp.exp(turned.growth), mean, jnp.linalg.norm(root, axis=1))
        return dataclasses.replace(state, mean=mean, sigma=sigma, root=root, whiten=whiten)


@pytree
class SNESState(GaussianState):
    """What SNES learnt, in units of the initial sigma."""

    deviations: jax.Array  # (d,) standard deviations


@pytree
class SNES(Gaussian):
    """Separable natural evolution strategy: XNES with one standard deviation per coordinate (Wierstra et al. 2014).

    Args:
        space, lam, lam_max, sigma, start, bounds, sampling: see `jaxes.gaussian.Gaussian`.
        learning_rate: of the standard deviations; default (3 + ln d) / (5 sqrt(d)), as in Table 1.
    """

    _: KW_ONLY
    learning_rate: ArrayLike | None = None

    def __post_init__(self):
        super().__post_init__()
        _check_rate("SNES", self)

    def _begin(self, state):
        return SNESState(**vars(state), deviations=jnp.ones_like(state.mean))

    def _fitted(self, state, steps, width):
        scale, deviations = fitted_deviations(steps, width)
        return dataclasses.replace(state, deviations=scale * deviations)

    def _points(self, state, z):
        return state.mean[None, :] + state.deviations[None, :] * z

    def _learn(self, state, u, fitness):
        d = self.space.dimension
        eta = (3 + math.log(d)) / (5 * d**0.5) if self.learning_rate is None else self.learning_rate
        w = jnp.asarray(utilities(*self._rows(u.dtype)), u.dtype)[ranks(fitness)]
        step = in_sight(u, state.mean, state.deviations) - state.mean[None, :]
        z = step / state.deviations[None, :]
        step, z = within_reach(z, step, z)
        mean = state.mean + mul(w, step)
        growth = jnp.clip(eta / 2 * mul(w, jnp.square(z) - 1), -LONGEST, LONGEST)
        deviations = jax.vmap(lambda s, m: floor(s, m[None], jnp.ones_like(m)[None]))(state.deviations * jnp.exp(growth), mean)
        return dataclasses.replace(state, mean=mean, deviations=deviations)

    def _deviations(self, state):
        return state.deviations


class Turned(NamedTuple):
    """B and its inverse after a step along the exponential map."""

    root: jax.Array  # (d, d) of determinant 1
    whiten: jax.Array  # (d, d)
    trace: jax.Array  # () of G
    growth: jax.Array  # () by which the logarithm of sigma grows, with the learning rate of B
    wrong: jax.Array  # () how far the inverse was off before


def _turned(root: jax.Array, whiten: jax.Array, y: jax.Array, z: jax.Array, w: jax.Array, eta: ArrayLike) -> Turned:
    """B exp(eta / 2 G) with the determinant 1, for samples y = B z (lam, d) and their weights (lam,), which sum to zero."""
    lam, d = y.shape
    # G = sum of w z z^T (the utilities sum to zero, so that the identity drops out) has rank lam at most: where that is
    # less than d, its exponential is that of a (lam, lam) matrix.
    small, tiny = lam < d, float(jnp.finfo(y.dtype).tiny)
    gram = mul(z, z.T) if small else outer(z, z)
    gradient = w[:, None] * gram if small else outer(w[:, None] * z, z)
    length = jnp.sqrt(jnp.maximum(jnp.sum(gradient * gradient.T), tiny))  # |G|, Frobenius
    # An inverse that follows by the inverse factors drifts off by rounding; it is held to B along a few random directions
    # in every generation, z of the first samples (Kaczmarz's projection, shortened so that it never overshoots). B waits
    # where the inverse is a tenth off.
    few = z[:CHECKED]
    missed = mul(y[:CHECKED] - mul(few, root.T), whiten.T)
    amend = missed / jnp.maximum(jnp.abs(mul(few, few.T)).sum(1).max(), tiny)
    wrong = jnp.sum(jnp.square(missed)) / jnp.maximum(jnp.sum(jnp.square(few)), tiny)
    rate = jnp.where(wrong < 0.01, jnp.minimum(eta / 2, LONGEST / length), 0)
    trace = jnp.trace(gradient)
    growth = rate * trace / d

    seen = mul(z, whiten)
    if small:
        forth, back = phi(rate * gradient, LONGEST)
        root = root + rate * outer(y, mul(forth, w[:, None] * z))
        left = -rate * mul(back, w[:, None] * (seen + mul(mul(z, amend.T), seen[:CHECKED])))
        whiten = whiten + outer(jnp.concatenate([z, amend]), jnp.concatenate([left, seen[:CHECKED]]))
    else:
        forth, back = expm(rate * gradient, LONGEST)
        root, whiten = mul(root, forth), mul(back, whiten + outer(amend, seen[:CHECKED]))
    return Turned(jnp.exp(-growth) * root, jnp.exp(growth) * whiten, trace, growth, wrong)


def _usable(turned: Turned, root: jax.Array, whiten: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """B and its inverse after a step, or as they were before it if it made them useless, and () whether it did not."""
    usable = condition(turned.root, turned.whiten) < 1 / jnp.finfo(root.dtype).eps  # and not NaN
    root, whiten = jnp.where(usable, turned.root, root), jnp.where(usable, turned.whiten, whiten)
    eye = jnp.eye(root.shape[0], dtype=root.dtype)  # where nothing but rounding was left, the matrix is learnt anew
    return jnp.where(turned.wrong < 1, root, eye), jnp.where(turned.wrong < 1, whiten, eye), usable


def _check_rate(owner: str, strategy: XNES | SNES) -> None:
    if strategy.learning_rate is not None:
        rate = as_number(owner, "learning_rate", strategy.learning_rate, strategy.space.dtype)
        check_value(owner, "learning_rate", rate, lambda v: (v > 0) & np.isfinite(v), "positive and finite")
        assign(strategy, learning_rate=rate)
