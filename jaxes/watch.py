"""What is told of runs while they are under way: a progress bar, lines of text, a log on disk, a picture in the terminal."""

from __future__ import annotations

import contextlib
import csv
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxes.checks import check_integer
from jaxes.strategy import LIMIT

if TYPE_CHECKING:
    from jaxes.batch import Look

COLUMNS = (
    "seconds",  # since the call
    "generation",  # the furthest of the runs under way
    "evaluations",  # of all runs
    "best",  # fitness of the best run, as the objective gives it
    "quartile_1",  # of the runs' best fitness so far
    "median",
    "quartile_3",
    "step_size",  # median of the runs
    "finished",  # share of runs that have stopped
    "occupancy",  # share of candidates that were of use
    "generations_per_second",  # of all runs, since the record before
    "evaluations_per_second",
    "seconds_left",  # at this pace, if no run ends early; 0 when the call is over
)
"""Of a log."""

EVERY = 1.0
"""Seconds between two records of a log."""

HEADING = 40
"""Lines between two headings."""

Log = str | os.PathLike[str] | Callable[[dict[str, float]], Any]


class Watch:
    """Tells of runs as they go; `total` of them, a part at a time.

    progress: a bar, if it is True, or None and stderr is a terminal.
    verbose: a line every so many generations; 0 for none.
    log: a file, or a function of a record.
    """

    def __init__(
        self,
        owner: str,
        total: int,
        generations: int,
        *,
        progress: bool | None = None,
        verbose: int = 0,
        log: Log | None = None,
        append: bool = False,
        maximise: bool = False,
    ):
        self.total, self.generations, self.maximise = total, generations, maximise
        self.verbose = check_integer(owner, "verbose", int(verbose) if isinstance(verbose, bool) else verbose, at_least=0)
        self.speaks = jax.process_index() == 0  # of several processes, the first
        self.write = as_writer(owner, log, append) if self.speaks else None
        show = False if not self.speaks or (progress is None and self.verbose) else progress
        self.bar = progress_bar(show, total * generations, "gen")
        self.began = time.monotonic()
        self.lines = self.since = 0  # lines so far; generations since the last one
        self.over = self.spent = 0  # runs of parts that are over, and their evaluations
        self.first: tuple[float, float, int] | None = None  # time, generations and evaluations of the first look
        self.record: dict[str, float] = {}  # the last one
        self.last = (self.began, 0.0, 0)  # time, generations and evaluations of the last record

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if self.bar is not None:
            self.bar.close()
        if self.write is not None and kind is None and self.record and self.record["finished"] < 1:
            self.write(self.record | {"seconds": time.monotonic() - self.began, "seconds_left": 0.0})
        close = getattr(self.write, "close", None)
        if close is not None:
            close()

    @property
    def most(self) -> int:
        """How many generations there are until the next line."""
        return self.verbose - self.since if self.verbose else LIMIT

    def look(self, look: Look, generations: int, last: bool = False) -> None:
        """After so many more generations; `last`: of these runs."""
        self.since += generations
        if self.bar is None and not self.verbose and self.write is None:
            return
        now, done, told = time.monotonic(), (self.over + float(look.share.sum())) * self.generations, self._told(look)
        self.first = self.first or (now, done, told["evaluations"])
        if self.bar is not None:
            self._update(told, now, done)
        if self.verbose and (self.since >= self.verbose or last):
            self.since = 0
            self._line(look, told)
        if self.write is not None and (now - self.last[0] >= EVERY or last):
            self.write(self._record(told, now, done))

    def part(self, runs: int, evaluations: int) -> None:
        """So many more runs are over."""
        self.over += runs
        self.spent += evaluations
        if self.bar is not None:
            self.bar.update(self.over * self.generations - self.bar.n)

    def _told(self, look: Look) -> dict[str, Any]:
        """What one look tells: most columns of a log, and what the bar and lines have instead."""
        fitness = -look.fitness if self.maximise else look.fitness
        best, order = (fitness.max(), (75, 50, 25)) if self.maximise else (fitness.min(), (25, 50, 75))
        quartiles = np.percentile(fitness, order, method="nearest")
        return {
            "generation": int(look.generation.max()),
            "evaluations": self.spent + int(look.spent.sum(dtype=np.int64)),
            "best": best,
            **dict(zip(("quartile_1", "median", "quartile_3"), quartiles, strict=True)),
            "middle": np.median(fitness),  # of a log it is the fitness of a run, also of an even number of them
            "step_size": np.median(look.step_size),
            "finished": (self.over + np.sum(~look.active)) / self.total,
            "occupancy": look.occupancy,
        }

    def _record(self, told: dict[str, Any], now: float, done: float) -> dict[str, float]:
        """Column -> number, of all."""
        assert self.first is not None
        paced = (done - self.first[1]) / (now - self.first[0]) if now > self.first[0] else 0.0
        before, self.last = self.last, (now, done, told["evaluations"])
        passed = max(now - before[0], 1e-9)
        values = {"seconds": now - self.began} | told
        values["generations_per_second"] = (done - before[1]) / passed
        values["evaluations_per_second"] = (told["evaluations"] - before[2]) / passed
        values["seconds_left"] = (self.total * self.generations - done) / paced if paced > 0 else math.nan
        self.record = {name: float(values[name]) for name in COLUMNS}
        return self.record

    def _update(self, told: dict[str, Any], now: float, done: float) -> None:
        assert self.first is not None
        several = self.total > 1
        shown = {"best": f"{told['best']:.4g}"}
        shown |= {"median": f"{told['middle']:.4g}"} if several else {}
        shown |= {"sigma": f"{told['step_size']:.2g}"}
        shown |= {"finished": f"{told['finished']:.0%}"} if several else {}
        if now > self.first[0]:
            shown |= {"eval/s": f"{(told['evaluations'] - self.first[2]) / (now - self.first[0]):.3g}"}
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update(round(done) - self.bar.n)

    def _line(self, look: Look, told: dict[str, Any]) -> None:
        """What its authors print of the strategy of the best run, and how the others are."""
        row = {"gen": told["generation"], "evals": told["evaluations"], "best": told["best"]}
        row |= {name: float(value) for name, value in look.columns().items()}  # by all processes
        if self.total > 1:
            row |= {"median": told["middle"], "finished": told["finished"]}
        if not self.speaks:
            return
        if self.lines % HEADING == 0:
            print("  ".join(f"{name:>12}" for name in row), file=sys.stderr)
        print("  ".join(f"{_short(value):>12}" for value in row.values()), file=sys.stderr)
        self.lines += 1


