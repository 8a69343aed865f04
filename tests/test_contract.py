"""What every strategy promises, whichever way it is configured."""

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

each = pytest.mark.parametrize("name", VARIANTS)

# Every branch of the code, for promises of the shared machinery, whose tests compile several programs each.
SOME = (
    *("tutorial", "default", "one plus one", "weighted", "discrete 2", "self-adaptive plus", "mutation rate", "reevaluate"),
    *("CMAES", "CMAES of a value", "MAES passive", "JDE"),
)
some = pytest.mark.parametrize("name", SOME)
# SHADE's memory weighs by how much fitness improved.
ranking = pytest.mark.parametrize("name", [name for name in VARIANTS if name != "SHADE"])


def test_the_table_holds_every_public_strategy():
    public = {getattr(jaxes, name) for name in jaxes.__all__}
    strategies = {c for c in public if isinstance(c, type) and issubclass(c, jaxes.strategy.Strategy)}
    assert strategies == set(ALL)
    assert {type(make(name, box())) for name in VARIANTS} == set(ALL)


@each
def test_no_candidate_leaves_its_box(name):
    # Corners, a side without a float32 number exactly on it, a log scale, and a huge box, with steps up to 1000 boxes.
    space = {
        "a": Box([-1.0, 0.1], [0.3, 0.7]),
        "b": Box(1e-7, 3.3, scale="log"),
        "c": Box(-1e30, 1e30),
        "d": Box(16777216.0, 16777220.0),
    }
    strategy = make(name, space)
    scales = (1.0, 1e3) if isinstance(getattr(strategy, "sigma", None), np.ndarray) else (1.0,)

    def leave(solution):  # pulls every coordinate out of its box
        return solution["a"].sum() + jnp.log(solution["b"]) + solution["c"] / 1e30 + solution["d"]

    def generation(strategy, state, _):
        population, state = strategy.ask(state)
        state = strategy.tell(state, population, jax.vmap(leave)(population))
        return state, population

    @jax.jit
    def candidates(strategy, key):
        return jax.lax.scan(functools.partial(generation, strategy), strategy.init(key), None, length=60)[1]

    for scale in scales:
        scaled = dataclasses.replace(strategy, sigma=scale * strategy.sigma) if len(scales) > 1 else strategy
        populations = jax.vmap(candidates, in_axes=(None, 0))(scaled, jax.random.split(jax.random.key(1), 64))
        for leaf, lower, upper in (
            (populations["a"][..., 0], -1.0, 0.3),
            (populations["a"][..., 1], 0.1, 0.7),
            (populations["b"], 1e-7, 3.3),
            (populations["c"], -1e30, 1e30),
            (populations["d"], 16777216.0, 16777220.0),
        ):
            values = np.asarray(leaf, np.float64)  # compared with the bounds as the user wrote them
            assert np.isfinite(values).all()
            assert values.min() >= lower
            assert values.max() <= upper


def by_hand(strategy, key, generations):
    state = strategy.init(key)
    for _ in range(generations):
        population, state = strategy.ask(state)
        state = strategy.tell(state, population, jax.vmap(exact)(population))
    return state


@some
def test_by_hand_is_run_and_compiled_is_not_compiled(name):
    strategy = make(name, box())
    compiled = by_hand(strategy, 7, 3)
    compare = assert_same if isinstance(strategy, ES) else functools.partial(close, atol=1e-5)
    compare(learnt(compiled), learnt(run(strategy, exact, 7, 3).state))
    with jax.disable_jit():
        plain = by_hand(strategy, 7, 3)
    close(learnt(plain), learnt(compiled), atol=1e-5)


@some
def test_alone_is_in_a_batch_with_bad_neighbours(name):
    """With an exact objective, bit for bit, but for products of matrices, which XLA sums in an order that depends on the batch.

    Every other neighbour sees nothing but NaN.
    """
    strategy = make(name, box())
    keys = jax.random.split(jax.random.key(0), 32)
    poison = jnp.arange(32) % 2 == 1

    def objective(x, poisoned):
        return jnp.where(poisoned, jnp.nan, exact(x))

    batch = jax.jit(jax.vmap(lambda key, p: run(strategy, objective, key, 40, args=p)))(keys, poison)
    for i in (0, 8, 30):
        alone = run(strategy, objective, keys[i], 40, args=jnp.asarray(False))
        if isinstance(strategy, ES):
            assert_same(alone.solution, batch.solution[i])
            assert_same(learnt(alone.state), learnt(batch[i].state))
        else:
            np.testing.assert_array_equal(alone.fitness, batch.fitness[i])
            close(learnt(alone.state), learnt(batch[i].state), rtol=1e-3, atol=1e-3)
    assert np.isinf(batch.fitness[1::2]).all()
    assert (batch.invalid[1::2] == 40 * strategy.evaluations).all()
    finite = jax.tree.map(lambda leaf: leaf[1::2], learnt(batch.state))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(finite))


