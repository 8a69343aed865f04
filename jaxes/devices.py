"""Several devices, of one process or more: what they share, and how the host sees it.

Devices share the runs of a batch, or the candidates of each run's population. In both cases every device runs the whole program
of its own (`jax.shard_map`): with runs to share they never talk to each other; with a population, each evaluates a part of it,
all get all of the fitness, and all learn the same from it. Islands are shared by XLA, which sees that each works for itself
until individuals move.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxes.checks import check_integer
from jaxes.random import is_key

Sharing = Literal["runs", "population", "islands"]

NAME = "jaxes_devices"
"""Of the axis of a mesh that is made here."""


@dataclasses.dataclass(frozen=True)
class Devices:
    """Which devices there are, and what they share; no mesh: wherever JAX puts things by default."""

    mesh: Mesh | None = None
    sharing: Sharing = "runs"

    @property
    def shares(self) -> int:
        """Among how many the runs are shared."""
        return self.mesh.size if self.mesh is not None and self.sharing == "runs" else 1

    @property
    def names(self) -> tuple[str, ...] | None:
        """Of the mesh's axes, if a population is shared along them."""
        return tuple(self.mesh.axis_names) if self.mesh is not None and self.sharing == "population" else None

    @property
    def several_processes(self) -> bool:
        return self.mesh is not None and self.mesh.is_multi_process

    def spec(self, axis: int | None) -> PartitionSpec:
        """How an array is shared of which `axis` is that of the runs, None if it has none."""
        if self.mesh is None or axis is None or self.sharing != "runs":
            return PartitionSpec()
        return PartitionSpec(*[None] * axis, tuple(self.mesh.axis_names))

    def sharding(self, axis: int | None) -> NamedSharding | None:
        return None if self.mesh is None else NamedSharding(self.mesh, self.spec(axis))

    def mapped(self, function: Callable, ins: Any, outs: Any) -> Callable:
        """A function of one device's runs as one of all runs. `ins` and `outs`: the axis of the runs of each argument and
        result, None for what all devices have alike; prefixes of the pytrees."""
        if self.mesh is None or self.sharing == "islands":
            return function
        specs = [jax.tree.map(self.spec, axes, is_leaf=lambda axis: axis is None) for axes in (ins, outs)]
        return jax.shard_map(function, mesh=self.mesh, in_specs=specs[0], out_specs=specs[1], check_vma=False)

    def gathered(self, tree: Any) -> Any:
        """Inside of what is `mapped`: arrays of one device's runs (leading axis) as those of all runs."""
        if self.mesh is None or self.shares == 1:
            return tree
        names = tuple(self.mesh.axis_names)
        return jax.tree.map(lambda leaf: lax.all_gather(leaf, names, tiled=True), tree)

    def place(self, tree: Any, axes: Any) -> Any:
        """Arrays, on the devices. Every process has all of them."""
        if self.mesh is None:
            return tree

        def put(axis, leaf):
            if not is_key(leaf):
                return jax.device_put(np.asarray(leaf), self.sharding(axis))
            data = jax.device_put(np.asarray(jax.random.key_data(leaf)), self.sharding(axis))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))

        return jax.tree.map(
            lambda axis, part: jax.tree.map(lambda leaf: put(axis, leaf), part), axes, tree, is_leaf=lambda axis: axis is None
        )

    def meet(self, where: str) -> None:
        """Waits for all processes."""
        if self.several_processes:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices(where)

    def placed(self, tree: Any, axis: int | None) -> Any:
        """What arrays look like after `place`."""
        sharding = self.sharding(axis)
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)

    def agreed(self, value: Any) -> Any:
        """What the first process says, for the numbers that depend on clocks and signals: all must do the same."""
        if not self.several_processes:
            return value
        from jax.experimental import multihost_utils

        return type(value)(multihost_utils.broadcast_one_to_all(np.asarray(value)))


def fetched(leaf: Any) -> Any:
    """An array as a NumPy array, in every process; keys stay keys."""
    if is_key(leaf):
        if leaf.is_fully_addressable:
            return leaf
        return jax.random.wrap_key_data(fetched(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
    if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated:
        return np.asarray(leaf)
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))


def shared_evaluation(names: tuple[str, ...], measure: Callable[[Any], jax.Array], candidates: Any, count: int) -> jax.Array:
    """(count,) `measure` of candidates (a pytree with a leading axis), a part of them on each device."""
    shares = lax.axis_size(names)
    each = -(-count // shares)
    index = lax.axis_index(names) * each + jnp.arange(each, dtype=jnp.int32)
    # What makes up the last share is evaluated for nothing.
    mine = jax.tree.map(lambda leaf: leaf[jnp.minimum(index, count - 1)], candidates)
    return lax.all_gather(measure(mine), names, tiled=True)[:count]


def as_devices(owner: str, devices: Any, sharing: Sharing) -> Devices:
    """`devices`: None, how many, a sequence of them, or a mesh, whose axes are all used."""
    if devices is None:
        return Devices()
    if isinstance(devices, Mesh):
        return Devices(devices, sharing)
    if isinstance(devices, Sequence | np.ndarray) and not isinstance(devices, str):
        chosen = list(np.asarray(devices, object).ravel())
        if not chosen or not all(isinstance(device, jax.Device) for device in chosen):
            raise TypeError(f"{owner}(devices=...) must be devices such as jax.devices(), got {devices!r}.")
        if len(set(chosen)) < len(chosen):
            raise ValueError(f"{owner}(devices=...) must be different devices, got {devices!r}.")
    elif isinstance(devices, int | np.integer) and not isinstance(devices, bool):
        there_are = jax.local_devices()
        count = check_integer(owner, "devices", devices, at_least=1)
        if count > len(there_are):
            raise ValueError(f"{owner}(devices=...) must be at most the {len(there_are)} of this process, got {count}.")
        chosen = there_are[:count]
    else:
        raise TypeError(f"{owner}(devices=...) must be how many, a list of devices, or a jax.sharding.Mesh, got {devices!r}.")
    return Devices(Mesh(np.array(chosen), (NAME,)), sharing)


def memory_limit(owner: str, max_memory: Any, devices: Devices) -> tuple[int, bool]:
    """Bytes that may be taken on one device, `max_memory` or a fraction (up to 1) of what there is; and whether that is in main
    memory."""
    fraction = 0.8 if max_memory is None else max_memory
    if isinstance(fraction, bool) or not isinstance(fraction, int | float | np.number):
        raise TypeError(f"{owner}(max_memory=...) must be a number of bytes, or a fraction up to 1, got {max_memory!r}.")
    if not fraction > 0:
        raise ValueError(f"{owner}(max_memory=...) must be positive, got {max_memory!r}.")
    mine = jax.local_devices()[:1] if devices.mesh is None else devices.mesh.local_mesh.devices.ravel()
    reported = [device.memory_stats() for device in mine]
    main = not all(reported)
    if fraction > 1:
        return int(min(fraction, 2**63)), main
    if main:
        return int(fraction * _main_memory() / len(mine)), main
    return int(fraction * min(stats["bytes_limit"] for stats in reported)), main


def _main_memory() -> int:
    """Bytes of main memory that this process may have: the machine's, or its control group's."""
    try:
        most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return 8 * 2**30
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            most = min(most, int(pathlib.Path(limit).read_text()))
    return most
