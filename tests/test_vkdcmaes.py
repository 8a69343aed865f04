"""VkD-CMA-ES against its authors' code in pycma, step by step, and what its few directions are for."""

from pathlib import Path

import jax
import jax.numpy as jnp
import make_restricted_data as peer_data
import numpy as np
import pytest
from variants import learnt, runs_of, shifted_sphere

from jaxes import Box, VkDCMAES

pytestmark = pytest.mark.quick

DATA = np.load(Path(__file__).parent / "data" / "restricted.npz")


@pytest.mark.parametrize(("d", "lam", "k"), peer_data.VKD_CASES)
def test_steps_are_those_of_pycmas_sampler(d, lam, k, x64):
    """The same candidates and fitness told to both, 200 generations; more and fewer samples than coordinates."""
    peer = {name: DATA[f"vkd {d} {lam} {k} {name}"] for name in ("x", "mean", "sigma", "D", "V", "S", "pc", "ps")}
    space = Box(-np.inf, np.inf, shape=d)
    strategy = VkDCMAES(space, lam=lam, directions=k, start=peer_data.start(d), sigma=peer_data.SIGMA)
    state, tell = strategy.init(0), jax.jit(strategy.tell)
    for generation in range(peer_data.VKD_GENERATIONS):
        x = peer["x"][generation].astype(float)
        state = tell(state, x, peer_data.ellipsoid(x))
        after = {name: values[generation] for name, values in peer.items()}
        np.testing.assert_allclose(peer_data.SIGMA * state.mean, after["mean"], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(state.sigma, after["sigma"], rtol=1e-9)
        np.testing.assert_allclose(state.scales, after["D"], rtol=1e-9)
        np.testing.assert_allclose(state.excess, after["S"], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(np.abs(state.vectors), after["V"], atol=1e-9)
        np.testing.assert_allclose(state.path_c, after["pc"], atol=1e-9)
        np.testing.assert_allclose(state.control.success, after["ps"], atol=1e-9)
    np.testing.assert_allclose(state.vectors @ state.vectors.T, np.eye(k), atol=1e-12)


def cigar(x):
    """Along a diagonal."""
    mean = jnp.mean(x)
    return jnp.square(mean - 0.3) * x.shape[0] + 1e6 * jnp.sum(jnp.square(x - mean))


def stretched(x):
    return jnp.sum(jnp.asarray(np.logspace(0, 6, x.shape[0]), x.dtype) * jnp.square(x - 0.3))


def test_evaluations_to_the_target(x64):
    """Medians in 20 dimensions. sep-CMA-ES takes 4,700 where axes are the coordinates', and for ever on the cigar."""
    strategy = VkDCMAES(Box(-5.0, 5.0, shape=20), start=np.full(20, 1.5), sigma=0.5)
    found = runs_of(strategy, [shifted_sphere, cigar, stretched], 8, 900, targets=[1e-6], stop={"target": 1e-6}).hits[..., 0]
    sphere, diagonal, axes = np.median(found, axis=1)
    assert 1600 < sphere < 2100
    assert 4200 < diagonal < 5400
    assert 6600 < axes < 8500


@pytest.mark.quick(False)  # of float32, as users compile it
def test_float32_states_stay_finite_for_ever_after_convergence():
    strategy = VkDCMAES(Box(-5.0, 5.0, shape=6), directions=3)
    functions = [lambda x: jnp.sum(x * x), cigar, stretched, lambda x: jnp.sum(x) * 0, jnp.sum]
    state = runs_of(strategy, functions, 2, 2000, stop={"converged": False}).state
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(learnt(state)))
    assert np.isfinite(jax.vmap(jax.vmap(strategy.step_size))(state)).all()


def test_a_candidate_moved_far_away_does_not_swamp_what_was_learnt():
    strategy = VkDCMAES(Box(-np.inf, np.inf, shape=6), start=np.ones(6), sigma=0.5)
    fitness = np.arange(strategy.population_size, dtype=float)
    population, state = strategy.ask(strategy.tell(*strategy.ask(strategy.init(0))[::-1], fitness))
    state = strategy.tell(state, population.at[2].set(1e25), fitness)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(learnt(state)))
    assert strategy._deviations(state).max() < 20


def test_a_step_of_the_mean_is_tried_again_ahead_and_behind(x64):
    """Both as long as a sample in the distribution's own metric."""
    strategy = VkDCMAES(Box(-np.inf, np.inf, shape=6), start=np.ones(6), sigma=0.5)
    population, state = strategy.ask(strategy.init(0))
    state = strategy.tell(state, population, np.arange(strategy.population_size, dtype=float))
    (ahead, behind, *_), _ = strategy.ask(state)
    np.testing.assert_allclose(ahead + behind, state.mean, atol=1e-12)  # twice the mean, in units of sigma = 1 / 2
    step = np.asarray(ahead - behind)
    before = state.control.before
    np.testing.assert_allclose(step / np.linalg.norm(step), before / jnp.linalg.norm(before), atol=1e-12)
    d, v, s = (np.asarray(x) for x in (state.scales, state.vectors, state.excess))
    covariance = d[:, None] * (np.eye(6) + v.T @ np.diag(s) @ v) * d
    z = strategy._whitened(state, step[None] / state.sigma)
    np.testing.assert_allclose(jnp.sum(z * z), step @ np.linalg.solve(covariance, step) / state.sigma**2, rtol=1e-9)
    np.testing.assert_allclose(np.square(strategy._deviations(state)), state.sigma**2 * np.diag(covariance), rtol=1e-9)
    np.testing.assert_allclose(np.linalg.det(covariance), 1, rtol=1e-9)


def test_many_dimensions():
    """Memory is linear in d, and d = 100,000 runs."""
    strategy = VkDCMAES(Box(-5.0, 5.0, shape=100_000))
    state = strategy.init(0)
    for _ in range(2):
        population, state = strategy.ask(state)
        state = strategy.tell(state, population, jnp.sum(jnp.square(population - 1), axis=1))
        assert np.isfinite(state.mean).all()
    assert sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(strategy.init, jax.random.key(0)))) < 50 * 100_000


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: VkDCMAES(Box(-1.0, 1.0, shape=3), directions=3), r"VkDCMAES\(directions=...\) must be below the dimension, 3"),
        (lambda: VkDCMAES(Box(-1.0, 1.0, shape=3), directions=-1), r"VkDCMAES\(directions=...\) must be at least 0, got -1"),
        (lambda: VkDCMAES(Box(-1.0, 1.0, shape=3), lam=1), r"VkDCMAES\(lam=...\) must be at least 2, got 1"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
