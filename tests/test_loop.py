"""run(): stop conditions, history, objectives, and how runs end."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from variants import assert_same, box, exact, shifted_sphere

import jaxes
from jaxes import CMAES, ES, Box, Clip, SelfAdaptation, Stop, StopReason, run
from jaxes.loop import BLOCK, _first_hits
from jaxes.pytree import pytree

STRATEGY = ES(box(), mu=5, lam=20, sigma=0.3)
ADAPTIVE = ES(box(), mu=3, lam=21, sigma=SelfAdaptation())
SMALL = ES(Box(-2.0, 2.0), mu=1, lam=1, sigma=0.3, bounds=Clip())  # quick to compile, where what is evolved does not matter

pytestmark = pytest.mark.quick


def test_history_is_what_happened():
    state, rows = STRATEGY.init(3), []
    for _ in range(7):
        population, state = STRATEGY.ask(state)
        fitness = jax.vmap(exact)(population)
        state = STRATEGY.tell(state, population, fitness)
        rows.append((state.generation, state.best_fitness, fitness.min(), np.float32(np.mean(fitness)), 0.3))
    history = run(STRATEGY, exact, 3, 7, history=True).history
    fields = (history.generation, history.best, history.population_best, history.population_mean, history.step_size)
    np.testing.assert_allclose(np.stack(fields, 1), np.asarray(rows, np.float32), rtol=1e-6)


@pytest.mark.parametrize("every", [1, 2, 7, 10, 16, 33, 100])
@pytest.mark.parametrize("generations", [0, 1, 16, 50])
def test_a_record_every_so_many_generations(every, generations):
    result = run(SMALL, exact, 0, generations, history=every)
    count = -(-generations // every)
    expected = np.minimum(every * np.arange(1, count + 1), generations)
    np.testing.assert_array_equal(result.history.generation, expected)
    if generations:
        assert result.history.best[-1] == result.fitness


def evaluated(strategy, objective, key, generations):
    """Every fitness of a run, in the order of evaluation."""
    state, fitness, evaluate = strategy.init(key), [], jax.jit(jax.vmap(objective))
    for _ in range(generations):
        population, state = strategy.ask(state)
        fitness.append(evaluate(population))
        state = strategy.tell(state, population, fitness[-1])
    return np.concatenate(fitness)


TARGETS = [1e5, 2000.0, 300, 50, 7, -1]


def test_hits_are_the_first_evaluations_that_reached_the_targets():
    fitness = evaluated(STRATEGY, exact, 3, 40)
    expected = [np.flatnonzero(fitness <= target)[0] + 1 if (fitness <= target).any() else 0 for target in TARGETS]
    assert expected[0] == 1
    assert 0 < expected[1] < expected[3] < expected[4]
    assert expected[5] == 0
    result = run(STRATEGY, exact, 3, 40, targets=TARGETS)
    np.testing.assert_array_equal(result.hits, expected)
    np.testing.assert_array_equal(result.targets, np.float32(TARGETS))
    # Also through a pause, in a batch, backwards, and where only an accelerator's code does it.
    np.testing.assert_array_equal(jaxes.minimize(exact, strategy=STRATEGY, runs=2, targets=TARGETS).hits.shape, (2, 6))
    other = jaxes.minimize(
        lambda x: -exact(x), strategy=STRATEGY, key=3, generations=40, targets=-np.asarray(TARGETS), maximise=True
    )
    np.testing.assert_array_equal(other.hits, expected)
    np.testing.assert_array_equal(other.targets, -np.float32(TARGETS))
    swept = jaxes.sweep(STRATEGY, exact, 3, 40, over={"sigma": [0.3, 0.1]}, repeats=2, targets=TARGETS)
    assert swept.runs.hits.shape == (2, 2, 6)
    np.testing.assert_array_equal(
        swept.runs.hits[0, 0], run(STRATEGY, exact, jax.random.fold_in(jax.random.key(3), 0), 40, targets=TARGETS).hits
    )


@pytest.mark.parametrize("platform", ["cpu", "tpu"])
def test_hits_within_a_generation(platform, monkeypatch):
    if platform != "cpu":
        monkeypatch.setattr("jaxes.loop.lax.platform_dependent", lambda *arguments, cpu, default: default(*arguments))
    fitness = jnp.asarray([5.0, 3.0, jnp.inf, 3.0, 1.0, 2.0, -jnp.inf])
    targets = jnp.asarray([9.0, 3.0, 2.0, 0.0, -jnp.inf, 4.0])
    np.testing.assert_array_equal(_first_hits(jnp.int32(70), fitness, targets), [71, 72, 75, 77, 77, 72])
    np.testing.assert_array_equal(_first_hits(jnp.int32(0), fitness[:1], targets), [1, 0, 0, 0, 0, 0])
    late = _first_hits(jnp.int32(2**31 - 2), fitness, targets)
    assert (late > 2**31 - 16).all()


def test_nothing_hits_where_nothing_is_a_number():
    result = run(STRATEGY, lambda x: jnp.sum(x) * jnp.nan, 3, 10, targets=[1e30, 1.0])
    np.testing.assert_array_equal(result.hits, [0, 0])


def of_ones_own(**methods):
    """A random search, as a class with some methods replaced."""

    def _tell(self, state, x, fitness):
        return dataclasses.replace(state, steps=state.steps + 1)

    given = {
        "population_size": property(lambda self: 3),
        "_init": lambda self, state: OwnState(**vars(state), steps=jnp.zeros(())),
        "_ask": lambda self, state: (jnp.zeros((3, 2)), state),
        "_tell": _tell,
        "step_size": lambda self, state: jnp.ones(()),
        "__annotations__": {"space": Box},
    }
    return pytree(type("Own", (jaxes.Strategy,), given | methods))(Box(-1.0, 1.0, shape=2))


@pytree
class OwnState(jaxes.State):
    steps: jax.Array


def test_a_strategy_of_ones_own():
    assert run(of_ones_own(), exact, 0, 5).state.steps == 5


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (
            {"_ask": lambda self, state: (jnp.zeros((4, 2)), state)},
            r"Own._ask must return candidates of shape \(3, 2\) .*4, 2",
        ),
        ({"_ask": lambda self, state: (jnp.zeros((3, 2), int), state)}, r"Own._ask must return .* dtype float32, got .*int32"),
        (
            {"_tell": lambda self, state, x, fitness: dataclasses.replace(state, steps=fitness)},
            r"Own._tell must not change what state.steps is: it was float32\[\] and became float32\[3\]",
        ),
        (
            {"_tell": lambda self, state, x, fitness: dataclasses.replace(state, steps=None)},
            r"Own._tell must return a state like the one of _init",
        ),
    ],
)
def test_a_strategy_of_ones_own_is_told_what_is_wrong(methods, message):
    with pytest.raises(ValueError, match=message):
        run(of_ones_own(**methods), exact, 0, 5)


def test_custom_records():
    def record(state, population, fitness):
        return {"mean": population.mean(0), "worst": fitness.max(), "seen": state.generation}

    result = run(STRATEGY, exact, 0, 9, history=3, record=record)
    assert result.history.custom["mean"].shape == (3, 3)
    np.testing.assert_array_equal(result.history.custom["seen"], [3, 6, 9])
    assert (result.history.custom["worst"] >= result.history.population_best).all()


@pytest.mark.quick(False)
def test_memory_does_not_grow_with_generations():
    def bytes_needed(generations, history=False):
        def program(key):
            return run(STRATEGY, exact, key, generations, history=history)

        memory = jax.jit(program).lower(jax.random.key(0)).compile().memory_analysis()
        return memory.temp_size_in_bytes + memory.output_size_in_bytes

    assert bytes_needed(100_000) == bytes_needed(100)
    assert bytes_needed(100_000, history=True) > 100_000 * 4
    assert bytes_needed(100_000, history=1000) < bytes_needed(100) + 100 * 100


def test_a_hundred_thousand_generations():
    result = run(STRATEGY, exact, 0, 100_000)
    assert result.generations == 100_000
    assert result.evaluations == 2_000_000
    assert result.stop_reason == StopReason.GENERATIONS


def reference_stop(strategy, key, limit, condition):
    """The generation after which a hand-driven run stops, and its state."""
    state = strategy.init(key)
    evaluate = jax.jit(jax.vmap(shifted_sphere))
    while state.generation < limit:
        population, state = strategy.ask(state)
        fitness = evaluate(population)
        state = strategy.tell(state, population, fitness)
        if condition(state, np.asarray(population), np.asarray(fitness)):
            break
    return int(state.generation), state


CONDITIONS = {
    "target": (Stop(target=0.05), StopReason.TARGET, lambda s, x, f: s.best_fitness <= 0.05),
    "stagnation": (Stop(stagnation=4), StopReason.STAGNATION, lambda s, x, f: s.generation - 1 - s.best_generation >= 4),
    "spread": (Stop(spread=0.02), StopReason.SPREAD, lambda s, x, f: f.max() - f.min() < 0.02),
    "diversity": (Stop(diversity=0.03), StopReason.DIVERSITY, lambda s, x, f: x.std(0).max() < 0.03),
    "step_size": (Stop(step_size=0.01), StopReason.STEP_SIZE, lambda s, x, f: ADAPTIVE.step_size(s) < 0.01),
    "evaluations": (Stop(evaluations=21 * 12 + 5), StopReason.EVALUATIONS, lambda s, x, f: s.generation == 12),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_stop_conditions(name):
    """The run stops after the generation that a loop by hand stops after, and is frozen from then on."""
    stop, reason, condition = CONDITIONS[name]
    generation, state = reference_stop(ADAPTIVE, 1, 200, condition)
    assert 1 < generation < 200
    result = run(ADAPTIVE, shifted_sphere, 1, 200, stop=stop, history=True)
    assert result.stop_reason == reason
    assert result.message() == reason.message
    assert result.generations == generation
    assert result.evaluations == 21 * generation
    np.testing.assert_allclose(result.state.parents, state.parents, rtol=1e-5)
    assert (np.asarray(result.history.generation[generation - 1 :]) == generation).all()
    assert (np.asarray(result.history.best[generation - 1 :]) == result.fitness).all()


@pytest.mark.parametrize("name", ["target", "stagnation", "step_size", "evaluations"])
def test_a_stopped_run_stays_stopped_when_resumed(name):
    stop, reason, _ = CONDITIONS[name]
    stopped = run(ADAPTIVE, shifted_sphere, 1, 200, stop=stop, history=True)  # the program of the test before
    again = run(ADAPTIVE, shifted_sphere, None, 200, stop=stop, history=True, state=stopped.state)
    assert again.stop_reason == reason
    assert_same(again.state, stopped.state)
    assert run(ADAPTIVE, shifted_sphere, None, 3, state=stopped.state).generations == stopped.generations + 3


def test_diversity_is_that_of_the_candidates_that_count():
    strategy = CMAES(box(), lam=6, lam_max=64)
    x, state = strategy._ask(strategy.init(0))
    expected = np.std(x[:6], axis=0).max()
    np.testing.assert_allclose(strategy.diversity(state, x.at[6:].set(1e3)), expected, rtol=1e-6)


def test_stopped_runs_are_frozen_while_others_go_on():
    targets = jnp.asarray([1e3, 1.0, 1e-2, -1.0])
    runs = jax.jit(jax.vmap(lambda t: run(ADAPTIVE, exact, 1, 100, stop=Stop(target=t))))(targets)
    assert list(np.diff(runs.generations) > 0) == [True] * 3
    assert list(runs.stop_reason) == [StopReason.TARGET] * 3 + [StopReason.GENERATIONS]
    for i, target in enumerate(targets):
        assert_same(run(ADAPTIVE, exact, 1, 100, stop=Stop(target=target)).state, jax.tree.map(lambda a, i=i: a[i], runs.state))


def test_the_program_ends_when_all_have_stopped():
    """A billion generations would take hours."""
    runs = jax.jit(jax.vmap(lambda key: run(ADAPTIVE, exact, key, 1_000_000_000, stop=Stop(target=1e5))))
    result = runs(jax.random.split(jax.random.key(0), 8))
    assert (result.generations <= BLOCK).all()


def test_several_reasons_at_once_are_told_by_rank():
    result = run(STRATEGY, exact, 0, 9, stop=Stop(target=np.inf, spread=np.float32(1e30), evaluations=20))
    assert result.stop_reason == StopReason.TARGET


def test_infinite_fitness_has_no_spread():
    result = run(STRATEGY, lambda x: jnp.where(x[0] > 0, jnp.inf, 1.0), 0, 9, stop=Stop(spread=1e30))
    assert result.stop_reason in (StopReason.GENERATIONS, StopReason.SPREAD)
    result = run(STRATEGY, lambda x: jnp.inf + x[0], 0, 9, stop=Stop(spread=1e30))
    assert result.stop_reason == StopReason.GENERATIONS


def test_objectives_in_every_form():
    plain = run(STRATEGY, exact, 0, 20)
    batched = run(STRATEGY, lambda x: jax.vmap(exact)(x), 0, 20, batched=True)
    args = run(STRATEGY, lambda x, a: exact(x) * a["scale"], 0, 20, args={"scale": 2.0})
    assert_same(plain.solution, batched.solution)
    assert_same(plain.solution, args.solution)
    assert args.fitness == 2 * plain.fitness
    best = run(STRATEGY, lambda x: -exact(x), 0, 20, maximise=True, stop=Stop(target=1e9), history=True)
    assert_same(plain.solution, best.solution)
    assert best.fitness == -plain.fitness
    assert (np.diff(best.history.best) >= 0).all()
    assert best.stop_reason == StopReason.GENERATIONS
    assert run(STRATEGY, lambda x: -exact(x), 0, 20, maximise=True, stop=Stop(target=-1e9)).stop_reason == StopReason.TARGET


def test_stochastic_objectives_get_fresh_keys():
    def noise(x, key):
        return jax.random.uniform(key)

    def record(state, population, fitness):
        return fitness

    result = run(STRATEGY, noise, 0, 10, stochastic=True, history=True, record=record)
    assert len(np.unique(result.history.custom)) == 200
    again = run(STRATEGY, lambda x, a, key: noise(x, key) + a, 0, 10, args=1.0, stochastic=True)
    np.testing.assert_allclose(again.fitness, result.fitness + 1, rtol=1e-6)
    batched = run(
        STRATEGY,
        lambda x, key: jax.random.uniform(key, (20,)),
        0,
        10,
        stochastic=True,
        batched=True,
        history=True,
        record=record,
    )
    assert len(np.unique(batched.history.custom)) == 200


@pytest.mark.quick(False)  # bit for bit, as users compile it
def test_jit_vmap_and_scan_over_run():
    keys = jax.random.split(jax.random.key(0), 4)
    one = jax.jit(lambda key: run(STRATEGY, exact, key, 15))
    each = [one(key) for key in keys]
    vmapped = jax.jit(jax.vmap(lambda key: run(STRATEGY, exact, key, 15)))(keys)
    _, scanned = jax.lax.scan(lambda _, key: (None, run(STRATEGY, exact, key, 15).solution), None, keys)
    nested = jax.vmap(jax.vmap(lambda key: run(STRATEGY, exact, key, 15).solution))(keys.reshape(2, 2))
    for i, result in enumerate(each):
        assert_same(result.solution, vmapped.solution[i])
        assert_same(result.solution, scanned[i])
        assert_same(result.solution, nested[i // 2, i % 2])
        # What is no part of a user's program rounds otherwise, on a CPU.
        np.testing.assert_allclose(run(STRATEGY, exact, keys[i], 15).solution, result.solution, rtol=1e-4)


def test_keys_and_seeds():
    by_seed = run(STRATEGY, exact, 7, 5)
    assert_same(by_seed, run(STRATEGY, exact, jax.random.key(7), 5))
    assert_same(by_seed, run(STRATEGY, exact, jax.random.PRNGKey(7), 5))
    assert_same(by_seed, run(STRATEGY, exact, np.int64(7), 5))
    other = run(STRATEGY, exact, 8, 5)
    assert not np.array_equal(by_seed.solution, other.solution)
    run(STRATEGY, exact, jax.random.key(7, impl="rbg"), 5)


def test_no_generations():
    result = run(STRATEGY, exact, 0, 0)
    assert result.fitness == np.inf
    assert result.evaluations == 0
    assert np.isfinite(result.solution).all()


def test_evaluations_are_counted_in_64_bits():
    import dataclasses

    result = dataclasses.replace(run(STRATEGY, exact, 0, 1), generations=np.int32(2**31 - 1))
    assert result.evaluations == 20 * (2**31 - 1)


def test_a_very_old_state_goes_on():
    import dataclasses

    state = run(STRATEGY, exact, 0, 1).state
    state = dataclasses.replace(state, generation=jnp.int32(2**31 - 6))
    result = run(STRATEGY, exact, None, 100, state=state)
    assert result.generations == 2**31 - 1


def test_all_nan_is_survived_and_counted():
    result = run(STRATEGY, lambda x: x[0] * jnp.nan, 0, 10)
    assert result.invalid == 200
    assert result.fitness == np.inf
    assert np.isfinite(result.solution).all()
    assert (np.abs(result.solution) <= 2).all()


def test_infinities_are_ordered():
    result = run(STRATEGY, lambda x: jnp.where(x[0] > 0, -jnp.inf, jnp.inf), 0, 10)
    assert result.fitness == -np.inf
    assert result.solution[0] > 0
    assert (np.asarray(result.state.parents)[:, 0] > 0).all()


def test_float64(x64):
    strategy = ES(Box(-2.0, 2.0, shape=3), mu=3, lam=21, recombination="intermediate")
    result = run(strategy, lambda x: jnp.sum(jnp.square(x - 0.7)), 0, 300)
    assert result.fitness.dtype == np.float64
    assert result.fitness < 1e-25


def test_results_show_themselves():
    one = run(STRATEGY, exact, 0, 5)
    assert "evaluations=100" in repr(one)
    many = jax.vmap(lambda key: run(STRATEGY, exact, key, 5))(jax.random.split(jax.random.key(0), 6))
    assert "6 runs" in repr(many)
    assert "all generations were run: 6" in many.message()
    assert many.best().fitness == many.fitness.min()
    assert "Result(" in repr(jax.tree.map(np.shape, many))


def test_history_in_double_precision(x64):
    result = run(ES(Box(-2.0, 2.0, shape=3), mu=5, lam=20, sigma=0.3), exact, 0, 4, history=True)
    assert result.history.best.dtype == np.float64
    np.testing.assert_array_equal(result.history.generation, [1, 2, 3, 4])
