"""Branches and loops that a batch takes together.

`jax.vmap` turns a branch into both of its sides, and keeps what every loop carries twice, to choose from for each lane. A
batch that asks whether any of its lanes wants to go on can jump, and nothing is chosen but what the lanes choose themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from jaxes.pytree import where

T = TypeVar("T")


@jax.custom_batching.custom_vmap
def any_lane(flag: jax.Array) -> jax.Array:
    """() whether `flag` () is true; under `jax.vmap`, whether it is true for any of the lanes: one answer for all."""
    return flag


@any_lane.def_vmap
def _(axis_size, in_batched, flag):
    return any_lane(jnp.any(flag, axis=0)), False


def each_lane(function: Callable[..., Any], axes: Sequence[int | None]) -> Callable[..., Any]:
    """`jax.vmap(function, axes)`, for arguments of any structure; a batch of one is taken as what it is."""

    def of_all(*arguments):
        batched = [argument for argument, axis in zip(arguments, axes, strict=True) if axis == 0]
        if jax.tree.leaves(batched)[0].shape[0] == 1:
            return one_lane(function, axes, 0)(*arguments)
        return jax.vmap(function, tuple(axes))(*arguments)

    return of_all


def one_lane(function: Callable[..., Any], axes: Sequence[int | None], results: Any) -> Callable[..., Any]:
    """`jax.vmap(function, axes, results)` for a batch of one: nothing of it carries an axis of the batch along, which takes
    less time to trace, to compile and to run, and branches are taken as they come."""

    def of_one(*arguments):
        alone = (_each(_squeezed, argument, axis) for argument, axis in zip(arguments, axes, strict=True))
        result = function(*alone)
        if isinstance(results, tuple):
            return tuple(_each(jnp.expand_dims, item, axis) for item, axis in zip(result, results, strict=True))
        return _each(jnp.expand_dims, result, results)

    return of_one


def _squeezed(leaf: jax.Array, axis: int) -> jax.Array:
    return lax.squeeze(leaf, (axis,))  # without a program of its own, which `jnp.squeeze` would trace for each leaf


def _each(change: Callable[..., jax.Array], tree: Any, axis: int | None) -> Any:
    return tree if axis is None else jax.tree.map(lambda leaf: change(leaf, axis), tree)


def where_due(due: jax.Array, function: Callable[[T], T], value: T) -> T:
    """`function(value)` where `due` () is true, else `value`. Costs nothing if it is due in no lane of a batch."""
    return lax.cond(any_lane(due), lambda value: where(_where_taken(due), function(value), value), lambda value: value, value)


@jax.custom_batching.custom_vmap
def _where_taken(due: jax.Array) -> jax.Array:
    """() whether `due` () is true, in a branch that is taken since it is: without other lanes it is, for XLA to know."""
    return jnp.ones_like(due)


@_where_taken.def_vmap
def _(axis_size, in_batched, due):
    return due, True


def apart(function: Callable[[], T], due: jax.Array | bool = True, otherwise: Callable[[], T] | None = None) -> T:
    """`function()`, as arrays that lie in memory on a CPU.

    XLA would melt it into all that reads them, and compute it again in each. A branch stays apart; a barrier would not.
    Where it comes to the same as `otherwise()` unless `due` (), which costs less, a CPU takes that while it is due in no lane.
    """

    function = jax.jit(function, inline=True)  # traced once, not for every place where it stands below

    def in_memory() -> T:
        flag = lax.optimization_barrier(any_lane(jnp.asarray(due)))  # for the compiler, it might be false
        return lax.cond(flag, function, otherwise or (lambda: jax.tree.map(jnp.zeros_like, jax.eval_shape(function))))

    return lax.platform_dependent(cpu=in_memory, default=function)
