"""The evolution strategies against a slow, obvious reference, and the promises of each option."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats
from variants import assert_a_value_is_the_same_run, assert_same, box, exact, shifted_sphere

import jaxes
from jaxes import ES, Box, OneFifth, Schedule, SelfAdaptation, run
from jaxes.operators.recombination import equal_weights, rank_weights
from jaxes.operators.selection import truncation

pytestmark = pytest.mark.quick


class Reference:
    """What a (mu +, lam)-ES keeps, in float64 Python, told the same candidates and fitness."""

    def __init__(self, mu, lam, plus):
        self.mu, self.lam, self.plus = mu, lam, plus
        self.parents, self.fitness = [], []
        self.log_factor = 0.0
        self.best, self.best_fitness, self.best_generation = None, np.inf, 0

    def tell(self, generation, x, fitness, dealt, target=0.2, in_turns=False):
        fitness = [np.inf if np.isnan(f) else f for f in fitness]
        if self.parents:
            if dealt:
                above = [self.fitness[i % self.mu if in_turns else i // (self.lam // self.mu)] for i in range(self.lam)]
            else:
                above = [self.fitness[(self.mu - 1) // 2]] * self.lam
            success = np.mean([f < g for f, g in zip(fitness, above, strict=True)])
            self.log_factor += (success - target) / np.sqrt(len(x[0]) + 1)
        pool = list(zip(fitness, x, strict=True))
        if self.plus:
            pool += list(zip(self.fitness, self.parents, strict=True))
        pool = sorted(pool, key=lambda pair: pair[0])[: self.mu]  # stable: on ties the earlier one
        self.fitness, self.parents = [f for f, _ in pool], [p for _, p in pool]
        if min(fitness) < self.best_fitness or generation == 0:
            i = fitness.index(min(fitness))
            self.best, self.best_fitness, self.best_generation = x[i], fitness[i], generation


@pytest.mark.parametrize("most", [None, 13])
@pytest.mark.parametrize("selection", ["comma", "plus"])
@pytest.mark.parametrize(("mu", "lam", "recombination"), [(1, 1, "none"), (1, 6, "none"), (4, 12, "none"), (5, 8, "weighted")])
def test_tell_is_the_reference_for_200_generations(selection, mu, lam, recombination, most, x64):
    """Where lam is a value, lies are told of what is beyond it."""
    strategy = ES(box(4), mu=mu, lam=lam, lam_max=most, sigma=OneFifth(), selection=selection, recombination=recombination)
    reference = Reference(mu, lam, selection == "plus")
    state = strategy.init(1)
    random, evaluate = np.random.RandomState(0), jax.jit(jax.vmap(shifted_sphere))
    for generation in range(200):
        x, state = strategy.ask(state)
        fitness = np.round(np.asarray(evaluate(x)), 3)  # rounded: ties happen
        fitness[:lam][random.rand(lam) < 0.05] = np.nan
        fitness[lam:] = random.choice([-1e9, np.nan, np.inf], len(fitness) - lam)
        state = strategy.tell(state, x, fitness)
        reference.tell(generation, np.asarray(x)[:lam], list(fitness[:lam]), recombination == "none", in_turns=most is not None)
        np.testing.assert_array_equal(state.parents, reference.parents)
        np.testing.assert_array_equal(state.parent_fitness, reference.fitness)
        np.testing.assert_allclose(state.memory, reference.log_factor, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(state.best, reference.best)
        assert (state.best_fitness, state.best_generation) == (reference.best_fitness, reference.best_generation)
        expected = 0.3 * 4.0 * np.exp(reference.log_factor)
        np.testing.assert_allclose(strategy.step_size(state), expected, rtol=1e-12)


def after_one_generation(strategy, order=None, key=0):
    """The state whose parents are the first mu candidates of the first population (or as `order` ranks them)."""
    state = strategy.init(key)
    population, state = strategy.ask(state)
    fitness = np.arange(strategy.population_size, dtype=np.float32) if order is None else order(population)
    return strategy.tell(state, population, fitness)


def test_every_parent_has_lam_over_mu_children():
    strategy = ES(box(2, 100.0), mu=4, lam=12, sigma=1e-3)
    state = after_one_generation(strategy)
    population, _ = strategy.ask(state)
    np.testing.assert_allclose(population, np.repeat(state.parents, 3, axis=0), atol=0.01)
    valued = dataclasses.replace(strategy, lam=8, lam_max=18)
    state = after_one_generation(valued)
    population, _ = valued.ask(state)
    np.testing.assert_allclose(population, np.resize(state.parents, (18, 2)), atol=0.01)


@pytest.mark.parametrize(
    "options",
    [
        {"mu": 1},
        {"mu": 1, "sigma": OneFifth(), "sampling": "sobol"},
        {"mu": 2, "recombination": "intermediate", "selection": "plus", "reevaluate": True},
        {"mu": 2, "recombination": "weighted", "sigma": SelfAdaptation(per_coordinate=True), "sampling": "orthogonal"},
        {"mu": 3, "recombination": "weighted", "rho": 2, "start": np.ones(4)},
        {"mu": 3, "recombination": "discrete", "sigma": OneFifth(), "selection": "plus", "mutation_rate": 0.5},
        {"mu": 3, "recombination": "discrete", "rho": 2, "sigma": 0.2},
    ],
)
def test_a_population_size_that_is_a_value_is_the_same_run(options, x64):
    """Rows beyond lam change nothing, are not counted, and do not recompile."""
    assert_a_value_is_the_same_run([ES(box(4), lam=lam, **options) for lam in (4, 9)], 12, 60, [10.0, 1.0])


def test_population_sizes_are_swept_in_one_program():
    strategy = ES(box(), mu=2, lam=4, lam_max=16, sampling="mirrored")
    result = jaxes.sweep(strategy, shifted_sphere, 0, 100, over={"lam": [4, 8, 16]}, repeats=4, stop={"evaluations": 320})
    np.testing.assert_array_equal(result.runs.evaluations, 320)


def mutations(strategy, d):
    """(lam, d) of the second generation, in units of sigma = 1 and in groups of children of one parent."""
    state = after_one_generation(strategy)
    return np.asarray(strategy.ask(state)[0]) - np.repeat(state.parents, strategy.lam // strategy.mu, axis=0)


def test_children_of_one_parent_are_sampled_together(x64):
    def groups(sampling, mu=2, lam=12):
        return mutations(ES(box(6, 1e6), mu=mu, lam=lam, sigma=1.0, sampling=sampling), 6).reshape(mu, -1, 6)

    mirrored = groups("mirrored")
    np.testing.assert_allclose(mirrored[:, :3], -mirrored[:, 3:], atol=1e-9)
    assert (np.abs(mirrored[0] - mirrored[1]) > 1e-9).all()
    for z in groups("orthogonal"):
        np.testing.assert_allclose(z @ z.T, np.diag(np.sum(z * z, axis=1)), atol=1e-6)
    for z in groups("sobol", lam=64):  # 32 points, one in each 32nd of a coordinate
        u = np.sort(stats.norm.cdf(z), axis=0)
        np.testing.assert_allclose(np.diff(u, axis=0), 1 / 32, atol=1e-6)
    # Where each child has a point of its own, all are sampled together.
    strategy = ES(box(6, 1e6), mu=4, lam=10, rho=2, sigma=1.0, sampling="mirrored", recombination="intermediate")
    state = strategy.init(0)
    u = np.asarray(strategy.ask(state)[0]) / 2e6 + 0.5
    np.testing.assert_allclose(u[:5], 1 - u[5:], atol=1e-9)
    # Side by side, where lam is a value.
    u = np.asarray(dataclasses.replace(strategy, lam_max=11).ask(state)[0]) / 2e6 + 0.5
    np.testing.assert_allclose(u[0:10:2], 1 - u[1:10:2], atol=1e-9)


def test_a_mirrored_pair_progresses_twice_as_fast():
    """On the sphere in many dimensions, at the best step sizes: E max(N, -N)**2 / E max(N1, N2)**2 = 2 (D. Brockhoff et al.,
    Mirrored sampling and sequential selection for evolution strategies, PPSN 2010)."""
    d, keys = 400, jax.random.split(jax.random.key(0), 20_000)

    def gain(sampling, best):
        strategy = ES(box(d, 1e3), mu=1, lam=2, sigma=best / d, start=np.zeros(d), sampling=sampling)

        def one(key):
            state = strategy.init(key)
            x, state = strategy.ask(dataclasses.replace(state, generation=jnp.int32(1), parents=jnp.eye(1, d)))
            return d * -jnp.log(jnp.linalg.norm(x, axis=1).min())

        return np.mean(jax.jit(jax.vmap(one))(keys))

    independent, mirrored = (2 / (2 * np.pi) ** 0.5 / 2**0.5, (2 / np.pi) ** 0.5)
    error = 5 * 0.8 / 20_000**0.5 + 2 / d
    np.testing.assert_allclose(gain("independent", independent), independent**2 / 2, atol=error)
    np.testing.assert_allclose(gain("mirrored", mirrored), mirrored**2 / 2, atol=error)


def test_mutations_have_the_given_sigma():
    sigma = np.array([0.1, 1.0, 3.0], np.float32)
    strategy = ES(box(3, 1e3), mu=1, lam=20000, sigma=sigma)
    state = after_one_generation(strategy)
    z = (np.asarray(strategy.ask(state)[0]) - np.asarray(state.parents)) / sigma
    for i in range(3):
        assert stats.kstest(z[:, i], stats.norm.cdf).pvalue > 1e-4
    # No two coordinates, nor two generations, share their noise.
    np.testing.assert_allclose(np.corrcoef(z.T)[np.triu_indices(3, 1)], 0, atol=0.03)
    later = strategy.tell(state, strategy.ask(state)[0], np.zeros(20000, np.float32))
    again = (np.asarray(strategy.ask(later)[0]) - np.asarray(later.parents)) / sigma
    assert abs(np.corrcoef(z[:, 0], again[:, 0])[0, 1]) < 0.03


def test_sigma_as_a_pytree():
    space = {"a": Box(-100.0, 100.0, shape=2), "b": Box(1e-9, 1e9, scale="log")}
    strategy = ES(space, mu=1, lam=5000, sigma={"a": [1.0, 5.0], "b": 0.2})
    state = after_one_generation(strategy)
    x = jax.vmap(strategy.space.encode)(strategy.ask(state)[0])
    np.testing.assert_allclose(np.std(np.asarray(x) - np.asarray(state.parents), axis=0), [1.0, 5.0, 0.2], rtol=0.05)


def test_mutation_rate_is_the_share_of_mutated_coordinates():
    rate = np.array([0.1, 0.5, 1.0])
    strategy = ES(box(3, 1e3), mu=1, lam=20000, sigma=1.0, mutation_rate=rate)
    state = after_one_generation(strategy)
    moved = (np.asarray(strategy.ask(state)[0]) != np.asarray(state.parents)).mean(0)
    np.testing.assert_allclose(moved, rate, atol=0.015)


@pytest.mark.parametrize("rho", [None, 1, 3])
@pytest.mark.parametrize("recombination", ["intermediate", "weighted", "discrete"])
def test_recombination(recombination, rho):
    mu, lam = 5, 4000
    strategy = ES(box(3, 10.0), mu=mu, lam=lam, sigma=1e-6, recombination=recombination, rho=rho)
    state = after_one_generation(strategy)
    parents = np.asarray(state.parents, np.float64)
    children = np.asarray(strategy.ask(state)[0], np.float64)
    weights = rank_weights(rho or mu) if recombination == "weighted" else equal_weights(rho or mu)
    if recombination == "discrete":
        origin = np.abs(children[:, None] - parents[None]) < 1e-4  # (lam, mu, d)
        assert origin.any(1).all()  # every coordinate is some parent's
        np.testing.assert_allclose(origin.mean(0), 1 / mu, atol=0.05)
        distinct = origin.any(2).sum(1)
        assert distinct.max() == min(rho or mu, 3)
        return
    if rho is None:
        np.testing.assert_allclose(children, np.broadcast_to(weights @ parents, children.shape), atol=1e-4)
        return
    from itertools import combinations

    expected = np.array([weights @ parents[list(c)] for c in combinations(range(mu), rho)])
    nearest = np.abs(children[:, None] - expected[None]).max(2)
    assert (nearest.min(1) < 1e-4).all()  # every child is the mean of rho distinct parents, the best weighted most
    counts = np.bincount(nearest.argmin(1), minlength=len(expected))
    assert stats.chisquare(counts).pvalue > 1e-4  # all sets of parents are equally likely


def test_rank_weights_are_the_papers():
    """Hansen (2016), eq. 49 for mu = 3: log(3.5) - log(1, 2, 3), normalised."""
    raw = np.array([1.252763, 0.559616, 0.154151])
    np.testing.assert_allclose(rank_weights(3), raw / raw.sum(), atol=1e-6)


def test_one_fifth_rule_moves_sigma_as_the_paper_says():
    """(1 + 1): success multiplies sigma by exp(0.8 / d'), failure by exp(-0.2 / d'), d' = sqrt(d + 1)."""
    strategy = ES(box(3), mu=1, lam=1, sigma=OneFifth(sigma=0.5), selection="plus")
    state = strategy.init(0)
    fitness, sigma = [5.0, 4.0, 4.5, 3.0, 3.0], 0.5
    for generation, value in enumerate(fitness):
        population, state = strategy.ask(state)
        state = strategy.tell(state, population, [value])
        if generation:
            success = value < min(fitness[:generation])
            sigma *= np.exp((0.8 if success else -0.2) / 2)
        np.testing.assert_allclose(strategy.step_size(state), sigma, rtol=1e-6)


