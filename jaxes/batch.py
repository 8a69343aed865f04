"""Many runs at once, driven from the host: what `sweep` and `minimize` share.

The compiled program runs as many generations as take about the report interval, then the host looks: progress, callbacks,
checkpoints, Ctrl-C. How the generations are cut changes no result, and no length of a cut is a new program.

Runs of a strategy of several stages are sorted by the stage that they are in: those of one stage go on together until a quarter
of them have left it. While little is wasted, in a batch of all runs; later gathered into a batch of their own, of one of a few
widths, so that the others cost nothing. Who is gathered with whom follows from the runs alone and not from the clock, so that
the same call gives the same numbers.

Over several devices, each has its share of the runs and gathers among them, and loops for as long as its own runs take: devices
meet only when the host looks.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
import pathlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxes.ahead import SEEN, Ahead
from jaxes.branch import each_lane
from jaxes.devices import Devices, fetched
from jaxes.islands import spread_over
from jaxes.loop import Task, active, advance, begin, finish, of_leaves, prepare, record_buffer, rows_of
from jaxes.program import Program
from jaxes.pytree import pytree
from jaxes.random import is_key
from jaxes.result import Result
from jaxes.stages import Staged
from jaxes.strategy import LIMIT, StopReason

INTERVAL = 0.25
"""Seconds between two looks of the host."""

ROOM = 1024
"""There is room for as many records of each of so many runs, 24 MiB, even if fewer are to come. More runs have room for the
next power of two of what comes; more records, and those of a user's own, for what comes."""

NARROWER = 4
"""Runs are gathered into batches as wide as all of them, or narrower by powers of this. Each width is a program of its own."""

FULL = 0.5
"""The share of the mappings of memory that Linux grants a process from which on compiled programs are let go of."""

WORTH = 2e9
"""Floating-point operations wasted on runs that were not in their batch's stage before a narrower program is compiled, and
twice as many before the next: about what a core does meanwhile. BIPOP-CMA-ES on Rastrigin's function in 5-D then makes use of
.29 of the candidates with 256 runs, and of .38 with 1,024, at 1.8 times the cost."""

if TYPE_CHECKING:
    from jaxes.checkpoint import Keeper
    from jaxes.watch import Watch

Axes = tuple[int | None, ...]

ONE = Devices()


@pytree
class Look:
    """What the host sees of all runs; NumPy arrays (runs,)."""

    active: jax.Array  # whether a run is to go on
    pending: jax.Array  # whether it is to be prepared for what follows
    stage: jax.Array  # int32, in which of its strategy's stages
    generation: jax.Array  # int32, how many were told
    spent: jax.Array  # int32 evaluations
    share: jax.Array  # of what the run may take, from 0 to 1; 1 where it has stopped
    fitness: jax.Array  # best so far, minimised
    step_size: jax.Array  # largest standard deviation of what is sampled next
    best: jax.Array  # (d,) the best candidate of all runs; of each device's, while it is put together
    occupancy: Any = 1.0  # the share of evaluated candidates that were of use to a run so far
    columns: Any = None  # a function that gives what a line tells of the best run: name -> number


@dataclasses.dataclass(frozen=True)
class Layout:
    """Of a batch, what is no array: a part of every compiled program."""

    structure: Any  # of the task
    axes: Axes  # the vmap axis of each of its leaves
    devices: Devices

    def of_runs(self, function: Callable, arguments: tuple[int, ...], results: Any) -> Callable:
        """A function of (task, what belongs to one run...) as one of (the task's leaves, what belongs to all runs...); with
        the axes of the runs."""

        def local(leaves, *batched):
            one = of_leaves(self.structure, function, len(arguments))
            return each_lane(one, (*arguments, *self.axes))(*batched, *leaves)

        return self.devices.mapped(local, (list(self.axes), *arguments), results)


