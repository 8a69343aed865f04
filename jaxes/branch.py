"""Branches and loops that a batch takes together.

`jax.vmap` turns a branch into both of its sides, and keeps what every loop carries twice, to choose from for each lane. A
batch that asks whether any of its lanes wants to go on can jump, and nothing is chosen but what the lanes choose themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

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


def where_due(due: jax.Array, function: Callable[[T], T], value: T) -> T:
    """`function(value)` where `due` () is true, else `value`. Costs nothing if it is due in no lane of a batch."""
    return lax.cond(any_lane(due), lambda value: where(due, function(value), value), lambda value: value, value)