def _short(value: Any) -> str:
    return str(int(value)) if isinstance(value, int | np.integer) else f"{float(value):.6g}"


def profiled(folder: str | os.PathLike[str] | None) -> contextlib.AbstractContextManager[Any]:
    """Within it, a trace of `jax.profiler` is written to a folder, if one is given."""
    if folder is None:
        return contextlib.nullcontext()
    if not isinstance(folder, str | os.PathLike):
        raise TypeError(f"profile must be the path of a folder, got {folder!r}.")
    return jax.profiler.trace(os.fspath(folder))


def progress_bar(show: bool | None, total: int, unit: str) -> Any:
    """A tqdm bar on stderr. `show` None: if tqdm is installed and stderr is a terminal. None if there is to be none."""
    if not (sys.stderr.isatty() if show is None else show):
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        if show is None:
            return None
        raise ImportError('progress=True needs tqdm: pip install "jaxes[progress]".') from None
    return tqdm(total=total, unit=unit, unit_scale=True, leave=True)


def as_writer(owner: str, log: Any, append: bool) -> Any:
    """A function of a record. A file is begun anew, unless runs go on and are to `append` to it."""
    if log is None or callable(log):
        return log
    if not isinstance(log, str | os.PathLike):
        raise TypeError(f"{owner}(log=...) must be a file that ends in .csv or .parquet, or a function of a dict, got {log!r}.")
    path = Path(os.path.abspath(log))  # wherever the process goes
    if path.suffix not in (".csv", ".parquet"):
        raise ValueError(f"{owner}(log=...) must end in .csv or .parquet, got {str(log)!r}.")
    if not path.parent.is_dir():
        raise ValueError(f"{owner}(log=...): there is no folder {str(path.parent)!r} to write {path.name} into.")
    if path.is_dir():
        raise ValueError(f"{owner}(log=...) must be a file, and {str(path)!r} is a folder.")
    return (CSV if path.suffix == ".csv" else Parquet)(owner, path, append and path.exists() and path.stat().st_size > 0)