@pytest.mark.quick(False)  # bit for bit, as users compile it
@pytest.mark.parametrize("d", [1, 3])
def test_one_fifth_rule_alone_is_the_same_in_a_batch(d):
    strategy = ES(Box(-5.0, 5.0, shape=d), mu=2, lam=8, sigma=OneFifth())
    several = jaxes.minimize(exact, strategy=strategy, key=jax.random.key(5), runs=7, generations=60)
    for i in range(7):
        alone = run(strategy, exact, jax.random.fold_in(jax.random.key(5), i), 60)
        assert_same(alone.state.parents, several.state.parents[i])


def test_one_plus_one_converges_at_the_papers_rate():
    """On the sphere, log10 of the distance falls by about 0.202 / d * log10(e) an evaluation at the optimal step size.

    The 1/5th rule stays near it (Hansen, Arnold & Auger 2015, section 4.2.1): between half of it and all of it.
    """
    d = 20
    strategy = ES(Box(-5.0, 5.0, shape=d), mu=1, lam=1, sigma=OneFifth(), selection="plus")
    runs = jax.jit(jax.vmap(lambda key: run(strategy, lambda x: jnp.sum(x * x), key, 3000, history=True).history.best))
    best = np.log(np.asarray(runs(jax.random.split(jax.random.key(0), 32)), np.float64)) / 2
    rate = -d * np.median(best[:, 2500] - best[:, 500]) / 2000
    assert 0.10 < rate < 0.2025


