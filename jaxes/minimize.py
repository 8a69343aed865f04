"""minimize(): the host's side of a run, and what a user types first."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from jaxes.batch import Batch, Look, alone, drive, keys_of_runs
from jaxes.checkpoint import Checkpoint, about_task, as_checkpoint, in_words, keeping
from jaxes.checks import as_key, check_integer, check_seconds
from jaxes.devices import Sharing, as_devices
from jaxes.host import Counts, Evaluator, Host, HostBatch, as_host, stand_in
from jaxes.interrupts import Interrupts
from jaxes.islands import check_spread, has_islands
from jaxes.loop import check_generations, make_task
from jaxes.portfolio import Portfolio
from jaxes.problems.problem import Problem
from jaxes.result import Result
from jaxes.settings import has_finite_sides
from jaxes.space import as_space
from jaxes.stop import Stop, StopReason, as_stop
from jaxes.strategies.lmmaes import LMMAES
from jaxes.strategy import LIMIT, Strategy
from jaxes.watch import Log, Watch, profiled

MATRICES = 256
"""Up to how many coordinates the default strategy is one with matrices."""
BUDGET = 5000
"""Evaluations per dimension of a strategy of several stages, where nothing else ends it."""


@dataclasses.dataclass(frozen=True)
class Report:
    """What a callback is told, a few times a second."""

    generation: int  # generations that were run
    evaluations: int  # of all runs
    fitness: np.ndarray  # (runs,) best so far of every run, as the objective gives it
    finished: float  # share of runs that have stopped
    seconds: float  # since minimize was called
    best: Callable[[], Any]  # the best solution so far of all runs
    occupancy: float  # share of evaluated candidates that were of use: runs of a strategy of several stages share batches
    counts: Counts | None = None  # with host=..., what became of the evaluations: how many failed, were late, crashed


def minimize(
    objective: Any,
    space: Any = None,
    *,
    strategy: Strategy | None = None,
    key: ArrayLike = 0,
    generations: int | None = None,
    runs: int | None = None,
    args: Any = None,
    stop: Stop | dict[str, Any] | None = None,
    history: bool | int = True,
    record: Callable[..., Any] | None = None,
    targets: ArrayLike | None = None,
    progress: bool | None = None,
    verbose: int = 0,
    log: Log | None = None,
    profile: str | os.PathLike[str] | None = None,
    callback: Callable[[Report], bool | None] | None = None,
    seconds: float | None = None,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
    devices: Any = None,
    batched: bool = False,
    stochastic: bool = False,
    maximise: bool = False,
    host: bool | Host = False,
) -> Result:
    """Minimises an objective, shows progress, and can be interrupted.

    Args:
        objective: a function of one solution that returns one floating number, in jax.numpy; or a `Problem`. With `host`,
            any Python function of one solution.
        space: a `Box` or a pytree of them. Not needed with a `Problem` or a strategy.
        strategy: default `jaxes.Portfolio(space)`, which needs no settings; with more than 256 coordinates
            `jaxes.LMMAES(space)`, whose time and memory do not grow with their square.
        key: of `jax.random.key`, or an integer seed.
        generations: how many, at most. Default 1,000; for a strategy of several stages, such as the default one, as many as
            5,000 d evaluations are, unless `stop` has another budget of them.
        runs: this many independent repeats at once, with keys `jax.random.fold_in(key, i)`; the result then has a
            leading axis, and `result.best()` is the best run. Default: a single run with `key` itself, no axis.
        history: True keeps up to 1,000 records evenly over the generations, k one every k generations, False none.
        progress: True or False; default: if tqdm is installed and stderr is a terminal.
        verbose: n prints a line every n generations, to stderr, with what the strategy's authors print of the best run.
        log: a file that ends in .csv or .parquet, or a function of a dict: about a record a second, whose columns are
            `jaxes.watch.COLUMNS`. `jaxes watch FILE` draws it while it grows.
        profile: a folder to write a trace of `jax.profiler` to, of the whole call, compiling included.
        callback: called with a `Report` a few times a second; ends the runs by returning True.
        seconds: a limit, compiling included; runs that are not over by then end between two generations, with
            `StopReason.TIME`. One generation is computed at least.
        checkpoint: a folder to save to, or a `Checkpoint` that also says how often. The same call goes on from what is there,
            and returns what it would have returned without a break, bit for bit; runs that were interrupted or out of time
            are not over.
        devices: how many, a list of them, or a `jax.sharding.Mesh`: they share the runs or, if there are no `runs`, the
            islands of `Islands` or else the candidates of each population, for an objective that takes long. Default: one
            device, JAX's default one.
        args, stop, record, targets, batched, stochastic, maximise: as in `jaxes.run`.
        host: True, or a `Host` that says by whom, evaluates the objective outside of JAX, a candidate a call, those of all
            runs at once: for Python functions, subprocesses, simulators. Solutions have NumPy leaves; `args` may be anything;
            what is returned, anything that `float` takes. With `stochastic`, the last argument is an integer seed below 2**32
            that follows from `key`. An exception is a failure: NaN, which counts as worst. The failures are counted
            (`Report.counts`, and a warning at the end); when all of the first generation failed, the first error is raised.

    Returns:
        `Result`, the same that `run` gives for the same key. Ctrl-C or SIGTERM ends the runs between two generations and
        returns what they found, with `StopReason.INTERRUPTED`; a second one raises, and so does the next call after SIGTERM,
        which asks the process to end. With `host`, the generation whose
        evaluations are under way is given up.

    Raises:
        ValueError, TypeError: before anything runs, naming the argument. With `host`, TypeError as soon as the objective
            returns what is not one number.
        RuntimeError: with `host`, when the first generation had nothing but failures.
    """
    strategy = _strategy(objective, space, strategy)
    generations, stop = budgeted(strategy, as_stop(stop), generations)
    generations = check_generations("minimize", generations)
    if runs is not None:
        runs = check_integer("minimize", "runs", runs, at_least=1)
    if history is True:
        history = max(1, -(-generations // 1000))
    if callback is not None and not callable(callback):
        raise TypeError(f"minimize(callback=...) must be a function of a jaxes.Report, got {callback!r}.")
    outside = as_host(host)
    evaluator = None if outside is None else Evaluator(outside, objective, args, batched, stochastic)
    if evaluator is not None:
        objective, args, batched, stochastic = stand_in, None, True, False
    task = make_task("minimize", strategy, objective, args, stop, history, record, targets, batched, stochastic, maximise)
    key = as_key("minimize", key)
    keys = key[None] if runs is None else keys_of_runs(key, runs)
    axes = (None,) * len(jax.tree.leaves(task))
    if seconds is not None:
        check_seconds("minimize", seconds)
    sharing: Sharing = "runs"
    if devices is not None and runs is None:
        sharing = "islands" if has_islands(strategy) else "population"
    shared = as_devices("minimize", devices, sharing)
    if shared.sharing == "islands" and shared.several_processes:
        raise ValueError("minimize(devices=...) must be of one process to share islands; of several, they share runs=n.")
    if shared.sharing == "islands" and shared.mesh is not None:
        check_spread("minimize", shared.mesh, jax.eval_shape(strategy.init, key))
    if shared.mesh is not None and evaluator is not None:
        raise ValueError(
            "minimize(devices=...) makes no sense with host=...: Host(workers=...) says how many evaluate at once."
        )
    if shared.names is not None and batched:
        raise ValueError(
            "minimize(devices=..., batched=True) needs runs: a population that is evaluated at once is not shared."
        )
    checkpoint = as_checkpoint("minimize", checkpoint)
    about = {} if checkpoint is None else about_task(task, axes, keys, generations)
    if evaluator is not None:
        about |= in_words("objective", evaluator.function) | in_words("args", evaluator.args)
        about |= in_words("objective.options", (evaluator.batched, evaluator.stochastic))

    began = time.monotonic()

    def report(look: Look) -> bool | None:
        if callback is None:
            return None
        return callback(
            Report(
                generation=int(look.generation.max()),
                evaluations=int(look.spent.sum(dtype=np.int64)),
                fitness=task.objective.sign(look.fitness),
                finished=float(np.mean(~look.active)),
                seconds=time.monotonic() - began,
                best=lambda: strategy.space.decode(look.best),
                occupancy=look.occupancy,
                counts=None if evaluator is None else dataclasses.replace(evaluator.counts),
            )
        )

    watching = Watch(
        "minimize",
        keys.shape[0],
        generations,
        progress=progress,
        verbose=verbose,
        log=log,
        append=checkpoint is not None,
        maximise=task.objective.maximise,
    )
    with (
        profiled(profile),
        watching as watch,
        Interrupts(seconds) as interrupted,
        keeping("minimize", checkpoint, about, shared) as keeper,
        contextlib.nullcontext() if evaluator is None else evaluator,
    ):
        if evaluator is None:
            batch = Batch(task, axes, keys, generations, devices=shared)
        else:
            batch = HostBatch(task, keys, generations, evaluator, interrupted)
        result = drive(batch, report=report, interrupted=interrupted, keeper=keeper, watch=watch)
        if interrupted() == StopReason.INTERRUPTED:
            print("jaxes: interrupted, returning the best so far", file=sys.stderr)
    return alone(result) if runs is None else result


def budgeted(strategy: Strategy, stop: Stop, generations: Any) -> tuple[Any, Stop]:
    """How many generations there are at most, by default too, and a `Stop` with the budget that they follow from."""
    if generations is not None or len(strategy.stages) == 1:
        return 1000 if generations is None else generations, stop
    budget: Any = min(BUDGET * strategy.space.dimension, LIMIT) if stop.evaluations is None else stop.evaluations
    smallest = min(stage.population_size for stage in strategy.stages)
    return max(1, int(budget) // smallest), dataclasses.replace(stop, evaluations=budget)


def _strategy(objective: Any, space: Any, strategy: Strategy | None) -> Strategy:
    if isinstance(space, Strategy):
        raise TypeError(f"minimize(space=...) is a strategy, {type(space).__name__}: give it as strategy=..., by its name.")
    if strategy is not None:
        if not isinstance(strategy, Strategy):
            raise TypeError(f"minimize(strategy=...) must be a strategy such as jaxes.ES(space), got {strategy!r}.")
        if space is not None:
            raise ValueError("minimize(space=...) is the strategy's already: give one of space and strategy.")
        return strategy
    if space is None:
        if not isinstance(objective, Problem):
            raise ValueError("minimize(space=...) is needed for an objective that is not a Problem, e.g. jaxes.Box(-5, 5).")
        space = objective.space
    space = as_space(space)
    default = Portfolio if space.dimension <= MATRICES else LMMAES
    if not has_finite_sides(space):
        raise ValueError(
            f"minimize(space=...) has an infinite side, so its strategy must be told where to begin: instead of it, give "
            f"strategy=jaxes.{default.__name__}(space, start=..., sigma=...)."
        )
    return default(space)
