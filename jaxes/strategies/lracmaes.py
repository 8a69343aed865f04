"""LRA-CMA-ES, CMA-ES that adapts its learning rates: for noisy objectives and for many optima, at the default population size.

What CMA-ES would change of its mean and of its covariance matrix is multiplied by two factors eta of at most 1. They follow the
signal-to-noise ratio of these changes, estimated from their moving averages: a factor settles where that ratio is alpha times
the factor. A smooth objective takes three to five times the evaluations of CMA-ES. Of Rastrigin's optima in 10 dimensions,
lam = 10 finds the best one in every run, in some 400,000 evaluations. Invariances are those of CMA-ES. O(d**3) a generation.

For a change delta, in coordinates in which the old distribution is standard normal (and over sqrt(2) that of the matrix):
    E <- (1 - beta) E + beta delta,    V <- (1 - beta) V + beta |delta|**2
    ratio = (|E|**2 - beta / (2 - beta) V) / (V - |E|**2)
    eta <- eta exp(min(gamma eta, beta) clip(ratio / (alpha eta) - 1, -1, 1)), at most 1
and where the mean's eta changes, the step size does by the inverse factor.

Reference: M. Nomura, Y. Akimoto & I. Ono, CMA-ES with Learning Rate Adaptation: Can CMA-ES with Default Population Size Solve
Multimodal and Noisy Problems?, GECCO 2023 (arXiv 2304.03473), and `cmaes.CMA(lr_adapt=True)`.
Departures: recombination weights may be negative, as in the cmaes package; the authors' own experiments did without. Where
the box is finite, a smaller learning rate does not enlarge the step size beyond a tenth of its width: or else runs in a box
lose themselves at its sides. With root="cholesky", the averages live in coordinates that turn slowly, as the path of the step
size does. What `jaxes.CMAES` does for rounding is done here too.
"""

from __future__ import annotations

import dataclasses
from dataclasses import KW_ONLY
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxes.checks import as_number, check_value
from jaxes.gaussian import floor
from jaxes.operators.linalg import log_determinant
from jaxes.operators.matrix import diagonal, outer
from jaxes.pytree import assign, pytree, where
from jaxes.settings import share_of_width
from jaxes.strategies.cmaes import CMAESState, Factored

BETA_MEAN, BETA_COVARIANCE = 0.1, 0.03
"""How fast the averages forget."""

GAMMA = 0.1
"""How much the logarithm of a factor may change in 1 / eta generations."""


ROOM = 0.1
"""The standard deviation, in widths of the box, up to which a smaller learning rate enlarges the step size."""


@pytree
class Rate:
    """A learning rate factor and what it follows."""

    eta: jax.Array  # () the factor
    average: jax.Array  # (d,) or (d, d) E, the changes' moving average, in coordinates in which the samples are standard normal
    square: jax.Array  # () V, that of their squared length


@pytree
class LRACMAESState(CMAESState):
    """What LRA-CMA-ES learnt, in units of the initial sigma. The determinant of the covariance matrix is 1."""

    rate_mean: Rate
    rate_covariance: Rate