def test_self_adaptation_is_log_normal():
    d = 9
    for per_coordinate in (False, True):
        rule = SelfAdaptation(sigma=1.0, per_coordinate=per_coordinate)
        strategy = ES(box(d, 1e6), mu=1, lam=20000, sigma=rule)
        state = after_one_generation(strategy)
        inherited = np.asarray(state.memory[0])
        change = np.asarray(strategy.ask(state)[1].memory[1]) - inherited
        assert change.shape == (20000, d if per_coordinate else 1)
        variance = 1 / (2 * d) + per_coordinate / (2 * np.sqrt(d))
        for i in range(change.shape[1]):
            assert stats.kstest(change[:, i] / np.sqrt(variance), stats.norm.cdf).pvalue > 1e-4
        if per_coordinate:
            correlation = np.corrcoef(change.T)[np.triu_indices(d, 1)]
            np.testing.assert_allclose(correlation, 1 / (2 * d) / variance, atol=0.05)


def test_self_adaptive_children_are_mutated_with_their_own_sigma():
    strategy = ES(box(2, 1e6), mu=1, lam=20000, sigma=SelfAdaptation(sigma=1.0, tau=0.7))
    state = after_one_generation(strategy)
    population, asked = strategy.ask(state)
    z = (np.asarray(population) - np.asarray(state.parents)) / np.exp(np.asarray(asked.memory[1]))
    assert stats.kstest(z[:, 0], stats.norm.cdf).pvalue > 1e-4


