"""Step-size control by success, against pycma's classes told the same fitness, and what it takes to a target."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cma.sigma_adaptation import CMAAdaptSigmaMedianImprovement, CMAAdaptSigmaTPA
from variants import evaluations, runs_of, shifted_sphere

from jaxes import CMAES, LMMAES, LRACMAES, MAES, Box, SepCMAES, VkDCMAES
from jaxes.operators.cma import relative_length

pytestmark = pytest.mark.quick


def test_a_path_in_no_coordinate_is_no_reason_to_change():
    """A compiled program may find a mean on a side in one place and beside it in another."""
    none = jnp.zeros(3, bool)
    assert relative_length(jnp.ones(3), none) == 0
    assert relative_length(jnp.ones(3), ~none) > 0


def space():
    return Box(-np.inf, np.inf, shape=6)


def growths(strategy, generations=60):
    """The fitness (generations, lam) told to a run on a sphere with some noise, and by what factor sigma grew each time."""

    def generation(state, key):
        population, asked = strategy.ask(state)
        fitness = jnp.sum(jnp.square(population), axis=1) + 0.1 * jax.random.normal(key, (strategy.population_size,))
        told = strategy.tell(asked, population, fitness)
        return told, (fitness, told.control.success)

    keys = jax.random.split(jax.random.key(1), generations)
    return [np.asarray(x) for x in jax.lax.scan(generation, strategy.init(0), keys)[1]]


@pytest.mark.parametrize("lam", [9, 10, 20])
def test_two_points_are_compared_as_in_pycma(lam, x64):
    fitness, success = growths(CMAES(space(), start=np.ones(6), sigma=0.1, lam=lam, control="tpa"))
    peer = CMAAdaptSigmaTPA(6, {"verbose": -9}, popsize=lam).initialize(N=6)
    peer.sp.z_exponent = 1  # as in the paper
    assert success[0] == 0
    for values, ours in zip(fitness[1:], success[1:], strict=True):
        peer.update2(SimpleNamespace(opts={"TPA_dampfac": 1}), values)
        np.testing.assert_allclose(ours, peer.s, rtol=1e-12, atol=1e-12)
    assert success.min() < -0.01 < 0.01 < success.max()


@pytest.mark.parametrize("lam", [9, 10, 20])
def test_the_median_succeeds_as_in_pycma(lam, x64):
    fitness, success = growths(CMAES(space(), start=np.ones(6), sigma=0.1, lam=lam, control="msr"))
    peer = CMAAdaptSigmaMedianImprovement()
    weights = SimpleNamespace(weights=SimpleNamespace(mueff=1.0))
    es = SimpleNamespace(N=6, popsize=lam, sp=weights, countiter=1, sigma=1.0, fit=SimpleNamespace(fit=None))
    for generation, values in enumerate(fitness):
        es.countiter, es.fit.fit, before = generation + 1, np.sort(values), es.sigma
        peer.update(es)
        np.testing.assert_allclose(success[generation], peer.s, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(success[generation] / (2 - 2 / 6), np.log(es.sigma / before), rtol=1e-9, atol=1e-12)
    assert success.min() < -0.01 < 0.01 < success.max()


def test_the_step_size_grows_by_what_was_seen(x64):
    for control, damping in (("tpa", 4 - 3 / 6), ("msr", 2 - 2 / 6)):
        strategy = MAES(space(), start=np.ones(6), sigma=0.1, control=control)
        state = strategy.init(0)
        for _ in range(5):
            population, asked = strategy.ask(state)
            told = strategy.tell(asked, population, jnp.sum(jnp.square(population), axis=1))
            np.testing.assert_allclose(told.sigma, state.sigma * jnp.exp(told.control.success / damping), rtol=1e-12)
            state = told


def test_the_first_two_candidates_lie_ahead_and_behind(x64):
    strategy = CMAES(space(), start=np.ones(6), sigma=0.5, control="tpa")
    population, state = strategy.ask(strategy.init(0))
    told = strategy.tell(state, population, np.arange(strategy.population_size, dtype=float))
    (ahead, behind, *_), _ = strategy.ask(told)
    np.testing.assert_allclose((ahead + behind) / 2, 0.5 * told.mean, atol=1e-12)
    moved = told.mean - state.mean
    # The root changed a little since.
    assert jnp.vdot(ahead - behind, moved) > 0.99 * jnp.linalg.norm(ahead - behind) * jnp.linalg.norm(moved)


@pytest.mark.parametrize(
    ("kind", "control", "least", "most"),
    [
        (CMAES, "tpa", 850, 1030),
        (CMAES, "msr", 1320, 1610),
        (SepCMAES, "tpa", 780, 960),
        (LMMAES, "msr", 1450, 1800),
        (VkDCMAES, "msr", 1350, 1660),
    ],
)
def test_evaluations_to_the_target(kind, control, least, most, x64):
    """Medians in 10 dimensions, which other seeds move by a few in a hundred."""
    strategy = kind(Box(-5.0, 5.0, shape=10), start=np.full(10, 1.5), sigma=0.5, control=control)
    (found,) = evaluations(strategy, [shifted_sphere], 800, target=1e-6)
    assert least < found < most


@pytest.mark.parametrize("kind", [CMAES, VkDCMAES])
def test_steps_longer_than_the_box_come_back(kind):
    """Where the candidate ahead is pressed into one corner and the one behind into another, however long the steps are."""
    strategy = kind(Box(-5.0, 5.0, shape=5), sigma=30.0, control="tpa")
    result = runs_of(strategy, [lambda x: shifted_sphere(x / 5)], 16, 600, targets=[1e-6])
    assert (np.asarray(result.hits) > 0).all()


def test_what_it_may_be():
    box = Box(-1.0, 1.0, shape=6)
    with pytest.raises(ValueError, match=r"CMAES\(control=...\) must be one of 'csa', 'tpa', 'msr', got 'cas'"):
        CMAES(box, control="cas")
    with pytest.raises(ValueError, match=r"LRACMAES\(control=...\) must be one of 'csa', got 'tpa'"):
        LRACMAES(box, control="tpa")
    with pytest.raises(ValueError, match=r"VkDCMAES\(control=...\) must be one of 'tpa', 'msr', got 'csa'"):
        VkDCMAES(box, control="csa")
    with pytest.raises(ValueError, match=r'VkDCMAES\(lam=...\) must be at least 3 with control="tpa", got 2'):
        VkDCMAES(box, lam=2)
    with pytest.raises(ValueError, match=r'MAES\(lam=...\) must be at least 3 with control="tpa", got 2'):
        MAES(box, lam=2, lam_max=5, control="tpa")
