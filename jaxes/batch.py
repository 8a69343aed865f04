"""Many runs at once, driven from the host: what `sweep` and `minimize` share.

The compiled program runs as many generations as take about the report interval, then the host looks: progress, callbacks,
Ctrl-C. How the generations are cut changes no result, and no length of a cut is a new program.

Runs of a strategy of several stages are sorted by the stage that they are in: those of one stage go on together until a quarter
of them have left it. While little is wasted, in a batch of all runs; later gathered into a batch of their own, of one of a few
widths, so that the others cost nothing. Who is gathered with whom follows from the runs alone and not from the clock, so that
the same call gives the same numbers.
"""

from __future__ import annotations

import dataclasses
import functools
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxes.loop import Progress, Task, active, advance, begin, finish, in_stage, prepare, record_buffer, rows_of
from jaxes.pytree import pytree
from jaxes.result import Result
from jaxes.stages import Staged
from jaxes.strategy import LIMIT, StopReason

INTERVAL = 0.25
"""Seconds between two looks of the host."""

NARROWER = 4
"""Runs are gathered into batches as wide as all of them, or narrower by powers of this. Each width is a program of its own."""

WORTH = 2e9
"""Floating-point operations wasted on runs that were not in their batch's stage before a narrower program is compiled, and
twice as many before the next: about what a core does meanwhile. BIPOP-CMA-ES on Rastrigin's function in 5-D then makes use of
.29 of the candidates with 256 runs, and of .38 with 1,024, at 1.8 times the cost."""

Axes = tuple[int | None, ...]


@pytree
class Look:
    """What the host sees of all runs; NumPy arrays (runs,)."""

    active: jax.Array  # whether a run is to go on
    pending: jax.Array  # whether it is to be prepared for what follows
    stage: jax.Array  # int32, in which of its strategy's stages
    generation: jax.Array  # int32, how many were told
    spent: jax.Array  # int32 evaluations
    share: jax.Array  # of what the run may take, from 0 to 1; 1 where it has stopped
    occupancy: Any = 1.0  # the share of evaluated candidates that were of use to a run so far


