"""Convergence on the sphere: as fast as that of the same strategies in other hands, steady, and no faster than in theory."""

import cmaes
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxes import CMAES, MAES, XNES, Box, ElitistCMAES, SepCMAES
from jaxes.operators.cma import parameters

pytestmark = pytest.mark.quick

FROM, TO, RUNS = 60, 260, 24
"""Between which generations rates are taken: steps are adapted, and not yet as small as rounding."""


def distances(strategy, generations, runs=RUNS):
    """(runs, generations) logarithms of the mean's distance to the optimum."""

    def generation(state, _):
        population, state = strategy.ask(state)
        state = strategy.tell(state, population, jnp.sum(jnp.square(population - 0.3), axis=1))
        return state, jnp.log(jnp.linalg.norm(strategy._unit() * state.mean - 0.3))

    def one(key):
        return jax.lax.scan(generation, strategy.init(key), None, length=generations)[1]

    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), runs)))


def peer_distances(kind, d, lam, runs=RUNS):
    """The same of an optimizer of the package cmaes, with its own random numbers."""
    found = []
    for seed in range(runs):
        optimizer = kind(mean=np.full(d, 1.0), sigma=0.3, population_size=lam, seed=seed)
        row = []
        for _ in range(TO):
            x = [optimizer.ask() for _ in range(lam)]
            optimizer.tell([(point, float(np.sum(np.square(point - 0.3)))) for point in x])
            row.append(np.log(np.linalg.norm(optimizer._mean - 0.3)))
        found.append(row)
    return np.asarray(found)


def slope(log, begin=FROM, end=TO):
    """The mean over runs, and its standard error, of what a generation adds to the logarithm."""
    each = (log[:, end - 1] - log[:, begin - 1]) / (end - begin)
    return each.mean(), each.std(ddof=1) / len(each) ** 0.5


def whole(d):
    return Box(-np.inf, np.inf, shape=d)


@pytest.mark.parametrize(("kind", "peer"), [(CMAES, cmaes.CMA), (SepCMAES, cmaes.SepCMA), (XNES, cmaes.XNES)])
def test_rates_are_those_of_the_cmaes_package(kind, peer, x64):
    """A false alarm once in 15,000 seeds: four standard errors."""
    ours, error = slope(distances(kind(whole(10), lam=10, start=np.full(10, 1.0), sigma=0.3), TO))
    theirs, their_error = slope(peer_distances(peer, 10, 10))
    assert abs(ours - theirs) < 4 * np.hypot(error, their_error)
    assert error < 0.05 * abs(ours)  # or the comparison would say little


@pytest.mark.parametrize("kind", [CMAES, MAES, SepCMAES])
def test_convergence_is_linear_and_below_what_the_best_step_sizes_give(kind, x64):
    """The logarithm falls as fast in the first half as in the second, by a third to two thirds of what it would with the best
    step size in every generation, as simulations of one generation find it."""
    d, lam = 10, 10
    log = distances(kind(whole(d), lam=lam, start=np.full(d, 1.0), sigma=0.3), TO)
    early, late = slope(log, FROM, (FROM + TO) // 2)[0], slope(log, (FROM + TO) // 2, TO)[0]
    assert abs(early / late - 1) < 0.1
    best = best_rate(d, lam)
    assert 0.33 < slope(log)[0] / best < 0.67


def best_rate(d, lam, samples=1000):
    """The largest expected fall of ln |x| in one generation of a (mu / mu_w, lam)-ES on the sphere, over all step sizes."""
    rng, weights = np.random.default_rng(0), np.maximum(parameters(d, lam).weights, 0)
    at = np.eye(d)[0]
    rates = []
    for step in np.linspace(0.3, 1.5, 13) * parameters(d, lam).mu_eff / d:
        x = at + step * rng.standard_normal((samples, lam, d))
        order = np.argsort(np.sum(x * x, axis=2), axis=1)
        mean = np.einsum("l,sld->sd", weights, np.take_along_axis(x, order[:, :, None], axis=1))
        rates.append(np.log(np.linalg.norm(mean, axis=1)).mean())
    return min(rates)


def test_one_plus_one_is_near_rechenbergs_rate(x64):
    """0.202 / d an evaluation is the limit for many dimensions and the best step size (Rechenberg 1973)."""
    for d in (10, 20):
        log = distances(ElitistCMAES(whole(d), start=np.full(d, 1.0), sigma=0.3), 50 * d, 8)
        rate = -slope(log, 10 * d, 50 * d)[0] * d
        assert 0.11 < rate < 0.202
