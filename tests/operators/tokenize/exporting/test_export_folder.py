"""The folder of an export: all at once, links where they reach, one writer."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from operators.tokenize.exporting.folder import EXPORT_FILE, ExportFolder
from pipeline.errors import UserError


def filled(out: Path, source: Path, links: str = "hard") -> list[tuple[str, int, str, str]]:
    with ExportFolder(out, links=links) as folder:
        folder.link(source, "of the commit", "sub/a.bin")
        folder.write("b.bin", [b"xy", np.array([1, 2], "<u2")])
        folder.path("c.txt").write_bytes(b"own")
        folder.add("c.txt")
        assert not out.exists() or not any(out.iterdir())
        folder.publish(b"{}")
    return [(file.path, file.bytes, file.sha256, file.how) for file in folder.files]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "payload.bin"
    path.write_bytes(b"payload")
    return path


@pytest.mark.parametrize(("links", "how"), [("hard", "linked"), ("soft", "symlinked"), ("none", "copied")])
def test_files_and_what_is_told_of_them(tmp_path: Path, source: Path, links: str, how: str) -> None:
    out = tmp_path / "deep" / "out"
    assert filled(out, source, links) == [
        ("sub/a.bin", 7, "of the commit", how),
        ("b.bin", 6, hashlib.sha256(b"xy\x01\x00\x02\x00").hexdigest(), "written"),
        ("c.txt", 3, hashlib.sha256(b"own").hexdigest(), "written"),
    ]
    assert (out / "sub/a.bin").read_bytes() == b"payload"
    assert (out / "sub/a.bin").is_symlink() == (links == "soft")
    assert (out / "sub/a.bin").samefile(source) == (links != "none")
    assert (out / "b.bin").read_bytes() == b"xy\x01\x00\x02\x00"
    assert sorted(path.name for path in out.iterdir()) == ["b.bin", "c.txt", EXPORT_FILE, "sub"]
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_where_no_hard_link_reaches_it_is_a_copy(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other_disk(*_: object) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", other_disk)
    assert filled(tmp_path / "out", source)[0][3] == "copied"
    assert (tmp_path / "out/sub/a.bin").read_bytes() == b"payload"


def test_a_link_that_fails_otherwise_is_no_copy(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="no space"):
        filled(tmp_path / "out", source)
    assert [path.name for path in tmp_path.iterdir()] == ["payload.bin"]


def test_an_empty_folder_is_taken_and_a_full_one_is_not(tmp_path: Path, source: Path) -> None:
    (tmp_path / "out").mkdir()
    filled(tmp_path / "out", source)
    with pytest.raises(UserError, match="not empty"):
        filled(tmp_path / "out", source)
    with pytest.raises(UserError, match="not empty"):
        filled(source, source)
    assert source.read_bytes() == b"payload"


def test_what_a_killed_one_left_is_cleared(tmp_path: Path, source: Path) -> None:
    left = tmp_path / ".out.partial"
    (left / "sub").mkdir(parents=True)
    (left / "sub" / "half.bin").write_bytes(b"half")
    (left / "half.idx").symlink_to(source)
    filled(tmp_path / "out", source)
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == [
        "a.bin",
        "b.bin",
        "c.txt",
        EXPORT_FILE,
        "sub",
    ]
    assert source.read_bytes() == b"payload"


def test_two_at_once_exclude_each_other(tmp_path: Path, source: Path) -> None:
    with ExportFolder(tmp_path / "out") as first:
        first.write("a.bin", [b"first"])
        with pytest.raises(UserError, match="another export"), ExportFolder(tmp_path / "out"):
            pass
        first.publish(b"{}")
    assert (tmp_path / "out/a.bin").read_bytes() == b"first"


def test_one_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def parts() -> Iterator[bytes]:
        yield b"a"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), ExportFolder(tmp_path / "out") as folder:
        folder.write("a.bin", parts())
    assert list(tmp_path.iterdir()) == []
