"""Every code block of the README runs: Python here, one after the other; shell blocks in .ci/run."""

import re
from pathlib import Path

import jax
import pytest

from jaxes.strategies import ALL

pytestmark = pytest.mark.quick

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.filterwarnings("default")  # orbax warns of its own future
def test_python_blocks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S)
    assert len(blocks) >= 8
    names = {"__name__": "readme"}
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        for block in blocks:
            exec(compile(block, "README.md", "exec"), names)
    assert (tmp_path / "convergence.png").stat().st_size > 10_000
    assert (tmp_path / "sweep.png").stat().st_size > 10_000
    assert (tmp_path / "ecdf.png").stat().st_size > 10_000
    assert abs(names["result"].best().solution - jax.numpy.arange(4.0)).max() < 1e-2


def test_there_are_two_shell_commands_and_links_lead_somewhere():
    assert len(re.findall(r"^```sh$", README, re.M)) == 2
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (Path(__file__).parents[1] / link).exists(), link


def test_every_strategy_has_a_row_that_names_its_source():
    table = README.split("| strategy | for | a generation costs | source |\n")[1].split("\n\n")[0]
    rows = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in table.splitlines()[1:]]
    assert all(len(row) == 4 for row in rows)
    for names, _, _, source in rows:
        assert re.search(r"\d{4}$", source) or names == "`Portfolio`", names
    named = set(re.findall(r"`(\w+)`", " ".join(row[0] for row in rows)))
    assert named == {kind.__name__ for kind in ALL} | {"Portfolio"}
