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
from variants import assert_same, box, exact, shifted_sphere

from jaxes import (
    CMAES,
    DE,
    ES,
    ElitistCMAES,
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
from jaxes.islands import NEIGHBOURS, of_islands
from jaxes.strategy import LIMIT

LAM, SIZE = 7, 6
"""Of an island, and how many there are: a torus of 2 x 3."""


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
    for seed, migrants in enumerate((1, 1, 1, 3, 3, 3)):
        islands = make(topology=topology, migrants=migrants)
        fitness = rng.integers(0, 40, (SIZE, LAM)).astype(np.float32)
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
            expected = worth[i].copy()
            for value in arriving[: migrants * NEIGHBOURS[topology]]:
                if value < expected.max():
                    expected[expected.argmax()] = value
            # Where the worst are tied, any may go, so they are compared in order; whoever stays, stays where it was.
            np.testing.assert_array_equal(np.sort(told[i]), np.sort(expected))
            own = index[i] // LAM == i
            np.testing.assert_array_equal(index[i][own] % LAM, np.flatnonzero(own))


@pytest.mark.parametrize("topology", NEIGHBOURS)
def test_random_ones_take_the_places_of_random_ones(topology):
    """Whatever their fitness. All are as likely to go: of 2,000 migrations, a candidate takes part in k/lam each, within five
    standard deviations."""
    migrants = 2
    fitness = jnp.arange(SIZE * LAM, dtype=jnp.float32)
    keys = jax.random.split(jax.random.key(0), 2000)
    index, told = jax.vmap(lambda key: told_of(make(topology=topology, policy="random", migrants=migrants), key, fitness))(keys)
    index = np.asarray(index)
    np.testing.assert_array_equal(told, index)
    count, island = migrants * NEIGHBOURS[topology], np.arange(SIZE)[:, None]
    own = index // LAM == island
    np.testing.assert_array_equal((~own).sum(axis=2), count)
    np.testing.assert_array_equal(index[own] % LAM, np.broadcast_to(np.arange(LAM), own.shape)[own])
    for one, mine in zip(index[:100], own[:100], strict=True):
        for i in range(SIZE):
            sources, arrived = senders(topology, i, one[i]), one[i][~mine[i]]
            assert set(arrived // LAM) <= set(sources)
            assert len(set(arrived)) == count
            if topology != "star" or i > 0:
                np.testing.assert_array_equal(np.bincount(arrived // LAM, minlength=SIZE)[sources], migrants)
            for candidate in arrived:  # who has arrived has left
                assert not mine[candidate // LAM, candidate % LAM]
    share = count / LAM
    assert np.abs((~own).mean(axis=0) - share).max() < 5 * np.sqrt(share * (1 - share) / 2000)


def test_a_random_order_is_any_ring():
    """Each of the 5! = 120 rings of six about as often: chi-squared with 119 degrees of freedom, false alarm 1e-6."""
    fitness = jnp.arange(SIZE * LAM, dtype=jnp.float32).reshape(LAM, SIZE).T.reshape(-1)
    fitness = fitness.at[::LAM].set(-1.0)
    keys = jax.random.split(jax.random.key(1), 12_000)
    index = np.asarray(jax.vmap(lambda key: told_of(make(topology="random"), key, fitness)[0])(keys))
    own = index // LAM == np.arange(SIZE)[:, None]
    sender = np.where(own, -1, index // LAM).max(axis=2)
    around, at = [], np.zeros(len(keys), int)
    for _ in range(SIZE):
        at = sender[np.arange(len(keys)), at]
        around.append(at)
    assert (np.sort(around, axis=0) == np.arange(SIZE)[:, None]).all()
    _, counts = np.unique(around, axis=1, return_counts=True)
    assert len(counts) == 120
    assert np.sum((counts - 100.0) ** 2 / 100) < 206


def test_migration_every_so_often_and_never_else():
    """Beside the strategy itself, told of the same generations."""
    strategy = ES(box(), mu=2, lam=6, sigma=0.3)
    islands = Islands(strategy, islands=3, every=4)
    state, told = islands.init(3), []
    for _ in range(9):
        population, state = islands.ask(state)
        fitness = jax.vmap(exact)(population)
        after = islands.tell(state, population, fitness)
        alone = jax.vmap(strategy.tell)(state.members, population.reshape(3, 6, -1), fitness.reshape(3, 6))
        told.append(bool(jnp.all(alone.parents == after.members.parents)))
        state = after
    assert told == [True, True, True, False, True, True, True, False, True]


def test_without_migration_they_are_runs_of_their_own():
    """Bit for bit, with what they share."""
    strategy = ES(box(), mu=5, lam=20, sigma=0.3, selection="plus")

    def objective(x):
        return jnp.where(x[0] > 1.5, jnp.nan, exact(x))

    islands = run(Islands(strategy, islands=5, every=LIMIT), objective, 7, 30)
    runs = jax.jit(jax.vmap(lambda key: run(strategy, objective, key, 30)))(keys_of_runs(jax.random.key(7), 5))
    assert_same(islands.state.members, runs.state)
    assert_same(islands.fitness, runs.best().fitness)
    assert_same(islands.solution, runs.best().solution)
    assert islands.invalid == runs.invalid.sum() > 0
    assert islands.state.best_generation == runs.best().state.best_generation
    assert islands.evaluations == runs.evaluations.sum() == 3000


def test_islands_may_have_different_numbers():
    """Those of a setting for each of them are the runs of it."""
    sigma = [0.1, 0.3, 1.0]
    strategy = ES(box(), mu=5, lam=20, sigma=0.3)
    islands = Islands(strategy, islands=3, every=LIMIT, over={"sigma": sigma})
    state = run(islands, exact, 7, 20).state
    for i in range(3):
        alone = run(dataclasses.replace(strategy, sigma=sigma[i]), exact, jax.random.fold_in(jax.random.key(7), i), 20)
        assert_same(jax.tree.map(lambda leaf, i=i: leaf[i], state.members), alone.state)
    rules = Islands(strategy, islands=2, over={"sigma": [SelfAdaptation(tau=tau) for tau in (0.1, 0.2)]})
    np.testing.assert_allclose(dataclasses.replace(rules, every=3).over["sigma"].tau, [0.1, 0.2])


def test_a_population_may_be_one():
    islands = Islands(ElitistCMAES(box(), sigma=0.5), islands=5, every=1)
    migrated, alone = (run(dataclasses.replace(islands, every=every), exact, 2, 1).state for every in (1, LIMIT))
    own = alone.members.parent_fitness[:, 0]
    assert_same(migrated.members.parent_fitness[:, 0], jnp.minimum(own, jnp.roll(own, 1)))


def test_a_run_ends_when_all_islands_have_a_reason():
    islands = Islands(DE(box(2), lam=5), islands=3)
    result = run(islands, shifted_sphere, 0, 1000)
    early = run(islands, shifted_sphere, 0, 5).state
    reasons = jax.vmap(islands.strategy.stop_reason)(result.state.members)
    assert result.stop_reason == reasons.min() > StopReason.RUNNING
    members = jax.tree.map(lambda a, b: jnp.concatenate([a[:1], b[1:2], a[2:]]), result.state.members, early.members)
    mixed = dataclasses.replace(result.state, members=members)
    assert islands.stop_reason(mixed) == StopReason.RUNNING
    one = jax.tree.map(lambda leaf: leaf[1], early.members)
    np.testing.assert_allclose(islands.step_size(mixed), islands.strategy.step_size(one), rtol=1e-6)
    assert islands.fitness_range(mixed) == islands.strategy.fitness_range(one)


def test_restarts_and_averages_go_around_it():
    es = ES(box(2), mu=1, lam=4, sigma=0.5)
    restart = Restart(Islands(es, islands=2, every=2), policy="ipop", doublings=1, when={"stagnation": 3})
    log = run(restart, exact, 0, 60).state.log
    assert set(np.asarray(log.lam)) == {0, 8, 16}
    averages = run(Reevaluate(Islands(es, islands=2), times=2), exact, 0, 20)
    assert_same(averages.state, run(Islands(es, islands=2), exact, 0, 20).state)
    with_start = Islands(CMAES(box(2), start=np.ones(2), sigma=0.5), islands=2)
    member = Restart(with_start, policy="bipop").member(0, Restart(with_start).init(0).plan)
    np.testing.assert_array_equal(member.strategy.start, np.ones(2))
    np.testing.assert_array_equal(with_start.rescaled(jnp.float32(0.5)).strategy.sigma, 0.25)


def test_islands_may_have_islands():
    nested = Islands(Islands(DE(box(2), lam=6), islands=3), islands=2)
    state = jax.eval_shape(lambda: run(nested, exact, 0, 30).state)
    assert nested.population_size == 36
    assert state.members.members.parents.shape == (2, 3, 6, 2)


def test_every_may_differ_between_the_runs_of_a_batch():
    islands = Islands(ES(box(), mu=2, lam=6, sigma=0.3), islands=3)
    changed = jax.jit(lambda every: run(dataclasses.replace(islands, every=every), exact, 1, 20).state)
    every = np.int32([2, 3, 50])
    states = jax.vmap(changed)(every)
    for i in range(3):
        assert_same(changed(every[i]), jax.tree.map(lambda leaf, i=i: leaf[i], states))


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
mesh = jax.sharding.Mesh(devices, ("device",))
for topology, permutes in (("ring", 2), ("torus", 4), ("star", 0)):
    islands = Islands(ES(Box(-2.0, 2.0, shape=5), mu=2, lam=20, sigma=0.3), islands=16, every=3, topology=topology)
    state = islands.init(0)
    program = jax.jit(lambda state: run(islands, exact, None, 20, state=state))
    text = program.lower(spread(state, mesh)).compile().as_text()
    assert len(re.findall(r" collective-permute(?:-start)?\\(", text)) >= permutes, topology
    for shape in re.findall(r"= \\(?\\w+\\[([\\d,]*)\\]\\S* all-gather(?:-start)?\\(", text):  # no candidates, only fitness
        assert np.prod([int(n) for n in shape.split(",")]) <= 16 * 20, (topology, shape)
    there, here = program(spread(state, mesh)), program(state)
    for leaf in jax.tree.leaves(there.state.members):
        assert leaf.sharding.shard_shape(leaf.shape)[0] == 2, leaf.sharding
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(data(a), data(b)), there, here)
"""


def test_islands_on_eight_devices_are_those_on_one():
    """Each stays where it is, migrants travel by collective permutes, and the numbers are the same bit for bit."""
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(pathlib.Path(sys.modules["jaxes"].__file__).parents[1]),
    }
    done = subprocess.run([sys.executable, "-c", SPREAD], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_which_leaves_are_the_islands():
    marks = of_islands(Restart(Islands(DE(box(), lam=4), islands=2), policy="plain").init(0))
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
            lambda s: Restart(Islands(s, islands=2, over={"sigma": [1.0, 2.0]})),
            r"Restart\(policy='bipop'\) cannot change Islands: Islands\(over=...\) has an initial step size",
        ),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call(CMAES(box(), lam=6))