def keys_of_runs(key: jax.Array, runs: int) -> jax.Array:
    """(runs,) keys, run i's whatever their number."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(runs))


def drive(
    batch: Batch,
    *,
    report: Callable[[Look], bool | None] | None = None,
    interrupted: Callable[[], StopReason] = lambda: StopReason.RUNNING,
    keeper: Keeper | None = None,
    watch: Watch | None = None,
) -> Result:
    """The results of a batch that was not begun.

    `report(look)` is called about every `INTERVAL` seconds, and ends all runs when it returns True, as `interrupted()` does
    with a reason. What `keeper` has of these runs is not run again.
    """
    if keeper is not None and (result := keeper.result(batch.result_like())) is not None:
        return result
    snapshot = None if keeper is None else keeper.snapshot(batch.snapshot_like())
    devices = batch.layout.devices
    ended = devices.agreed(interrupted())
    if ended and snapshot is None:
        return batch.not_begun(ended)
    let_go_of_programs()
    batch.begin(snapshot)
    while batch.gather(bool(ended)):
        done = batch.advance(min((other.most for other in (keeper, watch) if other is not None), default=LIMIT))
        look = batch.look
        over = (report is not None and _is_true(report(look))) or batch.broken
        ended = StopReason.INTERRUPTED if over else interrupted()  # asked last: a callback may take long
        if watch is not None:
            watch.look(look, done, bool(ended) or not look.active.any())
        ended = devices.agreed(ended)
        if keeper is not None:
            keeper.look(batch, done, bool(ended))
    result = batch.finish(ended)
    if keeper is not None and not ended:
        keeper.finish(result)
    return result


class Batch:
    """Runs with keys (n,), leaves of `task` batched where `axes` says so, between two looks of the host. With `runs`, the first
    ones only; the others make up the shape.

    Over several devices there are as many lanes as make their shares equal; those beyond the last run never begin.
    """

    broken = False
    """Whether it cannot go on."""

    def __init__(
        self,
        task: Task,
        axes: Axes,
        keys: jax.Array,
        generations: int,
        *,
        runs: int | None = None,
        devices: Devices = ONE,
    ):
        objective = dataclasses.replace(task.objective, along=devices.names)
        leaves, structure = jax.tree.flatten(dataclasses.replace(task, objective=objective))
        given = keys.shape[0]
        self.runs = given if runs is None else runs
        self.width = -(-given // devices.shares) * devices.shares
        self.lanes = np.arange(self.width) % given
        if self.width > given:
            keys = keys[self.lanes]
            leaves = [leaf if axis is None else leaf[self.lanes] for leaf, axis in zip(leaves, axes, strict=True)]
        self.used = np.arange(self.width) < self.runs
        self.layout = Layout(structure, axes, devices)
        self.leaves = devices.place(leaves, list(axes))
        self.gathering = Gathering(task, axes, self.width, devices.shares)
        self.steps: dict[tuple[int, int], int] = {}  # of each program, the generations that take about the interval
        self.mine: Any = None  # lanes, progress, records and leaves of those that were gathered, if not all were

        arguments = (*devices.place((keys, self.used), (0, 0)), np.int32(generations))
        self.rows = rows_of(task, generations)
        # Programs depend on how many records there is room for; so with another number of generations they are the same.
        exact = not self.rows or self.rows > ROOM or task.record is not None
        least = ROOM if self.width <= ROOM else 1
        self.room = self.rows if exact else max(least, 1 << (self.rows - 1).bit_length())
        self.started = functools.partial(_start, self.layout, self.room, self.leaves, *arguments)
        self.ahead = Ahead(self.layout, self.room, *map(jax.typeof, (*arguments[:2], *self.leaves)))

    def begin(self, snapshot: dict[str, Any] | None) -> None:
        """At the beginning, or where a snapshot was taken."""
        self._compile(snapshot is None)
        if snapshot is None:
            self.ahead.wait(_start)
            self.progress, self.records = self.started()
        else:
            self._restore(snapshot)
        devices = self.layout.devices
        if devices.mesh is not None and devices.sharing == "islands":
            self.progress = spread_over("minimize", devices.mesh, self.progress, 1)
        self._look()

    def _compile(self, starts: bool) -> None:
        """Has the programs compiled that every batch runs, the one that takes longest first; `_start` if it `starts`."""
        # On a mesh, what follows a program may lie otherwise than its shapes say.
        if self.layout.devices.mesh is None:
            self.ahead.compile(0, lambda: self._advancing(0))
            if starts:
                self.ahead.compile(_start, lambda: _start.lower(*self.started.args))
            self.ahead.compile(_look, lambda: _look.lower(self.layout, self.leaves, self._like[0]))
            self.ahead.compile(_finish, lambda: _finish.lower(self.layout, self.leaves, *self._like, np.int32(0)))
            if starts:
                self._compile_after(0)

    def _compile_after(self, stage: int) -> None:
        """Has the programs compiled that runs of several stages are expected to want next."""
        strategy = self.gathering.task.strategy
        if self.layout.devices.mesh is None and isinstance(strategy, Staged) and stage + 1 < strategy.expected:
            self.ahead.compile(_prepare, lambda: _prepare.lower(self.layout, self.leaves, self._like[0]))
            self.ahead.compile(stage + 1, lambda: self._advancing(stage + 1))

    def _advancing(self, stage: int) -> jax.stages.Lowered:
        """The program of a stage for a batch of all runs."""
        devices = self.layout.devices
        placed = (devices.placed(like, axis) for like, axis in zip(self._like, (0, 1), strict=True))
        each = devices.placed(jax.ShapeDtypeStruct((devices.shares,), jnp.int32), 0)
        return _advance.lower(self.layout, stage, self.leaves, *placed, np.int32(1), each, each)

    @functools.cached_property
    def _like(self) -> tuple[Any, Any]:
        """What progress and records look like."""
        return jax.eval_shape(self.started)

    def _look(self) -> None:
        self.ahead.wait(_look)
        self.seen = jax.tree.map(np.asarray, _look(self.layout, self.leaves, self.progress))

    @property
    def look(self) -> Look:
        """Of the runs alone."""
        share = self.width // len(self.seen.best)
        index = int(self.seen.fitness.argmin())
        cut = jax.tree.map(lambda leaf: leaf[: self.runs], dataclasses.replace(self.seen, best=None, occupancy=None))

        def columns():
            return jax.tree.map(fetched, _columns(self.layout, self.leaves, self.progress, index))

        return dataclasses.replace(
            cut, best=self.seen.best[index // share], occupancy=self.gathering.occupancy, columns=columns
        )

    def gather(self, ended: bool) -> bool:
        """Finds who is to go on, when those that were to have done so. False if nobody is, or all have `ended`."""
        if self.gathering.going_on and not ended:
            return True
        if self.seen.pending.any():
            self.ahead.wait(_prepare)
            self.progress = _prepare(self.layout, self.leaves, self.progress)
            self._look()
        if ended or not self.seen.active.any():
            return False
        self.gathering.gather(self.seen)
        self._take()
        return True

    def _take(self) -> None:
        lanes = self.layout.devices.place(self.gathering.lanes, 0)
        self.mine = None
        if lanes is not None:
            self.mine = lanes, *_taken(self.layout, lanes, self.progress, self.records, self.leaves)

    def advance(self, most: int) -> int:
        """Some generations of those that go on, `most` of them at most. How many that were, on one device at most."""
        gathering, devices = self.gathering, self.layout.devices
        program = gathering.stage, gathering.width
        step = devices.agreed(min(self.steps.get(program, 1), most))
        begun = time.perf_counter()
        lanes, *now, leaves = self.mine or (None, self.progress, self.records, self.leaves)
        idle, offset = devices.place((gathering.idle, gathering.done), (0, 0))
        if lanes is None:
            self._compile_after(gathering.stage)
            self.ahead.wait(gathering.stage)
        *now, more, done = _advance(self.layout, gathering.stage, leaves, *now, np.int32(step), idle, offset)
        more, done = np.asarray(more), np.asarray(done)
        seconds = time.perf_counter() - begun
        # The first call compiles, so it says little; afterwards aim for the interval, without leaps.
        known = program in self.steps
        self.steps[program] = min(max(1, int(step * min(4.0, INTERVAL / max(seconds, 1e-6)))), LIMIT) if known else 1
        if lanes is not None:
            self.mine = lanes, *now, leaves
            now = _put(self.layout, self.progress, self.records, lanes, *now)
        self.progress, self.records = now
        self._look()
        gathering.count(self.seen, done, bool(more.any()))
        return int(done.max())

    def finish(self, reason: StopReason) -> Result:
        """The results. Runs that are not over ended for this reason."""
        self.ahead.wait(_finish)
        result = self._cut(_finish(self.layout, self.leaves, self.progress, self.records, np.int32(reason)))
        if self.layout.devices.mesh is None and self.runs == self.width:
            return result
        return jax.tree.map(lambda leaf: fetched(leaf)[: self.runs], result)

    def _cut(self, result: Result) -> Result:
        """Without the room for records that never come."""
        if self.rows == self.room:
            return result
        return dataclasses.replace(result, history=first_rows(result.history, self.rows))

    def not_begun(self, reason: StopReason) -> Result:
        """The results of runs that ended for this reason before they began. Their solutions and states are not numbers, and
        nothing is compiled."""
        task = self.layout.structure.unflatten(self.leaves)

        def evaluations(task, used):  # of one run: what makes members of a strategy refuses leaves of many
            return jnp.asarray(task.strategy.evaluations, jnp.int32)

        each = each_lane(of_leaves(self.layout.structure, evaluations, 1), (0, *self.layout.axes))

        def blank(leaf):
            if is_key(leaf):
                return jnp.empty(leaf.shape, leaf.dtype)
            return np.full(leaf.shape, np.nan if jnp.issubdtype(leaf.dtype, jnp.inexact) else 0, leaf.dtype)

        def filled(leaf, value):
            value = fetched(value)
            mine = value[: self.runs] if np.ndim(value) == leaf.ndim else value
            return np.array(np.broadcast_to(mine, leaf.shape), leaf.dtype)

        known = {
            "fitness": task.objective.sign(np.inf),
            "stop_reason": reason,
            "population_size": each(self.used, *self.leaves),
            "target": task.stop.target,
            "targets": jax.tree.map(task.objective.sign, task.targets),
        }
        result = jax.tree.map(blank, self.result_like())
        found = {name: jax.tree.map(filled, getattr(result, name), value) for name, value in known.items()}
        return dataclasses.replace(result, **found)

    def result_like(self) -> Result:
        """What the results look like."""
        progress, records = self._like
        finish = functools.partial(_finish, self.layout)
        result = jax.eval_shape(lambda *now: self._cut(finish(*now)), self.leaves, progress, records, np.int32(0))
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((self.runs, *leaf.shape[1:]), leaf.dtype), result)

    def memory(self) -> int:
        """Bytes that this batch takes on one device at its peak, as compiled. Nothing is run."""
        use: Any = self._advancing(int(np.argmax(self.gathering.sizes))).compile().memory_analysis()
        advancing = use.argument_size_in_bytes + use.output_size_in_bytes - use.alias_size_in_bytes + use.temp_size_in_bytes
        # At the end there are the states, and the results with a copy of them.
        finishing = (size_of(self._like) + size_of(self.result_like())) // self.layout.devices.shares
        return max(advancing, finishing)

    def snapshot(self) -> dict[str, Any]:
        """Everything needed to go on as if nothing had happened."""
        return {"progress": self.progress, "records": self.records, "gathering": self.gathering.snapshot()}

    def snapshot_like(self) -> dict[str, Any]:
        """What snapshots look like."""
        progress, records = self._like
        placed = self.layout.devices.placed
        return {"progress": placed(progress, 0), "records": placed(records, 1), "gathering": self.gathering.snapshot()}

    def _restore(self, snapshot: dict[str, Any]) -> None:
        progress, records = snapshot["progress"], snapshot["records"]
        if not self.layout.devices.several_processes:  # where they are shared already

            def widened(leaf, axis):  # saved from another number of devices
                return leaf if leaf.shape[axis] == self.width else jnp.take(leaf, self.lanes, axis)

            progress, records = (jax.tree.map(lambda leaf, i=i: widened(leaf, i), t) for i, t in enumerate((progress, records)))
            progress = dataclasses.replace(
                progress, reason=np.where(self.used, progress.reason, np.int32(StopReason.INTERRUPTED))
            )
            progress, records = self.layout.devices.place((progress, records), (0, 1))
        self.progress, self.records = jax.tree.map(jnp.asarray, (progress, records))
        self.gathering.restore(snapshot["gathering"])
        if self.gathering.going_on:
            self._take()


class Gathering:
    """Which runs go on together: those that are in the stage in which most of them wait. Each device has some of them."""

    def __init__(self, task: Task, axes: Axes, total: int, shares: int):
        self.task, self.axes = task, axes
        self.total, self.shares = total, shares
        self.sizes: list[int] = []
        if isinstance(task.strategy, Staged):  # what makes its members refuses leaves of many runs
            jax.eval_shape(lambda task: self.sizes.extend(stage.population_size for stage in task.strategy.stages), self._one)
        else:
            self.sizes.append(task.strategy.population_size)
        self.wasted = np.zeros(len(self.sizes), np.int64)  # candidates of runs that were in a stage's batch, but not in it
        self.used = 0  # and of all that were in it
        self.going_on = False  # whether those that were gathered are to go on
        self.stage = 0
        self.since = np.zeros(total, np.int32)  # the generation of every run when they were
        self.done = np.zeros(shares, np.int32)  # how many generations each device did since
        self.idle = np.zeros(shares, np.int32)  # how few of a device's runs are left to themselves
        self.width = total
        self.gathered: np.ndarray | None = None  # (total,) who; None: all

    def gather(self, look: Look) -> None:
        """Where runs move out of a stage, and into the next run, the others are not kept waiting for long."""
        waiting = np.bincount(look.stage[look.active], minlength=len(self.sizes))
        self.stage = int(waiting.argmax())
        mine = look.active & (look.stage == self.stage)
        each = mine.reshape(self.shares, -1).sum(axis=1)
        most, widths = int(each.max()), [self.total // self.shares]
        while widths[-1] > 1 and self._wasted() > len(widths) * WORTH:
            widths.append(-(-widths[-1] // NARROWER))
        width = min(width for width in widths if width >= most)
        narrower = max((other for other in widths if other < width), default=0)
        self.idle = np.zeros(self.shares, np.int32)
        if isinstance(self.task.strategy, Staged):
            self.idle = np.where(each > narrower, np.maximum(narrower, each * 3 // 4), each * 3 // 4).astype(np.int32)
        self.width = width * self.shares
        self.gathered = None if self.width == self.total else np.asarray(mine)
        self.since, self.done = np.array(look.generation), np.zeros(self.shares, np.int32)

    @property
    def lanes(self) -> np.ndarray | None:
        """(width,) int32, who, counted on each device; beyond its last: a lane that is not used. None: all."""
        if self.gathered is None:
            return None
        share = self.total // self.shares
        lanes = np.full((self.shares, self.width // self.shares), share, np.int32)
        for mine, gathered in zip(lanes, self.gathered.reshape(self.shares, share), strict=True):
            mine[: gathered.sum()] = np.flatnonzero(gathered)
        return lanes.reshape(-1)

    def count(self, look: Look, done: np.ndarray, going_on: bool) -> None:
        """Counts generations, and in the end the candidates of them: what is counted follows from the runs alone."""
        self.done = self.done + done
        self.going_on = going_on
        if not going_on:
            each = (look.generation - self.since).reshape(self.shares, -1)
            useful = int(each.sum(dtype=np.int64))
            self.used += useful * self.sizes[self.stage]
            if len(self.sizes) > 1:
                took = int(each.max(axis=1).sum(dtype=np.int64)) * self.width // self.shares
                self.wasted[self.stage] += (took - useful) * self.sizes[self.stage]

    @property
    def occupancy(self) -> float:
        """The share of candidates that were of use, 1 as long as none was counted."""
        wasted = int(self.wasted.sum())
        return self.used / (self.used + wasted) if wasted else 1.0

    def snapshot(self) -> dict[str, np.ndarray]:
        gathered = np.ones(self.total, bool) if self.gathered is None else self.gathered
        numbers = {name: np.int64(getattr(self, name)) for name in ("used", "going_on", "stage", "width")}
        arrays = {name: getattr(self, name) for name in ("wasted", "idle", "since", "done")}
        return arrays | {"gathered": gathered} | jax.tree.map(np.asarray, numbers)

    def restore(self, snapshot: dict[str, np.ndarray]) -> None:
        self.wasted, self.used = np.array(snapshot["wasted"]), int(snapshot["used"])
        if len(snapshot["idle"]) != self.shares:  # others are to be gathered on other devices
            return
        self.going_on, self.stage = bool(snapshot["going_on"]), int(snapshot["stage"])
        self.idle, self.width = np.array(snapshot["idle"]), int(snapshot["width"])
        self.since, self.done = np.array(snapshot["since"]), np.array(snapshot["done"])
        self.gathered = None if self.width == self.total else np.array(snapshot["gathered"])

    def _wasted(self) -> float:
        """Floating-point operations, on each device."""
        wasted = int(self.wasted[self.stage])
        return wasted * self._operations / self.shares if wasted > 0 else 0.0

    @functools.cached_property
    def _one(self) -> Task:
        """The task of one run, of which shapes alone are known."""
        leaves, structure = jax.tree.flatten(self.task)
        shapes = [
            jax.ShapeDtypeStruct(np.shape(leaf)[0 if axis is None else 1 :], jnp.result_type(leaf))
            for leaf, axis in zip(leaves, self.axes, strict=True)
        ]
        return jax.tree.unflatten(structure, shapes)

    @functools.cached_property
    def _operations(self) -> float:
        """Floating-point operations of one candidate: the objective's, as XLA counts them, and a guess at the strategy's."""
        space, size = self.task.strategy.space, max(self.sizes)
        x = jax.ShapeDtypeStruct((size, space.dimension), space.dtype)
        key = jax.eval_shape(lambda: jax.random.key(0))

        def measure(task, x, key):
            return task.objective.measure(task.strategy.space, x, key, task.args)

        cost = jax.jit(measure).lower(self._one, x, key).cost_analysis()
        return 100.0 * space.dimension + float((cost or {}).get("flops", 0)) / size


def size_of(tree: Any) -> int:
    """Bytes of arrays, or of what looks like them."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _is_true(answer: Any) -> bool:
    if answer is None or isinstance(answer, bool | np.bool_):
        return bool(answer)
    raise TypeError(f"a callback must return None, False, or True to end all runs, got {answer!r}.")


