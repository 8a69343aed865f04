"""Exponentials of small matrices by products alone, which batches and accelerators do well, instead of eigendecompositions."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax

DEGREE = 8


def expm(x: jax.Array, bound: float) -> jax.Array:
    """The matrix exponential of x (n, n), exact to rounding where the eigenvalues of a symmetric x are within the bound."""
    return jnp.eye(x.shape[0], dtype=x.dtype) + _mul(x, phi(x, bound))


def phi(x: jax.Array, bound: float) -> jax.Array:
    """(exp(x) - 1) / x of x (n, n), whose eigenvalues lie within a bound: the mean of exp(t x) over t from 0 to 1.

    exp(U V) is 1 + U phi(V U) V: the exponential of a matrix of low rank by that of a small one.

    By the Taylor polynomial of degree 8 of x / 2**s, in four products (Paterson & Stockmeyer 1973), and s times two for
    phi(2 x) = phi(x) + x phi(x)**2 / 2. The number s follows from the bound and the dtype alone: 2 in single precision and 5
    in double for a bound of 2.
    """
    eps = float(jnp.finfo(x.dtype).eps) / 2
    reach = (eps * math.factorial(DEGREE + 2)) ** (1 / (DEGREE + 1))  # the first term left out is one rounding
    doublings = max(0, math.ceil(math.log2(bound / reach)))
    x = x / 2**doublings
    one, square = jnp.eye(x.shape[0], dtype=x.dtype), _mul(x, x)
    cube = _mul(square, x)
    c = [1 / math.factorial(k + 1) for k in range(DEGREE + 1)]
    total = c[6] * one + c[7] * x + c[8] * square
    for k in (3, 0):
        total = _mul(cube, total) + c[k] * one + c[k + 1] * x + c[k + 2] * square
    for k in range(doublings):
        total = total + 2**k / 2 * _mul(_mul(x, total), total)
    return total


def _mul(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