def keys_of_runs(key: jax.Array, runs: int) -> jax.Array:
    """(runs,) keys, run i's whatever their number."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(runs))


def drive(
    task: Task,
    axes: Axes,
    keys: jax.Array,
    generations: int,
    report: Callable[[Progress, Look], bool | None] | None = None,
    interrupted: Callable[[], bool] = lambda: False,
) -> Result:
    """The results of runs with keys (n,), leaves of `task` batched where `axes` says so.

    `report(progress, look)` is called about every `INTERVAL` seconds, and ends all runs when it returns True.
    """
    leaves, structure = jax.tree.flatten(task)
    progress, records = _start(leaves, structure, axes, keys, np.int32(generations), rows_of(task, generations))
    look = _seen(_look(leaves, structure, axes, progress))
    gathering = Gathering(task, axes)
    steps: dict[tuple[int, int], int] = {}  # of each program, the generations that take about the interval
    halted = interrupted()
    while (look.active | look.pending).any():
        if look.pending.any():
            progress = _prepare(leaves, structure, axes, progress)
            look = _seen(_look(leaves, structure, axes, progress))
        if halted or not look.active.any():
            break
        stage, lanes, idle = gathering.next(look)
        mine = progress, records, leaves
        if lanes is not None:
            mine = _taken(axes, lanes, *mine)
        width, staying = mine[0].until.shape[0], idle + 1
        while staying > idle and not halted:
            step, before = steps.get((stage, width), 1), look.generation.sum(dtype=np.int64)
            begun = time.perf_counter()
            *now, staying, done = _advance(mine[2], structure, axes, stage, *mine[:2], np.int32(step), np.int32(idle))
            staying = int(staying)
            seconds = time.perf_counter() - begun
            # The first call compiles, so it says little; afterwards aim for the interval, without leaps.
            known = (stage, width) in steps
            steps[stage, width] = min(max(1, int(step * min(4.0, INTERVAL / max(seconds, 1e-6)))), LIMIT) if known else 1
            mine = *now, mine[2]
            progress, records = now if lanes is None else _put(progress, records, lanes, *now)
            look = _seen(_look(leaves, structure, axes, progress))
            gathering.seen(stage, width, int(done), int(look.generation.sum(dtype=np.int64) - before))
            seen = dataclasses.replace(look, occupancy=gathering.occupancy)
            halted = (report is not None and _is_true(report(progress, seen))) or interrupted()
    return _finish(leaves, structure, axes, progress, records, halted)


class Gathering:
    """Which runs go on together: those that are in the stage in which most of them wait."""

    def __init__(self, task: Task, axes: Axes):
        self.task, self.axes = task, axes
        self.sizes = [stage.population_size for stage in task.strategy.stages]
        self.wasted = [0] * len(self.sizes)  # candidates of runs that were in a stage's batch, but not in the stage
        self.used = 0  # and of all that were

    def next(self, look: Look) -> tuple[int, np.ndarray | None, int]:
        """A stage, the runs that go on in it (None: in a batch of all runs), and how few of them are left to themselves.

        Where runs move out of a stage, and into the next run, the others are not kept waiting for long.
        """
        total = look.active.size
        waiting = np.bincount(look.stage[look.active])
        stage = int(waiting.argmax())
        mine = int(waiting[stage])
        widths = [total]
        while widths[-1] > 1 and self.wasted[stage] > 0 and self.wasted[stage] * self._operations > len(widths) * WORTH:
            widths.append(-(-widths[-1] // NARROWER))
        width = min(width for width in widths if width >= mine)
        narrower = max((other for other in widths if other < width), default=0)
        idle = max(narrower, mine * 3 // 4) if isinstance(self.task.strategy, Staged) else 0
        if width == total:
            return stage, None, idle
        lanes = np.full(width, total, np.int32)  # beyond the last run: a lane that is not used
        lanes[:mine] = np.flatnonzero(look.active & (look.stage == stage))
        return stage, lanes, idle

    def seen(self, stage: int, width: int, generations: int, useful: int) -> None:
        """Counts the candidates of so many generations of a batch, some of which were `useful` to a run."""
        self.wasted[stage] += (generations * width - useful) * self.sizes[stage] if len(self.sizes) > 1 else 0
        self.used += useful * self.sizes[stage]

    @property
    def occupancy(self) -> float:
        """The share of candidates that were of use."""
        return self.used / max(self.used + sum(self.wasted), 1)

    @functools.cached_property
    def _operations(self) -> float:
        """Floating-point operations of one candidate: the objective's, as XLA counts them, and a guess at the strategy's."""
        leaves, structure = jax.tree.flatten(self.task)
        shapes = [
            jax.ShapeDtypeStruct(np.shape(leaf)[0 if axis is None else 1 :], jnp.result_type(leaf))
            for leaf, axis in zip(leaves, self.axes, strict=True)
        ]
        space = self.task.strategy.space
        x = jax.ShapeDtypeStruct((1, space.dimension), space.dtype)
        key = jax.eval_shape(lambda: jax.random.key(0))

        def measure(leaves, x, key):
            task = structure.unflatten(leaves)
            return task.objective.measure(task.strategy.space, x, key, task.args)

        cost = jax.jit(measure).lower(shapes, x, key).cost_analysis()
        return 100.0 * space.dimension + float((cost or {}).get("flops", 0))


def _is_true(answer: Any) -> bool:
    if answer is None or isinstance(answer, bool | np.bool_):
        return bool(answer)
    raise TypeError(f"a callback must return None, False, or True to end all runs, got {answer!r}.")


def _seen(look: Look) -> Look:
    return jax.tree.map(np.asarray, look)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _look(leaves, structure, axes, progress):
    def one(progress, *leaves):
        task, state = structure.unflatten(leaves), progress.state
        strategy, pending, going_on = task.strategy, task.strategy.pending(state), active(progress)
        spent = strategy.spent(state)
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
        )

    return jax.vmap(one, in_axes=(0, *axes))(progress, *leaves)


@functools.partial(jax.jit, static_argnums=(1, 2, 5))
def _start(leaves, structure, axes, keys, generations, rows):
    def one(key, *leaves):
        task = structure.unflatten(leaves)
        return begin(task, task.strategy.init(key), generations)

    progress = jax.vmap(one, in_axes=(0, *axes))(keys, *leaves)
    return progress, record_buffer(progress, rows)


@functools.partial(jax.jit, static_argnums=(1, 2), donate_argnums=3)
def _prepare(leaves, structure, axes, progress):
    return jax.vmap(lambda progress, *leaves: prepare(structure.unflatten(leaves), progress), in_axes=(0, *axes))(
        progress, *leaves
    )


@functools.partial(jax.jit, static_argnums=0)
def _taken(axes, lanes, progress, records, leaves):
    """Some of the runs. A lane beyond the last run is one that has stopped."""
    mine = jax.tree.map(lambda a: a.at[lanes].get(mode="clip"), progress)
    used = lanes < progress.until.shape[0]
    return (
        dataclasses.replace(mine, reason=jnp.where(used, mine.reason, jnp.int32(StopReason.INTERRUPTED))),
        jax.tree.map(lambda a: a.at[:, lanes].get(mode="clip"), records),
        [
            leaf if axis is None else jnp.asarray(leaf).at[lanes].get(mode="clip")
            for leaf, axis in zip(leaves, axes, strict=True)
        ],
    )


@functools.partial(jax.jit, donate_argnums=(0, 1))
def _put(progress, records, lanes, mine, mine_records):
    """All runs with those at `lanes` replaced."""
    return (
        jax.tree.map(lambda a, new: a.at[lanes].set(new, mode="drop"), progress, mine),
        jax.tree.map(lambda a, new: a.at[:, lanes].set(new, mode="drop"), records, mine_records),
    )


@functools.partial(jax.jit, static_argnums=(1, 2, 3), donate_argnums=(4, 5))
def _advance(leaves, structure, axes, stage, progress, records, most, idle):
    """Some generations of a stage; how many runs are still in it, and how many generations there were."""
    progress, records, done = advance(structure.unflatten(leaves), stage, progress, records, most, axes, idle)
    staying = jax.vmap(lambda p, *ls: in_stage(stage, structure.unflatten(ls), p), in_axes=(0, *axes))(progress, *leaves)
    return progress, records, jnp.sum(staying, dtype=jnp.int32), done


@functools.partial(jax.jit, static_argnums=(1, 2))
def _finish(leaves, structure, axes, progress, records, halted):
    def one(progress, records, *leaves):
        running = progress.reason == StopReason.RUNNING
        unfinished = running & (progress.state.generation < progress.until) & halted
        reason = jnp.where(unfinished, jnp.int32(StopReason.INTERRUPTED), progress.reason)
        return finish(structure.unflatten(leaves), dataclasses.replace(progress, reason=reason), records)

    return jax.vmap(one, in_axes=(0, 1, *axes))(progress, records, *leaves)


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Within it, Ctrl-C only makes the yielded function true, so that no call is torn apart; a second one raises."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return

    def handler(number, frame):
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    previous = signal.getsignal(signal.SIGINT)
    if previous is signal.SIG_IGN or previous is None:
        yield pressed.is_set
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, previous)


def progress_bar(show: bool | None, total: int, unit: str) -> Any:
    """A tqdm bar on stderr. `show` None: if tqdm is installed and stderr is a terminal. None if there is to be none."""
    if not (sys.stderr.isatty() if show is None else show):
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        if show is None:
            return None
        raise ImportError('progress=True needs tqdm: pip install "jaxes[progress]".') from None
    return tqdm(total=total, unit=unit, unit_scale=True, leave=True)
