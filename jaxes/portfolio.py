"""Portfolio: algorithms that share the budget of a run by their progress, for objectives of which nothing is known.

1. `jaxes.axes.AxisSearch` asks, with d + 2 evaluations, whether the objective is a sum of functions of one coordinate each. If
   so, it searches all axes for their global minima, and CMA-ES finishes with small steps.
2. If not, CMA-ES runs once with its default population: all that many smooth objectives need.
3. From then on two members take turns. CMA-ES with a growing population, four times the default at first and doubled for every
   run (Auger & Hansen 2005), finds the best of many optima that follow a common trend. Differential evolution with a small
   population, jDE (Brest et al. 2006), keeps several regions in play where there is no such trend; where it has contracted,
   CMA-ES finishes with small steps.

The next run is for the member that has spent less: the first may spend 1.75 times as much as the second, and the one with the
better solution four times as much as that, once both have spent 400 d evaluations, and 3,500. A run that converges to something
worse than what is known is given up.
"""

from __future__ import annotations

import dataclasses
from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp

from jaxes.axes import AxisSearch
from jaxes.checks import check_integer
from jaxes.pytree import assign, pytree, static, where
from jaxes.settings import check_beginning, point, positive
from jaxes.space import Space, as_space
from jaxes.stages import Plan, Staged, most_generations
from jaxes.strategies.cmaes import CMAES
from jaxes.strategies.de import JDE
from jaxes.strategy import StopReason, first_reason

AXES, LOCAL, EVOLUTION, GROWING = range(4)
"""The members; all from the last on have growing populations."""
PRELUDE, GROWN, EVOLVED = range(3)
"""What a run is for."""

SHARES = 1.75, 1.0
LEAD = 4.0
TRIED, TRIED_AT_LEAST = 400, 3500
"""What the growing populations and differential evolution may spend; how much more it is for the better one, and how many
evaluations per dimension, and in all, both have spent before that counts. Chosen with the BBOB functions in 5-D and 10-D: what
shares would have done was computed from the evaluations that each member alone took to each target, and then tried. In few
dimensions too, it takes a population of 20 some 3,500 evaluations until what it has found says what it is going to find: on f20
in 5-D, differential evolution, with one run of CMA-ES before, has reached a share of .23 of the targets after 5,000 evaluations
and .98 after 25,000."""

FIRST_FACTOR = 4
"""The growing populations' first, over CMA-ES' default."""
FUTILE = 0.1
"""A run is given up when its fitness lies within this part of its distance to the best that was found: without, half of a run's
evaluations bring a local optimum to the last digit."""
INDIVIDUALS, RENEWAL = 20, 0.2
"""Of the differential evolution: how many, and how probably F and CR are new, twice jDE's 0.1. All begin with CR 0.9; f20 of
BBOB, which hardly couples its coordinates, asks for less, and is solved a fifth sooner in 5-D."""
SLICE = 400
"""Evaluations per dimension after which differential evolution pauses: it may take long to contract."""
CONTRACTED = 0.01
"""Of the box: differential evolution ends when it has contracted to that (over its initial deviation)."""
FINISH_AXES, FINISH_EVOLUTION = 1e-3, 0.05
"""Initial steps of CMA-ES where it finishes, over its usual ones."""


@pytree
class Contracting(JDE):
    """jDE that ends once its population is within a small part of the box."""

    def stop_reason(self, state):
        deviations = jnp.std(self._away(state.parents, state.parents[:1]), axis=0)
        contracted = first_reason(state, {StopReason.DIVERSITY: jnp.all(deviations < CONTRACTED * self._unit())})
        return jnp.where(contracted == StopReason.RUNNING, super().stop_reason(state), contracted)


@pytree
class Shares:
    """What the portfolio remembers of its members."""

    purpose: jax.Array  # () int32, what the run under way is for
    spent: jax.Array  # (3,) int32 evaluations for each purpose
    found: jax.Array  # (3,) the best fitness of each
    growth: jax.Array  # () int32, how many runs had growing populations
    paused: jax.Array  # () bool, whether differential evolution goes on where it was


