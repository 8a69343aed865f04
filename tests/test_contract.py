"""What every strategy promises, whichever way it is configured.

Compiling is what these tests take their time for. Those of a variant are run by one worker and share their programs: `alone`
and `batch` run one objective in three dimensions, of which `args` make what a test needs.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from variants import VARIANTS, assert_same, box, close, exact, learnt, make, shifted_sphere

import jaxes
from jaxes import ES, Box, run
from jaxes.strategies import ALL

# The scope lets pytest run all tests of a variant one after the other.
each = pytest.mark.parametrize("name", VARIANTS, scope="module")

# Every branch of the code, for promises of the shared machinery.
SOME = (
    *("tutorial", "default", "one plus one", "weighted", "discrete 2", "self-adaptive plus", "mutation rate", "reevaluate"),
    *("CMAES", "CMAES of a value", "MAES passive"),
)
some = pytest.mark.parametrize("name", SOME, scope="module")

PLAIN = {"moved": 0.0, "smooth": False, "transformed": False, "poisoned": False}
BATCH = 64
traces = 0


def objective(x, args):
    """`exact`, or what `args` make of it."""
    global traces
    traces += 1
    x = x - args["moved"]
    fitness = jnp.where(args["smooth"], shifted_sphere(x), exact(x))
    fitness = jnp.where(args["transformed"], jnp.sqrt(fitness + 1) - 5, fitness)
    return jnp.where(args["poisoned"], jnp.nan, fitness)


def alone(strategy, key, generations, state=None, **args):
    return run(strategy, objective, key, generations, state=state, args=PLAIN | args)


@functools.lru_cache(1)
def batch_of(name):
    """A variant's program for `BATCH` runs; their number of generations is a budget, hence a value."""

    def one(strategy, key, generations, args):
        stop = {"evaluations": generations * strategy.evaluations}
        return run(strategy, objective, key, 150, args=args, stop=stop)

    return jax.jit(jax.vmap(one, in_axes=(None, 0, None, 0)))


def batch(name, key, generations, **args):
    """Runs in three dimensions, on the host. `args` are one for all or (BATCH,)."""
    keys = jax.random.split(jax.random.key(key), BATCH)
    args = {name: np.broadcast_to(value, BATCH) for name, value in (PLAIN | args).items()}
    return keys, batch_of(name)(make(name, box()), keys, np.int32(generations), args)


def test_the_table_holds_every_public_strategy():
    public = {getattr(jaxes, name) for name in jaxes.__all__}
    strategies = {c for c in public if isinstance(c, type) and issubclass(c, jaxes.strategy.Strategy)}
    assert strategies == set(ALL)
    assert {type(make(name, box())) for name in VARIANTS} == set(ALL)


# Corners, a side without a float32 number exactly on it, a log scale, and a huge box.
SPACE = {
    "a": Box([-1.0, 0.1], [0.3, 0.7]),
    "b": Box(1e-7, 3.3, scale="log"),
    "c": Box(-1e30, 1e30),
    "d": Box(16777216.0, 16777220.0),
}


@functools.lru_cache(1)
def generations_of(name):
    """A variant's program for 60 generations in `SPACE`: their populations and states."""

    def leave(solution):  # pulls every coordinate out of its box
        return solution["a"].sum() + jnp.log(solution["b"]) + solution["c"] / 1e30 + solution["d"]

    def generation(strategy, bad, state, _):
        population, state = strategy.ask(state)
        fitness = jax.vmap(leave)(population)
        poisoned = (jnp.arange(len(fitness)) % 2 == 0) | (state.generation == 0)
        state = strategy.tell(state, population, jnp.where(poisoned & (bad != 0), bad, fitness))
        return state, (population, state)

    def generations(strategy, key, bad):
        return jax.lax.scan(functools.partial(generation, strategy, bad), strategy.init(key), None, length=60)[1]

    return jax.jit(jax.vmap(generations, in_axes=(None, 0, 0)))


def generations(name, strategy, bad):
    """(BATCH, 60) populations and states. Every other fitness, and all of the first generation, is `bad`, unless that is 0."""
    keys = jax.random.split(jax.random.key(1), BATCH)
    populations, states = generations_of(name)(strategy, keys, np.broadcast_to(np.float32(bad), BATCH))
    return jax.tree.map(np.asarray, (populations, dataclasses.replace(states, key=0)))


