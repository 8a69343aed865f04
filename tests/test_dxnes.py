"""DX-NES-IC and CR-FM-NES against their authors' packages, step by step, and what they promise of infeasible candidates."""

import builtins
import dataclasses
from pathlib import Path

import cmaes
import cmaes._dxnesic
import jax
import jax.numpy as jnp
import make_restricted_data as peer_data
import numpy as np
import pytest
from variants import learnt, runs_of, shifted_sphere

from jaxes import CRFMNES, DXNESIC, Box
from jaxes.operators.matrix import lengths
from jaxes.strategies.dxnes import _root_of_h, situation

pytestmark = pytest.mark.quick

DATA = np.load(Path(__file__).parent / "data" / "restricted.npz")


def ellipsoid(d, condition=1e6, at=0.3):
    turn, axes = np.linalg.qr(np.random.RandomState(1).randn(d, d))[0], np.logspace(0, np.log10(condition), d)

    def f(x):
        z = jnp.matmul(jnp.asarray(turn, x.dtype), x - at, precision="highest")
        return jnp.sum(jnp.asarray(axes, x.dtype) * z * z)

    return f


def opened(kind, d, **options):
    return kind(Box(-np.inf, np.inf, shape=d), start=np.full(d, 5.0), sigma=0.5, **options)


@pytest.mark.parametrize(("d", "lam"), [(6, 14), (2, 50)])
def test_steps_of_dxnesic_are_those_of_the_cmaes_package(d, lam, x64, monkeypatch):
    """Each of 200 generations from the same state, told the same candidates and fitness, some of them infeasible.

    From the same state, because the weights sum to zero: a rounding of the mean stays while the step size shrinks. Samples are
    independent, or else axes of the first generations would have the same length, and be any.
    """
    peer = cmaes.DXNESIC(mean=np.full(d, 5.0), sigma=0.5, population_size=lam)

    def remembering(*values):  # it computes gamma by max(..., 1), and forgets it
        found = builtins.max(*values)
        if len(values) == 1:
            return found.item()  # NumPy 2 refuses its matrices of one element
        peer._gamma = found
        return found

    monkeypatch.setattr(cmaes._dxnesic, "max", remembering, raising=False)
    f = jax.jit(jax.vmap(ellipsoid(d, 1e3, 0.0)))
    strategy = opened(DXNESIC, d, lam=lam, sampling="independent")
    state, phases = strategy.init(0), set()
    for generation in range(200):
        population, state = strategy.ask(state)
        fitness = np.array(f(population))
        fitness[: generation % 3] = [np.nan, np.inf][: generation % 3]
        state = strategy.tell(state, population, fitness)
        peer.tell(list(zip(np.asarray(population), np.nan_to_num(fitness, nan=np.inf, posinf=np.inf), strict=True)))
        np.testing.assert_allclose(0.5 * state.mean, peer._mean, atol=1e-9 * np.abs(peer._mean).max())
        np.testing.assert_allclose(0.5 * state.sigma, peer._sigma, rtol=1e-9)
        np.testing.assert_allclose(state.root, peer._B, atol=1e-9 * np.abs(peer._B).max())
        np.testing.assert_allclose(state.path, peer._p_sigma, atol=1e-9)
        np.testing.assert_allclose(state.gamma, peer._gamma, rtol=1e-9)
        length = np.linalg.norm(state.path) / peer._chi_n
        phases.add("moves" if length >= 1 else "stagnates" if length >= 0.1 else "converges")
        peer._mean, peer._sigma, peer._B = 0.5 * np.array(state.mean), 0.5 * float(state.sigma), np.array(state.root)
        peer._p_sigma, peer._gamma = np.array(state.path), float(state.gamma)
    np.testing.assert_allclose(state.root @ state.whiten, np.eye(d), atol=1e-9)
    assert np.linalg.cond(state.root) > 5
    assert {"moves", "stagnates"} <= phases
    assert "converges" in phases or d > 2


