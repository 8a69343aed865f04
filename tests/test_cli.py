"""The command line, as a user's shell sees it."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import jaxes
from jaxes.cli import main

pytestmark = pytest.mark.quick


def call(capsys, *arguments):
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_a_run_is_minimize(capsys, tmp_path):
    files = [str(tmp_path / name) for name in ("r.json", "r.csv", "r.png")]
    options = ["--mu", "20", "--lam", "100", "--sigma", "0.15", "-g", "50", "--runs", "8", "--seed", "3", "--no-progress"]
    code, out, err = call(capsys, "run", "ackley", *options, "--json", files[0], "--csv", files[1], "--plot", files[2])
    assert (code, err) == (0, "")
    problem = jaxes.problems.ackley(2)
    strategy = jaxes.ES(problem.space, mu=20, lam=100, sigma=0.15)
    expected = jaxes.minimize(problem, strategy=strategy, key=3, generations=50, runs=8, progress=False)
    report = json.loads(Path(files[0]).read_text())
    np.testing.assert_allclose([run["fitness"] for run in report["runs"]], expected.fitness, rtol=1e-6)
    assert report["best"]["fitness"] == min(run["fitness"] for run in report["runs"])
    assert report["settings"]["sigma"] == 0.15
    assert report["runs"][0]["stop_reason"] == "all generations were run"
    rows = list(csv.DictReader(io.StringIO(Path(files[1]).read_text())))
    np.testing.assert_allclose([float(row["x1"]) for row in rows], np.asarray(expected.solution)[:, 1], rtol=1e-6)
    assert os.path.getsize(files[2]) > 10_000
    assert "median" in out
    assert "written: " in out


def test_restarts_take_the_budget(capsys):
    options = ["--runs", "2", "--json", "-", "--no-progress"]
    _, out, _ = call(capsys, "run", "sphere", "--strategy", "cmaes", "--restart", "plain", "--evaluations", "1000", *options)
    report = json.loads(out)
    assert all(990 <= run["evaluations"] <= 1000 for run in report["runs"])
    assert report["settings"]["restart"] == "plain"


def test_a_run_is_saved_shown_watched_and_resumed(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--mu", "20", "--lam", "100", "--sigma", "0.15", "--runs", "8", "--no-progress", "--seed", "3"]
    code, _, err = call(capsys, "run", "ackley", "-g", "8000", *options, "--json", "expected.json")
    assert (code, err) == (0, "")
    long = ["--checkpoint", "runs", "--log", "run.csv", "--json", "found.json"]
    code, out, err = call(capsys, "run", "ackley", "-g", "8000", *options, *long, "--every", "0.01", "--seconds", "0.2")
    assert (code, err) == (0, "")
    assert "the limit in seconds was reached: 8" in out
    code, out, _ = call(capsys, "show", "runs")
    assert code == 0
    said = dict(line.strip().split("  ", 1) for line in out.splitlines())
    assert said["begun with"].startswith("jaxes run ackley -g 8000")
    assert said["runs"].strip() == "8"
    assert said["strategy"].strip() == "ES"
    assert said["objective"].strip() == "ackley"
    monkeypatch.chdir("/")  # from anywhere
    code, out, err = call(capsys, "resume", str(tmp_path / "runs"), "--no-progress")
    assert (code, err) == (0, "")
    assert "all generations were run: 8" in out
    expected, found = (json.loads((tmp_path / f"{name}.json").read_text())["runs"] for name in ("expected", "found"))
    assert found == expected
    assert "finished  1 part" in call(capsys, "show", str(tmp_path / "runs"))[1]
    code, out, _ = call(capsys, "watch", str(tmp_path / "run.csv"))
    assert code == 0
    assert "finished 100%" in out
    for command in ("show", "resume"):
        err = call(capsys, command, str(tmp_path))[2]
        assert err == f"jaxes: {tmp_path} holds no checkpoints of jaxes: it has no jaxes.json.\n"
    problem = jaxes.problems.sphere(2)
    jaxes.minimize(problem, generations=1, strategy=jaxes.ES(problem.space), checkpoint=tmp_path / "python")
    assert "was not begun on the command line" in call(capsys, "resume", str(tmp_path / "python"))[2]


def test_a_sweep_is_resumed_in_its_chunks(capsys, tmp_path):
    path = str(tmp_path / "runs")
    options = ["-g", "100", "--over", "sigma=0.1,0.3", "--repeats", "3", "--no-progress", "--json", "-"]
    _, expected, _ = call(capsys, "sweep", "ackley", *options)
    call(capsys, "sweep", "ackley", *options, "--chunk", "4", "--checkpoint", path, "--seconds", "0.2", "--verbose", "50")
    code, out, err = call(capsys, "resume", path, "--no-progress")
    assert code == 0
    assert "gen" in err  # which are on standard error
    assert json.loads(out)["runs"] == json.loads(expected)["runs"]


def test_islands(capsys):
    options = ["--mu", "2", "--lam", "10", "-g", "5", "--json", "-", "--no-progress"]
    _, out, _ = call(capsys, "run", "sphere", "--islands", "3", *options)
    assert json.loads(out)["runs"][0]["evaluations"] == 150


def test_json_and_csv_on_standard_output_are_nothing_else(capsys):
    code, out, _ = call(capsys, "run", "sphere", "-g", "20", "--runs", "2", "--json", "-", "--no-progress")
    assert code == 0
    assert len(json.loads(out)["runs"]) == 2
    _, out, _ = call(capsys, "run", "sphere", "-g", "20", "--runs", "3", "--csv", "-", "--no-progress")
    assert len(list(csv.DictReader(io.StringIO(out)))) == 3


def test_a_sweep(capsys, tmp_path):
    plot, table = str(tmp_path / "heat.png"), str(tmp_path / "s.json")
    over = ["--over", "mu:lam=5:20,10:40", "--over", "sigma=0.1,0.3", "--over", "bounds=clip,reflect"]
    code, out, _ = call(
        capsys, "sweep", "ackley", *over, "--repeats", "3", "-g", "9", "--chunk", "5", "--plot", plot, "--json", table
    )
    assert code == 0
    assert "best median fitness" in out
    assert os.path.getsize(plot) > 10_000
    report = json.loads(Path(table).read_text())
    assert len(report["table"]) == 8
    assert len(report["runs"]) == 24
    assert report["table"][0]["mu"] == 5


def test_exit_codes(capsys):
    quick = ["-g", "30", "--no-progress"]
    assert call(capsys, "run", "sphere", "--target", "0.1", *quick)[0] == 0
    assert call(capsys, "run", "sphere", "--target", "-1", *quick)[0] == 1
    assert call(capsys)[0] == 2
    with pytest.raises(SystemExit) as exit_:
        main(["run", "sphere", "--nonsense"])
    assert exit_.value.code == 2


BAD = {
    "mu above lam": (["run", "sphere", "--mu", "50", "--lam", "10"], "must be at most lam=10"),
    "unknown problem": (["run", "spher"], "no built-in problem (ackley"),
    "missing module": (["run", "nowhere_at_all:f", "--lower", "0", "--upper", "1"], "nowhere_at_all"),
    "missing file": (["run", "nowhere.py:f", "--lower", "0", "--upper", "1"], "no file nowhere.py"),
    "missing function": (["run", "math:nothing", "--lower", "0", "--upper", "1"], "math has no 'nothing'"),
    "no box": (["run", "math:sin"], "--lower and --upper are needed"),
    "half a box": (["run", "sphere", "--lower", "0"], "go together"),
    "missing folder": (["run", "sphere", "--plot", "/no/such/folder/x.png"], "there is no folder"),
    "both on standard output": (["run", "sphere", "--json", "-", "--csv", "-"], "only one of"),
    "negative generations": (["run", "sphere", "-g", "-3"], "at least 0"),
    "no runs": (["run", "sphere", "--runs", "0"], "must be at least 1"),
    "bad over": (["sweep", "sphere", "--over", "sigma"], "NAME=V1,V2"),
    "unknown over": (["sweep", "sphere", "--over", "sigmo=1,2"], "cannot vary 'sigmo'"),
    "twice": (["sweep", "sphere", "--over", "sigma=1,2", "--over", "sigma=3"], "twice"),
    "unknown picture": (["run", "sphere", "--plot", "x.xyz"], "must end in one of"),
    "scale without box": (["run", "sphere", "--scale", "log"], "--scale goes with"),
    "a folder to write to": (["run", "sphere", "--json", "/tmp"], "is a folder"),
    "a huge seed": (["run", "sphere", "--seed", "9" * 30], "64 bits"),
    "nothing to plot": (["run", "sphere", "-g", "0", "--no-progress", "--plot", "z.png"], "0 generations"),
    "dimension": (["run", "rosenbrock", "-d", "1"], "at least 2"),
    "another dimension": (["run", "booth", "-d", "3"], "must be 2, got 3"),
    "a third of an atom": (["run", "lennard_jones", "-d", "7"], "must be a multiple of 3"),
    "a list of nothing": (["problems", "-d", "0"], "--dimension must be at least 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(capsys, case):
    arguments, words = BAD[case]
    code, out, err = call(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("jaxes: ")
    assert words in err
    assert "Traceback" not in err


OBJECTIVE = """
from __future__ import annotations
import dataclasses
import jax.numpy as jnp, jaxes

