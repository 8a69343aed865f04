"""score(): the BBOB suite as compiled programs."""

import contextlib
import sys

import jax
import numpy as np
import pytest
from variants import assert_same

import jaxes
from jaxes import ES, Box, SelfAdaptation, score
from jaxes.analysis import Runtimes
from jaxes.problems import bbob
from jaxes.score import TARGETS, run_key

pytestmark = pytest.mark.quick


def make(space):
    return ES(space, mu=5, lam=20, sigma=SelfAdaptation(), recombination="intermediate")


@pytest.fixture(scope="module")
def small():
    return score(make, dimension=3, functions=[1, 21], instances=[2, 5], repeats=2, budget=200, progress=False)


def test_a_row_per_function_and_a_run_per_instance_and_repeat(small):
    assert small.problems == ("f1 sphere", "f21 Gallagher 101 peaks")
    assert small.groups == ("separable", "weak structure")
    assert small.hits.shape == (2, 4, 51)
    assert (small.strategy, small.dimension) == ("ES", 3)
    np.testing.assert_array_equal(small.targets, TARGETS)
    assert (small.evaluations == 600).all()
    assert len(np.unique(small.hits[0, :, 20])) > 1, "repeats have their own keys"


def test_a_run_is_what_minimize_does_with_its_key(small):
    gaps = bbob(21, 3, 5).centred()
    key = run_key(jax.random.key(0), 21, 5, 1)
    alone = jaxes.minimize(gaps, strategy=make(gaps.space), key=key, generations=30, targets=TARGETS, progress=False)
    np.testing.assert_array_equal(np.nan_to_num(small.hits[1, 3]), alone.hits)


def test_a_run_does_not_depend_on_what_else_is_scored(small):
    other = score(make, dimension=3, functions=[21], instances=[5, 1, 2], budget=200, name="other", progress=False)
    assert other.strategy == "other"
    np.testing.assert_array_equal(other.hits[0, [2, 0]], small.hits[1, [0, 2]])


def test_runs_end_at_their_last_target():
    found = score(make, dimension=2, functions=[1], instances=[1, 2, 3], targets=[10.0, 1.0], progress=True)
    assert (found.evaluations == 20 * np.ceil(found.hits[0, :, 1] / 20)).all()
    assert found.share() == 1


def test_ctrl_c_returns_the_functions_that_were_finished(monkeypatch):
    looks = iter([False] * 6 + [True] * 1000)

    @contextlib.contextmanager
    def pressed():
        yield lambda: next(looks)

    monkeypatch.setattr(sys.modules["jaxes.score"], "Interrupts", pressed)
    found = score(make, dimension=2, functions=[1, 2, 3, 4], instances=[1], budget=100, progress=False)
    assert 1 <= len(found.problems) < 4
    with pytest.raises(KeyboardInterrupt):
        score(make, dimension=2, functions=[1], instances=[1], budget=100, progress=False)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: score(ES(Box(-5, 5, shape=2))), TypeError, r"score\(strategy=...\) must be a function of a space"),
        (lambda: score(lambda space: space), TypeError, "must return a strategy for a space, got Box"),
        (lambda: score(ES, dimension=1), ValueError, r"score\(dimension=...\) must be at least 2, got 1"),
        (lambda: score(ES, functions=[0]), ValueError, "must be from 1 to 24, got"),
        (lambda: score(ES, functions=[]), ValueError, "at least one function and instance"),
        (lambda: score(ES, functions=[1, 1]), ValueError, r"must be different, got \[1, 1\]"),
        (lambda: score(ES, functions=[1], instances=[0]), ValueError, "instance=...*must be from 1 to"),
        (lambda: score(ES, functions=[1], budget=10), ValueError, "at least one generation's 105"),
        (lambda: score(ES, functions=[1], repeats=0), ValueError, r"score\(repeats=...\) must be at least 1"),
        (lambda: score(ES, functions=[1], targets=[1, 10]), ValueError, "each below the one before"),
        (lambda: score(ES, functions=[1], targets=[]), ValueError, r"score\(targets=...\) must be positive numbers"),
        (lambda: score(ES, functions=[1], budget=10**9), ValueError, "from 1 to 2147483647"),
    ],
)
def test_refusals(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_scores_survive_a_file(small):
    again = Runtimes.from_json(small.to_json())
    assert_same([again.hits, again.evaluations, again.targets], [small.hits, small.evaluations, small.targets])
