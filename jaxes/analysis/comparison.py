"""Which of several strategies is faster on the same problems, and whether that could be chance.

What is tested is that two strategies are exchangeable on the runs at hand. The result is about these problems and their
instances; it does not say how strategies compare on other problems.

References: Hansen et al. 2021 and 2022, as in runtime.py. Wilcoxon, Biometrics Bulletin 1 (1945), 80-83, for both tests.
Holm, Scandinavian Journal of Statistics 6 (1979), 65-70, for several of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from jaxes.analysis.runtime import Runtimes, by_group, check_budgets, nearest_targets, same_problems
from jaxes.analysis.table import Table

EXACT = 60  # runs of both strategies up to which all their orders are counted


def compare(runtimes: Sequence[Runtimes], *, groups: bool = False, lower: float = 1.0, upper: float | None = None) -> Table:
    """Compares strategies run by run: a row for each two of them, of all problems or of each group.

    Run i of a problem must be the same instance for all strategies. Each pair of runs gives the difference of the areas under
    their own ECDFs (`Runtimes.areas`), to which missed targets count as reached at `upper`; Wilcoxon's signed-rank test, two
    sided, asks whether the differences are symmetric about zero. All differences zero: p = 1.

    Columns: "wins" pairs in which the first has the larger area, "losses" in which the second has; "runtime ratio" the
    geometric mean of the second's runtimes over the first's, missed targets counted as `upper`: above 1, the first is
    faster; "p (Holm)" corrected for all rows of the table: at most 5 % of tables of equal strategies have one below 0.05.

    Args:
        runtimes: of two or more strategies, with as many runs each.
        groups: a row for each group instead of one of all problems.
        lower, upper: between which budgets the areas are measured, in evaluations divided by the dimension; default: from one
            to the longest run of any of the strategies.
    """
    from scipy.stats import wilcoxon

    strategies = _at_least_two("compare", runtimes)
    if len({one.runs for one in strategies}) > 1:
        runs = ", ".join(f"{one.runs} of {one.strategy!r}" for one in strategies)
        raise ValueError(f"compare(runtimes=...) must all have as many runs, to be paired, got {runs}.")
    lower, upper = check_budgets("compare", lower, max(one.budget for one in strategies) if upper is None else upper)
    rows = []
    for name, members in by_group(strategies) if groups else [("all", strategies)]:
        for a, b in combinations(members, 2):
            area_a, area_b = a.areas(lower, upper).reshape(-1), b.areas(lower, upper).reshape(-1)
            # What differs in the last digits only is a tie.
            difference = np.where(np.isclose(area_a, area_b, rtol=0, atol=1e-12), 0, area_a - area_b)
            p = float(wilcoxon(difference[difference != 0]).pvalue) if difference.any() else 1.0
            ratio = (upper / lower) ** difference.mean()
            wins, losses = int((difference > 0).sum()), int((difference < 0).sum())
            means = float(area_a.mean()), float(area_b.mean())
            rows.append((name, a.strategy, b.strategy, difference.size, *means, float(ratio), wins, losses, p))
    columns = ("group", "first", "second", "pairs", "area 1", "area 2", "runtime ratio", "wins", "losses", "p")
    return _with_holm(columns, rows)


def compare_problems(runtimes: Sequence[Runtimes], target: float = 1e-7) -> Table:
    """Compares the expected runtimes of strategies on every problem at one target: a row for each two of them.

    The test is the rank-sum test of COCO's tables, two-sided: runs that reached the target are ranked by their runtime, before
    those that did not, which are ranked by how many targets they had reached; all within the evaluations of the shortest run
    of either strategy that missed the target. p = 1 where the ranks and the expected runtimes disagree. "p (Holm)" is
    corrected for all rows of the table.

    Departures from COCO's software: what a run had reached is known up to the recorded targets, not to the digits of its
    fitness, so that runs tie; the statistic is compared with all orders of the values, ties included (above 60 runs with a
    normal distribution, corrected for ties), where COCO takes a normal distribution without correction; Holm's correction in
    place of Bonferroni's; and p is not set to 1 where the better one spent more evaluations than the worse in all.

    Args:
        runtimes: of two or more strategies on the same problems. Runs need not be paired.
        target: the nearest that was recorded is taken; the column "target" says which.
    """
    strategies = _at_least_two("compare_problems", runtimes)
    (at,) = nearest_targets("compare_problems", strategies[0], [target])
    rows = []
    for problem, label in enumerate(strategies[0].problems):
        for a, b in combinations(strategies, 2):
            ert_a, ert_b = (float(one.expected_runtimes()[problem, at]) for one in (a, b))
            merit_a, merit_b = _merits([one.hits[problem] for one in (a, b)], [one.evaluations[problem] for one in (a, b)], at)
            p, better = rank_sum(merit_a, merit_b)
            if (better > 0 and ert_a > ert_b) or (better < 0 and ert_b > ert_a):
                p = 1.0
            ratio = None if np.isinf(ert_a) and np.isinf(ert_b) else ert_b / ert_a
            successes = [f"{(~np.isnan(one.hits[problem, :, at])).sum()}/{one.runs}" for one in (a, b)]
            rows.append((label, float(a.targets[at]), a.strategy, b.strategy, ert_a, ert_b, ratio, *successes, p))
    columns = ("problem", "target", "first", "second", "ERT 1", "ERT 2", "ERT ratio", "successes 1", "successes 2", "p")
    return _with_holm(columns, rows)


def rank_sum(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Two-sided p-value of the rank-sum test and how far the ranks of `a` are above those expected of equals.

    The share of all orders of the values, ties included, whose rank sum is no nearer to the expected one.
    """
    from scipy.stats import mannwhitneyu, rankdata

    values = np.concatenate([a, b])
    ranks = rankdata(values)
    excess = float(ranks[: len(a)].sum() - len(a) * (len(values) + 1) / 2)
    if excess == 0:
        return 1.0, 0.0
    if len(values) > EXACT:
        return float(mannwhitneyu(a, b, method="asymptotic").pvalue), excess
    doubled = np.rint(2 * ranks).astype(int)  # ties have half ranks
    ways = np.zeros((len(a) + 1, doubled.sum() + 1))  # [k, s]: sets of k values whose doubled ranks sum to s
    ways[0, 0] = 1
    for rank in doubled:
        ways[1:, rank:] += ways[:-1, :-rank].copy()
    distance = np.abs(np.arange(ways.shape[1]) - len(a) * (len(values) + 1))
    return float(ways[-1, distance >= 2 * abs(excess)].sum() / ways[-1].sum()), excess


