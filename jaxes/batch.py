"""Many runs at once, driven from the host: what `sweep` and `minimize` share.

The compiled program runs as many generations as take about the report interval, then the host looks: progress, callbacks,
Ctrl-C. How the generations are cut changes no result, and no length of a cut is a new program.
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

from jaxes.loop import Progress, Task, advance, begin, finish, record_buffer, rows_of
from jaxes.result import Result
from jaxes.stop import StopReason

INTERVAL = 0.25
"""Seconds between two looks of the host."""

Axes = tuple[int | None, ...]


def keys_of_runs(key: jax.Array, runs: int) -> jax.Array:
    """(runs,) keys, run i's whatever their number."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(runs))


def drive(
    task: Task,
    axes: Axes,
    keys: jax.Array,
    generations: int,
    report: Callable[[Progress, int], bool | None] | None = None,
    interrupted: Callable[[], bool] = lambda: False,
) -> Result:
    """The results of runs with keys (n,), leaves of `task` batched where `axes` says so.

    `report(progress, done)` is called about every `INTERVAL` seconds with the generations that were run so far, and ends
    all runs when it returns True.
    """
    leaves, structure = jax.tree.flatten(task)
    progress, records, start = _start(leaves, structure, axes, keys, np.int32(generations), rows_of(task, generations))
    done, step = 0, 1
    halted = interrupted()
    while done < generations and not halted:
        end = min(done + step, generations)
        begun = time.perf_counter()
        progress, records = _advance(leaves, structure, axes, progress, records, done, end)
        reason = np.asarray(progress.reason)
        seconds, done = time.perf_counter() - begun, end
        halted = (report is not None and _is_true(report(progress, done))) or interrupted()
        if (reason != StopReason.RUNNING).all():
            break
        # The first call compiles, so it says little; afterwards aim for the interval, without leaps.
        step = max(1, int(step * min(4.0, INTERVAL / max(seconds, 1e-6)))) if done > 1 else 1
    return _finish(leaves, structure, axes, progress, records, start, halted)


def _is_true(answer: Any) -> bool:
    if answer is None or isinstance(answer, bool | np.bool_):
        return bool(answer)
    raise TypeError(f"a callback must return None, False, or True to end all runs, got {answer!r}.")


@functools.partial(jax.jit, static_argnums=(1, 2, 5))
def _start(leaves, structure, axes, keys, generations, rows):
    def one(key, *leaves):
        task = structure.unflatten(leaves)
        return begin(task, task.strategy.init(key), generations)

    progress = jax.vmap(one, in_axes=(0, *axes))(keys, *leaves)
    return progress, record_buffer(progress, rows), progress.state.generation


@functools.partial(jax.jit, static_argnums=(1, 2), donate_argnums=(3, 4))
def _advance(leaves, structure, axes, progress, records, done, end):
    progress, records, _ = advance(structure.unflatten(leaves), progress, records, done, end, axes)
    return progress, records


@functools.partial(jax.jit, static_argnums=(1, 2))
def _finish(leaves, structure, axes, progress, records, start, halted):
    def one(progress, records, start, *leaves):
        running = progress.reason == StopReason.RUNNING
        unfinished = running & (progress.state.generation < progress.until) & halted
        reason = jnp.where(unfinished, jnp.int32(StopReason.INTERRUPTED), progress.reason)
        return finish(structure.unflatten(leaves), dataclasses.replace(progress, reason=reason), records, start)

    return jax.vmap(one, in_axes=(0, 1, 0, *axes))(progress, records, start, *leaves)


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