@pytest.mark.parametrize(("d", "lam"), peer_data.CASES)
def test_steps_of_crfmnes_are_those_of_the_authors_package(d, lam, x64):
    """The same candidates and fitness told to both, 200 generations, in some of which a part is infeasible."""
    peer = {name: DATA[f"crfmnes {d} {lam} {name}"] for name in ("m", "sigma", "D", "v", "ps", "pc")}
    strategy = dataclasses.replace(opened(CRFMNES, d, lam=lam), start=peer_data.start(d))
    state = dataclasses.replace(strategy.init(0), vector=jnp.asarray(peer["v"][0]))
    tell, infeasible = jax.jit(strategy.tell), set()
    for generation in range(peer_data.GENERATIONS):
        mean, sigma, scales, vector = (peer[name][generation] for name in ("m", "sigma", "D", "v"))
        z = peer_data.normals(generation, d, lam // 2).T
        z = np.concatenate([z, -z])
        y = z + (np.sqrt(1 + vector @ vector) - 1) / (vector @ vector) * np.outer(z @ vector, vector)
        x = mean + sigma * scales * y
        fitness = peer_data.fitness(x)
        infeasible.add(np.isinf(fitness).sum())
        state = tell(state, x, fitness)
        after = {name: values[generation + 1] for name, values in peer.items()}
        np.testing.assert_allclose(0.5 * state.mean, after["m"], rtol=1e-9)
        np.testing.assert_allclose(0.5 * state.sigma, after["sigma"][0], rtol=1e-9)
        np.testing.assert_allclose(state.scales, after["D"], rtol=1e-9)
        np.testing.assert_allclose(state.vector, after["v"], atol=1e-9)
        np.testing.assert_allclose(state.path_sigma, after["ps"], atol=1e-9)
        np.testing.assert_allclose(state.path_c, after["pc"], atol=1e-9)
        # Roundings of these two would stay, while the step size shrinks.
        state = dataclasses.replace(state, mean=jnp.asarray(after["m"] / 0.5), sigma=jnp.asarray(after["sigma"][0] / 0.5))
    assert infeasible >= {0, 1, 2}


def test_the_infeasible_rank_last_and_the_nearest_of_them_first():
    z = np.random.RandomState(0).randn(20, 3).astype(np.float32)
    fitness = np.where(np.arange(20) % 4 < 3, np.inf, np.sin(np.arange(20))).astype(np.float32)
    now = situation(jnp.zeros(3), lengths(z), lambda w: w @ z, fitness, len(z))
    order = sorted(range(20), key=lambda i: (fitness[i], np.linalg.norm(z[i])))
    raw = np.maximum(0, np.log(11) - np.log(np.arange(1, 21)))
    path = raw @ z[order] / raw.sum() - z.mean(axis=0)
    np.testing.assert_allclose(now.path / jnp.linalg.norm(now.path), path / np.linalg.norm(path), rtol=1e-4)
    assert now.feasible == 5


def test_the_reach_of_distance_weights_is_the_packages():
    for d in (2, 10, 1000, 100_000):
        np.testing.assert_allclose(_root_of_h(d), cmaes._dxnesic._get_h_inv(d), rtol=1e-9)


def test_distance_weights_that_would_overflow():
    """exp(alpha |z|) of two thousand dimensions and candidates is none of single precision's numbers."""
    z = np.random.RandomState(0).randn(2000, 2000).astype(np.float32)
    fitness = np.arange(2000, dtype=np.float32)
    now = jax.jit(situation, static_argnums=(2, 4))(
        1e3 * np.ones(2000, np.float32), lengths(z), lambda w: w @ z, fitness, len(z)
    )
    assert now.moves
    raw = np.maximum(0, np.log(1001) - np.log(1 + fitness.astype(float)))
    weights = raw * np.exp(_root_of_h(2000) * np.linalg.norm(z.astype(float), axis=1))
    np.testing.assert_allclose(now.weights, weights / weights.sum() - 1 / 2000, rtol=1e-3, atol=1e-6)


def stretched(x):
    return jnp.sum(jnp.asarray(np.logspace(0, 6, x.shape[0]), x.dtype) * jnp.square(x - 0.3))


def walled(x):
    """Half of the space is infeasible, and the optimum of the rest, 0, lies on the border."""
    return jnp.where(x[0] < 0.7, jnp.where(x[1] < 0, jnp.nan, jnp.inf), shifted_sphere(x) + 10 * (x[0] - 0.7))


@pytest.mark.quick(False)  # of float32, as users compile it
@pytest.mark.parametrize(
    ("kind", "hard", "least", "most"), [(DXNESIC, ellipsoid(8), 4200, 7000), (CRFMNES, stretched, 1250, 1900)]
)
def test_float32_states_stay_finite_for_ever_after_convergence(kind, hard, least, most):
    """And optima are found, also at the border of what is feasible."""
    strategy = kind(Box(-5.0, 5.0, shape=8), start=np.full(8, 2.0), sigma=0.5, lam=10)
    functions = [walled, hard, lambda x: jnp.sum(x) * 0, jnp.sum]
    result = runs_of(strategy, functions, 8, 2000, stop={"converged": False}, targets=[1e-6])
    assert (result.fitness[0] < 1e-4).all()
    assert least < np.median(result.hits[1]) < most
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(learnt(result.state)))
    assert np.isfinite(jax.vmap(jax.vmap(strategy.step_size))(result.state)).all()


def test_a_converged_run_stays_where_it_is():
    """For thousands of generations in which ranks say nothing."""
    result = runs_of(CRFMNES(Box(-5.0, 5.0, shape=5)), [shifted_sphere], 16, 15_000, stop={"converged": False}, history=500)
    assert (np.asarray(result.history.step_size)[:, :, 1:] < 1e-5).all()
    assert (result.fitness < 1e-10).all()
