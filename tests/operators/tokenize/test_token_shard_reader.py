"""Token shards read back: by number, by id, by place; from a commit and from a path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from token_fakes import CommittedFiles, documents, published

from operators.tokenize.shards.reader import TokenShard
from operators.tokenize.shards.writer import ShardWriter
from pipeline.errors import RunFailedError
from pipeline.work import Result


def written(folder: Path, tokens: list[list[int]], dtype: str = "<u2") -> dict[str, Path]:
    """Documents of these tokens, end mark 0 after each."""
    folder.mkdir(parents=True)
    writer = ShardWriter(folder, dtype=np.dtype(dtype), eos=0, name="sluice-abc")
    docs = documents([str(k) for k in range(len(tokens))])
    ends = np.cumsum([len(ids) for ids in tokens], dtype=np.int64)
    flat = np.array([token for ids in tokens for token in ids], np.uint32).astype(dtype)
    if tokens:
        writer.add(docs, flat, ends=ends, num_bytes=np.ones(len(tokens), np.int64))
    return published(Result(writer.close()), folder / "published")


TOKENS = [[5, 6], [7], [8, 9, 10]]
DOCS = documents(["0", "1", "2"])


@pytest.mark.parametrize("dtype", ["<u2", "<u4"])
@pytest.mark.parametrize("from_path", [True, False])
def test_documents_by_number_id_and_place(tmp_path: Path, dtype: str, *, from_path: bool) -> None:
    paths = written(tmp_path / "task", TOKENS, dtype)
    facts = {"dtype": np.dtype(dtype).name, "eos_id": 0}
    shard = TokenShard.at(paths[".bin"]) if from_path else TokenShard.of(CommittedFiles(paths, facts))
    assert (shard.num_documents, shard.num_tokens, shard.eos, shard.dtype) == (3, 9, 0, np.dtype(dtype))
    assert [shard.document(k).tolist() for k in range(3)] == [[5, 6, 0], [7, 0], [8, 9, 10, 0]]
    assert [shard.document(k, eos=False).tolist() for k in range(3)] == TOKENS
    keys = DOCS["id"].to_pylist()
    assert [shard.span_of(key) for key in keys] == [(0, 3), (3, 5), (5, 9)]
    assert shard.span_of(keys[2].hex()) == (5, 9)
    assert shard.span_of(bytes(16)) is None
    assert shard.numbers_of([keys[2], bytes(16), keys[0].hex()]).tolist() == [0, 2]
    assert [shard.document_at(k) for k in range(9)] == [0, 0, 0, 1, 1, 2, 2, 2, 2]
    assert shard.documents_at(np.arange(9)).tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 2]
    assert [bytes(row) for row in shard.ids] == keys
    assert shard.lengths.tolist() == [3, 2, 4]
    row = shard.row(2)
    assert (row["origin"], row["start"], row["num_tokens"]) == ("file.jsonl:2", 5, 4)
    assert not shard.tokens.flags.writeable


def test_what_a_shard_does_not_have(tmp_path: Path) -> None:
    shard = TokenShard.at(written(tmp_path / "task", TOKENS)[".bin"])
    for position in (-1, 9):
        with pytest.raises(IndexError, match=f"token {position} of 9"):
            shard.document_at(position)
    with pytest.raises(IndexError):
        shard.row(3)


@pytest.mark.parametrize("from_path", [True, False])
def test_a_shard_without_documents(tmp_path: Path, *, from_path: bool) -> None:
    paths = written(tmp_path / "task", [])
    shard = (
        TokenShard.at(paths[".bin"])
        if from_path
        else TokenShard.of(CommittedFiles(paths, {"dtype": "uint16", "eos_id": 7}))
    )
    assert (shard.num_documents, shard.num_tokens, len(shard.tokens)) == (0, 0, 0)
    assert shard.eos == (None if from_path else 7)
    assert shard.ids.shape == (0, 16)
    assert shard.span_of(bytes(16)) is None


def test_an_index_of_something_else(tmp_path: Path) -> None:
    paths = written(tmp_path / "task", TOKENS)
    content = bytearray(paths[".idx"].read_bytes())
    content[17] = 5  # Megatron's number for int64
    paths[".idx"].write_bytes(content)
    with pytest.raises(RunFailedError, match="not a Megatron index"):
        TokenShard.at(paths[".bin"])


def test_equal_ids_are_all_found(tmp_path: Path) -> None:
    folder = tmp_path / "task"
    folder.mkdir()
    writer = ShardWriter(folder, dtype=np.dtype("<u2"), eos=0, name="x")
    twice = pa.concat_tables([DOCS, DOCS.slice(1, 1)])
    ids = np.array([1, 2, 3, 2], np.uint16)
    writer.add(twice, ids, ends=np.arange(1, 5, dtype=np.int64), num_bytes=np.ones(4, np.int64))
    shard = TokenShard.at(published(Result(writer.close()), folder / "published")[".bin"])
    assert shard.numbers_of([DOCS["id"][1].as_py()]).tolist() == [1, 3]
    assert shard.span_of(DOCS["id"][1].as_py()) == (2, 4)


@settings(max_examples=25, deadline=None)
@given(tokens=st.lists(st.lists(st.integers(1, 65_535), min_size=1, max_size=5), max_size=8))
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, tokens: list[list[int]]) -> None:
    shard = TokenShard.at(written(tmp_path_factory.mktemp("shard") / "task", tokens)[".bin"])
    assert [shard.document(k, eos=False).tolist() for k in range(shard.num_documents)] == tokens
