"""Populations that are not independent: each vector is as if it were, and together they are what their name says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxes.bounds import normal
from jaxes.operators.sampling import SAMPLINGS, normal_vectors, uniform_vectors

pytestmark = pytest.mark.quick


def many(function, sampling, count=7, d=3, n=2000, **options):
    """(n, count, d) populations."""
    keys = jax.random.split(jax.random.key(0), n)
    return np.asarray(jax.jit(jax.vmap(lambda key: function(key, count, d, jnp.float32, sampling, **options)))(keys))


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize(("function", "cdf"), [(normal_vectors, stats.norm.cdf), (uniform_vectors, stats.uniform.cdf)])
def test_each_vector_is_as_if_alone(function, cdf, sampling):
    """The first and the last row, every coordinate, their correlation: 14 tests of each kind, false alarms below 1e-3."""
    x = many(function, sampling)
    assert np.isfinite(x).all()
    for row in (0, -1):
        for i in range(3):
            assert stats.kstest(x[:, row, i], cdf).pvalue > 1e-4
        np.testing.assert_allclose(np.corrcoef(x[:, row].T)[np.triu_indices(3, 1)], 0, atol=4.5 / 2000**0.5)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_normal_vectors_are_made_of_uniform_ones(sampling):
    """Of a distribution of their own: correlations between rows are the same."""
    of_uniform = np.asarray(normal(jnp.asarray(many(uniform_vectors, sampling))))
    direct = many(normal_vectors, sampling)
    rows = (np.corrcoef(x[:, :, 0].T) for x in (of_uniform, direct))
    np.testing.assert_allclose(*rows, atol=6 / 2000**0.5)


@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_mirror_images(count):
    half = count // 2
    z, u = (many(function, "mirrored", count)[0] for function in (normal_vectors, uniform_vectors))
    images = slice(count - half, None)
    np.testing.assert_array_equal(z[images], -z[:half])
    np.testing.assert_array_equal(u[images], 1 - u[:half])
    pairs = many(normal_vectors, "mirrored", count, in_pairs=True)[0]
    np.testing.assert_array_equal(pairs[1 : 2 * half : 2], -pairs[: 2 * half : 2])
    np.testing.assert_array_equal(np.sort(pairs, axis=0), np.sort(z, axis=0))


@pytest.mark.parametrize(("count", "d"), [(3, 5), (5, 5), (12, 5)])
def test_right_angles(count, d):
    """Up to d at a time; lengths are those of independent vectors."""
    z = many(normal_vectors, "orthogonal", count, d)
    for first in range(0, count, d):
        group = z[:, first : first + d]
        products = group @ np.swapaxes(group, 1, 2) * (1 - np.eye(group.shape[1]))
        np.testing.assert_allclose(products, 0, atol=1e-4)
    assert stats.kstest(np.square(z[:, 0]).sum(axis=1), stats.chi2(d).cdf).pvalue > 1e-4
    lengths = np.linalg.norm(z[:, :2], axis=2)
    assert abs(np.corrcoef(lengths.T)[0, 1]) < 4.5 / 2000**0.5


def test_sobol_sequences_are_scipys():
    """Shifted as a whole, around the cube."""
    points = stats.qmc.Sobol(4, scramble=False).random(64)
    u = many(uniform_vectors, "sobol", count=50, d=4, n=10)
    away = (u - u[:, :1] - points[None, :50] + 0.5) % 1 - 0.5
    np.testing.assert_allclose(away, 0, atol=1e-6)
    assert len(np.unique(u[:, 0])) == 40