@functools.partial(Program, static_argnums=0)
def _look(layout, leaves, progress):
    def one(task, progress):
        state, strategy, going_on = progress.state, task.strategy, active(progress)
        pending, spent = strategy.pending(state), strategy.spent(state)
        share = (state.generation - progress.start) / jnp.maximum(progress.until - progress.start, 1)
        if task.stop.evaluations is not None:
            share = jnp.maximum(share, spent / task.stop.evaluations)
        return Look(
            active=going_on,
            pending=jnp.zeros((), bool) if pending is None else pending,
            stage=jnp.asarray(strategy.stage(state)),
            generation=state.generation,
            spent=spent,
            share=jnp.where(going_on, jnp.minimum(share, 1), 1),
            fitness=state.best_fitness,
            step_size=strategy.step_size(state),
            best=None,
        )

    def best(fitness, candidates):
        return candidates[jnp.argmin(fitness)][None]

    devices = layout.devices
    look = layout.of_runs(one, (0,), 0)(leaves, progress)
    found = devices.mapped(best, (0, 0), 0)(look.fitness, progress.state.best)
    return devices.mapped(devices.gathered, (0,), None)(dataclasses.replace(look, best=found, occupancy=None))


@functools.partial(Program, static_argnums=0)
def _columns(layout, leaves, progress, index):
    one = [leaf if axis is None else leaf[index] for leaf, axis in zip(leaves, layout.axes, strict=True)]
    columns = layout.structure.unflatten(one).strategy.columns(jax.tree.map(lambda leaf: leaf[index], progress.state))
    return collections.OrderedDict(columns)  # JAX would sort another one


