"""Pictures of runtimes, as COCO draws them. Needs matplotlib: pip install "jaxes[plot]".

References: Hansen et al. 2021 and 2022, as in runtime.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxes.analysis.plots import _figure, _saved
from jaxes.analysis.runtime import TABLE_TARGETS, Runtimes, by_group, nearest_targets, same_problems
from jaxes.checks import check_integer

MARKERS = "osD^v<>phX*"  # with the ten colours they tell apart more strategies than anyone draws


def plot_ecdf(
    runtimes: Runtimes | Sequence[Runtimes],
    path: Any = None,
    *,
    samples: int = 100,
    seed: int = 0,
    title: str | None = None,
) -> Any:
    """The share of problems and targets that are reached within a budget: a panel for each group and one for all.

    The ECDF of runtimes with simulated restarts. A cross marks the median evaluations of the runs that missed the last
    target; to its right, dashed, what is gained comes mostly from simulated restarts.

    Args:
        runtimes: of one or several strategies on the same problems.
        path: where to save the picture (its ending is the format); default: nowhere.
        samples: simulated runtimes of each problem and target, at least; rounded up to a multiple of the runs.
        seed: of the simulation.
        title: above the picture.

    Returns:
        The matplotlib figure.
    """
    strategies = same_problems("plot_ecdf", runtimes)
    samples = check_integer("plot_ecdf", "samples", samples, at_least=1)
    panels = by_group(strategies, whole="all problems")
    title = f"runtimes in dimension {strategies[0].dimension}" if title is None else title
    figure, axes = _panels(len(panels), "evaluations / dimension", "share of problem-target pairs", title)
    longest = max(one.budget for one in strategies)
    restarted = any(one.share() < 1 for one in strategies)
    start = min(1.0, *(float(np.nanmin(one.hits, initial=np.inf)) / one.dimension for one in strategies))
    budgets = np.geomspace(start, max(longest * (10 if restarted else 1), 10 * start), 600)
    for ax, (name, members) in zip(axes, panels, strict=True):
        for i, one in enumerate(members):
            share = one.ecdf(budgets, samples=-(-samples // one.runs) * one.runs, seed=seed)
            failed = one.evaluations[np.isnan(one.hits[..., -1])] / one.dimension
            until = float(np.median(failed)) if failed.size else math.inf
            style: dict[str, Any] = {"color": f"C{i % 10}", "drawstyle": "steps-post"}
            own = budgets <= until
            marks = {"marker": MARKERS[i % len(MARKERS)], "markersize": 5, "markevery": (25 + 17 * i % 75, 100)}
            ax.plot(budgets[own], share[own], label=one.strategy, **style, **marks)
            if failed.size:
                last = max(int(own.sum()) - 1, 0)
                ax.plot(budgets[last:], share[last:], linestyle="--", alpha=0.6, **style)
                ax.plot([until], [share[last]], marker="x", markersize=9, markeredgewidth=2, color=style["color"], zorder=3)
        ax.set(xscale="log", xlim=(budgets[0], budgets[-1]), ylim=(-0.01, 1.01))
        ax.set_title(name, fontsize="medium")
        ax.grid(alpha=0.3)
    handles, labels = axes[0].get_legend_handles_labels()
    if restarted:
        handles.append(_line(linestyle="", marker="x", markersize=8, markeredgewidth=2))
        labels.append("median length of failed runs")
        handles.append(_line(linestyle="--"))
        labels.append("beyond: simulated restarts")
    _legend(figure, handles, labels)
    return _saved(figure, path)


def plot_ert(runtimes: Runtimes | Sequence[Runtimes], path: Any = None, *, title: str | None = None) -> Any:
    """The expected runtime to each target, on every problem: a panel for each, a line for each strategy.

    A line ends at the last target that any run reached. It is solid where all runs reached the target, dashed where some missed
    it.

    Args:
        runtimes: of one or several strategies on the same problems.
        path: where to save the picture; default: nowhere. title: above it.

    Returns:
        The matplotlib figure.
    """
    strategies = same_problems("plot_ert", runtimes)
    first = strategies[0]
    title = f"expected runtimes in dimension {first.dimension}" if title is None else title
    figure, axes = _panels(len(first.problems), "gap to the optimum", "expected runtime / dimension", title)
    missed = False
    for i, one in enumerate(strategies):
        erts, rates = one.expected_runtimes() / one.dimension, one.success_rates()
        for ax, ert, rate in zip(axes, erts, rates, strict=True):
            style: dict[str, Any] = {"color": f"C{i % 10}"}
            seen, sure = rate > 0, int((rate == 1).sum())
            every = max(1, len(first.targets) // 6)
            marks = {"marker": MARKERS[i % len(MARKERS)], "markersize": 4, "markevery": (i * every // 3 % every, every)}
            ax.plot(first.targets[seen], ert[seen], alpha=0.6, linestyle="--", **style, **marks)
            ax.plot(first.targets[:sure], ert[:sure], **style)
            missed = missed or bool((seen & (rate < 1)).any())
    for ax, label in zip(axes, first.problems, strict=True):
        ax.set(xscale="log", yscale="log")
        ax.set_xlim(first.targets[0] * 1.5, first.targets[-1] / 1.5)  # easy to hard, as time goes
        ax.minorticks_off()
        ax.set_title(label, fontsize="small")
        ax.grid(alpha=0.3)
    handles = [_line(f"C{i % 10}", marker=MARKERS[i % len(MARKERS)], markersize=5) for i in range(len(strategies))]
    labels = [one.strategy for one in strategies]
    if missed:
        handles.append(_line(linestyle="--"))
        labels.append("some runs missed the target")
    _legend(figure, handles, labels)
    return _saved(figure, path)


def plot_scaling(
    runtimes: Sequence[Runtimes],
    path: Any = None,
    *,
    targets: float | Sequence[float] | None = None,
    title: str | None = None,
) -> Any:
    """The expected runtime divided by the dimension, against the dimension: a panel for each problem.

    With one strategy a line for each target, with several a line for each of them at one target. Horizontal is linear scaling;
    the dashed line has the slope of quadratic scaling. A hollow marker: some runs missed the target; no marker: all did.

    Args:
        runtimes: of one or several strategies in several dimensions, in any order, on problems of the same labels.
        path: where to save the picture; default: nowhere. title: above it.
        targets: the nearest that were recorded are shown; default: for one strategy those of COCO's tables, for several the
            last recorded one.

    Returns:
        The matplotlib figure.
    """
    everything = same_problems("plot_scaling", runtimes, dimensions=True)
    first = everything[0]
    dimensions = sorted({one.dimension for one in everything})
    names = list(dict.fromkeys(one.strategy for one in everything))
    if len(dimensions) < 2:
        raise ValueError(f"plot_scaling(runtimes=...) must be of at least two dimensions, got {dimensions[0]} only.")
    if targets is None:
        targets = TABLE_TARGETS if len(names) == 1 else float(first.targets[-1])
    at = nearest_targets("plot_scaling", first, np.atleast_1d(targets))
    if len(names) > 1 and len(at) > 1:
        raise ValueError(f"plot_scaling(targets=...) must be one target for several strategies, got {targets!r}.")
    lines = [(name, i) for name in names for i in at]
    labels = names if len(names) > 1 else [f"{first.targets[i]:.0e}" for i in at]
    if title is None:
        title = names[0] if len(names) == 1 else f"expected runtimes to {first.targets[at[0]]:.0e}"
    figure, axes = _panels(len(first.problems), "dimension", "expected runtime / dimension", title)
    handles = []
    for k, (name, i) in enumerate(lines):
        mine = sorted((one for one in everything if one.strategy == name), key=lambda one: one.dimension)
        style: dict[str, Any] = {"color": f"C{k % 10}", "marker": MARKERS[k % len(MARKERS)], "markersize": 5}
        handles.append(_line(style["color"], marker=style["marker"], markersize=5))
        size = np.array([one.dimension for one in mine])
        erts = np.array([one.expected_runtimes()[:, i] / one.dimension for one in mine])
        rates = np.array([one.success_rates()[:, i] for one in mine])
        for ax, ert, rate in zip(axes, erts.T, rates.T, strict=True):
            shown = np.where(np.isfinite(ert), ert, np.nan)
            ax.plot(size, shown, markerfacecolor="none", **style)
            ax.plot(size, np.where(rate == 1, shown, np.nan), **(style | {"linestyle": ""}))
    for ax, label in zip(axes, first.problems, strict=True):
        ax.set(xscale="log", yscale="log")
        ax.set_xticks(dimensions, [str(d) for d in dimensions])
        ax.minorticks_off()
        ax.set_title(label, fontsize="small")
        ax.grid(alpha=0.3)
    # One dashed line for quadratic scaling, from the middle of what is shown.
    for ax in axes:
        low, high = ax.get_ylim()
        middle = math.sqrt(low * high)
        guide = middle * np.array(dimensions) / math.sqrt(dimensions[0] * dimensions[-1])
        ax.plot(dimensions, guide, color="0.6", linestyle="--", linewidth=1, zorder=0)
        ax.set_ylim(low, high)
    handles.append(_line("0.6", linestyle="--", linewidth=1))
    handles.append(_line("0.3", linestyle="", marker="o", markersize=5, markerfacecolor="none"))
    _legend(figure, handles, [*labels, "quadratic", "some runs missed the target"])
    return _saved(figure, path)


def _panels(count: int, xlabel: str, ylabel: str, title: str) -> tuple[Any, list[Any]]:
    """A figure of `count` axes that share their scales, in rows that leave few places empty."""
    columns = min(range(1, count + 1), key=lambda c: -count % c + abs(c - math.sqrt(1.5 * count)))
    rows = math.ceil(count / columns)
    size = (max(6, 1 + 2.7 * columns), 1.7 + 2.3 * rows)
    figure, grid = _figure(rows, columns, squeeze=False, figsize=size, sharex=True, sharey=True)
    for ax in grid.flat[count:]:
        ax.remove()
    for ax in grid.flat[count - columns : count]:  # the last one of each column
        ax.tick_params(labelbottom=True)
        ax.set_xlabel(xlabel)
    figure.supylabel(ylabel, fontsize="medium")
    figure.suptitle(title)
    return figure, list(grid.flat[:count])


def _line(color: str = "0.3", **style: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=color, **style)


def _legend(figure: Any, handles: list[Any], labels: list[str]) -> None:
    columns = max(1, min(len(labels), int(figure.get_figwidth() / 2.4)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize="small")
