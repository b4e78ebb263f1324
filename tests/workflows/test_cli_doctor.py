"""The checks of ``sluice doctor``: each says what it found, and one that is bad ends with 1."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workflows.conftest import Call, write_recipe
from workflows.commands import doctor


def test_doctor_looks_at_everything(tmp_path: Path, sluice: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = write_recipe(tmp_path, shards=3)
    monkeypatch.setenv("SLUICE_CACHE_DIR", str(tmp_path / "cache"))
    result = sluice("doctor", recipe, "--storage", tmp_path / "store")
    lines = {line[5:20].strip(): line for line in result.stdout.splitlines()}
    assert list(lines) == [
        "packages",
        "versions",
        "fasttext",
        "torch",
        "ray",
        "disk",
        "shared memory",
        "open files",
        "kernels",
        "storage",
        "recipe",
    ]
    assert lines["fasttext"].endswith("predicts __label__en for an English sentence")
    assert lines["storage"].startswith("ok")
    assert "one winner in each of" in lines["storage"]
    assert "crawl 3 files" in lines["recipe"]
    assert lines["kernels"].startswith("note")  # nothing is compiled in a new cache
    bad = [name for name, line in lines.items() if line.startswith("BAD")]
    assert result.exit_code == (1 if bad else 0)


def test_what_is_bad_is_named(tmp_path: Path, sluice: Call) -> None:
    missing = write_recipe(tmp_path, "name: x\nsteps:\n  crawl:\n    read: {format: jsonl, paths: [none-*.jsonl]}\n")
    result = sluice("doctor", missing)
    assert result.exit_code == 1
    assert "none-*.jsonl" in next(line for line in result.stdout.splitlines() if line.startswith("BAD  recipe"))
    assert "not fit for a run" in result.stderr
    assert "recipe" in result.stderr


def test_a_store_without_atomic_creation_is_not_trusted(
    sluice: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.storage import Storage

    def everybody_wins(self: Storage, name: str, data: bytes) -> bool:
        self.write_bytes(name, data)
        return True

    monkeypatch.setattr(Storage, "create_if_absent", everybody_wins)
    result = sluice("doctor", "--storage", tmp_path / "store")
    assert result.exit_code == 1
    assert "not safe for commits by several workers" in result.stdout


def test_a_check_that_raises_is_a_finding(sluice: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> doctor.Finding:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(doctor, "_disk", broken)
    result = sluice("doctor")
    assert result.exit_code == 1
    assert "BAD  disk           OSError: [Errno 5] Input/output error" in result.stdout.splitlines()


@pytest.mark.parametrize(("free", "verdict"), [(2**20, "BAD"), (2**34, "ok")])
def test_disk_and_shared_memory_have_a_least_size(free: int, verdict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    assert doctor._disk().verdict == verdict
    if Path("/dev/shm").is_dir():
        assert doctor._shared_memory().verdict == verdict
