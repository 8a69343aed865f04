"""run(): a strategy, an objective and a key in, a `Result` out, as one compiled program.

The loop is a `while` over blocks of generations: `BLOCK` of them on an accelerator, one on a CPU. A run that has met its stop
condition is frozen; the `while` ends when all runs have stopped, so a batch takes as long as its slowest run. A strategy of
several stages has such a loop for each, within a loop over all: a stage takes no time when no run is in it. Memory does not
grow with generations unless history is asked for.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from jaxes.branch import any_lane, one_lane
from jaxes.checks import as_key, as_leaf, check_integer, check_value
from jaxes.objective import Objective, as_objective, as_static, check_objective
from jaxes.program import Program
from jaxes.pytree import node_types, pytree, static, where
from jaxes.result import History, Result
from jaxes.stop import Stop, StopReason, as_stop
from jaxes.strategy import LIMIT, Purpose, State, Strategy, check_asked, check_told, clean, prepared, stream

BLOCK = 16
"""Generations between two looks at whether all runs have stopped. On an accelerator each look waits for the device."""

ALWAYS = "cpu"
"""Where a look costs nothing, and each generation is preceded by one."""


@pytree
class Task:
    """What a run does; the same in all its generations."""

    strategy: Strategy
    objective: Objective
    args: Any
    stop: Stop
    targets: Any = None  # (t,) minimised fitness, or None
    every: Any = None  # () int32, generations a record; None for no history
    record: Callable[..., Any] | None = static(default=None)
    types: Any = static(default=None)  # of the users' pytrees: JAX compares structures without the classes of dataclasses


@pytree
class Progress:
    """Where a run stands between two generations."""

    state: State
    start: jax.Array  # () int32, generation at which the run began
    until: jax.Array  # () int32, generation at which it ends
    reason: jax.Array  # () int32 `StopReason`
    record: Any  # the latest `History` record, or None
    hits: Any  # (t,) int32, the evaluation that first reached each target, 0 for none yet; or None


def run(
    strategy: Strategy,
    objective: Any,
    key: ArrayLike,
    generations: int,
    *,
    args: Any = None,
    stop: Stop | dict[str, Any] | None = None,
    history: bool | int = False,
    record: Callable[..., Any] | None = None,
    targets: ArrayLike | None = None,
    state: State | None = None,
    batched: bool = False,
    stochastic: bool = False,
    maximise: bool = False,
) -> Result:
    """Runs a strategy for some generations, as one compiled program. Pure: `jit`, `vmap` and `lax.scan` over it work.

    Args:
        strategy: e.g. `ES(space, mu=20, lam=100, sigma=0.1)`.
        objective: a function of one solution (the space's pytree) that returns one floating number, in jax.numpy; or a
            `Problem`. With `args`, they are its second argument. A function is compiled once, as it is then: define it
            outside of loops, and give what changes as `args`. A changed global or attribute is not seen again.
        key: of `jax.random.key`, or an integer seed.
        generations: how many, at most; an integer. A population is evaluated in each.
        args: any pytree of arrays, handed to the objective; can be batched and changed without a new program.
        stop: a `Stop`, or a dict of its arguments.
        history: False, True (a record every generation) or k (every k generations): `Result.history`.
        record: a function of (state, population, fitness) whose pytree is recorded too, as `history.custom`; of one shape,
            also where a strategy has populations of several sizes, such as `Restart` and the default of `minimize`.
        targets: (t,) fitness values; `Result.hits` then tells which evaluation first reached each. This takes the memory of
            t integers a run, whatever the number of generations. With `state`, evaluations are counted from the run's own
            beginning, and hits before it went on are not known.
        state: go on from `Result.state` of an earlier run, whose key then counts; `key` may be None.
        batched: the objective takes a whole population (leading axis `population_size`) and returns (population_size,).
        stochastic: the objective takes a key as its last argument, a fresh one for every evaluation (one for all if
            `batched`).
        maximise: larger is better. `Result.fitness`, history and targets are as the objective gives them;
            `Result.state` is minimised.

    Returns:
        `Result`. A run alone and the same run in a batch draw the same random bits; where neither the objective nor the
        strategy rounds, the results are equal bit for bit. XLA orders inexact sums by shape, and on a CPU what is no part of a
        user's own program is compiled otherwise, so elsewhere they agree to rounding, until a rounding flips a rank.

    Raises:
        ValueError, TypeError: before anything runs, naming the argument.
    """
    if not isinstance(strategy, Strategy):
        raise TypeError(f"run(strategy=...) must be a strategy such as jaxes.ES(space), got {strategy!r}.")
    generations = check_generations("run", generations)
    task = make_task("run", strategy, objective, args, stop, history, record, targets, batched, stochastic, maximise)
    if state is None:
        state = strategy.init(as_key("run", key))
    else:
        _check_state(strategy, state)
    return _run(task, state, np.int32(generations), rows_of(task, generations))


def _check_state(strategy: Strategy, state: Any) -> None:
    """Refuses a state that is not this strategy's."""
    if not isinstance(state, State):
        raise TypeError(f"run(state=...) must be the state of an earlier run, Result.state, got a {type(state).__name__}.")
    expected, got = (
        {jax.tree_util.keystr(path): (leaf.shape, leaf.dtype) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
        for tree in (jax.eval_shape(strategy.init, jax.eval_shape(lambda: jax.random.key(0))), state)
    )
    for name in expected.keys() | got.keys():
        want, have = expected.get(name), got.get(name)
        if want != have and name != ".key":
            raise ValueError(
                f"run(state=...) must be a state of this strategy: state{name} should be {want} (shape, dtype), got {have}. "
                "The states of a batch go on under vmap, or one by one."
            )


def check_generations(owner: str, generations: Any) -> int:
    generations = check_integer(owner, "generations", generations, at_least=0)
    if generations > LIMIT:
        raise ValueError(f"{owner}(generations=...) must be at most {LIMIT}, got {generations}.")
    return generations


def make_task(owner, strategy, objective, args, stop, history, record, targets, batched, stochastic, maximise) -> Task:
    """Checks all that `run`, `sweep` and `minimize` have in common."""
    objective = as_objective(objective, batched=batched, stochastic=stochastic, maximise=maximise)
    stop = as_stop(stop)
    stop.check(strategy)
    every = check_integer(owner, "history", int(history) if isinstance(history, bool) else history, at_least=0)
    if record is not None and not callable(record):
        raise TypeError(f"{owner}(record=...) must be a function of (state, population, fitness), got {record!r}.")
    if record is not None and every == 0:
        raise ValueError(f"{owner}(record=...) needs history=True or history=k.")
    args = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), args)  # 1.0 and float32(1.0): one program
    if targets is not None:
        targets = as_targets(owner, targets, strategy.space.dtype, maximise)
    types = node_types((strategy, objective, args, stop))
    return Task(strategy, objective, args, stop, targets, np.int32(every) if every else None, as_static(record), types)


