"""The random numbers of `jax.random`, bit for bit, several times faster on CPU.

JAX hashes counters with Threefry-2x32 in a rolled loop there, which XLA cannot fuse: every round reads and writes memory.
Unrolled, the hash melts into what consumes it. The numbers are JAX's own (with its default partitionable threefry), but for
those of `vectors`, which makes two of every hash; for other kinds of keys these functions are `jax.random`'s.

Reference: Salmon et al. (2011), Parallel random numbers: as easy as 1, 2, 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxes.branch import apart

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARTITIONABLE = "jax_threefry_partitionable"
_PARITY = np.uint32(0x1BD11BDA)


def fold_in(key: jax.Array, data: jax.Array | int, purpose: int = 0) -> jax.Array:
    """A key for each pair of `data` and `purpose` (both in 0 to 2**31 - 1); with purpose 0, `jax.random.fold_in`."""
    if not _is_threefry(key):
        return jax.random.fold_in(jax.random.fold_in(key, data), purpose)
    words = _threefry(key, jnp.uint32(purpose), jnp.asarray(data).astype(jnp.uint32))
    # Without the barrier the hash of the key is compiled again into everything that is drawn from it.
    return jax.random.wrap_key_data(lax.optimization_barrier(jnp.stack(words)), impl="threefry2x32")


def uniform(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """`jax.random.uniform(key, shape, dtype)`: multiples of the dtype's eps in [0, 1)."""
    size, dtype = math.prod(shape), np.dtype(dtype)
    if not _is_threefry(key) or dtype not in (np.float32, np.float64) or size >= 2**32:
        return jax.random.uniform(key, shape, dtype)
    return _uniform(key, lax.iota(jnp.uint32, size), dtype).reshape(shape)


def transformed(function: Callable[[jax.Array], jax.Array], key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """`function(uniform(key, shape, dtype))` for a function of each element alone, as numbers that lie in memory.

    On a CPU, XLA melts the hash into what consumes it, and computes parts of it anew there, or along rows that are too short
    for vector instructions. That takes up to five times as long as a branch, which stays apart; a barrier would not, nor would
    a loop that fills the array in pieces use more than one core.
    """
    size, dtype = math.prod(shape), np.dtype(dtype)
    if not _is_threefry(key) or dtype not in (np.float32, np.float64) or size >= 2**32:
        return function(uniform(key, shape, dtype))

    def flat():
        return function(_uniform(key, lax.iota(jnp.uint32, size), dtype))

    return apart(flat).reshape(shape)


def vectors(function: Callable[[jax.Array], jax.Array], key: jax.Array, count: int, d: int, dtype: Any) -> jax.Array:
    """(count, d) `function(u)` of uniform u, multiples of the dtype's eps in [0, 1), as numbers that lie in memory.

    A hash gives 64 bits. JAX makes one number of them; in single precision, these are two, which takes three quarters of the
    time. The first rows are the same whatever the count.
    """
    half, dtype = -(-d // 2), np.dtype(dtype)
    if not _is_threefry(key) or dtype != np.float32 or count * half >= 2**32:
        return transformed(function, key, (count, d), dtype)

    def pairs():
        counters = lax.iota(jnp.uint32, count * half)
        # As one array of complex numbers: XLA would hash twice for two arrays.
        return lax.complex(*(function(_unit(word, dtype)) for word in _threefry(key, jnp.zeros_like(counters), counters)))

    z = apart(pairs).reshape(count, half)
    return jnp.concatenate([lax.real(z), lax.imag(z)], axis=1)[:, :d]


def stored(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """`uniform(key, shape, dtype)` that lies in memory: for a number of each coordinate of all candidates."""
    return transformed(lambda u: u, key, shape, dtype)


def _uniform(key: jax.Array, count: jax.Array, dtype: np.dtype) -> jax.Array:
    """(n,) of the counters (n,)."""
    high, low = _threefry(key, jnp.zeros_like(count), count)
    if dtype == np.float32:
        bits = high ^ low
    else:
        bits = (high.astype(jnp.uint64) << np.uint64(32)) | low.astype(jnp.uint64)
    return _unit(bits, dtype)


def _unit(bits: jax.Array, dtype: np.dtype) -> jax.Array:
    """Uniform numbers in [0, 1) from random bits: those of the mantissa make a number in [1, 2)."""
    one, mantissa = np.ones((), dtype), np.finfo(dtype).nmant
    shift = bits.dtype.type(8 * dtype.itemsize - mantissa)
    unit = (bits >> shift) | one.view(bits.dtype)
    return lax.bitcast_convert_type(unit, dtype) - one


def is_key(leaf: Any) -> bool:
    """Whether an array, or what looks like one, is one of keys."""
    return jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key)


def _is_threefry(key: jax.Array) -> bool:
    return str(jax.random.key_impl(key)) == "threefry2x32" and getattr(jax.config, PARTITIONABLE)


@jax.jit  # traced once for counters of a shape, which otherwise takes longer than compiling it
def _threefry(key: jax.Array, x0: jax.Array, x1: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The 20 rounds of Threefry-2x32 on a pair of counters of any shape."""
    k0, k1 = jax.random.key_data(key)
    keys = (k0, k1, k0 ^ k1 ^ _PARITY)
    x0, x1 = x0 + keys[0], x1 + keys[1]
    for i in range(5):
        for rotation in _ROTATIONS[i % 2]:
            x0 = x0 + x1
            x1 = x0 ^ ((x1 << np.uint32(rotation)) | (x1 >> np.uint32(32 - rotation)))
        x0, x1 = x0 + keys[(i + 1) % 3], x1 + keys[(i + 2) % 3] + np.uint32(i + 1)
    return x0, x1
