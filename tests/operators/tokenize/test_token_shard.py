"""Token shards, byte by byte, against layouts written out by hand."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from token_fakes import documents, published

from operators.tokenize.shards import indexes
from operators.tokenize.shards import writer as writer_module
from operators.tokenize.shards.indexes import datatrove_metadata
from operators.tokenize.shards.reader import TokenShard
from operators.tokenize.shards.verify import verify
from operators.tokenize.shards.writer import ShardWriter
from pipeline.errors import RunFailedError
from pipeline.work import Result

DOCS = documents(["one", "two two", "三"], source="books", language="en")
IDS = np.array([5, 6, 7, 8, 9, 10], np.uint32)
ENDS = np.array([2, 3, 6], np.int64)
SIZES = np.array([3, 7, 3], np.int64)


def written(folder: Path, dtype: str = "<u2") -> dict[str, Path]:
    """Three documents of tokens 5 6, 7, 8 9 10 with end mark 0."""
    folder.mkdir()
    writer = ShardWriter(folder, dtype=np.dtype(dtype), eos=0, name="sluice-abc")
    assert writer.add(DOCS, IDS.astype(dtype), ends=ENDS, num_bytes=SIZES).tolist() == [3, 2, 4]
    return published(Result(writer.close()), folder / "published")


def test_golden_bytes_of_16_bits(tmp_path: Path) -> None:
    paths = written(tmp_path / "task")
    assert list(paths) == [".bin", ".idx", ".ds.index", ".ds.metadata", ".csv.gz", ".offsets.npy", ".docs.parquet"]
    assert paths[".bin"].read_bytes() == struct.pack("<9H", 5, 6, 0, 7, 0, 8, 9, 10, 0)
    index = b"MMIDIDX\x00\x00" + struct.pack("<Q", 1) + b"\x08" + struct.pack("<QQ", 3, 4)
    index += struct.pack("<3i", 3, 2, 4) + struct.pack("<3q", 0, 6, 10) + struct.pack("<4q", 0, 1, 2, 3)
    assert len(index) == 42 + 20 * 3
    assert paths[".idx"].read_bytes() == index
    assert paths[".ds.index"].read_bytes() == struct.pack("<3Q", 3, 5, 9)
    assert paths[".ds.metadata"].read_text() == "sluice-abc|2\n9\n9.00 T"
    ids = [key.hex() for key in DOCS["id"].to_pylist()]
    assert gzip.decompress(paths[".csv.gz"].read_bytes()).decode() == f"0,3,{ids[0]}\n3,5,{ids[1]}\n5,9,{ids[2]}\n"
    assert paths[".csv.gz"].read_bytes()[:8] == b"\x1f\x8b\x08\x00" + bytes(4)  # no name, no time
    offsets = np.load(paths[".offsets.npy"])
    assert offsets.dtype == np.int64
    assert offsets.tolist() == [0, 3, 5, 9]


def test_golden_rows(tmp_path: Path) -> None:
    rows = pq.read_table(written(tmp_path / "task")[".docs.parquet"]).to_pylist()
    ids = DOCS["id"].to_pylist()
    same = {"source": "books", "language": "en"}
    assert rows == [
        {"id": ids[0], **same, "url": "https://example.org/0", "num_tokens": 3, "num_bytes": 3, "start": 0,
         "origin": "file.jsonl:0"},
        {"id": ids[1], **same, "url": "https://example.org/1", "num_tokens": 2, "num_bytes": 7, "start": 3,
         "origin": "file.jsonl:1"},
        {"id": ids[2], **same, "url": "https://example.org/2", "num_tokens": 4, "num_bytes": 3, "start": 5,
         "origin": "file.jsonl:2"},
    ]  # fmt: skip


def test_golden_bytes_of_32_bits(tmp_path: Path) -> None:
    paths = written(tmp_path / "task", "<u4")
    assert paths[".bin"].read_bytes() == struct.pack("<9I", 5, 6, 0, 7, 0, 8, 9, 10, 0)
    index = paths[".idx"].read_bytes()
    assert index[17] == 4  # Megatron's number for int32
    assert struct.unpack_from("<3q", index, 34 + 12) == (0, 12, 20)
    assert paths[".ds.metadata"].read_text() == "sluice-abc|4\n9\n9.00 T"


def test_a_shard_without_documents(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, dtype=np.dtype("<u2"), eos=0, name="x")
    paths = published(Result(writer.close()), tmp_path / "published")
    assert paths[".bin"].read_bytes() == b""
    assert paths[".idx"].read_bytes() == b"MMIDIDX\0\0" + struct.pack("<QBQQq", 1, 8, 0, 1, 0)
    assert np.load(paths[".offsets.npy"]).tolist() == [0]
    assert gzip.decompress(paths[".csv.gz"].read_bytes()) == b""
    assert pq.read_table(paths[".docs.parquet"]).num_rows == 0
    assert verify([paths[".bin"]]) == []


def test_an_end_mark_from_a_text_stops_the_shard(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, dtype=np.dtype("<u2"), eos=7, name="x")
    with pytest.raises(RunFailedError, match=DOCS["id"][1].as_py().hex()):
        writer.add(DOCS, IDS, ends=ENDS, num_bytes=SIZES)
    writer.close()


def test_a_document_longer_than_any_reader_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert np.iinfo(np.int32).max == writer_module.MAX_DOCUMENT_TOKENS
    monkeypatch.setattr(writer_module, "MAX_DOCUMENT_TOKENS", 3)
    writer = ShardWriter(tmp_path, dtype=np.dtype("<u2"), eos=0, name="x")
    with pytest.raises(RunFailedError, match=rf"document {DOCS['id'][2].as_py().hex()} has 4 tokens, .* 3 at most"):
        writer.add(DOCS, IDS.astype(np.uint16), ends=ENDS, num_bytes=SIZES)
    writer.abandon()


def test_documents_of_another_shard(tmp_path: Path) -> None:
    """The last two documents, copied: their starts are new."""
    shard = TokenShard.at(written(tmp_path / "task")[".bin"])
    (tmp_path / "copy").mkdir()
    writer = ShardWriter(tmp_path / "copy", dtype=np.dtype("<u2"), eos=0, name="x")
    writer.copy(shard.columns().slice(1), shard.tokens[3:])
    paths = published(Result(writer.close()), tmp_path / "copied")
    copied = TokenShard.at(paths[".bin"])
    assert [copied.document(k).tolist() for k in range(2)] == [[7, 0], [8, 9, 10, 0]]
    assert copied.columns()["start"].to_pylist() == [0, 2]
    assert verify([paths[".bin"]]) == []


def test_without_indexes(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, dtype=np.dtype("<u2"), eos=0, name=None)
    writer.add(DOCS, IDS.astype(np.uint16), ends=ENDS, num_bytes=SIZES)
    assert [output.suffix for output in writer.close()] == [".bin", ".offsets.npy", ".docs.parquet"]


def test_olmo_lines_of_several_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "_ROWS_TOGETHER", 4)
    lengths = np.arange(1, 12)
    ids = (np.arange(11 * 16) * 37 % 256).astype(np.uint8).reshape(11, 16)
    ends = np.cumsum(lengths).tolist()
    slow = [f"{end - n},{end},{key.tobytes().hex()}\n" for n, end, key in zip(lengths, ends, ids, strict=True)]
    assert indexes.olmo_lines(lengths, ids).decode() == "".join(slow)
    assert indexes.olmo_lines(lengths[:0], ids[:0]) == b""


@pytest.mark.parametrize(
    ("tokens", "for_eyes"),
    [(0, "0.00 T"), (999, "999 T"), (1000, "1.00 kT"), (1234, "1.23 kT"), (12345, "12.3 kT"), (2_500_000_000, "2.50 GT"),
     (999_499, "999 kT"), (999_999, "1.00 MT")],
)  # fmt: skip
def test_token_counts_for_human_eyes(tokens: int, for_eyes: str) -> None:
    assert datatrove_metadata("t", 2, tokens) == f"t|2\n{tokens}\n{for_eyes}"


def test_verify_finds_nothing_wrong(tmp_path: Path) -> None:
    assert verify([written(tmp_path / "a")[".bin"], written(tmp_path / "b", "<u4")[".bin"]]) == []


def _mark_inside(paths: dict[str, Path]) -> None:
    paths[".bin"].write_bytes(struct.pack("<9H", 5, 6, 0, 7, 0, 8, 0, 10, 0))


def _other_mark(paths: dict[str, Path]) -> None:
    paths[".bin"].write_bytes(struct.pack("<9H", 5, 6, 0, 7, 0, 8, 9, 10, 1))


def _cut(paths: dict[str, Path]) -> None:
    paths[".bin"].write_bytes(paths[".bin"].read_bytes()[:-1])


def _index(paths: dict[str, Path]) -> None:
    content = bytearray(paths[".idx"].read_bytes())
    content[34] = 4
    paths[".idx"].write_bytes(content)


def _ends(paths: dict[str, Path]) -> None:
    paths[".ds.index"].write_bytes(struct.pack("<3Q", 3, 6, 9))


def _lines(paths: dict[str, Path]) -> None:
    paths[".csv.gz"].write_bytes(gzip.compress(b"0,3,\n3,5,\n", mtime=0))


def _empty_document(paths: dict[str, Path]) -> None:
    np.save(paths[".offsets.npy"], np.array([0, 3, 4, 9]))


def _no_index(paths: dict[str, Path]) -> None:
    paths[".csv.gz"].write_bytes(b"0,3,\n")


def _metadata(paths: dict[str, Path]) -> None:
    paths[".ds.metadata"].write_text("sluice-abc|2\n8\n8.00 T")


def _rows(paths: dict[str, Path]) -> None:
    table = pq.read_table(paths[".docs.parquet"])
    starts = pa.array([0, 2, 5])
    pq.write_table(table.set_column(table.column_names.index("start"), "start", starts), paths[".docs.parquet"])


def _gone(paths: dict[str, Path]) -> None:
    paths[".docs.parquet"].unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_mark_inside, "end mark 0 stands 4 times in 3 documents"),
        (_no_index, "an index cannot be read"), (_metadata, ".ds.metadata"), (_rows, ".docs.parquet"),
        (_other_mark, "different tokens: [0, 1]"),
        (_cut, "documents add up to 18 bytes, the payload has 17"),
        (_index, ".idx"), (_ends, ".ds.index"), (_lines, ".csv.gz"),
        (_empty_document, "1 documents are empty"),
        (_gone, "no .docs.parquet"),
    ],
)  # fmt: skip
def test_verify_names_the_damage(tmp_path: Path, damage: Callable[[dict[str, Path]], None], words: str) -> None:
    paths = written(tmp_path / "task")
    damage(paths)
    problems = verify([paths[".bin"]])
    assert any(words in problem and problem.startswith(paths[".bin"].name) for problem in problems), problems
