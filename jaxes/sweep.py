"""sweep(): grids of hyperparameters times repeats, one compiled program per shape."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxes.batch import Axes, Batch, drive, keys_of_runs, size_of
from jaxes.checkpoint import Checkpoint, Keeper, about_task, as_checkpoint, keeping
from jaxes.checks import as_key, check_integer, check_seconds
from jaxes.devices import Devices, as_devices, fetched, memory_limit
from jaxes.interrupts import Interrupts
from jaxes.loop import Task, check_generations, make_task
from jaxes.objective import check_objective
from jaxes.pytree import node_types
from jaxes.result import Result
from jaxes.stop import Stop, StopReason, as_stop
from jaxes.strategy import Strategy
from jaxes.watch import Log, Watch, profiled

Names = str | tuple[str, ...]

OFTEN = 50
"""The results of all runs must fit into memory this often before it is not looked at how much their program takes."""


@dataclasses.dataclass(frozen=True)
class SweepResult:
    """All runs of a sweep.

    Attributes:
        runs: a `Result` of NumPy arrays whose batch axes are those of `axes`, then the repeats.
        axes: name -> values. A tuple of names is one axis of values that go together.
        cells: the strategies, (axes...) objects.
    """

    runs: Result
    axes: dict[Names, list[Any]]
    cells: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes, without the repeats."""
        return tuple(len(values) for values in self.axes.values())

    @property
    def names(self) -> list[str]:
        """Labels of the axes."""
        return [", ".join(names) if isinstance(names, tuple) else names for names in self.axes]

    def settings(self, index: tuple[int, ...]) -> dict[str, Any]:
        """Name -> value of one cell."""
        return _settings(self.axes, index)

    def table(self, target: float | None = None) -> Any:
        """`jaxes.analysis.sweep_table(self)`: a row per cell."""
        from jaxes.analysis.table import sweep_table

        return sweep_table(self, target)

    def plot(self, path: Any = None, **options: Any) -> Any:
        """`jaxes.analysis.plot_sweep(self, path, ...)`: quartiles over one axis, a heat map over two."""
        from jaxes.analysis.plots import plot_sweep

        return plot_sweep(self, path, **options)

    def best(self) -> tuple[dict[str, Any], Result]:
        """The settings whose median fitness is best, and their runs."""
        median = np.median(np.asarray(self.runs.fitness), axis=-1)
        index = np.unravel_index(median.argmax() if self.runs.maximise else median.argmin(), median.shape)
        return self.settings(tuple(map(int, index))), self.runs[index]

    def __repr__(self) -> str:
        axes = ", ".join(f"{name}: {length}" for name, length in zip(self.names, self.shape, strict=True))
        return f"SweepResult({axes}, repeats: {np.shape(self.runs.fitness)[-1]})"