class CSV:
    """A row a record, on disk when it was written."""

    def __init__(self, owner: str, path: Path, append: bool):
        if append:
            read_log(path)  # refuses what is no log
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)  # of a writer that was killed
            append = os.path.getsize(path) > 0
        self.file = path.open("a" if append else "w", newline="", encoding="utf-8")
        self.writer = csv.DictWriter(self.file, COLUMNS)
        if not append:
            self.writer.writeheader()
            self.file.flush()

    def __call__(self, record: Mapping[str, float]) -> None:
        self.writer.writerow(record)
        self.file.flush()

    def close(self) -> None:
        self.file.close()


class Parquet:
    """A file that cannot grow: it is written anew, and then renamed, ever less often, and at the end."""

    def __init__(self, owner: str, path: Path, append: bool):
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise ImportError(f'{owner}(log="....parquet") needs pyarrow: pip install "jaxes[parquet]".') from None
        self.arrow, self.path = pyarrow, path
        self.records: list[Mapping[str, float]] = read_log(path) if append else []
        self.written = 0

    def __call__(self, record: Mapping[str, float]) -> None:
        self.records.append(record)
        if len(self.records) >= max(1.1 * self.written, self.written + 10):
            self.close()

    def close(self) -> None:
        if len(self.records) > self.written:
            new = self.path.with_suffix(".parquet.new")
            self.arrow.parquet.write_table(self.arrow.Table.from_pylist(list(self.records)), new)
            os.replace(new, self.path)
            self.written = len(self.records)


def read_log(path: str | os.PathLike[str]) -> list[Mapping[str, float]]:
    """The records of a log; none of a file that is still empty. ValueError if it is none."""
    if os.path.getsize(path) == 0:
        return []
    rows: list[dict[Any, Any]]
    try:
        if Path(path).suffix == ".parquet":
            import pyarrow.parquet

            rows = pyarrow.parquet.read_table(path).to_pylist()
            names = set(rows[0]) if rows else set(COLUMNS)
        else:
            text = Path(path).read_text(encoding="utf-8")
            # A line that is being written, or was when its writer was killed, is not whole.
            reader = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())
            names = set(reader.fieldnames or ())
            rows = [row for row in reader if None not in row and None not in row.values()]
        if names == set(COLUMNS):
            return [{name: float(value) for name, value in row.items()} for row in rows]
        why = f"its columns are not {', '.join(COLUMNS)}"
    except (ValueError, TypeError, csv.Error) as error:
        why = f"{type(error).__name__}: {error}"
    raise ValueError(f"{path} is no log of jaxes ({why}).")


def picture(records: list[Mapping[str, float]], width: int, height: int) -> str:
    """Convergence so far, as text."""
    import plotext

    if not records:
        return "no record yet"
    shown = [record for record in records if all(math.isfinite(record[name]) for name in ("best", "median"))]
    drawn = ""
    if shown:
        logarithmic = all(record[name] > 0 for record in shown for name in ("best", "median"))
        plotext.clear_figure()
        plotext.theme("clear")
        plotext.plot_size(width, height)
        for name in ("median", "best"):
            values = [math.log10(record[name]) if logarithmic else record[name] for record in shown]
            plotext.plot([record["evaluations"] for record in shown], values, label=name)
        plotext.xlabel("evaluations")
        plotext.ylabel("log10 of fitness" if logarithmic else "fitness")
        drawn = plotext.uncolorize(plotext.build()) + "\n"
    last = records[-1]
    told = (
        f"best {last['best']:.6g}  median {last['median']:.6g}  sigma {last['step_size']:.3g}  "
        f"finished {last['finished']:.0%}  {last['seconds']:.0f} s\n"
        f"{last['generations_per_second']:.3g} generations/s  {last['evaluations_per_second']:.3g} evaluations/s"
    )
    left = last["seconds_left"]
    if last["finished"] < 1 and math.isfinite(left):
        told += f", {left:.0f} s left"
    return drawn + told


def watch(path: str | os.PathLike[str], seconds: float = 1.0, once: bool = False) -> None:
    """Redraws the picture of a log in the terminal, until the call that writes it is over."""
    while True:
        records = read_log(path) if Path(path).exists() else []
        size = os.get_terminal_size() if sys.stdout.isatty() else os.terminal_size((100, 24))
        if sys.stdout.isatty() and not once:
            print("\x1b[2J\x1b[H", end="")
        print(picture(records, min(size.columns, 120), max(8, min(size.lines - 3, 30))), flush=True)
        if once or (records and (records[-1]["finished"] >= 1 or records[-1]["seconds_left"] == 0)):
            return
        time.sleep(seconds)
