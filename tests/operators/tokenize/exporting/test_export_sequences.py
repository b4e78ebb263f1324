"""Packed sequences as rows, beside the packing reader that takes one sequence at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.tokenize.exporting import sequences
from operators.tokenize.exporting.folder import ExportFolder
from operators.tokenize.exporting.sequences import Rows
from operators.tokenize.packing.layout import PIECE, Packed
from operators.tokenize.packing.reader import SequenceShard
from operators.tokenize.shards.reader import TokenShard

EOS, LENGTH = 999, 7
FACTS = {"tokenizer_sha256": "0123456789abcdef0123", "dtype": "uint16"}


def payload(number: int, size: int = 40) -> TokenShard:
    shard = TokenShard(Path("none.bin"), Path("none.parquet"), np.dtype("<u2"), np.array([0, size]), EOS)
    shard.__dict__["tokens"] = np.arange(size, dtype=np.uint16) + 100 * number
    return shard


@st.composite
def packed(draw: st.DrawFn) -> Rows:
    """Rows of at most LENGTH + 1 tokens, of pieces of shards 1 and 2, and of rewritten documents (from 500 on)."""
    pieces, rows = [], [0]
    for _ in range(draw(st.integers(1, 8))):
        room = LENGTH + 1
        while room and draw(st.booleans() if rows[-1] < len(pieces) else st.just(value=True)):
            length = draw(st.integers(1, room))
            shard, rewritten = draw(st.sampled_from([(1, 0), (2, 0), (1, 1), (2, 1)]))
            pieces.append((shard, 0, draw(st.integers(0, 30)), length, rewritten))
            room -= length
        rows.append(len(pieces))
    layout = Packed(np.array(pieces, PIECE), np.array(rows, np.int64))
    shard = SequenceShard(layout, {1: payload(1), 2: payload(2)}, None, LENGTH, np.dtype("<u2"), EOS)
    shard.__dict__["rewritten"] = np.arange(500, 540, dtype=np.uint16)
    return Rows(3, shard, FACTS)


@given(rows=packed(), data=st.data())
def test_rows_are_the_sequences(rows: Rows, data: st.DataObject) -> None:
    count = len(rows.packed)
    first = data.draw(st.integers(0, count - 1))
    after = data.draw(st.integers(first + 1, count))
    wanted, _ = rows.packed.batch(np.arange(first, after))
    assert rows.table(first, after).tolist() == wanted.tolist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sequences, "_BLOCK_TOKENS", 2 * LENGTH)
        assert np.concatenate(list(rows.blocks(first, after))).tolist() == wanted.tolist()


@given(rows=packed())
def test_lengths_are_those_of_the_pieces_and_of_the_padding(rows: Rows) -> None:
    wanted: list[int] = []
    for number in range(len(rows.packed)):
        bounds = rows.packed.bounds(number)
        wanted += [*np.diff(bounds).tolist(), LENGTH + 1 - int(bounds[-1])]
    assert rows.lengths.tolist() == [length for length in wanted if length]


@given(rows=packed())
def test_parquet_has_each_sequence_without_padding(rows: Rows) -> None:
    table = sequences._rows(rows, 0, len(rows.packed)).to_pylist()
    assert [row["tokens"] for row in table] == [rows.packed.sequence(k).tolist() for k in range(len(rows.packed))]
    assert [row["lengths"] for row in table] == [
        np.diff(rows.packed.bounds(k)).tolist() for k in range(len(rows.packed))
    ]


def test_chunks_hold_whole_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [(1, 0, start, 8, 0) for start in (0, 5, 9)]
    layout = Packed(np.array(pieces, PIECE), np.arange(4))
    shard = SequenceShard(layout, {1: payload(1)}, None, LENGTH, np.dtype("<u2"), EOS)
    monkeypatch.setattr(sequences, "_CHUNK_BYTES", 40)  # two rows of 16 bytes, and a rest
    with ExportFolder(tmp_path / "out") as folder:
        sequences._litgpt(folder, [Rows(3, shard, FACTS)])
        folder.publish(b"{}")
    first, second = (np.fromfile(tmp_path / f"out/chunk-3-{k}.bin", "<u2", offset=12).tolist() for k in (0, 1))
    assert first == [*range(100, 108), *range(105, 113)]
    assert second == [*range(109, 117)]
