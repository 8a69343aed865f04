"""Objectives that are not JAX: the same runs as compiled ones, and what evaluations may do to them."""

import functools
import itertools
import math
import os
import signal
import sys
import threading
import types
import warnings
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import simulators
from variants import assert_same, box, close, exact

from jaxes import CMAES, DE, ES, Box, Host, Restart, Stop, StopReason, minimize
from jaxes.cli import main
from jaxes.host import Counts

pytestmark = pytest.mark.quick

STRATEGY = ES(box(), mu=5, lam=20, sigma=0.3)
compiled = functools.partial(minimize, progress=False, history=False)  # without history, no number of generations is a program


def on_host(objective, executor="thread", workers=2, timeout=None, memo=False, **options):
    return compiled(objective, host=Host(executor, workers, timeout, memo), **options)


class Counted:
    """A function that knows how often it was called."""

    def __init__(self, function=simulators.exact):
        self.function, self.calls = function, itertools.count()

    def __call__(self, *arguments):
        next(self.calls)
        return self.function(*arguments)

    @property
    def count(self):
        return self.calls.__reduce__()[1][0]


CASES = {
    "ES": (STRATEGY, {"generations": 60, "history": 7, "stop": Stop(target=80.0), "runs": 3}),
    "DE": (DE(box(), lam=20), {"generations": 30, "targets": [1000.0, 10.0]}),
    "CMAES of a value": (CMAES(box(), lam=9, lam_max=12, sigma=0.3), {"generations": 40}),
    "Restart": (
        Restart(ES(box(), mu=3, lam=12, sigma=0.3), policy="ipop", doublings=1, most=9),
        {"generations": 40, "runs": 3},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_compiled_run(name):
    """Bit for bit, but for products of matrices. Candidates that do not count, and runs that have stopped, cost nothing."""
    strategy, options = CASES[name]
    function, seen = Counted(), []
    expected = compiled(exact, strategy=strategy, key=4, **options)
    result = on_host(function, strategy=strategy, key=4, callback=seen.append, **options)
    assert function.count == result.evaluations.sum()
    assert seen[-1].counts == Counts(evaluated=function.count)
    assert seen[-1].evaluations == function.count
    if not isinstance(strategy, CMAES):
        assert_same(result, expected)
    else:
        for field in ("fitness", "generations", "stop_reason", "spent"):
            np.testing.assert_array_equal(getattr(result, field), getattr(expected, field))
        close(result.solution, expected.solution, atol=1e-4)
    if name == "Restart":
        assert (result.state.runs > 3).all()
    if name == "ES":
        assert len(np.unique(result.generations)) > 1


def test_what_the_function_gets():
    space = {"rate": Box(1e-4, 1.0, scale="log"), "w": Box(-1, 1, shape=(2, 3))}
    got = []

    def function(solution, args, seed):
        assert isinstance(solution["rate"], np.float32)
        assert isinstance(solution["w"], np.ndarray)
        solution["w"][:] = 0  # its own, to do with as it likes
        got.append(seed)
        assert args == ["a", "file"]
        return abs(math.log10(solution["rate"]) + 2) + 1e-12 * seed

    options = {"strategy": ES(space, mu=3, lam=12, sigma=0.3), "generations": 40, "stochastic": True, "args": ["a", "file"]}
    result = on_host(function, runs=2, **options)
    assert len(set(got)) == len(got) == 960
    assert all(type(seed) is int and 0 <= seed < 2**32 for seed in got)
    np.testing.assert_allclose(result.solution["rate"], 0.01, rtol=0.05)
    assert abs(result.solution["w"]).max() > 0
    assert_same(on_host(function, runs=2, **options), result)


def test_a_batched_function_that_is_maximised():
    def function(solutions):
        assert solutions.shape == (20, 3)
        return [-simulators.exact(x) for x in solutions]

    options = {"strategy": STRATEGY, "generations": 15, "maximise": True, "runs": 2}
    expected = compiled(lambda x: -exact(x), **options)
    assert_same(on_host(function, batched=True, **options), expected)
    assert_same(on_host(lambda x: -simulators.exact(x), **options), expected)


def test_exceptions_are_counted_and_reported():
    options = {"strategy": STRATEGY, "generations": 10}
    raises = jax.jit(lambda x: jnp.where((jnp.abs(x[0]) > 1.8) | (x[1] > 1.5), jnp.nan, exact(x)))
    expected = compiled(raises, **options)
    lost, seen = int(expected.invalid), []
    with pytest.warns(RuntimeWarning, match=rf"of 200 evaluations {lost} failed; the first: OSError: no licence\.$"):
        result = on_host(simulators.failing, callback=seen.append, **options)
    assert_same(result, expected)
    assert seen[-1].counts == Counts(evaluated=200 - lost, failed=lost)
    assert lost > 0


def test_nothing_but_failures_raise_and_nan_is_none():
    def function(x):
        raise KeyError("x")

    with pytest.raises(
        RuntimeError, match=r"of 20 evaluations 20 failed; the first: KeyError: 'x'.*first generation"
    ) as raised:
        on_host(function, strategy=STRATEGY)
    assert isinstance(raised.value.__cause__, KeyError)
    result = on_host(lambda x: math.nan, strategy=STRATEGY, generations=2)
    assert result.invalid == 40
    assert result.fitness == np.inf


WRONG = {
    "None": (lambda x: None, "one number, got None of type NoneType"),
    "an array": (lambda x: x, r"one number, got shape \(3,\) of type ndarray"),
    "text": (lambda x: "0.5", "one number, got '0.5' of type str"),
    "complex": (lambda x: 1j, "one number, got 1j"),
    "one for all": (lambda x: 0.5, "20 numbers, one for each solution, got 0.5"),
    "too few": (lambda x: np.ones(19), r"20 numbers, one for each solution, got shape \(19,\)"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_number_raises_at_once(name):
    function, message = WRONG[name]
    with pytest.raises(TypeError, match=f"objective must return {message}"):
        on_host(function, strategy=STRATEGY, batched="20" in message)


def test_late_threads_are_left_behind():
    """More of them than there are workers, all at once."""
    released, before = threading.Event(), set(threading.enumerate())
    late = itertools.count()

    def function(x):
        if next(late) in (3, 4, 5, 27):
            released.wait()
        return simulators.exact(x)

    seen = []
    with pytest.warns(RuntimeWarning, match="of 60 evaluations 4 took more than 2 s"):
        result = on_host(function, strategy=STRATEGY, generations=3, timeout=2, callback=seen.append)
    assert seen[-1].counts == Counts(evaluated=56, late=4)
    assert result.invalid == 4
    left = set(threading.enumerate()) - before
    assert len(left) >= 4
    assert all(thread.daemon for thread in left)  # which do not keep the interpreter
    released.set()
    for thread in left:
        thread.join(60)
        assert not thread.is_alive()


def test_processes_that_crash_hang_and_raise(tmp_path):
    """With the same result as a function that raises everywhere there. What crashed once is evaluated again."""
    options, first = {"strategy": STRATEGY, "generations": 2, "key": 13}, []

    def failing(x):
        first.append(x[0])
        return simulators.failing(x)

    with pytest.warns(RuntimeWarning, match=" failed"):
        expected = on_host(failing, **options)
    crashed, late = np.sum(np.array(first) > 1.8), np.sum(np.array(first) < -1.8)
    seen, before = [], set(threading.enumerate())
    processes = {"executor": "process", "workers": 1, "timeout": 3, "args": str(tmp_path / "called")}
    with pytest.warns(RuntimeWarning, match=f"failed, {late} took more than 3 s, {crashed} crashed their process; the first: "):
        result = on_host(simulators.dangerous, callback=seen.append, **options, **processes)
    assert_same(result, expected)
    lost = int(result.invalid)
    assert seen[-1].counts == Counts(evaluated=40 - lost, failed=lost - late - crashed, late=late, crashed=crashed)
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
        assert not thread.is_alive()


def test_a_process_that_cannot_start_says_so():
    elsewhere = types.ModuleType("elsewhere")
    exec("def function(x): return 0.0", elsewhere.__dict__)
    sys.modules["elsewhere"] = elsewhere
    try:
        with pytest.raises(RuntimeError, match=r"did not start: .*No module named 'elsewhere'.*__main__"):
            on_host(elsewhere.function, strategy=STRATEGY, executor="process")
    finally:
        del sys.modules["elsewhere"]


def test_equal_candidates_are_evaluated_once():
    narrow = ES(Box(1.0, 1.0000005), mu=2, lam=8, sigma=2e-7)  # five numbers in all
    options = {"strategy": narrow, "generations": 20, "runs": 2}
    function, seen = Counted(lambda x: float(x)), []
    result = on_host(function, memo=True, callback=seen.append, **options)
    assert 1 < function.count <= 5
    assert seen[-1].counts == Counts(evaluated=function.count, remembered=320 - function.count)
    assert_same(result, on_host(float, **options))


class Ours:
    """An executor that remembers how much it had to do at once, and breaks some day."""

    def __init__(self, breaks=math.inf):
        self.pool, self.breaks, self.count, self.now, self.most = ThreadPoolExecutor(3), breaks, 0, 0, 0

    def submit(self, function, *arguments):
        self.count += 1
        if self.count > self.breaks:
            future = Future()
            future.set_exception(BrokenExecutor("gone"))
            return future
        self.now += 1
        self.most = max(self.most, self.now)
        future = self.pool.submit(function, *arguments)
        future.add_done_callback(self.ended)
        return future

    def ended(self, future):
        self.now -= 1


def test_an_executor_of_the_user():
    expected = on_host(simulators.exact, strategy=STRATEGY, generations=4)
    ours = Ours()
    assert_same(on_host(simulators.exact, workers=None, executor=ours, strategy=STRATEGY, generations=4), expected)
    assert ours.most > 3
    ours.most = 0
    assert_same(on_host(simulators.exact, executor=ours, timeout=60, strategy=STRATEGY, generations=4), expected)
    assert ours.most <= 3  # 2, and the one whose callbacks are under way
    assert ours.count == 160
    released, calls = threading.Event(), itertools.count()

    def function(x):
        if next(calls) == 0:
            released.wait()
        return simulators.exact(x)

    with pytest.warns(RuntimeWarning, match="of 20 evaluations 1 took more than 2 s"):
        on_host(function, executor=ours, timeout=2, strategy=STRATEGY, generations=1)
    released.set()
    assert ours.pool.submit(lambda: 7).result() == 7  # still open


def test_an_executor_that_breaks_ends_the_run():
    with pytest.warns(RuntimeWarning, match="ended early, because its executor is broken"):
        result = on_host(simulators.exact, executor=Ours(breaks=50), strategy=STRATEGY, generations=9)
    assert result.generations == 2
    assert result.stop_reason == StopReason.INTERRUPTED
    assert_same(result.state, on_host(simulators.exact, strategy=STRATEGY, generations=2).state)
    with pytest.raises(BrokenExecutor):
        on_host(simulators.exact, executor=Ours(breaks=10), strategy=STRATEGY)


@pytest.mark.parametrize("executor", ["thread", Ours()])
def test_ctrl_c_gives_up_the_generation_under_way(executor, capfd):
    released, calls = threading.Event(), itertools.count()

    def function(x):
        if next(calls) == 45:
            os.kill(os.getpid(), signal.SIGINT)
            released.wait(60)
        return simulators.exact(x)

    result = on_host(function, executor=executor, strategy=STRATEGY, generations=9)
    released.set()
    assert result.generations == 2
    assert result.stop_reason == StopReason.INTERRUPTED
    assert_same(result.state, on_host(simulators.exact, strategy=STRATEGY, generations=2).state)
    assert "interrupted" in capfd.readouterr().err


def test_a_callback_ends_it():
    result = on_host(simulators.exact, strategy=STRATEGY, generations=9, callback=lambda report: True)
    assert result.generations == 1
    assert result.stop_reason == StopReason.INTERRUPTED


BAD = {
    "executor": ({"executor": "fork"}, TypeError, 'executor=...) must be "thread", "process", or an executor'),
    "workers": ({"workers": 0}, ValueError, "workers=...) must be at least 1"),
    "timeout": ({"timeout": 0}, ValueError, "timeout=...) must be a positive number of seconds, got 0"),
    "NaN": ({"timeout": math.nan}, ValueError, "Host(timeout=...) must be a positive number of seconds, got nan"),
    "timeout alone": ({"timeout": 1, "executor": Ours(), "workers": None}, ValueError, "needs workers="),
    "memo": ({"memo": "yes"}, TypeError, "memo=...) must be True or False"),
    "stochastic memo": ({"memo": True, "stochastic": True}, ValueError, "no sense with stochastic=True"),
    "batched memo": ({"memo": True, "batched": True}, ValueError, "no sense with batched=True"),
    "batched": ({"batched": 1}, TypeError, "batched must be True or False"),
    "lambda": ({"executor": "process", "objective": lambda x: 0.0}, TypeError, "an objective that can be pickled"),
    "objective": ({"objective": 3}, TypeError, "objective must be a function"),
    "arguments": ({"args": 5}, RuntimeError, "positional argument"),
}


def test_a_host_is_one():
    with pytest.raises(TypeError, match=r"host=\.\.\.\) must be True, False or a jaxes.Host, got 1"):
        compiled(simulators.exact, strategy=STRATEGY, host=1)
    assert_same(
        compiled(simulators.exact, strategy=STRATEGY, generations=2, host=True),
        on_host(simulators.exact, strategy=STRATEGY, generations=2),
    )


@pytest.mark.parametrize("name", BAD)
def test_errors_name_the_argument(name):
    options, error, message = BAD[name]
    options = {"objective": simulators.exact, "strategy": STRATEGY, "generations": 2} | options
    with pytest.raises(error) as raised:
        on_host(**options)
    assert message in str(raised.value)


def test_from_a_shell(capsys, tmp_path):
    (tmp_path / "plain.py").write_text("def f(x):\n    return sum(float(v) ** 2 for v in x)\n")
    where = ["run", f"{tmp_path / 'plain.py'}:f", "--lower=-1", "--upper=1", "-d", "3", "-g", "9", "--no-progress"]
    assert main([*where, "--host", "--workers", "2", "--timeout", "60"]) == 0
    assert "best fitness" in capsys.readouterr().out
    assert main([*where, "--workers", "2"]) == 2
    assert "--workers needs --host" in capsys.readouterr().err


def test_large_numbers_are_infinite():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = on_host(lambda x: 1e300 if x[0] > 0 else float(x[0]), strategy=STRATEGY, generations=2)
    assert np.isfinite(result.fitness)
    assert result.invalid == 0
