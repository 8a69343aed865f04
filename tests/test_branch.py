"""Batches branch together, and lanes get what they would get alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxes.branch import any_lane, apart, each_lane, one_lane, where_due


def squared_if(due, x):
    return where_due(due, lambda x: {"x": x["x"] ** 2}, {"x": x})["x"]


def test_lanes_take_what_is_due_to_them():
    x = jnp.arange(6.0).reshape(2, 3)
    for due in ([[True, False, True], [False] * 3], [[False] * 3] * 2, [[True] * 3] * 2):
        due = jnp.asarray(due)
        expected = np.where(due, x**2, x)
        np.testing.assert_array_equal(jax.vmap(jax.vmap(squared_if))(due, x), expected)
        np.testing.assert_array_equal(jax.jit(jax.vmap(jax.vmap(squared_if), in_axes=1))(due.T, x.T), expected)
        for lane in np.ndindex(2, 3):
            np.testing.assert_array_equal(squared_if(due[lane], x[lane]), expected[lane])


@pytest.mark.parametrize("axes", [((None, 0), (0, None)), ((0, None), (None, 0)), ((0, 0), (None, 0)), ((None, 0), (None, 0))])
def test_what_is_due_and_what_it_is_done_to_may_be_of_other_lanes(axes):
    """Outer and inner axes of `due` and of two values, one of which becomes a constant."""
    (outer_due, outer_x), (inner_due, inner_x) = axes
    rng = np.random.RandomState(0)
    due = rng.uniform(size=[size for axis, size in ((outer_due, 2), (inner_due, 3)) if axis == 0]) < 0.5
    x = rng.uniform(size=[size for axis, size in ((outer_x, 2), (inner_x, 3)) if axis == 0])

    def changed(due, x):
        return where_due(due, lambda pair: (2 * pair[0], jnp.ones_like(pair[1])), (x, jnp.zeros(4)))

    got = jax.jit(jax.vmap(jax.vmap(changed, (inner_due, inner_x)), (outer_due, outer_x)))(due, x)
    expected = jax.vmap(jax.vmap(lambda due, x: (x + due * x, due * jnp.ones(4)), (inner_due, inner_x)), (outer_due, outer_x))
    for a, b in zip(got, expected(due.astype(np.float32), x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_nothing_is_chosen_from_without_lanes():
    def compiled(function, *args):
        return jax.jit(function).lower(*args).compile().as_text()

    assert "select" not in compiled(squared_if, True, jnp.zeros(3))
    assert "select" in compiled(jax.vmap(squared_if), jnp.ones(2, bool), jnp.zeros((2, 3)))


def test_a_batch_that_needs_nothing_does_nothing():
    """A branch stays one under vmap, and the carry of a loop is not chosen from twice."""
    due, x = jnp.zeros((2, 3), bool), jnp.zeros((2, 3))
    assert " cond[" in str(jax.make_jaxpr(jax.vmap(jax.vmap(squared_if)))(due, x))

    def doubled(x):
        def body(carry):
            x, seen = carry
            return jnp.where(x < 100, 2 * x, x), seen + 1

        return lax.while_loop(lambda carry: any_lane(carry[0] < 100), body, (x, jnp.int32(0)))

    numbers, rounds = jax.vmap(doubled)(jnp.asarray([1.0, 60.0, 300.0]))
    np.testing.assert_array_equal(numbers, [128, 120, 300])
    np.testing.assert_array_equal(rounds, 7)  # one count for all

    def lowered(condition):
        return jax.jit(jax.vmap(lambda x: lax.while_loop(condition, lambda x: 2 * x, x))).lower(x[0]).as_text()

    assert "select" in lowered(lambda x: x < 100)  # what JAX does itself
    assert "select" not in lowered(lambda x: any_lane(x < 100))


def test_a_batch_of_one_is_no_batch():
    """It gives what `jax.vmap` gives, along whichever axes, and takes branches as they come."""

    def function(due, tree, scale):
        return lax.cond(due, lambda x: scale * x, jnp.negative, tree["x"]), jax.random.uniform(tree["key"])

    keys = jax.random.split(jax.random.key(0), 3)
    for width in (1, 3):
        of_lanes = each_lane(function, (0, 0, None))
        given = jnp.arange(width) == 0, {"x": jnp.arange(4.0 * width).reshape(width, 4), "key": keys[:width]}, jnp.float32(3)
        for got, expected in zip(of_lanes(*given), jax.vmap(function, (0, 0, None))(*given), strict=True):
            np.testing.assert_array_equal(got, expected)
        assert (" cond[" in str(jax.make_jaxpr(of_lanes)(*given))) == (width == 1)

    x, y = jnp.ones((1, 4)), jnp.arange(4.0).reshape(4, 1)
    total, least = one_lane(lambda x, y: (x + y, y.min()), (0, 1), (1, None))(x, y)
    np.testing.assert_array_equal(total, 1 + y)
    assert least == 0


def test_a_branch_that_is_none_for_the_batch_is_differentiated():
    """Forward and backward, for the lanes that take it and those that do not."""
    grad = jax.vmap(jax.grad(squared_if, argnums=1))(jnp.asarray([True, False]), jnp.asarray([3.0, 4.0]))
    np.testing.assert_array_equal(grad, [6, 1])
    _, tangent = jax.jvp(lambda x: squared_if(x > 0, x), (3.0,), (1.0,))
    assert tangent == 6


def test_what_is_kept_apart_is_computed_once():
    """Cheap as it is, whatever reads it; and is what it is otherwise, lane by lane and differentiated."""

    def used(keep):
        def function(x):
            y = keep(lambda: jnp.abs(x))
            return y[1:] * y[:-1], y.mean(axis=1)

        return function

    def melted(function):
        return function()

    x = jnp.linspace(-1.0, 2.0, 60).reshape(3, 5, 4)
    kept, other = (jax.jit(jax.vmap(used(keep))) for keep in (apart, melted))
    for got, expected in zip(kept(x), other(x), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    gradient, expected = (jax.grad(lambda x, keep=keep: used(keep)(x)[0].sum())(x[0]) for keep in (apart, melted))
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)
    if jax.default_backend() == "cpu":
        once = jax.jit(jnp.abs).lower(x).compile().as_text().count(" abs(")
        assert kept.lower(x).compile().as_text().count(" abs(") == once
        assert other.lower(x).compile().as_text().count(" abs(") > once  # if no more, `apart` has lost its purpose


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="an accelerator computes what is due to any lane for all of them")
def test_what_is_apart_is_computed_only_where_it_is_due():
    def chosen(due, x):
        return apart(lambda: x + 1, due, lambda: x - 1)  # the two are to be the same where it is not due

    x = jnp.arange(3.0)
    for due, expected in (([False, True, False], x + 1), ([False] * 3, x - 1)):
        np.testing.assert_array_equal(jax.jit(jax.vmap(chosen))(jnp.asarray(due), x), expected)