@functools.partial(Program, static_argnums=(0, 1))
def _start(layout, rows, leaves, keys, used, generations):
    def one(task, key, used):
        progress = begin(task, task.strategy.init(key), generations)
        return dataclasses.replace(progress, reason=jnp.where(used, progress.reason, jnp.int32(StopReason.INTERRUPTED)))

    progress = layout.of_runs(one, (0, 0), 0)(leaves, keys, used)
    return progress, layout.devices.mapped(lambda progress: record_buffer(progress, rows), (0,), 1)(progress)


@functools.partial(Program, static_argnums=0, donate_argnums=2)
def _prepare(layout, leaves, progress):
    return layout.of_runs(prepare, (0,), 0)(leaves, progress)


@functools.partial(Program, static_argnums=0)
def _taken(layout, lanes, progress, records, leaves):
    """Some of the runs. A lane beyond the last run is one that has stopped."""

    def local(lanes, progress, records, leaves):
        mine = jax.tree.map(lambda a: a.at[lanes].get(mode="clip"), progress)
        used = lanes < progress.until.shape[0]
        return (
            dataclasses.replace(mine, reason=jnp.where(used, mine.reason, jnp.int32(StopReason.INTERRUPTED))),
            jax.tree.map(lambda a: a.at[:, lanes].get(mode="clip"), records),
            [
                leaf if axis is None else jnp.asarray(leaf).at[lanes].get(mode="clip")
                for leaf, axis in zip(leaves, layout.axes, strict=True)
            ],
        )

    axes = list(layout.axes)
    return layout.devices.mapped(local, (0, 0, 1, axes), (0, 1, axes))(lanes, progress, records, leaves)