@some
def test_hyperparameters_do_not_recompile(name):
    strategy = make(name, box())
    traces = 0

    @jax.jit
    def program(strategy, key):
        nonlocal traces
        traces += 1
        return run(strategy, exact, key, 3).fitness

    program(strategy, jax.random.key(0))
    changed = make(name, Box(np.float64(-1.5), [1.0, 2.0, 3.0], shape=3))
    changed = dataclasses.replace(changed, space=Box(-jnp.ones(3), np.ones(3, np.float32)))
    program(dataclasses.replace(strategy, space=Box(-jnp.float32(1.0), 1, shape=3)), jax.random.key(1))
    numbers = jax.tree.map(lambda leaf: (leaf * 0.9).astype(leaf.dtype), strategy)
    program(numbers, jax.random.key(2))
    assert traces == 1
    program(changed, jax.random.key(3))  # bounds of other shapes are another program
    assert traces == 2


@some
def test_state_round_trips_through_numpy(name):
    strategy = make(name, box())
    state = run(strategy, exact, 1, 4).state
    leaves, structure = jax.tree.flatten(dataclasses.replace(state, key=jax.random.key_data(state.key)))
    saved = structure.unflatten([np.asarray(leaf) for leaf in leaves])
    loaded = dataclasses.replace(jax.tree.map(jnp.asarray, saved), key=jax.random.wrap_key_data(saved.key))
    assert_same(run(strategy, exact, None, 5, state=loaded), run(strategy, exact, None, 5, state=state))


@some
def test_split_run_is_whole_run(name):
    strategy = make(name, box())
    whole = run(strategy, exact, 5, 37)
    half = run(strategy, exact, 5, 20)
    assert_same(run(strategy, exact, None, 17, state=half.state), whole)


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


@each
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_fitness_leaves_a_valid_state(name, bad):
    strategy = make(name, box())
    state = strategy.init(0)
    for generation in range(4):
        population, state = strategy.ask(state)
        fitness = np.array(jax.vmap(shifted_sphere)(population))
        fitness[:: 2 if generation else 1] = bad  # the first generation has nothing else
        state = strategy.tell(state, population, fitness)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((learnt(state), state.best)))
        assert all(not np.isnan(leaf).any() for leaf in jax.tree.leaves(dataclasses.replace(state, key=0)))
    assert np.isnan(bad) == bool(state.invalid)
    assert (state.best_fitness == -np.inf) == (bad == -np.inf)
    population, _ = strategy.ask(state)
    assert np.isfinite(population).all()


@some
def test_pytree_solutions_follow_the_flat_ones(name):
    flat = make(name, Box(-2.0, 2.0, shape=(5,)))
    tree = make(name, {"w": Box(-2.0, 2.0, shape=(2, 2)), "b": (Box(-2.0, 2.0),)})  # flat order: b, then w

    def objective(solution):
        return exact(jnp.concatenate([solution["b"][0][None], solution["w"].reshape(-1)]))

    a, b = run(flat, exact, 2, 8), run(tree, objective, 2, 8)
    assert b.solution["w"].shape == (2, 2)
    close(learnt(a.state), learnt(b.state), atol=1e-5)  # two programs may round differently
    assert_same(a.fitness, b.fitness)


@some
def test_one_dimension_and_scalars(name):
    result = run(make(name, Box(-2.0, 2.0)), lambda x: jnp.square(x - 0.7), 0, 200)
    assert result.solution.shape == ()
    assert result.fitness < 0.01


@ranking
def test_only_ranks_matter(name):
    """The same trajectory bit for bit under a monotone transform of fitness."""
    strategy = make(name, box())
    a = run(strategy, exact, 4, 30, stop={"converged": False})
    b = run(strategy, lambda x: jnp.sqrt(exact(x) + 1) - 5, 4, 30, stop={"converged": False})
    assert_same(learnt(a.state), learnt(b.state))


@some
def test_translation_moves_the_trajectory(name):
    """Powers of two and an exact objective: moving box and objective moves every candidate exactly."""
    strategy = make(name, Box(-2.0, 2.0, shape=3))
    moved = make(name, Box(2.0, 6.0, shape=3))
    a = run(strategy, shifted_sphere, 4, 10)
    b = run(moved, lambda x: shifted_sphere(x - 4), 4, 10)
    np.testing.assert_allclose(a.solution, b.solution - 4, atol=2e-5)


@each
def test_it_optimises(name):
    """Median of 64 runs, on an asymmetric target off the centre of the box."""
    strategy = make(name, box(3))
    runs = jax.jit(jax.vmap(lambda key: run(strategy, shifted_sphere, key, 150)))
    fitness = runs(jax.random.split(jax.random.key(0), 64)).fitness
    assert np.median(fitness) < 0.02
    assert np.all(fitness < 1.0)


@some
def test_a_sweep_of_a_leaf_is_one_program_and_the_same_runs(name):
    strategies = [make(name, Box(-2.0, upper, shape=3)) for upper in (1.0, 2.0, 3.0)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *strategies)
    swept = jax.jit(jax.vmap(lambda s: run(s, exact, 1, 25)))(stacked)
    for i, strategy in enumerate(strategies):
        alone = run(strategy, exact, 1, 25)
        np.testing.assert_allclose(alone.fitness, swept.fitness[i], rtol=1e-6)


@some
def test_vmap_over_construction(name):
    """A sweep may also build its strategies inside vmap, from tracers."""
    runs = jax.vmap(lambda upper: run(make(name, Box(-2.0, upper, shape=3)), exact, 1, 10).fitness)
    assert runs(jnp.asarray([1.0, 2.0])).shape == (2,)
