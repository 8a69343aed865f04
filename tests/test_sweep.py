"""sweep(): grids, groups, chunks, keys, tables."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from variants import assert_same, box, exact, shifted_sphere

import jaxes
from jaxes import CMAES, ES, Box, OneFifth, Schedule, SelfAdaptation, Stop, StopReason, run, sweep

pytestmark = pytest.mark.quick

STRATEGY = ES(box(), mu=5, lam=20, sigma=0.3)


def test_every_cell_is_its_runs():
    result = sweep(STRATEGY, exact, 3, 25, over={"mu": [2, 5], "sigma": [0.1, 0.3, 1.0]}, repeats=4)
    assert result.runs.fitness.shape == (2, 3, 4)
    assert result.runs.solution.shape == (2, 3, 4, 3)
    assert result.shape == (2, 3)
    for i, mu in enumerate([2, 5]):
        for j, sigma in enumerate([0.1, 0.3, 1.0]):
            strategy = ES(box(), mu=mu, lam=20, sigma=sigma)
            assert result.cells[i, j].mu == mu
            for k in range(4):
                alone = run(strategy, exact, jax.random.fold_in(jax.random.key(3), k), 25)
                assert result.runs.fitness[i, j, k] == alone.fitness
                np.testing.assert_array_equal(result.runs.solution[i, j, k], alone.solution)
    assert result.runs.state is None  # states of mu = 2 and mu = 5 have different shapes
    assert sweep(STRATEGY, exact, 3, 5, over={"sigma": [0.1, 0.3]}).runs.state.parents.shape == (2, 1, 5, 3)


@pytest.mark.parametrize("chunk", [1, 3, 7, 24, 100])
def test_chunks_change_nothing(chunk):
    over = {"sigma": [0.1, 0.3, 1.0]}
    whole = sweep(STRATEGY, exact, 0, 20, over=over, repeats=8, history=5)
    parts = sweep(STRATEGY, exact, 0, 20, over=over, repeats=8, history=5, chunk=chunk)
    assert_same(whole.runs.solution, parts.runs.solution)
    assert_same(whole.runs.history.best, parts.runs.history.best)


def test_runs_that_are_not_begun_look_like_others(monkeypatch):
    call = {"over": {"mu": [2, 4], "sigma": [0.1, 0.3]}, "repeats": 3, "chunk": 4, "history": 5, "maximise": True}
    call |= {"targets": [-9.0, -1.0], "stop": Stop(target=-1.0)}
    whole = sweep(STRATEGY, exact, 0, 20, **call)
    monkeypatch.setattr(jaxes.batch.Batch, "begin", pytest.fail)
    # As chunks after the first one see it.
    monkeypatch.setattr(jaxes.interrupts.Interrupts, "__call__", lambda self: StopReason.TIME)
    never = sweep(STRATEGY, exact, 0, 20, **call).runs
    assert np.all(never.fitness == -np.inf)
    assert np.all(never.stop_reason == StopReason.TIME)
    assert not np.any(never.generations)
    assert not np.any(never.hits)
    assert np.all(np.isnan(never.solution))
    for name in ("population_size", "target", "targets"):
        assert_same(getattr(never, name), getattr(whole.runs, name))
    assert jax.tree.structure(never) == jax.tree.structure(whole.runs)
    for mine, other in zip(jax.tree.leaves(never), jax.tree.leaves(whole.runs), strict=True):
        assert (mine.shape, mine.dtype) == (other.shape, other.dtype)
    restart = jaxes.Restart(STRATEGY, policy="plain")
    restarts = sweep(restart, exact, 0, 20, over={"strategy.mutation_rate": [0.5, 1.0]}).runs
    assert np.all(restarts.state.generation == 0)  # with keys in it
    members = jaxes.Restart(CMAES(box(), lam=6, sigma=1.0), policy="ipop")
    assert np.all(sweep(members, exact, 0, 20, over={"strategy.sigma": [0.5, 1.0]}).runs.population_size == 6)


@pytest.mark.parametrize(
    ("strategy", "name", "values"),
    [
        (jaxes.Restart(CMAES(box(), lam=6, sigma=1.0), policy="ipop", doublings=1), "strategy.sigma", [0.1, 0.5, 1.0, 2.0]),
        (jaxes.Portfolio(box(), start=[0.5, 0.0, 0.0], sigma=1.0, doublings=0), "start", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.5]]),
    ],
    ids=["Restart", "Portfolio"],
)
def test_numbers_of_what_members_are_made_of(strategy, name, values):
    """Members check what they are made of: four numbers for four runs are not one for each of three coordinates."""

    def rough(x):
        return shifted_sphere(x) + jnp.prod(x)

    result = sweep(strategy, rough, 0, 300, over={name: values}, stop={"evaluations": 120}, history=True)
    for i, cell in enumerate(result.cells):
        alone = jaxes.minimize(
            rough, strategy=cell, generations=300, key=jax.random.fold_in(jax.random.key(0), 0), stop={"evaluations": 120}
        )
        assert result.runs.evaluations[i, 0] == alone.evaluations
        np.testing.assert_allclose(result.runs.fitness[i, 0], alone.fitness, rtol=1e-3)
        assert result.runs.history.evaluations[i, 0].max() == alone.evaluations


def test_one_compile_per_static_setting():
    traces = 0

    def objective(x):
        nonlocal traces
        traces += 1
        return exact(x)

    def count(over, **options):
        nonlocal traces
        traces = 0
        sweep(STRATEGY, objective, 0, 7, over=over, repeats=3, **options)
        return traces

    base = count({"sigma": [0.1, 0.2]})
    assert count({"sigma": [0.3, 0.4]}) <= 1  # checked again, compiled not at all
    assert count({"sigma": list(np.linspace(0.1, 1, 50))}, chunk=6) <= base + 1  # one program for all chunks
    several = count({"mu": [1, 2, 4], "sigma": list(np.linspace(0.1, 1, 4))})
    assert several <= 3 * base + 3


def test_zipped_hyperparameters():
    result = sweep(STRATEGY, exact, 0, 5, over={("mu", "lam"): [(2, 10), (4, 16), (5, 20)], "sigma": [0.1, 0.2]}, repeats=2)
    assert result.runs.fitness.shape == (3, 2, 2)
    np.testing.assert_array_equal(result.runs.evaluations[:, 0, 0], [50, 80, 100])
    assert result.settings((1, 0)) == {"mu": 4, "lam": 16, "sigma": 0.1}


def test_what_can_be_swept():
    rules = [OneFifth(), SelfAdaptation(), Schedule(optax.cosine_decay_schedule, init_value=1.0, decay_steps=9), 0.2]
    assert sweep(STRATEGY, exact, 0, 5, over={"sigma": rules}).runs.fitness.shape == (4, 1)
    adaptive = ES(box(), mu=2, lam=10, sigma=SelfAdaptation())
    result = sweep(adaptive, exact, 0, 5, over={"sigma.tau": [0.1, 0.5], "selection": ["comma", "plus"]})
    assert result.cells[1, 0].sigma.tau == np.float32(0.5)
    assert result.cells[0, 1].selection == "plus"
    scheduled = ES(box(), mu=2, lam=10, sigma=rules[2])
    result = sweep(scheduled, exact, 0, 5, over={"sigma.init_value": [0.5, 1.0], "sigma.decay_steps": [5, 10]})
    assert result.cells[0, 1].sigma.settings["decay_steps"] == 10
    spaces = [Box(-2.0, upper, shape=3) for upper in (1.0, 2.0)]
    assert sweep(STRATEGY, exact, 0, 5, over={"space": spaces}).runs.fitness.shape == (2, 1)
    bounds = [jaxes.Resample(), jaxes.Clip()]
    assert sweep(STRATEGY, exact, 0, 5, over={"bounds": bounds}).runs.fitness.shape == (2, 1)
    stops = sweep(STRATEGY, shifted_sphere, 0, 99, over={"stop.target": [1.0, 0.01]}, stop=Stop(target=1.0))
    assert stops.runs.generations[0, 0] < stops.runs.generations[1, 0]
    per_coordinate = np.array([[0.1, 0.2, 0.3], [1.0, 1.0, 1.0]])
    assert sweep(STRATEGY, exact, 0, 5, over={"sigma": per_coordinate}).cells[0].sigma.shape == (3,)


HANDLERS = [jaxes.Clip(), jaxes.Resample(), jaxes.Reflect(), jaxes.Wrap()]


def test_programs_of_other_classes_are_other_programs():
    """JAX compares the structure of dataclasses without their classes: the first handler's program must not serve all."""
    wild = ES(box(), mu=5, lam=20, sigma=2.0)
    swept = sweep(wild, exact, 0, 3, over={"bounds": HANDLERS}).runs
    alone = [
        run(ES(box(), mu=5, lam=20, sigma=2.0, bounds=h), exact, jax.random.fold_in(jax.random.key(0), 0), 3) for h in HANDLERS
    ]
    for i, handler in enumerate(HANDLERS):
        np.testing.assert_array_equal(swept.state.parents[i, 0], alone[i].state.parents)
        strategy = ES(box(), mu=5, lam=20, sigma=2.0, bounds=handler)
        mine = jaxes.minimize(exact, strategy=strategy, key=0, generations=3, runs=1, history=False, progress=False)
        np.testing.assert_array_equal(mine.state.parents[0], alone[i].state.parents)
    assert len({tuple(np.asarray(r.state.parents).ravel()) for r in alone}) == 4


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Near:
    c: object

    def __call__(self, x):
        return jnp.sum(jnp.square(x - self.c))


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Far:
    c: object

    def __call__(self, x):
        return 100 + jnp.sum(jnp.square(x - self.c))


