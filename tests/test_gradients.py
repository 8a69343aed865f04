"""Gradient estimators against slow references and another's hand, what their estimates mean, and their optimizers."""

import dataclasses
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import make_gradients_data as peer
import numpy as np
import optax
import pytest
import scipy.stats
from jax.tree_util import Partial
from variants import box, learnt, shifted_sphere

import jaxes
from jaxes import ARS, PGPE, Box, Clip, GuidedES, NoiseReuseES, OpenAIES, PersistentES, Restart, Schedule, StopReason, run
from jaxes.operators.shaping import SHAPINGS, utilities
from jaxes.operators.shaping import shaped as _shaped
from jaxes.strategies.gradients import PGPEState, _basis

pytestmark = pytest.mark.quick

DATA = np.load(Path(__file__).parent / "data" / "gradients.npz")
TRUNCATED = {"horizon": 25, "truncation": 10}  # three truncations, the last one shorter


def open_space(d):
    return Box(-np.inf, np.inf, shape=d)


def rugged(x):
    i = jnp.arange(1, x.shape[0] + 1, dtype=x.dtype)
    return jnp.sum(i * jnp.square(x - 0.7)) + 3 * jnp.cos(5 * jnp.sum(i * x))


def steps(strategy, f, generations):
    """Candidates (g, lam, d) and means (g, d) after each generation."""

    def generation(state, _):
        population, state = strategy.ask(state)
        told = strategy.tell(state, population, jax.vmap(f)(population))
        return told, (population, strategy.mean(told))

    return jax.lax.scan(generation, strategy.init(0), None, length=generations)[1]


# The papers' equations, in loops. A reference is called with candidates and fitness and returns the mean after them.


class Descent:
    def __init__(self, rate):
        self.rate = rate

    def __call__(self, g):
        return -self.rate * g


class Adam:
    """Kingma & Ba (2015), Algorithm 1."""

    def __init__(self, rate):
        self.rate, self.m, self.v, self.t = rate, 0.0, 0.0, 0

    def __call__(self, g):
        self.t += 1
        self.m = 0.9 * self.m + 0.1 * g
        self.v = 0.999 * self.v + 0.001 * g * g
        return -self.rate * (self.m / (1 - 0.9**self.t)) / (np.sqrt(self.v / (1 - 0.999**self.t)) + 1e-8)


class ClipUp:
    """Toklu et al. (2020), Algorithm 1, for descent."""

    def __init__(self, rate, limit, momentum=0.9):
        self.rate, self.limit, self.momentum, self.v = rate, limit, momentum, 0.0

    def __call__(self, g):
        self.v = self.momentum * self.v + self.rate * g / np.sqrt((g * g).sum())
        length = np.sqrt((self.v * self.v).sum())
        if length > self.limit:
            self.v = self.limit * self.v / length
        return -self.v


def centered_ranks(f):
    """Salimans et al. (2017), section 2: of a minimised f."""
    out = np.empty(len(f))
    for rank, i in enumerate(np.argsort(f)):
        out[i] = rank / (len(f) - 1) - 0.5
    return out


class OpenAIESReference:
    def __init__(self, mean, sigma):
        self.mean, self.sigma, self.optimizer = mean, sigma, Adam(0.05)

    def __call__(self, x, f):
        g = np.zeros_like(self.mean)
        for xi, fi in zip(x, centered_ranks(f), strict=True):
            noise = (xi - self.mean) / self.sigma
            g += fi * noise / (len(x) * self.sigma)
        self.mean = self.mean + self.optimizer(g)


class PGPEReference:
    """Toklu et al. (2020), section 2, after Sehnke et al. (2010), section 2.3."""

    def __init__(self, mean, sigma):
        self.mean, self.sigma, self.optimizer = mean, sigma, ClipUp(0.05, 0.08)

    def __call__(self, x, f):
        half, f = len(x) // 2, centered_ranks(f)
        baseline = sum(f) / len(f)
        g, g_sigma = np.zeros_like(self.mean), np.zeros_like(self.mean)
        for i in range(half):
            noise = x[i] - self.mean
            g += (f[i] - f[i + half]) / 2 * noise / half
            g_sigma += ((f[i] + f[i + half]) / 2 - baseline) * (noise**2 - self.sigma**2) / self.sigma / half
        self.mean = self.mean + self.optimizer(g)
        new = self.sigma - 0.1 * g_sigma
        self.sigma = np.clip(new, 0.8 * self.sigma, 1.2 * self.sigma)


class ARSReference:
    """Mania et al. (2018), Algorithm 2, V1-t."""

    def __init__(self, mean, sigma):
        self.mean, self.sigma, self.optimizer = mean, sigma, Descent(0.02)

    def __call__(self, x, f):
        half, b = len(x) // 2, 2
        best = sorted(range(half), key=lambda i: min(f[i], f[i + half]))[:b]
        deviation = np.std([f[j] for i in best for j in (i, i + half)])
        g = sum((f[i] - f[i + half]) * (x[i] - self.mean) / self.sigma for i in best) / (b * deviation)
        self.mean = self.mean + self.optimizer(g)


