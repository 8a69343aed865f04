"""minimize(): the friendly entry, its progress, callbacks and interruptions."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from variants import assert_same, box, exact, shifted_sphere

import jaxes
from jaxes import ES, Box, Stop, StopReason, minimize, run

STRATEGY = ES(box(), mu=5, lam=20, sigma=0.3)

pytestmark = pytest.mark.quick


@pytest.mark.quick(False)  # bit for bit, as users compile it
def test_it_is_run():
    """However the generations are cut, the result is the same, history and all."""
    for stop in (None, Stop(target=100.0), Stop(stagnation=5)):
        mine = minimize(exact, strategy=STRATEGY, key=4, generations=333, stop=stop, history=10, progress=False)
        assert_same(mine, run(STRATEGY, exact, 4, 333, stop=stop, history=10))


@pytest.mark.quick(False)  # bit for bit, as users compile it
def test_runs_are_independent_and_do_not_depend_on_their_number():
    few = minimize(exact, strategy=STRATEGY, key=1, generations=50, runs=3, progress=False)
    many = minimize(exact, strategy=STRATEGY, key=1, generations=50, runs=7, progress=False)
    assert few.fitness.shape == (3,)
    assert_same(few.solution, many.solution[:3])
    assert_same(few.solution[2], run(STRATEGY, exact, jax.random.fold_in(jax.random.key(1), 2), 50).solution)
    assert len(np.unique(many.solution, axis=0)) == 7
    best = many.best()
    assert best.fitness == many.fitness.min()
    assert best.solution.shape == (3,)


def test_the_first_thing_a_user_types():
    result = minimize(lambda x: jnp.sum(jnp.square(x - 0.3)), Box(-5, 5, shape=4), generations=300)
    np.testing.assert_allclose(result.solution, 0.3, atol=1e-3)
    assert result.history.best.shape == (300,)
    tree = minimize(
        lambda s: jnp.square(s["x"] - 1) + jnp.square(jnp.log10(s["rate"]) + 3),
        {"x": Box(-5, 5), "rate": Box(1e-6, 1, scale="log")},
        generations=200,
    )
    np.testing.assert_allclose(tree.solution["rate"], 1e-3, rtol=0.05)


def test_history_is_bounded_by_default():
    result = minimize(exact, strategy=STRATEGY, generations=3456, progress=False)
    assert 800 < len(result.history.best) <= 1000
    assert minimize(exact, strategy=STRATEGY, generations=5, history=False, progress=False).history is None


def test_callbacks_see_progress_and_can_end_it():
    reports = []

    def callback(report):
        reports.append(report)
        return report.generation >= 3

    result = minimize(shifted_sphere, strategy=STRATEGY, generations=10**6, runs=4, callback=callback, history=False)
    assert (result.stop_reason == StopReason.INTERRUPTED).all()
    last = reports[-1]
    assert last.generation == result.generations.max()
    assert last.evaluations == result.evaluations.sum()
    np.testing.assert_array_equal(last.fitness, result.fitness)
    np.testing.assert_array_equal(last.best(), result.best().solution)
    assert last.finished == 0
    assert [r.generation for r in reports] == sorted({r.generation for r in reports})


def test_a_maximised_objective_reports_its_own_sign():
    seen = []
    result = minimize(
        lambda x: -shifted_sphere(x), strategy=STRATEGY, generations=50, runs=3, maximise=True, callback=seen.append
    )
    assert result.fitness.max() <= 0
    assert result.best().fitness == result.fitness.max()
    np.testing.assert_array_equal(seen[-1].fitness, result.fitness)


def test_ctrl_c_returns_the_best_so_far(capfd):
    before = signal.getsignal(signal.SIGINT)
    minimize(shifted_sphere, strategy=STRATEGY, generations=3, runs=8, history=False, progress=False)  # compiles
    threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    began = time.perf_counter()
    result = minimize(shifted_sphere, strategy=STRATEGY, generations=10**9, runs=8, history=False, progress=False)
    assert time.perf_counter() - began < 30
    assert (result.stop_reason == StopReason.INTERRUPTED).all()
    assert (result.generations > 0).all()
    assert (result.fitness < 1.0).all()
    assert "interrupted" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before
    more = run(STRATEGY, shifted_sphere, None, 10, state=result[0].state)
    assert more.generations == result.generations[0] + 10


def test_ctrl_c_ends_a_sweep(capfd):
    threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    over = {"sigma": [0.1, 0.2], "mu": [2, 5]}
    result = jaxes.sweep(STRATEGY, exact, 0, 10**9, over=over, repeats=2, chunk=2)
    assert (result.runs.stop_reason == StopReason.INTERRUPTED).all()
    assert (result.runs.generations[0, 0] > 0).all()
    assert (result.runs.generations[-1, -1] == 0).all()
    assert "interrupted" in capfd.readouterr().err
    assert len(result.table().rows) == 4
    threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    never = jaxes.sweep(STRATEGY, lambda x: 5 + exact(x), 0, 10**9, over={"mu": [2, 5]}, history=10**6)
    assert never.table(1.0)["success"] == [0.0, 0.0]  # runs that were not begun have not succeeded


def test_from_another_thread():
    results = []
    thread = threading.Thread(target=lambda: results.append(minimize(exact, strategy=STRATEGY, generations=5)))
    thread.start()
    thread.join()
    assert results[0].generations == 5


def test_slow_objectives_report_every_generation():
    """No look of the host waits for a whole block of generations."""
    generations = []

    def slow(x):
        return jnp.sum(jnp.sin(jax.lax.fori_loop(0, 1_500_000, lambda i, v: jnp.sin(v) + 0.1, x)))

    minimize(slow, strategy=STRATEGY, generations=6, callback=lambda r: generations.append(r.generation), progress=False)
    assert generations == [1, 2, 3, 4, 5, 6]


def test_progress_bar(capfd):
    minimize(exact, strategy=STRATEGY, generations=50, runs=4, progress=True)
    shown = capfd.readouterr().err
    assert "200/200" in shown  # of all runs
    assert "best=" in shown
    assert "median=" in shown
    minimize(exact, strategy=STRATEGY, generations=50)  # not a terminal: silent
    assert capfd.readouterr().err == ""


def test_without_the_extras():
    """tqdm and matplotlib are optional: what needs them says so, the rest works."""
    code = """
    import sys
    sys.modules["tqdm"] = sys.modules["matplotlib"] = None
    import jaxes, jax.numpy as jnp
    problem = jaxes.problems.sphere(2)
    strategy = jaxes.ES(problem.space)
    result = jaxes.minimize(problem, strategy=strategy, generations=20)
    print(result.table())
    shown = lambda: jaxes.minimize(problem, strategy=strategy, generations=2, progress=True)
    for call in (shown, lambda: result.plot("x.png")):
        try:
            call()
        except ImportError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert 'pip install "jaxes[progress]"' in done.stdout
    assert 'pip install "jaxes[plot]"' in done.stdout


@pytest.mark.parametrize("generations", [0, 1, 2])
def test_very_short_runs(generations):
    assert_same(
        minimize(exact, strategy=STRATEGY, key=0, generations=generations, history=True, progress=False),
        run(STRATEGY, exact, 0, generations, history=True),
    )


def test_there_is_time_for_one_generation():
    result = minimize(exact, strategy=STRATEGY, generations=1000, history=True, seconds=1e-9)
    assert result.stop_reason == StopReason.TIME
    assert result.generations == 1
    assert np.isfinite(result.fitness)