@pytest.mark.parametrize("entry", ["run", "minimize"])
def test_users_classes_are_told_apart(entry):
    def best(objective):
        if entry == "run":
            return run(STRATEGY, objective, 0, 30).fitness
        return jaxes.minimize(objective, strategy=STRATEGY, generations=30, progress=False).fitness

    assert best(Near(0.5)) < 1 < 100 <= best(Far(0.5))
    a = run(ES(Near(box()), mu=5, lam=20, sigma=0.3), lambda s: exact(s.c), 0, 3)
    b = run(ES(Far(box()), mu=5, lam=20, sigma=0.3), lambda s: exact(s.c), 0, 3)
    assert (type(a.solution), type(b.solution)) == (Near, Far)


def test_a_list_of_args_is_instances_and_a_dict_may_be_a_value():
    result = sweep(STRATEGY, lambda x, a: jnp.sum(jnp.square(x - a)), 0, 80, over={"args": [np.full(3, 0.5), np.full(3, -1.0)]})
    np.testing.assert_allclose(result.runs.solution[:, 0].mean(-1), [0.5, -1.0], atol=0.2)
    space = {"a": Box(-1.0, 1.0), "b": Box(-1.0, 1.0)}
    tree = ES(space, mu=5, lam=20, sigma=0.1)
    sigmas = [{"a": 0.1, "b": 0.2}, {"a": 0.3, "b": 0.3}]
    result = sweep(tree, lambda s: s["a"] ** 2 + s["b"] ** 2, 0, 5, over={"sigma": sigmas})
    assert [float(cell.sigma["b"]) for cell in result.cells] == pytest.approx([0.2, 0.3])
    keys = sweep(
        STRATEGY,
        lambda x, k: exact(x) + jax.random.uniform(k),
        0,
        5,
        over={"args": list(jax.random.split(jax.random.key(0), 3))},
    )
    assert len(np.unique(keys.runs.fitness % 1)) == 3