@pytree
class LRACMAES(Factored):
    """CMA-ES with learning rate adaptation (Nomura, Akimoto & Ono 2023).

    Args:
        space, lam, lam_max, sigma, start, bounds, sampling: see `jaxes.gaussian.Gaussian`.
        root: as in `CMAES`.
        alpha: the signal-to-noise ratio to keep, per learning rate factor; default 1.4, as in the paper. A larger one makes
            smaller steps.

    On a noisy objective, `strategy.mean(state)` is the answer: `best` was lucky. Reasons to stop, which look at fitness, may
    end a noisy run early: see `jaxes.Stop(converged=False)`.
    """

    CONTROLS: ClassVar[tuple[str, ...]] = ("csa",)  # its growth is part of the change whose noise is measured

    _: KW_ONLY
    alpha: ArrayLike = 1.4

    def __post_init__(self):
        super().__post_init__()
        alpha = as_number("LRACMAES", "alpha", self.alpha, self.space.dtype)
        check_value("LRACMAES", "alpha", alpha, lambda v: (v > 0) & np.isfinite(v), "positive and finite")
        assign(self, alpha=alpha)

    def _begin(self, state):
        begun = super()._begin(state)
        one, zero = jnp.ones_like(begun.sigma), jnp.zeros_like(begun.sigma)
        rates = {
            "rate_mean": Rate(one, jnp.zeros_like(begun.mean), zero),
            "rate_covariance": Rate(one, jnp.zeros_like(begun.covariance), zero),
        }
        return LRACMAESState(**vars(begun), **rates)

    def _learn(self, state, steps, fitness):
        told, kept, c_1, weights, _, z = self._proposed(state, steps, fitness)
        d, eye = self.space.dimension, jnp.eye(self.space.dimension, dtype=z.dtype)
        # In coordinates of the old distribution: its matrix is 1, and the new one is what follows.
        path, by_mean = self._solved(state, jnp.stack([told.path_c, (told.mean - state.mean) / state.sigma]))
        covariance = kept * eye + c_1 * path[:, None] * path[None, :] + outer(weights[:, None] * z, z)
        by_covariance = jnp.square(told.sigma / state.sigma) * covariance - eye
        rate_mean = self._adapted(state.rate_mean, by_mean, BETA_MEAN)
        rate_covariance = self._adapted(state.rate_covariance, by_covariance / 2**0.5, BETA_COVARIANCE)

        mean = state.mean + rate_mean.eta * (told.mean - state.mean)
        covariance = eye + rate_covariance.eta * by_covariance
        told = dataclasses.replace(told, mean=mean, sigma=state.sigma, rate_mean=rate_mean, rate_covariance=rate_covariance)
        covariance = self._rooted(state, self._rooted(state, covariance).T)  # R^T C R
        new = self._factored(dataclasses.replace(told, covariance=covariance))
        # The scale of the matrix goes into the step size, which a smaller step of the mean wants larger.
        triangular = self.root == "cholesky"
        volume = jnp.sum(jnp.log(diagonal(new.root))) if triangular else log_determinant(new.root)
        scale = jnp.exp(volume / d)
        scale = jnp.where(jnp.isfinite(scale) & (scale > 0), scale, 1)
        deviations = jnp.sqrt(diagonal(new.covariance)) / scale
        sigma, most = new.sigma * scale, jnp.min(share_of_width(self.space, ROOM) / (self._unit() * deviations))
        corrected = jnp.minimum(sigma * state.rate_mean.eta / rate_mean.eta, jnp.maximum(sigma, most))
        return dataclasses.replace(
            new,
            sigma=floor(corrected, mean, deviations),
            covariance=new.covariance / jnp.square(scale),
            root=new.root / scale,
            shortest=new.shortest / scale,
            path_c=told.path_c,
        )

    def _adapted(self, rate: Rate, change: jax.Array, beta: float) -> Any:
        """The rate after a change that CMA-ES wants to make, in which a standard normal step has length 1."""
        average = (1 - beta) * rate.average + beta * change
        square = (1 - beta) * rate.square + beta * jnp.sum(jnp.square(change))
        signal, tiny = jnp.sum(jnp.square(average)), float(jnp.finfo(square.dtype).tiny)
        ratio = (signal - beta / (2 - beta) * square) / jnp.maximum(square - signal, tiny)
        aim = jnp.clip(ratio / (self.alpha * rate.eta) - 1, -1, 1)
        eta = jnp.minimum(rate.eta * jnp.exp(jnp.minimum(GAMMA * rate.eta, beta) * aim), 1)
        # A candidate from far away, as a user may tell, says nothing of what sampling does.
        known = jnp.isfinite(square) & jnp.isfinite(signal) & jnp.isfinite(eta)
        return where(known, Rate(eta, average, square), rate)
