"""PES and NRES: gradients through long inner problems, of which each generation unrolls one truncation.

An inner problem of T steps (training a network, simulating a system) is unrolled K steps a generation: every candidate, a
particle, goes on from where its own inner state stands, with the parameters that it is given, and its fitness is the loss of
these K steps. The parameters are updated after each truncation. Plain evolution strategies then ignore what earlier
perturbations did to the inner state. PES multiplies a loss by the sum of all perturbations since the inner problem began; NRES
perturbs by the same in all of its truncations. Both are unbiased for the gradient of the total loss of parameters that stay
(smoothed by their perturbations). O(lam d) a generation.

References: P. Vicol, L. Metz & J. Sohl-Dickstein, Unbiased Gradient Estimation in Unrolled Computation Graphs with Persistent
Evolution Strategies, ICML 2021, Algorithm 2. O. Li, J. Harrison, J. Sohl-Dickstein, V. Smith & L. Metz, Variance-Reduced
Gradient Estimation via Noise-Reuse in Online Evolution Strategies, NeurIPS 2023, section 3.
Departures: all particles begin their inner problems together; NRES's are out of step with each other in its paper.
"""

from __future__ import annotations

import dataclasses
from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxes.checks import as_number, check_value
from jaxes.operators.matrix import mul
from jaxes.pytree import assign, pytree, static
from jaxes.strategies.gradients import Gradient, GradientState


@dataclasses.dataclass(frozen=True, eq=False)
class Unrolled(Gradient):
    """A strategy whose candidates are particles.

    The inner states are yours, one per candidate, and the loop is too:

        population, state = strategy.ask(state)
        inner = jax.tree.map(lambda new, old: jnp.where(strategy.inner_step(state) == 0, new, old), begun, inner)
        inner, losses = jax.vmap(unroll)(inner, population)     # K steps, each particle from where it stands
        state = strategy.tell(state, population, losses)

    `strategy.mean(state)` is the answer, and so is `best`: losses of different truncations cannot be compared, and
    `state.best_fitness` is the smallest of all. `jaxes.run` has no inner states; for an objective without, both follow its
    gradient, as OpenAIES does with less variance.

    Args:
        space, lam, lam_max, sigma, start, bounds, sampling, optimizer, learning_rate, shaping: see
            `jaxes.strategies.gradients.Gradient`. Default: Adam, as OpenAIES. Shaping "none": ranks of partial losses would be
            no gradient of their sum.
        horizon: T, the steps of an inner problem; default 100.
        truncation: K, the steps of a generation; default 10. If K does not divide T, the last truncation is shorter.

    horizon and truncation are leaves.
    """

    _: KW_ONLY
    horizon: Any = 100
    truncation: Any = 10
    shaping: str = static(default="none")

    def __post_init__(self):
        super().__post_init__()
        owner = type(self).__name__
        for name in ("horizon", "truncation"):
            check_value(owner, name, getattr(self, name), lambda v: (v == np.round(v)) & (v >= 1), "an integer of at least 1")
            assign(self, **{name: as_number(owner, name, getattr(self, name), np.int32)})

    def inner_step(self, state: Any) -> jax.Array:
        """() int32, the step of their inner problems at which the particles of `ask` stand; at 0, they begin anew."""
        return (state.generation % self._truncations()) * self.truncation

    def best(self, state: Any) -> Any:
        return self.mean(state)

    def _truncations(self) -> Any:
        """() of an inner problem."""
        return -(-self.horizon // self.truncation)


@pytree
class PersistentESState(GradientState):
    """What PES remembers, in units of the initial sigma."""

    scores: jax.Array  # (lam, d) the sum of perturbations / variance since the inner problem began


@pytree
class PersistentES(Unrolled):
    """Persistent evolution strategies, PES (Vicol et al. 2021): fresh perturbations in every truncation, and their sum counts.

    Args:
        see `Unrolled`, which also shows how the inner states go along.
    """

    def _begin(self, state):
        zeros = jnp.zeros((self.population_size, self.space.dimension), state.mean.dtype)
        return PersistentESState(**vars(super()._begin(state)), scores=zeros)

    def _learn(self, state, u, fitness):
        scores = state.scores + self._steps(state, u) / jnp.square(self._size(state))
        ended = (state.generation + 1) % self._truncations() == 0
        return self._followed(state, mul(self._weights(fitness), scores) / self._scale(), scores=jnp.where(ended, 0, scores))


@pytree
class NoiseReuseESState(GradientState):
    """What NRES remembers, in units of the initial sigma."""

    perturbations: jax.Array  # (lam, d) of the inner problem that goes on


@pytree
class NoiseReuseES(Unrolled):
    """Noise-reuse evolution strategies, NRES (Li et al. 2023): the same perturbation in all truncations of an inner problem.

    Less variance than PES, whose grows with the number of truncations, the less the more alike the truncations' gradients are.

    Args:
        see `Unrolled`, which also shows how the inner states go along.
    """

    def _begin(self, state):
        zeros = jnp.zeros((self.population_size, self.space.dimension), state.mean.dtype)
        return NoiseReuseESState(**vars(super()._begin(state)), perturbations=zeros)

    def _size(self, state):
        return self._resolved(state, state.generation - state.generation % self._truncations())  # when they were drawn

    def _points(self, state, z):
        return state.mean[None, :] + jnp.where(self.inner_step(state) == 0, self._size(state) * z, state.perturbations)

    def _learn(self, state, u, fitness):
        step = self._steps(state, u)
        gradient = mul(self._weights(fitness), step) / jnp.square(self._size(state))
        perturbations = jnp.where(self.inner_step(state) == 0, step, state.perturbations)
        return self._followed(state, gradient / self._scale(), perturbations=perturbations)
