"""Files of a run that were damaged since they were committed are made anew."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.errors import DamagedFileError, RunFailedError
from pipeline.session import MOST_REDONE
from tests.pipeline.small_runs import go, payloads, texts, workflow, write_inputs
from workflows.commands.verify import verify


@pytest.fixture
def done(tmp_path: Path) -> Path:
    """A finished run."""
    write_inputs(tmp_path / "in")
    go(workflow(tmp_path / "in"), tmp_path / "out")
    return tmp_path


def shards(out: Path, step: str) -> list[Path]:
    return sorted(out.glob(f"{step}-????????????????/shards/*.parquet"))


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
    elif how == "cut off":
        path.write_bytes(data[:-10])
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes(data)


def again(folder: Path, how: str, files: int) -> None:
    """Damage files of the middle step and have the last one made from them."""
    out = folder / "out"
    before = payloads(out)
    expected = texts(go(workflow(folder / "in"), out), "upper")
    for path in shards(out, "long")[:files]:
        damage(path, how)
    for last in out.glob("upper-*"):
        shutil.rmtree(last)
    assert texts(go(workflow(folder / "in"), out), "upper") == expected
    assert payloads(out) == before


@pytest.mark.parametrize("how", ["missing", "cut off"])
def test_a_damaged_file_is_made_anew_and_the_run_goes_on(done: Path, how: str) -> None:
    again(done, how, files=2)


def test_a_disk_that_damages_everything_is_told(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_REDONE > 1
    monkeypatch.setattr("pipeline.session.MOST_REDONE", 1)
    with pytest.raises(DamagedFileError):
        again(done, "missing", files=3)


@pytest.mark.parametrize("how", ["missing", "cut off", "flipped"])
def test_verify_finds_and_repairs(done: Path, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = done / "out"
    before = payloads(out)
    verify(str(out), repair=False)
    assert ", 0 of them damaged" in capsys.readouterr().out
    damage(shards(out, "long")[1], how)
    with pytest.raises(RunFailedError, match=r"1 files are not what was committed; `sluice verify .* --repair`"):
        verify(str(out), repair=False)
    assert shards(out, "long")[1:2] == [] or "long-" in capsys.readouterr().out
    verify(str(out), repair=True)
    assert "1 forgotten" in capsys.readouterr().out
    go(workflow(done / "in"), out)
    assert payloads(out) == before
    verify(str(out), repair=False)
