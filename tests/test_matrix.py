"""CMA-ES' relatives against the cmaes package, against slow references written from the papers, and their invariances."""

import dataclasses
import math

import cmaes
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from variants import box, evaluations, learnt, runs_of, shifted_sphere

from jaxes import CMAES, LMMAES, MAES, Box, Clip, ElitistCMAES, SepCMAES
from jaxes.gaussian import reach
from jaxes.operators.cma import length, parameters, separable

pytestmark = pytest.mark.quick

D = 6


def rotation(d, seed=1):
    return np.linalg.qr(np.random.RandomState(seed).randn(d, d))[0]


def ellipsoid(d, condition=1e6, turn=None):
    turn, axes = rotation(d) if turn is None else turn, np.logspace(0, np.log10(condition), d)

    def f(x):
        z = jnp.matmul(jnp.asarray(turn, x.dtype), x - 0.3, precision="highest")
        return jnp.sum(jnp.asarray(axes, x.dtype) * z * z)

    return f


def told(strategy, f, generations=200):
    """State, candidates in units of sigma = 0.5 and fitness of every generation; then the state after it."""
    f = jax.jit(jax.vmap(f))
    state = strategy.init(0)
    for _ in range(generations):
        population, state = strategy.ask(state)
        fitness = f(population)
        state = strategy.tell(state, population, fitness)
        yield state, np.asarray(population), np.asarray(fitness)


def opened(kind, **options):
    return kind(Box(-np.inf, np.inf, shape=D), start=np.full(D, 1.0), sigma=0.5, **options)


@pytest.mark.parametrize("lam", [9, 20])
def test_separable_steps_are_those_of_the_cmaes_package(lam, x64):
    """With the paper's learning rates, which the package departs from."""
    rates = separable(D, lam)
    peer = cmaes.SepCMA(mean=np.full(D, 1.0), sigma=0.5, population_size=lam)
    peer._c1, peer._cmu = rates.c_1, rates.c_mu
    for state, population, fitness in told(opened(SepCMAES, lam=lam), ellipsoid(D)):
        peer.tell(list(zip(population, fitness, strict=True)))
        np.testing.assert_allclose(0.5 * state.mean, peer._mean, rtol=1e-9)
        np.testing.assert_allclose(0.5 * state.sigma, peer._sigma, rtol=1e-9)
        np.testing.assert_allclose(state.variances, peer._C, rtol=1e-9)
        np.testing.assert_allclose(state.path_sigma, peer._p_sigma, atol=1e-9)
        np.testing.assert_allclose(state.path_c, peer._pc, atol=1e-9)


