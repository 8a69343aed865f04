"""Restart: what happens after a run has ended, with budget left.

References: A. Auger & N. Hansen, A restart CMA evolution strategy with increasing population size, CEC 2005 (IPOP);
N. Hansen, Benchmarking a BI-population CMA-ES on the BBOB-2009 function testbed, GECCO 2009 (BIPOP), with the details of its
reference implementation, pycma.
"""

from __future__ import annotations

import dataclasses
from dataclasses import KW_ONLY
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxes import random
from jaxes.checks import as_number, check_choice, check_integer, check_whole
from jaxes.pytree import assign, pytree, static
from jaxes.space import Space
from jaxes.stages import Plan, Staged, most_generations
from jaxes.stop import as_stop
from jaxes.strategy import LIMIT, Purpose, Strategy

POLICIES = "plain", "ipop", "bipop"


@pytree
class Regimes:
    """What BIPOP and IPOP remember."""

    doublings: jax.Array  # () int32, how often the large population was doubled
    large: jax.Array  # () bool, whether the run under way is one with the large population
    spent: jax.Array  # (2,) int32, evaluations of all runs with small and with large populations


@pytree
class Restart(Staged):
    """Runs a strategy again and again, from elsewhere and with other population sizes, as long as there is budget.

    Args:
        strategy: e.g. `CMAES(space)`. A run ends for its own reasons (`StopReason.TOLX` and what follows it). `ES` with seeds
            and `Islands` with starts of their own, which begin every run at the same points, are refused.
        policy: "plain" repeats it; "ipop" doubles the population each time; "bipop" does so too, and in between spends as many
            evaluations on runs with small populations and small initial step sizes at random. Default "bipop": the best of the
            three where nothing is known about the objective (Hansen 2009). The last two need a strategy whose population
            can be changed, "bipop" one whose step size can be as well.
        doublings: how often the population is doubled at most; default 9. Later runs keep the largest.
        restarts: after how many restarts a run is the last; default none, they end with the budget of `Stop`.
        most: generations after which a run ends at the latest; default 100 + 150 (d + 3)**2 / sqrt(lam), as in pycma.
        when: a `Stop`, or a dict of its arguments, that ends a single run too: for strategies without reasons of their own. Its
            target and its budget are not for that: they end all.

    Later runs start uniformly in the box; in coordinates without bounds, where the strategy was given its start. The first run
    is the strategy's own, bit for bit. `state.log` tells of the last 32 runs.

    The population of `ask` has as many rows as the largest; by hand, `current(state)` is the strategy to ask and tell then,
    whose population is as large as it needs to be.
    """

    strategy: Strategy
    _: KW_ONLY
    policy: Literal["plain", "ipop", "bipop"] = static(default="bipop")
    doublings: int = static(default=9)
    restarts: ArrayLike | None = None
    most: ArrayLike | None = None
    when: Any = None

    def __post_init__(self):
        if not isinstance(self.strategy, Strategy):
            raise TypeError(f"Restart(strategy=...) must be a strategy such as jaxes.CMAES(space), got {self.strategy!r}.")
        if len(self.strategy.stages) > 1:
            raise ValueError(f"Restart(strategy=...) must be a strategy of one stage, got {type(self.strategy).__name__}.")
        if not isinstance(self.strategy.evaluations, int):
            raise ValueError("Restart(strategy=...) must have no lam_max: Restart itself chooses population sizes.")
        check_choice("Restart", "policy", self.policy, POLICIES)
        assign(self, doublings=check_integer("Restart", "doublings", self.doublings, at_least=0))
        for name, least in (("restarts", 0), ("most", 1)):
            value = getattr(self, name)
            if value is not None:
                number = as_number("Restart", name, value, np.int32)
                check_whole("Restart", name, value, least, LIMIT)
                assign(self, **{name: number})
        when = as_stop(self.when)
        for name in ("target", "evaluations"):
            if getattr(when, name) is not None:
                raise ValueError(f"Restart(when=...) ends single runs; give {name} as stop={{{name!r}: ...}} of the whole run.")
        assign(self, when=when)
        try:
            self.strategy.started(getattr(self.strategy, "start", None))
        except ValueError as error:
            raise ValueError(f"Restart(strategy=...) must be able to begin elsewhere: {error}") from None
        try:
            if self.policy != "plain":
                self.strategy.enlarged(2)
            if self.policy == "bipop":
                self.strategy.rescaled(jnp.ones((), self.space.dtype))
        except ValueError as error:
            raise ValueError(f"Restart(policy={self.policy!r}) cannot change {type(self.strategy).__name__}: {error}") from None

    @property
    def space(self) -> Space:  # type: ignore[override] # a field elsewhere; here it follows from another
        return self.strategy.space

    @property
    def lam(self) -> int:
        """Candidates a generation of the first run."""
        return self.strategy.population_size

    @property
    def members(self):
        if self.policy == "plain":
            return (self.strategy,)
        members = tuple(self.strategy.enlarged(2**k) for k in range(self.doublings + 1))
        if self.policy == "bipop" and hasattr(self.strategy, "lam_max"):
            return tuple(dataclasses.replace(member, lam_max=member.population_size) for member in members)
        return members

    @property
    def scales(self) -> bool:
        return self.policy == "bipop"

    def _first(self, start):
        zero = jnp.zeros((), jnp.int32)
        policy = Regimes(zero, jnp.zeros((), bool), jnp.zeros(2, jnp.int32))
        return self._plan(zero, jnp.ones((), start.dtype), self._given(start), LIMIT), policy

    def _next(self, state, start):
        old, evaluations = state.policy, state.spent - state.begun
        spent = old.spent + jnp.stack([jnp.where(old.large, 0, evaluations), jnp.where(old.large, evaluations, 0)])
        one = jnp.ones((), start.dtype)
        if self.policy == "plain":
            return self._plan(jnp.zeros((), jnp.int32), one, start, LIMIT), old
        # The first run counts as one with a small population, and the second is one with a large one.
        small = (spent[0] < spent[1]) & (self.policy == "bipop")
        doublings = jnp.minimum(old.doublings + jnp.where(small, 0, 1).astype(jnp.int32), self.doublings)
        u = random.uniform(random.fold_in(state.key, state.runs, Purpose.STEP_SIZE), (2,), start.dtype)
        size = doublings.astype(start.dtype) * jnp.where(small, u[0] ** 2, 1)
        scale = jnp.where(small, 0.01 ** u[1], 1)
        plan = self._plan(size, scale, start, jnp.where(small, spent[1] // 2, LIMIT))
        return plan, Regimes(doublings, ~small, spent)

    def _plan(self, size: jax.Array, scale: jax.Array, start: jax.Array, most: ArrayLike) -> Plan:
        """A run whose population is doubled `size` times, a whole number or not, and that may take `most` evaluations."""
        members = self.members
        sizes = jnp.asarray([member.population_size for member in members], jnp.int32)
        # A whole number of doublings is exact; rounding must not lose it.
        lam = jnp.clip(jnp.floor(self.lam * 2 ** size.astype(scale.dtype) + 1e-3).astype(jnp.int32), self.lam, sizes[-1])
        stage = jnp.sum(sizes < lam, dtype=jnp.int32)
        if getattr(members[0], "lam_max", None) is None:
            lam = sizes[stage]
        d, dtype = self.space.dimension, scale.dtype
        cap = most_generations(d, self.lam) if self.most is None else jnp.asarray(self.most)
        generations = jnp.minimum(cap, jnp.maximum(jnp.asarray(most, jnp.int32) // lam, 1))
        return Plan(stage, lam, scale.astype(dtype), start, generations, jnp.zeros((), bool))

    def _enough(self, state):
        return jnp.zeros((), bool) if self.restarts is None else state.runs >= self.restarts
