"""Natural evolution strategies against other hands' and against slow references, and what their invariances promise."""

import dataclasses
import math

import cmaes
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from variants import box, evaluations, learnt, runs_of, shifted_sphere

from jaxes import SNES, XNES, Box, run
from jaxes.gaussian import condition, shortest_axis
from jaxes.operators.expm import expm, phi
from jaxes.strategies.nes import utilities

pytestmark = pytest.mark.quick


def rotation(d, seed=1):
    return np.linalg.qr(np.random.RandomState(seed).randn(d, d))[0]


def ellipsoid(d, worst=1e6, seed=1):
    turn, axes = rotation(d, seed), np.logspace(0, np.log10(worst), d)

    def f(x):
        z = jnp.matmul(jnp.asarray(turn, x.dtype), x - 0.3, precision="highest")
        return jnp.sum(jnp.asarray(axes, x.dtype) * z * z)

    return f


def rugged(x):
    """Ranks as good as random: steps that do not get small, in which the rounding of the start would count for ever."""
    return jnp.cos(1e3 * jnp.sum(jnp.arange(1, x.shape[0] + 1, dtype=x.dtype) * x))


def whole_space(d):
    return Box(-np.inf, np.inf, shape=d)


def steps(strategy, f, generations=200, seed=0):
    """State before, candidates, fitness and state after, generation by generation."""
    ask_and_tell = jax.jit(lambda s: _step(strategy, f, s))
    state = strategy.init(seed)
    for _ in range(generations):
        population, fitness, told = ask_and_tell(state)
        yield np.asarray(population), np.asarray(fitness), told
        state = told


def _step(strategy, f, state):
    population, state = strategy.ask(state)
    fitness = jax.vmap(f)(population)
    return population, fitness, strategy.tell(state, population, fitness)


@pytest.mark.parametrize("norm", [0.3, 2.0])
def test_the_exponential_is_scipys(norm, x64):
    for dtype, tolerance in ((np.float64, 4e-15), (np.float32, 2e-6)):
        for n in (1, 17):
            m = np.random.RandomState(n).randn(n, n)
            m = m + m.T
            m = (m * (norm / np.abs(np.linalg.eigvalsh(m)).max())).astype(dtype)
            of_both = zip((m, -m), expm(jnp.asarray(m), 2.0), phi(jnp.asarray(m), 2.0), strict=True)
            for x, exponential, mean in of_both:
                expected = scipy.linalg.expm(x.astype(float))
                np.testing.assert_allclose(exponential, expected, atol=tolerance * math.exp(norm))
                both = scipy.linalg.expm(np.block([[x.astype(float), np.eye(n)], [np.zeros((n, 2 * n))]]))
                np.testing.assert_allclose(mean, both[:n, n:], atol=tolerance * math.exp(norm))


def test_the_exponential_of_low_rank_is_that_of_a_small_matrix(x64):
    random = np.random.RandomState(0)
    z, w = random.randn(5, 12), np.diag(random.randn(5))
    m = 0.02 * z.T @ w @ z
    mine = np.eye(12) + 0.02 * z.T @ np.asarray(phi(jnp.asarray(0.02 * w @ z @ z.T), 2.0)[0]) @ w @ z
    np.testing.assert_allclose(mine, scipy.linalg.expm(m), atol=1e-14)


