"""What the compiled program is, and that there is only one."""

import pathlib
import re
import threading

import chex
import conftest
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from variants import assert_same, box, exact, make

import jaxes
from jaxes import ES, MAES, Box, SepCMAES, Stop, ahead, batch, loop, problems, random, run
from jaxes.bounds import normal
from jaxes.loop import BLOCK, make_task
from jaxes.operators.matrix import diagonal

PROBLEM = problems.ackley(2, half_width=5)
STRATEGY = ES(PROBLEM.space, mu=20, lam=100, sigma=0.15)


HOST = r'custom_call_target="[^"]*callback|\b(infeed|outfeed)\('
FACTOR = r'custom_call_target="[^"]*getrf'


def programs_of(function):
    """How many are kept."""
    return sum(jitted._cache_size() for jitted in (function._anywhere, function._on_cpu))


def compiled(batch, **options):
    program = jax.jit(jax.vmap(lambda key: run(STRATEGY, PROBLEM, key, 100, **options)))
    return program.lower(jax.random.split(jax.random.key(0), batch)).compile().as_text()


@pytest.mark.parametrize("batch", [1, 64])
@pytest.mark.parametrize("options", [{}, {"stop": Stop(target=1e-3, stagnation=50), "history": 10}])
def test_the_loop_has_topk_no_sort_and_no_callback(batch, options):
    text = compiled(batch, **options)
    assert "TopK" in text
    assert not re.search(r"= \S+ sort\(", text)
    assert not re.search(HOST, text)


def test_a_single_run_is_not_compiled_as_a_batch():
    """Which takes longer, and would choose every array of its state from two."""

    def lowered(runs):
        task = make_task("minimize", STRATEGY, PROBLEM, None, None, 1, None, None, False, False, False)
        several = batch.Batch(task, (None,) * len(jax.tree.leaves(task)), batch.keys_of_runs(jax.random.key(0), runs), 100)
        return several._advancing(0).as_text()

    one, two = lowered(1), lowered(2)
    assert re.search(r"select .*tensor<2x20x2xf32>", two)  # parents, of those that stopped and those that go on
    assert not re.search(r"select .*tensor<1x20x2xf32>", one)
    assert not re.search(r"select .*tensor<20x2xf32>", one)


def test_normal_numbers_are_drawn_once():
    """And not in part for one who uses them, by a hash of their own."""
    keys = jax.random.split(jax.random.key(0), 64)

    def hashing(draw, use):
        return jax.jit(lambda keys: use(jax.vmap(draw)(keys))).lower(keys).compile().as_text().count(" xor(")

    def drawn(key):
        return random.transformed(normal, key, (10, 10), jnp.float32)

    def melted(key):
        return normal(random.uniform(key, (10, 10), jnp.float32))

    def mean(x):
        return x.mean(axis=0)

    once = hashing(drawn, lambda x: x)
    assert once > 20
    assert hashing(drawn, mean) == once
    if jax.default_backend() == "cpu":  # if no more, the branch in `transformed` has lost its purpose
        assert hashing(melted, mean) > once


def test_a_diagonal_is_no_gather():
    """Which would be computed anew, a number at a time, in all that reads it."""
    matrices = jnp.arange(64 * 9.0).reshape(64, 3, 3)
    program = jax.jit(jax.vmap(diagonal)).lower(matrices).compile()
    np.testing.assert_array_equal(program(matrices), np.diagonal(matrices, axis1=1, axis2=2))
    assert " gather(" not in program.as_text()
    assert " gather(" in jax.jit(jax.vmap(jnp.diagonal)).lower(matrices).compile().as_text()  # else ours has lost its purpose


def test_the_length_of_a_block_of_generations_is_known(monkeypatch):
    """Else an accelerator would ask the host in every generation whether to go on."""
    monkeypatch.setattr(loop, "ALWAYS", "tpu")
    program = jax.jit(jax.vmap(lambda key: run(STRATEGY, lambda x: PROBLEM(x), key, 100)))
    text = program.lower(jax.random.split(jax.random.key(0), 4)).compile().as_text()
    assert f'"known_trip_count":{{"n":"{BLOCK}"}}' in text


@pytest.mark.quick
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="an accelerator is asked once a block")
def test_on_a_cpu_no_generation_is_computed_in_vain():
    seen = []

    def objective(population):
        jax.debug.callback(lambda: seen.append(1))
        return jnp.sum(jnp.square(population), axis=1)

    keys = jax.random.split(jax.random.key(0), 3)
    strategy = SepCMAES(Box(-1.0, 1.0, shape=2))
    result = jax.jit(jax.vmap(lambda key: run(strategy, objective, key, BLOCK + 3, batched=True, stop={"target": 0.05})))(keys)
    jax.effects_barrier()
    assert len(set(result.generations.tolist())) > 1  # they stop one after the other
    assert len(seen) == result.generations.max()


