"""What every strategy promises, whichever way it is configured.

Compiling is what these tests take their time for. Those of a variant run one after the other and share programs, each with one
objective of which arguments make what a test needs: `generations` for all, `alone` for what `run` does.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import compiled_quickly
from variants import VARIANTS, assert_same, box, close, data, exact, learnt, make, shifted_sphere

import jaxes
from jaxes import ES, Box, Islands, Portfolio, Reevaluate, Restart, StopReason, run
from jaxes.strategies import ALL

# The scope lets pytest run all tests of a variant one after the other.
each = pytest.mark.parametrize("name", VARIANTS, scope="module")

# Every branch of the code, for promises of the shared machinery.
SOME = (
    *("tutorial", "default", "one plus one", "weighted", "discrete 2", "self-adaptive plus", "mutation rate", "reevaluate"),
    *("CMAES", "SepCMAES", "MAES passive", "JDE"),
)
some = pytest.mark.parametrize("name", SOME, scope="module")
# For what takes long, as it is compiled as users do: one variant of each kind of step, and a lam that is a value.
FEW = "default", "mutation rate", "CMAES", "SepCMAES", "JDE"
few = pytest.mark.parametrize("name", FEW, scope="module")
# SHADE's memory weighs by how much fitness improved.
ranking = pytest.mark.parametrize("name", [name for name in VARIANTS if name != "SHADE"], scope="module")

pytestmark = pytest.mark.quick

BATCH = 64
PLAIN = {"moved": 0.0, "smooth": False, "poisoned": False}
traces = 0


def objective(x, args):
    """`exact`, or what `args` make of it."""
    global traces
    traces += 1
    x = x - args["moved"]
    return jnp.where(args["poisoned"], jnp.nan, jnp.where(args["smooth"], shifted_sphere(x), exact(x)))


def alone(strategy, key, generations, state=None, **args):
    return run(strategy, objective, key, generations, state=state, args=PLAIN | args, stop={"converged": False})


def test_the_table_holds_every_public_strategy():
    public = {getattr(jaxes, name) for name in jaxes.__all__}
    strategies = {c for c in public if isinstance(c, type) and issubclass(c, jaxes.Strategy)} - {jaxes.Strategy}
    assert strategies == {*ALL, Islands, Portfolio, Reevaluate, Restart}
    assert {type(make(name, box())) for name in VARIANTS} == {*ALL, Islands}


def space(a, b):
    return {"a": Box(*a), "b": Box(*b, scale="log")}


PLAIN_BOX = ([-2.0, -2.0], [2.0, 2.0]), np.exp([-2.0, 2.0])  # as it is searched, from -2 to 2 in three dimensions
# A corner, a side without a float32 number exactly on it, a long log scale; and a huge box beside one of five numbers.
NARROW_BOX = ([-1.0, 0.1], [0.3, 0.7]), (1e-7, 3.3)
WIDE_BOX = ([-1e30, 16777216.0], [1e30, 16777220.0]), (1e-7, 3.3)
FUNCTIONS = [
    lambda x, slope: jnp.sum(slope * x),  # out of the box
    lambda x, _: shifted_sphere(x),
    lambda x, _: exact(x),
    lambda x, _: jnp.sqrt(exact(x) + 1) - 5,
]
OUT, SMOOTH, EXACT, TRANSFORMED = range(4)


@functools.lru_cache(1)
def program_of(name):
    """What a variant does in 150 generations, as `run` drives it: populations, states, and its reasons to stop."""

    def generation(strategy, args, state, _):
        x, state = strategy._ask(state)
        fitness = jax.vmap(lambda x: jnp.stack([f(x, args["slope"]) for f in FUNCTIONS])[args["which"]])(x)
        poisoned = (jnp.arange(len(x)) % 2 == 0) | (state.generation == 0)
        state = strategy.tell_flat(state, x, jnp.where(poisoned & (args["bad"] != 0), args["bad"], fitness))
        population = jax.vmap(strategy.space.decode)(x)
        return state, (population, jax.tree.map(data, state), strategy.stop_reason(state))

    def generations(strategy, key, args):
        return jax.lax.scan(functools.partial(generation, strategy, args), strategy.init(key), None, length=150)[1]

    return jax.jit(jax.vmap(generations, in_axes=(None, 0, {"which": None, "slope": None, "bad": 0})))


def generations(name, strategy, key, which, slope=(1.0, 1.0, 1.0), bad=0.0):
    """(BATCH, 150) populations, states and reasons. Every other fitness, and all of the first, are `bad`, unless that is 0."""
    args = {"which": which, "slope": np.float32(slope), "bad": np.broadcast_to(np.float32(bad), BATCH)}
    return jax.tree.map(np.asarray, program_of(name)(strategy, jax.random.split(jax.random.key(key), BATCH), args))


def leaves_no_box(name):
    """With steps up to 1,000 boxes."""
    for where, slope in ((NARROW_BOX, (1.0, 1.0, 1.0)), (WIDE_BOX, (1e-30, 1.0, 1.0))):
        strategy = make(name, space(*where))
        scaled = isinstance(getattr(strategy, "sigma", None), np.ndarray)
        for scale in (1.0, 1e3) if scaled else (1.0,):
            wild = dataclasses.replace(strategy, sigma=scale * strategy.sigma) if scaled else strategy
            population, _, _ = generations(name, wild, 1, OUT, slope)
            for leaf, (lower, upper) in zip((population["a"], population["b"]), where, strict=True):
                assert np.isfinite(leaf).all()
                assert (leaf >= np.asarray(lower, np.float64)).all()  # as the user wrote them
                assert (leaf <= np.asarray(upper, np.float64)).all()


@pytest.mark.parametrize("kind", [jaxes.CMAES, jaxes.OpenAIES, ES])
@pytest.mark.quick(False)  # which rounds as it is written
def test_a_state_means_the_same_in_every_program(kind):
    """Far from zero, where what is remembered in units of the box's width has few digits; the last one is 1/16."""
    strategy = kind(Box(1e6 - 5, 1e6 + 5, shape=3))
    result = run(strategy, lambda x: jnp.sum(jnp.square(x - 1000001)), 1, 100)
    x, _ = strategy.ask(result.state)
    np.testing.assert_allclose(x, jax.jit(strategy.ask)(result.state)[0], atol=1)
    np.testing.assert_allclose(result.solution, 1000001, atol=1)
    if hasattr(strategy, "mean"):
        np.testing.assert_allclose(strategy.mean(result.state), 1000001, atol=2)


