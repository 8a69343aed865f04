"""Runs that were stopped, killed or told to go on: nothing is lost, nothing is altered, and nothing foreign is read."""

import errno
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import kill
import numpy as np
import pytest
from variants import assert_same, box, exact

import jaxes
import jaxes.batch
from jaxes.checkpoint import about_task, contents, in_words
from jaxes.loop import make_task

pytestmark = pytest.mark.quick


def shifted(x, by):
    return exact(x + by)


def after(looks):
    """A callback that ends the runs after so many looks."""
    seen = []

    def callback(report):
        seen.append(report.generation)
        return len(seen) >= looks

    return callback


def test_the_same_call_goes_on(tmp_path):
    call = {"strategy": jaxes.CMAES(box(), lam=8), "generations": 60, "runs": 3, "targets": [1e3, 1.0]}
    expected = jaxes.minimize(exact, **call)
    path = tmp_path / "runs"
    checkpoint = jaxes.Checkpoint(path, generations=7)
    for looks in (2, 3):
        stopped = jaxes.minimize(exact, **call, checkpoint=checkpoint, callback=after(looks))
        assert np.all(stopped.stop_reason == jaxes.StopReason.INTERRUPTED)
    first = []
    assert_same(jaxes.minimize(exact, **call, checkpoint=checkpoint, callback=lambda r: first.append(r.generation)), expected)
    assert first[0] > int(stopped.generations.max()) > 7  # it did not begin again
    # What is over is read, not run.
    assert_same(jaxes.minimize(exact, **call, checkpoint=path, callback=pytest.fail), expected)


def test_runs_of_several_stages_go_on_together_with_those_they_were_gathered_with(tmp_path, monkeypatch):
    monkeypatch.setattr(jaxes.batch, "WORTH", 0.0)  # in narrower batches
    strategy = jaxes.Restart(jaxes.CMAES(box(2), lam=6), policy="ipop", doublings=3)
    call = {"strategy": strategy, "runs": 9, "stop": {"evaluations": 900}, "history": 5}
    expected = jaxes.minimize(exact, **call)
    checkpoint = jaxes.Checkpoint(tmp_path, generations=3)
    for _ in range(6):
        jaxes.minimize(exact, **call, checkpoint=checkpoint, callback=after(8))
    assert_same(jaxes.minimize(exact, **call, checkpoint=checkpoint), expected)


def test_sweeps_go_on(tmp_path):
    call = {"over": {("mu", "lam"): [(3, 12), (4, 16)], "args": [0.0, 0.5]}, "repeats": 3, "chunk": 4, "history": 10}
    expected = jaxes.sweep(jaxes.ES(box()), shifted, 0, 50, **call)
    path = tmp_path / "runs"
    for i in range(4):  # each gets some way, or nowhere
        jaxes.sweep(
            jaxes.ES(box()), shifted, 0, 50, **call, checkpoint=jaxes.Checkpoint(path, generations=9), seconds=0.1 * i + 1e-6
        )
    assert_same(jaxes.sweep(jaxes.ES(box()), shifted, 0, 50, **call, checkpoint=path).runs, expected.runs)
    assert_same(jaxes.sweep(jaxes.ES(box()), shifted, 0, 50, **call, checkpoint=path, seconds=1e-6).runs, expected.runs)


@pytest.mark.quick(False)  # as the processes that are killed compile it
@pytest.mark.parametrize(("name", "entry"), [("CMAES", "minimize"), ("SHADE", "sweep"), ("Restart", "minimize")])
def test_killed_at_any_moment(name, entry):
    assert kill.torment(name, entry, 2, random.Random(1), seconds=1.5) > 0


@pytest.mark.parametrize("entry", ["minimize", "sweep"])
def test_a_full_disk_ends_no_run(tmp_path, monkeypatch, entry):
    import orbax.checkpoint

    save, calls = orbax.checkpoint.CheckpointManager.save, itertools.count()

    def full(self, step, **options):
        if next(calls) % 3:
            (self.directory / f"{step}.orbax-checkpoint-tmp").mkdir()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return save(self, step, **options)

    def call(**options):
        if entry == "minimize":
            return jaxes.minimize(exact, strategy=jaxes.ES(box()), generations=60, **options)
        return jaxes.sweep(jaxes.ES(box()), exact, 0, 30, over={"sigma": [0.1, 0.2, 0.3]}, chunk=1, **options).runs

    expected = call()
    monkeypatch.setattr(orbax.checkpoint.CheckpointManager, "save", full)
    with pytest.warns(RuntimeWarning, match="could not be written .OSError: .*No space left.* runs go on"):
        assert_same(call(checkpoint=jaxes.Checkpoint(tmp_path, generations=7)), expected)
    assert not list(tmp_path.rglob("*tmp"))
    monkeypatch.setattr(orbax.checkpoint.CheckpointManager, "save", save)
    assert_same(call(checkpoint=tmp_path), expected)


