"""Related documents in packed rows: padding, and the share of documents beside another one of their group.

python benchmarks/packing_related.py RUN STEP [--lengths 512 2048 8192] [--sizes 20 100 200 1000] [--draws 40]

STEP holds tokens; documents are grouped by host, all shards as one. Then the same for made-up lengths. At last the padding of
small shards: documents drawn until they make so many times the sequence length. ``beside``: share of the documents of
groups of two or more that stand in a row with another one of their group.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from operators.dedup.split.hosts import hosts
from operators.tokenize.packing.layout import Documents, Packed
from operators.tokenize.packing.pack import all_documents
from operators.tokenize.packing.policies import best_fit
from operators.tokenize.shards.reader import TokenShard
from pipeline.dataset import Run
from pipeline.pretrain.data.order import mix


def of_run(run: str, step: str) -> Documents:
    """The documents of all shards of a step that have a host, by host."""
    parts, names = [], []
    for shard in Run.open(run)[step].shards():
        tokens = TokenShard.of(shard)
        parts.append(all_documents(tokens, shard.index, 0)[:-1])
        names += hosts(tokens.columns(["url"])["url"].combine_chunks()).to_pylist()
    whole = Documents(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    number = {name: k for k, name in enumerate(sorted(set(names) - {None}))}
    group = mix(np.array([number.get(name, -1) for name in names], np.int64).astype(np.uint64))
    return chosen(whole._replace(group=group), np.flatnonzero(np.array(names, object) != None))  # noqa: E711


def made_up(length: npt.NDArray[np.int64], num_groups: int, seed: int = 0) -> Documents:
    """Documents of these lengths in groups drawn for each."""
    chance = np.random.default_rng(seed)
    number = np.arange(len(length), dtype=np.int32)
    order = chance.integers(0, 1 << 63, len(length)).astype(np.uint64)
    group = mix(chance.integers(0, num_groups, len(length)).astype(np.uint64))
    nothing = np.zeros(len(length), np.int32)
    return Documents(nothing, number, np.cumsum(length) - length, length, length, nothing == 1, order, group)


def chosen(documents: Documents, index: npt.NDArray[np.integer]) -> Documents:
    """Some of them, numbered anew."""
    columns = Documents(*(None if column is None else column[index] for column in documents))  # type: ignore[arg-type]
    return columns._replace(document=np.arange(len(index), dtype=np.int32), shard=np.zeros(len(index), np.int32))


def groups_of(documents: Documents) -> npt.NDArray[np.uint64]:
    """The group of each."""
    return np.zeros(0, np.uint64) if documents.group is None else documents.group


def beside(documents: Documents, packed: Packed) -> float:
    """Share of the documents of groups of two or more that share a row with another one of their group."""
    row = np.repeat(np.arange(packed.num_rows), np.diff(packed.rows))
    pairs = np.unique(np.stack([row, packed.pieces["document"]]), axis=1)
    _, group, count = np.unique(groups_of(documents), return_inverse=True, return_counts=True)
    key = pairs[0] * (int(group.max()) + 1) + group[pairs[1]]
    _, inverse, times = np.unique(key, return_inverse=True, return_counts=True)
    found = np.zeros(len(group), np.bool_)
    found[pairs[1][times[inverse] > 1]] = True
    related = count[group] > 1
    return float(found[related].mean()) if related.any() else 0.0


def padding(packed: Packed, length: int) -> float:
    """Share of the places without a token."""
    return 1 - packed.tokens / (packed.num_rows * (length + 1))


def table(name: str, documents: Documents, lengths: Sequence[int]) -> None:
    """Rows for a sequence length each."""
    for length in lengths:
        start = time.process_time()
        packed = best_fit(documents, length)
        spent = time.process_time() - start
        without = best_fit(documents._replace(group=None), length)
        print(
            f"{name:26} {length:6} {documents.tokens // length:9,} x T {padding(packed, length):8.3%}"
            f" {beside(documents, packed):8.1%} {padding(without, length):11.3%} {beside(documents, without):8.1%}"
            f" {len(documents.length) / spent:14,.0f}"
        )


def small(name: str, documents: Documents, length: int, sizes: Sequence[int], draws: int) -> None:
    """Padding of shards of some sizes, mean and most of some draws."""
    chance = np.random.default_rng(1)
    for size in sizes:
        found = []
        for _ in range(draws):
            order = chance.permutation(len(documents.length))
            one = chosen(documents, order[: np.searchsorted(np.cumsum(documents.length[order]), size * length) + 1])
            packed, without = best_fit(one, length), best_fit(one._replace(group=None), length)
            found.append([padding(packed, length), beside(one, packed), padding(without, length)])
        mean, most = np.mean(found, axis=0), np.max(found, axis=0)
        print(
            f"{name:26} {length:6} {size:5} x T {mean[0]:8.3%} {most[0]:8.3%} {mean[1]:8.1%}"
            f" {mean[2]:11.3%} {most[2]:8.3%}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("step")
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 1024, 2048, 8192])
    parser.add_argument("--sizes", type=int, nargs="+", default=[20, 50, 100, 200, 500, 1000, 2000])
    parser.add_argument("--draws", type=int, default=40)
    asked = parser.parse_args()
    documents, chance = of_run(asked.run, asked.step), np.random.default_rng(0)
    uniform = chance.integers(1, 3000, 50_000)
    groups = np.unique(groups_of(documents), return_counts=True)[1]
    print(f"{len(documents.length):,} documents of {len(groups):,} hosts, {groups[groups > 1].sum():,} with others")
    best_fit(documents, 2048)  # compiled
    print("documents                       T         shard  padding   beside   ungrouped   beside    documents/s")
    table("by host", documents, asked.lengths)
    common = groups[np.unique(groups_of(documents), return_inverse=True)[1]] > 100
    table("by host, of 100 at most", chosen(documents, np.flatnonzero(~common)), asked.lengths)
    for count, num_groups in ((5000, 50), (5000, 1000), (50_000, 10_000)):
        table(f"uniform, {num_groups:,} groups", made_up(uniform[:count], num_groups), [2048])
    table("lognormal, 50 groups", made_up((2 + chance.lognormal(6, 1.2, 5000)).astype(np.int64), 50), [2048])
    print("documents                       T   shard  padding     most   beside   ungrouped     most")
    for length in asked.lengths[:-1]:
        small("by host", documents, length, asked.sizes, asked.draws)
    small("uniform, 50 groups", made_up(uniform, 50), 2048, asked.sizes, asked.draws)


if __name__ == "__main__":
    main()
