"""Objectives that are not JAX: a Python function, a subprocess, a simulator.

`HostBatch` is what `jaxes.batch.drive` drives for them. Ask and tell are compiled; in between, the candidates of all runs that
are still under way are evaluated at once, by an executor. A generation takes one transfer each way.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
import os
import pickle
import queue
import time
import warnings
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxes.batch import INTERVAL, Batch, _look, _prepare
from jaxes.checks import check_integer, check_seconds
from jaxes.executors import Crash, NotStarted, Processes, Threads, error_in_words
from jaxes.loop import Task, _written, in_stage, learn
from jaxes.objective import as_objective
from jaxes.program import Program
from jaxes.pytree import pytree, where
from jaxes.stop import StopReason
from jaxes.strategy import Purpose, stream

TICK = 0.1
"""Seconds between two looks at Ctrl-C and at what is late, while evaluations are under way."""


@dataclasses.dataclass
class Counts:
    """What became of the evaluations of all runs. What failed, was late or crashed is NaN, and counts as worst."""

    evaluated: int = 0  # the function returned a number, or NaN
    failed: int = 0  # it raised an exception
    late: int = 0  # it took longer than `timeout`
    crashed: int = 0  # it took its process down, twice
    remembered: int = 0  # not evaluated, being equal to another candidate

    @property
    def lost(self) -> int:
        return self.failed + self.late + self.crashed


@pytree
class Asked:
    """A generation of all runs, in one stage of the strategy, that awaits its evaluation."""

    x: jax.Array  # (runs, n, d)
    state: Any  # that is to be told
    mine: jax.Array  # (runs,) whether a run takes part
    due: jax.Array  # (runs,) int32, how many of its candidates count
    solutions: Any  # the user's pytree, each leaf with axes (runs, n) in front
    seeds: jax.Array | None  # (runs, n) uint32, or (runs,) if the objective is batched; None unless it is stochastic


@dataclasses.dataclass
class Call:
    """One call of the user's function."""

    arguments: tuple[Any, ...]
    fitness: np.ndarray  # where to write what it returns: (1,), or (due,) if the objective is batched
    submitted: float = 0.0
    crashes: int = 0


class HostBatch(Batch):
    """A batch whose generations are evaluated by an `evaluator`. The objective of `task` is a `stand_in`.

    An interruption gives up the generation whose evaluations are under way: what is remembered is that before it.
    """

    def __init__(
        self, task: Task, keys: jax.Array, generations: int, evaluator: Evaluator, interrupted: Callable[[], StopReason]
    ):
        super().__init__(task, (None,) * len(jax.tree.leaves(task)), keys, generations)
        self.evaluator, self.interrupted, self.told = evaluator, interrupted, False

    def _compile(self, starts):
        """Nothing ahead: what takes time is the evaluations."""

    def gather(self, ended):
        """Whether there is more to do: who is in which stage makes no difference."""
        if self.seen.pending.any():
            self.progress = _prepare(self.layout, self.leaves, self.progress)
            self._look()
        return not ended and bool(self.seen.active.any())

    def advance(self, most):
        """As many generations as take about the interval; at first one, so that something is told soon."""
        begun, done = time.monotonic(), 0
        most = most if self.told else 1
        while self._generation():
            done += 1
            if done >= most or time.monotonic() - begun >= INTERVAL or not self.gather(False):
                break
        return done

    def _generation(self) -> bool:
        """A generation of all runs that go on; False if it was given up."""
        evaluator = self.evaluator
        seeds = None if not evaluator.stochastic else "one" if evaluator.batched else "each"
        asked = {
            int(stage): _ask(self.layout, int(stage), seeds, self.leaves, self.progress)
            for stage in np.unique(self.seen.stage[self.seen.active])
        }
        try:
            fitness = evaluator.measure(asked, self.interrupted)
        except BrokenExecutor as error:
            if not self.told:
                raise
            warnings.warn(
                f"minimize ended early, because its executor is broken ({error_in_words(error)}). "
                'With executor="process", a process that ends is replaced.',
                RuntimeWarning,
                stacklevel=5,
            )
            self.broken, fitness = True, None
        if fitness is None:
            return False
        for stage, one in asked.items():
            self.progress, self.records, look = _tell(
                self.layout, stage, self.leaves, self.progress, self.records, one.x, one.state, one.mine, fitness[stage]
            )
        self.seen, self.told = jax.tree.map(np.asarray, look), True
        return True

    def finish(self, reason):
        if self.evaluator.counts.lost:
            warnings.warn(self.evaluator.summary(), RuntimeWarning, stacklevel=4)
        return super().finish(reason)


