"""Checkpoints: what a run needs to go on after it was killed, on disk.

A folder holds `jaxes.json` (what runs here: compared with what is to run), `running/` (the latest snapshots of the runs that
are under way) and `finished/` (results of those that are over). Each snapshot is written by orbax under another name and
renamed when it is whole, so that a process may be killed at any moment. Snapshots are taken between two generations; a run that
goes on from one does what it would have done anyway, bit for bit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import glob
import hashlib
import json
import os
import re
import shutil
import time
import warnings
import zlib
from collections.abc import Iterator, Mapping, MutableMapping, MutableSequence, MutableSet
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxes.checks import check_integer, check_seconds
from jaxes.devices import Devices
from jaxes.loop import Task
from jaxes.random import PARTITIONABLE, is_key
from jaxes.strategy import LIMIT

FORMAT = 1
"""Of the folder. A change of what is in it is another one."""

MUTABLE = MutableSequence | MutableMapping | MutableSet

FILE, NEW, LOCK = "jaxes.json", "jaxes.new", "lock"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Where and how often runs are saved.

    Args:
        path: of a folder, for one call of `minimize` or `sweep`. If it has checkpoints of the call, that goes on from them.
        seconds: between two checkpoints; default a minute, None for no limit. What is lost when the process is killed is what
            was done since the latest one. Runs wait while they are saved, so a state that takes a second to write should not
            be saved every few seconds.
        generations: between two checkpoints, too, if given.
        keep: this many of the latest snapshots.

    The latest state is also saved when a run ends, is interrupted (Ctrl-C, SIGTERM) or reaches its limit in seconds.
    """

    path: str | os.PathLike[str]
    seconds: float | None = 60.0
    generations: int | None = None
    keep: int = 2
    command: tuple[str, ...] | None = None  # of the command line that `jaxes resume` is to run again

    def __post_init__(self):
        if not isinstance(self.path, str | os.PathLike):
            raise TypeError(f"Checkpoint(path=...) must be the path of a folder, got {self.path!r}.")
        if self.seconds is not None:
            check_seconds("Checkpoint", self.seconds)
        if self.generations is not None:
            check_integer("Checkpoint", "generations", self.generations, at_least=1)
        if self.seconds is None and self.generations is None:
            raise ValueError("Checkpoint needs seconds, generations or both.")
        check_integer("Checkpoint", "keep", self.keep, at_least=1)


