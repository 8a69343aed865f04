"""Runtimes, held to closed forms, to SciPy and to what COCO's own software says of the same runs (make_cocopp_data.py)."""

import dataclasses
import itertools
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from jaxes.analysis import (
    Runtimes,
    compare,
    compare_problems,
    ert_table,
    group_table,
    plot_ecdf,
    plot_ert,
    plot_scaling,
)
from jaxes.analysis.comparison import EXACT, holm, rank_sum

pytestmark = pytest.mark.quick

nan, inf = np.nan, np.inf


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def runtimes(hits, evaluations, strategy="a", dimension=1, groups=None, targets=None):
    hits = np.asarray(hits, float)
    problems = tuple(f"f{i + 1}" for i in range(len(hits)))
    targets = 10.0 ** -np.arange(hits.shape[-1]) if targets is None else targets
    return Runtimes(strategy, dimension, problems, groups or ("one",) * len(hits), targets, hits, evaluations)


def random(seed, strategy="a", *, speed=1.0, problems=6, runs=5, targets=8, budget=400.0, dimension=2):
    """Runs of gamma distributed steps from target to target; about half of the targets are missed."""
    steps = np.random.default_rng(seed).gamma(1.5, 30 / speed, (problems, runs, targets))
    hits = 1 + np.ceil(steps.cumsum(-1) * (1 + np.arange(problems))[:, None, None])
    hits = np.where(hits > budget, nan, hits)
    spent = np.where(np.isnan(hits[..., -1]), budget, hits[..., -1])
    groups = ("easy",) * (problems // 2) + ("hard",) * (problems - problems // 2)
    return runtimes(hits, spent, strategy, dimension, groups)


@pytest.fixture(scope="module")
def coco():
    """What COCO's software says, and the same runs as `Runtimes`."""
    with np.load(Path(__file__).parent / "data" / "cocopp.npz") as file:
        data = dict(file)
    names, problems, groups = (tuple(map(str, data[field])) for field in ("strategies", "problems", "groups"))
    shared = {"dimension": int(data["dimension"]), "problems": problems, "groups": groups, "targets": data["targets"]}
    runs = [
        Runtimes(name, hits=hits, evaluations=evaluations, **shared)
        for name, hits, evaluations in zip(names, data["hits"], data["evaluations"], strict=True)
    ]
    return data, runs


# ----------------------------------------------------------------------------- expected and simulated runtimes


def test_expected_runtime_by_hand():
    """(1 - p) / p times the evaluations of a failure, plus the mean of the hits: COCO's report, "Averaging runtime"."""
    runs = runtimes([[[10, 20], [30, nan], [20, nan], [nan, nan], [nan, nan]]], [[40, 100, 100, 100, 100]])
    np.testing.assert_array_equal(runs.success_rates(), [[0.6, 0.2]])
    np.testing.assert_allclose(runs.expected_runtimes(), [[0.4 / 0.6 * 100 + 20, 0.8 / 0.2 * 100 + 20]])
    assert runs.share() == 0.4
    never = runtimes([[[nan], [nan]]], [[5, 7]])
    assert never.expected_runtimes().tolist() == [[inf]]


def test_expected_runtimes_are_cocos(coco):
    data, runs = coco
    assert np.isinf(data["expected"]).any()
    for one, expected in zip(runs, data["expected"], strict=True):
        np.testing.assert_allclose(one.expected_runtimes(), expected, rtol=1e-12)


def test_simulated_runtimes_are_distributed_as_cocos(coco):
    """Quantiles of 30,000 runtimes drawn by cocopp, among 6,000 of ours. Levels lie apart by 5 standard deviations of both at
    most: false alarm below 1e-6 times 612 cells."""
    data, runs = coco
    tolerance = 5 * np.sqrt(0.25 / 6000 + 0.25 / data["samples"])
    for one, quantiles, ecdf in zip(runs, data["quantiles"], data["ecdf"], strict=True):
        simulated = one.simulated_runtimes(6000, seed=1)[..., None]
        cocos = quantiles[:, None]
        assert ((simulated < cocos).mean(1) <= data["levels"] + tolerance).all()
        assert ((simulated <= cocos).mean(1) >= data["levels"] - tolerance).all()
        # Targets of one sample share its restarts, so that 4 x 6,000 samples are independent: 5 standard deviations.
        np.testing.assert_allclose(one.ecdf(data["budgets"], samples=6000, seed=2), ecdf, atol=5 * np.sqrt(0.25 / 24000))


def test_simulated_runtimes_average_to_the_expected_ones(coco):
    """Within 5 standard errors: false alarm 6e-7 times 612 cells."""
    for one in coco[1]:
        simulated, expected = one.simulated_runtimes(6000, seed=3), one.expected_runtimes()
        reached = np.isfinite(expected)
        assert np.isinf(simulated).all(1)[~reached].all()
        simulated = np.moveaxis(simulated, 1, -1)[reached]  # (cells, samples)
        off = np.abs(simulated.mean(-1) - expected[reached])
        assert (off <= 5 * simulated.std(-1) / np.sqrt(6000) + 1e-9 * expected[reached]).all()


def test_restarts_are_geometric():
    """A failure costs 100, a success 1: runtimes are 100 J + 1 with P(J = j) = p (1 - p)^j. Chi-square, false alarm 1e-4."""
    from scipy.stats import chisquare, geom

    p = 0.2
    runs = runtimes([[[1.0]] + [[nan]] * 4], [[1.0] + [100.0] * 4])
    count = (runs.simulated_runtimes(4000, seed=0)[0, :, 0] - 1) / 100
    np.testing.assert_array_equal(count, np.rint(count))
    assert (count == 0).sum() == 4000 * p  # the first run is stratified
    restarted = count[count > 0] - 1
    observed = [*np.bincount(restarted.astype(int))[:10], (restarted >= 10).sum()]
    expected = [*geom.pmf(np.arange(1, 11), p), geom.sf(10, p)]
    assert chisquare(observed, len(restarted) * np.array(expected)).pvalue > 1e-4


def test_without_failures_nothing_is_drawn():
    """Each run as often as any other: COCO's report, "Bootstrapping runtimes", footnote 12."""
    runs = runtimes([[[3, 5], [1, 9], [2, 2]]], [[5, 9, 4]])
    simulated = runs.simulated_runtimes(6, seed=4)
    np.testing.assert_array_equal(np.sort(simulated, 1)[0], [[1, 2], [1, 2], [2, 5], [2, 5], [3, 9], [3, 9]])
    at = np.linspace(0, 10, 41)
    np.testing.assert_array_equal(runs.ecdf(at), runs.ecdf(at, samples=6))


def test_simulated_runtimes_are_reproducible_and_end():
    runs = random(0)
    first = runs.simulated_runtimes(50, seed=1)
    np.testing.assert_array_equal(first, runs.simulated_runtimes(50, seed=1))
    assert (first != runs.simulated_runtimes(50, seed=2)).any()
    reached = np.isfinite(first)
    assert (first[..., 1:] >= first[..., :-1]).all()
    np.testing.assert_array_equal(reached, np.broadcast_to((runs.success_rates() > 0)[:, None], first.shape))
    assert (first >= np.nanmin(np.where(np.isnan(runs.hits), inf, runs.hits), axis=1)[:, None]).all()
    assert np.isinf(runtimes([[[nan], [nan]]], [[5, 7]]).simulated_runtimes(9)).all()
    assert runs.simulated_runtimes(2).shape == (6, 2, 8)  # fewer than runs
    one_in_500 = runtimes([[[5.0]] + [[nan]] * 499], np.full((1, 500), 10.0))
    assert np.isfinite(one_in_500.simulated_runtimes(20)).all()
    for wrong in ({"samples": 0}, {"seed": -1}):
        with pytest.raises(ValueError, match="must be at least"):
            runs.simulated_runtimes(**wrong)


# ----------------------------------------------------------------------------- distribution and area


def test_ecdf_by_hand():
    runs = runtimes([[[2, 8], [4, nan]], [[nan, nan], [4, 6]]], [[8, 9], [9, 6]], dimension=2)
    assert runs.ecdf([0.99, 1, 1.99, 2, 3, 4, 1e9]).tolist() == [0, 1 / 8, 1 / 8, 3 / 8, 4 / 8, 5 / 8, 5 / 8]
    assert runs.ecdf(2.0) == 3 / 8
    assert runs.ecdf(1e9) == runs.share()
    assert runs.budget == 4.5


def test_area_of_a_step():
    """One target reached at r: the ECDF steps to 1, the area is log(upper / r) / log(upper / lower)."""
    step = runtimes([[[100.0]]], [[100]], dimension=10)
    assert step.area(1, 1000) == pytest.approx(2 / 3)
    assert step.area(0.1, 100) == pytest.approx(1 / 3)
    assert step.area(1, 10) == 0
    assert step.area(10, 20) == pytest.approx(1)
    assert step.area(20, 40) == pytest.approx(1)  # and no more, where it is reached before the lower limit
    assert step.area() == 0  # reached with the last evaluation
    assert runtimes([[[nan]]], [[100]]).area() == 0


def test_area_is_the_integral_of_the_ecdf():
    runs = random(1)
    lower, upper = 2.0, 150.0
    for options in ({}, {"samples": 50, "seed": 3}):
        at = np.linspace(np.log(lower), np.log(upper), 200_001)
        numeric = runs.ecdf(np.exp((at[1:] + at[:-1]) / 2), **options).mean()
        assert runs.area(lower, upper, **options) == pytest.approx(numeric, abs=1e-4)
    assert runs.areas(lower, upper).mean() == pytest.approx(runs.area(lower, upper))
    assert runs.areas().shape == (6, 5)
    # What is left of it is the geometric mean of runtimes: COCO's report, "Empirical distribution functions".
    per_dimension = np.clip(np.where(np.isnan(runs.hits), inf, runs.hits) / 2, lower, upper)
    geometric = np.exp(np.log(per_dimension).mean())
    assert lower * (upper / lower) ** (1 - runs.area(lower, upper)) == pytest.approx(geometric)


def test_budgets_that_make_no_sense():
    runs = random(1)
    for wrong, message in (
        ({"lower": 0}, r"Runtimes.area\(lower=...\) must be a positive number"),
        ({"upper": inf}, r"upper=...\) must be a positive number .* got inf"),
        ({"upper": "9"}, "got '9'"),
        ({"lower": 3, "upper": 2}, "must be above lower=3, got 2"),
    ):
        with pytest.raises(ValueError, match=message):
            runs.area(**wrong)


def test_groups():
    runs = random(2)
    assert runs.group_names() == ("easy", "hard")
    hard = runs.group("hard")
    assert hard.problems == ("f4", "f5", "f6")
    np.testing.assert_array_equal(hard.hits, runs.hits[3:])
    assert runs.share() == pytest.approx((runs.group("easy").share() + hard.share()) / 2)
    with pytest.raises(ValueError, match="must be one of 'easy', 'hard', got 'none'"):
        runs.group("none")


# ----------------------------------------------------------------------------- comparison


def test_paired_p_is_the_share_of_all_signs():
    """Wilcoxon's p-value is that of all 2^n signs of the ranked differences, enumerated here. Ties are left out."""
    hits = np.random.default_rng(3).uniform(2, 90, (2, 3, 4, 1))
    a, b = (runtimes(h, h[..., 0], name) for h, name in zip(hits, "ab", strict=True))
    table = compare([a, b], upper=100)
    difference = (a.areas(1, 100) - b.areas(1, 100)).reshape(-1)
    ranks = np.abs(difference).argsort().argsort() + 1
    signed = np.array(list(itertools.product((-1, 1), repeat=12))) @ ranks
    observed = (np.sign(difference) * ranks).sum()
    assert table["p"][0] == pytest.approx((np.abs(signed) >= abs(observed)).mean())
    assert table["p (Holm)"] == table["p"]
    row = table.to_dicts()[0]
    assert (row["wins"], row["losses"], row["pairs"]) == ((difference > 0).sum(), (difference < 0).sum(), 12)
    assert row["runtime ratio"] == pytest.approx(np.exp(np.log(hits[1] / hits[0]).mean()))


def test_equal_strategies_are_not_told_apart():
    a = random(4)
    table = compare([a, dataclasses.replace(a, strategy="b")])
    assert table["p"] == [1]
    assert table["runtime ratio"] == [1]
    assert compare_problems([a, dataclasses.replace(a, strategy="b")], 1e-3)["p"] == [1] * 6


def test_a_faster_strategy_is_found():
    """Three times faster, on every scale: the ratio of runtimes is below 3 only because missed targets are cut off."""
    slow, fast = random(5, "slow", budget=1e9), random(6, "fast", speed=3, budget=1e9)
    row = compare([fast, slow]).to_dicts()[0]
    assert row["p"] < 1e-6
    assert row["runtime ratio"] == pytest.approx(3, rel=0.1)
    reverse = compare([slow, fast]).to_dicts()[0]
    assert reverse["runtime ratio"] == pytest.approx(1 / row["runtime ratio"])
    assert reverse["p"] == row["p"]
    short = compare([random(6, "fast", speed=3), random(5, "slow")]).to_dicts()[0]
    assert 1.3 < short["runtime ratio"] < 3
    # Areas up to the longest run of both, not of the first.
    assert compare([slow, fast])["area 1"] == [pytest.approx(slow.area(1, slow.budget))]
    assert slow.budget > fast.budget
    assert compare([fast, slow])["area 1"] == [pytest.approx(fast.area(1, slow.budget))]


def test_false_alarms_of_the_paired_test():
    """Of 600 tables of three equal strategies on two groups, at most 5 % have a corrected p below 0.05: 30 +- 5.3, so that more
    than 56 have probability 2e-6. Of independent single tests, 1,200 of one pair on one group, 5 % have, within 4.5 standard
    deviations: false alarm 7e-6."""
    single = []
    alarms = 0
    for seed in range(600):
        strategies = [random(1000 + 3 * seed + i, name, problems=4, targets=5) for i, name in enumerate("abc")]
        table = compare(strategies, groups=True)
        alarms += min(table["p (Holm)"]) < 0.05
        single += [
            p for p, first, second in zip(table["p"], table["first"], table["second"], strict=True) if first + second == "ab"
        ]
    assert 5 <= alarms <= 56
    assert np.mean(np.array(single) < 0.05) == pytest.approx(0.05, abs=4.5 * np.sqrt(0.05 * 0.95 / 1200))


def test_false_alarms_of_the_rank_sum_test():
    """Of 600 tables of equal strategies on four problems, at most 5 % have a corrected p below 0.05, as above."""
    alarms = 0
    for seed in range(600):
        strategies = [random(9000 + 2 * seed + i, name, problems=4, targets=5, runs=7) for i, name in enumerate("ab")]
        alarms += min(compare_problems(strategies, 1e-3)["p (Holm)"]) < 0.05
    assert 5 <= alarms <= 56


def test_rank_sum_is_the_exact_test():
    from scipy.stats import fisher_exact, mannwhitneyu

    generator = np.random.default_rng(0)
    for n, m in ((3, 3), (5, 9), (15, 15), (30, 30)):
        a, b = generator.normal(0.5, 1, n), generator.normal(0, 1, m)
        assert rank_sum(a, b)[0] == pytest.approx(mannwhitneyu(a, b, method="exact").pvalue, rel=1e-9)
    for successes in ((4, 0), (5, 0), (3, 7), (10, 15)):  # of 15; no runtimes, only successes: Fisher's test
        a, b = (np.arange(15) < k for k in successes)
        table = [[k, 15 - k] for k in successes]
        assert rank_sum(a.astype(float), b.astype(float))[0] == pytest.approx(fisher_exact(table).pvalue)
    # Many runs: the normal distribution takes over, and agrees where both can be had.
    a, b = generator.integers(0, 9, (2, EXACT // 2)).astype(float)
    exact = rank_sum(a, b + 1)[0]
    assert mannwhitneyu(a, b + 1, method="asymptotic").pvalue == pytest.approx(exact, rel=0.1)
    assert rank_sum(np.append(a, a), np.append(b, b))[0] == mannwhitneyu(np.append(a, a), np.append(b, b)).pvalue


def test_four_successes_of_fifteen_are_not_significant():
    """ "4/15 successes are not statistically significant against 0/15 successes on a 5%-level": COCO's report, "Rationales and
    limitations" of simulated restarts. Five are."""
    for successes, significant in ((4, False), (5, True)):
        hits = np.where(np.arange(15) < successes, 50.0, nan)
        a, b = (
            runtimes(hits[None, :, None], np.full((1, 15), 100)),
            runtimes(np.full((1, 15, 1), nan), np.full((1, 15), 100), "b"),
        )
        assert (compare_problems([a, b], 1)["p"][0] < 0.05) == significant


def test_rank_sum_tests_are_cocos(coco):
    """Where both strategies always reach the target, both rank the same runtimes. COCO's p is of a normal distribution, without
    correction for continuity: it may be off by the density times half a step of the rank sum, on both sides."""
    half_a_step = 2 * 0.5 * 0.3989 / np.sqrt(15 * 15 * 31 / 12)
    data, runs = coco
    compared = 0
    for (a, b), cocos in zip(itertools.combinations(runs, 2), data["tests"], strict=True):
        for target, of_problems in zip(data["table_targets"], np.moveaxis(cocos, 1, 0), strict=True):
            table = compare_problems([a, b], float(target))
            for row, (z, p) in zip(table.to_dicts(), of_problems, strict=True):
                if row["successes 1"] == row["successes 2"] == "15/15":
                    assert row["p"] == pytest.approx(p, abs=half_a_step)
                    compared += 1
                    if p < 0.05:  # COCO's z is positive where the first is better
                        assert (row["ERT ratio"] > 1) == (z > 0)
                elif p < 1e-3:
                    assert row["p"] < 1e-3
    assert compared >= 12


def test_rank_sum_ranks_failures_by_what_they_reached():
    """All within the shortest failure, 50 evaluations: a hit at 60 counts as a failure that lacks the last target only."""
    a = runtimes([[[10, 60], [10, 20]]], [[60, 20]])
    b = runtimes([[[nan, nan], [40, nan]]], [[50, 80]], "b")
    row = compare_problems([a, b], 0.1).to_dicts()[0]  # merits 1/20 and -1 against -2 and -1
    assert row["p"] == pytest.approx(rank_sum(np.array([4.0, 2]), np.array([1.0, 2]))[0]) == pytest.approx(4 / 6)
    assert (row["ERT 1"], row["ERT 2"], row["ERT ratio"]) == (40, inf, inf)
    assert (row["successes 1"], row["successes 2"]) == ("2/2", "0/2")
    both = compare_problems([b, dataclasses.replace(b, strategy="c")], 0.1).to_dicts()[0]
    assert both["ERT ratio"] is None


def test_ranks_that_the_expected_runtimes_contradict_are_not_significant():
    """Nine of ten runs are faster, and one that fails costs more than all of the other strategy."""
    hits = np.array([10.0] * 9 + [nan])[None, :, None]
    a = runtimes(hits, np.where(np.isnan(hits[..., 0]), 1e5, 10))
    b = runtimes(np.full((1, 10, 1), 100.0), np.full((1, 10), 100), "b")
    assert rank_sum(np.array([2.0] * 9 + [0]), np.ones(10))[0] < 0.01
    assert compare_problems([a, b], 1)["p"] == compare_problems([b, a], 1)["p"] == [1]


def test_holm():
    """The closed test of Marcus, Peritz & Gabriel (1976), by Bonferroni's: the largest p of all subsets that hold one."""
    for p in ([0.01, 0.04, 0.03, 0.005], [1.0], np.random.default_rng(1).uniform(0, 0.2, 10).tolist(), [0.02, 0.02, 0.9]):
        subsets = [s for size in range(1, len(p) + 1) for s in itertools.combinations(range(len(p)), size)]
        expected = [max(min(1, len(s) * min(p[j] for j in s)) for s in subsets if i in s) for i in range(len(p))]
        np.testing.assert_allclose(holm(p), expected)


def test_what_cannot_be_compared():
    a = random(0)
    for wrong, message in (
        ([a], "at least two strategies"),
        ([a, a], "different strategies, got a, a"),
        ([a, random(0, "b", runs=4)], "as many runs, to be paired, got 5 of 'a', 4 of 'b'"),
        ([a, random(0, "b", targets=4)], "same targets"),
        ([a, random(0, "b", dimension=3)], "one dimension, got 2 and 3"),
        ([a, random(0, "b", problems=4)], "same problems"),
        ([a, dataclasses.replace(a, strategy="b", groups=("x",) * 6)], "same groups"),
    ):
        with pytest.raises(ValueError, match=message):
            compare(wrong)
    with pytest.raises(TypeError, match="must be Runtimes or a list of them"):
        compare([a, 3])
    with pytest.raises(TypeError, match="must be Runtimes or a list of them"):
        group_table([])
    with pytest.raises(ValueError, match=r"ert_table\(targets=...\) must be positive numbers, got \[0\]"):
        ert_table(a, [0])


# ----------------------------------------------------------------------------- tables


def test_ert_table(coco):
    data, runs = coco
    table = ert_table(runs)
    assert table.columns[2:4] == ("ERT/D 10", "ERT/D 1")
    assert table["problem"][:4] == ["f1 sphere"] * 3 + ["f3 Rastrigin"]
    assert table["strategy"][:3] == ["CMA-ES 8", "CMA-ES 40", "random search"]
    np.testing.assert_allclose(table["ERT/D 1e-05"][::3], data["expected"][0, :, 35] / 5)
    assert table["successes"][:3] == ["15/15", "15/15", "0/15"]
    assert "inf" in str(table)
    nearest = ert_table(random(0), [0.8, 1e-3, 1.2e-3, 1e-30], per_dimension=False)
    assert nearest.columns[2:-1] == ("ERT 1", "ERT 0.001", "ERT 1e-07")


def test_group_table():
    a, b = random(1), random(2, "b", budget=900)
    table = group_table([a, b], lower=2)
    assert table["group"] == ["easy", "easy", "hard", "hard", "all", "all"]
    assert table["strategy"] == ["a", "b"] * 3
    assert table["problems"] == [3, 3, 3, 3, 6, 6]
    assert table["share"][2] == a.group("hard").share()
    assert table["area"][4] == a.area(2, 450)  # the longest run of both
    assert group_table(a.group("easy"))["group"] == ["easy"]


# ----------------------------------------------------------------------------- plots


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_ecdf_plot(coco, tmp_path):
    _, runs = coco
    figure = plot_ecdf(runs, tmp_path / "ecdf.png", samples=100, seed=1)
    assert (tmp_path / "ecdf.png").stat().st_size > 10_000
    assert [ax.get_title() for ax in figure.axes] == ["separable", "moderate", "weak structure", "all problems"]
    assert legend(figure)[:4] == ["CMA-ES 8", "CMA-ES 40", "random search", "median length of failed runs"]
    solid, dashed, cross = figure.axes[-1].lines[:3]
    expected = runs[0].ecdf(np.append(solid.get_xdata(), dashed.get_xdata()), samples=105, seed=1)
    np.testing.assert_array_equal(np.append(solid.get_ydata(), dashed.get_ydata()), expected)
    failed = runs[0].evaluations[np.isnan(runs[0].hits[..., -1])]
    assert cross.get_xdata()[0] == np.median(failed) / 5
    assert solid.get_xdata()[-1] <= cross.get_xdata()[0] <= dashed.get_xdata()[1]
    sure = runtimes([[[3.0, 5]]], [[9]])
    alone = plot_ecdf(sure, title="mine")
    assert len(alone.axes) == 1
    assert legend(alone) == ["a"]
    assert alone.get_suptitle() == "mine"
    never = plot_ecdf(runtimes([[[nan]]], [[9]]))
    assert max(never.axes[0].lines[0].get_ydata()) == 0


def test_ert_plot(coco, tmp_path):
    data, runs = coco
    figure = plot_ert(runs, tmp_path / "ert.png")
    assert (tmp_path / "ert.png").stat().st_size > 10_000
    assert [ax.get_title() for ax in figure.axes] == list(runs[0].problems)
    every, sure = figure.axes[3].lines[:2]
    finite = np.isfinite(data["expected"][0, 3])
    np.testing.assert_allclose(every.get_ydata(), data["expected"][0, 3, finite] / 5)
    assert len(sure.get_ydata()) == (runs[0].success_rates()[3] == 1).sum()
    assert figure.axes[0].xaxis_inverted()
    assert legend(figure) == ["CMA-ES 8", "CMA-ES 40", "random search", "some runs missed the target"]


def test_scaling_plot(tmp_path):
    several = [random(d, dimension=d) for d in (5, 2, 10)]
    figure = plot_scaling(several, tmp_path / "scaling.png", targets=[1, 1e-3])
    assert (tmp_path / "scaling.png").stat().st_size > 10_000
    line = figure.axes[1].lines[0]
    assert line.get_xdata().tolist() == [2, 5, 10]
    expected = [one.expected_runtimes()[1, 0] / one.dimension for one in (several[1], several[0], several[2])]
    np.testing.assert_allclose(line.get_ydata(), expected)
    assert legend(figure) == ["1e+00", "1e-03", "quadratic", "some runs missed the target"]
    guide = figure.axes[0].lines[-1]
    assert guide.get_ydata()[-1] / guide.get_ydata()[0] == pytest.approx(5)
    others = [random(d, "b", dimension=d) for d in (2, 5)]
    both = plot_scaling(several + others)
    assert legend(both)[:2] == ["a", "b"]
    assert both.get_suptitle() == "expected runtimes to 1e-07"
    with pytest.raises(ValueError, match="at least two dimensions, got 2 only"):
        plot_scaling([several[1]])
    with pytest.raises(ValueError, match="one target for several strategies"):
        plot_scaling(several + others, targets=[1, 0.1])


# ----------------------------------------------------------------------------- the data


def test_json_is_the_same_again(coco):
    for one in (coco[1][0], random(3)):
        again = Runtimes.from_json(one.to_json())
        for field in dataclasses.fields(one):
            np.testing.assert_array_equal(getattr(again, field.name), getattr(one, field.name))
        assert again.to_json() == one.to_json()
    assert "NaN" not in random(3).to_json()


def test_json_of_something_else_is_refused():
    text = random(3).to_json()
    data = json.loads(text)
    for wrong, message in (
        (text[:-20], "must be JSON, as to_json wrote it"),
        ("", "must be JSON"),
        ("[1, 2]", "must be of format 'jaxes runtimes 1', got None"),
        (json.dumps(data | {"format": "jaxes runtimes 9"}), "got 'jaxes runtimes 9'"),
        (json.dumps({k: v for k, v in data.items() if k != "hits"}), "must have dimension, evaluations, format, .* it has"),
        (json.dumps(data | {"more": 1}), "it has .*more"),
        (json.dumps(data | {"dimension": 2.5}), "must be an integer"),
        (json.dumps(data | {"hits": data["hits"][:-1]}), "must have shape"),
        (json.dumps(data | {"hits": [1, [2]]}), "must be an array of numbers"),
        (json.dumps(data | {"problems": 3}), "must be a tuple of labels, got 3"),
    ):
        with pytest.raises(ValueError, match=message):
            Runtimes.from_json(wrong)


def test_data_that_do_not_fit_together():
    good = {
        "strategy": "a",
        "dimension": 2,
        "problems": ("f1", "f2"),
        "groups": ("g", "g"),
        "targets": [1.0, 0.1],
        "hits": [[[1, 2], [3, nan]], [[nan, nan], [4, 4]]],
        "evaluations": [[5, 5], [5, 4]],
    }
    runs = Runtimes(**good)
    assert runs.runs == 2
    with pytest.raises(ValueError, match="read-only"):
        runs.hits[0, 0, 0] = 3
    for change, message in (
        ({"strategy": ""}, "must be a name, got ''"),
        ({"dimension": 0}, r"Runtimes\(dimension=...\) must be at least 1, got 0"),
        ({"problems": "f1"}, "must be a tuple of labels, got 'f1'"),
        ({"problems": ("f1", "f1")}, "must be different labels"),
        ({"groups": ("g",)}, "must be one per problem, got 1 for 2 problems"),
        ({"targets": [0.1, 1.0]}, "each below the one before it"),
        ({"targets": [1.0, 0.0]}, "must be positive"),
        ({"targets": [[1.0, 0.1]]}, r"must have shape \(targets,\), got \(1, 2\)"),
        ({"targets": [1.0]}, r"hits=...\) must have shape \(2, 2, 1\) = \(problems, runs, targets\), got \(2, 2, 2\)"),
        ({"targets": ["x", "y"]}, r"targets=...\) must be an array of numbers"),
        ({"evaluations": [5, 5]}, r"must have shape \(2, runs\), at least one run of each problem, got \(2,\)"),
        ({"evaluations": [[5, nan], [5, 4]]}, r"evaluations=...\) must be positive and finite"),
        ({"evaluations": [[5, 5], [5, 3]]}, "must not exceed the evaluations that the run spent"),
        ({"hits": [[[1, 2], [3, inf]], [[nan, nan], [4, 4]]]}, "positive and finite, or NaN"),
        ({"hits": [[[0, 2], [3, nan]], [[nan, nan], [4, 4]]]}, "positive and finite, or NaN"),
        ({"hits": [[[1, 2], [nan, 3]], [[nan, nan], [4, 4]]]}, "NaN from the first target on that was missed"),
        ({"hits": [[[2, 1], [3, nan]], [[nan, nan], [4, 4]]]}, "must not decrease along the targets"),
    ):
        with pytest.raises(ValueError, match=message):
            Runtimes(**good | change)
    with pytest.raises(TypeError, match=r"must be an integer, got 2\.5"):
        Runtimes(**good | {"dimension": 2.5})
