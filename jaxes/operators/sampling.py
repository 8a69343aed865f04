"""Populations of standard normal or uniform vectors, with less variance than independent ones have."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxes import random
from jaxes.bounds import SQRT2, normal
from jaxes.checks import check_choice
from jaxes.operators.linalg import qr

SAMPLINGS = ("independent", "mirrored", "orthogonal", "sobol")

MOST_SOBOL = 21_201
"""Dimensions for which there are Sobol sequences."""


def check_sampling(owner: str, sampling: str, d: int) -> None:
    """Refuses what is none, or has no vectors of d dimensions."""
    check_choice(owner, "sampling", sampling, SAMPLINGS)
    if sampling == "sobol" and d > MOST_SOBOL:
        raise ValueError(f'{owner}(sampling="sobol") is for at most {MOST_SOBOL} variables, got {d}.')


def normal_vectors(
    key: jax.Array, count: int, d: int, dtype: jnp.dtype, sampling: str = "independent", in_pairs: bool = False
) -> jax.Array:
    """(count, d) vectors, each standard normal.

    Args:
        sampling: "independent"; "mirrored": the second half is minus the first (Brockhoff et al. 2010; the vector in the
            middle of an odd count has no mirror image); "orthogonal": up to d of them at right angles, with lengths as if
            independent (Wang et al. 2019); "sobol": a Sobol sequence, shifted at random as a whole (Cranley & Patterson
            1976; Teytaud & Gelly 2007), in at most `MOST_SOBOL` dimensions.
        in_pairs: whether a mirror image follows its vector: the first few of them are pairs, too.
    """
    if sampling == "independent":
        return random.vectors(normal, key, count, d, dtype)
    if sampling == "mirrored":
        return _mirrored(normal_vectors(key, count - count // 2, d, dtype), count, in_pairs)
    if sampling == "sobol":
        return normal(_sobol_vectors(key, count, d, dtype))
    size = min(count, d)
    groups = -(-count // size)
    z = normal_vectors(key, groups * size, d, dtype)
    q, r = jax.vmap(qr)(z.reshape(groups, size, d).transpose(0, 2, 1))
    turned = q * jnp.sign(jnp.diagonal(r, axis1=1, axis2=2))[:, None, :]  # without the sign, q is not uniform
    return (turned.transpose(0, 2, 1).reshape(-1, d) * jnp.linalg.norm(z, axis=1, keepdims=True))[:count]


def uniform_vectors(
    key: jax.Array, count: int, d: int, dtype: jnp.dtype, sampling: str = "independent", in_pairs: bool = False
) -> jax.Array:
    """(count, d) vectors, each uniform in [0, 1): those of which `normal` makes `normal_vectors` of that sampling, if not the
    same ones. A mirror image of u is 1 - u, which may be 1."""
    if sampling == "independent":
        return random.stored(key, (count, d), dtype)
    if sampling == "mirrored":
        return _mirrored(random.stored(key, (count - count // 2, d), dtype), count, in_pairs, 1)
    if sampling == "sobol":
        return _sobol_vectors(key, count, d, dtype)
    return (1 + lax.erf(normal_vectors(key, count, d, dtype, sampling) / SQRT2)) / 2


def _mirrored(half: jax.Array, count: int, in_pairs: bool, total: int = 0) -> jax.Array:
    """(count, d): vectors of the half (n, d), and their images, each of which adds up with its vector to `total`."""
    axis = 1 if in_pairs else 0
    # Not by `concatenate`, into both of whose operands XLA compiles all of what made the half.
    sign, offset = (jnp.expand_dims(jnp.asarray(pair, half.dtype), (1 - axis, 2)) for pair in ([1, -1], [0, total]))
    both = sign * jnp.expand_dims(half, axis)
    return (both + offset if total else both).reshape(-1, half.shape[1])[:count]


def _sobol_vectors(key: jax.Array, count: int, d: int, dtype: jnp.dtype) -> jax.Array:
    u = jnp.asarray(_sobol(count, d), dtype) + random.uniform(key, (d,), dtype)[None, :]
    return u - jnp.floor(u)


@functools.cache
def _sobol(count: int, d: int) -> np.ndarray:
    """(count, d) the first points of the sequence."""
    from scipy.stats import qmc  # scipy always comes with jax

    return qmc.Sobol(d, scramble=False).random(1 << max(count - 1, 0).bit_length())[:count]
