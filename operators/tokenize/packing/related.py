"""Related documents side by side: what each is grouped by, and which task takes which groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from operators.dedup.columns import Columns, open_columns, write_columns
from operators.dedup.near.clusters import own_components
from operators.dedup.near.components import MEMBERS
from operators.dedup.order import gather, word_pairs
from operators.dedup.ranges import Partitioned, num_partitions
from operators.dedup.signatures import SKETCH
from operators.dedup.split.hosts import hosts
from operators.tokenize.packing.cuts import cut_at
from operators.tokenize.packing.draws import drawn, name_keys
from operators.tokenize.packing.layout import Documents
from operators.tokenize.packing.pack import Packing, all_documents, token_input
from operators.tokenize.packing.reader import INPUT, RELATED
from operators.tokenize.shards.reader import TokenShard
from pipeline.errors import UserError
from pipeline.pretrain.data.order import mix
from pipeline.work import EVERY, Extent, Kind, Output, Result, Shard, ShardWork, Task, TaskPlan

LABELS, KEYS, CUTS = ".labels", ".keys", ".cuts.npy"
COLUMNS = ("key", "order", "document", "start", "length", "num_bytes")
RECORD = np.dtype(
    [
        (name, np.dtype(kind))
        for name, kind in (*zip(COLUMNS, ("u8", "u8", "i4", "i8", "i8", "i8"), strict=True), ("shard", "i4"))
    ]
)
"""What is known of a document to be packed; ``.keys`` files have all of it but the shard."""
UInt64s = npt.NDArray[np.uint64]


class ClusterLabels(Partitioned):
    """A share of the components of a bucket graph per task: the smallest id in it for each document of one.

    ``.labels``, sorted by ``high`` and ``low``, the two halves of a document's id: ``label``, a hash of that smallest id.
    Exact copies are in no component but by their original, so they stand where chance puts them.
    Memory: 100 bytes per document of the task's share.
    """

    def run(self, task: Task) -> Result:
        """Name some components."""
        shards = task.inputs["signatures"]
        (members,) = (open_columns(s.file(MEMBERS), "members", verify=True) for s in task.inputs["components"])
        own = own_components(members["label"], task.index, num_partitions(len(shards), self.partitions))
        label, at = members["label"][own], members["at"][own]
        by_row = np.argsort(at)
        ids = np.empty((len(at), 2), np.uint64)
        sketches = ((shard.index, open_columns(shard.file(SKETCH), "sketch")) for shard in shards)
        if len(at):
            ids[by_row] = gather(sketches, at[by_row], ("id",))["id"]
        order = np.lexsort((ids[:, 1], ids[:, 0], label))
        label, ids = label[order], ids[order]
        new = np.append(True, label[1:] != label[:-1])[: len(label)]
        smallest = ids[np.flatnonzero(new)[np.cumsum(new) - 1]]
        named = mix(mix(smallest[:, 0]) ^ smallest[:, 1])
        by_id = np.lexsort((ids[:, 1], ids[:, 0]))
        path = task.scratch / f"clusters{LABELS}"
        write_columns(path, "labels", {}, {"high": ids[by_id, 0], "low": ids[by_id, 1], "label": named[by_id]})
        return Result([Output(path, LABELS)], facts={"documents": len(by_id)})


class RelatedKeys(ShardWork):
    """Per token shard: ``.keys``, a record a document, sorted by what it is grouped by and by a number of its own.

    ``key``: of its host or cluster, or, where it has none, as good as random. ``order``: drawn from seed and id.
    ``document``, ``start``, ``length``: where it lies; ``num_bytes``: of its text. Memory: 150 bytes a document of the shard.
    """

    kind: ClassVar[Kind] = "work"

    by: Literal["host", "cluster"]
    seed: int

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """Shard k from shard k of the tokens, and all of the labels."""
        others = dict.fromkeys((role for role in shards if role != INPUT), EVERY)
        return [TaskPlan(k, {INPUT: (k,), **others}) for k in range(shards[INPUT].count)]

    def run(self, task: Task) -> Result:
        """Sort the documents of a shard."""
        shard = token_input(task)
        tokens = TokenShard.of(shard)
        key = drawn(tokens.ids, self.seed, "pack.alone")
        if self.by == "host":
            related = _keyed_by_host(tokens, self.seed, key)
        else:
            labels = [open_columns(s.file(LABELS), "labels", verify=True) for s in task.inputs["labels"]]
            related = _keyed_by_cluster(tokens, labels, self.seed, key)
        documents = all_documents(tokens, shard.index, self.seed)
        by_key = np.lexsort((documents.order, key))
        columns = {name: (key if name == "key" else getattr(documents, name))[by_key] for name in COLUMNS}
        path = task.scratch / f"documents{KEYS}"
        write_columns(path, "related", {}, columns)
        return Result([Output(path, KEYS)], facts={"documents": len(key), "related": related})


class RelatedCuts(ShardWork):
    """One task: where all files of keys are to be cut, ``.cuts.npy``, int64 (shares + 1, token shards).

    As many shares as token shards, each of as many documents. A group is cut where a share ends, so that one of any size is no
    more work than others. Reads all keys once; memory: 8 bytes for each pair of token shards.
    """

    kind: ClassVar[Kind] = "work"
    barrier: ClassVar[bool] = True

    by: Literal["host", "cluster"]

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """One, where there is something to cut."""
        return [TaskPlan(k, dict.fromkeys(shards, EVERY)) for k in range(min(1, shards[RELATED].count))]

    def run(self, task: Task) -> Result:
        """Cut.

        Raises:
            UserError: no document has a host, where hosts are asked for.
        """
        shards = task.inputs[RELATED]
        related = sum(shard.facts["related"] for shard in shards)
        files = [open_columns(shard.file(KEYS), "related", verify=True) for shard in shards]
        total = sum(len(file["key"]) for file in files)
        if self.by == "host" and total and not related:
            msg = (
                f"{task.node}: no document has a URL with a host, so related: host keeps nothing together; leave it out"
            )
            raise UserError(msg)
        ranks = total * np.arange(len(files) + 1) // len(files)
        path = task.scratch / f"keys{CUTS}"
        np.save(path, cut_at([(file["key"], file["order"]) for file in files], ranks))
        return Result([Output(path, CUTS)], facts={"documents": total, "related": related})


class PackRelated(Packing):
    """As many shards of sequences as of tokens, each of about as many documents, whole groups side by side.

    Memory: 400 bytes per document of the share.
    """

    barrier: ClassVar[bool] = True

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """Each from every shard."""
        return [TaskPlan(k, dict.fromkeys(shards, EVERY)) for k in range(shards[INPUT].count)]

    def run(self, task: Task) -> Result:
        """Pack one share."""
        tokens = task.inputs[INPUT]
        (cuts,) = task.inputs["cuts"]
        first, end = np.load(cuts.file(CUTS))[task.index : task.index + 2].tolist()
        documents = _share(task.inputs[RELATED], first, end)
        needed = set(np.unique(documents.shard).tolist()) or {shard.index for shard in tokens[:1]}
        return self.packed(task, documents, {shard.index: shard for shard in tokens if shard.index in needed})


def _share(shards: Sequence[Shard], first: Sequence[int], end: Sequence[int]) -> Documents:
    """The records ``first`` to ``end`` of each file of keys, groups side by side."""
    parts = [np.empty(0, RECORD)]
    for shard, a, b in zip(shards, first, end, strict=True):
        file = open_columns(shard.file(KEYS), "related")  # checked when it was cut; a map a file, closed behind it
        part = np.empty(b - a, RECORD)
        part["shard"] = shard.index
        for name in COLUMNS:
            part[name] = file[name][a:b]
        parts.append(part)
    records = np.concatenate(parts)
    records = records[np.lexsort([records[name] for name in ("document", "shard", "order", "key")])]
    named = {name: np.ascontiguousarray(records[name]) for name in ("shard", *COLUMNS)}
    return Documents(group=named.pop("key"), rewritten=np.zeros(len(records), np.bool_), **named)


def _keyed_by_host(tokens: TokenShard, seed: int, key: UInt64s) -> int:
    """Give documents with a host the key of that host; how many have one."""
    names: Any = hosts(tokens.columns(["url"])["url"].combine_chunks()).dictionary_encode()
    number = names.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    key[number >= 0] = name_keys(names.dictionary.to_pylist(), seed)[number[number >= 0]]
    return int((number >= 0).sum())


def _keyed_by_cluster(tokens: TokenShard, labels: Sequence[Columns], seed: int, key: UInt64s) -> int:
    """Give documents of a cluster the key of that cluster; how many are of one."""
    ids = word_pairs(np.ascontiguousarray(tokens.ids).tobytes())
    start = mix(np.array([seed & 0xFFFFFFFFFFFFFFFF], np.uint64))
    found = np.zeros(len(ids), np.bool_)
    for file in labels:
        hit, row = _found_pairs((file["high"], file["low"]), ids)
        key[hit] = mix(start ^ file["label"][row])
        found |= hit
    return int(found.sum())


def _found_pairs(
    sorted_pairs: tuple[UInt64s, UInt64s], pairs: UInt64s
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.intp]]:
    """Which pairs, uint64 (N, 2), are among the sorted ones, (N,), and where those that are stand."""
    high, low = sorted_pairs
    position = np.searchsorted(high, pairs[:, 0])
    going = np.arange(len(pairs))
    while len(going):  # over others with the same first half, so hardly ever
        at = position[going]
        inside = at < len(high)
        going, at = going[inside], at[inside]
        going = going[(high[at] == pairs[going, 0]) & (low[at] < pairs[going, 1])]
        position[going] += 1
    hit = position < len(high)
    hit[hit] = (high[position[hit]] == pairs[hit, 0]) & (low[position[hit]] == pairs[hit, 1])
    return hit, position[hit]
