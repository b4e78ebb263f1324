"""Related documents side by side: cuts against a sorted list, hosts and clusters against what they were made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packing_fakes import Committed, byte_level, token_shard
from token_fakes import documents, published

from operators.tokenize.packing import cuts
from operators.tokenize.packing.cuts import cut_at
from operators.tokenize.packing.pack import Policy
from operators.tokenize.packing.reader import INPUT, RELATED, SequenceShard
from operators.tokenize.packing.related import PackRelated, RelatedCuts, RelatedKeys
from operators.tokenize.shards.reader import TokenShard
from pipeline.errors import UserError
from pipeline.work import Extent, Task

RECORDS = st.tuples(st.integers(0, 3), st.integers(0, 3))
BIG = 0xFFFFFFFFFFFFFFFC  # so that numbers reach both ends of 64 bits


@given(
    files=st.lists(st.lists(RECORDS, max_size=9), min_size=1, max_size=4),
    ranks=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    sorted_at_once=st.sampled_from([0, 5, 1 << 22]),
)
def test_cuts_equal_those_of_one_sorted_list(
    files: list[list[tuple[int, int]]], ranks: list[int], sorted_at_once: int
) -> None:
    files = [sorted((BIG * (key % 2) + key, BIG * (order % 2) + order) for key, order in file) for file in files]
    columns = [tuple(np.array([record[k] for record in file], np.uint64) for k in (0, 1)) for file in files]
    whole = sorted((record, number) for number, file in enumerate(files) for record in file)
    expected = [[sum(number == k for _, number in whole[:rank]) for k in range(len(files))] for rank in ranks]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuts, "_SORTED_AT_ONCE", sorted_at_once)
        assert cut_at([(key, order) for key, order in columns], np.array(ranks)).tolist() == expected


HOSTS = {"https://a.org/{}": 30, "http://B.org:80/{}": 7, "https://c.org/x?{}": 3, None: 20}


def tables(*, swap: bool = False) -> list[pa.Table]:
    """Sixty documents in three shards, the hosts mixed; ``swap``: in two, in another order."""
    urls = [None if form is None else form.format(k) for form, count in HOSTS.items() for k in range(count)]
    whole = documents([f"text {k} of {'many words ' * (k % 7)}" for k in range(len(urls))])
    whole = whole.set_column(whole.column_names.index("url"), "url", pa.array(urls, whole["url"].type))
    order = np.argsort([hash_of(k) for k in range(len(urls))])
    if swap:
        return [whole.take(pa.array(order[::-1][part])) for part in (slice(0, 35), slice(35, None))]
    return [whole.take(pa.array(order[part])) for part in (slice(0, 15), slice(15, 40), slice(40, None))]


def hash_of(number: int) -> int:
    return number * 0x9E3779B97F4A7C15 % (1 << 64)


def packed(folder: Path, parts: list[pa.Table], policy: Policy = "concat", seed: int = 5) -> list[SequenceShard]:
    tokenizer = byte_level(folder / "tokenizer.json")
    tokens = [token_shard(folder, tokenizer, part, index=k) for k, part in enumerate(parts)]
    keys = []
    for shard in tokens:
        scratch = folder / f"keys{shard.index}"
        scratch.mkdir()
        result = RelatedKeys(by="host", seed=seed).run(Task("p.keys", shard.index, {INPUT: [shard]}, scratch))
        keys.append(Committed(published(result, scratch / "out"), result.facts, shard.index))
    (folder / "cuts").mkdir()
    result = RelatedCuts(by="host").run(Task("p.cuts", 0, {RELATED: keys}, folder / "cuts"))
    cut = [Committed(published(result, folder / "cuts" / "out"), result.facts)]
    work = PackRelated(sequence_length=64, policy=policy, seed=seed)
    shards = []
    for plan in work.tasks({INPUT: Extent(len(tokens)), RELATED: Extent(len(keys))}):
        scratch = folder / f"packed{plan.index}"
        scratch.mkdir()
        result = work.run(Task("p", plan.index, {INPUT: tokens, RELATED: keys, "cuts": cut}, scratch))
        done = Committed(published(result, scratch / "out"), result.facts, plan.index)
        shards.append(SequenceShard.of(done, {shard.index: TokenShard.of(shard) for shard in tokens}))
    return shards


def document_order(shards: list[SequenceShard]) -> list[tuple[bytes, str | None]]:
    """Id and URL of each document as it comes, once."""
    found: dict[bytes, str | None] = {}
    for shard in shards:
        for piece in shard.packed.pieces:
            row = shard.tokens[int(piece["shard"])].row(int(piece["document"]))
            found.setdefault(row["id"], row["url"])
    return list(found.items())


def host(url: str) -> str:
    return url.split("/")[2].partition(":")[0].lower()


def test_a_host_stands_together(tmp_path: Path) -> None:
    order = document_order(packed(tmp_path, tables()))
    assert len(order) == 60
    hosts = [host(url) for _, url in order if url is not None]
    runs = [name for k, name in enumerate(hosts) if k == 0 or hosts[k - 1] != name]
    assert sorted(runs) == ["a.org", "b.org", "c.org"]
    places = [k for k, (_, url) in enumerate(order) if url is not None and host(url) == "a.org"]
    assert places[-1] - places[0] == 29
    within = [int(url.rpartition("/")[2]) for _, url in order if url is not None and host(url) == "a.org"]
    assert within != sorted(within)  # drawn, so not in the order of the input


def test_order_hangs_on_content_alone(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    one = packed(tmp_path / "one", tables())
    other = packed(tmp_path / "other", tables(swap=True))
    assert document_order(one) == document_order(other)
    assert [shard.packed.num_rows > 0 for shard in one] == [True] * 3


def test_no_document_with_a_host(tmp_path: Path) -> None:
    docs = documents(["a text", "another"])
    docs = docs.set_column(docs.column_names.index("url"), "url", pa.nulls(2, docs["url"].type))
    with pytest.raises(UserError, match="no document has a URL with a host"):
        packed(tmp_path, [docs])
