"""The problems against NumPy in float64, written from the literature's formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxes
from jaxes import problems


def textbook(name, x):
    d = len(x)
    i = np.arange(1, d + 1)
    return {
        "ackley": lambda: -20 * np.exp(-0.2 * np.sqrt((x**2).mean())) - np.exp(np.cos(2 * np.pi * x).mean()) + 20 + np.exp(1),
        "griewank": lambda: (x**2).sum() / 4000 - np.prod(np.cos(x / np.sqrt(i))) + 1,
        "rastrigin": lambda: 10 * d + (x**2 - 10 * np.cos(2 * np.pi * x)).sum(),
        "rosenbrock": lambda: (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum(),
        "schwefel": lambda: 418.9828872724338 * d - (x * np.sin(np.sqrt(np.abs(x)))).sum(),
        "sphere": lambda: (x**2).sum(),
    }[name]()


each = pytest.mark.parametrize("name", problems.ALL)


@each
@pytest.mark.parametrize("dimension", [2, 3, 20])
def test_values_are_the_literatures(name, dimension, x64):
    problem = problems.ALL[name](dimension)
    lower, upper = problem.space.bounds()
    x = np.random.RandomState(0).uniform(lower, upper, (50, dimension))
    expected = [textbook(name, row) for row in x]
    np.testing.assert_allclose(jax.vmap(problem)(jnp.asarray(x)), expected, rtol=1e-11, atol=1e-9)


@each
@pytest.mark.parametrize("dimension", [2, 5])
def test_the_optimum_is_the_optimum(name, dimension, x64):
    problem = problems.ALL[name](dimension)
    at = problem(problem.optimum)
    np.testing.assert_allclose(at, problem.optimal_value, atol=1e-9)
    near = problem.optimum + 1e-3 * np.random.RandomState(1).randn(200, dimension)
    assert (jax.vmap(problem)(jnp.asarray(near)) > at).all()
    lower, upper = problem.space.bounds()
    assert (lower <= problem.optimum).all()
    assert (problem.optimum <= upper).all()


@pytest.mark.parametrize("name", ["ackley", "rastrigin", "sphere"])
def test_float32_resolves_the_gap_near_the_optimum(name):
    problem = problems.ALL[name](3)
    for scale in (1e-2, 1e-4, 1e-8):
        x = np.random.RandomState(0).randn(3) * scale
        exact = {  # the leading terms at the origin
            "ackley": 4 * np.sqrt((x**2).mean()) + 2 * np.pi**2 * np.e * (x**2).mean(),
            "rastrigin": (1 + 20 * np.pi**2) * (x**2).sum(),
            "sphere": (x**2).sum(),
        }[name]
        np.testing.assert_allclose(problem(jnp.asarray(x, jnp.float32)), exact, rtol=0.01)


@each
def test_a_problem_knows_its_space(name):
    problem = problems.ALL[name](3)
    assert problem.name == name
    result = jaxes.minimize(problem, generations=30, progress=False)
    assert result.solution.shape == (3,)
    assert result.fitness < float(np.median(jax.vmap(problem)(problem.space.lower + 1.3 * jnp.ones((10, 3)))))


def test_dimensions_that_make_no_sense():
    with pytest.raises(ValueError, match=r"rosenbrock\(dimension=...\) must be at least 2, got 1"):
        problems.rosenbrock(1)
    with pytest.raises(ValueError, match="at least 1"):
        problems.sphere(0)
    with pytest.raises(TypeError, match="must be an integer"):
        problems.sphere(2.5)