class GuidedESReference:
    """Maheswaranathan et al. (2019), equation 2, with sigma sqrt(d) for its sigma and beta = d."""

    def __init__(self, mean, sigma):
        self.mean, self.sigma, self.optimizer = mean, sigma, Descent(0.002)

    def __call__(self, x, f):
        half, d = len(x) // 2, len(self.mean)
        g = np.zeros_like(self.mean)
        for i in range(half):
            g += d / (2 * d * self.sigma**2 * half) * (x[i] - self.mean) * (f[i] - f[i + half])
        self.mean = self.mean + self.optimizer(g)


class PersistentESReference:
    """Vicol et al. (2021), Algorithm 2, in antithetic pairs."""

    def __init__(self, mean, sigma):
        self.mean, self.sigma, self.optimizer, self.sums, self.t = mean, sigma, Descent(1e-3), None, 0

    def __call__(self, x, f):
        if self.t == 0:
            self.sums = np.zeros_like(x)
        half, g = len(x) // 2, np.zeros_like(self.mean)
        for i in range(half):
            self.sums[i] += x[i] - self.mean
            g += self.sums[i] * (f[i] - f[i + half]) / (2 * half * self.sigma**2)
        self.mean = self.mean + self.optimizer(g)
        self.t = self.t + 10 if self.t + 10 < 30 else 0


class NoiseReuseESReference:
    """Li et al. (2023), equation 6, in pairs; and what was perturbed stays perturbed by the same."""

    def __init__(self, mean, sigma):
        self.mean, self.sigma, self.optimizer, self.noise, self.t = mean, sigma, Adam(0.05), None, 0

    def __call__(self, x, f):
        if self.t == 0:
            self.noise = x - self.mean
        np.testing.assert_allclose(x, self.mean + self.noise, atol=1e-12)
        half, g = len(x) // 2, np.zeros_like(self.mean)
        for i in range(half):
            g += (f[i] - f[i + half]) * self.noise[i] / (2 * self.sigma**2 * half)
        self.mean = self.mean + self.optimizer(g)
        self.t = self.t + 10 if self.t + 10 < 30 else 0


STEPPED = [
    (OpenAIES, OpenAIESReference, {"learning_rate": 0.05}),
    (PGPE, PGPEReference, {"optimizer": Partial(jaxes.clipup, max_velocity=0.08), "learning_rate": 0.05}),
    (ARS, ARSReference, {"learning_rate": 0.02, "elite": 2}),
    (GuidedES, GuidedESReference, {"optimizer": optax.sgd, "learning_rate": 0.002}),
    (PersistentES, PersistentESReference, {"optimizer": optax.sgd(0.001)}),
    (NoiseReuseES, NoiseReuseESReference, {"learning_rate": 0.05}),
]


