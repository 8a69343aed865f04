"""Strategies made of others that take turns: what restarts and portfolios share.

A run of such a strategy is a row of runs of its members, one after the other. Which member goes on, with how many candidates,
from where and with which step size, is decided anew whenever a run has ended: a `Plan`. All of it is in one state of fixed
shape. Members whose states are alike share a place in it, so that a hundred restarts take the memory of one run.

Each member is a stage: a program with a population of its own shape. `run` loops over the stages, `jaxes.batch` gathers the
runs that are in the same one. Between `tell` and the next `ask`, nothing depends on the stage.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxes import random
from jaxes.objective import Objective
from jaxes.pytree import pytree, static, where
from jaxes.space import Space
from jaxes.stop import Stop
from jaxes.strategy import LIMIT, Purpose, State, StopReason, Strategy

LOG = 32
"""How many runs the log holds: the last ones."""


@pytree
class Plan:
    """How a member is to run."""

    stage: jax.Array  # () int32, which member
    lam: jax.Array  # () int32, candidates a generation
    scale: jax.Array  # () its initial step size over its usual one
    start: jax.Array  # (d,) where it starts, flat; for members that were given a start
    most: jax.Array  # () int32, generations after which it ends at the latest
    resumed: jax.Array  # () bool, whether it goes on from where its last run ended; `most` counts from there


@pytree
class Log:
    """The last runs that have ended, in a ring: run i is at i % 32. Zeros where there was none."""

    stage: jax.Array  # (32,) int32
    lam: jax.Array  # (32,) int32, candidates a generation
    evaluations: jax.Array  # (32,) int32
    fitness: jax.Array  # (32,) the best of that run
    reason: jax.Array  # (32,) int32 `StopReason`


@pytree
class StagedState(State):
    """What a strategy of several stages remembers."""

    plan: Plan
    members: tuple[Any, ...]  # a state for each kind of members; the one whose turn it is goes on in its own
    policy: Any  # what the strategy that plans remembers
    spent: jax.Array  # () int32 evaluations, up to what 31 bits hold
    begun: jax.Array  # () int32, `spent` when the run under way began
    since: jax.Array  # () int32, the generation in which it began
    runs: jax.Array  # () int32, how many have ended
    over: jax.Array  # () int32 `StopReason` of the run under way; what follows it is prepared before the next generation
    ended: jax.Array  # () int32 `StopReason` of the last run, if no other is to follow
    log: Log


class Staged(Strategy):
    """A strategy that implements `members`, `_first` and `_next`."""

    space: Space

    @property
    @abc.abstractmethod
    def members(self) -> tuple[Strategy, ...]:
        """The strategies that take turns."""

    @abc.abstractmethod
    def _first(self, start: jax.Array) -> tuple[Plan, Any]:
        """The first plan, and what the policy remembers. `start` (d,) is a point to start from."""

    @abc.abstractmethod
    def _next(self, state: StagedState, start: jax.Array) -> tuple[Plan, Any]:
        """The plan after a run has ended, and what the policy remembers then. `start` (d,) is another point to start from.

        `state.over` is the reason; `state.runs` counts the run that ended, and `state.log` holds it.
        """

    def _enough(self, state: StagedState) -> jax.Array:
        """() bool, whether no run is to follow the one under way."""
        return jnp.zeros((), bool)

    @property
    def when(self) -> Stop:
        """What ends a run, besides its own reasons and its plan."""
        return Stop()

    @property
    def futile(self) -> float:
        """A run ends when the fitness of its last generations lies within this, times how much worse its best is than the best
        of all. 0: never."""
        return 0.0

    @property
    def expected(self) -> int:
        """How many members, the first ones, have their turn unless a run ends early: their programs are compiled ahead."""
        return 1

    @property
    def scales(self) -> bool:
        """Whether plans have a scale other than 1."""
        return False

    @property
    def stages(self) -> tuple[Strategy, ...]:
        return tuple(Stage(self, i) for i in range(len(self.members)))

    def stage(self, state):
        return state.plan.stage

    @property
    def population_size(self) -> int:
        return max(member.population_size for member in self.members)

    @property
    def evaluations(self) -> Any:
        return self.members[0].evaluations

    def due(self, state):
        return state.plan.lam

    def spent(self, state):
        return state.spent

    def member(self, stage: int, plan: Plan) -> Strategy:
        """A member as a plan wants it."""
        member: Any = self.members[stage]
        if getattr(member, "lam_max", None) is not None:
            member = dataclasses.replace(member, lam=plan.lam)
        if self.scales:
            member = member.rescaled(plan.scale)
        return member.started(self.space.decode(plan.start))

    def kinds(self) -> tuple[int, ...]:
        """For each member, which of the states is its own: that of the first member whose state is like its."""
        leaves, structure = jax.tree.flatten(self)
        return _kinds(structure, tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves))

    def _init(self, state):
        nothing = jnp.zeros((), jnp.int32)
        count = jnp.zeros(LOG, jnp.int32)
        plan, policy = self._first(self._start(state.key))
        begun = self._begun(plan, state.key, None, state)
        return StagedState(
            **vars(state),
            plan=plan,
            members=begun,
            policy=policy,
            spent=nothing,
            begun=nothing,
            since=nothing,
            runs=nothing,
            over=jnp.int32(StopReason.RUNNING),
            ended=jnp.int32(StopReason.RUNNING),
            log=Log(count, count, count, jnp.zeros(LOG, state.best.dtype), count),
        )

    def _start(self, key: jax.Array) -> jax.Array:
        """(d,) a point of the box at random; in coordinates without bounds, the one that the members were given."""
        lower, upper = self.space.bounds()
        finite = jnp.isfinite(lower) & jnp.isfinite(upper)
        within = self.space.between(
            jnp.where(finite, lower, 0), jnp.where(finite, upper, 0), random.uniform(key, lower.shape, lower.dtype)
        )
        return jnp.where(finite, within, self._given(within))

    def _given(self, otherwise: jax.Array) -> jax.Array:
        """(d,) the start that the members were given, if any."""
        starts = (getattr(member, "start", None) for member in self.members)
        given = next((start for start in starts if start is not None), None)
        return otherwise if given is None else jnp.clip(self.space.encode(given), *self.space.bounds())

    def _begun(self, plan: Plan, key: jax.Array, members: tuple[Any, ...] | None, shared: State) -> tuple[Any, ...]:
        """The members' states when a plan begins: that of its member is new, unless it is resumed."""
        zero = jnp.zeros((), jnp.int32)
        blank = State(key, zero, shared.best, jnp.full_like(shared.best_fitness, jnp.inf), zero, zero)
        kinds = self.kinds()
        begun = []
        for kind in range(max(kinds) + 1):
            new = self.member(kinds.index(kind), plan)._init(blank)
            if members is not None:
                mine = jnp.any(plan.stage == jnp.asarray([i for i, k in enumerate(kinds) if k == kind], jnp.int32))
                new = where(mine & ~plan.resumed, new, members[kind])
            begun.append(new)
        return tuple(begun)

    def pending(self, state):
        return state.over != StopReason.RUNNING

    def prepared(self, state):
        """The run that is over in the log, and the next one begun, if there is to be one."""
        at, stage = state.runs % LOG, state.plan.stage
        own = jnp.stack([member.best_fitness for member in state.members])
        mine = jnp.asarray(self.kinds(), jnp.int32)[stage]
        log = Log(
            stage=state.log.stage.at[at].set(stage),
            lam=state.log.lam.at[at].set(state.plan.lam),
            evaluations=state.log.evaluations.at[at].set(state.spent - state.begun),
            fitness=state.log.fitness.at[at].set(own[mine]),
            reason=state.log.reason.at[at].set(state.over),
        )
        state = dataclasses.replace(state, log=log, runs=state.runs + 1)
        key = random.fold_in(state.key, state.runs, Purpose.RESTART)
        plan, policy = self._next(state, self._start(random.fold_in(key, 0, Purpose.RESTART)))
        begun = dataclasses.replace(
            state,
            plan=plan,
            policy=policy,
            members=self._begun(plan, key, state.members, state),
            begun=state.spent,
            since=state.generation,
        )
        going_on = state.ended == StopReason.RUNNING
        state = where(going_on, begun, state)
        return dataclasses.replace(state, over=jnp.int32(StopReason.RUNNING))

    def _ask(self, state):
        # Asking again is telling nothing new: what a stage remembers between ask and tell has its own shape.
        def asked(stage):
            def branch(state):
                x, _ = stage._ask(state)
                return jnp.concatenate([x, jnp.broadcast_to(x[:1], (self.population_size - x.shape[0], x.shape[1]))])

            return branch

        return lax.switch(self.stage(state), [asked(stage) for stage in self.stages], state), state

    def tell_flat(self, state, x, fitness):
        def told(stage):
            def branch(state, x, fitness):
                _, asked = stage._ask(state)
                return stage.tell_flat(asked, x[: stage.population_size], fitness[: stage.population_size])

            return branch

        return lax.switch(self.stage(state), [told(stage) for stage in self.stages], state, x, fitness)

    def _tell(self, state, x, fitness):
        raise AssertionError("stages are told, by tell_flat")

    def columns(self, state):
        return {"runs": state.runs + 1, "lam": state.plan.lam, "sigma": self.step_size(state)}

    def step_size(self, state):
        kinds = self.kinds()  # whose populations differ, not what is in their states
        first_of_kinds = [self.stages[kinds.index(kind)].step_size for kind in range(max(kinds) + 1)]
        return lax.switch(jnp.asarray(kinds, jnp.int32)[self.stage(state)], first_of_kinds, state)

    def stop_reason(self, state):
        return state.ended