def assert_inside(populations):
    """Compared with the bounds as the user wrote them."""
    values = {name: np.asarray(leaf, np.float64) for name, leaf in populations.items()}
    for leaf, lower, upper in (
        (values["a"][..., 0], -1.0, 0.3),
        (values["a"][..., 1], 0.1, 0.7),
        (values["b"], 1e-7, 3.3),
        (values["c"], -1e30, 1e30),
        (values["d"], 16777216.0, 16777220.0),
    ):
        assert np.isfinite(leaf).all()
        assert leaf.min() >= lower
        assert leaf.max() <= upper


@each
def test_no_candidate_leaves_its_box(name):
    """With steps up to 1,000 boxes."""
    strategy = make(name, SPACE)
    assert_inside(generations(name, strategy, 0)[0])
    if isinstance(strategy.sigma, np.ndarray):
        assert_inside(generations(name, dataclasses.replace(strategy, sigma=1e3 * strategy.sigma), 0)[0])


@each
def test_bad_fitness_leaves_a_valid_state(name):
    bad = np.tile(np.asarray([np.nan, np.inf, -np.inf, np.nan], np.float32), BATCH // 4)
    populations, states = generations(name, make(name, SPACE), bad)
    assert_inside(populations)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((learnt(states), states.best)))
    assert all(not np.isnan(leaf).any() for leaf in jax.tree.leaves(states))
    np.testing.assert_array_equal(states.invalid[:, 0] > 0, np.isnan(bad))
    np.testing.assert_array_equal(states.best_fitness[:, 0] == -np.inf, bad == -np.inf)
    np.testing.assert_array_equal(states.best_fitness[:, -1] == -np.inf, bad == -np.inf)


evaluate = jax.jit(jax.vmap(exact))


def by_hand(strategy, key, generations):
    state = strategy.init(key)
    for _ in range(generations):
        population, state = strategy.ask(state)
        state = strategy.tell(state, population, evaluate(population))
    return state


@some
def test_by_hand_is_run_and_compiled_is_not_compiled(name):
    strategy = make(name, box())
    compiled = by_hand(strategy, 7, 3)
    compare = assert_same if isinstance(strategy, ES) else functools.partial(close, atol=1e-5)
    compare(learnt(compiled), learnt(alone(strategy, 7, 3).state))
    with jax.disable_jit():
        plain = by_hand(strategy, 7, 3)
    close(learnt(plain), learnt(compiled), atol=1e-5)


@some
def test_alone_is_in_a_batch_with_bad_neighbours(name):
    """With an exact objective, bit for bit, but for products of matrices, which XLA sums in an order that depends on the batch.

    Every other neighbour sees nothing but NaN.
    """
    strategy = make(name, box())
    keys, runs = batch(name, 0, 40, poisoned=np.arange(BATCH) % 2 == 1)
    for i in (0, 8, 62):
        single = alone(strategy, keys[i], 40)
        if isinstance(strategy, ES):
            assert_same(single.solution, runs.solution[i])
            assert_same(learnt(single.state), learnt(runs[i].state))
        else:
            np.testing.assert_array_equal(single.fitness, runs.fitness[i])
            close(learnt(single.state), learnt(runs[i].state), rtol=1e-3, atol=1e-3)
    assert np.isinf(np.asarray(runs.fitness)[1::2]).all()
    assert (np.asarray(runs.invalid)[1::2] == 40 * strategy.evaluations).all()
    assert all(np.isfinite(np.asarray(leaf)[1::2]).all() for leaf in jax.tree.leaves(learnt(runs.state)))


@some
def test_hyperparameters_do_not_recompile(name):
    strategy = make(name, box())
    alone(strategy, 0, 3)
    before = traces
    alone(dataclasses.replace(strategy, space=Box(-jnp.float32(1.0), 1, shape=3)), jax.random.key(1), 3)
    numbers = jax.tree.map(lambda leaf: (leaf * 0.9).astype(leaf.dtype), strategy)
    alone(numbers, jax.random.key(2), 3)
    assert traces == before
    changed = make(name, Box(np.float64(-1.5), [1.0, 2.0, 3.0], shape=3))
    changed = dataclasses.replace(changed, space=Box(-jnp.ones(3), np.ones(3, np.float32)))
    jax.eval_shape(lambda: alone(changed, jax.random.key(3), 3))  # bounds of other shapes are another program
    assert traces > before