@pytest.mark.parametrize("selection", ["comma", "plus"])
def test_survivors_keep_their_step_size(selection):
    strategy = ES(box(2), mu=3, lam=9, sigma=SelfAdaptation(per_coordinate=True), selection=selection)
    state = after_one_generation(strategy)
    population, asked = strategy.ask(state)
    order = np.array([5, 0.5, 7, 8, 9, 1.5, 11, 12, -1.0], np.float32)  # parents have 0, 1, 2
    told = strategy.tell(asked, population, order)
    children = np.asarray(asked.memory[1])
    parents = np.asarray(state.memory[0])
    expected = [children[8], children[1], children[5]] if selection == "comma" else [children[8], parents[0], children[1]]
    np.testing.assert_array_equal(told.memory[0], expected)


def test_intermediate_recombination_takes_the_geometric_mean_of_step_sizes():
    rule = SelfAdaptation(sigma=1.0, tau=0.0)
    strategy = ES(box(2), mu=2, lam=6, sigma=rule, recombination="intermediate")
    state = after_one_generation(strategy)
    memory = (jnp.log(jnp.asarray([[0.1], [10.0]])), state.memory[1])
    import dataclasses

    _, asked = strategy.ask(dataclasses.replace(state, memory=memory))
    np.testing.assert_allclose(asked.memory[1], 0.0, atol=1e-6)


