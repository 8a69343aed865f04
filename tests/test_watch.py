"""What is told of runs while they are under way."""

import math
import os

import jax
import numpy as np
import pytest
from variants import VARIANTS, box, exact, make

import jaxes
import jaxes.watch
from jaxes.watch import COLUMNS, picture, read_log, watch

STRATEGY = jaxes.ES(box(), mu=5, lam=20, sigma=0.3)

pytestmark = pytest.mark.quick


@pytest.fixture
def often(monkeypatch):
    """A record at every look."""
    monkeypatch.setattr(jaxes.watch, "EVERY", 0.0)


@pytest.mark.parametrize("name", ["log.csv", "log.parquet"])
@pytest.mark.parametrize("maximise", [False, True])
def test_a_log_has_what_a_callback_is_told(tmp_path, often, name, maximise):
    told = []
    objective = (lambda x: -exact(x)) if maximise else exact
    call = {"strategy": STRATEGY, "generations": 200, "runs": 7, "maximise": maximise, "progress": False}
    result = jaxes.minimize(objective, **call, log=tmp_path / name, callback=lambda report: told.append(report))
    records = read_log(tmp_path / name)
    assert [record["generation"] for record in records] == [report.generation for report in told]
    assert [record["evaluations"] for record in records] == [report.evaluations for report in told]
    for record, report in zip(records, told, strict=True):
        assert record["best"] == (report.fitness.max() if maximise else report.fitness.min())
        assert record["median"] == np.median(report.fitness)
        better, worse = (record["quartile_1"], record["quartile_3"])[:: -1 if maximise else 1]
        assert (report.fitness <= better).sum() >= 2 > (report.fitness < better).sum() - 1
        assert better <= record["median"] <= worse
    last = records[-1]
    assert last["finished"] == 1
    assert last["generation"] == 200
    assert last["evaluations"] == np.sum(result.evaluations)
    assert last["step_size"] == pytest.approx(0.3)
    assert last["seconds_left"] == 0 or np.isnan(last["seconds_left"])
    seconds = [record["seconds"] for record in records]
    assert seconds == sorted(seconds)


def test_a_log_of_a_sweep_counts_all_its_runs(tmp_path, often):
    records = []
    grid = {"over": {"sigma": [0.1, 0.3]}, "repeats": 5, "chunk": 4, "log": records.append}
    result = jaxes.sweep(STRATEGY, exact, 0, 60, **grid)
    assert records[-1]["finished"] == 1
    assert records[-1]["evaluations"] == np.sum(result.runs.evaluations)
    finished = [record["finished"] for record in records]
    assert finished == sorted(finished)
    assert {0.4, 0.8, 1.0} <= set(finished)


def test_a_record_a_second_at_most(tmp_path):
    records = []
    jaxes.minimize(exact, strategy=STRATEGY, generations=300, log=records.append, progress=False)
    assert len(records) <= 1 + records[-1]["seconds"]


def test_a_log_goes_on_with_its_run(tmp_path, often):
    path, looks = tmp_path / "log.csv", iter(range(100))
    call = {"strategy": STRATEGY, "generations": 100, "log": path, "checkpoint": tmp_path / "runs", "progress": False}
    jaxes.minimize(exact, **call, callback=lambda report: next(looks) == 1)
    before = read_log(path)
    jaxes.minimize(exact, **call)
    assert str(read_log(path)[: len(before)]) == str(before)
    assert read_log(path)[-1]["generation"] == 100
    with path.open("a") as file:
        file.write("1.0,2")  # of a writer that was killed
    jaxes.minimize(exact, **call | {"checkpoint": tmp_path / "others", "generations": 1})
    assert read_log(path)[-1]["generation"] == 1
    # Without a checkpoint, it is another run's.
    jaxes.minimize(exact, **call | {"checkpoint": None, "generations": 3})
    assert read_log(path)[-1]["generation"] == 3
    assert len(read_log(path)) < len(before) + 3


LINES = {
    "ES": (STRATEGY, "sigma"),
    "CMAES": (jaxes.CMAES(box()), "axis ratio  sigma  min std  max std"),
    "DE": (jaxes.DE(box(), lam=8), "dx  df"),
    "Restart": (jaxes.Restart(jaxes.CMAES(box()), doublings=1), "runs  lam  sigma"),
}


@pytest.mark.parametrize("name", LINES)
def test_lines_have_the_columns_of_the_strategys_authors(capsys, name):
    strategy, own = LINES[name]
    result = jaxes.minimize(exact, strategy=strategy, generations=35, verbose=10, stop={"converged": False})
    out, err = capsys.readouterr()
    assert out == ""
    heading, *lines = err.splitlines()
    assert heading.split() == ["gen", "evals", "best", *own.split()]
    rows = [line.split() for line in lines]
    assert [row[0] for row in rows] == ["10", "20", "30", "35"]
    assert rows[-1][1] == str(int(result.evaluations))
    assert float(rows[-1][2]) == pytest.approx(float(result.fitness))


@pytest.mark.parametrize("name", VARIANTS)
def test_every_strategy_has_columns(name):
    strategy = make(name, box())
    state = jax.eval_shape(strategy.init, jax.eval_shape(lambda: jax.random.key(0)))
    columns = jax.eval_shape(strategy.columns, state)
    assert columns
    assert all(column.shape == () for column in columns.values())