@functools.partial(Program, static_argnums=0, donate_argnums=(1, 2))
def _put(layout, progress, records, lanes, mine, mine_records):
    """All runs with those at `lanes` replaced."""

    def local(progress, records, lanes, mine, mine_records):
        return (
            jax.tree.map(lambda a, new: a.at[lanes].set(new, mode="drop"), progress, mine),
            jax.tree.map(lambda a, new: a.at[:, lanes].set(new, mode="drop"), records, mine_records),
        )

    return layout.devices.mapped(local, (0, 1, 0, 0, 1), (0, 1))(progress, records, lanes, mine, mine_records)


@functools.partial(Program, static_argnums=(0, 1), donate_argnums=(3, 4))
def _advance(layout, stage, leaves, progress, records, most, idle, before):
    """Some generations of a stage; on each device, whether there is more to do, and how many generations there were."""
    devices = layout.devices

    def local(leaves, progress, records, most, idle, before):
        task = layout.structure.unflatten(leaves)
        progress, records, done, more = advance(task, stage, progress, records, most, layout.axes, idle[0], before[0])
        return progress, records, *devices.gathered((more[None], done[None]))

    local = devices.mapped(local, (list(layout.axes), 0, 1, None, 0, 0), (0, 1, None, None))
    return local(leaves, progress, records, most, idle, before)