def test_schedules():
    for sigma in (
        optax.exponential_decay(1.0, 10, 0.5),
        Schedule(optax.exponential_decay, init_value=1.0, transition_steps=10, decay_rate=0.5),
        Schedule(lambda start, rate: lambda g: start * rate ** (g / 10), start=1.0, rate=0.5),
    ):
        strategy = ES(box(), mu=2, lam=4, sigma=sigma)
        sizes = run(strategy, exact, 0, 31, history=True).history.step_size
        np.testing.assert_allclose(sizes[9::10], [0.5, 0.25, 0.125], rtol=1e-5)


def test_what_a_schedules_numbers_are():
    cosine = Schedule(optax.cosine_decay_schedule, init_value=1.0, decay_steps=500, alpha=0.1)
    assert len(jax.tree.leaves(cosine)) == 2  # init_value and alpha; the number of steps is static
    exponential = Schedule(optax.exponential_decay, init_value=1.0, transition_steps=10, decay_rate=0.5)
    assert len(jax.tree.leaves(exponential)) == 1  # optax branches on decay_rate
    assert exponential.replace(decay_rate=0.9).settings["decay_rate"] == 0.9
    steps = Schedule(optax.piecewise_constant_schedule, init_value=1.0, boundaries_and_scales={5: 0.1})
    np.testing.assert_allclose(steps(jnp.asarray(7)), 0.1, rtol=1e-6)