@pytree
class Stage(Strategy):
    """One member of a staged strategy, on the state of the whole."""

    whole: Staged
    index: int = static()

    @property
    def space(self) -> Space:  # type: ignore[override] # a field elsewhere; here it follows from another
        return self.whole.space

    @property
    def population_size(self) -> int:
        return self.whole.members[self.index].population_size

    @property
    def evaluations(self) -> Any:
        return self.whole.members[self.index].evaluations

    def due(self, state):
        return state.plan.lam

    def spent(self, state):
        return state.spent

    def _mine(self, state: StagedState) -> tuple[Any, int]:
        return self.whole.member(self.index, state.plan), self.whole.kinds()[self.index]

    def _init(self, state):
        return self.whole._init(state)

    def _ask(self, state):
        member, kind = self._mine(state)
        x, asked = member._ask(state.members[kind])
        return x, dataclasses.replace(state, members=_replaced(state.members, kind, asked))

    def _tell(self, state, x, fitness):
        member, kind = self._mine(state)
        told = member.tell_flat(state.members[kind], x, fitness)
        spent = jnp.minimum(state.spent, LIMIT - state.plan.lam) + state.plan.lam
        return dataclasses.replace(state, members=_replaced(state.members, kind, told), spent=spent)

    def tell_flat(self, state, x, fitness):
        told = super().tell_flat(state, x, fitness)
        member, kind = self._mine(told)
        fitness = self.counted(state, fitness.astype(x.dtype))
        mine = told.members[kind]
        reason = self.whole.when.reason(member, Objective(None), mine, x, fitness)
        if self.whole.futile:
            worse = member.fitness_range(mine) < self.whole.futile * (mine.best_fitness - told.best_fitness)
            reason = jnp.where((reason == StopReason.RUNNING) & worse, StopReason.WORSE, reason)
        full = told.generation - told.since >= told.plan.most
        reason = jnp.where((reason == StopReason.RUNNING) & full, StopReason.MOST, reason)
        # A run that goes on after the last one was to end is over once only.
        over = jnp.where(told.ended == StopReason.RUNNING, reason, StopReason.RUNNING).astype(jnp.int32)
        ended = jnp.where(self.whole._enough(told), over, told.ended)
        return dataclasses.replace(told, over=over, ended=ended)

    def pending(self, state):
        return self.whole.pending(state)

    def prepared(self, state):
        return self.whole.prepared(state)

    def step_size(self, state):
        member, kind = self._mine(state)
        return member.step_size(state.members[kind])

    def stop_reason(self, state):
        return state.ended


