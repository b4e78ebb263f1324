"""What of a shard goes into a set: spans, blocks and the draw, each beside an obvious twin."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.tokenize.exporting import parts
from operators.tokenize.exporting.headers import Cut, _marks_first
from operators.tokenize.exporting.parts import Part, choose, spans
from operators.tokenize.shards.reader import TokenShard

M64 = (1 << 64) - 1
LENGTHS = st.lists(st.integers(2, 12), min_size=1, max_size=20)


def held(lengths: list[int], chosen: list[bool] | None) -> Part:
    """A part over tokens 0, 1, 2, ..."""
    offsets = np.cumsum([0, *lengths])
    shard = TokenShard(Path("none.bin"), Path("none.parquet"), np.dtype("<u2"), offsets, 0)
    shard.__dict__["tokens"] = np.arange(offsets[-1], dtype=np.uint16)
    committed = SimpleNamespace(index=0, facts={"dtype": "uint16", "eos_id": 0, "docs": len(lengths)})
    opened = type("Opened", (Part,), {"shard": shard})
    return opened(committed, None if chosen is None else np.array(chosen, bool))


@given(lengths=LENGTHS, block=st.integers(1, 30))
def test_spans_are_neighbours_and_small(lengths: list[int], block: int) -> None:
    offsets = np.cumsum([0, *lengths])
    found = list(spans(offsets, block))
    assert [k for first, after in found for k in range(first, after)] == list(range(len(lengths)))
    for first, after in found:
        assert after == first + 1 or offsets[after] - offsets[first] <= block
        if after < len(lengths):  # the next one would not have fitted
            assert offsets[after + 1] - offsets[first] > block


def test_spans_of_nothing() -> None:
    assert list(spans(np.zeros(1, np.int64), 10)) == []


@given(data=st.data(), lengths=LENGTHS, block=st.integers(1, 30))
def test_blocks_are_the_documents_chosen(data: st.DataObject, lengths: list[int], block: int) -> None:
    chosen = data.draw(st.none() | st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths)))
    part = held(lengths, chosen)
    wanted = []
    for k in range(len(lengths)):
        if chosen is None or chosen[k]:
            wanted += part.shard.document(k).tolist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "BLOCK_TOKENS", block)
        assert [token for piece in part.blocks() for token in piece.tolist()] == wanted
        moved = [token for piece in _marks_first(part) for token in piece.tolist()]
    assert moved == ([0, *wanted[:-1]] if wanted else [])
    assert part.num_tokens == len(wanted)
    assert part.num_documents == len(part.lengths)
    assert part.lengths.tolist() == [n for k, n in enumerate(lengths) if chosen is None or chosen[k]]


@given(st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=6), st.data())
def test_cut_hands_out_the_same_in_other_lengths(blocks: list[list[int]], data: st.DataObject) -> None:
    whole = [one for block in blocks for one in block]
    cut, at = Cut(iter(np.array(block, np.int64) for block in blocks)), 0
    while at < len(whole):
        count = data.draw(st.integers(1, len(whole) - at))
        assert [one for piece in cut.take(count) for one in piece.tolist()] == whole[at : at + count]
        at += count


def mixed(value: int) -> int:
    """splitmix64's finisher on one number."""
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & M64
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & M64
    return value ^ value >> 31


def slow_set(key: bytes, shares: dict[str, float], seed: int) -> str:
    step = 0x9E3779B97F4A7C15
    low, high = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    number = mixed((mixed(mixed((seed + step) & M64) ^ low) + step & M64) ^ high)
    bound = 0.0
    for name, share in shares.items():
        bound += share
        if number < int(bound * 2**64):
            return name
    return "train"


@given(keys=st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=30), seed=st.integers(0, M64))
def test_a_set_is_drawn_by_hash_of_seed_and_id(keys: list[bytes], seed: int) -> None:
    shares = {"val": 0.2, "test": 0.3}
    ids = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 16)
    sets = choose(ids, tuple(shares.items()), seed)
    assert list(sets) == ["train", "val", "test"]
    for name, chosen in sets.items():
        assert chosen.tolist() == [slow_set(key, shares, seed) == name for key in keys]


def test_nothing_held_out_is_all_of_it() -> None:
    assert choose(np.zeros((3, 16), np.uint8), None, 0) == {"train": None}
