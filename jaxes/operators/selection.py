"""Who survives."""

import jax
from jax import lax


def truncation(fitness: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """The `count` smallest of fitness (n,), best first: their values (count,) and indices (count,). Ties: lower index.

    Linear in n: XLA keeps its fast TopK as long as nobody slices the values, hence their negation comes first.
    """
    negated, order = lax.top_k(-fitness, count)
    return -negated, order
