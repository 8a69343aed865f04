"""Products of matrices, all in full precision, also where an accelerator would round to fewer bits."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
from jax import lax

BLOCKS, NARROWEST = 3, 32
"""Blocks, at most, that a triangular matrix is cut into, and how wide each of them is at least. Three leave a third of the
work out; narrower ones take longer than that saves."""


def mul(a: jax.Array, b: jax.Array) -> jax.Array:
    """The product of matrices, or of a vector and a matrix, as in `jnp.matmul`."""
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def mul_upper(a: jax.Array, upper: jax.Array) -> jax.Array:
    """(n, d) the product of a (n, d) and an upper triangular matrix (d, d), most of whose zeros are not read."""
    blocks = _blocks(len(upper))
    return jnp.concatenate([mul(a[:, :end], upper[:end, begin:end]) for begin, end in blocks], axis=1)


def outer(a: jax.Array, b: jax.Array) -> jax.Array:
    """(d, k) the sum of all a_i b_i^T, for rows of a (n, d) and b (n, k).

    XLA would not transpose a but ask for a product along the first axes, which on a CPU takes up to six times as long for a
    batch of small matrices: as a value of its own, the transpose stays.
    """
    return mul(lax.optimization_barrier(a.T), b)


def outer_upper(a: jax.Array, b: jax.Array) -> jax.Array:
    """(d, d) the upper triangle of `outer`, for rows of a and b (n, d). Of what is below, most is zero."""
    a = lax.optimization_barrier(a.T)
    blocks = _blocks(len(a))
    return jnp.concatenate([jnp.pad(mul(a[begin:end], b[:, begin:]), ((0, 0), (begin, 0))) for begin, end in blocks])


def diagonal(matrix: jax.Array) -> jax.Array:
    """(d,) the diagonal of a matrix (d, d): as a slice, which XLA compiles into what reads it; `jnp.diagonal` is a gather."""
    return matrix.reshape(-1)[:: matrix.shape[0] + 1]


def finite(matrix: jax.Array) -> jax.Array:
    """() whether all numbers of a matrix are finite: from the sums of its rows, a product of matrices, which are taken in a
    fraction of the time that looking at every number takes."""
    return jnp.isfinite(mul(matrix, jnp.ones_like(matrix[0]))).all()


def lengths(rows: jax.Array) -> jax.Array:
    """(...,) of vectors (..., d): the sum of squares as a product of matrices, which on a CPU takes half of the time."""
    return jnp.sqrt(mul(jnp.square(rows), jnp.ones_like(rows, shape=rows.shape[-1])))


def _blocks(d: int) -> list[tuple[int, int]]:
    """Where blocks of d columns begin and end: of about one width, a multiple of eight but for the last."""
    count = max(min(d // NARROWEST, BLOCKS), 1)
    ends = [0, *(8 * round(d * i / count / 8) for i in range(1, count)), d]
    return list(itertools.pairwise(ends))