@pytest.mark.parametrize(("kind", "reference", "options"), STEPPED)
def test_steps_are_those_of_the_paper_and_of_evosax(kind, reference, options, x64):
    """All three are told the same candidates and fitness, 200 generations. Where evosax leaves the papers: see its script."""
    if issubclass(kind, PersistentES | NoiseReuseES):
        options = options | {"horizon": 10 * peer.TRUNCATIONS, "truncation": 10}
    strategy = kind(open_space(peer.D), lam=peer.LAM, start=peer.START, sigma=peer.SIGMA, bounds=Clip(), **options)
    theirs = DATA[kind.__name__]
    noise = np.array([peer.perturbations(g) for g in range(peer.GENERATIONS)])
    if kind is NoiseReuseES:
        noise = noise[np.arange(peer.GENERATIONS) // peer.TRUNCATIONS * peer.TRUNCATIONS]
    sigmas = DATA["PGPE sigma"] if kind is PGPE else np.full(theirs.shape, peer.SIGMA)
    populations = theirs[:-1, None] + sigmas[:-1, None] * noise
    fitness = np.array([peer.fitness(x) for x in populations])

    def generation(state, told):
        state = strategy.tell(state, *told)
        return state, (strategy.mean(state), strategy._deviations(state) * peer.SIGMA)

    means, deviations = jax.lax.scan(generation, strategy.init(0), (jnp.asarray(populations), jnp.asarray(fitness)))[1]
    np.testing.assert_allclose(means, theirs[1:], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(deviations, sigmas[1:], rtol=1e-9)
    slow = reference(peer.START, peer.SIGMA)
    for x, f, mean, sigma in zip(populations, fitness, np.asarray(means), np.asarray(deviations), strict=True):
        slow(x, f)
        np.testing.assert_allclose(mean, slow.mean, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(sigma, slow.sigma, rtol=1e-9)


# What the estimates are estimates of. A mean of samples is compared with a closed form at five standard errors, which a true
# one exceeds with probability 6e-7 a number; keys are fixed.


def same_mean(samples, expected):
    samples = np.asarray(samples, np.float64)
    error = samples.std(axis=0) / np.sqrt(len(samples))
    assert (np.abs(samples.mean(axis=0) - expected) < 5 * error).all()
    assert (error < 0.1 * np.abs(expected).max()).all()  # and the comparison says something


SCALED = np.array([0.3, 0.5, 1.0, 2.0])
HESSIAN = np.array([[3.0, 1, 0, 0], [1, 2, 0, 0], [0, 0, 1, -1], [0, 0, -1, 4]])
AT = np.array([1.0, -2.0, 0.5, 1.5])
SLOPE = HESSIAN @ AT + 1


def quadratic(x):
    return 100 + jnp.sum(x) + 0.5 * x @ jnp.asarray(HESSIAN, x.dtype) @ x


def estimates(strategy, count=20_000):
    """(count, d) gradients that the optimizer is given in the first generation."""

    def one(key):
        state = strategy.init(key)
        population, state = strategy.ask(state)
        told = strategy.tell(state, population, jax.vmap(quadratic)(population))
        gradient = strategy._unit() * (state.mean - told.mean)
        return gradient, told.deviations if isinstance(told, PGPEState) else population[: population.shape[0] // 2]

    return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), count))


def descent(kind, sampling="mirrored", **options):
    options = {"lam": 6, "start": AT, "sigma": SCALED, "optimizer": optax.sgd, "learning_rate": 1.0} | options
    return kind(open_space(4), sampling=sampling, shaping="none", **options)


@pytest.mark.parametrize("sampling", ["mirrored", "independent"])
def test_openai_es_estimates_the_gradient(sampling, x64):
    share = {"mirrored": 1, "independent": 1 - 1 / 6}[sampling]  # the mean of the fitness takes one of lam away
    same_mean(estimates(descent(OpenAIES, sampling))[0], share * SLOPE)


def test_pgpe_estimates_both_gradients_times_the_variance(x64):
    found, deviations = estimates(descent(PGPE, sigma_max_change=0.99, sigma_learning_rate=1e-6))
    same_mean(found, SCALED**2 * SLOPE)
    change = (1 - np.asarray(deviations)) * SCALED / 1e-6
    same_mean(change, (1 - 1 / 3) * SCALED * SCALED**2 * np.diag(HESSIAN))  # the baseline takes one pair of three away


def toward(x):
    return jnp.asarray([1.0, 2.0, 0.0, -1.0], x.dtype)


def test_guided_es_estimates_a_gradient_stretched_along_the_subspace(x64):
    strategy = descent(GuidedES, sigma=0.7, surrogate=toward, alpha=0.2)
    u = np.asarray(toward(AT)) / 6**0.5
    stretch = 0.2 * np.eye(4) + 0.8 * 4 * np.outer(u, u)
    found, population = estimates(strategy)
    same_mean(found, stretch @ SLOPE)
    z = (np.asarray(population).reshape(-1, 4) - AT) / 0.7
    same_mean(z[:, :, None] * z[:, None, :], stretch)
    deviations = strategy._deviations(strategy.init(0))
    np.testing.assert_allclose(deviations, np.sqrt(np.diag(stretch)), rtol=1e-12)


# Influence balancing, the first experiment of Vicol et al. (2021): a linear system in which a parameter does good at first and
# more harm later. Its total loss is quadratic, so that smoothing does not change the gradient.

N, T, K = 23, 100, 10
SIGNS = np.where(np.arange(N) < 10, 1.0, -1.0)
SYSTEM = 0.5 * (np.eye(N) + np.eye(N, k=1))
KEPT = np.linalg.matrix_power(SYSTEM, K)  # K steps of inner = SYSTEM inner + theta SIGNS
ADDED = sum(np.linalg.matrix_power(SYSTEM, i) for i in range(K)) @ SIGNS


def unroll(inner, theta):
    """The inner state after a truncation, and its loss."""
    inner = KEPT @ inner + theta * ADDED
    return inner, 0.5 * jnp.square(inner[0] - 1)


def total(theta, cut):
    inner, loss = jnp.ones(N), 0.0
    for _ in range(T // K):
        inner, more = unroll(jax.lax.stop_gradient(inner) if cut else inner, theta)
        loss = loss + more
    return loss


@pytest.mark.parametrize("kind", [OpenAIES, PersistentES, NoiseReuseES])
def test_gradients_through_truncations_are_biased_without_memory(kind, x64):
    """The sum over an inner problem, of an optimizer that adds up gradients and goes nowhere."""
    summing = optax.chain(optax.trace(decay=1.0), optax.scale(0.0))
    options = {} if kind is OpenAIES else {"horizon": T, "truncation": K}
    space = Box(-np.inf, np.inf)
    strategy = kind(space, lam=8, start=0.5, sigma=0.1, optimizer=summing, shaping="none", **options)

    def one(key):
        def generation(carry, _):
            state, inner = carry
            population, state = strategy.ask(state)
            inner, loss = jax.vmap(unroll)(inner, population)
            return (strategy.tell(state, population, loss), inner), None

        (state, _), _ = jax.lax.scan(generation, (strategy.init(key), jnp.ones((8, N))), None, length=T // K)
        return state.optimizer[0].trace[0]

    found = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(2), 3000))
    full, cut = (float(jax.grad(total)(0.5, cut)) for cut in (False, True))
    assert cut < 0 < full  # the wrong way
    same_mean(found, cut if kind is OpenAIES else full)


# Optimizers


def test_clipup_is_the_papers(x64):
    """Clipped and not, over gradients of many lengths; a gradient of zero adds nothing."""
    random = np.random.RandomState(0)
    for limit in (None, 0.05, 1.0):
        slow = ClipUp(0.1, 0.2 if limit is None else limit, 0.8)
        optimizer = jaxes.clipup(0.1, momentum=0.8, max_velocity=limit)
        update = jax.jit(optimizer.update)
        state = optimizer.init({"a": jnp.zeros(2), "b": jnp.zeros(3)})
        for k in range(40):
            g = np.ones(5) * (k % 10 == 0) + random.randn(5) * 10.0 ** random.uniform(-150, 150)
            updates, state = update({"a": jnp.asarray(g[:2]), "b": jnp.asarray(g[2:])}, state)
            length = np.abs(g).max()  # whose square would not be a number
            np.testing.assert_allclose(np.concatenate([updates["a"], updates["b"]]), slow(g / length), rtol=1e-12)
        before = np.asarray(state.velocity["a"])
        updates, state = update({"a": jnp.zeros(2), "b": jnp.zeros(3)}, state)
        np.testing.assert_allclose(updates["a"], 0.8 * before, rtol=1e-12)
    scheduled = jaxes.clipup(lambda step: 0.1 / (step.astype(float) + 1))
    state = scheduled.init(jnp.zeros(1))
    for expected in (-0.1, -0.1):  # 0.9 * 0.1 + 0.05 is more than twice 0.05
        updates, state = scheduled.update(jnp.ones(1), state)
        np.testing.assert_allclose(updates, [expected], rtol=1e-12)


@pytest.mark.parametrize("kind", [OpenAIES, PGPE, ARS])
def test_the_default_works_in_units_of_sigma(kind, x64):
    """It is the same step as in the space's own units where sigma is one number, and as in a space that is scaled."""
    d, sigma, one, scales = 4, 0.01, np.ones(4), np.array([1e-6, 1.0, 10.0, 1e6])
    start = np.linspace(-1, 1, d)

    def moved(factor, **options):
        strategy = kind(open_space(d), lam=8, start=start * factor, sigma=sigma * factor, bounds=Clip(), **options)
        state = strategy.init(0)
        for generation in range(3):
            half = np.random.RandomState(generation).randn(4, d)
            z = np.asarray(strategy.mean(state)) / factor + sigma * np.concatenate([half, -half])
            state = strategy.tell(state, factor * z, np.cos(100 * z @ [1, 2, 3, 4]))
        return np.asarray(strategy.mean(state)) / factor - start

    rate = {OpenAIES: 8**0.5 / 12**0.5 / 2, PGPE: 2 / 30, ARS: 2 * 2 / 6 / 2}[kind]
    expected = moved(one)
    assert np.abs(expected).max() > rate * sigma / 2
    np.testing.assert_allclose(moved(scales), expected, rtol=1e-6)
    own = moved(one, learning_rate=rate * sigma)
    np.testing.assert_allclose(own, expected, rtol=1e-5)  # Adam adds 1e-8 to a gradient in other units


def test_learning_rates_and_other_numbers_are_leaves():
    traces = 0

    @jax.jit
    def program(strategy):
        nonlocal traces
        traces += 1
        state = strategy.init(0)
        for _ in range(2):
            population, state = strategy.ask(state)
            state = strategy.tell(state, population, population[:, 0])
        return state.mean

    def strategy(momentum, rate):
        return OpenAIES(box(), optimizer=Partial(optax.sgd, momentum=momentum), learning_rate=rate)

    means = [np.asarray(program(strategy(0.9, rate))) for rate in (0.1, np.float64(0.2), jnp.float32(0.3), 1)]
    means.append(np.asarray(program(strategy(jnp.asarray(0.1), 0.1))))
    assert traces == 1
    assert len({mean.tobytes() for mean in means}) == 5
    built = OpenAIES(box(), optimizer=optax.sgd(0.1, momentum=0.9))
    np.testing.assert_allclose(program(built), means[0], rtol=1e-6)
    program(OpenAIES(box(), optimizer=built.optimizer))
    assert traces == 2


def test_learning_rates_are_in_the_spaces_own_units():
    """By the sign of the gradient: one per leaf or coordinate of a pytree, and a schedule, whose numbers are leaves."""
    space = {"a": Box(-2.0, 2.0, shape=2), "b": Box(-20.0, 20.0)}
    options = {"optimizer": optax.sign_sgd, "sigma": 0.1, "start": {"a": [0.0, 0.0], "b": 0.0}}
    schedule = Schedule(optax.exponential_decay, init_value=0.5, transition_steps=1, decay_rate=0.5)
    for rate, expected in (({"a": [0.0625, 0.25], "b": 0.5}, [0.125, 0.5, 1.0]), (schedule, [0.75] * 3)):
        strategy = OpenAIES(space, lam=8, learning_rate=rate, **options)
        state = strategy.init(0)
        for _ in range(2):  # told of all corners around the mean
            mean, corners = strategy.mean(state), 0.1 * np.indices((2, 2, 2)).reshape(3, 8).T - 0.05
            population = {"a": mean["a"][None] + corners[:, :2], "b": mean["b"] + corners[:, 2]}
            state = strategy.tell(state, population, corners.sum(axis=1))
        np.testing.assert_allclose(-0.1 * state.mean, expected, rtol=1e-4)
    swept = dataclasses.replace(strategy, learning_rate=schedule.replace(init_value=0.1))
    assert jax.tree.structure(swept) == jax.tree.structure(strategy)


def in_double_precision(rate):
    return optax.chain(optax.trace(decay=np.float64(0.9)), optax.scale_by_learning_rate(rate))


@pytest.mark.parametrize("optimizer", [optax.adamw, optax.lion, optax.adafactor, jaxes.clipup, in_double_precision])
def test_any_optimizer_keeps_the_dtype(optimizer, x64):
    for dtype in (np.float32, np.float64):
        rate = Schedule(optax.cosine_decay_schedule, init_value=0.1, decay_steps=50)
        strategy = PGPE(Box(dtype(-2), dtype(2), shape=3), optimizer=optimizer, learning_rate=rate)

        def generation(key, strategy=strategy):
            population, state = strategy.ask(strategy.init(key))
            return strategy.tell(state, population, population[:, 0])

        before, after = (jax.eval_shape(f, jax.random.key(0)) for f in (strategy.init, generation))
        assert [(a.shape, a.dtype) for a in jax.tree.leaves(before)] == [(a.shape, a.dtype) for a in jax.tree.leaves(after)]
        assert after.mean.dtype == dtype


# Fitness shaping

shaped = jax.jit(_shaped, static_argnums=1)


@pytest.mark.parametrize("n", [10, 300])  # below and above what is ranked by comparing all with all
def test_shaped_fitness(n, x64):
    f = np.random.RandomState(0).randint(0, n // 2, n).astype(float)  # with ties
    f[:3] = np.inf, np.inf, -np.inf
    ranks = scipy.stats.rankdata(f) - 1
    np.testing.assert_allclose(shaped(jnp.asarray(f), "centered rank"), ranks / (n - 1) - 0.5, atol=1e-12)
    order = scipy.stats.rankdata(f, "ordinal") - 1
    expected = np.array([-n * utilities(n)[order[f == value]].mean() for value in f])
    np.testing.assert_allclose(shaped(jnp.asarray(f), "utilities"), expected, atol=1e-12)
    held = np.clip(f, f[np.isfinite(f)].min(), f[np.isfinite(f)].max())
    np.testing.assert_allclose(shaped(jnp.asarray(f), "none"), held - held.mean(), atol=1e-12)
    np.testing.assert_allclose(shaped(jnp.asarray(f), "standardized"), (held - held.mean()) / held.std(), atol=1e-12)


@pytest.mark.parametrize("shaping", SHAPINGS)
def test_rows_that_do_not_count_change_no_shape(shaping, x64):
    for n in (2, 5, 6):
        for f in ([3.0, 1.0, 2.0, 2.0, np.inf, np.inf], [np.inf] * 6, [2.0, -np.inf, 1e30, np.inf, -5.0, 2.0]):
            f = np.asarray(f[:n])
            some = _shaped(jnp.asarray([*f, *[np.inf] * (8 - n)]), shaping, jnp.int32(n))
            np.testing.assert_allclose(some[:n], shaped(jnp.asarray(f), shaping), rtol=1e-12, atol=1e-12)
            np.testing.assert_array_equal(some[n:], 0)


@pytest.mark.parametrize(("kind", "options"), [(ARS, {}), (ARS, {"elite": 3}), (OpenAIES, {}), (NoiseReuseES, {})])
def test_mirrored_samples_of_a_value_are_the_same_run(kind, options, x64):
    """The same samples, with pairs side by side."""
    strategy = kind(box(4), lam=8, sigma=0.5, **options)
    valued = dataclasses.replace(strategy, lam_max=8)
    (population, means), (paired, same) = (steps(s, rugged, 20) for s in (strategy, valued))
    np.testing.assert_allclose(same, means, rtol=1e-9)
    np.testing.assert_allclose(paired[:, ::2], population[:, :4], rtol=1e-9)


@pytest.mark.parametrize("lam", [2, 5, 6])
def test_ars_counts_whole_pairs(lam, x64):
    """Of those among the first lam; the gradient by hand."""
    strategy = ARS(open_space(3), lam=8, lam_max=8, start=np.zeros(3), sigma=1.0, optimizer=optax.sgd, learning_rate=1.0)
    strategy = dataclasses.replace(strategy, elite=3)
    z, state = strategy.ask(strategy.init(0))
    fitness = np.random.RandomState(1).randn(8)
    alone = jax.jit(lambda lam: dataclasses.replace(strategy, lam=lam).tell(state, z, fitness))(jnp.int32(lam))
    pairs = sorted((min(fitness[i : i + 2]), i) for i in range(0, lam - 1, 2))[:3]
    seen = np.array([fitness[i : i + 2] for _, i in pairs])
    step = np.mean([(seen[k, 0] - seen[k, 1]) * z[i] for k, (_, i) in enumerate(pairs)], axis=0) / seen.std()
    np.testing.assert_allclose(alone.mean, -step, rtol=1e-9)


@pytest.mark.parametrize("shaping", SHAPINGS)
def test_a_plateau_has_no_gradient_and_huge_fitness_is_finite(shaping):
    for value, n in itertools.product((3.25, 0.1, np.inf, -np.inf), (3, 5, 6, 10)):
        np.testing.assert_array_equal(np.asarray(shaped(jnp.full(n, value, jnp.float32), shaping)), 0)
    for f in ([1e38, -3e38, 3e38, 2e38], [1e-42, 2e-42, 0, 0], [np.inf, 1e38, -1e38, -np.inf]):
        out = np.asarray(shaped(jnp.asarray(f, jnp.float32), shaping))
        assert np.isfinite(out).all()
        assert np.isfinite(np.sum(out))


# Behaviour


def test_a_schedule_of_sigma_is_followed(x64):
    schedule = Schedule(optax.exponential_decay, init_value=0.5, transition_steps=1, decay_rate=0.97)
    strategy = OpenAIES(open_space(6), lam=20, start=np.zeros(6), sigma=schedule)
    populations, means = map(np.asarray, steps(strategy, shifted_sphere, 240))
    before = np.concatenate([np.zeros((1, 6)), means[:-1]])
    drawn = (populations - before[:, None]).std(axis=(1, 2))
    np.testing.assert_allclose(drawn[:100] / (0.5 * 0.97 ** np.arange(100)), 1, atol=0.35)  # 6 standard errors
    assert shifted_sphere(means[-1]) < 1e-4  # a constant sigma stays above 1e-2


@pytest.mark.parametrize("kind", [OpenAIES, ARS, GuidedES, PersistentES, NoiseReuseES])
def test_an_estimate_is_that_of_the_generations_sigma(kind, x64):
    """By gradient descent on raw fitness, the schedule's step is the one of a constant of the same value."""
    schedule = Schedule(optax.linear_schedule, init_value=2.0, end_value=0.0, transition_steps=40)
    sigma = 0.5 if kind is NoiseReuseES else 0.35  # whose perturbations are of generation 30, when the inner problem began
    x = 1 + np.array([[0.5, 1.0], [2.0, -1.0], [-0.5, -1.0], [-2.0, 1.0]])

    def moved(sigma):
        strategy = kind(
            open_space(2), lam=4, start=[1.0, 1.0], sigma=sigma, optimizer=optax.sgd, learning_rate=0.1, shaping="none"
        )
        told = strategy.tell(dataclasses.replace(strategy.init(0), generation=jnp.int32(33)), x, np.array([1.0, 2.0, 4.0, 8.0]))
        return strategy.mean(told) - 1, strategy.step_size(dataclasses.replace(told, generation=jnp.int32(33)))

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), moved(schedule), moved(sigma))