def holm(p: Sequence[float]) -> list[float]:
    """The p-values, corrected so that any of them falls below a level with at most that probability if all is equal."""
    values = np.asarray(p, float)
    order = values.argsort(kind="stable")
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    return corrected.tolist()


def _merits(hits: list[np.ndarray], evaluations: list[np.ndarray], at: int) -> list[np.ndarray]:
    """What the runs of two strategies are ranked by, larger is better; hits (runs, targets), evaluations (runs,)."""
    within = min(spent[np.isnan(hit[:, at])].min(initial=np.inf) for hit, spent in zip(hits, evaluations, strict=True))
    # A run that reached the target is worth 1 / its runtime, others minus the number of targets that they lacked.
    return [np.where(hit[:, at] <= within, 1 / hit[:, at], -(~(hit <= within)).sum(-1).astype(float)) for hit in hits]


def _with_holm(columns: tuple[str, ...], rows: list[tuple]) -> Table:
    corrected = holm([row[-1] for row in rows])
    return Table((*columns, "p (Holm)"), tuple((*row, p) for row, p in zip(rows, corrected, strict=True)))


def _at_least_two(owner: str, runtimes: Sequence[Runtimes]) -> list[Runtimes]:
    strategies = same_problems(owner, runtimes)
    if len(strategies) < 2:
        raise ValueError(f"{owner}(runtimes=...) must be of at least two strategies, got one.")
    return strategies
