"""LRA-CMA-ES against the cmaes package, and what its learning rates are for."""

import cmaes
import cmaes._cma
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from variants import learnt, runs_of, shifted_sphere, symmetric

from jaxes import LRACMAES, Box, run

pytestmark = pytest.mark.quick


def ellipsoid(d, condition=1e6):
    turn, axes = np.linalg.qr(np.random.RandomState(1).randn(d, d))[0], np.logspace(0, np.log10(condition), d)

    def f(x):
        z = jnp.matmul(jnp.asarray(turn, x.dtype), x - 0.3, precision="highest")
        return jnp.sum(jnp.asarray(axes, x.dtype) * z * z)

    return f


def rastrigin(x):
    return 10 * x.shape[0] + jnp.sum(jnp.square(x) - 10 * jnp.cos(2 * jnp.pi * x))


@pytest.mark.parametrize(("f", "lam"), [(ellipsoid(8), 10), (rastrigin, 12)])
def test_steps_are_those_of_the_cmaes_package(f, lam, x64, monkeypatch):
    """The same candidates and fitness told to both, 200 generations."""
    monkeypatch.setattr(cmaes._cma, "_EPS", 0.0)  # added to a squared length, against eq. 46
    start = np.full(8, 1.3)
    strategy = LRACMAES(Box(-np.inf, np.inf, shape=8), lam=lam, start=start, sigma=0.5, root="symmetric")
    peer = cmaes.CMA(mean=start, sigma=0.5, population_size=lam, lr_adapt=True)
    f, state = jax.jit(jax.vmap(f)), strategy.init(0)
    for generation in range(200):
        population, state = strategy.ask(state)
        fitness = np.asarray(f(population))
        state = strategy.tell(state, population, fitness)
        peer._g = generation - 1  # the tutorial's h_sigma counts from 0
        peer.tell(list(zip(np.asarray(population), fitness, strict=True)))
        np.testing.assert_allclose(0.5 * state.mean, peer._mean, rtol=1e-9)
        np.testing.assert_allclose(0.5 * state.sigma, peer._sigma, rtol=1e-9)
        np.testing.assert_allclose(symmetric(state.covariance), peer._C, atol=1e-9 * np.abs(peer._C).max())
        np.testing.assert_allclose(state.path_c, peer._pc, atol=1e-9)
        for rate, name in ((state.rate_mean, "mean"), (state.rate_covariance, "Sigma")):
            np.testing.assert_allclose(rate.eta, getattr(peer, f"_eta_{name}"), rtol=1e-9)
            np.testing.assert_allclose(np.ravel(rate.average), np.ravel(getattr(peer, f"_E{name}")), atol=1e-9)
            np.testing.assert_allclose(rate.square, getattr(peer, f"_V{name}"), rtol=1e-9)
    assert state.rate_mean.eta < 0.9
    assert state.rate_covariance.eta < 0.9


def noisy(x, key):
    return jnp.sum(jnp.square(x - 0.7)) + jax.random.normal(key, (), x.dtype)


def test_noise_larger_than_what_is_left_to_gain():
    """The squared distance of the mean, a median of 8 runs of 15,000 evaluations; that of CMA-ES is 0.5, and stays."""
    strategy = LRACMAES(Box(-10.0, 10.0, shape=10), start=np.full(10, 3.0), sigma=2.0)

    def left(key):
        state = run(strategy, noisy, key, 1500, stochastic=True, stop={"converged": False}).state
        return jnp.sum(jnp.square(strategy.mean(state) - 0.7))

    assert np.median(jax.jit(jax.vmap(left))(jax.random.split(jax.random.key(0), 8))) < 0.04


@pytest.mark.quick(False)  # of float32, as users compile it
def test_float32_states_stay_finite_for_ever_after_convergence():
    """From the default sigma, with which runs would lose themselves if learning rates might enlarge it beyond the box."""
    strategy = LRACMAES(Box(-5.0, 5.0, shape=8))
    functions = [ellipsoid(8), shifted_sphere, lambda x: jnp.sum(x) * 0, jnp.sum]
    result = runs_of(strategy, functions, 8, 3000, stop={"converged": False}, targets=[1e-3])
    turned, sphere = np.median(result.hits[:2, :, 0], axis=1)
    assert 8500 < turned < 12_500
    assert 1300 < sphere < 2100
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(learnt(result.state)))
    assert np.isfinite(jax.vmap(jax.vmap(strategy.step_size))(result.state)).all()


def test_refusals():
    with pytest.raises(ValueError, match=r"LRACMAES\(alpha=...\) must be positive and finite, got 0"):
        LRACMAES(Box(-1.0, 1.0, shape=3), alpha=0)
    with pytest.raises(ValueError, match=r"LRACMAES\(root=...\) must be one of 'cholesky', 'symmetric', got 'qr'"):
        LRACMAES(Box(-1.0, 1.0, shape=3), root="qr")