@pytest.mark.parametrize("kind", [OpenAIES, ARS, GuidedES, PersistentES, NoiseReuseES])
def test_a_schedule_may_end_at_zero(kind):
    """The smallest sigma is what rounding resolves, and no step is divided by nothing."""
    schedule = Schedule(optax.linear_schedule, init_value=1.0, end_value=0.0, transition_steps=5)
    strategy = kind(box(3), lam=8, sigma=schedule)
    result = run(strategy, shifted_sphere, 0, 100, stop={"converged": False})
    assert np.isfinite(strategy.mean(result.state)).all()
    assert 0 < strategy.step_size(result.state) < 1e-5


def test_restarts_follow_the_schedule_of_sigma():
    """The first run is the strategy's own; later ones have it times a factor."""
    schedule = Schedule(optax.exponential_decay, init_value=0.5, transition_steps=5, decay_rate=0.5)
    strategy = OpenAIES(box(3), lam=8, sigma=schedule)
    alone, first = (run(s, shifted_sphere, 0, 30, history=True).history for s in (strategy, Restart(strategy, doublings=1)))
    np.testing.assert_array_equal(first.step_size, alone.step_size)
    np.testing.assert_allclose(first.best, alone.best, rtol=1e-5)
    smaller = run(strategy.rescaled(jnp.float32(0.25)), shifted_sphere, 0, 30, history=True).history
    np.testing.assert_allclose(smaller.step_size, alone.step_size / 4, rtol=1e-6)
    assert schedule.times(0.5).replace(init_value=1.0)(jnp.int32(0)) == 0.5


