"""Islands: who goes where and when, and that nothing else happens to the runs of their strategy."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import QUICK_FLAGS
from variants import assert_same, box, exact

from jaxes import (
    CMAES,
    DE,
    ES,
    Islands,
    PersistentES,
    Portfolio,
    Reevaluate,
    Restart,
    SelfAdaptation,
    StopReason,
    run,
)
from jaxes.batch import keys_of_runs
from jaxes.islands import NEIGHBOURS, of_islands, spread
from jaxes.strategy import LIMIT

pytestmark = pytest.mark.quick

LAM, SIZE, MIGRANTS = 7, 6, 2
"""Of an island, how many there are (a torus of 2 x 3), and how many candidates go."""
SMALL = Islands(ES(box(), mu=2, lam=6, sigma=0.3), islands=3)


@jax.jit
def told_of(islands, key, fitness):
    """What islands of a differential evolution are told of in their first generation, in which it accepts everything:
    candidates as their indices in the population, and fitness; each (SIZE, LAM)."""
    state = islands.init(key)
    population, state = islands.ask(state)
    members = islands.tell(state, population, fitness).members
    found = jnp.all(members.parents[:, :, None, :] == population[None, None, :, :], axis=-1)
    return jnp.argmax(found, axis=-1), members.parent_fitness


def make(**options):
    return Islands(DE(box(2), lam=LAM), **{"islands": SIZE, "every": 1} | options)


def senders(topology, island, candidates):
    """Who sends to an island; in a random order, as its candidates tell."""
    if topology == "ring":
        return [(island - 1) % SIZE]
    if topology == "torus":
        row, column = divmod(island, 3)
        return [3 * row + (column - 1) % 3, 3 * ((row - 1) % 2) + column]
    if topology == "star":
        return [0] if island > 0 else [1, 2, 3, 4, 5]
    return sorted(set(candidates // LAM) - {island})


@pytest.mark.parametrize("topology", NEIGHBOURS)
def test_the_best_replace_the_worst_if_they_are_better(topology):
    """Against a slow reference, with ties, NaN and infinities; and an island that has nothing better to send."""
    rng = np.random.default_rng(0)
    islands, migrants = make(topology=topology, migrants=MIGRANTS), MIGRANTS
    for seed in range(8):
        fitness = rng.integers(0, (40, 4)[seed % 2], (SIZE, LAM)).astype(np.float32)
        fitness[1] += 1000
        fitness[rng.random(fitness.shape) < 0.1] = np.nan
        fitness[2, 1], fitness[3, 4] = np.inf, -np.inf
        index, told = map(np.asarray, told_of(islands, jax.random.key(seed), fitness.reshape(-1)))
        np.testing.assert_array_equal(told, np.where(np.isnan(fitness), np.inf, fitness).reshape(-1)[index])
        worth = np.where(np.isnan(fitness), np.inf, fitness)
        for i in range(SIZE):
            arriving = sorted(
                worth[j, k] for j in senders(topology, i, index[i]) for k in np.argsort(worth[j], kind="stable")[:migrants]
            )
            expected, replaced = worth[i].copy(), 0
            for value in arriving[: migrants * NEIGHBOURS[topology]]:
                if value < expected.max():
                    expected[expected.argmax()], replaced = value, replaced + 1
            # Where the worst are tied, any may go, so they are compared in order; whoever stays, stays where it was.
            np.testing.assert_array_equal(np.sort(told[i]), np.sort(expected))
            own = index[i] // LAM == i
            assert (~own).sum() == replaced
            np.testing.assert_array_equal(index[i][own] % LAM, np.flatnonzero(own))


@pytest.mark.parametrize("topology", NEIGHBOURS)
def test_random_ones_take_the_places_of_random_ones(topology):
    """Whatever their fitness. All are as likely to go: of 2,000 migrations, a candidate takes part in k/lam each, within five
    standard deviations."""
    fitness, keys = jnp.arange(SIZE * LAM, dtype=jnp.float32), jax.random.split(jax.random.key(0), 2000)
    islands = make(topology=topology, policy="random", migrants=MIGRANTS)
    index, told = map(np.asarray, jax.vmap(lambda key: told_of(islands, key, fitness))(keys))
    np.testing.assert_array_equal(told, index)
    count, island = MIGRANTS * NEIGHBOURS[topology], np.arange(SIZE)[:, None]
    own = index // LAM == island
    np.testing.assert_array_equal((~own).sum(axis=2), count)
    np.testing.assert_array_equal(index[own] % LAM, np.broadcast_to(np.arange(LAM), own.shape)[own])
    for one, mine in zip(index[:100], own[:100], strict=True):
        for i in range(SIZE):
            sources, arrived = senders(topology, i, one[i]), one[i][~mine[i]]
            assert set(arrived // LAM) <= set(sources)
            assert len(set(arrived)) == count
            if topology != "star" or i > 0:
                np.testing.assert_array_equal(np.bincount(arrived // LAM, minlength=SIZE)[sources], MIGRANTS)
            for candidate in arrived:  # who has arrived has left
                assert not mine[candidate // LAM, candidate % LAM]
    share = count / LAM
    assert np.abs((~own).mean(axis=0) - share).max() < 5 * np.sqrt(share * (1 - share) / 2000)
    if topology == "star":  # any of the others' reach the hub: within five standard deviations
        from_others = np.bincount((index // LAM)[:, 0][~own[:, 0]], minlength=SIZE)[1:]
        assert np.abs(from_others - 800).max() < 5 * 800**0.5
    if topology == "random":
        check_rings(np.where(own, -1, index // LAM).max(axis=2))


def check_rings(sender):
    """Who sends to each island, (n, SIZE), makes any of the 5! = 120 rings of six, each about as often: chi-squared with 119
    degrees of freedom, false alarm 1e-6."""
    around, at = [], np.zeros(len(sender), int)
    for _ in range(SIZE):
        at = sender[np.arange(len(sender)), at]
        around.append(at)
    assert (np.sort(around, axis=0) == np.arange(SIZE)[:, None]).all()
    _, counts = np.unique(around, axis=1, return_counts=True)
    expected = len(sender) / 120
    assert len(counts) == 120
    assert np.sum((counts - expected) ** 2 / expected) < 206


def test_migration_every_so_often_and_never_else():
    """Beside the strategy itself, told of the same generations."""
    islands = dataclasses.replace(SMALL, every=4)
    state, told = islands.init(3), []
    evaluate, tell = jax.jit(jax.vmap(exact)), jax.jit(jax.vmap(islands.strategy.tell))
    for _ in range(9):
        population, state = islands.ask(state)
        fitness = evaluate(population)
        after = islands.tell(state, population, fitness)
        alone = tell(state.members, population.reshape(3, 6, -1), fitness.reshape(3, 6))
        told.append(bool(jnp.all(alone.parents == after.members.parents)))
        state = after
    assert told == [True, True, True, False, True, True, True, False, True]


@pytest.mark.quick(False)  # bit for bit, as users compile it
def test_without_migration_they_are_runs_of_their_own():
    """Bit for bit, each with the numbers that it has for itself; and what they share is theirs."""
    sigma, strategy = [1.0, 0.5, 0.3, 0.2, 0.1], ES(box(), mu=5, lam=20, sigma=0.3, selection="plus")
    islands = Islands(strategy, islands=5, every=LIMIT, over={"sigma": sigma})

    def objective(x):
        return jnp.where(x[0] > 1.5, jnp.nan, exact(x))

    def alone(sigma, key):
        return run(dataclasses.replace(strategy, sigma=sigma), objective, key, 30)

    together = jax.jit(lambda key: run(islands, objective, key, 30))(7)
    runs = jax.jit(jax.vmap(alone))(islands.over["sigma"], keys_of_runs(jax.random.key(7), 5))
    np.testing.assert_array_equal(islands.over["sigma"], np.float32(sigma))
    assert_same(together.state.members, runs.state)
    assert_same(together.fitness, runs.best().fitness)
    assert_same(together.solution, runs.best().solution)
    assert runs.fitness.argmin() > 0
    assert together.invalid == runs.invalid.sum() > 0
    assert together.state.best_generation == runs.best().state.best_generation
    assert together.evaluations == runs.evaluations.sum() == 3000


def test_numbers_of_islands_may_be_inside_a_rule():
    rules = Islands(SMALL.strategy, islands=2, over={"sigma": [SelfAdaptation(tau=tau) for tau in (0.1, 0.2)]})
    np.testing.assert_allclose(dataclasses.replace(rules, every=3).over["sigma"].tau, [0.1, 0.2])
    assert jax.eval_shape(rules.init, jax.random.key(0)).members.memory[0].shape[0] == 2


def test_a_population_may_be_one():
    islands = Islands(ES(box(), mu=1, lam=1, sigma=0.5, selection="plus"), islands=5)
    migrated, alone = (run(dataclasses.replace(islands, every=every), exact, 2, 1).state.members for every in (1, LIMIT))
    own = alone.parent_fitness
    assert_same(migrated.parent_fitness, jnp.minimum(own, jnp.roll(own, 1, axis=0)))


@pytest.mark.quick(False)  # bit for bit, as users compile it
def test_every_may_differ_between_the_runs_of_a_batch():
    every = np.int32([2, 3, 50])
    one = jax.jit(lambda every: run(dataclasses.replace(SMALL, every=every), exact, 1, 20).state)
    states = jax.jit(jax.vmap(one))(every)
    for i in range(3):
        assert_same(one(every[i]), jax.tree.map(lambda leaf, i=i: leaf[i], states))


def test_a_run_ends_when_all_islands_have_a_reason():
    strategy = DE(box(2), lam=5)
    islands = Islands(strategy, islands=2)
    state = islands.init(0)
    generation = jnp.ones(2, jnp.int32)
    scattered = dataclasses.replace(state.members, generation=generation, parent_fitness=jnp.arange(10.0).reshape(2, 5))
    gathered = dataclasses.replace(scattered, parents=jnp.ones_like(scattered.parents))
    one = jax.tree.map(lambda a, b: jnp.concatenate([a[:1], b[1:]]), gathered, scattered)
    for members, reason in ((scattered, 0), (one, 0), (gathered, StopReason.TOLX)):
        assert islands.stop_reason(dataclasses.replace(state, members=members)) == reason
    alone, state = jax.tree.map(lambda leaf: leaf[1], scattered), dataclasses.replace(state, members=one)
    np.testing.assert_allclose(islands.step_size(state), strategy.step_size(alone), rtol=1e-6)
    assert islands.fitness_range(state) == 4


@pytest.mark.quick(False)  # bit for bit, as users compile it
def test_restarts_and_averages_go_around_it():
    averages = run(Reevaluate(SMALL, times=2), exact, 1, 20)
    assert_same(averages.state, run(SMALL, exact, 1, 20).state)
    log = run(Restart(SMALL, policy="ipop", doublings=1, most=5), exact, 0, 18).state.log
    np.testing.assert_array_equal(log.lam[:3], [18, 36, 36])
    with_start = Islands(CMAES(box(2), start=np.ones(2), sigma=0.5), islands=2)
    np.testing.assert_array_equal(with_start.start, np.ones(2))
    np.testing.assert_array_equal(with_start.started(np.zeros(2)).strategy.start, np.zeros(2))
    np.testing.assert_array_equal(with_start.rescaled(jnp.float32(0.5)).strategy.sigma, 0.25)


def test_islands_may_have_islands():
    nested = Islands(Islands(DE(box(2), lam=6), islands=3), islands=2)
    state = jax.eval_shape(lambda: run(nested, exact, 0, 30).state)
    assert nested.population_size == 36
    assert state.members.members.parents.shape == (2, 3, 6, 2)


SPREAD = """
import re, jax, jax.numpy as jnp, numpy as np
from jaxes import ES, Box, Islands, run
from jaxes.islands import spread

