"""Factorizations and systems of equations, of which any number may go on at a time.

On a CPU, jaxlib 0.10 and 0.11.0 share the matrices of a large batch among XLA's threads, and wait for that on one of these
threads. When as many batches go on as there are threads, in one program, on several devices or in several of Python's threads,
all of them wait, for ever. So a batch is cut here into parts that are too small to be shared. (Later versions share none: they
found that it gained nothing.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

SHARED = 200_000
"""Operations, as jaxlib counts them, from which on it shares a batch."""
AT_ONCE = 8
"""Parts, up to which they may go on at the same time: each has a place of its own in the program. More take turns."""


def cholesky(matrix: jax.Array) -> jax.Array:
    """(d, d) the lower triangular root of a symmetric matrix, of which the upper triangle is read; NaN where there is none."""
    # LAPACK reads columns: to it, the rows of an upper triangle are those of a lower one, and nothing is copied.
    return _in_parts(lambda a: lax.linalg.cholesky(a.T, symmetrize_input=False), len(matrix) ** 3 // 3)(matrix)


def solve_triangular(matrix: jax.Array, b: jax.Array, lower: bool = False, transposed: bool = False) -> jax.Array:
    """The x (d,) or (d, k) with matrix @ x = b, or with its transpose, for a triangular matrix (d, d)."""

    def solved(matrix, b):
        return jax.scipy.linalg.solve_triangular(matrix, b, lower=lower, trans=int(transposed))

    return _in_parts(solved, len(matrix) * b.size)(matrix, b)


def solve(matrix: jax.Array, b: jax.Array) -> jax.Array:
    """(d, k) the x with matrix @ x = b, for any matrix (d, d)."""
    return _in_parts(jnp.linalg.solve, len(matrix) * max(b.size, matrix.size))(matrix, b)


def log_determinant(matrix: jax.Array) -> jax.Array:
    """() the logarithm of the determinant's size, of a matrix (d, d)."""
    return _in_parts(lambda a: jnp.linalg.slogdet(a)[1], len(matrix) ** 3)(matrix)


def eigh(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(d,) the eigenvalues, ascending, and (d, d) the eigenvectors, in columns, of a symmetric matrix, of which the upper
    triangle is read."""
    return _in_parts(lambda a: tuple(jnp.linalg.eigh(a.T, symmetrize_input=False)), 5 * len(matrix) ** 3)(matrix)


def qr(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(d, k) and (k, k), with k <= d: orthonormal columns, and the triangular matrix that makes a matrix (d, k) of them."""
    return _in_parts(lambda a: tuple(jnp.linalg.qr(a)), 4 * matrix.size * matrix.shape[1])(matrix)


def _in_parts(function: Callable[..., Any], operations: int) -> Callable[..., Any]:
    """A function of one lane's arrays that maps in parts over the lanes of a batch."""
    part = -(-SHARED // max(operations, 1))

    @jax.custom_batching.custom_vmap
    def each(*arrays):
        if len(arrays[0]) <= part:
            return jax.vmap(function)(*arrays)
        return lax.platform_dependent(*arrays, cpu=in_parts, default=jax.vmap(function))

    def in_parts(*arrays):
        lanes = len(arrays[0])
        if lanes > AT_ONCE * part:
            return lax.map(lambda lane: function(*lane), arrays, batch_size=part)
        parts = [jax.vmap(function)(*(a[i : i + part] for a in arrays)) for i in range(0, lanes, part)]
        return jax.tree.map(lambda *a: jnp.concatenate(a), *parts)

    @each.def_vmap
    def _(lanes, batched, *arrays):
        whole = (a if b else jnp.broadcast_to(a, (lanes, *a.shape)) for a, b in zip(arrays, batched, strict=True))
        result = each(*(a.reshape(-1, *a.shape[2:]) for a in whole))
        result = jax.tree.map(lambda a: a.reshape(lanes, -1, *a.shape[1:]), result)
        return result, jax.tree.map(lambda _: True, result)

    return lambda *arrays: jax.tree.map(lambda a: a[0], each(*(a[None] for a in arrays)))