@each
def test_no_candidate_leaves_its_box(name):
    leaves_no_box(name)


@few
@pytest.mark.quick(False)
def test_no_candidate_leaves_its_box_as_users_compile_it(name):
    leaves_no_box(name)


@each
def test_bad_fitness_leaves_a_valid_state(name):
    bad = np.tile(np.float32([np.nan, np.inf, -np.inf, np.nan]), BATCH // 4)
    population, states, _ = generations(name, make(name, space(*PLAIN_BOX)), 0, SMOOTH, bad=bad)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((population, learnt(states), states.best)))
    assert all(not np.isnan(leaf).any() for leaf in jax.tree.leaves(states))
    for generation in (0, 149):
        np.testing.assert_array_equal(states.invalid[:, generation] > 0, np.isnan(bad))
        np.testing.assert_array_equal(states.best_fitness[:, generation] == -np.inf, bad == -np.inf)


@ranking
def test_only_ranks_matter(name):
    """The same trajectories bit for bit under a monotone transform of fitness."""
    a, b = (generations(name, make(name, space(*PLAIN_BOX)), 4, which) for which in (EXACT, TRANSFORMED))
    assert_same(a[0], b[0])
    assert_same(learnt(a[1]), learnt(b[1]))


@each
def test_it_optimises(name):
    """Median of 64 runs, on an asymmetric target off the centre of the box."""
    _, states, reasons = generations(name, make(name, space(*PLAIN_BOX)), 0, SMOOTH)
    stopped = reasons != StopReason.RUNNING
    last = np.where(stopped.any(axis=1), stopped.argmax(axis=1), -1)
    fitness = states.best_fitness[np.arange(BATCH), last]
    assert np.median(fitness) < 0.02
    assert np.all(fitness < 1.0)


evaluate = jax.jit(jax.vmap(exact))


def by_hand(strategy, key, generations):
    state = strategy.init(key)
    for _ in range(generations):
        population, state = strategy.ask(state)
        state = strategy.tell(state, population, evaluate(population))
    return state


@some
@pytest.mark.quick(False)  # of equal numbers, as users compile it
def test_by_hand_is_run(name):
    strategy = make(name, box())
    compare = assert_same if isinstance(strategy, ES) else functools.partial(close, atol=1e-5)
    compare(learnt(by_hand(strategy, 7, 3)), learnt(alone(strategy, 7, 3).state))


@pytest.mark.parametrize("name", [name for name in FEW if name != "CMAES"], scope="module")  # whose operations are many
@pytest.mark.quick(False)  # of equal numbers, as users compile it
def test_compiled_is_not_compiled(name):
    strategy = make(name, box())
    compiled = by_hand(strategy, 7, 3)
    with compiled_quickly(), jax.disable_jit():  # each operation alone is compiled nevertheless
        plain = by_hand(strategy, 7, 3)
    close(learnt(plain), learnt(compiled), atol=1e-5)


@few
@pytest.mark.quick(False)  # of equal numbers, as users compile it
def test_alone_is_in_a_batch_with_bad_neighbours(name):
    """With an exact objective, bit for bit, but for products of matrices, which XLA sums in an order that depends on the batch.

    Every other neighbour sees nothing but NaN.
    """
    strategy = make(name, box())
    keys = jax.random.split(jax.random.key(0), 32)
    poisoned = np.arange(32) % 2 == 1
    runs = jax.jit(jax.vmap(lambda key, poisoned: alone(strategy, key, 40, poisoned=poisoned)))(keys, poisoned)
    for i in (0, 8, 30):
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


@some
def test_translation_moves_the_trajectory(name):
    """Powers of two: moving box and objective moves every candidate exactly."""
    a = alone(make(name, Box(-2.0, 2.0, shape=3)), 4, 10, smooth=True)
    b = alone(make(name, Box(2.0, 6.0, shape=3)), 4, 10, smooth=True, moved=4.0)
    np.testing.assert_allclose(a.solution, b.solution - 4, atol=2e-5)


@few
@pytest.mark.quick(False)  # of equal numbers, as users compile it
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
