"""Runs and populations shared by devices, of one process or two: the same results as on one device."""

import importlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from conftest import QUICK_FLAGS
from variants import box, exact

import jaxes
from jaxes.batch import size_of
from jaxes.devices import Devices, memory_limit

HERE = pathlib.Path(__file__).parent
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}


def test_eight_devices():
    environment = ENVIRONMENT | {"XLA_FLAGS": f"--xla_force_host_platform_device_count=8 {QUICK_FLAGS}"}
    done = subprocess.run([sys.executable, HERE / "devices.py"], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("same:") == 12


@pytest.mark.quick  # as the processes compile it
def test_two_processes_of_four_devices_that_are_killed(tmp_path):
    """End to end: killed while they run, begun again, and the results are those of one device."""
    path = tmp_path / "runs"
    command = [sys.executable, HERE.parent / "examples" / "processes.py", "--checkpoint", path, "--repeats", "6"]
    command += ["--generations", "120", "--every", "0.01"]
    environment = ENVIRONMENT | {"XLA_FLAGS": QUICK_FLAGS}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, start_new_session=True
    ) as both:
        deadline = time.monotonic() + 300
        while both.poll() is None and len(list(path.glob("running/[0-9]*"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(both.pid, signal.SIGKILL)
    assert not pathlib.Path(f"{path}.npy").exists()
    again = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "8 devices of 2 processes" in again.stdout
    sys.path.insert(0, str(HERE.parent / "examples"))
    import processes

    strategy = jaxes.ES(jaxes.Box(-5.12, 5.12, shape=5))
    expected = jaxes.sweep(strategy, processes.loss, 0, 120, over={"sigma": [0.1, 0.3, 1.0]}, repeats=6).runs.fitness
    np.testing.assert_allclose(np.load(f"{path}.npy"), expected, rtol=1e-4)


def test_what_are_no_devices_is_refused():
    call = {"strategy": jaxes.ES(box()), "generations": 5}
    for wrong, message in (
        (0, "at least 1"),
        (99, r"at most the \d+ of this process, got 99"),
        ([jax.devices()[0]] * 2, "different devices"),
    ):
        with pytest.raises(ValueError, match=rf"minimize\(devices=...\) must be.*{message}"):
            jaxes.minimize(exact, **call, devices=wrong)
    for wrong in ("cpu", [], [1], 1.0, True):
        with pytest.raises(TypeError, match=r"minimize\(devices=...\) must be"):
            jaxes.minimize(exact, **call, devices=wrong)
    with pytest.raises(ValueError, match=r"minimize\(devices=..., batched=True\) needs runs"):
        jaxes.minimize(jax.vmap(exact), **call, batched=True, devices=1)
    with pytest.raises(TypeError, match=r"sweep\(devices=...\) must be"):
        jaxes.sweep(call["strategy"], exact, 0, 5, over={"sigma": [0.1]}, devices="cpu")
    assert jaxes.minimize(exact, **call, devices=1).generations == 5


@pytest.mark.quick
def test_chunks_fit_into_memory(capsys):
    strategy = jaxes.CMAES(box(20))
    call = {"over": {"sigma": [0.1, 0.3]}, "repeats": 40, "history": False}
    whole = jaxes.sweep(strategy, exact, 0, 10, **call).runs
    chunked = jaxes.sweep(strategy, exact, 0, 10, max_memory=1.2e6, **call).runs
    assert " 80 runs at once would take" in capsys.readouterr().err
    np.testing.assert_allclose(chunked.fitness, whole.fitness, rtol=1e-4)
    with pytest.raises(ValueError, match=r"the results of all runs would take .* bytes, and there are 1e\+03"):
        jaxes.sweep(strategy, exact, 0, 10, max_memory=1e3, **call)
    with pytest.raises(ValueError, match=r"one run on each device, the fewest, would take .* bytes there, and 5e\+03 are left"):
        jaxes.sweep(strategy, exact, 0, 1, max_memory=size_of(whole) + 5e3, chunk=1, **call)
    for wrong in (0, -1.0):
        with pytest.raises(ValueError, match=r"sweep\(max_memory=...\) must be positive"):
            jaxes.sweep(strategy, exact, 0, 10, max_memory=wrong, **call)
    with pytest.raises(TypeError, match=r"sweep\(max_memory=...\) must be a number of bytes, or a fraction up to 1, got '1G'"):
        jaxes.sweep(strategy, exact, 0, 10, max_memory="1G", **call)


def test_memory_without_limit():
    assert memory_limit("sweep", float("inf"), Devices())[0] > 1e18


@pytest.mark.quick
def test_records_take_memory_too(monkeypatch):
    looked = []
    module = importlib.import_module("jaxes.sweep")
    monkeypatch.setattr(module.Batch, "memory", lambda self: looked.append(self) or 0)
    monkeypatch.setattr(module, "memory_limit", lambda *_: (1e6, False))
    for history, times in ((False, 0), (1, 1)):  # states of 1 kB, records of 1 MB
        jaxes.sweep(jaxes.ES(box(), mu=1, lam=2), exact, 0, 40_000, over={"sigma": [0.1]}, history=history, seconds=1e-3)
        assert len(looked) == times
