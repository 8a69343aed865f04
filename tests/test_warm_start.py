"""Where a run begins from what another one found, and solutions from outside that are told among a run's own."""

import cmaes
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from variants import VARIANTS, assert_same, evaluations, make, shifted_sphere

from jaxes import (
    CMAES,
    DE,
    JDE,
    MAES,
    SHADE,
    SNES,
    XNES,
    Box,
    ElitistCMAES,
    SepCMAES,
    Smooth,
    Wrap,
    run,
)
from jaxes.gaussian import Gaussian
from jaxes.pytree import where
from jaxes.strategies import ALL

pytestmark = pytest.mark.quick

NAMES = [name for name, options in VARIANTS.items() if name == getattr(options.get("kind"), "__name__", None)]
NAMES = [name for name in NAMES if issubclass(VARIANTS[name]["kind"], Gaussian)] + ["CMAES symmetric", "IAMaLGaM univariate"]
"""One of each kind, and two that are more than options."""


def found(d, n=60, seed=0):
    """Solutions (n, d) in the unit box and their fitness."""
    x = np.random.RandomState(seed).uniform(size=(n, d))
    return x, np.square(x - 0.7) @ np.arange(1, d + 1) + np.prod(x, axis=1)


@pytest.mark.parametrize("share", [0.1, 0.3])
@pytest.mark.parametrize("kind", [CMAES, MAES, XNES])
def test_the_distribution_is_that_of_the_cmaes_package(kind, share, x64):
    x, fitness = found(5)
    mean, sigma, covariance = cmaes.get_warm_start_mgd(list(zip(x, fitness, strict=True)), gamma=share, alpha=0.1)
    strategy = kind(Box(0.0, 1.0, shape=5))
    state = strategy.warm_start(strategy.init(0), x, fitness, share=share)
    np.testing.assert_allclose(0.2 * state.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(0.2 * state.sigma, sigma, rtol=1e-12)
    root = state.matrix if kind is MAES else state.root.T if kind is CMAES else state.root
    np.testing.assert_allclose(root @ root.T, covariance, rtol=1e-9, atol=1e-12)
    if kind is XNES:
        np.testing.assert_allclose(state.whiten @ root, np.eye(5), atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_every_gaussian_strategy_can_begin_there(name, x64):
    """With one factor for all coordinates at least; gradient estimators with a fixed sigma only take the mean."""
    strategy = make(name, Box(0.0, 1.0, shape=4), sigma=0.2)
    x, fitness = found(4)
    x[:, 2] = 0.5 + (x[:, 2] - 0.5) / 100
    begun = strategy.init(0)
    state = jax.jit(strategy.warm_start)(begun, x, fitness)
    assert [leaf.shape for leaf in jax.tree.leaves(state)] == [leaf.shape for leaf in jax.tree.leaves(begun)]
    best = x[np.argsort(fitness)[:6]]
    np.testing.assert_allclose(0.2 * state.mean, best.mean(axis=0), rtol=1e-12)
    expected = np.sqrt(0.1**2 + best.var(axis=0))
    deviations = 0.2 * np.asarray(strategy._deviations(state))
    if hasattr(strategy, "learning_rate") and hasattr(strategy, "optimizer") and name != "PGPE":
        np.testing.assert_array_equal(strategy._deviations(state), strategy._deviations(begun))
    elif name == "LMMAES":
        np.testing.assert_allclose(deviations, np.exp(np.log(expected).mean()), rtol=1e-9)
    else:
        np.testing.assert_allclose(deviations, expected, rtol=1e-9)
    population, state = strategy.ask(state)
    told = strategy.tell(state, population, jnp.sum(population, axis=1))
    assert np.isfinite(told.mean).all()


@pytest.mark.parametrize("name", NAMES)
def test_few_solutions_a_narrow_width_and_candidates_that_are_no_numbers_leave_a_distribution(name):
    """Fewer than there are coordinates, or all the same: what a width in single precision adds to them vanishes beside them."""
    strategy = make(name, Box(0.0, 1.0, shape=10), sigma=0.2)
    begun, (x, fitness) = strategy.init(0), found(10, 4)

    @jax.jit
    def told(x, width, last):
        state = strategy.warm_start(begun, x, fitness, share=1.0, width=width)
        population, asked = strategy.ask(state)
        broken = population.at[-1].multiply(last)
        told = strategy.tell(asked, broken, jnp.sum(broken, axis=1))
        return strategy._deviations(state), population, told.mean, strategy._deviations(told)

    same = np.full_like(x, 0.3)
    for solutions, width, last in ((x, 3e-4, 1), (x, 1e-30, 1), (same, 1e-30, 1), (x, 0.5, np.nan), (x, 0.5, np.inf)):
        deviations, population, mean, later = told(*map(np.float32, (solutions, width, last)))
        assert (deviations > 0).all()
        assert ((population >= 0) & (population <= 1)).all()
        assert np.isfinite(mean).all()
        assert (later > 0).all()


@pytest.mark.parametrize("kind", [DE, JDE, SHADE])
@pytest.mark.parametrize("n", [6, 60])
def test_differential_evolution_begins_with_the_best(kind, n, x64):
    strategy = kind(Box(0.0, 1.0, shape=4), lam=9, lam_max=12)
    x, fitness = found(4, n=n)
    fitness[3] = np.nan
    begun = strategy.init(0)
    state = jax.jit(strategy.warm_start)(begun, x, fitness)
    best = x[np.argsort(fitness)[:12]]
    population, asked = strategy.ask(state)
    np.testing.assert_array_equal(population[: len(best)], best)
    np.testing.assert_array_equal(population[len(best) :], begun.parents[len(best) :])
    # What is told of them now counts, not what was found there.
    told = strategy.tell(asked, population, np.arange(12.0)[::-1])
    np.testing.assert_array_equal(told.parent_fitness[:9], np.arange(12.0)[::-1][:9])


def similar():
    """Of 200 evaluations of another task, whose optimum is 0.1 away in all of 8 coordinates, solutions and fitness."""
    x = np.random.RandomState(0).uniform(-5, 5, (200, 8))
    x[:20] = 0.6 + 0.2 * np.random.RandomState(1).randn(20, 8)
    return x, jax.vmap(shifted_sphere)(x + 0.1)


def test_a_similar_task_is_solved_sooner_by_differential_evolution(x64):
    strategy, (x, fitness) = JDE(Box(-5.0, 5.0, shape=8)), similar()

    def hits(key, warm):
        state = strategy.init(key)
        state = where(warm, strategy.warm_start(state, x, fitness), state)
        return run(strategy, shifted_sphere, None, 300, state=state, targets=[1e-1]).hits[0]

    keys = jax.random.split(jax.random.key(0), 32)
    warm, cold = (np.median(jax.jit(jax.vmap(hits, (0, None)))(keys, flag)) for flag in (True, False))
    assert 0 < warm < 0.7 * cold


def test_a_similar_task_is_solved_sooner(x64):
    strategy, (x, fitness) = CMAES(Box(-5.0, 5.0, shape=8)), similar()

    def warm(key):
        state = strategy.warm_start(strategy.init(key), x, fitness, width=0.1)
        return run(strategy, shifted_sphere, None, 300, state=state, targets=[1e-3])

    keys = jax.random.split(jax.random.key(0), 32)
    warm_hits = np.median(jax.jit(jax.vmap(warm))(keys).hits)
    (cold_hits,) = evaluations(strategy, [shifted_sphere], 300, target=1e-3)
    assert 0 < warm_hits < 0.7 * cold_hits


@pytest.mark.parametrize(
    ("bounds", "x", "mean"),
    [
        (Wrap(), [[1.0], [357.0], [359.0], [3.0]], 0.0),
        (Wrap(), [[359.0], [4.0], [358.0], [3.0]], 1.0),  # from the first one on, at 361
        (Smooth(), [[359.9], [359.8], [359.9], [359.8]], 360 - ((0.1**0.5 + 0.2**0.5) / 2) ** 2),
    ],
)
def test_the_mean_of_solutions_is_the_handlers(bounds, x, mean, x64):
    """Around the seam of a periodic box; near a side that bends the space, that of the bent points."""
    strategy = CMAES(Box(0.0, 360.0, shape=1), bounds=bounds)
    state = strategy.warm_start(strategy.init(0), np.asarray(x), np.arange(4.0), share=1.0, width=1e-9)
    away = (strategy.mean(state) - mean + 180) % 360 - 180
    assert abs(away) < 2e-3
    assert strategy.step_size(state) < 3
    mean = (state.mean * strategy._unit())[None, :]
    np.testing.assert_array_equal(bounds.home(mean, np.zeros((1, 1)), np.full((1, 1), 360.0)), mean)


def test_every_run_of_a_batch_may_have_its_own_data():
    strategy = SNES(Box(0.0, 1.0, shape=3))
    many = [found(3, seed=seed) for seed in range(4)]
    x, fitness = (np.stack(part) for part in zip(*many, strict=True))
    fitness[0, :3] = np.nan
    state = jax.jit(jax.vmap(strategy.warm_start))(jax.vmap(strategy.init)(jax.random.split(jax.random.key(0), 4)), x, fitness)
    for i in range(1, 4):
        np.testing.assert_allclose(0.2 * state.mean[i], x[i][np.argsort(fitness[i])[:6]].mean(axis=0), rtol=1e-5)
    assert np.isfinite(state.mean).all()


@pytest.mark.parametrize(
    ("kind", "most"), [(CMAES, 0.95), (MAES, 0.95), (SNES, 0.95), (SepCMAES, 0.95), (XNES, 0.99), (DE, 0.5)]
)
def test_a_good_solution_from_outside_helps(kind, most, x64):
    """Told in generations 5 to 7; the median fitness of the mean 5 later, over that without."""
    strategy = kind(Box(-5.0, 5.0, shape=8))

    def generation(state, at):
        population, state = strategy.ask(state)
        mixed = strategy.inject(state, population, jnp.full((1, 8), 0.72))
        population = jnp.where((at >= 5) & (at < 8), mixed, population)
        return strategy.tell(state, population, jax.vmap(shifted_sphere)(population)), None

    def late(key, when):
        at = jnp.arange(13, dtype=jnp.int32) + when
        state = jax.lax.scan(generation, strategy.init(key), at)[0]
        mean = strategy.mean(state) if hasattr(strategy, "mean") else strategy.best(state)
        return shifted_sphere(mean)

    keys = jax.random.split(jax.random.key(0), 256)
    late = jax.jit(jax.vmap(late, (0, None)))
    injected, alone = (np.median(late(keys, when)) for when in (0, 100))
    assert injected < most * alone


@pytest.mark.parametrize("kind", [kind for kind in ALL if issubclass(kind, Gaussian) and kind is not ElitistCMAES])
def test_a_bad_solution_from_far_away_does_no_harm(kind):
    """Beside others: the only candidate of `ElitistCMAES` is its best, whatever it is."""
    strategy = kind(Box(-np.inf, np.inf, shape=8), start=np.ones(8), sigma=0.5)

    @jax.jit
    def told(far):
        population, state = strategy.ask(strategy.init(0))
        mixed = strategy.inject(state, population, jnp.full((1, 8), far))
        told = strategy.tell(state, mixed, jax.vmap(shifted_sphere)(mixed))
        return strategy.mean(told), strategy.step_size(told)

    for far in (1e6, 1e30):
        mean, step_size = told(far)
        assert np.abs(mean - 1).max() < 2
        assert step_size < 5


def test_solutions_take_the_place_of_the_last_that_count():
    strategy = CMAES({"a": Box(0.0, 1.0), "b": Box(-1.0, 1.0, shape=2)}, lam=5, lam_max=8)
    population, state = strategy.ask(strategy.init(0))
    solutions = {"a": np.asarray([0.25, 0.5]), "b": np.zeros((2, 2))}
    mixed = strategy.inject(state, population, solutions)
    np.testing.assert_array_equal(mixed["a"][3:5], [0.25, 0.5])
    np.testing.assert_array_equal(mixed["b"][3:5], 0)
    kept = np.asarray([0, 1, 2, 5, 6, 7])
    assert_same(jax.tree.map(lambda leaf: leaf[kept], mixed), jax.tree.map(lambda leaf: leaf[kept], population))


def test_what_cannot_be_injected():
    strategy = CMAES(Box(0.0, 1.0, shape=3), lam=5)
    population, state = strategy.ask(strategy.init(0))
    with pytest.raises(ValueError, match=r"CMAES.inject\(solutions=...\) must be at most 5, .* generation, got 6"):
        strategy.inject(state, population, np.zeros((6, 3)))
    with pytest.raises(ValueError, match=r"CMAES.inject\(solutions=...\) must be finite and lie inside the box"):
        strategy.inject(state, population, np.full((1, 3), 2.0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, x, f: s.warm_start(s.init(0), x, f[:5]), r"CMAES.warm_start\(fitness=...\) must be \(60,\), one for each"),
        (lambda s, x, f: s.warm_start(s.init(0), x + 1, f), r"CMAES.warm_start\(solutions=...\) must be finite and lie inside"),
        (lambda s, x, f: s.warm_start(s.init(0), x[:, :2], f), r"CMAES.warm_start\(solutions=...\)"),
        (lambda s, x, f: s.warm_start(s.init(0), x[:0], f[:0]), r"CMAES.warm_start\(solutions=...\) must be at least one"),
        (lambda s, x, f: DE(s.space).warm_start(0, x[:0], f[:0]), r"DE.warm_start\(solutions=...\) must be at least one"),
        (
            lambda s, x, f: s.warm_start(s.init(0), x[:5], f[:5]),
            r"share=...\) leaves none of 5 .* at least 1 / 5, got 0.1",
        ),
        (lambda s, x, f: s.warm_start(s.init(0), x, f, share=2), r"share=...\) must be above 0 and at most 1, got 2"),
        (lambda s, x, f: s.warm_start(s.init(0), x, f, width=0), r"width=...\) must be positive and finite, got 0"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(CMAES(Box(0.0, 1.0, shape=3)), *found(3))