def as_targets(owner: str, targets: Any, dtype: Any, maximise: bool) -> jax.Array:
    """(t,) targets to be minimised."""
    array = as_leaf(owner, "targets", targets, dtype)
    if np.ndim(array) != 1 or np.size(array) == 0:
        raise ValueError(f"{owner}(targets=...) must be a sequence of at least one number, got {targets!r}.")
    check_value(owner, "targets", array, lambda t: ~np.isnan(t), "numbers")
    return jnp.asarray(-array if maximise else array)


@functools.partial(Program, static_argnames="rows")
def _run(task: Task, state: State, generations: jax.Array, rows: int) -> Result:
    progress = begin(task, state, generations)
    return finish(task, *_ended(task, progress, record_buffer(progress, rows)))


def _ended(task: Task, progress: Progress, records: Any) -> tuple[Progress, Any]:
    """A run's end, through all of its strategy's stages."""
    stages = range(len(task.strategy.stages))

    def through(carry):
        for stage in stages:
            carry = advance(task, stage, *carry, LIMIT)[:2]
        return prepare(task, carry[0]), carry[1]

    if task.strategy.pending(progress.state) is None:
        return through((progress, records))
    return lax.while_loop(lambda carry: any_lane(active(carry[0])), through, (progress, records))


def prepare(task: Task, progress: Progress) -> Progress:
    """A run between two generations that is ready for the next, or over if that would exceed its budget."""
    pending, state, reason = task.strategy.pending(progress.state), prepared(task.strategy, progress.state), progress.reason
    if pending is not None:
        due = pending & (reason == StopReason.RUNNING) & task.stop.exceeded(task.strategy, state)
        reason = jnp.where(due, jnp.int32(StopReason.EVALUATIONS), reason)
    return dataclasses.replace(progress, state=state, reason=reason)