def test_reasons_to_stop_are_not_those_of_the_best_candidate():
    """A reward that most generations reach once, and a plateau."""
    strategy = OpenAIES(box(2), lam=20, sigma=0.5, start=np.zeros(2))

    def rewarded(x, width):
        return jnp.where(jnp.all(jnp.abs(x - 0.5) < width), 0.0, 1.0)

    found = run(strategy, rewarded, 0, 200, args=0.5)
    assert found.stop_reason == StopReason.GENERATIONS
    assert np.abs(strategy.mean(found.state) - 0.5).max() < 0.5
    assert run(strategy, rewarded, 0, 200, args=9.0).stop_reason == StopReason.TOLFUN


def test_the_subspace_is_what_the_directions_span(x64):
    a, b = np.array([[3.0, 0, 4, 0], [1.0, 2, 0, -1]])
    cases = [([0 * a, b, b], 1), ([a, -2 * a, b], 2), ([a, 0 * a, 1e-200 * b], 2), ([0 * a] * 3, 0), ([1e300 * a, b, a], 2)]
    for rows, rank in cases:
        basis = np.asarray(jax.jit(_basis)(np.array(rows)))
        projection = basis.T @ basis
        assert np.trace(projection) == pytest.approx(rank)
        np.testing.assert_allclose(projection @ projection, projection, atol=1e-12)
        for row in rows:
            row = row / max(np.abs(row).max(), 1e-300)
            np.testing.assert_allclose(projection @ row, row, atol=1e-12)