def test_the_checks_find_what_they_look_for():
    text = jax.jit(lambda x: jax.pure_callback(np.sin, x, x)).lower(jnp.zeros(3)).compile().as_text()
    assert re.search(HOST, text)
    text = jax.jit(jnp.sort).lower(jnp.zeros(1000)).compile().as_text()
    assert re.search(r"= \S+ sort\(", text)


@pytest.mark.parametrize("name", ["plus", "weighted", "discrete", "self-adaptive plus"])
def test_no_sort_in_other_variants(name):
    strategy = make(name, box())
    text = jax.jit(lambda key: run(strategy, exact, key, 100)).lower(jax.random.key(0)).compile().as_text()
    assert not re.search(r"= \S+ sort\(", text)


def test_a_matrix_is_factored_only_where_a_candidate_was_moved():
    """A branch stays one for a batch, and XLA leaves in it what is in it."""
    strategy = MAES(box(4))
    state = jax.eval_shape(jax.vmap(lambda key: strategy.ask(strategy.init(key))[1]), jax.random.split(jax.random.key(0), 8))
    x, fitness = jax.ShapeDtypeStruct((8, strategy.lam, 4), jnp.float32), jax.ShapeDtypeStruct((8, strategy.lam), jnp.float32)
    text = jax.jit(jax.vmap(strategy.tell)).lower(state, x, fitness).compile().as_text()
    always = text[text.index("ENTRY") :]
    assert "conditional(" in always
    assert re.search(FACTOR, text)
    assert not re.search(FACTOR, always)


def test_nothing_recompiles_when_values_change():
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def objective(x, args):
        return jnp.sum(jnp.square(x - args))

    for i, sigma in enumerate([0.1, np.float64(0.2), jnp.float32(0.3), np.asarray(0.4), 1]):
        space = Box(-1.0 - i, np.full(3, 2.0 + i), shape=3)
        strategy = ES(space, mu=2, lam=8, sigma=sigma, mutation_rate=0.5 + i / 10, seeds=np.full((2, 3), i / 10))
        stop = Stop(target=-1.0 - i, evaluations=1000 + i)
        run(strategy, objective, i, 20, args=jnp.float32(i), stop=stop)


def test_another_number_of_generations_is_no_new_program():
    traces = 0

    def objective(x):
        nonlocal traces
        traces += 1
        return jnp.sum(x * x)

    first = jaxes.minimize(objective, strategy=STRATEGY, generations=40, stop={"evaluations": 4000})
    assert first.history.best.shape == (40,)
    traces = 0
    for generations, records in ((7, 7), (300, 300), (2500, 834)):
        result = jaxes.minimize(objective, strategy=STRATEGY, generations=generations, stop={"evaluations": 10**6})
        assert result.history.best.shape == (records,)
        np.testing.assert_array_equal(result.history.generation[-1], generations)
    np.testing.assert_array_equal(result.history.best[:2], first.history.best[2:6:3])  # of every third generation
    assert traces == 0


def test_ranks_are_counted_once():
    """The strategy's, those of both lessons in a box, and those of the median."""
    strategy = jaxes.SNES(box(4), lam=9)
    program = jax.jit(jax.vmap(lambda key: run(strategy, jnp.sum, key, 50).fitness))
    text = program.lower(jax.random.split(jax.random.key(0), 8)).compile().as_text()
    assert len(re.findall(r"pred\[8,9,9\]\S* compare\(.*direction=LT", text)) == 1


def test_run_itself_is_compiled_once():
    traces = 0

    def objective(x, scale):
        nonlocal traces
        traces += 1
        return scale * jnp.sum(x * x)

    run(STRATEGY, objective, 0, 10, args=1.0)
    first = traces
    for i in range(1, 4):
        strategy = ES(Box(-5.0 - i, 5.0 + i, shape=2), mu=20, lam=100, sigma=0.15 * i)
        run(strategy, objective, jax.random.key(i), 10, args=jnp.float32(i))
    assert traces == first


