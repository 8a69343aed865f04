"""The examples run, with small settings."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import QUICK_FLAGS

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
ELSEWHERE = {"processes"}  # test_devices runs it, and kills it
NEEDS = {"neuroevolution": "gymnax"}  # which may not be had beside the newest JAX
OPTIONS = {"neuroevolution": ["--task", "Acrobot-v1"], "coco": ["--strategy", "portfolio"]}
if importlib.util.find_spec("evosax") is not None:
    OPTIONS["neuroevolution"].append("--evosax")


@pytest.mark.parametrize("example", [path for path in EXAMPLES if path.stem not in ELSEWHERE], ids=lambda path: path.stem)
def test_example(example, tmp_path):
    needed = NEEDS.get(example.stem)
    if needed is not None and importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    command = [sys.executable, str(example), "--quick", *OPTIONS.get(example.stem, [])]
    environment = os.environ | {"MPLBACKEND": "Agg", "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {QUICK_FLAGS}"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 5


def test_there_are_examples():
    assert {"tutorial", "sweep", "lstm", "neuroevolution", "host", "processes"} <= {path.stem for path in EXAMPLES}
