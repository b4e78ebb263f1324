"""A file that was damaged while a run lay still is noticed by whatever task reads it after the resume, and made anew."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from operators.dedup.interchange import lean_minhashes
from operators.dedup.lines.verb import DedupLines
from operators.dedup.split.verb import Split
from operators.dedup.verb import Dedup
from pipeline.dataset import Run
from pipeline.errors import DamagedFileError
from pipeline.readers.read import Read
from pipeline.session import run
from pipeline.whatif.selected import keep_bitmap
from pipeline.workflow import Step, Workflow
from pipeline.works import ReadWork
from tests.operators.dedup.crawls import INLINE, Crawl, families

LAST = 2  # of three shards

CASES = [
    (".near", "unique"),
    (".sizes", "unique"),
    (".copies", "unique"),
    (".originals", "unique"),
    (".near", "unique.alarm"),
    (".copies", "unique.alarm"),
    (".near", "unique.audit"),
    (".copies", "unique.edges"),
    (".copies", "unique.clusters"),
    (".members", "unique.clusters"),
    (".members", "held.sets"),
    (".sets", "held"),
    (".originals", "held"),
    (".frequent", "lines"),
    (".keep", "lines"),
    (".parquet", "again"),
]


def workflow(folder: Path) -> Workflow:
    read = Read.model_validate({"format": "jsonl", "source": "web", "group_bytes": 1, "paths": [f"{folder}/*.jsonl"]})
    dedup = {"partitions": 2, "minhash": {"full": True}}
    verbs: list[tuple[str, str | None, Any]] = [
        ("crawl", None, ReadWork(read=read)),
        ("unique", "crawl", Dedup.model_validate(dedup)),
        ("held", "crawl", Split.model_validate({"held_out": {"test": 0.3}, "partitions": 2})),
        ("lines", "unique", DedupLines.model_validate({"min_documents": 2})),
        ("again", "lines", DedupLines.model_validate({"min_documents": 2})),
    ]
    return Workflow(
        name="damaged", base_dir=str(folder), steps=tuple(Step(name=n, source=s, verb=v) for n, s, v in verbs)
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the input and the finished run."""
    folder = tmp_path_factory.mktemp("done")
    texts = [text + "\nthe same line under many pages" * (k % 3 > 0) for k, text in enumerate(families(3, [90])[0])]
    Crawl("c", texts).write(folder / "in", 3)
    run(workflow(folder / "in"), str(folder / "run"), INLINE)
    return folder


def flipped(out: Path, suffix: str, node: str) -> Path:
    """Flip a bit of a file that the node reads; returns the file."""
    made_by = {"held": "held*", "held.sets": "held*", "again": "lines"}.get(node, "unique*")
    made_by = "lines.frequent" if suffix == ".frequent" else made_by
    pattern = f"{made_by}-*/shards/*{suffix}"
    if suffix in (".keep", ".parquet"):
        pattern = f"{made_by.rstrip('*')}-*/shards/{LAST:08d}-*[0-9a-f]{suffix}"
    path = max(out.glob(pattern), key=lambda path: path.stat().st_size)
    raw = bytearray(path.read_bytes())
    if suffix == ".parquet":
        with pq.ParquetFile(path) as file:
            text = file.metadata.row_group(0).column(file.schema_arrow.names.index("text"))
        place = (text.dictionary_page_offset or text.data_page_offset) + text.total_compressed_size // 2
    else:
        place = raw.index(b"\xff") if suffix == ".keep" else len(raw) - 64  # the bitmap; the body of a columns file
    if suffix not in (".keep", ".parquet"):
        assert place >= 12 + int.from_bytes(raw[8:12], "little"), "a file without a body"
    raw[place] ^= 1
    path.write_bytes(raw)
    return path


def without_last(out: Path, node: str) -> None:
    """As if the run had been ended before the node's last task."""
    (folder,) = out.glob(f"{node}-" + "?" * 16)
    (folder / "manifest.json").unlink(missing_ok=True)
    max((folder / "commits").iterdir()).unlink()


def _refuse(graph: object, storage: object, error: DamagedFileError) -> str:
    del graph, storage
    raise error


@pytest.mark.parametrize(("suffix", "node"), CASES)
def test_the_last_task_alone_notices_a_flipped_bit(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, node: str
) -> None:
    out = tmp_path / "run"
    shutil.copytree(done / "run", out)
    path = flipped(out, suffix, node)
    without_last(out, node)
    monkeypatch.setattr("pipeline.session.make_anew", _refuse)
    with pytest.raises(DamagedFileError, match="it is made anew") as caught:
        run(workflow(done / "in"), str(out), INLINE)
    assert caught.value.path == str(path)


def contents(out: Path) -> dict[str, str]:
    paths = sorted(path for path in out.glob("*-*/shards/*") if path.is_file())
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_the_same_command_makes_damaged_files_anew(done: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(done / "run", out)
    for suffix, node in ((".near", "unique"), (".keep", "lines"), (".frequent", "lines")):
        flipped(out, suffix, node)
        without_last(out, node)
    assert contents(out) != contents(done / "run")
    run(workflow(done / "in"), str(out), INLINE)
    assert contents(out) == contents(done / "run")


def test_readers_of_a_finished_run_notice_a_damaged_bitmap(done: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(done / "run", out)
    flipped(out, ".keep", "lines")
    opened = Run.open(str(out))
    with pytest.raises(DamagedFileError, match="sha256"):
        list(opened["unique"].documents())
    with pytest.raises(DamagedFileError, match="sha256"):
        keep_bitmap(opened["unique"], LAST)
    with pytest.raises(DamagedFileError, match="sha256"):
        list(lean_minhashes(opened, "unique"))