@functools.lru_cache(maxsize=64)
def _kinds(structure: Any, leaves: tuple[tuple[tuple[int, ...], Any], ...]) -> tuple[int, ...]:
    """`Staged.kinds`, which looks at all members: they follow from the structure of a strategy and its leaves' shapes."""
    found: list[Any] = []
    places = []

    def place(leaves):
        for member in structure.unflatten(leaves).members:
            state = jax.eval_shape(member.init, jax.eval_shape(lambda: jax.random.key(0)))
            likeness = type(member), jax.tree.structure(state), [(a.shape, a.dtype) for a in jax.tree.leaves(state)]
            if likeness not in found:
                found.append(likeness)
            places.append(found.index(likeness))

    jax.eval_shape(place, [jax.ShapeDtypeStruct(*leaf) for leaf in leaves])
    return tuple(places)


def most_generations(d: int, lam: Any) -> jax.Array:
    """() int32, generations after which a run of CMA-ES ends at the latest, as in pycma."""
    return jnp.asarray(100 + 150 * (d + 3) ** 2 / jnp.sqrt(jnp.asarray(lam, jnp.float32)), jnp.int32)


def _replaced(items: tuple[Any, ...], index: int, item: Any) -> tuple[Any, ...]:
    return (*items[:index], item, *items[index + 1 :])
