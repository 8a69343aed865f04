"""Restarts: the policies are the published ones, and how runs are gathered changes no number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from variants import assert_same, box, exact

import jaxes
import jaxes.batch
from jaxes import CMAES, DE, ES, JDE, SNES, Box, ElitistCMAES, Islands, OpenAIES, Reevaluate, Restart, Stop, StopReason, run
from jaxes.stages import LOG

pytestmark = pytest.mark.quick

SMALL = SNES(box(2), lam=4, sigma=0.3)


def rough(x):
    """Exact in floating point, with many local optima."""
    return exact(x) + jnp.sum(jnp.where(jnp.round(x * 3) % 2 == 0, 0.0, 5000.0))


def told_of(result):
    """The runs in a result's log, oldest first, as NumPy arrays."""
    log = jax.tree.map(np.asarray, result.state.log)
    runs = int(result.state.runs)
    assert runs <= LOG
    return jax.tree.map(lambda column: column[:runs], log)


def same(a, b):
    """Up to what XLA rounds otherwise in another batch, which an exact objective does not show."""
    for name in ("fitness", "generations", "evaluations"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    np.testing.assert_allclose(a.solution, b.solution, rtol=1e-4)
    assert_same(a.state.log, b.state.log)


def test_a_run_is_the_same_however_it_is_driven(monkeypatch):
    """Alone, in a batch with neighbours that see NaN, in two halves, from the host, gathered in narrow batches, by hand."""
    strategy = Restart(SMALL, doublings=1, most=12)
    keys = jax.random.split(jax.random.key(0), 9)
    poison = jnp.arange(9) % 2 == 1

    def objective(x, poisoned):
        return jnp.where(poisoned, jnp.nan, rough(x))

    alone = run(strategy, objective, keys[4], 120, args=False)
    assert alone.state.runs > 5
    batch = jax.jit(jax.vmap(lambda key, p: run(strategy, objective, key, 120, args=p)))(keys, poison)
    same(alone, batch[4])
    half = run(strategy, objective, keys[4], 50, args=False)
    same(alone, run(strategy, objective, None, 70, state=half.state, args=False))

    swept = {"over": {"args": [False, True]}, "repeats": 5, "stop": {"evaluations": 700}}
    wide = jaxes.sweep(strategy, objective, 1, 400, **swept).runs
    monkeypatch.setattr(jaxes.batch, "WORTH", 0.0)
    narrow = jaxes.sweep(strategy, objective, 1, 400, **swept).runs
    same(wide, narrow)
    assert len(np.unique(wide.state.runs[0])) > 1
    assert (wide.evaluations <= 700).all()
    assert (wide.evaluations + wide.state.plan.lam > 700).all()

    state = by_hand = strategy.init(keys[4])
    for _ in range(30):
        population, state = strategy.ask(state)
        state = strategy.tell(state, population, jax.vmap(rough)(population))
        stage = strategy.current(by_hand)
        population, by_hand = stage.ask(by_hand)
        assert population.shape[0] == stage.population_size >= by_hand.plan.lam
        by_hand = stage.tell(by_hand, population, jax.vmap(rough)(population))
    assert_same([state.log, state.best, state.spent], [by_hand.log, by_hand.best, by_hand.spent])
    assert_same(state.log, run(strategy, objective, keys[4], 30, args=False).state.log)


@pytest.mark.quick(False)  # bit for bit, as users compile it
def test_the_first_run_is_the_strategys_own():
    alone = run(SMALL, rough, 5, 12)
    for policy in ("plain", "ipop"):
        again = run(Restart(SMALL, policy=policy, doublings=1), rough, 5, 12)
        assert_same([alone.solution, alone.fitness], [again.solution, again.fitness])
        np.testing.assert_array_equal(again.state.members[0].mean, alone.state.mean)


def test_what_is_told_of_the_runs():
    strategy = Restart(SMALL, policy="ipop", doublings=1)
    result = jaxes.minimize(rough, strategy=strategy, runs=2, stop=Stop(evaluations=1500), maximise=True)
    for one in (result[0], result[1]):
        told, log = one.restarts(), told_of(one)
        assert [row["lam"] for row in told] == list(log.lam)
        assert [row["evaluations"] for row in told] == list(log.evaluations)
        assert max(row["fitness"] for row in told) <= one.fitness
        assert {row["reason"] for row in told} == {StopReason(reason).message for reason in log.reason}
    for wrong in (result, run(SMALL, rough, 0, 5)):
        with pytest.raises(ValueError, match="needs the result of one run of Restart"):
            wrong.restarts()


def test_bipop_is_pycmas():
    """What its own rules make of the evaluations that each run took; N. Hansen 2009 and cma.fmin(bipop=True)."""
    strategy = Restart(SMALL, doublings=3, most=40)
    shares, scales = [], []
    for budget in (300, 4000):  # with the second run under way, and later
        stop = Stop(evaluations=budget)
        results = jaxes.minimize(rough, strategy=strategy, runs=32, generations=4000, stop=stop, history=False)
        for one in map(results.__getitem__, range(32)):
            assert one.evaluations <= budget
            assert one.evaluations + one.state.plan.lam > budget
            log = told_of(one)
            spent, doublings = {"small": 0, "large": 0}, 0
            for i, (lam, evaluations) in enumerate(zip(log.lam, log.evaluations, strict=True)):
                if i == 0:
                    regime, limit = "small", 4 * 40
                    assert lam == 4
                elif spent["small"] < spent["large"]:
                    regime, limit = "small", max(min(40 * lam, spent["large"] // 2), lam)
                    assert 4 <= lam <= 4 * 2**doublings
                    shares.append(np.log2(lam / 4) / doublings)
                else:
                    regime, doublings, limit = "large", min(doublings + 1, 3), 40 * lam
                    assert lam == 4 * 2**doublings
                assert evaluations <= limit
                assert evaluations % lam == 0
                spent[regime] += evaluations
            assert one.evaluations == log.evaluations.sum() + (one.state.spent - one.state.begun)
            scales.append(float(one.state.plan.scale))
            assert not one.state.policy.large or scales[-1] == 1
    # 4 floor(2**(k u**2)) / 4, less what the floor takes off: the mean of u**2 is 1/3. Five standard errors.
    assert len(shares) > 100
    assert abs(np.mean(shares) - 1 / 3) < 0.08 + 5 * np.std(shares) / len(shares) ** 0.5
    assert min(scales) > 0.01
    assert {1.0} < set(scales)


def test_ipop_doubles():
    log = told_of(run(Restart(SMALL, policy="ipop", doublings=2, most=10), rough, 3, 60))
    np.testing.assert_array_equal(log.lam[:5], [4, 8, 16, 16, 16])
    np.testing.assert_array_equal(log.stage[:5], [0, 1, 2, 2, 2])


def test_reasons_are_logged_and_the_best_is_kept():
    def two_bowls(x):
        return jnp.minimum(jnp.sum((x - 1) ** 2), 0.5 + jnp.sum((x + 1) ** 2))

    results = jaxes.minimize(two_bowls, strategy=Restart(SMALL, policy="plain"), runs=16, generations=1500, history=False)
    assert (results.fitness < 1e-9).all()
    wrong = 0
    for one in map(results.__getitem__, range(16)):
        log = told_of(one)
        assert set(log.reason) <= {StopReason.TOLFUN, StopReason.TOLX, StopReason.TOLFUNHIST, StopReason.EQUALFUNVALS}
        assert min(log.fitness.min(), one.state.members[0].best_fitness) == one.fitness
        wrong += (np.abs(log.fitness - 0.5) < 1e-6).sum()
    assert wrong > 8


def test_the_last_restart_ends_the_run():
    for restarts, runs in ((0, 1), (2, 3)):
        result = run(Restart(SMALL, policy="ipop", doublings=1, restarts=restarts, most=7), rough, 0, 100)
        assert (result.state.runs, result.generations) == (runs, 7 * runs)
        assert result.stop_reason == StopReason.MOST
        again = run(Restart(SMALL, policy="ipop", doublings=1, restarts=restarts, most=7), rough, None, 9, state=result.state)
        assert_same(again.state, result.state)
    # Two programs, which round otherwise: an objective of integers hides that.
    alone = run(SMALL, exact, 0, 1000)
    once = run(Restart(SMALL, policy="plain", restarts=0), exact, 0, 1000)
    assert (alone.generations, alone.stop_reason) == (once.generations, once.stop_reason)
    assert alone.generations < 1000


def test_any_strategy_can_be_restarted():
    when = {"stagnation": 5}
    es = ES(box(2), mu=2, lam=6, sigma=0.1)
    log = told_of(run(Restart(es, policy="ipop", doublings=1, when=when), rough, 0, 80))
    np.testing.assert_array_equal(log.lam[:3], [6, 12, 12])
    assert set(log.reason) == {StopReason.STAGNATION}
    log = told_of(run(Restart(OpenAIES(box(2), lam=6), doublings=1, when=when), rough, 0, 200))
    assert set(log.lam) > {6, 12}
    log = told_of(run(Restart(JDE(box(2), lam=6), policy="ipop", doublings=1, when=when), rough, 0, 80))
    np.testing.assert_array_equal(log.lam[:3], [6, 12, 12])
    log = told_of(run(Restart(CMAES(box(2), lam=5, sampling="mirrored"), doublings=1, when=when), rough, 0, 200))
    assert set(log.lam) > {5, 10}
    log = told_of(run(Restart(SNES(box(2), lam=5), doublings=1, when=when), rough, 0, 200))
    assert set(log.lam) > {5, 10}  # its population may have any size
    log = told_of(run(Restart(ElitistCMAES(box(2)), policy="plain", most=9), rough, 0, 30))
    np.testing.assert_array_equal(log.evaluations, [9, 9, 9])


@pytest.mark.parametrize(("policy", "least", "most"), [("plain", 1.0, 1.0), ("ipop", 0.2, 0.999)])
def test_reports_tell_which_share_of_the_candidates_was_of_use(policy, least, most):
    """All, where there is one population size; else, runs of several share batches. The mean of four minimisations."""
    ends = []
    strategy = Restart(SNES(box(2), lam=5), policy=policy, doublings=3, when={"stagnation": 5})
    for key in range(4):
        shares: list[float] = []
        options = {"runs": 16, "generations": 150, "key": key}
        jaxes.minimize(rough, strategy=strategy, **options, callback=lambda report, to=shares: to.append(report.occupancy))
        assert all(0 < share <= 1 for share in shares)
        assert shares[-1] <= most
        ends.append(shares[-1])
    assert least <= np.mean(ends)


def test_starts_are_anywhere_in_the_box_and_where_the_user_says_in_the_open():
    def flat(solution):
        return 0 * solution[0]

    space = (Box(-2.0, 2.0), Box(-jnp.inf, 5.0))
    strategy = Restart(CMAES(space, sigma=1e-6, start=(1.0, 3.0)), policy="plain", most=1)
    states = [run(strategy, flat, 7, n).state for n in range(1, 9)]
    starts = np.asarray([state.plan.start for state in states])
    np.testing.assert_array_equal(starts[:, 1], 3.0)
    assert len(np.unique(starts[:, 0])) == 8
    means = np.asarray([state.members[0].mean for state in states]) * 1e-6
    np.testing.assert_allclose(means, starts, atol=1e-5)
    first = strategy.init(7)
    np.testing.assert_allclose(np.asarray(first.members[0].mean) * 1e-6, [1.0, 3.0], rtol=1e-6)


def test_restarts_pay_off(x64):
    """BBOB's Rastrigin function in 3-D: few runs of the default size succeed, most do with restarts."""

    def share(strategy, repeats=1):
        problem = jaxes.problems.bbob(3, dimension=3, instance=[*range(1, 17)] * repeats).centred()
        problems = jax.jit(jax.vmap(lambda p, k: run(strategy, p, k, 30_000, stop={"evaluations": 30_000, "target": 1e-8})))
        return (problems(problem, jax.random.split(jax.random.key(0), 16 * repeats)).fitness <= 1e-8).mean()

    cmaes = CMAES(Box(-5.0, 5.0, shape=3))
    assert share(cmaes, repeats=8) <= 0.1
    assert share(Restart(cmaes, policy="ipop", doublings=3)) >= 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Restart(box()), r"Restart\(strategy=...\) must be a strategy such as jaxes.CMAES\(space\), got Box"),
        (lambda: Restart(Restart(SMALL)), r"Restart\(strategy=...\) must be a strategy of one stage, got Restart"),
        (lambda: Restart(CMAES(box(), lam_max=8)), r"Restart\(strategy=...\) must have no lam_max"),
        (lambda: Restart(Reevaluate(CMAES(box(), lam_max=8))), r"Restart\(strategy=...\) must have no lam_max"),
        (lambda: Restart(CMAES(box()), most=10.7), r"Restart\(most=...\) must be an integer from 1 to .*, got 10.7"),
        (lambda: Restart(CMAES(box()), restarts=0.9), r"Restart\(restarts=...\) must be an integer from 0 to .*, got 0.9"),
        (
            lambda: Restart(SMALL, policy="double"),
            r"Restart\(policy=...\) must be one of 'plain', 'ipop', 'bipop', got 'double'",
        ),
        (lambda: Restart(DE(box())), r"Restart\(policy='bipop'\) cannot change DE: .* no initial step size"),
        (lambda: Restart(SMALL, doublings=-1), r"Restart\(doublings=...\) must be at least 0, got -1"),
        (lambda: Restart(SMALL, restarts=-1), r"Restart\(restarts=...\) must be an integer from 0 to 2147483647, got -1"),
        (lambda: Restart(SMALL, most=0), r"Restart\(most=...\) must be an integer from 1 to 2147483647, got 0"),
        (lambda: Restart(SMALL, when={"target": 1.0}), r"Restart\(when=...\) ends single runs; give target as stop="),
        (
            lambda: Restart(ElitistCMAES(box()), policy="ipop"),
            r"cannot change ElitistCMAES: ElitistCMAES has a population of 1",
        ),
        (
            lambda: Restart(ES(box(), mu=2, lam=6, seeds=np.zeros((1, 3))), policy="plain"),
            r"Restart\(strategy=...\) must be able to begin elsewhere: ES\(seeds=...\) are",
        ),
        (
            lambda: Restart(Islands(CMAES(box()), islands=2, over={"start": np.zeros((2, 3))}), policy="plain"),
            r"Restart\(strategy=...\) must be able to begin elsewhere: Islands\(over=...\) has a start for each",
        ),
        (lambda: Restart(ES(box(), mu=2, lam=6)), r"Restart\(policy='bipop'\) cannot change ES: ES has no initial step size"),
    ],
)
def test_refusals(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
