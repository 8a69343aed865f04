"""What a run found, and how it got there."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from jaxes.checks import is_traced
from jaxes.pytree import pytree, static
from jaxes.stop import StopReason


@pytree
class History:
    """One record every so many generations; the leading axis of every field (after any batch axes) is the record.

    After a run has stopped, its last record repeats, so that runs of a batch can be averaged.
    """

    generation: jax.Array  # int32, how many generations were evaluated
    evaluations: jax.Array  # int32, since the run's own beginning, up to what 31 bits hold
    best: jax.Array  # best fitness so far
    population_best: jax.Array  # best fitness of that generation
    population_mean: jax.Array  # mean fitness of that generation
    step_size: jax.Array  # the strategy's largest standard deviation after it
    custom: Any  # what the user's record function returned, or None


@pytree
class Result:
    """What a run found. From `vmap`, `sweep` or `minimize(runs=n)`, every array has the batch axes in front.

    `solution` is the candidate with the best fitness that was ever measured. Of a stochastic objective that is the luckiest
    measurement, and too good: evaluate the solution again, or take the mean: `strategy.mean(result.state)`, or
    `jax.vmap(strategy.mean)(result.state)` of a batch (an `ES` has `state.parents` instead, for its space to decode).
    """

    solution: Any  # the user's pytree
    fitness: jax.Array  # () as the objective gave it; infinity if it never was a number less than that
    generations: jax.Array  # () int32, evaluated since the run's own beginning
    stop_reason: jax.Array  # () int32, a `StopReason`
    invalid: jax.Array  # () int32, how many evaluations were NaN
    history: History | None
    state: Any  # to go on: run(..., state=result.state); None from a sweep whose cells differ in shape
    population_size: jax.Array  # () int32, evaluations a generation; of the first one, where that changes over a run
    spent: jax.Array | None  # () int32, evaluations since the run's own beginning, where generations differ; else None
    target: jax.Array | None  # () `Stop.target`, if there was one; NaN where a sweep has some without
    targets: jax.Array | None  # (t,) the targets given to the run, or None
    hits: jax.Array | None  # (t,) int32, the evaluation that first reached each of them, 0 if none did
    maximise: bool = static(default=False)

    @property
    def evaluations(self) -> Any:
        """How often the objective was evaluated. Counted in 64 bits outside of a trace."""
        if self.spent is not None:
            return self.spent if is_traced(self.spent) else np.asarray(self.spent, np.int64)
        if is_traced(self.generations):
            return self.generations * self.population_size
        return np.asarray(self.generations, np.int64) * np.asarray(self.population_size)

    def best(self) -> Result:
        """The best run of a batch, as a result without batch axes."""
        flat = np.asarray(self.fitness).reshape(-1)
        winner = np.unravel_index(np.argmax(flat) if self.maximise else np.argmin(flat), np.shape(self.fitness))
        return self[winner]

    def __getitem__(self, index: Any) -> Result:
        """The runs at an index of the batch axes."""
        return jax.tree.map(lambda leaf: leaf[index], self)

    def restarts(self) -> list[dict[str, Any]]:
        """The last 32 runs that have ended within one of `Restart` or `Portfolio`, oldest first: which member it was,
        candidates a generation, evaluations, the best fitness, and why it ended."""
        log = getattr(self.state, "log", None)
        if log is None or np.ndim(self.fitness):
            raise ValueError("restarts() needs the result of one run of Restart or Portfolio; of a batch, result[i] is one.")
        ended, room = int(self.state.runs), len(log.lam)
        return [
            {
                "member": int(log.stage[i]),
                "lam": int(log.lam[i]),
                "evaluations": int(log.evaluations[i]),
                "fitness": float(log.fitness[i]) * (-1 if self.maximise else 1),
                "reason": StopReason(int(log.reason[i])).message,
            }
            for i in (run % room for run in range(max(0, ended - room), ended))
        ]

    def message(self) -> str:
        """Why the run, or how many runs, ended."""
        reasons, counts = np.unique(np.asarray(self.stop_reason), return_counts=True)
        parts = [StopReason(int(r)).message for r in reasons]
        if np.ndim(self.stop_reason) == 0:
            return parts[0]
        return "; ".join(f"{part}: {count}" for part, count in zip(parts, counts, strict=True))

    def plot(self, path: Any = None, **options: Any) -> Any:
        """`jaxes.analysis.plot_convergence(self, path, ...)`: the best fitness against evaluations. Needs history."""
        from jaxes.analysis.plots import plot_convergence

        return plot_convergence(self, path, **options)

    def table(self, target: float | None = None) -> Any:
        """`jaxes.analysis.summary(self)`: quartiles, success rate and evaluations to target of a batch of runs."""
        from jaxes.analysis.table import summary

        return summary(self, target)

    def __repr__(self) -> str:
        if not isinstance(self.stop_reason, jax.Array | np.ndarray | np.integer) or is_traced(self):
            return f"Result(fitness={self.fitness!r}, ...)"
        if np.ndim(self.fitness) == 0:
            return (
                f"Result(fitness={float(self.fitness):.6g}, evaluations={int(self.evaluations)}, "
                f"generations={int(self.generations)}, stop: {self.message()})"
            )
        fitness = np.asarray(self.fitness)
        low, middle, high = fitness.min(), np.quantile(fitness, 0.5, method="nearest"), fitness.max()  # as `table`
        return (
            f"Result({' x '.join(map(str, np.shape(self.fitness)))} runs, fitness min {low:.6g}, median {middle:.6g}, "
            f"max {high:.6g}, stop: {self.message()})"
        )
