"""The whole step on made-up texts against the O(n^2) rule; slices of keys; what moves no signature."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from operators.dedup.columns import write_columns
from operators.dedup.order import check_addressable
from operators.dedup.ranges import ALL, KeyRange, SortedFiles
from operators.dedup.verb import Dedup, MinHash
from pipeline.errors import UserError
from tests.operators.dedup.test_dedup import expected, outcome, sharded
from tests.operators.dedup.twins import Doc, Rule

PARTS = ["a b", "a b c", "b c d e", "数据 处理", "é", "!", " ", "\n", "A", "e\u0301"]
TEXTS = st.none() | st.lists(st.sampled_from(PARTS), max_size=6).map(" ".join) | st.text("ab é数\u0301", max_size=12)


@settings(deadline=None, max_examples=25)
@given(texts=st.lists(TEXTS, max_size=14), num_shards=st.integers(1, 3), memory_gib=st.sampled_from([1e-5, 1.0]))
def test_any_texts_equal_the_rule_of_all_pairs(texts: list[str | None], num_shards: int, memory_gib: float) -> None:
    docs = [Doc(hashlib.md5(b"%d" % k).digest(), text) for k, text in enumerate(texts)]
    minhash = MinHash(ngram=2, bands=20, rows=2, threshold=0.4)
    dedup = Dedup(minhash=minhash, partitions=2, memory_gib=memory_gib, alarm=None, audit=0)
    plain = [Doc(doc.id, doc.text, None) for doc in docs]
    assert outcome(dedup, sharded(plain, num_shards)) == expected(docs, Rule(ngram=2, bands=20, rows=2, threshold=0.4))


def files(folder: Path, *columns: list[int]) -> SortedFiles:
    for number, keys in enumerate(columns):
        write_columns(folder / str(number), "run", {}, {"key": np.sort(np.array(keys, np.uint64))})
    return SortedFiles([(k, folder / str(k)) for k in range(len(columns))], "run", "key", {})


@pytest.mark.parametrize("hot", [0, 12345 << 40, (1 << 64) - 1])
def test_slices_fit_but_for_one_key(tmp_path: Path, hot: int) -> None:
    draw = np.random.default_rng(1)
    some = [draw.integers(0, 1 << 63, 300).tolist() for _ in range(3)]
    made = files(tmp_path, [*some[0], *[hot] * 500], [*some[1], hot, hot + (-1 if hot else 1)], some[2], [])
    limit = 64
    slices = made.slices(ALL, limit * 128 / 2**30)
    assert (slices[0].first, slices[-1].end) == (0, 1 << 64)
    assert all(one.end == other.first for one, other in itertools.pairwise(slices))
    every = np.sort(np.concatenate([file["key"] for _, file in made.open()]))
    for part in slices:
        found = part.within(every)
        assert found.stop - found.start <= limit or part == KeyRange(hot, hot + 1)
    assert KeyRange(hot, hot + 1) in slices


def test_bands_leave_the_signatures_alone() -> None:
    """As long as the slots are enough; a change of bands reads no text again."""
    first = Dedup().nodes("u", "c", 0)[0]
    for bands, rows in ((20, 5), (9, 12), (1, 112)):
        assert Dedup(minhash=MinHash(bands=bands, rows=rows)).nodes("u", "c", 0)[0] == first
    assert MinHash(bands=25, rows=10).slots == 250
    assert MinHash(num_perm=256).slots == 256
    with pytest.raises(ValidationError, match="bands \\* rows is 112, more than num_perm, 100"):
        MinHash(num_perm=100)


def test_more_than_addresses_can_tell_apart() -> None:
    check_addressable(1 << 24, 255)
    with pytest.raises(UserError, match="at most 16777216 shards, got 16777217; read larger files"):
        check_addressable((1 << 24) + 1)
    with pytest.raises(UserError, match="at most 255 earlier datasets, got 256"):
        check_addressable(1, 256)