@pytree
class Portfolio(Staged):
    """A search along the axes, CMA-ES with growing populations and differential evolution share the budget of a run.

    Args:
        space: a `Box` or a pytree of them.
        start: where CMA-ES begins, a solution; default uniform in the box. Needed where there is an infinite side.
        sigma: its initial standard deviation, as for `CMAES`. Needed where there is an infinite side.
        doublings: how often the growing population is doubled at most, from four times the default; default 6.

    It needs no settings and ends with its budget: `stop={"evaluations": ...}`, or a target.
    """

    space: Space
    _: KW_ONLY
    start: Any = None
    sigma: Any = None
    doublings: int = static(default=6)

    def __post_init__(self):
        space = as_space(self.space)
        assign(self, space=space, doublings=check_integer("Portfolio", "doublings", self.doublings, at_least=0))
        assign(self, start=point("Portfolio", space, "start", self.start))
        assign(self, sigma=positive("Portfolio", space, "sigma", self.sigma))
        check_beginning("Portfolio", space, start=self.start, sigma=self.sigma)

    @property
    def members(self):
        given = {"start": self.start, "sigma": self.sigma}
        cmaes = CMAES(self.space, **given)
        spread = None if self.start is None else self.sigma
        evolution = Contracting(self.space, lam=INDIVIDUALS, renewal=RENEWAL, start=self.start, spread=spread)
        grown = (cmaes.enlarged(FIRST_FACTOR * 2**k) for k in range(self.doublings + 1))
        return (AxisSearch(self.space, **given), cmaes, evolution, *grown)

    @property
    def futile(self):
        return FUTILE

    @property
    def expected(self):
        return GROWING + 1

    def member(self, stage, plan):
        member = self.members[stage]
        if not isinstance(member, CMAES):
            return member
        return dataclasses.replace(member.rescaled(plan.scale), start=self.space.decode(plan.start))

    def _first(self, start):
        count = jnp.zeros(3, jnp.int32)
        policy = Shares(count[PRELUDE], count, jnp.full(3, jnp.inf, start.dtype), count[0], jnp.zeros((), bool))
        return self._plan(AXES, 1, start), policy

    def _next(self, state, start):
        old, stage, last = state.policy, state.plan.stage, state.log.fitness[(state.runs - 1) % state.log.fitness.shape[0]]
        spent = old.spent.at[old.purpose].add(state.spent - state.begun)
        found = old.found.at[old.purpose].min(last)
        tried = jnp.all(spent[1:] >= max(TRIED * self.space.dimension, TRIED_AT_LEAST))
        shares = jnp.asarray(SHARES, start.dtype) * jnp.where(tried & (found[1:] == found[1:].min()), LEAD, 1)
        due = 1 + jnp.argmin(spent[1:].astype(start.dtype) / shares).astype(jnp.int32)

        axes, evolution = (state.members[self.kinds()[member]] for member in (AXES, EVOLUTION))
        paused = jnp.where(stage == EVOLUTION, state.over == StopReason.MOST, old.paused)
        evolve = dataclasses.replace(self._plan(EVOLUTION, 1, start), resumed=paused)
        grow = self._plan(GROWING + jnp.minimum(old.growth, self.doublings), 1, start)
        plan = where(due == GROWN, grow, evolve)
        contracted = (stage == EVOLUTION) & ~paused & (state.over != StopReason.WORSE)
        plan = where(contracted, self._plan(LOCAL, FINISH_EVOLUTION, evolution.best), plan)
        local = where(axes.separable, self._plan(LOCAL, FINISH_AXES, axes.best), self._plan(LOCAL, 1, self._given(start)))
        plan = where(stage == AXES, local, plan)

        purpose = jnp.where(stage == AXES, PRELUDE, jnp.where(contracted, EVOLVED, due)).astype(jnp.int32)
        growth = old.growth + (plan.stage >= GROWING).astype(jnp.int32)
        return plan, Shares(purpose, spent, found, growth, paused)

    def _plan(self, stage, scale, start):
        d, sizes = self.space.dimension, jnp.asarray([member.population_size for member in self.members], jnp.int32)
        stage = jnp.asarray(stage, jnp.int32)
        most = jnp.where(stage == EVOLUTION, max(1, SLICE * d // INDIVIDUALS), most_generations(d, sizes[LOCAL]))
        return Plan(stage, sizes[stage], jnp.asarray(scale, start.dtype), start, most, jnp.zeros((), bool))