def test_guides_by_hand_are_those_of_the_surrogate():
    """On a log scale, a gradient with respect to the solution; unusable ones guide nowhere."""
    space = {"a": Box(1e-3, 1.0, scale="log"), "b": Box(-1.0, 1.0, shape=2)}

    def surrogate(solution):
        return {"a": 2 * solution["a"], "b": jnp.asarray([1.0, -1.0])}

    told, by_hand = GuidedES(space, surrogate=surrogate, subspace=2), GuidedES(space, subspace=2)
    state = by_hand.init(0)
    assert not state.basis.any()
    state = by_hand.guide(state, surrogate(by_hand.mean(state)))
    expected = told.init(0)
    np.testing.assert_allclose(state.basis, expected.basis, rtol=1e-6)
    a = by_hand.mean(state)["a"]
    direction = np.array([2 * a * a, 1.0, -1.0]) * np.asarray(by_hand._unit())
    np.testing.assert_allclose(state.guides, [np.zeros(3), direction], rtol=1e-5)
    state = by_hand.guide(state, {"a": np.float32(np.nan), "b": np.ones(2, np.float32)})
    np.testing.assert_allclose(state.guides, [direction, np.zeros(3)], rtol=1e-5)


@pytest.mark.parametrize("kind", [PersistentES, NoiseReuseES])
def test_inner_problems_begin_anew(kind):
    strategy = kind(box(), lam=4, sigma=0.1, optimizer=optax.sgd(0.0), **TRUNCATED)
    memory = "scores" if kind is PersistentES else "perturbations"
    state, noise, at = strategy.init(0), [], []
    for _ in range(7):
        at.append(int(strategy.inner_step(state)))
        population, state = strategy.ask(state)
        noise.append(np.asarray(state.drawn) - np.asarray(strategy._unit() * state.mean))
        again, _ = strategy.ask(state)
        np.testing.assert_array_equal(population, again)
        state = strategy.tell(state, population, population[:, 0])
        kept = np.asarray(getattr(state, memory)) * np.asarray(strategy._unit())
        if kind is PersistentES:
            first = len(noise) // 3 * 3
            np.testing.assert_allclose(kept, sum(noise[first:], np.zeros_like(kept)), atol=1e-5)
    assert at == [0, 10, 20, 0, 10, 20, 0]
    same = [np.allclose(noise[i], noise[i + 1], atol=1e-5) for i in range(6)]
    assert same == ([False] * 6 if kind is PersistentES else [True, True, False, True, True, False])
    if kind is NoiseReuseES:  # and a candidate that was moved meanwhile does not change what is drawn for it
        moved = strategy.tell(state, 0.5 * strategy.ask(state)[0], np.zeros(4))
        np.testing.assert_array_equal(np.asarray(moved.perturbations) * np.asarray(strategy._unit()), kept)
    np.testing.assert_array_equal(strategy.best(state), strategy.mean(state))
    longer = dataclasses.replace(strategy, horizon=40)
    assert jax.tree.structure(longer) == jax.tree.structure(strategy)
    assert int(longer.inner_step(state)) == 30


