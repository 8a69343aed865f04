"""What a solution looks like, and where it may lie."""

import dataclasses
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxes import ES, Box
from jaxes.space import as_space


@pytest.mark.parametrize(
    ("box", "shape"),
    [
        (Box(-1, 1), ()),
        (Box(-1, 1, shape=3), (3,)),
        (Box(-1, 1, shape=(2, 3)), (2, 3)),
        (Box([-1.0, -2.0], 1), (2,)),
        (Box(np.zeros((2, 1)), np.ones(3)), (2, 3)),
        (Box(np.zeros(3), np.ones(3), shape=(2, 3)), (2, 3)),
    ],
)
def test_shapes_broadcast(box, shape):
    assert box.shape == shape
    assert box.dimension == int(np.prod(shape))
    x = jnp.linspace(-1.0, 1.0, box.dimension)
    assert box.decode(x).shape == shape
    np.testing.assert_array_equal(box.encode(box.decode(x)), x)


class Layer(NamedTuple):
    w: jax.Array
    b: jax.Array


@chex.dataclass
class Model:
    layer: Layer
    rate: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Plain:
    first: object
    second: object


@pytest.mark.parametrize(
    "boxes",
    [
        {"a": Box(-1, 1), "b": {"c": Box(0, 1, shape=(2, 2))}},
        (Box(-1, 1, shape=2), [Box(0, 1), Box(2, 3, shape=(1, 3))]),
        Model(layer=Layer(Box(-1, 1, shape=(2, 3)), Box(-1, 1, shape=3)), rate=Box(1e-3, 1.0, scale="log")),
        Plain(Box(-1, 1), (Box(-1, 1, shape=4),)),
    ],
)
def test_pytrees_of_boxes_give_the_users_pytree(boxes):
    space = as_space(boxes)
    lower, upper = space.bounds()
    x = lower + 0.25 * (upper - lower)
    solution = space.decode(x)

    def is_box(leaf):
        return isinstance(leaf, Box)

    assert jax.tree.structure(solution) == jax.tree.structure(boxes, is_leaf=is_box)
    assert [s.shape for s in jax.tree.leaves(solution)] == [b.shape for b in jax.tree.leaves(boxes, is_leaf=is_box)]
    np.testing.assert_allclose(space.encode(solution), x, rtol=1e-6)


def test_log_scale_searches_the_logarithm():
    box = Box(1e-4, 1e2, scale="log", shape=2)
    lower, upper = box.bounds()
    np.testing.assert_allclose(lower, np.log(1e-4), rtol=1e-6)
    np.testing.assert_allclose(box.decode((lower + upper) / 2), 0.1, rtol=1e-5)
    population, _ = ES(box, mu=1, lam=10000).ask(ES(box, mu=1, lam=10000).init(0))
    # Uniform in the logarithm: a sixth of the points in every decade; 5 standard deviations is 0.019.
    share = np.histogram(np.log10(np.asarray(population)), bins=6, range=(-4, 2))[0] / population.size
    np.testing.assert_allclose(share, 1 / 6, atol=0.019)


@pytest.mark.parametrize("bound", [0.1, 0.3, 1 / 3, 16777217.0, 1e-45, -0.7, 1e300])
def test_bounds_are_rounded_inwards(bound):
    """float32 has no 0.3: the bound must not move outwards."""
    if bound < 1e38:
        assert np.float64(Box(bound, np.inf).lower) >= bound
    assert np.float64(Box(-np.inf, bound).upper) <= bound


def test_dtype_follows_the_bounds(x64):
    assert Box(-1, 1).dtype == np.float64
    assert Box(np.float32(-1), 1).dtype == np.float32
    assert Box(np.zeros(2, np.float32), jnp.ones(2, jnp.float32)).dtype == np.float32
    assert Box([-1, -2], 1.5).dtype == np.float64


def test_dtype_is_float32_by_default():
    assert Box(-1, 1).dtype == Box(np.float64(-1), np.ones(3)).dtype == np.float32


def test_a_setting_per_coordinate():
    space = as_space({"a": Box(-1, 1, shape=2), "b": Box(0, 1)})
    for value in (0.5, np.asarray([0.5, 0.5, 0.5]), {"a": 0.5, "b": 0.5}, {"a": [0.5, 0.5], "b": 0.5}):
        if isinstance(value, dict):
            value = {k: np.asarray(v) for k, v in value.items()}
        np.testing.assert_array_equal(space.flatten(value, "sigma"), [0.5, 0.5, 0.5])


def test_sample_is_uniform():
    space = as_space({"a": Box(-1.0, 3.0), "b": Box(1e-3, 1e3, scale="log", shape=2), "c": Box(-3e38, 3e38)})
    solutions = space.sample(jax.random.key(0), 20000)
    assert solutions["b"].shape == (20000, 2)
    assert stats.kstest(np.asarray(solutions["a"]), stats.uniform(-1, 4).cdf).pvalue > 1e-4
    assert stats.kstest(np.log10(np.asarray(solutions["b"])[:, 1]), stats.uniform(-3, 6).cdf).pvalue > 1e-4
    assert np.isfinite(solutions["c"]).all()


def test_solutions_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"shape \(3,\), got \(2,\)"):
        Box(-1, 1, shape=3).encode(jnp.zeros(2))
    with pytest.raises(ValueError, match="must have the structure"):
        as_space({"a": Box(0, 1)}).encode({"b": 0.5})