@pytest.mark.parametrize(("d", "lam"), [(10, 10), (10, 8), (4, 20)])
def test_steps_of_xnes_are_those_of_the_cmaes_package(d, lam, x64):
    """The same candidates and fitness told to both, 200 generations; more and fewer samples than coordinates."""
    strategy = XNES(whole_space(d), lam=lam, start=np.full(d, 1.0), sigma=0.5)
    peer = cmaes.XNES(mean=np.full(d, 1.0), sigma=0.5, population_size=lam)
    for population, fitness, state in steps(strategy, ellipsoid(d, 1e4) if d > lam else rugged):
        peer.tell(list(zip(population, fitness, strict=True)))
        np.testing.assert_allclose(0.5 * state.mean, peer._mean, rtol=1e-9)
        np.testing.assert_allclose(
            0.5 * state.sigma, peer._sigma, rtol=1e-9, atol=1e-11
        )  # means differ by the rounding of their start, for ever
        np.testing.assert_allclose(state.root, peer._B, atol=1e-9 * np.abs(peer._B).max())
    np.testing.assert_allclose(state.root @ state.whiten, np.eye(d), atol=1e-10)
    np.testing.assert_allclose(np.linalg.det(state.root), 1, rtol=1e-9)
    assert np.linalg.cond(state.root) > 1.5  # it has gone somewhere


@pytest.mark.parametrize("d", [1, 10])
def test_steps_of_snes_are_those_of_the_paper(d, x64):
    """Wierstra et al. (2014), Algorithm 6, in loops."""
    lam = 4 + math.floor(3 * math.log(d))
    eta = (3 + math.log(d)) / (5 * math.sqrt(d))
    strategy = SNES(whole_space(d), start=np.full(d, 1.0), sigma=0.5)
    mean, deviations = np.full(d, 1.0), np.full(d, 0.5)
    top = [max(0, math.log(lam / 2 + 1) - math.log(k)) for k in range(1, lam + 1)]
    for population, fitness, state in steps(strategy, rugged):
        toward, wider = np.zeros(d), np.zeros(d)
        for k, i in enumerate(np.argsort(fitness)):
            s = (population[i] - mean) / deviations
            u = top[k] / sum(top) - 1 / lam
            toward, wider = toward + u * s, wider + u * (s**2 - 1)
        mean, deviations = mean + deviations * toward, deviations * np.exp(eta / 2 * wider)
        np.testing.assert_allclose(0.5 * state.mean, mean, rtol=1e-9)
        np.testing.assert_allclose(0.5 * state.deviations, deviations, rtol=1e-9)


def test_utilities_are_the_papers():
    assert utilities(2) == pytest.approx([0.5, -0.5])
    top = np.log([3, 1.5])  # ln(lam / 2 + 1) - ln k for lam = 4, and nothing for the worse half
    np.testing.assert_allclose(utilities(4), [*(top / top.sum() - 0.25), -0.25, -0.25])
    assert abs(utilities(1000).sum()) < 1e-12


def test_evaluations_to_the_target(x64):
    """Table 1's learning rate is cautious, and says so: medians in 10 dimensions."""
    options = {"start": np.full(10, 1.0), "sigma": 0.5}
    xnes, snes = XNES(Box(-5.0, 5.0, shape=10), **options), SNES(Box(-5.0, 5.0, shape=10), **options)
    assert 7500 < evaluations(xnes, [ellipsoid(10)], 1100, runs=16) < 9700
    assert 1600 < evaluations(snes, [shifted_sphere], 400) < 2200


def test_an_optimum_in_a_corner_is_reached_exactly():
    target = np.asarray([1.0, 1.0, -1.0, 1.0], np.float32)
    for strategy in (XNES(box(4, 1.0)), SNES(box(4, 1.0))):
        result = runs_of(strategy, [lambda x: jnp.sum((1 + jnp.arange(4.0)) * jnp.abs(x - target))], 16, 400)
        assert np.median(result.fitness) == 0


def test_rotating_the_problem_rotates_a_run_of_xnes_and_not_of_snes(x64):
    """Told the rotated candidates of another run, XNES learns the rotated distribution, step by step."""
    turn = rotation(6, 3)

    def covariance(state):
        root = np.diag(state.deviations) if hasattr(state, "deviations") else np.asarray(state.sigma * state.root)
        return root @ root.T

    for kind, rotates in ((XNES, True), (SNES, False)):
        strategy = kind(whole_space(6), start=np.zeros(6), sigma=0.5)
        b = strategy.init(0)
        for population, fitness, a in steps(strategy, ellipsoid(6), 60):
            b = strategy.tell(dataclasses.replace(b, key=a.key), population @ turn.T, fitness)
        if rotates:  # other samples than its own may be far away for SNES, and count as nearer ones
            np.testing.assert_allclose(turn @ a.mean, b.mean, atol=1e-9)
        assert np.allclose(turn @ covariance(a) @ turn.T, covariance(b), rtol=1e-7, atol=1e-9) == rotates


