"""The BBOB functions against COCO's own implementation."""

import cocoex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from variants import assert_same

import jaxes
from jaxes.problems import bbob
from jaxes.problems.coco import GROUPS, NAMES

pytestmark = pytest.mark.quick

every = pytest.mark.parametrize("function", range(1, 25))
INSTANCES = list(range(1, 16))
evaluate = jax.jit(jax.vmap(lambda problem, x: jax.vmap(problem)(x)))
gap = jax.jit(lambda problem, x: problem.gap(x))


def points(problem, dimension):
    """(instances, 40, d): in the box, outside of it, near the optimum, and the optimum."""
    random = np.random.RandomState(dimension)
    x = random.uniform(-5, 5, (len(INSTANCES), 40, dimension))
    x[:, 20:30] *= 1.8
    for i, distance in enumerate((1.0, 1e-2, 1e-4, 1e-6, 0.0)):
        around = random.randn(len(INSTANCES), 2, dimension) * distance
        x[:, 30 + 2 * i : 32 + 2 * i] = np.asarray(problem.optimum)[:, None] + around
    return x


@every
def test_values_are_those_of_coco(function, x64):
    for dimension in (2, 3, 5, 10, 20, 40):
        problem = bbob(function, dimension, INSTANCES)
        x = points(problem, dimension)
        suite = cocoex.Suite("bbob", "instances:1-15", f"dimensions:{dimension} function_indices:{function}")
        expected = np.array([[other(row) for row in rows] for other, rows in zip(suite, x, strict=True)])
        # Where gap and optimal value cancel, the rounding of either is all there is.
        size = np.maximum(np.abs(expected), np.abs(problem.optimal_value)[:, None])
        assert (np.abs(evaluate(problem, x) - expected) / size).max() < 1e-10


@every
def test_float32_resolves_the_gap_down_to_1e_8(function):
    """Against doubles on the same instance, rounded to floats, along lines out of the optimum."""
    single = bbob(function, 5, 2)
    lines = np.random.RandomState(function).randn(8, 1, 5) * np.logspace(-9, 0, 40)[:, None]
    x = (single.optimum + lines).reshape(-1, 5).astype(np.float32)
    got = np.asarray(jax.jit(jax.vmap(single.gap))(x))
    with jax.enable_x64(True):
        double = jax.tree.map(lambda leaf: np.asarray(leaf, float) if np.asarray(leaf).dtype.kind == "f" else leaf, single)
        exact = np.asarray(jax.jit(jax.vmap(double.gap))(jnp.asarray(x, jnp.float64)))
    seen = exact >= 1e-8
    np.testing.assert_allclose(got[seen], exact[seen], rtol=1e-3)
    assert (got[~seen] < 2e-8).all()
    assert float(gap(single, single.optimum)) < 1e-15


def test_the_optimum_is_in_the_box_and_worth_its_value(x64):
    for function in range(1, 25):
        problem = bbob(function, 3, INSTANCES)
        assert (np.abs(problem.optimum) <= 5).all()
        np.testing.assert_allclose(jax.vmap(gap)(problem, problem.optimum), 0, atol=1e-12)
        assert_same(problem.offset, problem.optimal_value)


def test_a_mixture_is_its_functions(x64):
    functions, instances = [[f] for f in (1, 7, 12, 20, 21, 22, 24)], [1, 2, 70]
    x = np.random.RandomState(0).uniform(-5, 5, (7, 3, 1, 4))
    mixture = bbob(functions, 4, instances)
    assert mixture.optimal_value.shape == (7, 3)
    values = jax.vmap(evaluate)(mixture, x)
    for i, (function,) in enumerate(functions):
        alone = bbob(function, 4, instances)
        np.testing.assert_allclose(values[i], evaluate(alone, x[i]), rtol=1e-10)
        assert_same(alone.optimum, mixture.optimum[i])


def test_instances_of_a_function_are_one_program():
    traces = []

    @jax.jit
    def value(problem, x):
        traces.append(problem)
        return problem(x)

    for instance in (1, 5, 1000):
        value(bbob(21, 3, instance), jnp.ones(3))
    assert len(traces) == 1


def test_an_instance_does_not_depend_on_its_neighbours():
    alone, among = bbob(21, 3, 7), bbob(21, 3, [3, 7, 100])
    assert_same(alone.parameters, jax.tree.map(lambda leaf: leaf[1], among.parameters))


def test_bbob_is_minimised():
    problem = bbob(1, 3, 4)
    result = jaxes.minimize(problem, strategy=jaxes.SNES(problem.space), runs=4, generations=100, progress=False)
    np.testing.assert_allclose(result.solution, np.broadcast_to(problem.optimum, (4, 3)), atol=0.05)


def test_dimensions_beyond_cocos():
    problem = bbob(15, 50, 1)
    rotation = problem.parameters.first
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(50), atol=1e-5)
    assert np.isfinite(problem(problem.optimum + 1))


def test_names_and_groups_cover_all():
    assert len(NAMES) == 24
    assert [f for group in GROUPS.values() for f in group] == list(range(1, 25))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 1), r"bbob\(dimension=...\) must be at least 2, got 1"),
        ((0, 5), r"bbob\(function=...\) must be from 1 to 24, got 0"),
        ((25, 5), "must be from 1 to 24, got 25"),
        ((1, 5, 0), r"bbob\(instance=...\) must be from 1 to 200000, got 0"),
        ((1, 5, [1, 0]), r"must be from 1 to 200000, got \[1, 0\]"),
        (([1, 2], 5, [1, 2, 3]), r"must broadcast, got shapes \(2,\) and \(3,\)"),
        (([], 5), "must be an integer or a sequence of integers"),
        ((1.0, 5), r"bbob\(function=...\) must be an integer or a sequence of integers, got 1.0"),
        ((1, 2.5), r"bbob\(dimension=...\) must be an integer, got 2.5"),
        ((1, 5, "3"), "must be an integer or a sequence of integers, got '3'"),
    ],
)
def test_refuses_what_does_not_exist(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        bbob(*arguments)


@pytest.mark.parametrize("shape", [(1,), (4,), (5, 5), ()])
def test_refuses_a_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"a solution of this space has shape \(5,\), got"):
        bbob(1, 5)(jnp.zeros(shape))


def test_refuses_many_problems_at_once():
    with pytest.raises(ValueError, match=r"a batch of problems 'bbob f2 separable ellipsoid', of shape \(2,\): call it under"):
        bbob(2, 5, [1, 2])(jnp.zeros(5))