def test_columns_are_in_the_units_of_the_space():
    for strategy in (jaxes.CMAES(box(), sigma=0.3), jaxes.SNES(box(), sigma=0.3), jaxes.OpenAIES(box(), sigma=0.3)):
        state = strategy.init(0)
        for _ in range(3):
            population, state = strategy.ask(state)
            state = strategy.tell(state, population, np.arange(float(strategy.population_size), dtype=np.float32))
        columns = strategy.columns(state)
        np.testing.assert_allclose(columns["max std"], strategy.step_size(state), rtol=1e-6)
        assert 0 < columns["min std"] <= columns["max std"]
        assert ("sigma" in columns) == isinstance(strategy, jaxes.CMAES)
    cmaes = jaxes.CMAES(box(), sigma=0.3)
    np.testing.assert_allclose(cmaes.columns(cmaes.init(0))["sigma"], 0.3, rtol=1e-6)


def test_lines_of_several_runs_and_headings_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(jaxes.watch, "HEADING", 2)
    jaxes.minimize(exact, strategy=STRATEGY, generations=30, runs=4, verbose=10)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["gen", "10", "20", "gen", "30"]
    assert lines[0].split()[-2:] == ["median", "finished"]
    assert lines[-1].split()[-1] == "1"


def test_refusals(tmp_path):
    call = {"strategy": STRATEGY, "generations": 3}
    for log, message in (
        ("log.txt", r"minimize\(log=...\) must end in .csv or .parquet, got 'log.txt'"),
        (tmp_path / "nowhere" / "log.csv", "there is no folder"),
    ):
        with pytest.raises(ValueError, match=message):
            jaxes.minimize(exact, **call, log=log)
    with pytest.raises(TypeError, match=r"minimize\(log=...\) must be a file"):
        jaxes.minimize(exact, **call, log=3)
    with pytest.raises(ValueError, match=r"minimize\(verbose=...\) must be at least 0, got -1"):
        jaxes.minimize(exact, **call, verbose=-1)
    with pytest.raises(TypeError, match=r"sweep\(verbose=...\) must be an integer"):
        jaxes.sweep(STRATEGY, exact, 0, 3, over={"sigma": [0.1]}, verbose="loud")


def test_pictures(tmp_path, often, capsys):
    path = tmp_path / "log.csv"
    jaxes.minimize(exact, strategy=STRATEGY, generations=100, runs=3, log=path, progress=False)
    watch(path)  # returns, because all runs have ended
    text = capsys.readouterr().out
    assert "evaluations" in text
    assert "finished 100%" in text
    assert "median" in text


def test_a_watch_ends_with_a_call_that_was_ended(tmp_path, often, capsys):
    path = tmp_path / "log.csv"
    call = {"over": {"sigma": [0.1, 0.2, 0.3]}, "chunk": 1, "progress": False, "log": path, "seconds": 0.5}
    jaxes.sweep(STRATEGY, exact, 0, 10**9, **call)
    assert read_log(path)[-1]["finished"] == 0
    watch(path)
    assert "finished 0%" in capsys.readouterr().out


def test_a_trace_is_written(tmp_path):
    jaxes.minimize(exact, strategy=STRATEGY, generations=3, profile=tmp_path / "trace")
    assert list((tmp_path / "trace").rglob("*.xplane.pb"))


CALL = {"strategy": jaxes.ES(box(), mu=5, lam=20, sigma=0.3), "generations": 20, "history": False}


def test_a_log_that_was_cut_off_goes_on(tmp_path):
    log = tmp_path / "run.csv"
    jaxes.minimize(exact, **CALL, log=log)
    whole = log.read_bytes()
    assert whole.endswith(b"\r\n")
    first, count = read_log(log)[0], len(read_log(log))
    for i, (content, rows) in enumerate(
        ((b"", 0), (whole[:-40], count - 1), (whole[:-2], count - 1), (whole + b"1,2,3", count))
    ):
        log.write_bytes(content)
        assert len(read_log(log)) == rows
        jaxes.minimize(exact, **CALL, log=log, checkpoint=tmp_path / str(i))
        found = read_log(log)
        assert len(found) > rows
        assert found[-1]["finished"] == 1
        assert rows == 0 or found[0]["seconds"] == first["seconds"]


@pytest.mark.parametrize(
    "content", [b"a,b\n1,2\n", bytes(range(256)), ",".join(COLUMNS).encode() + b"\n" + b"x," * 12 + b"x\n"]
)
def test_what_is_no_log_is_refused(tmp_path, content):
    log = tmp_path / "run.csv"
    log.write_bytes(content)
    with pytest.raises(ValueError, match=r"run\.csv is no log of jaxes"):
        watch(log, once=True)
    with pytest.raises(ValueError, match=r"run\.csv is no log of jaxes"):
        jaxes.minimize(exact, **CALL, log=log, checkpoint=tmp_path / "runs")
    assert log.read_bytes() == content


def test_wrong_places(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for log, message in ((tmp_path / "folder.csv", "is a folder"), (tmp_path / "none" / "run.csv", "there is no folder")):
        with pytest.raises(ValueError, match=rf"minimize\(log=...\).*{message}"):
            jaxes.minimize(exact, **CALL, log=log)
    with pytest.raises(TypeError, match="profile must be the path of a folder, got 3"):
        jaxes.minimize(exact, **CALL, profile=3)


def test_a_relative_log_stays_where_it_was(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    jaxes.minimize(exact, **CALL, log="run.parquet", callback=lambda report: os.chdir(tmp_path / "elsewhere"))
    assert read_log(tmp_path / "run.parquet")[-1]["finished"] == 1


def test_pictures_without_numbers(tmp_path, capsys):
    pytest.importorskip("plotext")
    record = dict.fromkeys(COLUMNS, 1.0)
    assert "best inf" in picture([record | {"best": math.inf}], 100, 24)
    assert "fitness" in picture([record], 100, 24)
    (tmp_path / "empty.csv").touch()
    for name in ("empty.csv", "none.csv"):
        watch(tmp_path / name, once=True)
        assert capsys.readouterr().out == "no record yet\n"
