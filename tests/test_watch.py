"""Logs of runs, and what is drawn of them: also when they are empty, cut off, or none."""

import math
import os

import pytest
from variants import box, exact

import jaxes
from jaxes.watch import COLUMNS, picture, read_log, watch

CALL = {"strategy": jaxes.ES(box(), mu=5, lam=20, sigma=0.3), "generations": 20, "history": False}


def test_a_log_that_was_cut_off_goes_on(tmp_path):
    log = tmp_path / "run.csv"
    jaxes.minimize(exact, **CALL, log=log)
    whole = log.read_bytes()
    assert whole.endswith(b"\r\n")
    first, count = read_log(log)[0], len(read_log(log))
    for i, (content, rows) in enumerate(((b"", 0), (whole[:-40], count - 1), (whole[:-2], count), (whole + b"1,2,3", count))):
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