class Keeper:
    """The checkpoints of one call, whose runs go in one part or, if they do not fit into memory together, several.

    `about`: what must be the same for runs to go on.
    """

    def __init__(self, owner: str, checkpoint: Checkpoint, about: Mapping[str, str], devices: Devices):
        try:
            import orbax.checkpoint as orbax
        except ImportError:
            raise ImportError(f'{owner}(checkpoint=...) needs orbax: pip install "jaxes[checkpoint]".') from None
        self.orbax, self.options, self.devices = orbax, checkpoint, devices
        self.owner, self.path = owner, Path(os.path.abspath(os.path.expanduser(checkpoint.path)))
        self.part, self.parts = 0, 1
        self.unsaved: dict[str, Any] = {}  # results of parts that are over
        self.generations, self.saved = 0, time.monotonic()  # since and when the latest snapshot was taken
        with contextlib.ExitStack() as held:
            self._open(held, about)
            self.running = held.enter_context(self._manager("running", checkpoint.keep))
            self.finished = held.enter_context(self._manager("finished", None))
            self.over = {part: step for step in self.finished.all_steps() for part in self._about(self.finished, step)["parts"]}
            self.held = held.pop_all()

    def _manager(self, name: str, keep: int | None) -> Any:
        options = self.orbax.CheckpointManagerOptions(
            max_to_keep=keep, cleanup_tmp_directories=True, enable_async_checkpointing=False
        )
        return self.orbax.CheckpointManager(self.path / name, options=options)

    def _open(self, held: contextlib.ExitStack, about: Mapping[str, str]) -> None:
        """Begins the folder, or finds that it is this call's."""
        name, file = f"{self.owner}(checkpoint={str(self.path)!r})", self.path / FILE
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"{name} must be a folder, and is a file.")
        if glob.has_magic(str(self.path)):  # orbax takes it for a pattern, and what it then writes cannot be read
            raise ValueError(f"{name} must be a path without *, ? and [.")
        mine: dict[str, Any] = {
            "format": FORMAT,
            "command": self.options.command,
            "directory": os.getcwd(),
            "versions": {"jax": jax.__version__, "jaxlib": jax.lib.__version__, "platform": jax.default_backend()},
            "about": dict(about),
        }
        if jax.process_index() == 0:
            others = [entry.name for entry in self.path.iterdir()] if self.path.exists() else []
            foreign = sorted(set(others) - {NEW, LOCK})  # which are there if a process was killed just here
            if FILE not in others and foreign:
                raise ValueError(f"{name} must be a folder of its own; this has {foreign[0]!r} in it and no checkpoint.")
            self.path.mkdir(parents=True, exist_ok=True)
            held.enter_context(_locked(name, self.path / LOCK))
            if FILE not in others:
                new = self.path / NEW
                new.write_text(json.dumps(mine, indent=1), encoding="utf-8")
                os.replace(new, file)
        self.devices.meet("jaxes: the folder of the checkpoints is there")
        theirs = read(self.path)
        differences = _differences(mine["about"], theirs["about"])
        if differences:
            raise ValueError(
                f"{name} holds checkpoints of something else: {'; '.join(differences)}. Name another folder, or remove it."
            )
        if mine["versions"] != theirs["versions"]:
            changed = "; ".join(_differences(mine["versions"], theirs["versions"]))
            warnings.warn(f"{name}: {changed}, so the runs will go on, but not with the same roundings.", stacklevel=4)

    def close(self) -> None:
        with self.held:
            self._flush()

    @property
    def most(self) -> int:
        """How many generations there are until the next snapshot."""
        return LIMIT if self.options.generations is None else max(1, self.options.generations - self.generations)

    def result(self, like: Any) -> Any:
        """The result of this part, if it is over. `like`: a pytree of what it looks like."""
        step = self.over.get(self.part)
        if step is None:
            return None
        name = str(self.part)
        return self._restored(self.finished, step, {name: like})[name]

    def snapshot(self, like: dict[str, Any]) -> dict[str, Any] | None:
        """The latest of this part, if there is one."""
        step = self.running.latest_step()
        if step is None or self._about(self.running, step)["part"] != self.part:
            return None
        return self._restored(self.running, step, like)

    def look(self, batch: Any, generations: int, ended: bool) -> None:
        """Saves what is due, after so many more generations."""
        self.generations += generations
        if self._due() or ended:
            look = batch.look
            about = {
                "generation": int(look.generation.max(initial=0)),
                "evaluations": int(look.spent.sum(dtype=np.int64)),
                "finished": float(np.mean(~look.active)),
                "best": float(look.fitness.min(initial=np.inf)),
            }
            self._save(batch.snapshot(), about)

    def finish(self, result: Any) -> None:
        """Remembers the result of this part, and saves it when that is due or nothing comes after it."""
        self.unsaved[str(self.part)] = result
        if self._due() or self.part == self.parts - 1:
            self._flush()
            self.generations, self.saved = 0, time.monotonic()

    def _due(self) -> bool:
        seconds, generations = self.options.seconds, self.options.generations
        due = seconds is not None and time.monotonic() - self.saved >= seconds
        return self.devices.agreed(due or (generations is not None and self.generations >= generations))

    def _save(self, snapshot: dict[str, Any], about: dict[str, Any]) -> None:
        self._flush()
        step = self.running.latest_step()
        self._write(self.running, 0 if step is None else step + 1, snapshot, about | {"part": self.part, "parts": self.parts})
        self.generations, self.saved = 0, time.monotonic()

    def _flush(self) -> None:
        if not self.unsaved:
            return
        parts = sorted(map(int, self.unsaved))
        if self._write(self.finished, parts[0], self.unsaved, {"parts": parts}):
            self.over |= dict.fromkeys(parts, parts[0])
            self.unsaved = {}

    def _write(self, manager: Any, step: int, trees: dict[str, Any], about: dict[str, Any]) -> bool:
        """Trees of arrays as one step; whole, or not at all, and False.

        What cannot be written, mostly because the disk is full, ends no run: it is tried again.
        """
        arrays = jax.tree.map(_local, {name: _arrays(tree) for name, tree in trees.items()})
        sums = {} if self.devices.several_processes else jax.tree.map(_sum, arrays)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        arguments = self.orbax.args.Composite(
            arrays=self.orbax.args.PyTreeSave({name: of for name, of in arrays.items() if of}),
            about=self.orbax.args.JsonSave({"saved": now, "sums": sums} | about),
        )
        try:
            manager.save(step, args=arguments, force=True)
            manager.wait_until_finished()
        except Exception as error:
            if self.devices.several_processes:  # the others wait
                raise
            for part in manager.directory.glob(f"{step}.*"):
                shutil.rmtree(part, ignore_errors=True)
            warnings.warn(
                f"{self.owner}(checkpoint=...): {manager.directory / str(step)} could not be written ({type(error).__name__}: "
                f"{str(error)[-200:]}). The runs go on, and it will be tried again; what was saved before is there.",
                RuntimeWarning,
                stacklevel=2,
            )
            return False
        return True

    def _about(self, manager: Any, step: int) -> dict[str, Any]:
        with self._understood(manager, step):
            return manager.restore(step, args=self.orbax.args.Composite(about=self.orbax.args.JsonRestore())).about

    def _restored(self, manager: Any, step: int, likes: dict[str, Any]) -> dict[str, Any]:
        """Trees that look like those given, but for lengths of axes."""
        shapes = {name: _arrays(like) for name, like in likes.items()}
        shapes = {name: of for name, of in shapes.items() if of}

        def how(shape):
            sharding = getattr(shape, "sharding", None)
            if sharding is None or not self.devices.several_processes:
                return self.orbax.RestoreArgs(restore_type=np.ndarray)
            return self.orbax.ArrayRestoreArgs(sharding=sharding, global_shape=shape.shape)

        with self._understood(manager, step):
            arguments = self.orbax.args.PyTreeRestore(shapes, restore_args=jax.tree.map(how, shapes), partial_restore=True)
            arrays = manager.restore(step, args=self.orbax.args.Composite(arrays=arguments)).arrays
            if not self.devices.several_processes:
                sums = self._about(manager, step)["sums"]
                wrong = [name for name in arrays if jax.tree.map(_sum, arrays[name]) != sums[name]]
                if wrong:
                    raise ValueError(f"the checksums of {', '.join(wrong)} are others")
        return {name: _tree(like, arrays.get(name, {})) for name, like in likes.items()}

    @contextlib.contextmanager
    def _understood(self, manager: Any, step: int) -> Iterator[None]:
        """Errors of what reads a step, as one that tells what to do."""
        try:
            yield
        except Damaged:
            raise
        except Exception as error:
            raise Damaged(
                f"{self.owner}(checkpoint=...): {manager.directory / str(step)} is damaged ({type(error).__name__}: "
                f"{str(error)[:200]}). Remove this folder: the runs then go on from the checkpoint before it, or anew."
            ) from error