def sweep(
    strategy: Strategy,
    objective: Any,
    key: ArrayLike,
    generations: int,
    *,
    over: Mapping[Names, Any],
    repeats: int = 1,
    chunk: int | None = None,
    max_memory: float | None = None,
    seconds: float | None = None,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
    devices: Any = None,
    args: Any = None,
    stop: Stop | dict[str, Any] | None = None,
    history: bool | int = False,
    targets: ArrayLike | None = None,
    progress: bool | None = None,
    verbose: int = 0,
    log: Log | None = None,
    profile: str | os.PathLike[str] | None = None,
    batched: bool = False,
    stochastic: bool = False,
    maximise: bool = False,
) -> SweepResult:
    """Runs every combination of hyperparameters `repeats` times.

    Args:
        strategy: whose hyperparameters are varied.
        objective, key, generations, args, stop, history, targets, batched, stochastic, maximise: as in `jaxes.run`.
        over: name -> values, a grid over all names. A tuple of names takes tuples of values that go together:
            `{("mu", "lam"): [(5, 35), (20, 100)], "sigma": [0.1, 0.3]}` is a 2 x 2 grid. A dot reaches inside:
            "sigma.tau" of `SelfAdaptation`, "stop.target". "args" sweeps problem instances: a list of
            them, or a pytree of arrays with a leading axis.
        repeats: runs per combination. Repeat i has the key `jax.random.fold_in(key, i)` in every cell, so that cells are
            compared on the same random numbers.
        chunk: at most this many runs at once; default as many as fit into memory, which is not looked at with a chunk unless
            there is `max_memory`. Results do not depend on it (but for the rounding described at `run`).
        max_memory: bytes that may be taken on each device, or a fraction of what it has, up to 1; default 0.8.
        seconds: a limit; runs that are not over by then have `StopReason.TIME`.
        checkpoint: a folder to save to, or a `Checkpoint` that also says how often. The same call goes on from what is there,
            and returns what it would have returned without a break, bit for bit.
        devices: how many, a list of them, or a `jax.sharding.Mesh`, that share the runs. Default: one, JAX's default one.
        progress: True or False; default: if tqdm is installed and stderr is a terminal.
        verbose, log, profile: as in `jaxes.minimize`; of the runs that are under way together.

    Numbers (sigma, rates, bounds, thresholds) share one program; each combination of static settings (mu, lam, words)
    compiles once.

    Returns:
        `SweepResult`. After Ctrl-C or SIGTERM, runs that were not finished have `StopReason.INTERRUPTED`, and runs that were
        not begun a fitness of infinity (-infinity, if maximised), 0 generations, and NaN for the rest.

    Raises:
        ValueError, TypeError: before anything runs, naming the argument.
    """
    if not isinstance(strategy, Strategy):
        raise TypeError(f"sweep(strategy=...) must be a strategy such as jaxes.ES(space), got {strategy!r}.")
    generations = check_generations("sweep", generations)
    repeats = check_integer("sweep", "repeats", repeats, at_least=1)
    if chunk is not None:
        chunk = check_integer("sweep", "chunk", chunk, at_least=1)
    if seconds is not None:
        check_seconds("sweep", seconds)
    shared = as_devices("sweep", devices, "runs")
    axes = _axes(over)
    base = {"strategy": strategy, "args": args, "stop": as_stop(stop)}
    cells = [_cell(base, axes, index) for index in np.ndindex(*map(len, axes.values()))]
    keys = keys_of_runs(as_key("sweep", key), repeats)

    _check_solutions([cell["strategy"] for cell in cells])
    groups: dict[Any, list[int]] = {}
    for i, cell in enumerate(cells):
        leaves, structure = jax.tree.flatten(cell)
        shapes = tuple((np.shape(leaf), str(jnp.result_type(leaf))) for leaf in leaves)
        groups.setdefault((structure, node_types(cell), shapes), []).append(i)
    tasks = []
    for members in groups.values():
        head = cells[members[0]]
        task = make_task(
            "sweep",
            head["strategy"],
            objective,
            head["args"],
            head["stop"],
            history,
            None,
            targets,
            batched,
            stochastic,
            maximise,
        )
        check_objective(task.objective, task.strategy.space, task.strategy.population_size, task.args)
        for i in members:
            cells[i]["stop"].check(cells[i]["strategy"])
        others = [dataclasses.replace(task, **cells[i]) for i in members]
        tasks.append((members, *_stack(others)))

    groups_of_runs = [_Group(members, task, in_axes, keys, generations, shared) for members, task, in_axes in tasks]
    _divide(groups_of_runs, chunk, max_memory, shared)
    total = len(cells) * repeats
    collected: Any = [None] * len(cells)
    checkpoint = as_checkpoint("sweep", checkpoint)
    about = None if checkpoint is None else _about(groups_of_runs, over)
    watching = Watch(
        "sweep",
        total,
        generations,
        progress=progress,
        verbose=verbose,
        log=log,
        append=checkpoint is not None,
        maximise=maximise,
    )
    with (
        profiled(profile),
        watching as watch,
        Interrupts(seconds) as interrupted,
        keeping("sweep", checkpoint, about, shared) as keeper,
    ):
        if keeper is not None:
            keeper.parts = sum(len(group.chunks) for group in groups_of_runs)
        for group in groups_of_runs:
            results = group.run(interrupted, keeper, watch)
            if len(groups_of_runs) == 1:
                collected = results
                break
            for j, i in enumerate(group.members):
                collected[i] = jax.tree.map(lambda leaf, j=j: leaf[j], results)
        if interrupted() == StopReason.INTERRUPTED:
            print("jaxes: interrupted, returning what was run", file=sys.stderr)
    shape = tuple(map(len, axes.values()))
    strategies = np.empty(len(cells), object)
    strategies[:] = [cell["strategy"] for cell in cells]
    if len(groups_of_runs) > 1:
        collected = _assemble(collected)
    runs = jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), collected)
    return SweepResult(runs, axes, strategies.reshape(shape))