def test_the_first_population_is_uniform():
    strategy = ES({"a": Box(-1.0, 3.0), "b": Box(1e-3, 1e3, scale="log")}, mu=1, lam=20000)
    population, _ = strategy.ask(strategy.init(0))
    assert stats.kstest(np.asarray(population["a"]), stats.uniform(-1, 4).cdf).pvalue > 1e-4
    assert stats.kstest(np.log10(np.asarray(population["b"])), stats.uniform(-3, 6).cdf).pvalue > 1e-4


@pytest.mark.parametrize("count", [1, 3, 8])
def test_seeds_come_first(count):
    seeds = np.random.RandomState(0).uniform(-2, 2, (count, 3)).astype(np.float32)
    strategy = ES(box(), mu=2, lam=8, sigma=0.1, seeds=seeds)
    first, state = strategy.ask(strategy.init(0))
    np.testing.assert_array_equal(first[:count], seeds)
    assert len(np.unique(first, axis=0)) == 8
    second, _ = strategy.ask(strategy.tell(state, first, np.arange(8.0, dtype=np.float32)))
    assert not np.isin(second, seeds).any()


def test_seeds_of_a_pytree_and_on_a_log_scale():
    space = {"rate": Box(1e-4, 1e-1, scale="log"), "w": Box(-1.0, 1.0, shape=(2, 2))}
    seeds = {"rate": [1e-4, 1e-2], "w": np.zeros((2, 2, 2))}
    seeds = {"rate": np.asarray(seeds["rate"]), "w": seeds["w"]}
    strategy = ES(space, mu=2, lam=8, sigma=0.1, seeds=seeds)
    population, _ = strategy.ask(strategy.init(0))
    np.testing.assert_allclose(population["rate"][:2], seeds["rate"], rtol=1e-5)
    assert float(population["rate"][0]) >= 1e-4


def test_a_start_with_a_spread():
    strategy = ES(Box(-np.inf, np.inf, shape=2), mu=1, lam=20000, sigma=0.5, start=[3.0, -7.0], spread=[1.0, 2.0])
    first, _ = strategy.ask(strategy.init(0))
    np.testing.assert_array_equal(first[0], [3.0, -7.0])
    z = (np.asarray(first)[1:] - [3.0, -7.0]) / [1.0, 2.0]
    assert stats.kstest(z[:, 0], stats.norm.cdf).pvalue > 1e-4
    assert stats.kstest(z[:, 1], stats.norm.cdf).pvalue > 1e-4
    default = ES(Box(-np.inf, np.inf), mu=1, lam=5000, sigma=OneFifth(sigma=0.5), start=1.0)
    np.testing.assert_allclose(np.std(default.ask(default.init(0))[0]), 0.5, rtol=0.05)


def test_plus_remembers_its_parents_fitness():
    """Their candidates are never evaluated again, and the best is never lost, though fitness drifts upwards."""
    strategy = ES(box(), mu=2, lam=4, sigma=0.5, selection="plus")
    state = strategy.init(0)
    for generation in range(5):
        population, state = strategy.ask(state)
        assert population.shape == (4, 3)
        state = strategy.tell(state, population, np.full(4, generation, np.float32) + np.arange(4, dtype=np.float32) / 10)
    np.testing.assert_allclose(state.parent_fitness, [0.0, 0.1])


