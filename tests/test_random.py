"""Bit for bit the numbers of jax.random, or both words of its hashes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxes import random


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (2, 3, 4)])
def test_uniform_is_jax_random_uniform(seed, shape):
    key = jax.random.key(seed)
    np.testing.assert_array_equal(random.uniform(key, shape, jnp.float32), jax.random.uniform(key, shape))


def test_uniform_in_double_precision(x64):
    key = jax.random.key(3)
    for dtype in (jnp.float32, jnp.float64):
        np.testing.assert_array_equal(random.uniform(key, (9,), dtype), jax.random.uniform(key, (9,), dtype))


def test_transformed_is_of_the_same_numbers(x64):
    key = jax.random.key(7)
    for dtype in (jnp.float32, jnp.float64):
        for shape in ((1,), (3, 5), (2, 4)):
            expected = -random.uniform(key, shape, dtype)
            np.testing.assert_array_equal(random.transformed(jnp.negative, key, shape, dtype), expected)
            batch = jax.jit(jax.vmap(lambda k, s=shape, t=dtype: random.transformed(jnp.negative, k, s, t)))
            np.testing.assert_array_equal(batch(key[None])[0], expected)


@pytest.mark.parametrize("d", [1, 4, 5])
def test_vectors_are_of_both_words_of_a_hash(d, x64):
    """In single precision: those that JAX makes 64 random bits of. The first rows are the same whatever the count."""
    key, half = jax.random.key(7), -(-d // 2)
    bits = np.asarray(jax.random.bits(key, (6, half), jnp.uint64))
    words = np.concatenate([bits >> 32, bits & 0xFFFFFFFF], axis=1)[:, :d]
    z = random.vectors(jnp.negative, key, 6, d, jnp.float32)
    assert z.dtype == jnp.float32
    np.testing.assert_array_equal(z, -((words >> 9) / 2.0**23))
    np.testing.assert_array_equal(random.vectors(jnp.negative, key, 4, d, jnp.float32), z[:4])
    batch = jax.jit(jax.vmap(lambda key: random.vectors(jnp.negative, key, 6, d, jnp.float32)))
    np.testing.assert_array_equal(batch(key[None])[0], z)
    in_double = random.vectors(jnp.negative, key, 6, d, jnp.float64)
    np.testing.assert_array_equal(in_double, -jax.random.uniform(key, (6, d)))
    other = jax.random.key(7, impl="rbg")
    np.testing.assert_array_equal(
        random.vectors(jnp.negative, other, 6, d, jnp.float32), -jax.random.uniform(other, (6, d), jnp.float32)
    )


def test_fold_in_is_jax_random_fold_in():
    key = jax.random.key(5)
    for data in (0, 1, 77, 2**31 - 1):
        expected = jax.random.key_data(jax.random.fold_in(key, data))
        np.testing.assert_array_equal(jax.random.key_data(random.fold_in(key, data)), expected)
        np.testing.assert_array_equal(jax.random.key_data(jax.jit(random.fold_in)(key, jnp.int32(data))), expected)


def test_no_two_purposes_share_a_key():
    keys = jax.vmap(lambda g: jnp.stack([jax.random.key_data(random.fold_in(jax.random.key(0), g, p)) for p in range(8)]))
    data = np.asarray(keys(jnp.arange(500))).reshape(-1, 2)
    assert len(np.unique(data, axis=0)) == 4000


@pytest.mark.parametrize("kind", ["rbg", "unsafe_rbg"])
def test_other_kinds_of_keys_are_left_to_jax(kind):
    key = jax.random.key(0, impl=kind)
    np.testing.assert_array_equal(random.uniform(key, (5,), jnp.float32), jax.random.uniform(key, (5,)))
    a, b = random.fold_in(key, 3, 1), random.fold_in(key, 3, 2)
    assert not np.array_equal(jax.random.key_data(a), jax.random.key_data(b))


def test_old_threefry_is_left_to_jax():
    key = jax.random.key(0)
    with jax.threefry_partitionable(False):
        np.testing.assert_array_equal(random.uniform(key, (5,), jnp.float32), jax.random.uniform(key, (5,)))