@pytest.mark.parametrize("kind", [PGPE, ARS, PersistentES])
def test_raw_fitness_leaves_finite_states(kind):
    """In single precision: NaN and infinities, huge values, and long after the optimum was found."""
    strategy = kind(Box(-5.0, 5.0, shape=3), lam=6, sigma=0.5, shaping="none")

    def f(x, which):
        y = shifted_sphere(x)
        bad = jnp.where(x[0] > 0, jnp.inf, jnp.where(x[1] > 0, jnp.nan, -jnp.inf))
        return jnp.asarray([y, 1e37 * y, bad, 1e-30 * y, 0 * y, -1e38 * x[0]])[which]

    def one(key, which):
        def generation(state, _):
            x, state = strategy._ask(state)
            return strategy.tell_flat(state, x, jax.vmap(lambda row: f(row, which))(x)), None

        return jax.lax.scan(generation, strategy.init(key), None, length=2000)[0]

    state = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 6), jnp.arange(6))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(learnt(state)))
    means = jax.vmap(strategy.mean)(state)
    assert np.isfinite(means).all()
    assert shifted_sphere(means[0]) < 5


BUILT = optax.adam(0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: OpenAIES(box(), lam=7), r'OpenAIES\(lam=...\) must be even with sampling="mirrored", got 7'),
        (
            lambda: OpenAIES(box(), optimizer="adam"),
            r"OpenAIES\(optimizer=...\) must be a function of a learning rate such as opt",
        ),
        (
            lambda: OpenAIES(box(), optimizer=optax.adam),
            r"OpenAIES\(learning_rate=...\) must be given with it: optimizer=optax",
        ),
        (
            lambda: OpenAIES(box(), optimizer=BUILT, learning_rate=0.1),
            r"OpenAIES\(learning_rate=...\) is fixed in an optimizer",
        ),
        (lambda: OpenAIES(box(), learning_rate=-1.0), r"OpenAIES\(learning_rate=...\) must be positive and finite, got -1.0"),
        (lambda: OpenAIES(box(), learning_rate=np.ones(2)), r"OpenAIES\(learning_rate=...\) must be one number, or broadcast"),
        (lambda: OpenAIES(box(), shaping="ranks"), r"OpenAIES\(shaping=...\) must be one of 'centered rank', .*, got 'ranks'"),
        (
            lambda: OpenAIES(box(), optimizer=optax.lbfgs, learning_rate=1.0),
            r"needs nothing but the gradient and the parameters",
        ),
        (
            lambda: OpenAIES(box(), optimizer=lambda r: r, learning_rate=1.0),
            r"OpenAIES\(optimizer=...\) must be an optax optimiz",
        ),
        (lambda: OpenAIES(box(), sigma=lambda g: -1.0), r"OpenAIES\(sigma=...\) must be positive at generation 0, got -1.0"),
        (lambda: PGPE(box(), sigma=lambda g: 0.1), r"PGPE\(sigma=...\) must be numbers, as sigma is learnt from there"),
        (lambda: PGPE(box(), sigma_max_change=1.0), r"PGPE\(sigma_max_change=...\) must be from 0 to below 1, got 1.0"),
        (lambda: PGPE(box(), sigma_learning_rate=-0.1), r"PGPE\(sigma_learning_rate=...\) must be at least 0, got -0.1"),
        (lambda: ARS(box(), lam=8, elite=5), r"ARS\(elite=...\) must be at most lam/2=4, got 5"),
        (lambda: ARS(box(), sampling="sobol"), r"ARS\(sampling=...\) must be one of 'mirrored', got 'sobol'"),
        (lambda: GuidedES(box(), subspace=4), r"GuidedES\(subspace=...\) must be at most d=3, got 4"),
        (lambda: GuidedES(box(), alpha=0.0), r"GuidedES\(alpha=...\) must be above 0 and at most 1, got 0.0"),
        (lambda: GuidedES(box(), surrogate=1.0), r"GuidedES\(surrogate=...\) must be a function of a solution, got 1.0"),
        (lambda: GuidedES(box(), surrogate=jnp.sum), r"must return a gradient of shapes \(3,\), as a solution has, got \(\)"),
        (lambda: GuidedES(box()).guide(None, jnp.ones(2)), r"GuidedES.guide expected a gradient of shapes \(3,\)"),
        (lambda: PersistentES(box(), horizon=0), r"PersistentES\(horizon=...\) must be an integer of at least 1, got 0"),
        (
            lambda: NoiseReuseES(box(), truncation=2.5),
            r"NoiseReuseES\(truncation=...\) must be an integer of at least 1, got 2.5",
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_what_is_to_get_better_is_the_average(x64):
    """Of those that count; pure noise ends a run in the end, and infinity in every generation leaves that to the best."""
    strategy = OpenAIES(box(4), lam=6, lam_max=8)
    population, state = strategy.ask(strategy.init(0))
    fitness = np.asarray([3.0, 1.0, 2.0, 8.0, 4.0, 6.0, -1e9, np.nan])
    np.testing.assert_allclose(strategy.tell(state, population, fitness).progress.now, [1.0, 4.0], rtol=1e-12)

    def noise(x, key):
        u = jax.random.uniform(key, (2,))
        return jnp.where(u[0] < 0.5, jnp.inf, u[1])

    def ended(key):
        return run(GuidedES(box(4)), noise, key, 3000, stochastic=True).stop_reason

    assert StopReason.STAGNANT in set(np.asarray(jax.jit(jax.vmap(ended))(jax.random.split(jax.random.key(0), 8))))