@pytest.mark.parametrize(("d", "lam"), [(2, 6), (10, 10), (10, 11), (100, 17)])
def test_separable_parameters(d, lam):
    p, peer = separable(d, lam), cmaes.SepCMA(mean=np.zeros(d), sigma=1.0, population_size=lam)
    np.testing.assert_allclose(p.weights[: lam // 2], peer._weights, rtol=1e-12)
    assert not p.weights[lam // 2 :].any()
    mine = [p.mu_eff, p.c_c, p.c_sigma, p.d_sigma, length(d)]
    np.testing.assert_allclose(mine, [peer._mu_eff, peer._cc, peer._c_sigma, peer._d_sigma, peer._chi_n], rtol=1e-12)
    np.testing.assert_allclose(p.c_1 + p.c_mu, peer._cmu, rtol=1e-12)  # what the paper shares between both updates
    np.testing.assert_allclose(p.c_1 * p.mu_eff, peer._cmu, rtol=1e-12)


def test_separable_rates_are_bounded():
    p = separable(10, 1000)
    np.testing.assert_allclose(p.c_1 + p.c_mu, 1)


@pytest.mark.parametrize("active", [True, False])
def test_matrix_adaptation_steps_are_the_papers(active, x64):
    """Figure 3 of the paper, with its product of matrices."""
    lam = 11
    p = parameters(D, lam)
    weights = p.weights if active else np.maximum(p.weights, 0)
    mean, sigma, matrix, path = np.full(D, 1.0), 0.5, np.eye(D), np.zeros(D)
    for state, population, fitness in told(opened(MAES, lam=lam, active=active), ellipsoid(D)):
        x = population[np.argsort(fitness)]
        z = np.linalg.solve(matrix, ((x - mean) / sigma).T).T
        recombined = sum(weights[i] * z[i] for i in range(lam // 2))
        mean = mean + sigma * matrix @ recombined
        path = (1 - p.c_sigma) * path + np.sqrt(p.mu_eff * p.c_sigma * (2 - p.c_sigma)) * recombined
        change = p.c_1 / 2 * (np.outer(path, path) - np.eye(D))
        for i in range(lam):
            w = weights[i] if weights[i] >= 0 else weights[i] * D / (z[i] @ z[i])
            change += p.c_mu / 2 * (w * np.outer(z[i], z[i]) - weights[i] * np.eye(D))
        matrix = matrix @ (np.eye(D) + change)
        sigma *= np.exp(p.c_sigma / p.d_sigma * (np.linalg.norm(path) / length(D) - 1))
        np.testing.assert_allclose(0.5 * state.mean, mean, rtol=1e-9)
        np.testing.assert_allclose(0.5 * state.sigma, sigma, rtol=1e-9)
        np.testing.assert_allclose(state.matrix, matrix, atol=1e-9 * np.abs(matrix).max())
        np.testing.assert_allclose(state.path, path, atol=1e-9)


@pytest.mark.parametrize(("kind", "names"), [(CMAES, "covariance path_sigma path_c"), (MAES, "matrix path")])
def test_the_normals_of_what_was_moved_are_found(kind, names, x64):
    """Told without having asked, told what was asked, and told one candidate elsewhere: as if that one had been sampled."""
    strategy = opened(kind)
    *_, (state, _, _) = told(strategy, ellipsoid(D), 30)
    population, asked = strategy.ask(state)
    fitness = np.arange(strategy.population_size, dtype=float)
    for moved in (0.0, 0.3):
        repaired = population.at[1].add(moved * 0.5 * state.sigma)
        known = strategy.tell(asked, repaired, fitness)
        solved = strategy.tell(state, repaired, fitness)
        for name in ["mean", "sigma", *names.split()]:
            np.testing.assert_allclose(getattr(known, name), getattr(solved, name), rtol=1e-9, atol=1e-12)
    last = names.split()[-1]
    assert np.abs(getattr(known, last) - getattr(strategy.tell(asked, population, fitness), last)).max() > 1e-3


@pytest.mark.parametrize("active", [True, False])
def test_elitist_steps_are_the_papers(active, x64):
    """The covariance matrix itself, as Igel et al. (2006) and Arnold & Hansen (2010) update it."""
    d, unit = 2, 0.01  # so small that the first steps succeed more often than the path likes
    c, c_plus, c_minus, damping = 2 / (d + 2), 2 / (d**2 + 6), 0.4 / (d**1.6 + 1), 1 + d / 2
    sigma, covariance, path, rate = unit, np.eye(d), np.zeros(d), 2 / 11
    parent, ancestors = None, []
    seen = set()
    strategy = ElitistCMAES(Box(-np.inf, np.inf, shape=d), start=np.ones(d), sigma=unit, active=active)
    for state, population, fitness in told(strategy, ellipsoid(d, 100), 250):
        x, value = population[0], fitness[0]
        if parent is None:
            np.testing.assert_array_equal(x, np.ones(d))
            parent, ancestors = x, [value]
            continue
        y = (x - parent) / sigma
        success = value <= ancestors[-1]
        rate = 11 / 12 * rate + success / 12
        sigma *= np.exp((rate - 2 / 11) / (1 - 2 / 11) / damping)
        if success and rate < 0.44:
            path = (1 - c) * path + np.sqrt(c * (2 - c)) * y
            covariance = (1 - c_plus) * covariance + c_plus * np.outer(path, path)
            seen.add("success")
        elif success:
            path = (1 - c) * path
            covariance = (1 - c_plus) * covariance + c_plus * (np.outer(path, path) + c * (2 - c) * covariance)
            seen.add("stalled")
        elif active and len(ancestors) >= 5 and value > ancestors[-5]:
            squared = y @ np.linalg.solve(covariance, y)
            minus = 1 / (2 * squared - 1) if c_minus * (2 * squared - 1) > 1 else c_minus
            covariance = (1 + minus) * covariance - minus * np.outer(y, y)
            seen.add("bounded" if minus < c_minus else "active")
        if success:
            parent = x
            ancestors.append(value)
        np.testing.assert_allclose(unit * state.mean, parent, rtol=1e-9)
        np.testing.assert_allclose(unit * state.sigma, sigma, rtol=1e-9)
        np.testing.assert_allclose(state.success, rate, rtol=1e-9)
        np.testing.assert_allclose(state.root @ state.root.T, covariance, atol=1e-9 * covariance.max())
        np.testing.assert_allclose(state.root @ state.whiten, np.eye(d), atol=1e-9)
        np.testing.assert_allclose(state.path, path, atol=1e-9)
        np.testing.assert_array_equal(state.parent_fitness[: len(ancestors)], ancestors[:-6:-1])
    assert seen == {"success", "stalled"} | ({"active", "bounded"} if active else set())


def test_elitist_parents_outlive_bad_children():
    """Also where the first candidates have no finite fitness: then every child moves on, until one has."""
    strategy = opened(ElitistCMAES)
    state = strategy.init(0)
    for value, survives in (
        (np.nan, 1),
        (np.inf, 1),
        (5.0, 1),
        (np.nan, 0),
        (np.inf, 0),
        (6.0, 0),
        (5.0, 1),
        (-np.inf, 1),
        (1.0, 0),
    ):
        before = state.mean
        population, state = strategy.ask(state)
        state = strategy.tell(state, population, np.array([value]))
        np.testing.assert_array_equal(state.mean, population[0] / 0.5 if survives else before)


@pytest.mark.parametrize("m", [5, 6])
def test_limited_memory_steps_are_the_papers(m, x64):
    """Algorithm 1, factor by factor, in a dimension whose learning rates no bound touches."""
    d, lam = 50, 11
    raw = np.log(lam // 2 + 0.5) - np.log(np.arange(1, lam // 2 + 1))
    weights = raw / raw.sum()
    mu_eff = 1 / np.sum(weights**2)
    c_sigma = 2 * lam / d
    c_d, c_c = [1 / (1.5**i * d) for i in range(m)], [lam / (4**i * d) for i in range(m)]
    mean, sigma, path, paths = np.full(d, 1.0), 0.5, np.zeros(d), np.zeros((m, d))
    strategy = LMMAES(Box(-np.inf, np.inf, shape=d), start=np.full(d, 1.0), sigma=0.5, lam=lam, directions=m)
    for g, (state, population, fitness) in enumerate(told(strategy, ellipsoid(d, 100))):
        factors = [(1 - c_d[j]) * np.eye(d) + c_d[j] * np.outer(paths[j], paths[j]) for j in range(min(g, m))]
        transform = np.eye(d)
        for factor in factors:
            transform = factor @ transform
        order = np.argsort(fitness)[: lam // 2]
        steps = (population[order] - mean) / sigma
        z = weights @ np.linalg.solve(transform, steps.T).T
        mean = mean + sigma * weights @ steps
        path = (1 - c_sigma) * path + np.sqrt(mu_eff * c_sigma * (2 - c_sigma)) * z
        for i in range(m):
            paths[i] = (1 - c_c[i]) * paths[i] + np.sqrt(mu_eff * c_c[i] * (2 - c_c[i])) * z
        sigma *= np.exp(c_sigma / 2 * (path @ path / d - 1))
        np.testing.assert_allclose(0.5 * state.mean, mean, rtol=1e-9)
        np.testing.assert_allclose(0.5 * state.sigma, sigma, rtol=1e-9)
        np.testing.assert_allclose(state.path, path, atol=1e-9)
        np.testing.assert_allclose(state.vectors[:m], paths, atol=1e-9)
        np.testing.assert_array_equal(state.vectors[m:], 0)
    # What is sampled, and its standard deviations, are those of the factors.
    z = np.random.RandomState(0).randn(lam, d)
    transform = np.eye(d)
    for j in range(m):
        transform = (1 - c_d[j]) * transform + c_d[j] * np.outer(paths[j], paths[j] @ transform)
    np.testing.assert_allclose(strategy._points(state, z) * 0.5, mean + sigma * z @ transform.T, atol=1e-9)
    np.testing.assert_allclose(0.5 * strategy._deviations(state), sigma * np.linalg.norm(transform, axis=1), rtol=1e-9)


@pytest.mark.quick(False)  # it runs for longer than it is compiled
@pytest.mark.parametrize(
    ("kind", "options", "generations", "sphere", "turned", "straight"),
    [
        (MAES, {}, 500, (1200, 1600), (3500, 4200), (0, np.inf)),
        (MAES, {"active": False}, 700, (1250, 1700), (4700, 5600), (0, np.inf)),
        (ElitistCMAES, {}, 5000, (780, 1020), (3300, 4100), (0, np.inf)),
        (SepCMAES, {}, 500, (1050, 1350), (np.inf, np.inf), (2200, 2900)),
    ],
)
def test_evaluations_to_the_target(kind, options, generations, sphere, turned, straight, x64):
    """10-D, condition 1e6: what was measured when these were written; CMAES needs 4,000 for the rotated ellipsoid.

    The separable strategy needs less where axes are coordinates, and never gets there where they are not.
    """
    strategy = kind(Box(-5.0, 5.0, shape=10), start=np.full(10, 1.0), sigma=0.5, **options)
    functions = [shifted_sphere, ellipsoid(10), ellipsoid(10, turn=np.eye(10))]
    for median, (least, most) in zip(evaluations(strategy, functions, generations), (sphere, turned, straight), strict=True):
        assert least <= median <= most


@pytest.mark.parametrize("kind", [MAES, ElitistCMAES, LMMAES, SepCMAES])
def test_rotating_the_problem_rotates_the_run(kind, x64):
    """Told the rotated candidates of another run, a strategy learns the rotated distribution; but not the separable one."""
    turn = rotation(D, 3)
    strategy = opened(kind)
    a = b = strategy.init(0)
    f = jax.vmap(ellipsoid(D, 100))
    for _ in range(200 if kind is ElitistCMAES else 40):
        population, a = strategy.ask(a)
        fitness = f(population)
        a = strategy.tell(a, population, fitness)
        b = strategy.tell(dataclasses.replace(b, key=a.key), jnp.matmul(population - 1, turn.T) + 1, fitness)
    same = np.abs((0.5 * a.mean - 1) @ turn.T - (0.5 * b.mean - 1)).max() < 1e-7 and np.isclose(a.sigma, b.sigma, rtol=1e-7)
    assert same == (kind is not SepCMAES)


@pytest.mark.quick(False)  # of float32, as users compile it
@pytest.mark.parametrize("kind", [MAES, ElitistCMAES, LMMAES, SepCMAES])
def test_float32_states_stay_finite_for_ever_after_convergence(kind):
    strategy = kind(Box(-5.0, 5.0, shape=5), bounds=Clip())
    functions = [lambda x: jnp.sum(x * x), ellipsoid(5), lambda x: jnp.sum(x) * 0, jnp.sum]
    state = runs_of(strategy, functions, 2, 3000, stop={"converged": False}).state
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(learnt(state)))
    assert np.isfinite(jax.vmap(jax.vmap(strategy.step_size))(state)).all()


@pytest.mark.parametrize("kind", [MAES, ElitistCMAES, LMMAES, SepCMAES])
def test_a_candidate_moved_far_away_does_not_swamp_what_was_learnt(kind):
    strategy = opened(kind)
    fitness = np.arange(strategy.population_size, dtype=float)
    population, state = strategy.ask(strategy.tell(*strategy.ask(strategy.init(0))[::-1], fitness))
    state = strategy.tell(state, population.at[0].set(1e25), fitness)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(learnt(state)))
    assert (
        strategy._deviations(state).max() < 20 or kind is ElitistCMAES
    )  # whose parent is the candidate, and its rounding wide


def test_no_sample_is_shortened():
    for d in (1, 10, 1000):
        z = np.random.RandomState(0).randn(20000 // d, d).astype(np.float32)
        assert (jax.jit(reach)(z) == 1).all()
    np.testing.assert_allclose(jax.jit(reach)(np.asarray([[8.0] * 4, [1e30] * 4], np.float32)), [[0.5], [0]])


def test_limited_memory_in_many_dimensions():
    """Memory is linear in d, and d = 100,000 runs."""
    strategy = LMMAES(Box(-5.0, 5.0, shape=100_000))
    for _, (state, _, fitness) in zip(range(2), told(strategy, lambda x: jnp.sum(jnp.square(x - 1))), strict=False):
        assert np.isfinite(fitness).all()
        assert np.isfinite(state.mean).all()
    assert strategy.directions == strategy.population_size == 4 + math.floor(3 * math.log(100_000))
    assert (
        sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(jax.eval_shape(strategy.init, jax.random.key(0)))) < 50 * 100_000
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SepCMAES(box(), lam=1), r"SepCMAES\(lam=...\) must be at least 2, got 1"),
        (lambda: MAES(box(), active=1), r"MAES\(active=...\) must be True or False, got 1"),
        (lambda: ElitistCMAES(box(), lam=4), r"ElitistCMAES\(lam=...\) must be 1, got 4"),
        (lambda: ElitistCMAES(box(), lam=True), r"ElitistCMAES\(lam=...\) must be an integer, got True"),
        (lambda: ElitistCMAES(box(), active="yes"), r"ElitistCMAES\(active=...\) must be True or False, got 'yes'"),
        (lambda: LMMAES(box(), directions=0), r"LMMAES\(directions=...\) must be at least 1, got 0"),
        (lambda: LMMAES(box(), sigma=-1.0), r"LMMAES\(sigma=...\) must be positive and finite, got -1.0"),
    ],
)
def test_refusals(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