class _Group:
    """The cells of one shape, and their runs, as many at a time as are to be."""

    def __init__(self, members: list[int], task: Task, axes: Axes, keys: jax.Array, generations: int, devices: Devices):
        self.members, self.task, self.axes, self.keys = members, task, axes, keys
        self.generations, self.devices = generations, devices
        self.repeats = keys.shape[0]
        self.total = len(members) * self.repeats
        self.chunk = self.total

    @property
    def results(self) -> int:
        """Bytes of all results."""
        return size_of(self._batch(0).result_like()) // self.chunk * self.total

    def divide(self, most: int) -> None:
        """Sets how many runs go at once, so that their program takes no more than so many bytes."""
        shares, needed = self.devices.shares, self._batch(0).memory()
        if needed <= most:
            return
        said = f"jaxes: {self.chunk} runs at once would take {needed:.3g} bytes of memory on each device"
        while needed > most:
            if self.chunk <= shares:
                raise ValueError(
                    f"sweep(max_memory=...): one run on each device, the fewest, would take {needed:.3g} bytes there, and "
                    f"{most:.3g} are left."
                )
            fewer = int(self.chunk * most / needed) // shares * shares
            self.chunk = max(shares, min(fewer, self.chunk - 1))
            needed = self._batch(0).memory()
        print(f"{said}; {self.chunk} will go at a time, which take {needed:.3g}", file=sys.stderr)

    @property
    def chunks(self) -> range:
        """The first run of each."""
        return range(0, self.total, self.chunk)

    def _batch(self, first: int) -> Batch:
        """The last chunk is filled up with runs of the first, so that all have one shape."""
        leaves, structure = _flatten(self.task)
        index = np.arange(first, first + self.chunk) % self.total
        mine = [leaf if axis is None else leaf[index // self.repeats] for leaf, axis in zip(leaves, self.axes, strict=True)]
        keys, count = self.keys[index % self.repeats], min(self.chunk, self.total - first)
        return Batch(structure.unflatten(mine), self.axes, keys, self.generations, runs=count, devices=self.devices)

    def run(self, interrupted: Callable[[], StopReason], keeper: Keeper | None, watch: Watch) -> Result:
        """Results (cells, repeats)."""
        results: Any = None
        for first in self.chunks:
            part = drive(self._batch(first), interrupted=interrupted, keeper=keeper, watch=watch)
            if keeper is not None:
                keeper.part += 1
            part = jax.tree.map(fetched, part)
            watch.part(len(part.generations), int(np.sum(part.evaluations)))
            if self.chunk < self.total:  # one copy of all, whatever the number of chunks
                whole = results if first else jax.tree.map(lambda leaf: _room(leaf, self.total), part)
                part = jax.tree.map(lambda leaf, new, first=first: _put(leaf, new, first), whole, part)
            results = part
        return jax.tree.map(lambda leaf: leaf.reshape(-1, self.repeats, *leaf.shape[1:]), results)


def _divide(groups: list[_Group], chunk: int | None, max_memory: float | None, devices: Devices) -> None:
    """Sets how many runs of each group go at once: as many as fit into memory, and at most `chunk`."""
    for group in groups:
        group.chunk = min(chunk or group.total, group.total)
    most, main = memory_limit("sweep", max_memory, devices)
    results = sum(group.results for group in groups)
    if max_memory is None and (chunk is not None or OFTEN * results < most):
        return
    if main:  # where the results are, too
        if results > most:
            raise ValueError(
                f"sweep(max_memory=...): the results of all runs would take {results:.3g} bytes, and there are {most:.3g}. "
                "Without history, or in several sweeps, they take less."
            )
        most -= results
    for group in groups:
        group.divide(most)


def _about(groups: list[_Group], over: Mapping[Names, Any]) -> dict[str, str]:
    """What must be the same for a sweep to go on."""
    said = {"over": ", ".join(str(names) for names in over)}
    for i, group in enumerate(groups):
        where = f"group {i}: " if len(groups) > 1 else ""
        about = about_task(group.task, group.axes, group.keys, group.generations)
        about |= {"runs": str(group.total), "chunk": str(group.chunk)}
        said |= {where + name: text for name, text in about.items()}
    return said


def _axes(over: Any) -> dict[Names, list[Any]]:
    if not isinstance(over, Mapping) or not over:
        raise TypeError(f'sweep(over=...) must be a dict of name -> values such as {{"sigma": [0.1, 0.3]}}, got {over!r}.')
    axes: dict[Names, list[Any]] = {}
    seen: set[str] = set()
    for names, values in over.items():
        members = names if isinstance(names, tuple) else (names,)
        if not members or not all(isinstance(name, str) for name in members):
            raise TypeError(f"sweep(over=...) must have names or tuples of names as keys, got {names!r}.")
        if seen & set(members):
            raise ValueError(f"sweep(over=...) names {sorted(seen & set(members))} twice.")
        seen |= set(members)
        inside = [(a, b) for a in seen for b in seen if a.startswith(b + ".")]
        if inside:
            raise ValueError(f"sweep(over=...) cannot vary {inside[0][0]!r} and all of {inside[0][1]!r} at once.")
        if isinstance(values, str):
            raise TypeError(f"sweep(over={{{names!r}: ...}}) must be several values, got {values!r}; a list of one is fine.")
        if names == "args" and not isinstance(values, list | tuple):
            leaves = jax.tree.leaves(values)
            counts = {np.shape(leaf)[:1] for leaf in leaves}
            if len(counts) != 1 or counts == {()}:
                raise ValueError('sweep(over={"args": ...}) must be a list of args, or a pytree with one leading axis.')
            count = counts.pop()[0]
            values = [jax.tree.map(lambda leaf, i=i: leaf[i], values) for i in range(count)]
        try:
            values = [value.item() if isinstance(value, np.generic) else value for value in values]
        except TypeError:
            raise TypeError(f"sweep(over={{{names!r}: ...}}) must be several values, got {values!r}.") from None
        if not values:
            raise ValueError(f"sweep(over={{{names!r}: ...}}) must have at least one value.")
        if isinstance(names, tuple) and not all(np.ndim(v) > 0 and len(v) == len(names) for v in values):
            raise ValueError(f"sweep(over={{{names!r}: ...}}) must have tuples of {len(names)} values, got {values!r}.")
        axes[names] = values
    return axes


def _check_solutions(strategies: list[Strategy]) -> None:
    """All runs' solutions go into one array, so they must be alike."""
    found = set()
    for space in {id(s.space): s.space for s in strategies}.values():
        solution = jax.eval_shape(space.decode, jax.ShapeDtypeStruct((space.dimension,), space.dtype))
        leaves, structure = jax.tree.flatten(solution)
        found.add((structure, tuple((leaf.shape, leaf.dtype.name) for leaf in leaves)))
    if len(found) > 1:
        raise ValueError('sweep(over={"space": ...}) must have spaces whose solutions share structure, shapes and dtype.')


def _settings(axes: dict[Names, list[Any]], index: tuple[int, ...]) -> dict[str, Any]:
    """Name -> value of the combination at an index of the axes."""
    found: dict[str, Any] = {}
    for (names, values), i in zip(axes.items(), index, strict=True):
        found |= dict(zip(names, values[i], strict=True)) if isinstance(names, tuple) else {names: values[i]}
    return found


def _cell(base: dict[str, Any], axes: dict[Names, list[Any]], index: tuple[int, ...]) -> dict[str, Any]:
    """Strategy, args and stop of one combination. Changes of one object are made together: mu alone may not fit lam."""
    settings = _settings(axes, index)
    cell = dict(base)
    tree: dict[str, Any] = {}
    for path, value in settings.items():
        if path == "args":
            cell["args"] = value
            continue
        root, rest = ("stop", path[5:]) if path.startswith("stop.") else ("strategy", path)
        *parents, last = rest.split(".")
        node = tree.setdefault(root, _Nested())
        for name in parents:
            node = node.setdefault(name, _Nested())
        node[last] = value
    for root, changes in tree.items():
        cell[root] = _changed(cell[root], changes, root)
    return cell


class _Nested(dict):
    """Name -> change of one object's settings; told apart from a dict that is itself a setting."""


def _changed(value: Any, changes: dict[str, Any], where: str) -> Any:
    """A copy of a dataclass with (nested) fields changed."""
    settings = getattr(value, "settings", None)
    if isinstance(settings, dict):
        names = list(settings)
    else:
        names = [f.name for f in dataclasses.fields(value) if f.init] if dataclasses.is_dataclass(value) else []
    flat = {}
    for name, change in changes.items():
        if name not in names:
            raise ValueError(
                f"sweep(over=...) cannot vary {name!r} of {type(value).__name__} ({where}); it has "
                f"{', '.join(sorted(names)) or 'no settings'}."
            )
        current = settings[name] if isinstance(settings, dict) else getattr(value, name)
        flat[name] = _changed(current, change, f"{where}.{name}") if isinstance(change, _Nested) else change
    return value.replace(**flat) if hasattr(value, "replace") else dataclasses.replace(value, **flat)


def _stack(tasks: list[Task]) -> tuple[Task, Axes]:
    """One task whose leaves have a leading axis where the tasks differ, and the vmap axis of every leaf."""
    structure = _flatten(tasks[0])[1]
    columns = list(zip(*(jax.tree.leaves(task) for task in tasks), strict=True))
    leaves, axes = [], []
    for column in columns:
        same = all(leaf is column[0] or bool(np.all(leaf == column[0])) for leaf in column[1:])
        leaves.append(column[0] if same else _stacked(tuple(map(fetched, column))))
        axes.append(None if same else 0)
    return structure.unflatten(leaves), tuple(axes)


def _flatten(task: Task) -> tuple[list[Any], Any]:
    return jax.tree.flatten(task)


def _assemble(cells: list[Any]) -> Result:
    """All cells' results as one, (cells, repeats)."""
    target = next((cell.target for cell in cells if cell.target is not None), None)
    if target is not None:  # which some may be without
        without = np.full_like(target, np.nan)
        cells = [cell if cell.target is not None else dataclasses.replace(cell, target=without) for cell in cells]
    if len({cell.spent is None for cell in cells}) > 1:  # which some count themselves
        cells = [dataclasses.replace(cell, spent=cell.evaluations) for cell in cells]
    if len({(jax.tree.structure(cell), tuple(map(np.shape, jax.tree.leaves(cell)))) for cell in cells}) > 1:
        cells = [dataclasses.replace(cell, state=None) for cell in cells]
    return jax.tree.map(lambda *leaves: _stacked(leaves), *cells)


def _room(leaf: Any, runs: int) -> Any:
    """For all runs; keys are put together as they come."""
    return np.empty((runs, *leaf.shape[1:]), leaf.dtype) if isinstance(leaf, np.ndarray) else leaf[:0]


def _put(whole: Any, part: Any, first: int) -> Any:
    if not isinstance(whole, np.ndarray):
        return jnp.concatenate([whole, part])
    whole[first : first + len(part)] = part
    return whole


def _stacked(leaves: tuple[Any, ...]) -> Any:
    return np.stack(leaves) if isinstance(leaves[0], np.ndarray) else jnp.stack(leaves)