def test_a_limit_in_seconds():
    call = {"strategy": jaxes.ES(box()), "generations": 10**9, "history": False}
    result = jaxes.minimize(exact, **call, seconds=0.5)
    assert result.stop_reason == jaxes.StopReason.TIME
    assert 0 < result.generations < 10**9
    assert "limit in seconds" in repr(result)


@pytest.mark.quick(False)  # as the process that is interrupted compiles it
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_save_and_return(tmp_path, number):
    program = textwrap.dedent(
        """
        import signal, sys, jaxes
        from variants import exact, box
        signal.signal(signal.SIGINT, signal.default_int_handler)
        call = dict(strategy=jaxes.ES(box()), generations=10**9, history=False)
        begun = lambda report: print("at", report.generation, flush=True)
        checkpoint = jaxes.Checkpoint(sys.argv[1], seconds=1e4)
        result = jaxes.minimize(exact, **call, checkpoint=checkpoint, callback=begun)
        print("ended", int(result.generations), result.message(), flush=True)
        jaxes.minimize(exact, strategy=jaxes.ES(box()), generations=1, history=False)
        print("and again", flush=True)
        """
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    path = str(tmp_path / "runs")
    command = [sys.executable, "-c", program, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        process.stdout.readline()
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
    assert "interrupted, returning the best so far" in err
    if number == signal.SIGTERM:  # asks the process to end: nothing else is begun
        assert process.returncode == 128 + signal.SIGTERM, err
        assert "again" not in out
    else:
        assert process.returncode == 0, err
        assert out.endswith("and again\n")
    ended = next(line for line in out.splitlines() if line.startswith("ended")).split()
    assert ended[0] == "ended"
    assert ended[2] == "interrupted"
    seen = []
    call = {"strategy": jaxes.ES(box()), "generations": 10**9, "history": False}
    jaxes.minimize(exact, **call, checkpoint=path, callback=lambda report: seen.append(report.generation) or True)
    assert seen[0] > int(ended[1])


def test_a_signal_ends_calls_within_calls_too():
    call = {"strategy": jaxes.ES(box()), "generations": 10**9, "history": False}
    found, sent = [], []

    def interrupt(report):
        if not sent:
            sent.append(os.kill(os.getpid(), signal.SIGINT))

    def nested(report):
        found.append(jaxes.minimize(exact, **call, callback=interrupt))

    found.append(jaxes.minimize(exact, **call, callback=nested))
    assert [result.stop_reason for result in found] == [jaxes.StopReason.INTERRUPTED] * 2


def other(x):
    return 2 * exact(x)


def scaled(by):
    return lambda x: by * exact(x)


def test_checkpoints_of_something_else_are_refused(tmp_path, x64):
    space = jaxes.Box(-2.0, 2.0, shape=(3,))
    call = {"strategy": jaxes.ES(space, sigma=0.3), "generations": 5}
    path = tmp_path / "runs"
    jaxes.minimize(exact, **call, checkpoint=path)
    changes = [
        ({"strategy": jaxes.ES(space, sigma=0.4)}, r"strategy\.sigma is float64\[\] 0\.4 here and float64\[\] 0\.3 there"),
        ({"strategy": jaxes.CMAES(space)}, "strategy is CMAES here and ES there"),
        ({"strategy": jaxes.ES(jaxes.Box(-2.0, 3.0, shape=(3,)), sigma=0.3)}, r"strategy\.space\.upper"),
        ({"generations": 6}, "generations is 6 here and 5 there"),
        ({"runs": 2}, "runs is 2 here and 1 there"),
        ({"key": 1}, "keys is"),
        ({"stop": {"target": 0.5}}, r"stop\.target is float64\[\] 0\.5 here and None there"),
        ({"targets": [1.0]}, "targets is"),
        ({"maximise": True}, r"objective\.maximise is True here and False there"),
    ]
    for change, message in changes:
        with pytest.raises(ValueError, match=f"holds checkpoints of something else: .*{message}"):
            jaxes.minimize(exact, **call | change, checkpoint=path)
    with pytest.raises(ValueError, match=r"objective\.function is other here and exact there"):
        jaxes.minimize(other, **call, checkpoint=path)
    with pytest.raises(ValueError, match="over is lam here and nothing there"):
        jaxes.sweep(call["strategy"], exact, 0, 5, over={"lam": [105]}, checkpoint=path)
    with jax.enable_x64(False), pytest.raises(ValueError, match="space's dtype is float32 here and float64 there"):
        jaxes.minimize(exact, strategy=jaxes.ES(jaxes.Box(-2.0, 2.0, shape=(3,)), sigma=0.3), generations=5, checkpoint=path)
    # Functions of one name that compute something else.
    jaxes.minimize(scaled(2.0), **call, checkpoint=tmp_path / "scaled")
    with pytest.raises(ValueError, match=r"objective\.function\.closure 0 is 3\.0 here and 2\.0 there"):
        jaxes.minimize(scaled(3.0), **call, checkpoint=tmp_path / "scaled")
    data = json.loads((path / "jaxes.json").read_text())
    for name, value, message in (
        ("format", 99, "format 99; this version of jaxes reads and writes 1"),
        ("about", data["about"] | {"jaxes": "0.0.1"}, f"jaxes is {jaxes.__version__} here and 0.0.1 there"),
        ("about", 3, "damaged or none of jaxes"),
    ):
        (path / "jaxes.json").write_text(json.dumps(data | {name: value}))
        with pytest.raises(ValueError, match=message):
            jaxes.minimize(exact, **call, checkpoint=path)
    (path / "jaxes.json").write_text(json.dumps(data | {"versions": data["versions"] | {"jax": "0.0.1"}}))
    with pytest.warns(UserWarning, match=r"jax is .* here and 0\.0\.1 there"):
        jaxes.minimize(exact, **call, checkpoint=path)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    call = {"strategy": jaxes.ES(box()), "generations": 5}
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(ValueError, match="must be a folder, and is a file"):
        jaxes.minimize(exact, **call, checkpoint=file)
    with pytest.raises(ValueError, match="must be a folder of its own; this has 'file' in it"):
        jaxes.minimize(exact, **call, checkpoint=tmp_path)
    assert os.listdir(tmp_path) == ["file"]
    for wrong in (3, True, ["runs"]):
        with pytest.raises(TypeError, match=r"checkpoint=.* must be the path of a folder or a jaxes.Checkpoint"):
            jaxes.minimize(exact, **call, checkpoint=wrong)
    for settings, message in (
        ({"seconds": 0}, "positive"),
        ({"generations": 0}, "at least 1"),
        ({"keep": 0}, "at least 1"),
        ({"seconds": None}, "needs seconds, generations or both"),
    ):
        with pytest.raises(ValueError, match=message):
            jaxes.Checkpoint("runs", **settings)
    with pytest.raises(ValueError, match=r"minimize\(seconds=...\) must be a positive number of seconds, got -1"):
        jaxes.minimize(exact, **call, seconds=-1)
    with pytest.raises(ValueError, match=r"sweep\(seconds=...\) must be a positive number of seconds, got -1"):
        jaxes.sweep(call["strategy"], exact, 0, 5, over={"sigma": [0.1]}, seconds=-1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of readers that orbax leaves behind
def test_damaged_checkpoints_are_refused_and_the_one_before_is_good(tmp_path):
    call = {"strategy": jaxes.ES(box(), sigma=0.3), "generations": 40}
    expected = jaxes.minimize(exact, **call)
    path = tmp_path / "runs"
    checkpoint = jaxes.Checkpoint(path, generations=5)
    jaxes.minimize(exact, **call, checkpoint=checkpoint, callback=after(4))
    steps = sorted(int(name) for name in os.listdir(path / "running"))
    assert len(steps) == checkpoint.keep
    latest = path / "running" / str(steps[-1])
    files = [os.path.join(folder, name) for folder, _, names in os.walk(latest) for name in names]
    refused = []
    for file in files:
        if not os.path.getsize(file):
            continue
        for damage in ("cut", "flip"):
            shutil.rmtree(tmp_path / "copy", ignore_errors=True)
            shutil.copytree(path, tmp_path / "copy")
            copied = tmp_path / "copy" / os.path.relpath(file, path)
            content = bytearray(copied.read_bytes())
            if damage == "cut":
                del content[len(content) // 2 :]
            else:
                content[len(content) // 2] ^= 1
            copied.write_bytes(content)
            try:
                found = jaxes.minimize(exact, **call, checkpoint=jaxes.Checkpoint(tmp_path / "copy", generations=5))
            except ValueError as error:
                refused.append(str(error))
            else:
                assert_same(found, expected)
    assert len(refused) > 2
    assert all(str(steps[-1]) in message and "Remove this folder" in message for message in refused)
    shutil.rmtree(latest)
    assert_same(jaxes.minimize(exact, **call, checkpoint=checkpoint), expected)


def test_a_folder_is_used_once_at_a_time(tmp_path):
    call = {"strategy": jaxes.ES(box()), "generations": 5}

    def nested(report):
        with pytest.raises(ValueError, match="is in use by another process"):
            jaxes.minimize(exact, **call, checkpoint=tmp_path / "runs")
        return True

    jaxes.minimize(exact, **call, checkpoint=tmp_path / "runs", callback=nested)
    jaxes.minimize(exact, **call, checkpoint=tmp_path / "runs")


def test_empty_arrays_and_users_records_are_saved(tmp_path):
    def record(state, population, fitness):
        return {"worst": jnp.max(fitness), "none": jnp.zeros((0,)), "key": state.key}

    call = {"strategy": jaxes.ES(box()), "generations": 20, "history": 3, "record": record}
    expected = jaxes.minimize(exact, **call)
    checkpoint = jaxes.Checkpoint(tmp_path / "runs", generations=3)
    jaxes.minimize(exact, **call, checkpoint=checkpoint, callback=after(2))
    assert_same(jaxes.minimize(exact, **call, checkpoint=checkpoint), expected)
    assert_same(jaxes.minimize(exact, **call, checkpoint=checkpoint), expected)


def test_a_folder_that_was_just_being_begun(tmp_path):
    (tmp_path / "lock").touch()  # what is there if a process is killed meanwhile
    (tmp_path / "jaxes.new").write_text('{"format"')
    jaxes.minimize(exact, strategy=jaxes.ES(box()), generations=5, history=False, checkpoint=tmp_path)


def test_paths_that_orbax_could_not_read_are_refused(tmp_path):
    """It would take them for patterns, and lose what it saves without an error."""
    call = {"strategy": jaxes.ES(box()), "generations": 5}
    for name in ("runs [1]", "runs*", "runs?"):
        with pytest.raises(ValueError, match=r"must be a path without \*, \? and \["):
            jaxes.minimize(exact, **call, checkpoint=tmp_path / name)
    assert os.listdir(tmp_path) == []


def about(objective, key=None, **options):
    """What must be the same for a call to go on."""
    task = make_task("minimize", jaxes.ES(box(), mu=5, lam=20), objective, None, None, 0, None, None, **options)
    keys = jax.random.key(0)[None] if key is None else key[None]
    return about_task(task, (None,) * len(jax.tree.leaves(task)), keys, 5)


def of_matrix(matrix, wrap):
    return wrap(lambda x: jnp.sum(matrix @ x))


def test_arrays_that_compiled_functions_hold_are_a_part_of_them():
    options = {"batched": False, "stochastic": False, "maximise": False}
    for wrap in (jax.jit, lambda function: jax.checkpoint(jax.jit(function))):
        one, same, other = (about(of_matrix(by * jnp.eye(3), wrap), **options) for by in (1, 1, 2))
        assert one == same
        assert one["objective's program"] != other["objective's program"]


def test_other_random_numbers_are_others():
    options = {"batched": False, "stochastic": False, "maximise": False}
    found = [about(exact, jax.random.key(0, impl=impl), **options) for impl in ("threefry2x32", "rbg", "unsafe_rbg")]
    with jax.threefry_partitionable(False):
        found.append(about(exact, **options))
    assert len({one["random numbers"] for one in found}) == 4


def test_a_batched_objective_is_looked_at_with_its_population(tmp_path):
    def fixed(population):
        return jnp.sum(population.reshape(20, 3), axis=1)

    call = {"strategy": jaxes.ES(box(), mu=5, lam=20), "generations": 5, "history": False, "batched": True, "maximise": True}
    result = jaxes.minimize(fixed, **call, checkpoint=jaxes.Checkpoint(tmp_path / "runs", generations=1), callback=after(2))
    said = contents(tmp_path / "runs")["under way"]
    assert f"best fitness {float(result.fitness):.6g}" in said  # as the objective gives it
    assert result.fitness > 0


def test_words_are_the_same_in_every_process():
    assert in_words("a", {"c", "b"}) == {"a": "set", "a.0": "'b'", "a.1": "'c'"}
    assert "at 0x" not in str(in_words("a", [np.random.default_rng(0), object(), frozenset([len])])).lower()
    endless = [1]
    endless.append(endless)
    assert in_words("a", endless) == {"a": "list", "a.0": "1", "a.1": "list"}


def test_functions_may_note_their_calls():
    notes, by = [], 2.0

    def objective(x):
        notes.append(x.shape)
        return by * exact(x)

    options = {"batched": False, "stochastic": False, "maximise": False}
    assert about(objective, **options) == about(objective, **options)
    assert len(notes) > 1
    assert about(objective, **options)["objective.function.closure 0"] == "2.0"


def test_file_systems_without_locks(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def flock(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.warns(UserWarning, match="has no locks"):
        jaxes.minimize(exact, strategy=jaxes.ES(box()), generations=5, history=False, checkpoint=tmp_path / "runs")
