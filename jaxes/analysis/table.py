"""Tables of results."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxes.result import Result
from jaxes.stop import StopReason

if TYPE_CHECKING:
    from jaxes.sweep import SweepResult


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of named values; prints aligned."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def to_dicts(self) -> list[dict[str, Any]]:
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def to_csv(self) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([["" if value is None else value for value in row] for row in self.rows])
        return text.getvalue()

    def to_json(self) -> str:
        return json.dumps([{k: plain(v) for k, v in row.items()} for row in self.to_dicts()], indent=2)

    def __getitem__(self, column: str) -> list[Any]:
        """One column's values."""
        if column not in self.columns:
            raise KeyError(f"a table has no column {column!r}; it has {', '.join(self.columns)}.")
        return [row[self.columns.index(column)] for row in self.rows]

    def __str__(self) -> str:
        cells = [list(self.columns), *([_shown(value) for value in row] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
        return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def evaluations_to_target(result: Result, target: float | None = None) -> np.ndarray | None:
    """Evaluations that every run needed to reach a fitness; NaN where it did not. Shape: the batch axes.

    `target` defaults to the run's own `Stop(target=...)`, counted to the end of the generation that reached it. For any
    other target, history is needed and counted to the end of the record that reached it. None where nothing is known.
    """
    sign = -1 if result.maximise else 1
    stopped_at = None if result.target is None else np.asarray(result.target)
    evaluations = np.asarray(result.evaluations)
    if stopped_at is not None and (target is None or np.all(stopped_at == np.asarray(target, stopped_at.dtype))):
        reached = np.asarray(result.stop_reason) == StopReason.TARGET
        return np.where(reached, evaluations, np.nan)
    if target is None or result.history is None:
        return None
    reached = sign * np.asarray(result.history.best) <= sign * target
    first = np.take_along_axis(np.asarray(result.history.evaluations), reached.argmax(-1)[..., None], -1)[..., 0]
    return np.where(reached.any(-1), first, np.nan)


MEASURES = (
    "runs",
    "median",
    "quartile 1",
    "quartile 3",
    "best",
    "worst",
    "evaluations",
    "success",
    "evals to target",
    "expected runtime",
)


def _measures(result: Result, target: float | None) -> dict[str, Any]:
    """The columns of `MEASURES` of all runs of a result.

    "evaluations" is the mean of a run; "evals to target" the median of the successful runs; "expected runtime" the
    evaluations of all runs, up to their success, over the number of successes (ERT; Hansen et al. 2021, COCO).
    """
    fitness = np.asarray(result.fitness, float).reshape(-1)
    evaluations = np.asarray(result.evaluations).reshape(-1)
    low, median, high = np.quantile(fitness, [0.25, 0.5, 0.75], method="nearest")
    best, worst = (fitness.max(), fitness.min()) if result.maximise else (fitness.min(), fitness.max())
    row = {
        "runs": fitness.size,
        "median": float(median),
        "quartile 1": float(low),
        "quartile 3": float(high),
        "best": float(best),
        "worst": float(worst),
        "evaluations": float(evaluations.mean()),
        "success": None,
        "evals to target": None,
        "expected runtime": None,
    }
    hit = evaluations_to_target(result, target)
    if hit is not None:
        hit = hit.reshape(-1)
        successes = int(np.isfinite(hit).sum())
        row["success"] = successes / hit.size
        if successes:
            row["evals to target"] = float(np.nanmedian(hit))
            row["expected runtime"] = float(np.where(np.isfinite(hit), hit, evaluations).sum() / successes)
    return row


def summary(result: Result, target: float | None = None) -> Table:
    """One row: quartiles of the final fitness, success rate and evaluations to the target, of a run or a batch of them."""
    return _table([_measures(result, target)], ())


def sweep_table(result: SweepResult, target: float | None = None) -> Table:
    """One row per cell of a sweep, its settings in front. Columns as `summary`'s."""
    indices = list(np.ndindex(*result.shape))
    rows = [result.settings(index) | _measures(result.runs[index], target) for index in indices]
    return _table(rows, tuple(result.settings(indices[0])))


def _table(rows: list[dict[str, Any]], front: tuple[str, ...]) -> Table:
    used = [name for name in MEASURES if any(row[name] is not None for row in rows)]
    columns = (*front, *used)
    return Table(columns, tuple(tuple(row[name] for name in columns) for row in rows))


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if np.ndim(value):
        return f"{np.ndim(value)}-d array"
    if isinstance(value, bool | int) or not hasattr(value, "__float__"):
        return str(value)
    number = float(value)
    return f"{number:.0f}" if 1 <= abs(number) < 1e7 and number == round(number) else f"{number:.4g}"


def plain(value: Any) -> Any:
    """The value as JSON has it: numbers that JSON has not are null."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, np.generic | np.ndarray) or hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int) else str(value)