def test_the_learning_rate_is_limited_to_what_the_exponential_is_exact_for(x64):
    """A candidate from far away, as a user may tell: the axes grow by e**2 at most, and B stays the inverse of its inverse."""
    for d, lam in [(6, 4)]:
        strategy = XNES(whole_space(d), lam=lam, start=np.zeros(d), sigma=1.0, learning_rate=1.0)
        population, state = strategy.ask(strategy.init(0))
        told = strategy.tell(state, 100 * population, np.arange(lam, dtype=float))
        logs = np.log(np.linalg.svd(told.sigma * told.root)[1])
        assert np.abs(logs).max() <= 2 + 1e-9
        assert np.linalg.norm(logs) == pytest.approx(2)
        np.testing.assert_allclose(told.root @ told.whiten, np.eye(d), atol=1e-12)
    snes = SNES(whole_space(3), start=np.zeros(3), sigma=1.0, learning_rate=1.0)
    population, state = snes.ask(snes.init(0))
    assert np.asarray(snes.tell(state, 100 * population, np.arange(snes.lam, dtype=float)).deviations).max() == pytest.approx(
        np.exp(2)
    )


@pytest.mark.quick(False)  # of float32, as users compile it
@pytest.mark.parametrize("kind", [XNES, SNES])
def test_float32_states_stay_finite_for_ever_after_convergence(kind):
    strategy = kind(Box(-5.0, 5.0, shape=12), learning_rate=0.6)  # more coordinates than samples
    functions = [lambda x: jnp.sum(x * x), shifted_sphere, ellipsoid(12), lambda x: jnp.sum(x) * 0]
    state = runs_of(strategy, functions, 2, 2000, stop={"converged": False}).state
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(learnt(state)))
    assert np.isfinite(jax.vmap(jax.vmap(strategy.step_size))(state)).all()


def test_the_shortest_axis_is_found(x64):
    turn, axes = rotation(10), np.ones(10)
    axes[3] = 1e-3
    root = np.linalg.cholesky((turn * axes**2) @ turn.T)
    step = shortest_axis(jnp.asarray(np.linalg.inv(root)))
    np.testing.assert_allclose(np.abs(step), 1e-3 * np.abs(turn[:, 3]), rtol=1e-2, atol=1e-6)
    assert 1e6 / 100 <= condition(jnp.asarray(root), jnp.asarray(np.linalg.inv(root))) <= 1e6


def test_the_inverse_stays_the_inverse_in_float32():
    """Until the run has converged; then nothing but rounding is left to learn from."""
    strategy = XNES(Box(-5.0, 5.0, shape=20), start=np.full(20, 1.0), sigma=0.5)
    state = run(strategy, ellipsoid(20, 1e4), 3, 2500, stop={"converged": False}).state
    assert np.linalg.cond(np.asarray(state.root, np.float64)) > 50
    assert np.abs(np.asarray(state.root, np.float64) @ np.asarray(state.whiten, np.float64) - np.eye(20)).max() < 1e-3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: XNES(box(), learning_rate=0.0), r"XNES\(learning_rate=...\) must be positive and finite, got 0.0"),
        (lambda: SNES(box(), learning_rate=np.ones(3)), r"SNES\(learning_rate=...\) must be one number"),
        (lambda: SNES(box(), lam=1), r"SNES\(lam=...\) must be at least 2, got 1"),
    ],
)
def test_refusals(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
