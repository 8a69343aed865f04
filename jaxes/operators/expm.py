"""Exponentials of small matrices by products alone, which batches and accelerators do well, instead of eigendecompositions."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jaxes.operators.matrix import mul

DEGREE = 9


def expm(x: jax.Array, bound: float) -> tuple[jax.Array, jax.Array]:
    """The matrix exponentials of x (n, n) and of -x, exact to rounding where x is symmetric and its eigenvalues are within the
    bound."""
    sinh, cosh, square = _halves(x, bound)
    even, odd = jnp.eye(x.shape[0], dtype=x.dtype) + mul(square, cosh), mul(x, sinh)
    return even + odd, even - odd


def phi(x: jax.Array, bound: float) -> tuple[jax.Array, jax.Array]:
    """(exp(x) - 1) / x of x (n, n), whose eigenvalues lie within a bound, and of -x: the mean of exp(t x) over t from 0 to 1.

    exp(U V) is 1 + U phi(V U) V: the exponential of a matrix of low rank by that of a small one.
    """
    even, cosh, _ = _halves(x, bound)
    odd = mul(x, cosh)
    return even + odd, even - odd


def _halves(x: jax.Array, bound: float) -> tuple[jax.Array, jax.Array, jax.Array]:
    """sinh(x) / x, (cosh(x) - 1) / x**2 and x**2, of which exponentials of both x and -x are made.

    By the Taylor polynomials of exp(x / 2**s) up to degree 9, and s times two: S(2 x) = S + S x**2 C and C(2 x) = S**2 / 2. The
    number s follows from the bound and the dtype alone: 1 in single precision and 4 in double for a bound of 2.
    """
    eps = float(jnp.finfo(x.dtype).eps) / 2
    reach = (eps * math.factorial(DEGREE + 2)) ** (1 / (DEGREE + 1))  # the first term left out is one rounding
    doublings = max(0, math.ceil(math.log2(bound / reach)))
    x = x / 2**doublings
    one, square = jnp.eye(x.shape[0], dtype=x.dtype), mul(x, x)
    fourth = mul(square, square)
    c = [1 / math.factorial(k) for k in range(DEGREE + 2)]
    sinh = c[1] * one + c[3] * square + mul(fourth, c[5] * one + c[7] * square + c[9] * fourth)
    cosh = c[2] * one + c[4] * square + mul(fourth, c[6] * one + c[8] * square + c[10] * fourth)
    for _ in range(doublings):
        sinh, cosh, square = sinh + mul(sinh, mul(square, cosh)), mul(sinh, sinh) / 2, 4 * square
    return sinh, cosh, square
