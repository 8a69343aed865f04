"""The portfolio, and the search along the axes that it begins with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from variants import assert_same, box, exact, shifted_sphere

import jaxes
from jaxes import Box, Portfolio, StopReason, run
from jaxes.axes import AxisSearch
from jaxes.portfolio import EVOLUTION, GROWING, LEAD, LOCAL, SHARES, SLICE, TRIED
from jaxes.problems import bbob

pytestmark = pytest.mark.quick


def runs_of(strategy, problem, generations, **options):
    """A run for each of some instances."""
    runs = len(jax.tree.leaves(problem)[0])
    one = jax.vmap(lambda problem, key: run(strategy, problem, key, generations, **options))
    return jax.jit(one)(problem, jax.random.split(jax.random.key(0), runs))


@pytest.mark.parametrize(("function", "gap"), [(2, 1e-6), (3, 1e-8), (5, 1e-8)])
def test_a_sum_is_minimised_axis_by_axis(function, gap, x64):
    """Ill-conditioned, with ten optima on every axis, and with an optimum in a corner."""
    result = runs_of(AxisSearch(Box(-5.0, 5.0, shape=5)), bbob(function, 5, range(1, 16)).centred(), 400)
    assert (result.fitness < gap).all()
    assert set(np.asarray(result.stop_reason)) <= {StopReason.STAGNANT, StopReason.MOST}
    assert (result.evaluations <= 255 * 7).all()


@pytest.mark.parametrize("x64_or_not", [False, True])
def test_what_is_not_a_sum_is_told_by_one_generation(x64_or_not, request):
    if x64_or_not:
        request.getfixturevalue("x64")
    dimension = 4
    for function in (8, 15, 21):
        result = runs_of(AxisSearch(Box(-5.0, 5.0, shape=dimension)), bbob(function, dimension, range(1, 9)).centred(), 9)
        assert (result.stop_reason == StopReason.NOTSEPARABLE).all()
        assert (result.evaluations == dimension + 2).all()


def test_noise_and_nan_are_not_a_sum():
    strategy = AxisSearch(box())
    noisy = run(strategy, lambda x, key: shifted_sphere(x) + 1e-3 * jax.random.normal(key), 0, 9, stochastic=True)
    bad = run(strategy, lambda x: jnp.where(x[0] > 0, jnp.nan, shifted_sphere(x)), 1, 9)
    endless = run(strategy, lambda x: jnp.where(x[0] > 0, -jnp.inf, shifted_sphere(x)), 1, 9)
    for result in (noisy, bad, endless):
        assert result.stop_reason == StopReason.NOTSEPARABLE


def test_the_easiest_interval_is_halved():
    """Langerman et al. 1994: the curvature with which a parabola through both ends of an interval gets to the goal."""
    strategy = AxisSearch(Box(-2.0, 2.0))
    state = strategy.init(3)

    def f(x):
        return np.sin(9.0 * x) + 0.1 * x

    known: list[tuple[float, float]] = []
    for generation in range(60):
        population, state = strategy.ask(state)
        places = (np.asarray(population, np.float64) + 2) / 4
        if generation > 2 and generation % 2 == 1:
            at, of = np.asarray(sorted(known)).T
            goal = of.min() - np.finfo(np.float32).eps ** 0.5 * (of.max() - of.min())
            # f(x) - goal = a (x - v)**2 at both ends, v between them: solved for a
            width = np.where(np.diff(at) > 64 * np.finfo(np.float32).eps, np.diff(at), 1e-30)
            curvature = ((np.sqrt(of[1:] - goal) + np.sqrt(of[:-1] - goal)) / width) ** 2
            middle = (at[1:] + at[:-1]) / 2
            chosen = np.abs(middle - places[0]).argmin()
            assert abs(middle[chosen] - places[0]) < 1e-6
            assert curvature[chosen] <= curvature.min() * 1.01
        values = np.asarray([f(x) for x in np.asarray(population)], np.float32)
        known += [(float(places[i]), float(values[i])) for i in ([1, 0] if generation == 0 else [0])]
        state = strategy.tell(state, population, values)
        told = np.asarray(state.places[0])
        assert (np.diff(told) >= 0).all()
        np.testing.assert_allclose(told[told <= 1], [place for place, _ in sorted(known)], atol=1e-6)
    grid = np.linspace(-2, 2, 10_001)
    assert state.best_fitness < f(grid).min() + 1e-4


def test_a_flat_axis_is_searched_where_least_is_known():
    """A hundred points of an axis find a well of a tenth of it, unless they crowd where they began."""
    strategy = AxisSearch(Box(0.0, 1.0))
    keys = jax.random.split(jax.random.key(0), 20)
    found = jax.vmap(lambda key: run(strategy, lambda x: jnp.where(jnp.abs(x - 0.67) < 0.05, -1.0, 0.0), key, 99))(keys)
    assert (found.fitness == -1).all()
    nothing = run(strategy, lambda x: 0.0 * x, 0, 99).state.places[0]
    assert jnp.diff(nothing[nothing <= 1]).max() <= 1 / 64  # a hundred points: the widest was halved each time


def test_an_infinite_side_is_searched_around_the_start():
    space = Box([-np.inf, -np.inf, 0.0], [np.inf, 1.0, np.inf])
    strategy = AxisSearch(space, start=np.float32([3.0, 0.5, 2.0]), sigma=2.0)
    result = run(strategy, lambda x: jnp.sum((x - jnp.asarray([-4.0, -3.0, 7.0])) ** 2), 0, 400)
    np.testing.assert_allclose(result.solution, [-4.0, -3.0, 7.0], atol=1e-3)


def log_of(result):
    log, runs = jax.tree.map(np.asarray, result.state.log), int(result.state.runs)
    assert runs <= len(log.stage)
    return jax.tree.map(lambda column: column[:runs], log)


SMALL = Portfolio(box(2), doublings=1)


def rough(x):
    """Exact in floating point, with many optima, and no sum."""
    y = jnp.stack([x[0] + x[1], x[0] - x[1]])
    return exact(y) + jnp.sum(jnp.where(jnp.round(y * 3) % 2 == 0, 0.0, 5000.0))


@pytest.mark.parametrize(("each", "least"), [(TRIED, 0), (100, 400)])
def test_members_share_the_budget_by_their_progress(each, least, monkeypatch):
    """What the rules say of the evaluations and the fitness of the runs before, written again."""
    d = 2
    monkeypatch.setattr("jaxes.portfolio.TRIED", each)
    monkeypatch.setattr("jaxes.portfolio.TRIED_AT_LEAST", least)  # by 3,500 evaluations, either has found the best in 2-D

    def own(x):  # a program of its own, for nothing else is to be traced with these settings
        return rough(x)

    results = jaxes.minimize(own, strategy=SMALL, runs=24, stop={"evaluations": 12_000}, history=False)
    seen, led = set(), 0
    for one in map(results.__getitem__, range(24)):
        log = log_of(one)
        spent, found, grown, paused = np.zeros(2), np.full(2, np.inf), 0, False
        assert list(log.stage[:2]) == [0, LOCAL]
        assert log.reason[0] == StopReason.NOTSEPARABLE
        assert log.evaluations[0] % (d + 2) == 0
        finish = False
        for stage, lam, evaluations, fitness, reason in zip(
            log.stage[2:], log.lam[2:], log.evaluations[2:], log.fitness[2:], log.reason[2:], strict=True
        ):
            tried = (spent >= max(each * d, least)).all()
            shares = np.asarray(SHARES) * np.where(tried & (found == found.min()), LEAD, 1)
            due = 1 if finish else int(np.argmin(spent / shares))
            led += due != int(np.argmin(spent / SHARES)) and not finish
            if finish:
                assert stage == LOCAL
            elif due == 0:
                assert stage == GROWING + min(grown, 1)
                assert lam == 4 * 6 * 2 ** min(grown, 1)
                grown += 1
            else:
                assert stage == EVOLUTION
                assert evaluations <= SLICE * d
            seen.add((int(stage), int(reason)))
            if stage == EVOLUTION:
                paused = reason == StopReason.MOST
            finish = stage == EVOLUTION and not paused and reason != StopReason.WORSE
            spent[due] += evaluations
            found[due] = min(found[due], fitness)
        assert one.evaluations <= 12_000
        assert log.fitness.min() >= one.fitness
    reasons = {reason for stage, reason in seen if stage == EVOLUTION}
    assert StopReason.DIVERSITY in reasons or StopReason.WORSE in reasons
    assert led > 0
    assert (results.fitness == results.fitness.min()).mean() > 0.5


def test_evolution_goes_on_where_it_paused():
    """Of nothing but noise it only ever pauses: its generations add up."""

    def noise(x, key):
        return jnp.where(x[0] == x[0], jax.random.uniform(key), 0)

    result = run(SMALL, noise, 0, 100_000, stop={"evaluations": 30_000}, stochastic=True)
    log = log_of(result)
    evolved = log.stage == EVOLUTION
    assert evolved.sum() >= 2
    assert (log.reason[evolved] == StopReason.MOST).all()
    under_way = result.state.generation - result.state.since if result.state.plan.stage == EVOLUTION else 0
    own = result.state.members[SMALL.kinds()[EVOLUTION]].generation
    assert own == log.evaluations[evolved].sum() // 20 + under_way


def test_a_run_is_the_same_alone_and_in_a_batch():
    batch = jaxes.minimize(rough, strategy=SMALL, runs=5, key=3, stop={"evaluations": 3000}, history=False)
    alone = run(SMALL, rough, jax.random.fold_in(jax.random.key(3), 4), 3000, stop={"evaluations": 3000})
    assert_same(alone.state.log, batch[4].state.log)
    assert alone.fitness == batch[4].fitness


def test_it_is_what_minimize_does_by_default():
    result = jaxes.minimize(shifted_sphere, box(), runs=3, stop={"target": 1e-6})
    assert (result.stop_reason == StopReason.TARGET).all()
    assert (result.evaluations < 500).all()
    assert (result.state.plan.stage == 0).all()
    short = jaxes.minimize(shifted_sphere, box(), runs=3, stop={"evaluations": 100})
    assert ((short.evaluations >= 95) & (short.evaluations <= 100)).all()
    assert len(short.history.generation[0]) <= 1000
    again = jaxes.minimize(shifted_sphere, box(), generations=9)
    assert again.generations == 9
    many = jaxes.minimize(lambda x: jnp.sum(x * x), Box(-1.0, 1.0, shape=20_000), generations=2)
    assert many.solution.shape == (20_000,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: Portfolio(Box(-np.inf, 1.0, shape=2)),
            r"Portfolio\(start=...\) must be given for a space with an infinite side",
        ),
        (lambda: Portfolio(Box(-1.0, 1.0), sigma=-1.0), r"Portfolio\(sigma=...\) must be positive and finite"),
        (lambda: Portfolio(Box(-1.0, 1.0), doublings=-1), r"Portfolio\(doublings=...\) must be at least 0, got -1"),
        (lambda: Portfolio(Box(-1.0, 1.0), start=3.0), r"Portfolio\(start=...\) must be finite and lie inside the box"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
