"""How long it takes to reach a target: runtimes of one strategy on many problems, as COCO assesses them.

A runtime is the number of evaluations until the gap to the optimum first falls to a target. Runs of a problem (its instances)
count as repetitions, and a run that misses the target as a restart: what is summed up is the runtime of the strategy
restarted until it succeeds.

References: Hansen, Auger, Ros, Mersmann, Tušar, Brockhoff, "COCO: a platform for comparing continuous optimizers in a
black-box setting", Optimization Methods and Software 36 (2021), 114-144. Hansen, Auger, Brockhoff, Tušar, "Anytime performance
assessment in blackbox optimization benchmarking", IEEE Transactions on Evolutionary Computation 26 (2022), 1293-1305. Sections
and equations are quoted from the open report of the same authors, "COCO: performance assessment" (2016), arXiv:1605.03560.
"""

from __future__ import annotations

import dataclasses
import json
import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxes.analysis.table import Table, plain
from jaxes.checks import check_integer
from jaxes.pytree import assign

FORMAT = "jaxes runtimes 1"
TABLE_TARGETS = (1e1, 1e0, 1e-1, 1e-2, 1e-3, 1e-5, 1e-7)  # the columns of COCO's tables


@dataclasses.dataclass(frozen=True, eq=False)
class Runtimes:
    """When the runs of one strategy reached the targets of some problems of one dimension.

    Args:
        strategy: how tables and plots call it.
        dimension: of the problems.
        problems: their labels, each once.
        groups: one per problem; tables and plots sum up by group.
        targets: (targets,) gaps to the optimum, from the easiest to the hardest.
        hits: (problems, runs, targets) evaluations until the target was first reached, NaN where it never was.
        evaluations: (problems, runs) evaluations spent in all.

    Raises:
        ValueError: what does not fit together: names the field, what it got and what it may be.
    """

    strategy: str
    dimension: int
    problems: tuple[str, ...]
    groups: tuple[str, ...]
    targets: np.ndarray
    hits: np.ndarray
    evaluations: np.ndarray

    def __post_init__(self):
        if not isinstance(self.strategy, str) or not self.strategy:
            raise ValueError(f"Runtimes(strategy=...) must be a name, got {self.strategy!r}.")
        names = {name: _names(name, getattr(self, name)) for name in ("problems", "groups")}
        arrays = {name: _numbers(name, getattr(self, name)) for name in ("targets", "hits", "evaluations")}
        assign(self, dimension=check_integer("Runtimes", "dimension", self.dimension, at_least=1), **names, **arrays)

        if len(set(self.problems)) < len(self.problems):
            raise ValueError(f"Runtimes(problems=...) must be different labels, got {self.problems}.")
        if len(self.groups) != len(self.problems):
            raise ValueError(
                f"Runtimes(groups=...) must be one per problem, got {len(self.groups)} for {len(self.problems)} problems."
            )
        if self.targets.ndim != 1 or not self.targets.size:
            raise ValueError(f"Runtimes(targets=...) must have shape (targets,), got {self.targets.shape}.")
        if not (np.isfinite(self.targets).all() and (self.targets > 0).all() and (np.diff(self.targets) < 0).all()):
            raise ValueError(f"Runtimes(targets=...) must be positive, each below the one before it, got {self.targets}.")
        if self.evaluations.ndim != 2 or len(self.evaluations) != len(self.problems) or not self.evaluations.size:
            raise ValueError(
                f"Runtimes(evaluations=...) must have shape ({len(self.problems)}, runs), at least one run of each problem, "
                f"got {self.evaluations.shape}."
            )
        if not (np.isfinite(self.evaluations).all() and (self.evaluations > 0).all()):
            raise ValueError("Runtimes(evaluations=...) must be positive and finite, got others.")
        shape = (*self.evaluations.shape, self.targets.size)
        if self.hits.shape != shape:
            raise ValueError(f"Runtimes(hits=...) must have shape {shape} = (problems, runs, targets), got {self.hits.shape}.")
        missed = np.isnan(self.hits)
        if not (missed | (np.isfinite(self.hits) & (self.hits > 0))).all():
            raise ValueError("Runtimes(hits=...) must be positive and finite, or NaN where the target was never reached.")
        if (missed[..., :-1] & ~missed[..., 1:]).any():
            raise ValueError(
                "Runtimes(hits=...) must be NaN from the first target on that was missed, got a harder one reached."
            )
        if (np.diff(self.hits) < 0).any():
            raise ValueError("Runtimes(hits=...) must not decrease along the targets: a harder one is reached no earlier.")
        if (self.hits > self.evaluations[..., None]).any():
            raise ValueError("Runtimes(hits=...) must not exceed the evaluations that the run spent.")

    @property
    def runs(self) -> int:
        """Runs of each problem."""
        return self.evaluations.shape[1]

    @property
    def budget(self) -> float:
        """The evaluations of the longest run, divided by the dimension."""
        return float(self.evaluations.max() / self.dimension)

    def group(self, name: str) -> Runtimes:
        """Of the problems of one group."""
        if name not in self.groups:
            raise ValueError(
                f"Runtimes.group(name=...) must be one of {', '.join(map(repr, self.group_names()))}, got {name!r}."
            )
        at = [i for i, group in enumerate(self.groups) if group == name]
        return dataclasses.replace(
            self,
            problems=tuple(self.problems[i] for i in at),
            groups=(name,) * len(at),
            hits=self.hits[at],
            evaluations=self.evaluations[at],
        )

    def group_names(self) -> tuple[str, ...]:
        """The groups, each once, in the order of their problems."""
        return tuple(dict.fromkeys(self.groups))

    def success_rates(self) -> np.ndarray:
        """(problems, targets): the share of runs that reached the target."""
        return (~np.isnan(self.hits)).mean(1)

    def share(self) -> float:
        """The share of targets that were reached, over all problems and runs; no restarts are simulated."""
        return float((~np.isnan(self.hits)).mean())

    def expected_runtimes(self) -> np.ndarray:
        """(problems, targets): the average runtime aRT, also called ERT; infinite where no run reached the target.

        Evaluations of all runs before they reached the target, over the number of runs that did (section "Averaging
        runtime", #FEs / n_s). It estimates E[RT^s] + (1 - p_s) / p_s E[RT^us], the expected runtime with restarts.
        """
        reached = ~np.isnan(self.hits)
        spent = np.where(reached, self.hits, self.evaluations[..., None]).sum(1)
        successes = reached.sum(1)
        return np.divide(spent, successes, out=np.full(spent.shape, np.inf), where=successes > 0)

    def simulated_runtimes(self, samples: int = 100, seed: int = 0) -> np.ndarray:
        """(problems, samples, targets): runtimes with simulated restarts, infinite where no run reached the target.

        Runs of the problem are drawn with replacement until one reaches the target; the evaluations of those that missed it
        and the runtime of the one that did are summed up (section "Simulated restarts and runtimes", eq. 1). One sequence of
        runs serves all targets of a sample, as one restarted run would. The first runs of the samples are not drawn but
        permutations of all runs, which reduces the variance ("Bootstrapping runtimes").

        Args:
            samples: of each problem; a multiple of `runs` leaves the least variance.
            seed: of NumPy's default generator.
        """
        samples = check_integer("simulated_runtimes", "samples", samples, at_least=1)
        generator = np.random.default_rng(check_integer("simulated_runtimes", "seed", seed, at_least=0))
        problems, runs, targets = self.hits.shape
        order = np.broadcast_to(np.arange(runs), (problems, -(-samples // runs), runs))
        first = generator.permuted(order, axis=-1).reshape(problems, -1)[:, :samples]

        runtimes = np.full((problems * samples, targets), np.inf)
        problem, run = np.repeat(np.arange(problems), samples), first.reshape(-1)
        sample = np.arange(problems * samples)  # those that have not yet reached all that can be reached
        spent = np.zeros(problems * samples)
        last = (self.success_rates() > 0).sum(1) - 1  # targets are reached in order, so this one is the last to wait for
        while True:
            # The first hit stays: whatever comes later is longer.
            runtimes[sample] = np.fmin(runtimes[sample], spent[:, None] + self.hits[problem, run])
            spent = spent + self.evaluations[problem, run]
            waits = (last[problem] >= 0) & np.isinf(runtimes[sample, last[problem]])
            if not waits.any():
                return runtimes.reshape(problems, samples, targets)
            problem, sample, spent = problem[waits], sample[waits], spent[waits]
            run = generator.integers(runs, size=len(problem))

    def ecdf(self, budgets: Any, samples: int | None = None, seed: int = 0) -> np.ndarray:
        """The share of runtimes, over all problems and targets, that are within each budget.

        Section "Empirical distribution functions": missing runtimes count among all, so that the share ends below one.

        Args:
            budgets: evaluations divided by the dimension, of any shape.
            samples: of simulated restarts, see `simulated_runtimes`; default: the runs as they were, without restarts.
            seed: of the simulation.
        """
        runtimes = np.sort(self._runtimes(samples, seed), axis=None)
        return np.searchsorted(runtimes, np.asarray(budgets, float), side="right") / runtimes.size

    def area(self, lower: float = 1.0, upper: float | None = None, samples: int | None = None, seed: int = 0) -> float:
        """The area under `ecdf` over the logarithm of the budget, as a share of the largest one: 1 reached all at once.

        The mean over all runtimes of log(upper / runtime) / log(upper / lower), clipped to [0, 1]: one minus the area is the
        logarithm of the geometric mean of runtimes on that scale, those beyond `upper` counted as `upper`.

        Args:
            lower, upper: the budgets between which it is measured, in evaluations divided by the dimension; default: from one
                to `budget`, the longest run.
            samples, seed: as for `ecdf`.
        """
        return float(self._areas(self._runtimes(samples, seed), lower, upper).mean())

    def areas(self, lower: float = 1.0, upper: float | None = None) -> np.ndarray:
        """(problems, runs): the `area` of each run alone."""
        return self._areas(self._runtimes(None, 0), lower, upper).mean(-1)

    def to_json(self) -> str:
        """The data as JSON, NaN as null."""
        fields = {field.name: plain(getattr(self, field.name)) for field in dataclasses.fields(self) if field.name not in NAMES}
        return json.dumps({"format": FORMAT} | fields | {name: list(getattr(self, name)) for name in NAMES})

    @classmethod
    def from_json(cls, text: str) -> Runtimes:
        """What `to_json` wrote.

        Raises:
            ValueError: the text is no JSON (cut off, say), or JSON of something else, or its data do not fit together.
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise ValueError(f"Runtimes.from_json(text) must be JSON, as to_json wrote it: {error}.") from None
        found = data.get("format") if isinstance(data, dict) else None
        if found != FORMAT:
            raise ValueError(f"Runtimes.from_json(text) must be of format {FORMAT!r}, got {found!r}.")
        expected = {"format"} | {field.name for field in dataclasses.fields(cls)}
        if set(data) != expected:
            raise ValueError(
                f"Runtimes.from_json(text) must have {', '.join(sorted(expected))}; it has {', '.join(sorted(data))}."
            )
        try:
            return cls(**{name: value for name, value in data.items() if name != "format"})
        except TypeError as error:
            raise ValueError(f"Runtimes.from_json(text): {error}") from None

    def _runtimes(self, samples: int | None, seed: int) -> np.ndarray:
        """(problems, runs or samples, targets) runtimes divided by the dimension, infinite where the target is missed."""
        if samples is None:
            return np.where(np.isnan(self.hits), np.inf, self.hits) / self.dimension
        return self.simulated_runtimes(samples, seed) / self.dimension

    def _areas(self, runtimes: np.ndarray, lower: float, upper: float | None) -> np.ndarray:
        lower, upper = check_budgets("Runtimes.area", lower, self.budget if upper is None else upper)
        return np.log(upper / np.clip(runtimes, lower, upper)) / math.log(upper / lower)


NAMES = ("problems", "groups")


def ert_table(
    runtimes: Runtimes | Sequence[Runtimes],
    targets: Sequence[float] = TABLE_TARGETS,
    *,
    per_dimension: bool = True,
) -> Table:
    """The expected runtimes of every problem at some targets, a row for each strategy; successes at the last of them.

    Args:
        runtimes: of one or several strategies on the same problems.
        targets: the nearest that were recorded are shown, and named in the columns; default: those of COCO's tables.
        per_dimension: divide runtimes by the dimension.
    """
    strategies = same_problems("ert_table", runtimes)
    at = nearest_targets("ert_table", strategies[0], targets)
    rows = []
    erts = [one.expected_runtimes()[:, at] / (one.dimension if per_dimension else 1) for one in strategies]
    for problem, label in enumerate(strategies[0].problems):
        for one, ert in zip(strategies, erts, strict=True):
            successes = (~np.isnan(one.hits[problem, :, at[-1]])).sum()
            rows.append((label, one.strategy, *map(float, ert[problem]), f"{successes}/{one.runs}"))
    columns = [f"{'ERT/D' if per_dimension else 'ERT'} {strategies[0].targets[i]:.3g}" for i in at]
    return Table(("problem", "strategy", *columns, "successes"), tuple(rows))


def group_table(runtimes: Runtimes | Sequence[Runtimes], *, lower: float = 1.0, upper: float | None = None) -> Table:
    """The share of targets reached and the area under the ECDF, of every group and of all problems, for each strategy.

    Args:
        runtimes: of one or several strategies on the same problems. No restarts are simulated.
        lower, upper: between which budgets the area is measured, in evaluations divided by the dimension; default: from one to
            the longest run of any of the strategies.
    """
    strategies = same_problems("group_table", runtimes)
    upper = max(one.budget for one in strategies) if upper is None else upper
    rows = []
    for name, members in by_group(strategies, whole="all"):
        for one in members:
            rows.append((name, one.strategy, len(one.problems), one.runs, one.share(), one.area(lower, upper)))
    return Table(("group", "strategy", "problems", "runs", "share", "area"), tuple(rows))


def by_group(strategies: list[Runtimes], *, whole: str | None = None) -> list[tuple[str, list[Runtimes]]]:
    """The strategies on each group of problems; with `whole`, also on all problems, so named, if there are several groups."""
    names = strategies[0].group_names()
    parts = [(name, [one.group(name) for one in strategies]) for name in names]
    return parts if whole is None or len(names) == 1 else [*parts, (whole, strategies)]


def same_problems(owner: str, runtimes: Any, *, dimensions: bool = False) -> list[Runtimes]:
    """A list of runtimes that may stand side by side; with `dimensions`, also those of one strategy in several dimensions."""
    several = [runtimes] if isinstance(runtimes, Runtimes) else list(runtimes)
    if not several or not all(isinstance(one, Runtimes) for one in several):
        raise TypeError(f"{owner}(runtimes=...) must be Runtimes or a list of them, got {runtimes!r}.")
    first = several[0]
    for one in several[1:]:
        for field in ("problems", "groups"):
            if getattr(one, field) != getattr(first, field):
                raise ValueError(
                    f"{owner}(runtimes=...) must all have the same {field}, got {getattr(first, field)} of {first.strategy!r} "
                    f"and {getattr(one, field)} of {one.strategy!r}."
                )
        if not np.array_equal(one.targets, first.targets):
            raise ValueError(f"{owner}(runtimes=...) must all have the same targets, got {first.targets} and {one.targets}.")
        if not dimensions and one.dimension != first.dimension:
            raise ValueError(f"{owner}(runtimes=...) must all be of one dimension, got {first.dimension} and {one.dimension}.")
    seen = [(one.strategy, one.dimension) for one in several]
    if len(set(seen)) < len(seen):
        raise ValueError(
            f"{owner}(runtimes=...) must be of different strategies, got {', '.join(one.strategy for one in several)}."
        )
    return several


def nearest_targets(owner: str, runtimes: Runtimes, targets: Any) -> list[int]:
    """Where the recorded targets are that are nearest to those asked for, in ratio; each once."""
    wanted = np.asarray(targets, float)
    if wanted.ndim != 1 or not wanted.size or not (np.isfinite(wanted) & (wanted > 0)).all():
        raise ValueError(f"{owner}(targets=...) must be positive numbers, got {targets!r}.")
    distance = np.abs(np.log(wanted)[:, None] - np.log(runtimes.targets)[None, :])
    return sorted(set(distance.argmin(1).tolist()))


def check_budgets(owner: str, lower: Any, upper: Any) -> tuple[float, float]:
    for name, value in (("lower", lower), ("upper", upper)):
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < float(value) < math.inf:
            raise ValueError(f"{owner}({name}=...) must be a positive number of evaluations / dimension, got {value!r}.")
    if not lower < upper:
        raise ValueError(f"{owner}(upper=...) must be above lower={lower:g}, got {upper:g}.")
    return float(lower), float(upper)


def _names(field: str, value: Any) -> tuple[str, ...]:
    if (
        isinstance(value, str)
        or not isinstance(value, Sequence)
        or not all(isinstance(name, str) for name in value)
        or not value
    ):
        raise ValueError(f"Runtimes({field}=...) must be a tuple of labels, got {value!r}.")
    return tuple(value)


def _numbers(field: str, value: Any) -> np.ndarray:
    """A copy in float64 that nobody can change."""
    try:
        array = np.array(value, float)
    except (TypeError, ValueError):
        raise ValueError(f"Runtimes({field}=...) must be an array of numbers, got {type(value).__name__} of others.") from None
    array.setflags(write=False)
    return array
