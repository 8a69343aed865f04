"""How rho of mu parents make one point, which is then mutated.

Parents are (mu, d), best first.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxes import random


def choose_parents(key: jax.Array, count: int, mu: int, rho: int) -> jax.Array:
    """`rho` distinct parents of `mu`, uniformly, for each of `count` children: indices (count, rho), in no order."""
    return lax.top_k(random.uniform(key, (count, mu), jnp.float32), rho)[1]


def membership(chosen: jax.Array, mu: int) -> jax.Array:
    """(count, mu) booleans: which parents a child has, from indices (count, rho)."""
    return (chosen[:, :, None] == jnp.arange(mu, dtype=chosen.dtype)[None, None, :]).any(1)


def equal_weights(rho: int) -> np.ndarray:
    """(rho,) weights of intermediate recombination."""
    return np.full(rho, 1 / rho)


def rank_weights(rho: int) -> np.ndarray:
    """(rho,) logarithmic weights, best first, summing to one: log(rho + 1/2) - log(rank).

    Source: Hansen (2016), arXiv:1604.00772, eq. (49), with rho for the number of weighted points.
    """
    weights = np.log(rho + 0.5) - np.log(np.arange(1, rho + 1))
    return weights / weights.sum()


def spread_weights(members: jax.Array, weights: np.ndarray, dtype) -> jax.Array:
    """(count, mu) weights that give a child's parents `weights` (rho,) in the order of their rank."""
    rank_among_chosen = jnp.cumsum(members, axis=1) - 1
    return jnp.where(members, jnp.asarray(weights, dtype)[rank_among_chosen], 0)


def discrete(key: jax.Array, parents: jax.Array, count: int, chosen: jax.Array | None) -> jax.Array:
    """(count, d): every coordinate from one of the child's parents, uniformly; of all parents if `chosen` is None."""
    mu, d = parents.shape
    rho = mu if chosen is None else chosen.shape[1]
    share = random.stored(key, (count, d), parents.dtype)  # its grid of 2**-23 makes some parents likelier by 1e-7 rho
    index = jnp.minimum((share * rho).astype(jnp.int32), rho - 1)
    if chosen is not None:
        index = jnp.take_along_axis(chosen, index, axis=1)
    return jnp.take_along_axis(parents, index, axis=0)