@functools.partial(Program, static_argnums=0)
def _finish(layout, leaves, progress, records, ended):
    def one(task, progress, records):
        unfinished = (progress.reason == StopReason.RUNNING) & (progress.state.generation < progress.until)
        reason = jnp.where(unfinished, ended, progress.reason)
        return finish(task, dataclasses.replace(progress, reason=reason), records)

    return layout.of_runs(one, (0, 1), 0)(leaves, progress, records)


@functools.partial(Program, static_argnums=1)
def first_rows(history: Any, count: int) -> Any:
    """Of records with the axis of the runs in front."""
    return jax.tree.map(lambda leaf: leaf[:, :count], history)


@Program
def alone(result: Result) -> Result:
    """Of a batch of one: its run, by one program where `result[0]` would be one for every shape in it."""
    return result[0]


def let_go_of_programs() -> None:
    """Makes room for new ones, in a process that has compiled so many that it is half way to where XLA ends it.

    Every program takes dozens of mappings of memory; those of 24 functions with growing populations take most of what there is.
    What is wanted again is compiled again.
    """
    try:
        most = int(pathlib.Path("/proc/sys/vm/max_map_count").read_text())
        taken = pathlib.Path("/proc/self/maps").read_bytes().count(b"\n")
    except OSError:  # not Linux
        return
    if taken > FULL * most:
        for program in PROGRAMS:
            program.clear_cache()
        SEEN.clear()


PROGRAMS = _look, _columns, _start, _prepare, _taken, _put, _advance, _finish, first_rows, alone
