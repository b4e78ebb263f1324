"""Barriers over many shards and partitions: few open files, and as many opened as there are shards."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operators.dedup.columns import Columns, open_columns, write_columns
from operators.dedup.earlier import index
from operators.dedup.external_sort import summed
from operators.dedup.lookup import found_in
from operators.dedup.substrings import anchors, cuts, places
from operators.dedup.substrings.verb import DedupSubstrings
from operators.dedup.verb import Dedup
from tests.operators.dedup import many_shards
from tests.operators.dedup import runner as runner_of_dedup
from tests.operators.dedup.substrings import runner


def test_more_shards_and_partitions_than_a_process_may_open_files(tmp_path: Path) -> None:
    """Of 40 documents with ten texts ten stay; the shared line stays once; a split loses none."""
    command = [sys.executable, "-m", many_shards.__name__, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["dedup", "10", "lines", "1", "split", "40", "substrings", "1"]


def test_what_is_checked_is_held_without_a_file_descriptor(tmp_path: Path) -> None:
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("/proc is Linux's")
    write_columns(tmp_path / "a", "kind", {}, {"key": np.arange(1000)})
    before = len(list(descriptors.iterdir()))
    held = [open_columns(tmp_path / "a", "kind", {}, verify=True) for _ in range(20)]
    assert len(list(descriptors.iterdir())) == before
    (tmp_path / "a").unlink()
    assert all(file["key"][999] == 999 for file in held)


def test_the_last_node_of_substrings_opens_files_linear_in_the_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own rows and two files of each partition per shard, also where what repeats lies in any other shard."""
    opened: Counter[str] = Counter()

    def counting(path: Path, kind: str, *rest: Any, **more: Any) -> Columns:
        opened[kind] += 1
        return open_columns(path, kind, *rest, **more)

    for module in (anchors, cuts, places):
        monkeypatch.setattr(module, "open_columns", counting)
    found = {}
    for num_shards in (5, 10):
        opened.clear()
        step = DedupSubstrings.model_validate({"min_tokens": 10, "partitions": 2})
        runner.run(step, many_shards.corpus(num_shards))
        found[num_shards] = dict(opened)
    for num_shards, count in found.items():
        assert count["repeats"] == 2 * 2 * num_shards
        # The barriers gather from all shards, once or twice a partition each; the last node opens its own.
        assert count["rows"] <= (1 + 2 * 2 * 2) * num_shards


def test_sums_of_keys_that_go_on_in_the_next_part() -> None:
    parts = [([1, 1, 2], [1, 2, 3]), ([2], [4]), ([], []), ([2, 5], [5, 6])]
    arrays = [(np.array(keys, np.uint64), np.array(numbers, np.uint64)) for keys, numbers in parts]
    found = [pair for keys, sums in summed(arrays) for pair in zip(keys.tolist(), sums.tolist(), strict=True)]
    assert found == [(1, 3), (2, 12), (5, 6)]
    assert sum(len(keys) for keys, _ in summed([])) == 0


def test_values_in_a_sorted_column() -> None:
    hit, where = found_in(np.array([2, 4, 4, 9]), np.array([9, 1, 4, 10, 5]))
    assert (hit.tolist(), where.tolist()) == ([True, False, True, False, False], [3, 1])
    assert found_in(np.empty(0, np.int64), np.array([1]))[0].tolist() == [False]


def test_a_key_of_very_many_rows_never_lies_in_memory_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """240 rows share keys; memory for 41 records holds those, 64 chosen before them, and one shard's 30."""
    base = " ".join(f"w{k}" for k in range(30))
    texts = [[f"{base} {'z' * ((7 * k + j) % 13)} t{k}x{j}" for j in range(30)] for k in range(8)]
    shards = [
        [runner_of_dedup.documents(own, ids=[f"{k:08d}{j:08d}".encode() for j in range(30)])]
        for k, own in enumerate(texts)
    ]
    held: list[int] = []
    chosen = index._Making._first_of_each

    def measured(making: index._Making, parts: Any) -> Any:
        held.append(sum(len(part["at"]) for part in parts))
        return chosen(making, parts)

    monkeypatch.setattr(index._Making, "_first_of_each", measured)
    found = []
    for name, memory_gib in (("large", 1.0), ("small", 41 * 128 / 2**30)):
        held.clear()
        step = Dedup.model_validate(
            {"index": True, "memory_gib": memory_gib, "partitions": 2, "minhash": {"threshold": 1.0}}
        )
        outcome = runner_of_dedup.run(step, shards, tmp_path / name)
        found.append({file: digest for file, digest in outcome.hashes().items() if ".index" in file})
    assert found[0] == found[1]
    assert 64 < max(held) <= 41 + 64 + 30