def stand_in(population: Any) -> jax.Array:
    """A batched objective of the right shape, in the place of one that JAX cannot see."""
    return jnp.zeros(jax.tree.leaves(population)[0].shape[0])


@functools.partial(Program, static_argnums=(0, 1, 2))
def _ask(layout, stage, seeds, leaves, progress):
    def one(task, progress):
        state = progress.state
        strategy, key = task.strategy.stages[stage], stream(state, Purpose.OBJECTIVE)
        x, asked = strategy._ask(state)
        if seeds == "each":
            drawn = jax.vmap(jax.random.bits)(jax.random.split(key, x.shape[0]))
        else:
            drawn = jax.random.bits(key) if seeds == "one" else None
        mine, due = in_stage(stage, task, progress), jnp.asarray(strategy.due(state), jnp.int32)
        return Asked(x, asked, mine, due, jax.vmap(strategy.space.decode)(x), drawn)

    return layout.of_runs(one, (0,), 0)(leaves, progress)


@functools.partial(Program, static_argnums=(0, 1), donate_argnums=3)
def _tell(layout, stage, leaves, progress, records, x, asked, mine, fitness):
    def one(task, progress, x, asked, mine, fitness):
        after = learn(task, task.strategy.stages[stage], progress, asked, x, task.objective.sign(fitness))
        return where(mine, after, progress)

    progress = layout.of_runs(one, (0, 0, 0, 0, 0), 0)(leaves, progress, x, asked, mine, fitness)
    task = layout.structure.unflatten(leaves)
    if task.every is not None:
        records = _written(task, progress, records, True)
    return progress, records, _look(layout, leaves, progress)


@dataclasses.dataclass(frozen=True)
class Host:
    """How `minimize` evaluates an objective outside of JAX; checked when it is made.

    Args:
        executor: who evaluates. "thread" (default): threads, for what waits for something else, such as a subprocess, or lets
            go of Python's lock, as most of NumPy does; anything can be called. "process": processes that do Python in
            parallel, and may crash, for functions that can be pickled; a script then needs the usual
            `if __name__ == "__main__":`. What crashes its process is evaluated again, and is a failure the second time. Or
            any object with the `submit` of `concurrent.futures`, such as Dask's `client.get_executor()`; it is left open.
        workers: how many evaluations at once; default: as many as there are cores. For an executor of your own, how many are
            submitted at once; default all.
        timeout: seconds after which an evaluation is a failure. A process is killed then. A thread cannot be: it is left to
            itself, and another takes its place. So is what an executor of your own evaluates, where it keeps its worker
            until it ends; `workers` must be given for one.
        memo: True evaluates equal candidates once within a call of `minimize`. It remembers all.
    """

    executor: Any = "thread"
    workers: int | None = None
    timeout: float | None = None
    memo: bool = False

    def __post_init__(self):
        if not self.own and not callable(getattr(self.executor, "submit", None)):
            raise TypeError(
                'Host(executor=...) must be "thread", "process", or an executor with the method submit(function, *arguments), '
                f"got {self.executor!r}."
            )
        if self.workers is not None:
            check_integer("Host", "workers", self.workers, at_least=1)
        if self.timeout is not None:
            check_seconds("Host", self.timeout, "timeout")
            if not self.own and self.workers is None:
                raise ValueError(
                    "Host(timeout=...) with an executor of your own needs workers=, how many evaluations it does at once: what "
                    "is known is when they are submitted, and no more than that many will be."
                )
        if not isinstance(self.memo, bool | np.bool_):
            raise TypeError(f"Host(memo=...) must be True or False, got {self.memo!r}.")

    @property
    def own(self) -> bool:
        """Whether the workers are those of jaxes."""
        return isinstance(self.executor, str) and self.executor in ("thread", "process")


