"""Many runs at once, driven from the host: what `sweep` and `minimize` share.

The compiled program runs as many generations as take about the report interval, then the host looks: progress, callbacks,
Ctrl-C. How the generations are cut changes no result, and no length of a cut is a new program.

Runs of a strategy of several stages are sorted by the stage that they are in: those of one stage are gathered into a batch of
their own, of one of a few widths, and go on there until half of them have left it. Runs that have stopped then cost nothing.
Who is gathered with whom follows from the runs alone and not from the clock, so that the same call gives the same numbers.
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

from jaxes.loop import Progress, Task, advance, begin, finish, in_stage, record_buffer, rows_of
from jaxes.pytree import pytree
from jaxes.result import Result
from jaxes.stop import StopReason

INTERVAL = 0.25
"""Seconds between two looks of the host."""

NARROWEST, NARROWER = 16, 4
"""Least width of a batch that runs are gathered into, and how much wider the next one is. Each is a program of its own."""

Axes = tuple[int | None, ...]


@pytree
class Look:
    """What the host sees of all runs; NumPy arrays (runs,)."""

    active: jax.Array  # whether a run is to go on
    stage: jax.Array  # int32, in which of its strategy's stages
    generation: jax.Array  # int32, how many were told
    spent: jax.Array  # int32 evaluations
    share: jax.Array  # of what the run may take, from 0 to 1; 1 where it has stopped


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
    progress, records, look = _start(leaves, structure, axes, keys, np.int32(generations), rows_of(task, generations))
    look = _seen(look)
    steps: dict[tuple[int, int], int] = {}  # of each program, the generations that take about the interval
    halted = interrupted()
    while look.active.any() and not halted:
        stage, lanes, idle = _gathered(look, len(task.strategy.stages))
        width = keys.shape[0] if lanes is None else lanes.shape[0]
        staying = idle + 1
        while staying > idle and not halted:
            step = steps.get((stage, width), 1)
            begun = time.perf_counter()
            progress, records, look, staying = _advance(
                leaves, structure, axes, stage, progress, records, lanes, np.int32(step), np.int32(idle)
            )
            staying, look = int(staying), _seen(look)
            seconds = time.perf_counter() - begun
            # The first call compiles, so it says little; afterwards aim for the interval, without leaps.
            known = (stage, width) in steps
            steps[stage, width] = max(1, int(step * min(4.0, INTERVAL / max(seconds, 1e-6)))) if known else 1
            halted = (report is not None and _is_true(report(progress, look))) or interrupted()
    return _finish(leaves, structure, axes, progress, records, halted)


def _gathered(look: Look, stages: int) -> tuple[int, np.ndarray | None, int]:
    """A stage, the runs that go on in it (None: in a batch of all runs), and how few of them are to be left to themselves.

    The stage is the one in which most runs wait.
    """
    total = look.active.size
    waiting = np.bincount(look.stage[look.active])
    stage = int(waiting.argmax())
    mine, all_mine = int(waiting[stage]), int(waiting.sum())
    widths = [total]
    while stages > 1 and widths[-1] > NARROWEST:  # a program more would not pay where all runs are in one for good
        widths.append(-(-widths[-1] // NARROWER))
    width = min(width for width in widths if width >= mine)
    narrower = max((other for other in widths if other < width), default=0)
    idle = max(narrower, mine // 2 if all_mine > mine else 0)
    if width == total:
        return stage, None, idle
    lanes = np.full(width, total, np.int32)  # beyond the last run: a lane that is not used
    lanes[:mine] = np.flatnonzero(look.active & (look.stage == stage))
    return stage, lanes, idle


def _is_true(answer: Any) -> bool:
    if answer is None or isinstance(answer, bool | np.bool_):
        return bool(answer)
    raise TypeError(f"a callback must return None, False, or True to end all runs, got {answer!r}.")


def _seen(look: Look) -> Look:
    return jax.tree.map(np.asarray, look)


def _looked(task: Task, progress: Progress) -> Look:
    strategy, state = task.strategy, progress.state
    stage = jnp.asarray(strategy.stage(state))
    active = functools.reduce(jnp.logical_or, [in_stage(i, task, progress) for i in range(len(strategy.stages))])
    spent = strategy.spent(state)
    share = (state.generation - progress.start) / jnp.maximum(progress.until - progress.start, 1)
    if task.stop.evaluations is not None:
        share = jnp.maximum(share, spent / task.stop.evaluations)
    return Look(active, stage, state.generation, spent, jnp.where(active, jnp.minimum(share, 1), 1))


@functools.partial(jax.jit, static_argnums=(1, 2, 5))
def _start(leaves, structure, axes, keys, generations, rows):
    def one(key, *leaves):
        task = structure.unflatten(leaves)
        progress = begin(task, task.strategy.init(key), generations)
        return progress, _looked(task, progress)

    progress, look = jax.vmap(one, in_axes=(0, *axes))(keys, *leaves)
    return progress, record_buffer(progress, rows), look


@functools.partial(jax.jit, static_argnums=(1, 2, 3), donate_argnums=(4, 5))
def _advance(leaves, structure, axes, stage, progress, records, lanes, most, idle):
    """The runs at `lanes` (all for None) some generations on, and how many of them still are in the stage."""
    mine, mine_records, mine_leaves = progress, records, leaves
    if lanes is not None:
        total = progress.until.shape[0]
        mine, mine_records = (
            jax.tree.map(lambda a: a.at[lanes].get(mode="clip"), progress),
            jax.tree.map(lambda a: a.at[:, lanes].get(mode="clip"), records),
        )
        mine = dataclasses.replace(mine, reason=jnp.where(lanes < total, mine.reason, jnp.int32(StopReason.INTERRUPTED)))
        mine_leaves = [
            leaf if axis is None else jnp.asarray(leaf).at[lanes].get(mode="clip")
            for leaf, axis in zip(leaves, axes, strict=True)
        ]
    mine, mine_records = advance(structure.unflatten(mine_leaves), stage, mine, mine_records, most, axes, idle)
    if lanes is None:
        progress, records = mine, mine_records
    else:
        progress = jax.tree.map(lambda a, new: a.at[lanes].set(new, mode="drop"), progress, mine)
        records = jax.tree.map(lambda a, new: a.at[:, lanes].set(new, mode="drop"), records, mine_records)

    def one(progress, *leaves):
        task = structure.unflatten(leaves)
        return _looked(task, progress), in_stage(stage, task, progress)

    look, _ = jax.vmap(one, in_axes=(0, *axes))(progress, *leaves)
    _, staying = jax.vmap(one, in_axes=(0, *axes))(mine, *mine_leaves)
    return progress, records, look, jnp.sum(staying, dtype=jnp.int32)


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