def rows_of(task: Task, generations: int) -> int:
    """How many records there will be."""
    return 0 if task.every is None else -(-generations // int(task.every))


def begin(task: Task, state: State, generations: ArrayLike) -> Progress:
    """A run that is about to start from a state; refuses what is no objective, once for every program."""
    check_objective(task.objective, task.strategy.space, task.strategy.population_size, task.args)
    # Adding could overflow for a state that has gone on for very long.
    until = state.generation + jnp.minimum(jnp.int32(generations), LIMIT - state.generation)
    # A state that has already stopped stays as it is, as far as the state alone tells.
    reason = jnp.where(state.generation > 0, task.stop.reason(task.strategy, task.objective, state), StopReason.RUNNING)
    hits = None if task.targets is None else jnp.zeros(task.targets.shape, jnp.int32)
    progress = Progress(state, state.generation, until, reason.astype(jnp.int32), None, hits)
    if task.every is None:
        return progress
    space = task.strategy.space

    def shapes(stage):
        x = jax.ShapeDtypeStruct((stage.population_size, space.dimension), space.dtype)
        fitness = jax.ShapeDtypeStruct(x.shape[:1], space.dtype)
        return jax.eval_shape(functools.partial(_record, task, stage), state, state, x, fitness)

    first, *others = task.strategy.stages
    record = shapes(first)
    for stage in others if task.record is not None else ():
        other = shapes(stage)
        if jax.tree.flatten(other) != jax.tree.flatten(record):
            raise ValueError(
                f"record=... must return the same shapes and dtypes for populations of every size that the strategy has, got "
                f"{record.custom} for {first.population_size} candidates and {other.custom} for {stage.population_size}."
            )
    return dataclasses.replace(progress, record=jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), record))


def record_buffer(progress: Progress, rows: int) -> Any:
    """Room for all records: their number is the leading axis, before those of a batch. NaN until written."""

    def blank(leaf):
        fill = jnp.nan if jnp.issubdtype(leaf.dtype, jnp.floating) else 0
        return jnp.full((rows, *leaf.shape), fill, leaf.dtype)

    return jax.tree.map(blank, progress.record)