def loss(x):
    return jnp.sum(jnp.square(x - 0.25))

def gain(x):
    return -loss(x)

@dataclasses.dataclass
class Settings:
    width: float = 1.0

problem = jaxes.Problem(loss, jaxes.Box(-1.0, 1.0, shape=3), name="mine")

def broken(x):
    raise RuntimeError("my own bug")
"""


def test_your_own_objective(capsys, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(OBJECTIVE)
    monkeypatch.chdir(tmp_path)
    box = ["--lower", "-2", "--upper", "2", "-d", "4", "-g", "100", "--no-progress", "--json", "-"]
    for name in ("mine:loss", "mine.py:loss", str(tmp_path / "mine.py") + ":loss"):
        code, out, _ = call(capsys, "run", name, *box)
        assert code == 0
        np.testing.assert_allclose(json.loads(out)["best"]["solution"], 0.25, atol=0.02)
    out = call(capsys, "run", "mine:gain", "--maximise", *box)[1]
    np.testing.assert_allclose(json.loads(out)["best"]["solution"], 0.25, atol=0.02)
    out = call(capsys, "run", "mine:problem", "-g", "100", "--no-progress", "--json", "-")[1]
    assert len(json.loads(out)["best"]["solution"]) == 3
    with pytest.raises(RuntimeError, match="my own bug"):  # a user's error keeps its traceback
        main(["run", "mine:broken", *box])


def test_double_precision():
    command = [sys.executable, "-m", "jaxes", "run", "sphere", "-g", "400", "--x64", "--json", "-", "--no-progress"]
    command += ["--recombination", "intermediate", "--lower", "1", "--upper", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["best"]["fitness"] == 2.0  # 1 + 1 at the corner, to the last bit


def test_help_teaches(capsys):
    for arguments in (["--help"], ["run", "--help"], ["sweep", "--help"]):
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert exit_.value.code == 0
        out = capsys.readouterr().out
        assert "examples:" in out
        assert "exit codes:" in out


def test_the_list_of_problems(capsys):
    """Each in the dimension asked for, or in its own if it does not exist in that one."""
    for dimension in ("1", "3", "6"):
        code, out, err = call(capsys, "problems", "-d", dimension)
        assert (code, err) == (0, "")
        rows = {line.split()[0]: line.split()[1] for line in out.splitlines()[2:]}
        assert set(rows) == set(jaxes.problems.ALL)
        assert rows["sphere"] == dimension
        assert rows["booth"] == "2"
        assert rows["rosenbrock"] == ("2" if dimension == "1" else dimension)
        assert rows["lennard_jones"] == ("6" if dimension == "6" else "39")
    assert "[-5, 10] x [0, 15]" in out
    assert "2.20291, 1.5708, 1.28499, ..." in out


def test_a_problem_has_its_own_dimension(capsys):
    quick = ["-g", "5", "--no-progress", "--json", "-"]
    for more in ([], ["--lower=-2", "--upper", "2"]):
        out = call(capsys, "run", "lennard_jones", *quick, *more)[1]
        assert len(json.loads(out)["best"]["solution"]) == 39


def test_interrupted_on_the_command_line():
    command = [sys.executable, "-m", "jaxes", "run", "sphere", "-g", "1000000000", "--runs", "4"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        watchdog = threading.Timer(120, process.kill)
        watchdog.start()
        try:
            shown = ""
            while "best=" not in shown and (more := process.stderr.read(1)):  # the progress bar of a run under way
                shown += more
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            watchdog.cancel()
            process.kill()
    assert "best=" in shown
    assert process.returncode == 130
    assert "best fitness" in out
    assert "interrupted" in err


SUITE = ["-d", "2", "--functions", "1,21-22", "--instances", "1-2", "--budget", "100", "--float32", "--no-progress"]


def test_scoring_strategies(capsys, tmp_path):
    own = tmp_path / "own.py"
    own.write_text("import jaxes\n\ndef make(space):\n    return jaxes.ES(space, mu=1, lam=10, sigma=0.1)\n")
    files = [str(tmp_path / name) for name in ("s.json", "s.csv", "s.png")]
    names = ["es:mu=5,lam=20,sigma=self-adaptation,recombination=weighted", f"{own}:make"]
    output = ["--json", files[0], "--csv", files[1], "--plot", files[2]]
    code, out, err = call(capsys, "score", *names, *SUITE, *output)
    assert (code, err) == (0, "")
    assert "f22 Gallagher 21 peaks" in out
    assert "weak structure" in out
    assert "p (Holm)" in out
    expected = jaxes.score(
        lambda space: jaxes.ES(space, mu=5, lam=20, sigma=jaxes.SelfAdaptation(), recombination="weighted"),
        dimension=2,
        functions=[1, 21, 22],
        instances=[1, 2],
        budget=100,
    )
    written = [jaxes.analysis.Runtimes.from_json(json.dumps(one)) for one in json.loads(Path(files[0]).read_text())]
    assert [one.strategy for one in written] == names
    np.testing.assert_array_equal(written[0].hits, expected.hits)
    assert len(list(csv.DictReader(io.StringIO(Path(files[1]).read_text())))) == 6
    assert Path(files[2]).stat().st_size > 10_000
    # What was scored is read again, and stands beside others.
    code, again, err = call(capsys, "score", files[0], "--float32")
    assert (code, err) == (0, "")
    assert out.startswith(again.rstrip())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "'nothing' is no strategy (es, "),
        (["es:mu"], "settings must be es:NAME=VALUE"),
        (["es:mu=30,lam=20"], "lam"),
        (["es:my=30"], "my"),
        (["es", "es"], "es is named twice"),
        (["es", "--functions", "1-x"], "--functions must be numbers and ranges such as 1,3,8-12, got '1-x'"),
        (["es", "--functions", "30"], "must be from 1 to 24"),
        (["es", "--plot", "a.nothing"], "--plot must end in one of"),
        (["missing.json"], "missing.json"),
        (["builtins:repr"], "must return a strategy for a space"),
    ],
)
def test_scoring_refuses(capsys, arguments, message):
    code, out, err = call(capsys, "score", *arguments, "--float32", "--no-progress")
    assert (code, out) == (2, "")
    assert message in err


def test_scoring_refuses_a_broken_file(capsys, tmp_path):
    for name, text in {"cut.json": '[{"format": "jaxes', "other.json": '{"a": 1}'}.items():
        (tmp_path / name).write_text(text)
        code, _, err = call(capsys, "score", str(tmp_path / name), "--float32")
        assert code == 2
        assert name in err
        assert "Runtimes.from_json" in err or "Unterminated" in err