@some
def test_state_round_trips_through_numpy(name):
    strategy = make(name, box())
    state = alone(strategy, 1, 4).state
    leaves, structure = jax.tree.flatten(dataclasses.replace(state, key=jax.random.key_data(state.key)))
    saved = structure.unflatten([np.asarray(leaf) for leaf in leaves])
    loaded = dataclasses.replace(jax.tree.map(jnp.asarray, saved), key=jax.random.wrap_key_data(saved.key))
    assert_same(alone(strategy, None, 5, loaded), alone(strategy, None, 5, state))


@some
def test_split_run_is_whole_run(name):
    strategy = make(name, box())
    whole = alone(strategy, 5, 37)
    half = alone(strategy, 5, 20)
    assert_same(alone(strategy, None, 17, half.state), whole)


@each
def test_float32_and_float64(name, x64):
    for dtype in (np.float32, np.float64):
        strategy = make(name, Box(dtype(-2), dtype(2), shape=(3,)))

        def generation(key, strategy=strategy):
            population, state = strategy.ask(strategy.init(key))
            fitness = jax.vmap(shifted_sphere)(population)
            return population, fitness, state, strategy.tell(state, population, fitness), strategy.stop_reason(state)

        population, fitness, asked, told, _ = jax.eval_shape(generation, jax.random.key(0))
        assert population.dtype == fitness.dtype == dtype
        for state in (asked, told):
            floats = [leaf.dtype for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
            assert floats
            assert set(floats) == {np.dtype(dtype)}


@some
def test_pytree_solutions_follow_the_flat_ones(name):
    strategy = make(name, box())
    tree = make(name, {"w": Box(-2.0, 2.0, shape=(2, 1)), "b": (Box(-2.0, 2.0),)})  # flat order: b, then w

    def of_tree(solution):
        return exact(jnp.concatenate([solution["b"][0][None], solution["w"].reshape(-1)]))

    a, b = alone(strategy, 2, 8), run(tree, of_tree, 2, 8)
    assert b.solution["w"].shape == (2, 1)
    close(learnt(a.state), learnt(b.state), atol=1e-5)  # two programs may round differently
    assert_same(a.fitness, b.fitness)


@some
def test_one_dimension_and_scalars(name):
    result = run(make(name, Box(-2.0, 2.0)), lambda x: jnp.square(x - 0.7), 0, 200)
    assert result.solution.shape == ()
    assert result.fitness < 0.01


@each
def test_only_ranks_matter(name):
    """The same trajectories bit for bit under a monotone transform of fitness, as long as none has converged."""
    a, b = (batch(name, 4, 30, transformed=transformed)[1] for transformed in (False, True))
    assert_same(a.stop_reason, b.stop_reason)
    assert_same(learnt(a.state), learnt(b.state))


@some
def test_translation_moves_the_trajectory(name):
    """Powers of two: moving box and objective moves every candidate exactly."""
    a = alone(make(name, Box(-2.0, 2.0, shape=3)), 4, 10, smooth=True)
    b = alone(make(name, Box(2.0, 6.0, shape=3)), 4, 10, smooth=True, moved=4.0)
    np.testing.assert_allclose(a.solution, b.solution - 4, atol=2e-5)


@each
def test_it_optimises(name):
    """Median of 64 runs, on an asymmetric target off the centre of the box."""
    fitness = np.asarray(batch(name, 0, 150, smooth=True)[1].fitness)
    assert np.median(fitness) < 0.02
    assert np.all(fitness < 1.0)


@some
def test_a_sweep_of_a_leaf_is_one_program_and_the_same_runs(name):
    strategies = [make(name, Box(-2.0, upper, shape=3)) for upper in (1.0, 2.0, 3.0)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *strategies)
    swept = jax.jit(jax.vmap(lambda s: alone(s, 1, 25)))(stacked)
    for i, strategy in enumerate(strategies):
        np.testing.assert_allclose(alone(strategy, 1, 25).fitness, swept.fitness[i], rtol=1e-6)


@some
def test_vmap_over_construction(name):
    """A sweep may also build its strategies inside vmap, from tracers."""
    runs = jax.vmap(lambda upper: alone(make(name, Box(-2.0, upper, shape=3)), 1, 10).fitness)
    assert jax.eval_shape(runs, jnp.asarray([1.0, 2.0])).shape == (2,)