def test_problem_instances_are_swept_like_hyperparameters():
    centres = np.random.RandomState(0).uniform(-1, 1, (6, 3)).astype(np.float32)

    def objective(x, centre):
        return jnp.sum(jnp.square(x - centre))

    result = sweep(STRATEGY, objective, 0, 100, over={"args": centres}, repeats=2)
    assert result.runs.fitness.shape == (6, 2)
    np.testing.assert_allclose(result.runs.solution[:, 0], centres, atol=0.25)


def test_repeats_share_their_keys_between_cells():
    result = sweep(STRATEGY, exact, 0, 1, over={"sigma": [0.1, 1.0]}, repeats=3)
    np.testing.assert_array_equal(result.runs.fitness[0], result.runs.fitness[1])  # sigma is not used in generation 0
    assert len(np.unique(result.runs.solution[0], axis=0)) == 3


def test_the_table():
    stop = Stop(target=0.1)
    result = sweep(STRATEGY, shifted_sphere, 0, 60, over={"sigma": [0.01, 0.3]}, repeats=20, stop=stop)
    table = result.table()
    assert table["sigma"] == [0.01, 0.3]
    for row, runs in zip(table.to_dicts(), (result.runs[0], result.runs[1]), strict=True):
        hit = runs.stop_reason == StopReason.TARGET
        assert row["success"] == hit.mean()
        assert row["median"] == pytest.approx(np.quantile(runs.fitness, 0.5, method="nearest"))
        if hit.any():
            assert row["evals to target"] == np.median(runs.evaluations[hit])
            assert row["expected runtime"] == pytest.approx(runs.evaluations.sum() / hit.sum())
    assert table["success"][1] == 1.0
    assert "expected runtime" in str(table)
    best, runs = result.best()
    assert best == {"sigma": 0.3}
    assert runs.fitness.shape == (20,)
    assert repr(result) == "SweepResult(sigma: 2, repeats: 20)"


def test_another_target_is_read_from_the_history():
    result = sweep(STRATEGY, shifted_sphere, 0, 60, over={"sigma": [0.3]}, repeats=10, history=True)
    hit = jaxes.analysis.evaluations_to_target(result.runs, 0.1)[0]
    for i in range(10):
        reached = np.asarray(result.runs.history.best[0, i]) <= 0.1
        assert hit[i] == (20 * (reached.argmax() + 1) if reached.any() else np.nan) or not reached.any()
    assert jaxes.analysis.evaluations_to_target(result.runs) is None


def test_65536_runs_and_many_cells_are_quick_to_set_up():
    over = {"sigma": list(np.linspace(0.1, 1.0, 256))}
    result = sweep(ES(box(2), mu=1, lam=2, sigma=0.1), exact, 0, 3, over=over, repeats=256, chunk=2**14)
    assert result.runs.fitness.size == 65536


def test_some_runs_may_be_without_a_target():
    found = sweep(ES(box(), mu=1, lam=2), exact, 0, 5, over={"stop.target": [None, 1e9]}, repeats=2).runs
    np.testing.assert_array_equal(found.target, [[np.nan, np.nan], [1e9, 1e9]])
    np.testing.assert_array_equal(found.stop_reason == StopReason.TARGET, [[False, False], [True, True]])


def test_some_cells_may_count_their_evaluations_themselves():
    found = sweep(CMAES(box(), lam=6), exact, 0, 5, over={"lam_max": [None, 9]}, repeats=2).runs
    np.testing.assert_array_equal(found.evaluations, np.full((2, 2), 30))
