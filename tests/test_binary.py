"""Problems read through bits."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxes
from jaxes import problems
from jaxes.problems import binary

pytestmark = pytest.mark.quick

PEERS = np.load(Path(__file__).parent / "data" / "classic.npz")


def distance(x):
    return jnp.sum(jnp.square(x - 1.0))


@pytest.mark.parametrize("bits", [1, 5, 20])
def test_values_are_inspyreds(bits, x64):
    """Its `Binary` around its Rosenbrock, whose box is [-5, 10]."""
    x, expected = (PEERS[f"inspyred/binary/{bits}/{part}"] for part in "xf")
    rosenbrock = jaxes.Problem(problems.rosenbrock(3).function, jaxes.Box(-5.0, 10.0, shape=(3,)))
    values = jax.jit(jax.vmap(binary(rosenbrock, bits)))(jnp.asarray(x, float))
    np.testing.assert_allclose(values, expected, rtol=1e-11)


@pytest.mark.parametrize(("dtype", "bits"), [(np.float32, 24), (np.float64, 53), (np.float32, 8)])
def test_the_grid(dtype, bits, x64):
    """All zeros is lower, all ones upper, the last bit a step; each coordinate has its own scale, which may overflow."""
    lower, upper = np.array([-1.0, 0.1, -1e38], dtype), np.array([1.0, 0.7, 3e38], dtype)
    problem = binary(jaxes.Problem(distance, jaxes.Box(lower, upper)), bits)
    decode = jax.jit(problem.parameters.decode)
    assert problem.space.shape == (3 * bits,)
    assert problem.space.dtype == dtype
    np.testing.assert_array_equal(decode(jnp.zeros(3 * bits, dtype)), lower)
    np.testing.assert_array_equal(decode(jnp.ones(3 * bits, dtype)), upper)
    half = np.zeros((3, bits), dtype)
    half[:, 0] = 1  # the most significant one
    share = 2.0 ** (bits - 1) / (2.0**bits - 1)
    wide = np.float64
    expected = lower.astype(wide) + share * (upper.astype(wide) - lower.astype(wide))
    np.testing.assert_allclose(decode(jnp.asarray(half.reshape(-1))), expected, rtol=1e-6, atol=1e-7)
    step = np.zeros((3, bits), dtype)
    step[0, -1] = 1  # the least significant one, of the first coordinate alone
    found = np.asarray(decode(jnp.asarray(step.reshape(-1))))
    np.testing.assert_allclose(found[0] + 1, 2 / (2.0**bits - 1), atol=np.finfo(dtype).eps)
    assert found[0] > -1
    np.testing.assert_array_equal(found[1:], lower[1:])


def test_coordinates_are_rounded_to_bits():
    problem = binary(problems.sphere(2), 3)
    x = jnp.asarray([0.5, 0.49, 1.0, 0.0, 0.7, 0.2])
    bits = jnp.asarray([1.0, 0.0, 1.0, 0.0, 1.0, 0.0])
    np.testing.assert_array_equal(problem.parameters.decode(x), problem.parameters.decode(bits))
    np.testing.assert_allclose(problem.parameters.decode(x), -5.12 + 10.24 * np.array([5, 2]) / 7, rtol=1e-5)
    assert problem(x) == problems.sphere(2)(problem.parameters.decode(x))
    assert problem.name == "binary_sphere"


def test_the_optimum_is_known_where_it_is_on_the_grid():
    box = jaxes.Box(0.0, 15.0, shape=(3,))
    inside = jaxes.Problem(distance, box, np.ones(3, np.float32), np.float32(0))
    on = binary(inside, 4)  # steps of 1
    np.testing.assert_array_equal(on.optimum, [0, 0, 0, 1] * 3)
    assert on(jnp.asarray(on.optimum)) == on.optimal_value == 0
    assert on.gap(jnp.asarray(on.optimum)) == 0
    for problem in (
        binary(inside, 3),  # steps of 15/7
        binary(problems.sphere(2), 8),  # the middle of a box is on no grid
        binary(jaxes.Problem(distance, box), 4),  # nobody said where it is
    ):
        assert problem.optimum is None
        assert problem.optimal_value is None
    corner = binary(jaxes.Problem(distance, jaxes.Box(-7.0, 1.0, shape=(2,)), np.ones(2, np.float32), np.float32(0)), 24)
    np.testing.assert_array_equal(corner.optimum, np.ones(48))


def test_the_optimal_value_is_a_lower_bound():
    problem = binary(problems.branin(), 5)
    bits = (np.arange(1024)[:, None] >> np.arange(10)) & 1
    values = jax.jit(jax.vmap(problem))(jnp.asarray(bits, jnp.float32))
    assert problems.branin().optimal_value < values.min() < 1


def test_instances_are_one_program():
    calls = []

    def counted(x, centre):
        calls.append(1)
        return jnp.sum(jnp.square(x - centre))

    @jax.jit
    def value(problem, bits):
        return problem(bits)

    bits = jnp.zeros(8)
    for centre in (1.0, 2.0):
        real = jaxes.Problem(counted, jaxes.Box(-centre, 4.0, shape=(2,)), parameters=jnp.asarray(centre))
        np.testing.assert_allclose(value(binary(real, 4), bits), 2 * (2 * centre) ** 2)
    assert len(calls) == 1


def test_it_is_minimised():
    problem = binary(problems.sphere(2), 8)
    result = jaxes.minimize(problem, strategy=jaxes.JDE(problem.space), generations=200, runs=4, progress=False)
    best = result.best()
    step = 10.24 / 255  # the two points next to the middle are half of this away
    np.testing.assert_allclose(best.fitness, 2 * (step / 2) ** 2, rtol=1e-4)
    np.testing.assert_allclose(abs(problem.parameters.decode(best.solution)), step / 2, rtol=1e-4)


def test_what_is_refused(x64):
    sphere = problems.sphere(2)
    with pytest.raises(TypeError, match=r"binary\(problem=...\) must be a jaxes.Problem, got function"):
        binary(distance, 8)
    for space in (
        jaxes.Box(0.0, 1.0),
        jaxes.Box(0.0, 1.0, shape=(2, 2)),
        jaxes.Box(1.0, 2.0, shape=(2,), scale="log"),
        jaxes.as_space({"a": jaxes.Box(0.0, 1.0, shape=(2,))}),
    ):
        with pytest.raises(ValueError, match=r'binary\(problem=...\) must have a flat Box with scale="linear"'):
            binary(jaxes.Problem(distance, space), 8)
    with pytest.raises(ValueError, match="must be a problem with finite bounds"):
        binary(jaxes.Problem(distance, jaxes.Box(0.0, np.inf, shape=(2,))), 8)
    with pytest.raises(ValueError, match=r"binary\(dimension_bits=...\) must be at least 1, got 0"):
        binary(sphere, 0)
    with pytest.raises(ValueError, match=r"binary\(dimension_bits=...\) must be at most 53 in float64, got 54"):
        binary(sphere, 54)
    with pytest.raises(TypeError, match="must be an integer"):
        binary(sphere, 8.0)
    with jax.enable_x64(False), pytest.raises(ValueError, match="must be at most 24 in float32, got 25"):
        binary(problems.sphere(2), 25)
