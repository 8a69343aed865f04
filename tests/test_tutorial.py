"""The same algorithm as the tutorial's loop: the distribution of the best so far over 1,000 runs.

16 two-sample Kolmogorov-Smirnov tests (comma and plus, two problems, four generations), each at level 1e-3, so that a
right implementation fails one of them with a probability below 1.6 %; the keys are fixed. The loop's 1,000 runs are in
tests/data/tutorial.npz, made by make_tutorial_data.py.
"""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpy_es
import pytest
from make_tutorial_data import CHECKPOINTS, PROBLEMS, RUNS, one
from scipy import stats

from jaxes import ES, Box, Clip, Reflect, run

DATA = Path(__file__).parent / "data" / "tutorial.npz"


def ackley(x):
    """As the loop writes it."""
    spread = jnp.exp(-0.2 * jnp.sqrt(jnp.mean(x * x)))
    return -20 * spread - jnp.exp(jnp.mean(jnp.cos(2 * jnp.pi * x))) + jnp.e + 20


OBJECTIVES = {"ackley": ackley, "corner": lambda x: jnp.sum(jnp.abs(x - 5))}


@functools.cache
def program(problem, selection, **changes):
    """(runs, checkpoints) best so far, of keys and sigma."""
    case = PROBLEMS[problem]
    space = Box(-5.0, 5.0, shape=case["dimension"])
    settings = {"mu": case["mu"], "lam": case["lam"], "selection": selection} | changes

    def best(key, sigma):
        history = run(ES(space, sigma=sigma, **settings), OBJECTIVES[problem], key, CHECKPOINTS[-1], history=True).history
        return history.best[np.asarray(CHECKPOINTS) - 1]

    return jax.jit(jax.vmap(best, in_axes=(0, None)))


def best_so_far(problem, selection, sigma=None, **changes):
    sigma = PROBLEMS[problem]["sigma"] if sigma is None else sigma
    best = program(problem, selection, **changes)(jax.random.split(jax.random.key(0), RUNS), np.float32(sigma))
    return np.asarray(best, np.float64)


@pytest.mark.parametrize("selection", ["comma", "plus"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_best_so_far_has_the_loops_distribution(problem, selection):
    theirs = np.load(DATA)[f"{problem}-{selection}"]
    ours = best_so_far(problem, selection)
    assert theirs.shape == ours.shape == (RUNS, len(CHECKPOINTS))
    pvalues = [stats.ks_2samp(ours[:, i], theirs[:, i]).pvalue for i in range(len(CHECKPOINTS))]
    assert min(pvalues) > 1e-3, pvalues


@pytest.mark.parametrize(
    ("problem", "changes"),
    [
        ("ackley", {"sigma": 0.17}),
        ("ackley", {"recombination": "discrete"}),
        ("corner", {"sigma": 0.55}),
        ("corner", {"mu": 4}),
        ("corner", {"selection": "plus"}),
        ("corner", {"bounds": Reflect()}),
        ("corner", {"bounds": Clip()}),
    ],
)
def test_the_test_has_power(problem, changes):
    """Small changes of the comma strategy are seen at the same level."""
    theirs = np.load(DATA)[f"{problem}-comma"]
    ours = best_so_far(problem, **({"selection": "comma"} | changes))
    assert min(stats.ks_2samp(ours[:, i], theirs[:, i]).pvalue for i in range(len(CHECKPOINTS))) < 1e-3


def test_the_data_are_the_loops():
    data = np.load(DATA)
    np.testing.assert_allclose(one("ackley", False, 3), data["ackley-comma"][3], rtol=1e-12)
    np.testing.assert_allclose(one("corner", True, 3), data["corner-plus"][3], rtol=1e-12)


def test_the_loop_reproduces_the_published_run():
    """NumPy seed 1, comma, 5,000 generations: 0.001147 after 22 improvements."""
    bounds = np.array([[-5.0, 5.0]] * 2)
    _, progress, improvements = numpy_es.evolve(numpy_es.ackley, bounds, 5000, 0.15, 20, 100, random=np.random.RandomState(1))
    assert round(progress[-1], 6) == 0.001147
    assert improvements == 22


def test_long_runs_end_where_the_published_ones_did():
    """5,000 generations: the published single runs (0.001147, 0.000532) lie within the middle 98 % of 128 runs."""
    for selection, published in (("comma", 0.001147), ("plus", 0.000532)):
        strategy = ES(Box(-5.0, 5.0, shape=2), mu=20, lam=100, sigma=0.15, selection=selection)
        runs = jax.jit(jax.vmap(lambda key, s=strategy: run(s, ackley, key, 5000).fitness))
        fitness = np.asarray(runs(jax.random.split(jax.random.key(1), 128)))
        low, high = np.quantile(fitness, [0.01, 0.99])
        assert low < published < high