def exact(x):
    return jnp.sum(jnp.round(64 * (jnp.clip(x, -9, 9) - 0.5)) ** 2)

def data(leaf):
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf

devices = jax.devices()
assert len(devices) == 8
islands = Islands(ES(Box(-2.0, 2.0, shape=5), mu=2, lam=20, sigma=0.3), islands=16, every=3, topology="torus")
state = islands.init(0)
program = jax.jit(lambda state: run(islands, exact, None, 20, state=state))
compiled = program.lower(spread(state, devices)).compile()
text = compiled.as_text()
assert len(re.findall(r" collective-permute(?:-start)?\\(", text)) == 4  # candidates and fitness, to the right and down
for shape in re.findall(r"= \\(?\\w+\\[([\\d,]*)\\]\\S* all-gather(?:-start)?\\(", text):  # no candidates, only fitness
    assert np.prod([int(n) for n in shape.split(",")]) <= 16 * 20, shape
there, here = compiled(spread(state, devices)), program(state)
for leaf in jax.tree.leaves(there.state.members):
    assert leaf.sharding.shard_shape(leaf.shape)[0] == 2, leaf.sharding
jax.tree.map(lambda a, b: np.testing.assert_array_equal(data(a), data(b)), there, here)
"""


def test_islands_on_eight_devices_are_those_on_one():
    """Each stays where it is, migrants travel by collective permutes, and the numbers are the same bit for bit."""
    environment = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count=8 {QUICK_FLAGS}",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(pathlib.Path(sys.modules["jaxes"].__file__).parents[1]),
    }
    done = subprocess.run([sys.executable, "-c", SPREAD], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_which_leaves_are_the_islands():
    marks = of_islands(jax.eval_shape(Restart(SMALL, policy="plain").init, jax.random.key(0)))
    assert all(jax.tree.leaves(marks.members[0].members))
    assert sum(jax.tree.leaves(marks)) == len(jax.tree.leaves(marks.members[0].members))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: Islands(s.space), r"Islands\(strategy=...\) must be a strategy such as"),
        (lambda s: Islands(Portfolio(s.space)), r"Islands\(strategy=...\) must be a strategy of one stage, got Portfolio"),
        (lambda s: Islands(Reevaluate(s)), r"Islands\(strategy=...\) .* got Reevaluate. It goes around it"),
        (lambda s: Islands(PersistentES(s.space)), r"Islands\(strategy=...\) .* got PersistentES: its particles"),
        (lambda s: Islands(CMAES(s.space, lam_max=9)), r"Islands\(strategy=...\) must be a strategy without lam_max"),
        (lambda s: Islands(s, islands=1), r"Islands\(islands=...\) must be at least 2, got 1"),
        (lambda s: Islands(s, islands=7, topology="torus"), r"Islands\(islands=...\) must not be a prime number .* got 7"),
        (lambda s: Islands(s, every=2.5), r"Islands\(every=...\) must be an integer from 1 to"),
        (lambda s: Islands(s, migrants=0), r"Islands\(migrants=...\) must be at least 1, got 0"),
        (lambda s: Islands(s, migrants=4, topology="torus"), r"Islands\(migrants=...\) must be at most 3, .* got 4"),
        (lambda s: Islands(s, topology="line"), r"Islands\(topology=...\) must be one of 'ring', .* got 'line'"),
        (lambda s: Islands(s, policy="worst"), r"Islands\(policy=...\) must be one of 'best', 'random', got 'worst'"),
        (lambda s: Islands(s, over=[0.1]), r"Islands\(over=...\) must be a dict of name -> values"),
        (
            lambda s: Islands(s, over={"lam": [4, 6]}),
            r"Islands\(over=...\) cannot vary 'lam' of CMAES; it may vary sigma, start",
        ),
        (lambda s: Islands(s, over={"sigma": [1.0, 2.0]}), r"Islands\(over={'sigma': ...}\) must be a list of 8 values"),
        (
            lambda s: Islands(s, islands=2, over={"sigma": [1.0, [1.0, 1.0, 1.0]]}),
            r"Islands\(over=...\) must give strategies that differ in numbers alone",
        ),
        (
            lambda s: spread(Islands(s, islands=3).init(0), 2 * jax.devices()),
            r"spread\(devices=...\) must be as many as divide 3 islands, got 2",
        ),
        (
            lambda s: Restart(Islands(s, islands=2, over={"sigma": [1.0, 2.0]})),
            r"Restart\(policy='bipop'\) cannot change Islands: Islands\(over=...\) has an initial step size",
        ),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call(CMAES(box(), lam=6))