def as_host(host: Any) -> Host | None:
    if isinstance(host, Host):
        return host
    if not isinstance(host, bool | np.bool_):
        raise TypeError(f"minimize(host=...) must be True, False or a jaxes.Host, got {host!r}.")
    return Host() if host else None


class Evaluator:
    """A function that is evaluated by the workers of a `Host`, which exist within `with`."""

    def __init__(self, host: Host, function: Callable[..., Any], args: Any, batched: bool, stochastic: bool):
        as_objective(function, batched=batched, stochastic=stochastic)  # refuses what is none
        if host.memo and (batched or stochastic):
            raise ValueError(f"Host(memo=True) makes no sense with {'batched' if batched else 'stochastic'}=True.")
        if host.executor == "process":
            try:
                pickle.dumps(function)
            except Exception as error:
                raise TypeError(
                    'Host(executor="process") needs an objective that can be pickled, such as a function at the top level '
                    f"of a module, got {function!r}: {error_in_words(error)}."
                ) from error
        self.host, self.function, self.args = host, function, () if args is None else (args,)
        self.batched, self.stochastic = batched, stochastic
        self.timeout = math.inf if host.timeout is None else float(host.timeout)
        self.known: dict[bytes, float] | None = {} if host.memo else None
        self.counts = Counts()
        self.first_error: BaseException | None = None

    def __enter__(self) -> Evaluator:
        self.idle, self.pool = True, self.host.executor  # `idle`: no evaluation was left to itself
        self.done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        if self.host.own:
            workers = self.host.workers or os.cpu_count() or 1
            self.pool = Threads(workers) if self.pool == "thread" else Processes(workers, self.function)
        return self

    def __exit__(self, *_: Any) -> None:
        if self.host.own:
            self.pool.close(self.idle)

    def measure(self, asked: dict[int, Asked], interrupted: Callable[[], Any]) -> dict[int, np.ndarray] | None:
        """What the function returns (runs, n) for the candidates of each stage, NaN where it gave nothing. None if interrupted.

        Raises:
            RuntimeError: nothing but errors in the first generation.
        """
        calls: list[Call] = []
        copies: list[tuple[np.ndarray, np.ndarray]] = []  # fitness that is the same as another
        new: dict[bytes, np.ndarray] = {}
        measured = {}
        for stage, one in asked.items():
            mine, due, solutions, seeds = jax.device_get((one.mine, one.due, one.solutions, one.seeds))
            flat = None if self.known is None else np.asarray(one.x)
            leaves, structure = jax.tree.flatten(solutions)
            leaves = [np.array(leaf) for leaf in leaves]  # which the function may write into
            measured[stage] = np.full(one.x.shape[:2], np.nan)
            for run in np.flatnonzero(mine):
                parts: Any = [np.s_[: due[run]]] if self.batched else range(due[run])
                for part in parts:
                    here = measured[stage][run, part] if self.batched else measured[stage][run, part : part + 1]
                    if flat is not None and self._remembers(flat[run, part].tobytes(), here, new, copies):
                        continue
                    solution = jax.tree.unflatten(structure, [leaf[run, part] for leaf in leaves])
                    seed = () if seeds is None else (int(seeds[run] if self.batched else seeds[run, part]),)
                    calls.append(Call((solution, *self.args, *seed), here))
        if not self._evaluate(calls, interrupted):
            return None
        for copy, original in copies:
            copy[:] = original
        if self.known is not None:  # what failed is evaluated again
            self.known.update((name, fitness[0]) for name, fitness in new.items() if not np.isnan(fitness[0]))
        if not self.counts.evaluated:
            error = self.first_error
            raise RuntimeError(f"{self.summary()} That is the whole first generation.") from error
        with np.errstate(over="ignore"):
            return {stage: fitness.astype(asked[stage].x.dtype) for stage, fitness in measured.items()}

    def _remembers(self, name: bytes, fitness: np.ndarray, new: dict[bytes, np.ndarray], copies: list[Any]) -> bool:
        """Whether the fitness of a candidate is known, or will be when the original has been evaluated."""
        if self.known is not None and name in self.known:
            fitness[0] = self.known[name]
        elif name in new:
            copies.append((fitness, new[name]))
        else:
            new[name] = fitness
            return False
        self.counts.remembered += 1
        return True

    def _evaluate(self, calls: list[Call], interrupted: Callable[[], Any]) -> bool:
        """Writes what the calls return; False if interrupted."""
        waiting = collections.deque(calls)
        most = len(calls) if self.host.own or self.host.workers is None else self.host.workers
        running: dict[Any, Call] = {}
        tick = min(TICK, self.timeout / 4)
        next_look = time.monotonic() + tick
        try:
            while waiting or running:
                while waiting and len(running) < most:
                    call = waiting.popleft()
                    call.submitted = time.monotonic()
                    future = self.pool.submit(self.function, *call.arguments)
                    running[future] = call
                    future.add_done_callback(self.done.put)
                try:
                    future = self.done.get(timeout=tick)
                except queue.Empty:
                    pass
                else:
                    ended = running.pop(future, None)  # None: it was given up
                    if ended is not None and not self._settled(ended, future):
                        waiting.appendleft(ended)
                if time.monotonic() < next_look:
                    continue
                if interrupted():
                    return False
                for future in [future for future, call in running.items() if self._is_late(call, future)]:
                    self._lose(running.pop(future), "late", TimeoutError(f"it took more than {self.timeout:g} s"))
                    self.pool.abandon(future) if self.host.own else future.cancel()
                next_look = time.monotonic() + tick
            return True
        finally:
            self.idle = not running
            for future in running:
                future.cancel()

    def _is_late(self, call: Call, future: Any) -> bool:
        began = future.began if self.host.own else call.submitted
        return began is not None and time.monotonic() - began > self.timeout

    def _settled(self, call: Call, future: Any) -> bool:
        """Writes what came of a call; False if it is to be evaluated again."""
        try:
            error = future.exception()
        except CancelledError as cancelled:
            error = cancelled
        if error is None:
            call.fitness[:] = self._numbers(future.result(), call.fitness.size)
            self.counts.evaluated += call.fitness.size
        elif isinstance(error, NotStarted if self.host.own else BrokenExecutor) and not (
            self.host.own and self.counts.evaluated
        ):
            raise error
        elif not isinstance(error, Crash | NotStarted):
            self._lose(call, "failed", error)
        elif call.crashes:
            self._lose(call, "crashed", error)
        else:  # it may have been another's fault, such as the memory that others took
            call.crashes += 1
            return False
        return True

    def _lose(self, call: Call, how: str, error: BaseException) -> None:
        setattr(self.counts, how, getattr(self.counts, how) + call.fitness.size)
        self.first_error = self.first_error or error

    def _numbers(self, value: Any, count: int) -> Any:
        """What the function returned, if that is one number, or as many as there are candidates."""
        if isinstance(value, float) and not self.batched:
            return value
        expected = (count,) if self.batched else ()
        try:
            shape = np.shape(value)
            if shape == expected and not isinstance(value, str | bytes):
                return np.asarray(value, float) if self.batched else float(value)
        except (TypeError, ValueError, OverflowError):
            shape = ()
        got = f"shape {shape}" if shape else f"{value!r}"
        what = f"{count} numbers, one for each solution" if self.batched else "one number"
        raise TypeError(f"objective must return {what}, got {got} of type {type(value).__name__}.")

    def summary(self) -> str:
        """What went wrong, in words."""
        counts, error = self.counts, self.first_error
        parts = {
            "failed": counts.failed,
            f"took more than {self.timeout:g} s": counts.late,
            "crashed their process": counts.crashed,
        }
        lost = ", ".join(f"{number} {how}" for how, number in parts.items() if number)
        first = "" if error is None else f"; the first: {error_in_words(error)}"
        return f"objective: of {counts.evaluated + counts.lost} evaluations {lost}{first}."
