"""Pictures of results. Needs matplotlib: pip install "jaxes[plot]"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxes.analysis.table import evaluations_to_target
from jaxes.result import Result

if TYPE_CHECKING:
    from jaxes.sweep import SweepResult

VALUES = ("fitness", "success", "evaluations")


def plot_convergence(
    result: Result | dict[str, Result], path: Any = None, *, offset: float = 0.0, title: str | None = None
) -> Any:
    """The best fitness so far against evaluations: the median of the runs, their quartiles and their range.

    Args:
        result: runs with history; or name -> runs, to compare.
        path: where to save the picture (its ending is the format); default: nowhere.
        offset: subtracted from fitness, the optimal value if it is known. The axis is logarithmic if all is positive.
        title: above the picture.

    Returns:
        The matplotlib figure.
    """
    results = result if isinstance(result, dict) else {"": result}
    if not results:
        raise ValueError("plot_convergence needs at least one result, got {}.")
    figure, axes = _figure()
    positive = True
    for name, runs in results.items():
        if runs.history is None:
            raise ValueError("plot_convergence needs runs with history: run(..., history=True) or history=k.")
        best = np.asarray(runs.history.best, float)
        begun = np.asarray(runs.generations).reshape(-1) > 0
        if best.shape[-1] == 0 or not begun.any():
            raise ValueError("plot_convergence needs at least one record, got runs of 0 generations.")
        best = best.reshape(-1, best.shape[-1])[begun] - offset
        evaluations, best = _aligned(np.asarray(runs.history.evaluations).reshape(-1, best.shape[-1])[begun], best)
        if runs.maximise:
            best = -best
        low, first, median, third, high = np.quantile(best, [0, 0.25, 0.5, 0.75, 1], axis=0, method="nearest")
        if runs.maximise:
            low, first, median, third, high = -high, -third, -median, -first, -low
        (line,) = axes.plot(evaluations, median, label=name or f"median of {len(best)} runs")
        if len(best) > 1:
            axes.fill_between(
                evaluations, first, third, color=line.get_color(), alpha=0.3, linewidth=0, label=None if name else "quartiles"
            )
            axes.fill_between(
                evaluations, low, high, color=line.get_color(), alpha=0.1, linewidth=0, label=None if name else "all"
            )
        # A run that reaches the optimum exactly ends its line on a logarithmic axis; it does not forbid the axis.
        shown = np.concatenate([first, median, third])
        positive = positive and bool((shown >= 0).all() and (shown > 0).any())
    if positive:
        axes.set_yscale("log")
    axes.set(xlabel="evaluations of a run", ylabel="best fitness so far" + (f" - {offset:g}" if offset else ""))
    axes.set_title(title or "")
    if len(results) > 1 or len(best) > 1:
        axes.legend()
    axes.grid(alpha=0.3)
    return _saved(figure, path)


def plot_sweep(result: SweepResult, path: Any = None, *, value: str = "fitness", target: float | None = None) -> Any:
    """A sweep over one axis as a line with quartiles, over two as a heat map; with more, one heat map for each rest.

    Args:
        value: "fitness" (median of the repeats), "success" (share that reached the target) or "evaluations" (median to the
            target, of the successful runs).
        target: default the sweep's own `stop` target. path: where to save the picture.

    Returns:
        The matplotlib figure.
    """
    if value not in VALUES:
        raise ValueError(f"plot_sweep(value=...) must be one of {', '.join(map(repr, VALUES))}, got {value!r}.")
    values = _sweep_values(result, value, target)
    names = result.names
    ticks = [[_tick(item) for item in axis] for axis in result.axes.values()]
    word = {"fitness": "median fitness", "success": "success rate", "evaluations": "evaluations to target"}[value]
    if len(result.shape) == 1:
        figure, axes = _figure()
        low, middle, high = np.nanquantile(values, [0.25, 0.5, 0.75], axis=-1)
        if value == "success":
            low = middle = high = values.mean(-1)
        at = np.arange(len(ticks[0]))
        axes.plot(at, middle, marker="o")
        axes.fill_between(at, low, high, alpha=0.3, linewidth=0)
        axes.set_xticks(at, ticks[0])
        if value != "success" and np.nanmin(low) > 0:
            axes.set_yscale("log")
        axes.set(xlabel=names[0], ylabel=word)
        axes.grid(alpha=0.3)
        return _saved(figure, path)

    cells = values.mean(-1) if value == "success" else _nanmedian(values)
    maps = cells.reshape(-1, *cells.shape[-2:])
    figure, all_axes = _figure(1, len(maps), squeeze=False, figsize=(1.5 + 4.5 * len(maps), 4.5))
    finite = cells[np.isfinite(cells)]
    logarithmic = value != "success" and finite.size > 0 and finite.min() > 0 and finite.max() > 20 * finite.min()
    from matplotlib.colors import LogNorm, Normalize

    span = (finite.min(), finite.max()) if finite.size else (0, 1)
    norm = LogNorm(*span) if logarithmic else Normalize(*span)
    rest = list(np.ndindex(*result.shape[:-2]))
    for axes, index, cell in zip(all_axes[0], rest, maps, strict=True):
        image = axes.imshow(cell, origin="lower", aspect="auto", norm=norm, cmap="viridis_r")
        axes.set_xticks(range(len(ticks[-1])), ticks[-1], rotation=45, ha="right")
        axes.set_yticks(range(len(ticks[-2])), ticks[-2])
        axes.set(xlabel=names[-1], ylabel=names[-2])
        axes.set_title(", ".join(f"{n}={t[i]}" for n, t, i in zip(names, ticks, index, strict=False)))
    figure.colorbar(image, ax=all_axes[0].tolist(), label=word)
    return _saved(figure, path)


def plot_landscape(problem: Any, path: Any = None, *, points: int = 121) -> Any:
    """The surface of a `Problem` of two dimensions over its box, `points` a side; `path` where to save the picture.

    Returns:
        The matplotlib figure.
    """
    if problem.space.dimension != 2:
        raise ValueError(f"plot_landscape needs a problem of two dimensions, got {problem.space.dimension}.")
    lower, upper = map(np.asarray, problem.space.bounds())
    sides = [np.linspace(low, high, points) for low, high in zip(lower, upper, strict=True)]
    x, y = np.meshgrid(*sides)
    flat = jnp.asarray(np.stack([x.ravel(), y.ravel()], 1), problem.space.dtype)
    z = np.asarray(jax.vmap(lambda v: problem(problem.space.decode(v)))(flat)).reshape(x.shape)
    figure, axes = _figure(subplot_kw={"projection": "3d"})
    axes.plot_surface(x, y, z, cmap="viridis", linewidth=0, rstride=1, cstride=1)
    axes.set(xlabel="x", ylabel="y", zlabel="fitness", title=problem.name)
    return _saved(figure, path)


def _sweep_values(result: SweepResult, value: str, target: float | None) -> np.ndarray:
    """(axes..., repeats) numbers."""
    if value == "fitness":
        return np.asarray(result.runs.fitness, float)
    hit = evaluations_to_target(result.runs, target)
    if hit is None:
        raise ValueError(f"plot_sweep(value={value!r}) needs a target: sweep(..., stop=Stop(target=...)), or history=True.")
    return np.isfinite(hit).astype(float) if value == "success" else hit


def _nanmedian(values: np.ndarray) -> np.ndarray:
    """Median over the last axis of what is not NaN; NaN where there is nothing."""
    empty = np.isnan(values).all(-1)
    return np.where(empty, np.nan, np.nanmedian(np.where(empty[..., None], 0, values), axis=-1))


def _tick(item: Any) -> str:
    if isinstance(item, tuple):
        return ", ".join(map(_tick, item))
    if np.ndim(item) == 0 and isinstance(item, float | np.floating | np.ndarray | jax.Array):
        return f"{float(item):.3g}"
    return str(item) if np.ndim(item) == 0 else "..."


def _figure(*args: Any, **options: Any) -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ImportError('plots need matplotlib: pip install "jaxes[plot]".') from None
    return plt.subplots(*args, layout="constrained", **options)


def _saved(figure: Any, path: Any) -> Any:
    if path is not None:
        figure.savefig(path, dpi=150)
        import matplotlib.pyplot as plt

        plt.close(figure)
    return figure


def _aligned(evaluations: np.ndarray, best: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Evaluations (points,) and what each run had found by then (runs, points), from records (runs, rows) of each.

    The points are the records of the longest run, from where all runs have one; a run stands still after it stopped.
    """
    points = evaluations[evaluations[:, -1].argmax()]
    points = points[points >= evaluations[:, 0].max()]
    last = [np.searchsorted(mine, points, side="right") - 1 for mine in evaluations]
    return points, np.stack([row[at] for row, at in zip(best, last, strict=True)])
