"""Encoded documents put together as token shards, against an obvious twin on lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from token_fakes import CommittedFiles, documents, numbered, published

from operators.tokenize.shards import choice
from operators.tokenize.shards.encoded import Encode
from operators.tokenize.shards.reader import TokenShard
from operators.tokenize.shards.regroup import Regroup
from operators.tokenize.shards.verify import verify
from pipeline.documents import document_id
from pipeline.errors import RunFailedError
from pipeline.ledger import Ledger, total
from pipeline.value import Artifact
from pipeline.work import Extent, Result, Task

MASK = (1 << 64) - 1


def mixed(value: int) -> int:
    """splitmix64's finaliser (Steele, Lea and Flood 2014), in plain Python."""
    value = (value + 0x9E3779B97F4A7C15) & MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def order_of(key: bytes, seed: int) -> tuple[int, int, int]:
    low, high = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    return mixed(high ^ mixed(low ^ mixed(seed & MASK))), high, low


Doc = tuple[bytes, list[int]]


def texts_of(lengths: Sequence[int], shard: int) -> pa.Table:
    """A document a length, of words that the tokenizer numbers; 0 is a text without a token."""
    words = [
        " ".join(f"w{(7 * shard + 3 * row + k) % 90 + 1}" for k in range(n)) or " " for row, n in enumerate(lengths)
    ]
    table = documents(words, source=f"s{shard % 2}", language="en")
    ids = [document_id("x", f"{shard}/{row}", b"") for row in range(len(words))]
    return table.set_column(0, "id", pa.array(ids, pa.binary(16)))


def encoded(folder: Path, tokenizer: Path, shards: Sequence[Sequence[int]], **more: Any) -> list[CommittedFiles]:
    """Encoded shards, as their tasks commit them."""
    work = Encode(tokenizer=Artifact(file=str(tokenizer)), eos="<|endoftext|>", **more)
    found = []
    for k, lengths in enumerate(shards):
        scratch = folder / f"encoded-{k}"
        scratch.mkdir(parents=True)
        sink = work.open(Task("tokens.encoded", k, {}, scratch))
        if lengths:
            docs = texts_of(lengths, k)
            if more:
                docs = docs.append_column("score", pa.array([float(n) for n in lengths]))
            sink.add(docs)
        result = sink.close()
        result.ledger.check("encoded")
        found.append(CommittedFiles(published(result, folder / f"published-{k}"), result.facts, index=k))
    return found


def regrouped(folder: Path, work: Regroup, shards: Sequence[CommittedFiles]) -> list[tuple[Result, dict[str, Path]]]:
    """Every task of a work, in order."""
    done = []
    for plan in work.tasks({"encoded": Extent(len(shards), {}, tuple(shard.facts for shard in shards))}):
        scratch = folder / f"task-{plan.index}"
        scratch.mkdir(parents=True)
        inputs = {"encoded": [shards[k] for k in plan.needs["encoded"] or ()]}
        result = work.run(Task("tokens", plan.index, inputs, scratch, part=plan.part))
        result.ledger.check("tokens")
        done.append((result, published(result, folder / f"token-{plan.index}")))
    return done


def docs_of(shard: TokenShard) -> list[Doc]:
    return [(bytes(key), shard.document(k).tolist()) for k, key in enumerate(shard.ids)]