def test_a_new_problem_of_the_same_kind_is_the_same_program():
    from jaxes.loop import _run

    run(STRATEGY, problems.ackley(2), 0, 33)
    size = programs_of(_run)
    run(STRATEGY, problems.ackley(2, half_width=7), 1, 33)
    run(ES(problems.ackley(2).space, mu=20, lam=100, sigma=0.3), problems.ackley(2), 2, 33)
    assert programs_of(_run) == size


@pytest.mark.parametrize("dimension", [2, 20])
def test_a_run_alone_follows_the_same_run_in_a_batch_of_1024(dimension):
    """The same random bits; with an objective that is exact in floating point, the same numbers."""
    problem = problems.ackley(dimension, half_width=5)
    strategy = ES(problem.space, mu=20, lam=100, sigma=0.15)
    keys = jax.random.split(jax.random.key(0), 1024)

    def objective(x):
        return jnp.sum(jnp.round(64 * x) ** 2)

    batch = jax.jit(jax.vmap(lambda key: run(strategy, objective, key, 50)))(keys)
    for i in (0, 511, 1023):
        alone = run(strategy, objective, keys[i], 50)
        np.testing.assert_array_equal(alone.state.parents, batch.state.parents[i])
        np.testing.assert_array_equal(alone.fitness, batch.fitness[i])
    # Inexact sums may be ordered differently: the first generations agree to rounding.
    batch = jax.jit(jax.vmap(lambda key: run(strategy, problem, key, 2).fitness))(keys)
    np.testing.assert_allclose(run(strategy, problem, keys[5], 2).fitness, batch[5], rtol=1e-5)


def test_what_is_compiled_quickly_serves_no_other_test(monkeypatch):
    """Tests marked `quick`, and all others, have programs of their own."""
    seen, options = [], conftest._options

    def watched(*args, **given):
        seen.append(given["env_options_overrides"])
        return options(*args, **given)

    monkeypatch.setattr(conftest, "_options", watched)
    program = jax.jit(lambda x: jnp.sin(x) + jnp.cos(x))
    for quick in (False, True, False, True):
        with conftest.compiled_quickly(quick):
            program(1.0)
    assert seen == [{}, conftest.QUICK if jax.default_backend() == "cpu" else {}]


@pytest.mark.quick
@pytest.mark.parametrize("make", [MAES, jaxes.Portfolio])
def test_programs_are_compiled_once_each_while_others_are_written_down(make):
    made = []

    def listen(event, _, fun_name="", **others):
        if event.endswith("backend_compile_duration"):
            made.append((fun_name, threading.current_thread() is threading.main_thread()))

    strategy = make(Box(-5, 5, shape=3))
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        result = jaxes.minimize(lambda x: exact(x) + jnp.round(x[0] * x[1]), strategy=strategy, stop={"evaluations": 60})
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert result.evaluations > 50
    ours = [(name[4:-1], alone) for name, alone in made if name.startswith("jit(_")]
    assert not any(alone for name, alone in ours if name != "_threefry_seed")
    names = [name for name, _ in ours]
    assert all(names.count(name) == 1 for name in ("_start", "_look", "_finish"))
    # The portfolio's third stage may be under way, for what would have followed.
    assert names.count("_advance") in ((1,) if make is MAES else (2, 3))


class Failing:
    def compile(self):
        raise MemoryError


def test_what_fails_ahead_is_left_to_fail_where_it_is_called(monkeypatch):
    monkeypatch.setattr(ahead, "SEEN", set())
    programs = ahead.Ahead("a batch")
    programs.compile("advance", Failing)
    programs.wait("advance")
    programs.compile("advance", lambda: pytest.fail("it was asked for before"))
    with jax.disable_jit():
        programs.compile("finish", lambda: pytest.fail("nothing is to be compiled"))


@pytest.mark.skipif(not pathlib.Path("/proc/sys/vm/max_map_count").exists(), reason="only Linux limits mappings of memory")
def test_programs_are_let_go_of_before_there_are_too_many(monkeypatch):
    """XLA ended a process that scored CMA-ES with restarts on all functions of the BBOB suite twice."""

    def swept(generations, repeats):
        return jaxes.sweep(STRATEGY, PROBLEM, 0, generations, over={"sigma": [0.1]}, repeats=repeats).runs

    known = swept(5, 2)
    kept = programs_of(batch._advance)
    assert_same(swept(5, 2), known)
    assert programs_of(batch._advance) == kept >= 1  # as long as there is room
    monkeypatch.setattr(batch, "FULL", 0.0)
    for repeats in (3, 4):
        swept(5, repeats)
        assert programs_of(batch._advance) == 1  # that of the last sweep
    assert_same(swept(5, 2), known)
