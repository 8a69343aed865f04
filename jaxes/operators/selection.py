"""Who survives."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

COMPARED = 256
"""Population up to which ranks are counted by comparing all with all."""


def truncation(fitness: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """The `count` smallest of fitness (n,), best first: their values (count,) and indices (count,). Ties: lower index.

    Linear in n: XLA keeps its fast TopK as long as nobody slices the values, hence their negation comes first.
    """
    negated, order = lax.top_k(-fitness, count)
    return -negated, order


def ranks(fitness: jax.Array) -> jax.Array:
    """(n,) int32, 0 for the best of fitness (n,). Ties: lower index first.

    By comparing all with all where that is cheaper than a sort, which XLA does not vectorise. See `_number`.
    """
    n = fitness.shape[0]
    if n > COMPARED:
        return jnp.zeros(n, jnp.int32).at[jnp.argsort(fitness)].set(jnp.arange(n, dtype=jnp.int32))
    mine, other = fitness[None, :], fitness[:, None]
    # A constant: what is computed from indices, XLA takes out of loops before it sees that ranks are computed more than once.
    lower_index = ~np.tri(n, dtype=bool)
    return _number((other < mine) | ((other == mine) & lower_index))


def counts(fitness: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(n,) int32 each: how many of fitness (n,) are less than this one, and how many are equal to it, itself included."""
    n = fitness.shape[0]
    if n > COMPARED:
        order = jnp.sort(fitness)
        less, most = (jnp.searchsorted(order, fitness, side).astype(jnp.int32) for side in ("left", "right"))
        return less, most - less
    mine, other = fitness[None, :], fitness[:, None]
    return _number(other < mine), _number(other == mine)


def _number(true: jax.Array) -> jax.Array:
    """(n,) int32 how many of each column of (n, n) are true.

    Along columns, and in bytes where they hold it: what a CPU sums for many at once, and the least that XLA may store.
    """
    return jnp.sum(true, axis=0, dtype=jnp.uint8 if len(true) < 256 else jnp.uint16).astype(jnp.int32)
