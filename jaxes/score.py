"""score(): how fast a strategy solves the BBOB suite, all instances of a function as one compiled program."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from jaxes.analysis.runtime import Runtimes
from jaxes.batch import Batch, Look, drive
from jaxes.checks import as_key, check_integer
from jaxes.interrupts import Interrupts
from jaxes.loop import make_task
from jaxes.problems.coco import GROUPS, NAMES, bbob
from jaxes.space import Box
from jaxes.stop import Stop
from jaxes.strategy import Strategy
from jaxes.watch import progress_bar

TARGETS = tuple(float(target) for target in np.logspace(2, -8, 51))
"""COCO's: 51 gaps to the optimum, from 1e2 to 1e-8, evenly in the logarithm."""


def score(
    strategy: Callable[[Box], Strategy],
    *,
    dimension: int = 5,
    functions: Iterable[int] = range(1, 25),
    instances: Iterable[int] = range(1, 16),
    repeats: int = 1,
    budget: int = 10_000,
    targets: Sequence[float] = TARGETS,
    key: ArrayLike = 0,
    name: str | None = None,
    progress: bool | None = None,
) -> Runtimes:
    """Runs a strategy on the BBOB functions and records when it reached the targets.

    Args:
        strategy: a function of a space that returns a strategy: `jaxes.ES`, or `lambda space: jaxes.ES(space, mu=5, lam=35)`.
        dimension: of the problems, at least 2.
        functions: numbers from 1 to 24.
        instances: of each function, from 1.
        repeats: runs of each instance, which differ by their keys.
        budget: evaluations of a run, times the dimension. A run ends earlier once it has reached the last target.
        targets: gaps to the optimal value, from large to small.
        key: of `jax.random.key`, or an integer seed. A run's key follows from it, the function, the instance and the repeat
            alone.
        name: as tables and plots call the strategy; default: its class.
        progress: True or False; default: if tqdm is installed and stderr is a terminal.

    Returns:
        `jaxes.analysis.Runtimes`, whose rows are functions and whose runs are instances. The strategy is shown the gap to the
        optimum, which float32 resolves better than the value. Still, single precision cannot step as close to the optimum of
        some functions as their last targets demand: compare strategies with `jax.config.update("jax_enable_x64", True)`.
        After Ctrl-C, the functions that were finished.

    Raises:
        ValueError, TypeError: before anything runs, naming the argument.
        KeyboardInterrupt: after Ctrl-C, if no function was finished.
    """
    dimension = check_integer("score", "dimension", dimension, at_least=2)
    repeats = check_integer("score", "repeats", repeats, at_least=1)
    budget = check_integer("score", "budget", budget, at_least=1) * dimension
    functions, instances = list(functions), list(instances)
    if not functions or not instances:
        raise ValueError(f"score needs at least one function and instance, got {functions} and {instances}.")
    if len(set(functions)) < len(functions):
        raise ValueError(f"score(functions=...) must be different, got {functions}.")
    bbob(functions, dimension)  # refuses what does not exist
    if not callable(strategy):
        raise TypeError(f"score(strategy=...) must be a function of a space, such as jaxes.ES, got {strategy!r}.")
    made = strategy(Box(-5.0, 5.0, shape=(dimension,)))
    if not isinstance(made, Strategy):
        raise TypeError(f"score(strategy=...) must return a strategy for a space, got {made!r}.")
    key = as_key("score", key)
    gaps = np.asarray(targets, float)
    if gaps.ndim != 1 or not gaps.size or not (np.isfinite(gaps) & (gaps > 0)).all() or (np.diff(gaps) >= 0).any():
        raise ValueError(f"score(targets=...) must be positive numbers, each below the one before it, got {targets!r}.")
    stop = Stop(target=float(gaps[-1]), evaluations=budget)
    generations = budget  # a generation takes an evaluation at least
    each, again = np.repeat(instances, repeats), np.tile(np.arange(repeats), len(instances))

    finished, hits, evaluations = [], [], []
    bar = progress_bar(progress, len(functions) * len(each) * budget, "eval")
    try:
        with Interrupts() as interrupted:
            for done, function in enumerate(functions):
                problems = bbob(function, dimension, each.tolist()).centred()
                task = make_task("score", made, problems, None, stop, False, None, gaps, False, False, False)
                keys = jax.vmap(functools.partial(run_key, key, function))(each, again)
                base = done * len(each) * budget

                def report(look: Look, base=base, function=function) -> None:
                    if bar is not None:
                        bar.set_postfix_str(f"f{function}", refresh=False)
                        bar.update(base + int(look.spent.sum(dtype=np.int64)) - bar.n)

                result = drive(Batch(task, _batched(task), keys, generations), report=report, interrupted=interrupted)
                if interrupted():
                    break
                if bar is not None:
                    bar.update(base + len(each) * budget - bar.n)
                finished.append(function)
                hits.append(np.where(np.asarray(result.hits) > 0, np.asarray(result.hits, float), np.nan))
                evaluations.append(np.asarray(result.evaluations, float))
    finally:
        if bar is not None:
            bar.close()
    if not finished:
        raise KeyboardInterrupt
    return Runtimes(
        strategy=name or type(made).__name__,
        dimension=dimension,
        problems=tuple(f"f{function} {NAMES[function - 1]}" for function in finished),
        groups=tuple(next(group for group, members in GROUPS.items() if function in members) for function in finished),
        targets=gaps,
        hits=np.stack(hits),
        evaluations=np.stack(evaluations),
    )


def run_key(key: jax.Array, function: ArrayLike, instance: ArrayLike, repeat: ArrayLike = 0) -> jax.Array:
    """The key of one run of `score(key=key)`, whatever else is scored."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(key, function), instance), repeat)


def _batched(task: Any) -> tuple[int | None, ...]:
    """The vmap axes of a task whose problem alone is a batch."""
    axes = jax.tree.map(lambda _: False, task)
    axes = dataclasses.replace(axes, objective=jax.tree.map(lambda _: True, task.objective))
    return tuple(0 if batched else None for batched in jax.tree.leaves(axes))