def of_leaves(structure: Any, function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """A function of (task, `count` other arguments) as one of (those, the task's leaves...), each of which may have an axis."""
    return lambda *both: function(structure.unflatten(both[count:]), *both[:count])


def advance(
    task: Task,
    stage: int,
    progress: Progress,
    records: Any,
    most: ArrayLike,
    axes: tuple[int | None, ...] | None = None,
    idle: ArrayLike = 0,
    before: ArrayLike = 0,
    alone: bool = False,
) -> tuple[Progress, Any, jax.Array, jax.Array]:
    """Runs generations of one stage of the strategy: `most` of them, or until no run is active in it, or no more than `idle`.
    Also how many those were, and whether there is more to do.

    Whether no more than `idle` are left is asked every `BLOCK` generations, those `before` included: it is not to depend on
    how the generations are cut.

    With `axes` (the vmap axis of every leaf of `task`), `progress` and `records` are those of a batch, and the loop asks
    once a block for all of it. A batch of one is a run `alone`, without an axis.
    """
    leaves, structure = jax.tree.flatten(task)
    if axes is not None and progress.reason.shape[0] == 1:

        def one(task, progress, records):
            return advance(task, stage, progress, records, most, None, idle, before, alone=True)

        return one_lane(of_leaves(structure, one, 2), (0, 1, *axes), (0, 1, None, None))(progress, records, *leaves)

    def lanes(function, *arguments):
        if axes is None:
            return function(task, *arguments)
        count = len(arguments)
        return jax.vmap(of_leaves(structure, function, count), (*(0,) * count, *axes))(*arguments, *leaves)

    def generation(_, carry):
        progress, records, done = carry
        progress = lanes(functools.partial(_generation if alone else _unless_stopped, stage), progress)
        if task.every is not None:
            records = _written(task, progress, records, axes is not None)
        return progress, records, done + 1

    def block(carry):
        if alone:  # and none of its generations is frozen: whether there is more to do is asked before each
            return generation(0, carry)
        # One run is never cut within a block, so it tells the compiler how many rounds the loop has, and no accelerator has to
        # be asked between two of them; generations past the end are frozen.
        rest = BLOCK if axes is None else jnp.minimum(BLOCK - (before + carry[2]) % BLOCK, most - carry[2])
        count = lax.platform_dependent(**{ALWAYS: lambda: jnp.int32(1)}, default=lambda: jnp.int32(rest))
        return lax.fori_loop(0, count, generation, carry)

    def more(carry):
        staying = jnp.sum(lanes(functools.partial(in_stage, stage), carry[0]), dtype=jnp.int32)
        return any_lane((staying > idle) | ((staying > 0) & ((before + carry[2]) % BLOCK > 0)))

    end = lax.while_loop(lambda carry: more(carry) & (carry[2] < most), block, (progress, records, jnp.int32(0)))
    return *end, more(end)


def _written(task: Task, progress: Progress, records: Any, batched: bool) -> Any:
    """Records with the latest one of every run: a generation overwrites its record until the last one of it."""
    row = jnp.maximum(progress.state.generation - 1 - progress.start, 0) // task.every
    if not batched:
        return jax.tree.map(lambda r, new: _write(r, new, row), records, progress.record)
    if task.strategy.pending(progress.state) is None:  # of one stage: runs keep step, but for those that have stopped
        return jax.tree.map(lambda r, new: _write(r, new, row.max()), records, progress.record)
    lane = jnp.arange(row.shape[0], dtype=jnp.int32)
    return jax.tree.map(lambda r, new: r.at[row, lane].set(new) if r.shape[0] else r, records, progress.record)


def _write(records: jax.Array, record: jax.Array, row: jax.Array) -> jax.Array:
    return lax.dynamic_update_slice_in_dim(records, record[None], row, 0) if records.shape[0] else records


def finish(task: Task, progress: Progress, records: Any) -> Result:
    """The result of one run."""
    state, strategy, objective = progress.state, task.strategy, task.objective
    if task.every is not None:
        # Rows after a run stopped were not all written; they repeat its last one.
        last = jnp.maximum(-(-(state.generation - progress.start) // task.every) - 1, 0)
        records = jax.tree.map(
            lambda r: r[jnp.minimum(jnp.arange(r.shape[0], dtype=jnp.int32), last)] if r.shape[0] else r, records
        )
    ended = progress.state.generation >= progress.until
    reason = jnp.where((progress.reason == StopReason.RUNNING) & ended, StopReason.GENERATIONS, progress.reason)
    return Result(
        solution=strategy.best(state),
        fitness=objective.sign(state.best_fitness),
        generations=state.generation,
        stop_reason=reason.astype(jnp.int32),
        invalid=state.invalid,
        history=records,
        state=state,
        population_size=jnp.asarray(strategy.evaluations, jnp.int32),
        spent=None if len(strategy.stages) == 1 and isinstance(strategy.evaluations, int) else strategy.spent(state),
        target=None if task.stop.target is None else jnp.asarray(task.stop.target),
        targets=None if task.targets is None else objective.sign(task.targets),
        hits=progress.hits,
        maximise=objective.maximise,
    )


def active(progress: Progress) -> jax.Array:
    """() whether a run is to go on."""
    return (progress.reason == StopReason.RUNNING) & (progress.state.generation < progress.until)


def in_stage(stage: int, task: Task, progress: Progress) -> jax.Array:
    """() whether the next generation of a run is one of a stage of its strategy."""
    found, pending = active(progress), task.strategy.pending(progress.state)
    if len(task.strategy.stages) > 1:
        found &= task.strategy.stage(progress.state) == stage
    return found if pending is None else found & ~pending


def _unless_stopped(stage: int, task: Task, progress: Progress) -> Progress:
    """One generation of a run that is active in a stage; any other stays bit for bit as it is."""
    going_on = in_stage(stage, task, progress)
    return where(going_on, _generation(stage, task, progress), progress)


def _generation(stage: int, task: Task, progress: Progress) -> Progress:
    """One more generation, by a stage of the strategy."""
    state, strategy = progress.state, task.strategy.stages[stage]
    x, asked = strategy._ask(state)
    check_asked(strategy, x)
    fitness = task.objective.fitness(strategy.space, x, stream(state, Purpose.OBJECTIVE), task.args)
    return learn(task, strategy, progress, asked, x, fitness)


def learn(task: Task, strategy: Strategy, progress: Progress, asked: State, x: jax.Array, fitness: jax.Array) -> Progress:
    """A generation later: `progress` is before it, `asked` the state that handed out candidates x (n, d), whose fitness (n,)
    is to be minimised."""
    objective, state = task.objective, progress.state
    fitness = fitness.astype(x.dtype)
    told = strategy.tell_flat(asked, x, fitness)
    check_told(strategy, state, told)
    fitness = strategy.counted(state, clean(fitness))
    hits = progress.hits
    if task.targets is not None:
        hits = jnp.where(hits == 0, _first_hits(strategy.spent(state), fitness, task.targets), hits)
    reason = task.stop.reason(strategy, objective, told, x, fitness)
    record = _record(task, strategy, state, told, x, fitness) if task.every is not None else None
    return dataclasses.replace(progress, state=told, reason=reason, record=record, hits=hits)


def _record(task: Task, strategy: Strategy, state: State, told: State, x: jax.Array, fitness: jax.Array) -> History:
    """Of a generation from `state` to `told`, with candidates (n, d) and their fitness (n,) to be minimised."""
    sign, custom = task.objective.sign, None
    if task.record is not None:
        custom = task.record(told, jax.vmap(strategy.space.decode)(x), sign(fitness))
    return History(
        generation=told.generation,
        evaluations=strategy.spent(told),
        best=sign(told.best_fitness),
        population_best=sign(fitness.min()),
        population_mean=sign(strategy.average(state, fitness)),
        step_size=strategy.step_size(told),
        custom=custom,
    )


def _first_hits(before: jax.Array, fitness: jax.Array, targets: jax.Array) -> jax.Array:
    """(t,) int32, the first evaluation of this generation that reached each target, counted from the run's first; 0 for none.

    `before` counts the evaluations of earlier generations; counts stop at what 31 bits hold.
    """
    size = fitness.shape[0]

    def one_by_one(fitness, targets):  # a tenth of the reduction's time on a CPU, where XLA does not vectorise that
        def candidate(i, first):
            return jnp.where(fitness[size - 1 - i] <= targets, size - i, first)

        return lax.fori_loop(0, size, candidate, jnp.full(targets.shape, size + 1, jnp.int32), unroll=min(size, 5))

    def at_once(fitness, targets):
        number = jnp.arange(1, size + 1, dtype=jnp.int32)
        return jnp.where(fitness[:, None] <= targets[None, :], number[:, None], size + 1).min(axis=0)

    first = lax.platform_dependent(fitness, targets, cpu=one_by_one, default=at_once)
    return jnp.where(first <= size, jnp.minimum(before, LIMIT - size) + first, 0)