@contextlib.contextmanager
def keeping(owner: str, checkpoint: Checkpoint | None, about: Any, devices: Devices) -> Iterator[Keeper | None]:
    """A `Keeper`, if there is to be one."""
    if checkpoint is None:
        yield None
        return
    keeper = Keeper(owner, checkpoint, about, devices)
    try:
        yield keeper
    finally:
        keeper.close()


class Damaged(ValueError):
    """A checkpoint that cannot be read."""


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `jaxes.json` of a folder says. ValueError if there is none, or of another version."""
    file = Path(path) / FILE
    if not file.is_file():
        raise ValueError(f"{path} holds no checkpoints of jaxes: it has no {FILE}.")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        format = found["format"]
        if format != FORMAT:
            raise Damaged(f"{file} has format {format}; this version of jaxes reads and writes {FORMAT}.")
        {**found["about"], **found["versions"]}
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, Damaged):
            raise
        raise Damaged(f"{file} is damaged or none of jaxes ({type(error).__name__}: {error}).") from None
    return found


def contents(path: str | os.PathLike[str]) -> dict[str, str]:
    """What a folder holds, in words."""
    found, folder = read(path), Path(os.path.abspath(path))
    about, versions = found["about"], {"jaxes": found["about"].get("jaxes"), **found["versions"]}
    said = {
        "begun with": " ".join(["jaxes", *found["command"]]) if found["command"] else "Python",
        "in": found["directory"],
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
    for name in ("strategy", "space's dtype", "objective.function", "objective.value.name", "runs", "generations", "over"):
        text = about.get(name, about.get(f"group 0: {name}", "None"))
        if text != "None":
            said[name.partition(".")[0]] = text

    def steps(name):
        """What was saved about each, the latest last."""
        numbered = sorted((int(step.name), step) for step in (folder / name).glob("*") if step.name.isdecimal())
        files = [step / "about" / "metadata" for _, step in numbered]
        return [json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()]

    over, under_way = {part for step in steps("finished") for part in step["parts"]}, steps("running")
    said["finished"] = f"{len(over)} part{'' if len(over) == 1 else 's'}"
    if under_way and under_way[-1]["part"] not in over:
        last = under_way[-1]
        maximised = "True" in (about.get("objective.maximise"), about.get("group 0: objective.maximise"))
        said["under way"] = (
            f"part {last['part'] + 1} of {last['parts']}, generation {last['generation']}, {last['evaluations']} evaluations, "
            f"{last['finished']:.0%} of its runs finished, best fitness {-last['best'] if maximised else last['best']:.6g}"
        )
        said["saved"] = f"{last['saved']}, {len(under_way)} kept"
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return said | {"on disk": f"{size / 1e6:.2f} MB"}


def as_checkpoint(owner: str, checkpoint: Any) -> Checkpoint | None:
    if checkpoint is None or isinstance(checkpoint, Checkpoint):
        return checkpoint
    if isinstance(checkpoint, str | os.PathLike):
        return Checkpoint(checkpoint)
    raise TypeError(f"{owner}(checkpoint=...) must be the path of a folder or a jaxes.Checkpoint, got {checkpoint!r}.")


def about_task(task: Task, axes: tuple[int | None, ...], keys: jax.Array, generations: int) -> dict[str, str]:
    """What a call is about, in words: where -> what. `axes`: which leaves of the task are a batch."""
    import jaxes

    objective = task.objective
    history = "0" if task.every is None else str(task.every)
    said = {"jaxes": jaxes.__version__, "generations": str(generations), "history": history, "runs": str(keys.shape[0])}
    said["random numbers"] = f"{jax.random.key_impl(keys)}, {PARTITIONABLE}={getattr(jax.config, PARTITIONABLE)}"
    for name, value in (
        ("space's dtype", task.strategy.space.dtype),
        ("strategy", task.strategy),
        ("objective", dataclasses.replace(objective, along=None)),
        ("args", task.args),
        ("stop", task.stop),
        ("targets", task.targets),
        ("record", task.record),
        ("keys", keys),
    ):
        said |= in_words(name, value)
    structure: Any
    leaves, structure = jax.tree.flatten(task)
    one = structure.unflatten([leaf if axis is None else leaf[0] for leaf, axis in zip(leaves, axes, strict=True)])
    return said | {"objective's program": _program(one)}


def _program(task: Task) -> str:
    """What the objective computes: two with one name may differ."""
    space = task.strategy.space
    x = jax.ShapeDtypeStruct((task.strategy.population_size, space.dimension), space.dtype)
    key = jax.eval_shape(lambda: jax.random.key(0))
    program = jax.make_jaxpr(lambda x, key: task.objective.measure(space, x, key, task.args))(x, key)
    constants = [_data(constant).tobytes() for constant in _constants(program)]
    return _digest(_without_addresses(str(program.jaxpr)).encode(), *constants)


def _constants(program: Any) -> Iterator[Any]:
    """The arrays in a jaxpr and in those inside it, which its text does not tell."""
    yield from getattr(program, "consts", ())
    for part in jax.tree.leaves([list(equation.params.values()) for equation in program.eqns]):
        if hasattr(part, "eqns"):
            yield from _constants(part)


def in_words(name: str, value: Any, around: tuple[int, ...] = ()) -> dict[str, str]:
    """A value in words, the same in every process. `around`: what it is a part of."""
    if value is None or isinstance(value, bool | int | float | complex | str | np.dtype | type):
        return {name: str(value)}
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        array = _data(value)
        what = f"{array.dtype.name}{list(array.shape)}"
        return {name: f"{what} {array.tolist()}" if array.size <= 8 else f"{what} {_digest(array.tobytes())}"}
    parts: dict[str, Any]
    if dataclasses.is_dataclass(value):
        parts = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif isinstance(value, Mapping):
        parts = {str(key): item for key, item in value.items()}
    elif isinstance(value, tuple | list):
        parts = {str(i): item for i, item in enumerate(value)}
    elif isinstance(value, set | frozenset):  # in the order of their words: they have another in every process
        parts = {str(i): item for i, item in enumerate(sorted(_without_addresses(repr(item)) for item in value))}
    elif isinstance(value, functools.partial):
        parts = {"function": value.func, "args": value.args, "keywords": value.keywords}
    elif callable(value) and hasattr(value, "__qualname__"):
        cells = []
        for cell in getattr(value, "__closure__", None) or ():
            with contextlib.suppress(ValueError):  # it is empty
                cells.append(cell.cell_contents)
        # Lists and dicts may be what the function notes down as it is called.
        parts = {f"closure {i}": type(cell) if isinstance(cell, MUTABLE) else cell for i, cell in enumerate(cells)}
    else:
        return {name: _without_addresses(repr(value))}
    said = {name: getattr(value, "__qualname__", type(value).__name__)}
    if id(value) in around:
        return said
    for part, item in parts.items():
        said |= in_words(f"{name}.{part}", item, (*around, id(value)))
    return said


def _without_addresses(text: str) -> str:
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def _differences(mine: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """In words, the first few."""
    names = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]
    shown = [f"{name} is {mine.get(name, 'nothing')} here and {theirs.get(name, 'nothing')} there" for name in names[:3]]
    return [*shown, f"and {len(names) - 3} more"] if len(names) > 3 else shown


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def _data(leaf: Any) -> np.ndarray:
    """An array, of a key too."""
    return np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)


def _arrays(tree: Any) -> dict[str, Any]:
    """Number of a leaf -> the array, or how it looks; what is empty has nothing to say."""
    found = {}
    for i, leaf in enumerate(jax.tree.leaves(tree)):
        if is_key(leaf):
            data = jax.random.key_data
            leaf = data(leaf) if isinstance(leaf, jax.Array) else jax.eval_shape(data, leaf)
        if leaf.size:
            found[f"{i:05d}"] = leaf
    return found


def _tree(like: Any, arrays: dict[str, Any]) -> Any:
    """The opposite of `_arrays`."""
    structure: Any
    leaves, structure = jax.tree.flatten(like)
    found = []
    for i, leaf in enumerate(leaves):
        array = arrays.get(f"{i:05d}")
        if array is None:
            array = np.zeros(leaf.shape, leaf.dtype)
        elif is_key(leaf):
            array = jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(jnp.empty((), leaf.dtype)))
        elif array.dtype != leaf.dtype:
            raise ValueError(f"dtype {array.dtype.name} where {leaf.dtype.name} was expected")
        found.append(array)
    return structure.unflatten(found)


def _local(leaf: Any) -> Any:
    """On the host, if this process has all of it."""
    return leaf if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable else np.asarray(leaf)


def _sum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def _locked(name: str, path: Path) -> Any:
    """A file that no other process may hold at the same time. The system lets go of it when this process ends, however."""
    file = path.open("a")
    try:
        import fcntl
    except ImportError:  # not on Windows
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ValueError(f"{name} is in use by another process.") from None
    except OSError as error:  # some network file systems
        warnings.warn(f"{name}: its file system has no locks ({error}), so see to it that no other run uses it.", stacklevel=6)
    return file
