"""Reevaluate: every candidate evaluated several times, for objectives with noise.

Where noise exceeds the differences within a population, ranks say nothing and a strategy converges to no optimum at all.
Averages of n evaluations have 1/n of the variance, at n times the price. It helps while a population is near the optimum;
earlier, larger populations are as good (N. Hansen, A. Niederberger, L. Guzzella & P. Koumoutsakos, A method for handling
uncertainty in evolutionary optimization, IEEE Transactions on Evolutionary Computation 13 (2009), 180-197).
"""

from __future__ import annotations

import dataclasses
from dataclasses import KW_ONLY
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxes.checks import check_choice, check_integer
from jaxes.pytree import assign, pytree, static
from jaxes.strategy import LIMIT, Around, Strategy

AVERAGES = {"mean": jnp.mean, "median": jnp.median}


@pytree
class Reevaluate(Around):
    """A strategy that is told averages: each of its candidates is evaluated several times.

    Args:
        strategy: e.g. `CMAES(space)`; of one stage. Restarts go around it: `Restart(Reevaluate(CMAES(space)))`.
        times: evaluations of a candidate; default 5.
        by: "mean", or "median" for noise that now and then is far off.

    The population of `ask` has `times` copies of each candidate, next to each other. The best fitness of the state and of a
    `Result` is an average; targets and histories see single evaluations. One NaN among the evaluations of a candidate makes it
    count as worst.
    """

    strategy: Strategy
    _: KW_ONLY
    times: int = static(default=5)
    by: Literal["mean", "median"] = static(default="mean")

    def __post_init__(self):
        if not isinstance(self.strategy, Strategy):
            raise TypeError(f"Reevaluate(strategy=...) must be a strategy such as jaxes.CMAES(space), got {self.strategy!r}.")
        if len(self.strategy.stages) > 1:
            raise ValueError(f"Reevaluate(strategy=...) must be a strategy of one stage, got {type(self.strategy).__name__}.")
        assign(self, times=check_integer("Reevaluate", "times", self.times, at_least=1))
        check_choice("Reevaluate", "by", self.by, AVERAGES)

    @property
    def population_size(self) -> int:
        return self.times * self.strategy.population_size

    @property
    def evaluations(self) -> Any:
        return self.times * self.strategy.evaluations

    def due(self, state):
        return self.times * self.strategy.due(state)

    def spent(self, state):
        inside = self.strategy.spent(state)
        return jnp.minimum(inside, LIMIT // self.times) * self.times

    def _init(self, state):
        return self.strategy._init(state)

    def _ask(self, state):
        x, state = self.strategy._ask(state)
        return jnp.repeat(x, self.times, axis=0), state

    def tell_flat(self, state, x, fitness):
        average = AVERAGES[self.by](fitness.reshape(-1, self.times), axis=1)
        told = self.strategy.tell_flat(state, x[:: self.times], average)
        invalid = jnp.sum(jnp.isnan(self.counted(state, fitness)), dtype=jnp.int32)  # evaluations, not averages
        return dataclasses.replace(told, invalid=state.invalid + invalid)

    def _tell(self, state, x, fitness):
        raise AssertionError("the strategy inside is told, by tell_flat")

    def inject(self, state, population, solutions):
        once = jax.tree.map(lambda leaf: leaf[:: self.times], population)
        injected = self.strategy.inject(state, once, solutions)
        return jax.tree.map(lambda leaf: jnp.repeat(leaf, self.times, axis=0), injected)

    def best(self, state):
        return self.strategy.best(state)

    def mean(self, state: Any) -> Any:
        """The mean of what the strategy would sample next, as a solution: less lucky than the best."""
        return self.strategy.mean(state)  # type: ignore[attr-defined] # which strategies with a mean have

    def step_size(self, state):
        return self.strategy.step_size(state)

    def fitness_range(self, state):
        return self.strategy.fitness_range(state)

    def stop_reason(self, state):
        return self.strategy.stop_reason(state)
