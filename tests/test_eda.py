"""Estimation of distribution algorithms against slow references written from their papers."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_nes import ellipsoid, rugged, steps, whole_space
from variants import box, evaluations, learnt, runs_of, shifted_sphere

from jaxes import ARS, CEM, SHADE, Box, IAMaLGaM, run, sweep

pytestmark = pytest.mark.quick


@pytest.mark.parametrize("decay", [5.0, np.inf])
def test_steps_of_cem_are_those_of_the_tutorial(decay, x64):
    """In NumPy, 200 generations; with a constant weight, variances vanish exponentially, and it ends with them."""
    d, lam, elite = 4, 30, 5
    strategy = CEM(whole_space(d), lam=lam, elite=elite, variance_decay=decay, start=np.ones(d), sigma=0.5)
    mean, variance = np.ones(d), np.full(d, 0.25)
    for t, (population, fitness, state) in enumerate(steps(strategy, rugged), start=1):
        best = population[np.argsort(fitness)[:elite]]
        beta = 0.9 if math.isinf(decay) else 0.9 - 0.9 * (1 - 1 / t) ** decay
        variance = beta * best.var(axis=0) + (1 - beta) * variance
        mean = 0.7 * best.mean(axis=0) + 0.3 * mean
        if variance.min() < 1e-12:
            break
        np.testing.assert_allclose(0.5 * state.mean, mean, rtol=1e-9)
        np.testing.assert_allclose(0.25 * state.variance, variance, rtol=1e-9, atol=1e-15)
    assert t == 200 or (math.isinf(decay) and t > 50)


@pytest.mark.parametrize(("model", "lam"), [("full", 31), ("univariate", 12)])
def test_steps_of_iamalgam_are_those_of_the_paper(model, lam, x64):
    """Bosman, Grahl & Thierens (2013), in NumPy, with every case of the variance scaling, until the matrix has vanished."""
    d, sigma = 10, 0.5
    strategy = IAMaLGaM(whole_space(d), model=model, start=np.ones(d), sigma=sigma)
    assert strategy.population_size == lam
    count = int(0.35 * lam)
    a = {"full": (1.1, 1.2, 1.6, 1.2, 0.31, 0.5), "univariate": (0.4, 0.15, -0.034, 0.31, 0.27, 0.067)}[model]
    eta = 1 - math.exp(-a[0] * count ** a[1] / d ** a[2])
    eta_shift = 1 - math.exp(-a[3] * count ** a[4] / d ** a[5])
    mean, cov, shift = np.ones(d), sigma**2 * np.eye(d), np.zeros(d)
    c, stall, best, seen = 1.0, 0, np.inf, set()

    def f(x):  # improvements far away, then rarely, then never
        return jnp.where(jnp.sum(x) > 0, jnp.maximum(jnp.sum(jnp.arange(1, d + 1, dtype=x.dtype) * x), 0), 0) + 1

    for t, (population, fitness, state) in enumerate(steps(strategy, f), start=1):
        improved = population[fitness < best]
        if len(improved):
            stall, c_old = 0, c
            c = max(c, 1.0)
            z = np.linalg.solve(np.linalg.cholesky(c_old * cov), improved.mean(axis=0) - mean)
            if np.abs(z).max() > 1:
                c, seen = c / 0.9, seen | {"up"}
        else:
            stall += c <= 1
            if c > 1 or stall >= 25 + d:
                c, seen = 0.9 * c, seen | {"down" if c > 1 else "patience"}
            if stall < 25 + d and c < 1:
                c = 1.0
        best = min(best, fitness.min())
        chosen = population[np.argsort(fitness, kind="stable")[:count]]
        new = chosen.mean(axis=0)
        shift = (1 - eta_shift) * shift + eta_shift * (new - mean)
        mean = new
        now = (chosen - mean).T @ (chosen - mean) / count
        cov = (1 - eta) * cov + eta * (now if model == "full" else np.diag(np.diag(now)))
        if np.linalg.eigvalsh(cov).min() < 1e-12:
            assert t > 80
            break
        mine = state.covariance if model == "full" else np.diag(state.covariance)
        np.testing.assert_allclose(sigma * state.mean, mean, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(sigma**2 * mine, cov, atol=1e-9 * np.abs(cov).max())
        np.testing.assert_allclose(sigma * state.shift, shift, atol=1e-9 * np.abs(mean).max())
        np.testing.assert_allclose(state.multiplier, c, rtol=1e-12)
        assert state.stalled == stall
    assert seen >= {"up", "down"}


def test_the_mean_shift_is_anticipated(x64):
    strategy = IAMaLGaM(whole_space(3), lam=20, start=np.zeros(3), sigma=1.0)
    state = dataclasses.replace(strategy.init(0), shift=jnp.asarray([1.0, 2.0, 3.0]), multiplier=jnp.asarray(4.0))
    z = jax.random.normal(jax.random.key(0), (20, 3))
    moved = strategy._points(state, z) - 2 * z
    np.testing.assert_allclose(moved[:3], np.tile([8.0, 16.0, 24.0], (3, 1)))
    np.testing.assert_allclose(moved[3:], 0, atol=1e-12)


def test_evaluations_to_the_target(x64):
    options = {"start": np.full(5, 1.0), "sigma": 0.5}
    space = Box(-5.0, 5.0, shape=5)
    assert 1300 < evaluations(IAMaLGaM(space, **options), [ellipsoid(5, 1e4)], 120, runs=16) < 1850
    assert 420 < evaluations(IAMaLGaM(space, model="univariate", **options), [shifted_sphere], 100) < 620
    assert 600 < evaluations(CEM(space, **options), [shifted_sphere], 100, target=1e-3) < 1000


@pytest.mark.quick(False)  # of float32, as users compile it
@pytest.mark.parametrize("kind", [CEM, IAMaLGaM])
def test_float32_states_stay_finite_for_ever_after_convergence(kind):
    strategy = kind(Box(-5.0, 5.0, shape=5), lam=16)
    functions = [lambda x: jnp.sum(x * x), shifted_sphere, ellipsoid(5), lambda x: jnp.sum(x) * 0]
    state = runs_of(strategy, functions, 2, 2000, stop={"converged": False}).state
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(learnt(state)))
    assert np.isfinite(jax.vmap(jax.vmap(strategy.step_size))(state)).all()


def test_the_default_elite_follows_lam():
    """In a sweep, in copies and in larger populations; what was given stays, or grows with the population."""
    key = jax.random.fold_in(jax.random.key(0), 0)  # of the first repeat
    by_lam = [run(CEM(box(), lam=lam), shifted_sphere, key, 5).fitness for lam in (8, 20, 200)]
    swept = sweep(CEM(box()), shifted_sphere, 0, 5, over={"lam": [8, 20, 200]}).runs.fitness[:, 0]
    np.testing.assert_array_equal(swept, by_lam)
    assert [kind(box(), lam=16).enlarged(4).lam for kind in (CEM, ARS)] == [64, 64]
    assert [ARS(box(), lam=16).enlarged(k).directions for k in (1, 4)] == [4, 16]
    assert [ARS(box(), lam=16, elite=8).enlarged(k).directions for k in (1, 4)] == [8, 32]
    assert CEM(box(), lam=16, elite=8).enlarged(4).elite == 32
    assert dataclasses.replace(SHADE(box(), lam=20), lam=60).room == 60


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CEM(box(), lam=10, elite=11), r"CEM\(elite=...\) must be at most lam=10, got 11"),
        (lambda: CEM(box(), elite=0), r"CEM\(elite=...\) must be at least 1, got 0"),
        (lambda: CEM(box(), smoothing=1.5), r"CEM\(smoothing=...\) must be above 0 and at most 1, got 1.5"),
        (lambda: CEM(box(), variance_decay=0.0), r"CEM\(variance_decay=...\) must be positive, got 0.0"),
        (lambda: IAMaLGaM(box(), model="tree"), r"IAMaLGaM\(model=...\) must be one of 'full', 'univariate', got 'tree'"),
        (lambda: IAMaLGaM(box(), lam=5), r"IAMaLGaM\(lam=...\) must be at least 6, got 5"),
    ],
)
def test_refusals(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
