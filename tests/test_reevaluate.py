"""Candidates that are evaluated several times."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from variants import assert_same, exact

from jaxes import CMAES, DE, ES, Box, Portfolio, Reevaluate, Restart, Stop, run, sweep

pytestmark = pytest.mark.quick


def noisy(x, key):
    """A shifted sphere and a fifth of standard normal noise."""
    return jnp.sum(jnp.square(x - 0.7)) + 0.2 * jax.random.normal(key, dtype=x.dtype)


def final_mean(strategy, generations, runs=64):
    """The median of the true fitness of the last mean."""

    def one(key):
        result = run(strategy, noisy, key, generations, stochastic=True, stop={"converged": False})
        return truth(strategy.mean(result.state))

    def truth(x):
        return jnp.sum(jnp.square(x - 0.7))

    return np.median(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), runs)))


def test_averages_end_nearer_to_the_optimum(x64):
    """In as many generations. Noise of a 16th of the variance leaves CMA-ES several times nearer to the optimum's fitness."""
    space = Box(-3.0, 3.0, shape=5)
    once, often = (final_mean(Reevaluate(CMAES(space), times=times), 150) for times in (1, 16))
    assert often < once / 3


@pytest.mark.quick(False)  # bit for bit, as users compile it
@pytest.mark.parametrize(("kind", "by"), [(CMAES, "mean"), (DE, "median"), (ES, "mean")])
def test_exact_objectives_make_no_difference(kind, by):
    """The best of it is the strategy's own run, bit for bit, at times as many evaluations."""
    strategy = kind(Box(-3.0, 3.0, shape=3))
    alone, often = run(strategy, exact, 1, 30), run(Reevaluate(strategy, times=4, by=by), exact, 1, 30)
    assert_same(alone.state, often.state)
    assert_same(alone.solution, often.solution)
    assert often.evaluations == 4 * alone.evaluations


def test_population_and_averages():
    strategy = Reevaluate(CMAES(Box(-3.0, 3.0, shape=2), lam=5), times=3)
    population, state = strategy.ask(strategy.init(0))
    assert population.shape == (15, 2)
    np.testing.assert_array_equal(population[::3], population[1::3])
    fitness = np.tile([1.0, 5.0, 3.0], 5) + np.repeat([4.0, 2.0, 0.0, 1.0, 3.0], 3)
    fitness[7] = np.nan
    told = strategy.tell(state, population, fitness)
    np.testing.assert_array_equal(told.best_fitness, 4.0)
    np.testing.assert_array_equal(told.best, population[9])
    assert told.invalid == 1
    by_median = Reevaluate(CMAES(Box(-3.0, 3.0, shape=2), lam=5), times=3, by="median").tell(state, population, fitness)
    np.testing.assert_array_equal(by_median.best_fitness, 4.0)


def test_a_population_size_may_be_a_value():
    results = sweep(
        Reevaluate(CMAES(Box(-3.0, 3.0, shape=2), lam=4, lam_max=8), times=3),
        exact,
        0,
        10,
        over={"strategy.lam": [4, 6]},
        repeats=2,
    )
    np.testing.assert_array_equal(results.runs.evaluations, [[120, 120], [180, 180]])


def test_evaluations_that_were_no_numbers_are_counted():
    """A third of them, and one of a candidate's makes its average none either; inf less inf is none, but was evaluated."""
    strategy = Reevaluate(ES(Box(-1.0, 1.0), mu=2, lam=4), times=3)
    state = strategy.init(0)
    for values, invalid in (([1, np.nan, 2], 4), ([np.inf, -np.inf, 0], 4), ([np.nan] * 3, 16)):
        population, state = strategy.ask(state)
        state = strategy.tell(state, population, np.tile(np.float32(values), 4))
        assert state.invalid == invalid


def test_restarts_go_around_it():
    space = Box(-3.0, 3.0, shape=2)
    strategy = Restart(Reevaluate(CMAES(space), times=2), policy="bipop", doublings=1)
    result = run(strategy, exact, 0, 3000, stop=Stop(evaluations=6000))
    assert result.state.runs >= 2
    assert set(np.asarray(result.state.log.lam[: int(result.state.runs)])) <= {12, 24}
    assert result.fitness == 0
    start = {"start": np.ones(2), "sigma": 0.5}
    strategy = Restart(Reevaluate(CMAES(space, **start), times=2), policy="plain")
    assert np.abs(strategy.member(0, strategy.init(0).plan).strategy.start - 1).max() == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: Reevaluate(s, times=0), r"Reevaluate\(times=...\) must be at least 1, got 0"),
        (lambda s: Reevaluate(s, by="max"), r"Reevaluate\(by=...\) must be one of 'mean', 'median', got 'max'"),
        (
            lambda s: Reevaluate(Portfolio(s.space)),
            r"Reevaluate\(strategy=...\) must be a strategy of one stage, got Portfolio",
        ),
        (lambda s: Reevaluate(s.space), r"Reevaluate\(strategy=...\) must be a strategy such as"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call(CMAES(Box(0.0, 1.0, shape=3)))