def test_reevaluation_forgets_lucky_fitness():
    strategy = ES(box(), mu=2, lam=4, sigma=0.5, selection="plus", reevaluate=True)
    assert strategy.population_size == 6
    state = after_one_generation(strategy)
    population, asked = strategy.ask(state)
    np.testing.assert_array_equal(population[4:], state.parents)
    told = strategy.tell(asked, population, np.array([5, 6, 7, 8, 9, 5.5], np.float32))
    np.testing.assert_array_equal(told.parent_fitness, [5.0, 5.5])
    np.testing.assert_array_equal(told.parents, population[jnp.asarray([0, 5])])


def test_reevaluation_helps_on_a_noisy_objective():
    """With multiplicative luck, remembered fitness gets stuck: true fitness of the centre of the parents, 200 runs."""

    def noisy(x, key):
        return jnp.sum(jnp.square(x - 0.5)) + 2.0 * jax.random.normal(key)

    def true(reevaluate):
        strategy = ES(box(5), mu=5, lam=20, sigma=0.1, selection="plus", reevaluate=reevaluate)
        runs = jax.vmap(lambda key: run(strategy, noisy, key, 200, stochastic=True).state.parents)
        parents = jax.jit(runs)(jax.random.split(jax.random.key(0), 200))
        return np.median(np.sum(np.square(np.asarray(parents).mean(1) - 0.5), axis=1))

    assert true(reevaluate=True) < 0.5 * true(reevaluate=False)


def test_comma_forgets_but_the_best_so_far_is_kept():
    result = run(ES(box(), mu=5, lam=20, sigma=0.5), exact, 0, 200, history=True)
    worse = np.diff(np.asarray(result.history.population_best)) > 0
    assert worse.any()
    assert (np.diff(np.asarray(result.history.best)) <= 0).all()
    assert result.fitness == result.history.population_best.min()
    np.testing.assert_array_equal(exact(result.solution), result.fitness)


def test_ties_are_broken_by_index():
    values, order = truncation(jnp.asarray([2.0, 1.0, 1.0, jnp.inf, 1.0, jnp.inf]), 5)
    np.testing.assert_array_equal(order, [1, 2, 4, 0, 3])
    np.testing.assert_array_equal(values, [1, 1, 1, 2, np.inf])


def test_ties_with_parents_go_to_the_children():
    strategy = ES(box(), mu=2, lam=2, sigma=0.5, selection="plus")
    state = after_one_generation(strategy, lambda _: jnp.zeros(2))
    population, asked = strategy.ask(state)
    np.testing.assert_array_equal(strategy.tell(asked, population, [0.0, 0.0]).parents, population)


def test_step_sizes_stay_where_they_can_come_back_from():
    """Ten thousand failures or successes in a row, in float32."""
    for rule, selection in ((OneFifth(), "plus"), (SelfAdaptation(per_coordinate=True), "comma")):
        strategy = ES(box(2), mu=1, lam=2, sigma=rule, selection=selection)

        def flat(x):
            return jnp.float32(1.0)

        result = run(strategy, flat, 0, 10000)
        assert np.isfinite(strategy.step_size(result.state))
        assert strategy.step_size(result.state) > 0
        assert np.isfinite(strategy.ask(result.state)[0]).all()
    grown = run(ES(Box(-np.inf, np.inf, shape=2), mu=1, lam=2, sigma=OneFifth(sigma=1.0), start=[0.0, 0.0]), jnp.sum, 0, 5000)
    assert np.isfinite(grown.state.parents).all()
    assert np.isfinite(grown.fitness)


def test_convergence_to_the_last_bit_and_beyond():
    """After the optimum is reached exactly, the state stays finite for ever."""
    result = run(ES(box(5), mu=3, lam=21, recombination="intermediate"), lambda x: jnp.sum(x * x), 0, 20000)
    assert result.fitness < 1e-30
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((result.state.parents, result.state.memory)))


def test_repr_is_readable():
    text = repr(ES(box(2), mu=2, lam=4, sigma=0.1))
    assert text.startswith("ES(space=Box(")
    assert "mu=2" in text
    assert jaxes.ES(box(2)).population_size == 105