def slow(shards: list[list[Doc]], work: Regroup) -> list[list[Doc]]:
    """The same on lists: windows, their order, their cuts."""
    windows: list[list[list[Doc]]] = []
    for docs in shards:
        size = sum(len(ids) for _, ids in docs)
        held = sum(len(ids) for one in windows[-1] for _, ids in one) if windows else 0
        if not windows or (
            work.window_tokens is not None and held + size - work.window_tokens > work.window_tokens - held
        ):
            windows.append([])
        windows[-1].append(docs)
    made = []
    for window in windows:
        docs = [doc for shard in window for doc in shard]
        if work.window_tokens is not None:
            docs.sort(key=lambda doc: order_of(doc[0], work.seed))
        size = sum(len(ids) for _, ids in docs)
        count = max(1, -(-size // work.tokens_per_shard))
        parts: list[list[Doc]] = [[] for _ in range(count)]
        position = 0
        for doc in docs:
            part = next(k for k in reversed(range(count)) if size * k // count <= position)
            parts[part].append(doc)
            position += len(doc[1])
        made += parts
    return made


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbered(tmp_path_factory.mktemp("numbered") / "tokenizer.json", 100)


SHARDS = st.lists(st.lists(st.integers(0, 9), max_size=8), min_size=1, max_size=6)


@settings(max_examples=8, deadline=None)
@given(
    shards=SHARDS,
    per_shard=st.integers(3, 40),
    window=st.none() | st.integers(1, 80),
    seed=st.integers(-(2**63), 2**64 - 1),
)
@pytest.mark.parametrize("together", [4, 1 << 22])
def test_as_the_twin(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: Path, together: int, shards: list[list[int]], per_shard: int,
    window: int | None, seed: int,
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("regroup")
    work = Regroup(tokens_per_shard=per_shard, window_tokens=window, seed=seed)
    inputs = encoded(folder, tokenizer, shards)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(choice, "_TOKENS_TOGETHER", together)
        done = regrouped(folder, work, inputs)
    found = [TokenShard.at(paths[".bin"]) for _, paths in done]
    assert [docs_of(shard) for shard in found] == slow([docs_of(TokenShard.of(shard)) for shard in inputs], work)
    assert verify([paths[".bin"] for _, paths in done]) == []
    ledger = total(result.ledger for result, _ in done)
    assert ledger.into.docs == sum(len(lengths) for lengths in shards)
    assert ledger.kept.docs == sum(1 for lengths in shards for n in lengths if n)
    assert ledger.kept.tokens == sum(n + 1 for lengths in shards for n in lengths if n)
    assert sum(result.facts["tokens"] for result, _ in done) == ledger.kept.tokens


def rows_of(done: Sequence[tuple[Result, Mapping[str, Path]]], suffix: str) -> list[dict[str, Any]]:
    return [row for _, paths in done if suffix in paths for row in pq.read_table(paths[suffix]).to_pylist()]


def without_place(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "start"} for row in rows]


@pytest.mark.parametrize("window", [None, 40])
def test_rows_dropped_rows_and_the_account_are_those_of_the_documents(
    tmp_path: Path, tokenizer: Path, window: int | None
) -> None:
    inputs = encoded(tmp_path, tokenizer, [[3, 0, 5], [], [0], [9, 2], [0, 0]])
    done = regrouped(tmp_path, Regroup(tokens_per_shard=10, window_tokens=window), inputs)

    def by_id(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted(rows, key=lambda row: row["id"])

    before = [row for shard in inputs for row in pq.read_table(shard.file(".docs.parquet")).to_pylist()]
    assert by_id(without_place(rows_of(done, ".docs.parquet"))) == by_id(without_place(before))
    dropped = [
        row
        for shard in inputs
        if shard.facts["dropped"]
        for row in pq.read_table(shard.file(".dropped.parquet")).to_pylist()
    ]
    assert len(dropped) == 4
    assert by_id(rows_of(done, "dropped")) == by_id(dropped)
    for result, paths in done:
        shard = TokenShard.at(paths[".bin"])
        assert shard.columns()["start"].to_pylist() == shard.offsets[:-1].tolist()
        assert result.facts["docs"] == shard.num_documents
    ledger: Ledger = total(result.ledger for result, _ in done)
    assert ledger.dropped["tokenize:no_tokens"].docs == 4
    assert {name: count.docs for name, count in ledger.group_into.items()} == {"s0|en": 6, "s1|en": 2}
    assert {name: count.docs for name, count in ledger.group_kept.items()} == {"s0|en": 2, "s1|en": 2}
    (flow,) = ledger.flows
    assert (flow.operator, flow.into["en"].docs, flow.out["en"].docs) == ("tokenize", 8, 4)


def test_what_the_documents_were_asked_to_keep_rides_along(tmp_path: Path, tokenizer: Path) -> None:
    inputs = encoded(tmp_path, tokenizer, [[3, 5], [], [4, 2]], keep=("score",))
    done = regrouped(tmp_path, Regroup(tokens_per_shard=6, window_tokens=100), inputs)
    rows = rows_of(done, ".docs.parquet")
    assert len(rows) == 4
    assert all(row["score"] == row["num_tokens"] - 1 for row in rows)


def test_facts(tmp_path: Path, tokenizer: Path) -> None:
    inputs = encoded(tmp_path, tokenizer, [[3], [5]])
    ((result, _),) = regrouped(tmp_path, Regroup(tokens_per_shard=100), inputs)
    same = ("dtype", "vocab_size", "eos_id", "tokenizer_sha256", "engine")
    assert {name: result.facts[name] for name in same} == {name: inputs[0].facts[name] for name in same}
    sizes = {"tokens": 10, "docs": 2, "bytes": sum(shard.facts["bytes"] for shard in inputs), "encoded": [0, 1]}
    assert {name: result.facts[name] for name in sizes} == sizes


def test_shards_of_two_tokenizers_are_refused(tmp_path: Path, tokenizer: Path) -> None:
    other = numbered(tmp_path / "other.json", 101)
    inputs = [*encoded(tmp_path / "a", tokenizer, [[3]]), *encoded(tmp_path / "b", other, [[3]])]
    with pytest.raises(RunFailedError, match="vocab_size=101, shard 0 100"):
        regrouped(tmp_path, Regroup(tokens_per_shard=100), inputs)


def test_blocks_are_bounded_and_in_order(tmp_path: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents of 2, 3, 9, 2, 2, 3 tokens in blocks that start every 4: the one of 9 by itself."""
    monkeypatch.setattr(choice, "_TOKENS_TOGETHER", 4)
    (inputs,) = encoded(tmp_path, tokenizer, [[1, 2, 8, 1, 1, 2]])
    shard = TokenShard.of(inputs)
    for rows in ([0, 1, 2, 3, 4, 5], [0, 4, 2, 3, 1, 5], [0, 2, 1, 3], [2], []):
        number = np.array(rows, np.int64)
        chosen = choice.Choice(np.zeros(len(rows), np.int64), number, shard.lengths[number])
        blocks = list(chosen.blocks([shard]))
        found = [token for _, _, tokens in blocks for token in tokens.tolist()]
        assert found == [token for row in rows for token in shard.document(row).tolist()]
        assert [row for first, last, _ in blocks for row in range(first, last)] == list(range(len(rows)))
        assert all(len(tokens) <= 8 or last - first == 1 for first, last, tokens in blocks)


def test_neighbours_out_of_order_are_not_taken_for_a_run(tmp_path: Path, tokenizer: Path) -> None:
    (inputs,) = encoded(tmp_path, tokenizer, [[1, 2, 3, 4]])
    shard = TokenShard.of(inputs)
    number = np.array([0, 2, 1, 3])
    ((_, _, tokens),) = choice.Choice(number * 0, number, shard.lengths[number]).blocks([shard])
    assert tokens.tolist() == [token for row in number for token in shard.document(row).tolist()]


def test_equal_ids_stay_in_the_order_of_their_addresses(tmp_path: Path, tokenizer: Path) -> None:
    """Records that are equal in everything share an id; which is first shows in nothing but where they came from."""
    ids = [np.zeros((3, 16), np.uint8), np.zeros((2, 16), np.uint8)]
    assert choice._permuted(ids, 3).tolist() == [0, 1, 2, 3, 4]
