"""Populations of standard normal vectors, with less variance than independent ones have."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxes import random
from jaxes.bounds import normal

SAMPLINGS = ("independent", "mirrored", "orthogonal", "sobol")


def normal_vectors(key: jax.Array, count: int, d: int, dtype: jnp.dtype, sampling: str = "independent") -> jax.Array:
    """(count, d) vectors, each standard normal.

    Args:
        sampling: "independent"; "mirrored": the second half is minus the first (Brockhoff et al. 2010; the vector in the
            middle of an odd count has no mirror image); "orthogonal": up to d of them at right angles, with lengths as if
            independent (Wang et al. 2019); "sobol": a Sobol sequence, shifted at random as a whole (Cranley & Patterson
            1976; Teytaud & Gelly 2007), in at most 21,201 dimensions.
    """
    if sampling == "independent":
        return random.transformed(normal, key, (count, d), dtype)
    if sampling == "mirrored":
        half = normal_vectors(key, count - count // 2, d, dtype)
        # Not by `concatenate`, into both of whose operands XLA compiles all of what made the half.
        sign = jnp.asarray([1, -1], dtype)[:, None, None]
        return (sign * half[None]).reshape(-1, d)[:count]
    if sampling == "sobol":
        shift = random.uniform(key, (d,), dtype)
        u = jnp.asarray(_sobol(count, d), dtype) + shift[None, :]
        return normal(u - jnp.floor(u))
    z = normal_vectors(key, count, d, dtype)
    lengths = jnp.linalg.norm(z, axis=1, keepdims=True)
    groups = []
    for first in range(0, count, d):
        q, r = jnp.linalg.qr(z[first : first + d].T)
        groups.append((q * jnp.sign(jnp.diagonal(r))[None, :]).T)  # without the sign, q is not uniform
    return jnp.concatenate(groups) * lengths


@functools.cache
def _sobol(count: int, d: int) -> np.ndarray:
    """(count, d) the first points of the sequence."""
    from scipy.stats import qmc  # scipy always comes with jax

    return qmc.Sobol(d, scramble=False).random(1 << max(count - 1, 0).bit_length())[:count]
