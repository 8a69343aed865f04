"""Tables and plots."""

import csv
import io
import json

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from variants import box, exact, shifted_sphere

from jaxes import ES, Stop, minimize, problems, sweep
from jaxes.analysis import Table, plot_convergence, plot_landscape, plot_sweep, summary

pytestmark = pytest.mark.quick

STRATEGY = ES(box(), mu=5, lam=20, sigma=0.3)


@pytest.fixture(scope="module")
def runs():
    return minimize(shifted_sphere, strategy=STRATEGY, generations=40, runs=16, stop=Stop(target=0.05), progress=False)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def test_summary(runs):
    row = summary(runs).to_dicts()[0]
    fitness = np.sort(runs.fitness)
    assert row["runs"] == 16
    assert row["best"] == pytest.approx(fitness[0])
    assert row["worst"] == pytest.approx(fitness[-1])
    assert row["quartile 1"] <= row["median"] <= row["quartile 3"]
    assert row["success"] == (fitness <= 0.05).mean()
    single = minimize(exact, strategy=STRATEGY, generations=5, progress=False)
    assert summary(single).to_dicts()[0]["median"] == single.fitness


def test_expected_runtime_counts_the_failures():
    """ERT (Hansen et al. 2021): all evaluations over the successes."""
    result = minimize(shifted_sphere, strategy=STRATEGY, generations=12, runs=32, stop=Stop(target=0.05), progress=False)
    hit = np.asarray(result.fitness) <= 0.05
    assert 0 < hit.sum() < 32
    assert summary(result)["expected runtime"][0] == pytest.approx(result.evaluations.sum() / hit.sum())


def test_tables_of_maximised_and_infinite_fitness():
    result = minimize(lambda x: -exact(x), strategy=STRATEGY, generations=5, runs=4, maximise=True, progress=False)
    row = result.table().to_dicts()[0]
    assert row["best"] == result.fitness.max()
    assert row["worst"] == result.fitness.min()
    never = minimize(lambda x: x[0] * jnp.inf, strategy=STRATEGY, generations=2, runs=3, progress=False)
    assert "inf" in str(never.table())
    assert json.loads(never.table().to_json())[0]["median"] is None


def test_tables_are_text_csv_and_json():
    table = Table(("name", "x"), (("a,b", 1.23456789), ("c", None), ("d", jnp.float32(2))))
    assert str(table).splitlines() == ["name      x", "----  -----", " a,b  1.235", "   c      -", "   d      2"]
    assert list(csv.reader(io.StringIO(table.to_csv())))[1] == ["a,b", "1.23456789"]
    assert json.loads(table.to_json())[2] == {"name": "d", "x": 2.0}
    assert table["name"] == ["a,b", "c", "d"]
    with pytest.raises(KeyError, match="it has name, x"):
        table["y"]


def test_convergence_plot_shows_the_quartiles(runs, tmp_path):
    figure = runs.plot(tmp_path / "convergence.png", title="mine")
    assert (tmp_path / "convergence.png").stat().st_size > 10_000
    axes = figure.axes[0]
    line = axes.lines[0]
    best = np.sort(np.asarray(runs.history.best), axis=0)
    assert line.get_ydata()[-1] in best[7:9, -1]
    assert line.get_xdata()[-1] == 20 * runs.generations.max()
    assert axes.get_yscale() == "log"
    assert axes.get_title() == "mine"
    compared = plot_convergence({"a": runs, "b": runs})
    assert [t.get_text() for t in compared.axes[0].get_legend().get_texts()] == ["a", "b"]


def test_convergence_plot_needs_history():
    result = minimize(exact, strategy=STRATEGY, generations=5, history=False, progress=False)
    with pytest.raises(ValueError, match="history=True"):
        result.plot()


def test_negative_fitness_is_plotted_linearly():
    result = minimize(lambda x: exact(x) - 1e6, strategy=STRATEGY, generations=5, progress=False)
    assert result.plot().axes[0].get_yscale() == "linear"
    assert plot_convergence(result, offset=-1e6).axes[0].get_yscale() == "log"


def test_sweep_plots(tmp_path):
    stop = Stop(target=0.05)
    options = {"repeats": 5, "stop": stop}
    one = sweep(STRATEGY, shifted_sphere, 0, 30, over={"sigma": [0.1, 0.3, 1.0]}, **options)
    for value in ("fitness", "success", "evaluations"):
        line = one.plot(tmp_path / "one.png", value=value).axes[0].lines[0]
        expected = {
            "fitness": np.median(one.runs.fitness, -1),
            "success": (one.runs.fitness <= 0.05).mean(-1),
            "evaluations": [np.nanmedian(np.where(f <= 0.05, e, np.nan)) if (f <= 0.05).any() else np.nan
                            for f, e in zip(one.runs.fitness, one.runs.evaluations, strict=True)],
        }[value]  # fmt: skip
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-6)
    over = {"recombination": ["none", "intermediate"], "mu": [2, 5, 10], "sigma": [0.1, 0.3]}
    three = sweep(STRATEGY, shifted_sphere, 0, 10, over=over, **options)
    figure = plot_sweep(three, tmp_path / "three.png")
    maps = [axes for axes in figure.axes if axes.images]
    assert len(maps) == 2
    np.testing.assert_allclose(maps[1].images[0].get_array(), np.median(three.runs.fitness[1], -1), rtol=1e-6)
    assert maps[0].get_xlabel() == "sigma"
    assert maps[0].get_title() == "recombination=none"
    with pytest.raises(ValueError, match="'fitness', 'success', 'evaluations'"):
        one.plot(value="speed")
    with pytest.raises(ValueError, match="needs a target"):
        sweep(STRATEGY, exact, 0, 2, over={"sigma": [0.1]}).plot(value="success")


def test_landscape(tmp_path):
    plot_landscape(problems.ackley(2, half_width=5), tmp_path / "surface.png", points=31)
    assert (tmp_path / "surface.png").stat().st_size > 10_000
    with pytest.raises(ValueError, match="two dimensions, got 3"):
        plot_landscape(problems.ackley(3))


def test_a_result_of_a_vmap_is_a_table_too():
    runs = jax.vmap(lambda key: __import__("jaxes").run(STRATEGY, exact, key, 5))(jax.random.split(jax.random.key(0), 6))
    assert runs.table()["runs"] == [6]
