"""Reads a sample of removed pairs again and counts how similar they truly are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field, SerializeAsAny

from operators.dedup.columns import open_columns
from operators.dedup.near.duplicates import Near
from operators.dedup.order import gather, levels_of, rows_of, shards_of
from operators.dedup.signatures import SKETCH, Signatures
from operators.dedup.sketch import Arrays
from operators.kernels.exact_similarity import sets, similarities
from operators.kernels.minhash import estimate
from operators.kernels.shingles import KeyArray, shingle_hashes
from pipeline.documents import ID_TYPE
from pipeline.operator import Map
from pipeline.rejects import scrubbed
from pipeline.work import Extent, Kind, Output, Result, Shard, ShardWork, Task, TaskPlan

AUDIT = ".audit.parquet"
AUDIT_SCHEMA = pa.schema(
    [
        pa.field("id", ID_TYPE, nullable=False),
        pa.field("url", pa.string()),
        pa.field("rep_id", ID_TYPE, nullable=False),
        pa.field("rep_url", pa.string()),
        pa.field("estimate", pa.float64(), nullable=False),
        pa.field("jaccard", pa.float64()),
        pa.field("containment", pa.float64()),
        pa.field("rep_containment", pa.float64()),
        pa.field("excerpt", pa.string()),
        pa.field("rep_excerpt", pa.string()),
    ]
)
"""Sampled pairs of a removed document and the one that stays for it (``rep``). ``jaccard`` of their n-grams;
``containment``: the share of the removed one's n-grams that the other has, ``rep_containment``: the reverse."""

EXCERPT_CHARS = 800
_BEFORE = 200  # characters of an excerpt before the first difference
_BINS = 20
_LOW = 0.5
_MOST_BYTES = 256 << 20  # of texts held at once; 200 pairs of web pages are some 2 MB
_MOST_REREAD = 16  # shards of a source that nothing copied: each is read from its beginning
_SPARE = 8  # candidates per pair, for those that these limits leave out
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Audit(ShardWork):
    """One task, which no other waits for: the true similarity of ``pairs`` near duplicates that were removed.

    The sample is the pairs whose removed document has the smallest hash of its id: the same for any sharding. Pairs
    whose survivor lies in another run are left out. It ends early at 256 MiB of text, so that a sample of giants is
    smaller. Only the row groups of those documents are read, at most two a pair; where a source was copied nowhere,
    at most 16 of its shards are read again, each up to the last document needed, and the pairs are those that lie in
    them. ``.audit.parquet``: see ``AUDIT_SCHEMA``; excerpts begin shortly before the first difference and are scrubbed
    by what later steps scrub with. Facts: ``histogram`` of the Jaccard similarity in 20 bins of 0.05, ``below_half``, the
    share of pairs under 0.5, ``mean_error`` of the estimate and its ``mean_absolute_error``.
    """

    kind: ClassVar[Kind] = "work"
    barrier: ClassVar[bool] = True

    signatures: Signatures
    pairs: int = Field(default=200, ge=1)
    scrubbers: tuple[SerializeAsAny[Map], ...] = ()

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """One."""
        return [TaskPlan(0, dict.fromkeys(shards))]

    def run(self, task: Task) -> Result:
        """Sample, read, count."""
        drawn: Arrays = {"row": np.empty(0, np.uint64)}
        for role, clusters in task.inputs.items():  # an epoch each
            if role.partition(":")[0] == "clusters":
                drawn = self._candidates(task.inputs["signatures"], Near(clusters), drawn)
        chosen = self._affordable(task, drawn)
        sample = {name: array[chosen] for name, array in drawn.items()}
        table = self._compared(task.inputs["documents"], sample)
        path = task.scratch / f"pairs{AUDIT}"
        pq.write_table(table, path, compression="zstd")
        return Result([Output(path, AUDIT)], facts=_facts(table))

    def _candidates(self, shards: Sequence[Shard], near: Near, best: Arrays) -> Arrays:
        """Removed pairs of this run with the smallest hashes, some more than asked for, by hash; best: of other epochs."""
        affected = near.shards()
        for shard in (one for one in shards if one.index in affected):
            pairs = near.of_shard(shard.index)
            own = levels_of(pairs["rep"]) == 0
            pairs = {name: array[own] for name, array in pairs.items()}
            sketch = open_columns(shard.file(SKETCH), "sketch", self.signatures.parameters)
            pairs["id"] = sketch["id"][rows_of(pairs["row"])]
            pairs["hash"] = _hash(pairs["id"])
            joined = {n: np.concatenate([best[n], pairs[n]]) for n in pairs} if len(best["row"]) else pairs
            order = np.lexsort((joined["row"], joined["id"][:, 1], joined["id"][:, 0], joined["hash"]))
            best = {name: array[order[: self.pairs * _SPARE]] for name, array in joined.items()}
        return best

    def _affordable(self, task: Task, drawn: Arrays) -> list[int]:
        """Which of the candidates are read."""
        if not len(drawn["row"]):
            return []
        at = np.unique(np.concatenate([drawn["row"], drawn["rep"]]))
        size = gather(self.signatures.sketches(task.inputs["signatures"]), at, ("bytes",))["bytes"].astype(np.int64)
        sizes = size[np.searchsorted(at, drawn["row"])] + size[np.searchsorted(at, drawn["rep"])]
        most = _MOST_REREAD if any(shard.read_again for shard in task.inputs["documents"]) else len(at)
        ends = np.stack([shards_of(drawn["row"]), shards_of(drawn["rep"])], axis=1).tolist()
        chosen: list[int] = []
        opened: set[int] = set()
        held = 0
        for k, both in enumerate(ends):
            if len(chosen) == self.pairs or (chosen and held + sizes[k] > _MOST_BYTES):
                break
            if len(opened.union(both)) <= most:
                opened.update(both)
                held += int(sizes[k])
                chosen.append(k)
        return chosen

    def _compared(self, documents: Sequence[Shard], sample: Arrays) -> pa.Table:
        if not len(sample["row"]):
            return AUDIT_SCHEMA.empty_table()
        at = np.unique(np.concatenate([sample["row"], sample["rep"]]))
        docs = pa.concat_tables(_taken(documents, at), promote_options="permissive").combine_chunks()
        removed, kept = np.searchsorted(at, sample["row"]), np.searchsorted(at, sample["rep"])
        found = sets(*shingle_hashes(docs["text"], self.signatures.ngram))
        jaccard, containment, rep_containment = similarities(found, np.stack([removed, kept], axis=1))
        quoted = scrubbed(docs, self.scrubbers)["text"]
        cuts = [excerpts(quoted[a].as_py() or "", quoted[b].as_py() or "") for a, b in zip(removed, kept, strict=True)]
        urls = docs["url"].cast(pa.string()) if "url" in docs.column_names else pa.nulls(docs.num_rows, pa.string())
        columns = {
            "id": _ids(sample["id"]),
            "url": urls.take(pa.array(removed)),
            "rep_id": _ids(sample["rep_id"]),
            "rep_url": urls.take(pa.array(kept)),
            "estimate": [estimate(equal, self.signatures.num_perm) for equal in sample["equal"].tolist()],
            "jaccard": pa.array(jaccard, from_pandas=True),
            "containment": pa.array(containment, from_pandas=True),
            "rep_containment": pa.array(rep_containment, from_pandas=True),
            "excerpt": [cut.left for cut in cuts],
            "rep_excerpt": [cut.right for cut in cuts],
        }
        return pa.table(columns, schema=AUDIT_SCHEMA)


@dataclass(frozen=True)
class Excerpts:
    """The same stretch of two texts."""

    left: str
    right: str


def excerpts(left: str, right: str) -> Excerpts:
    """Both texts from shortly before their first difference on."""
    a, b = np.frombuffer(left.encode("utf-32-le"), np.uint32), np.frombuffer(right.encode("utf-32-le"), np.uint32)
    both = min(len(a), len(b))
    unequal = np.flatnonzero(a[:both] != b[:both])
    start = max(0, (int(unequal[0]) if len(unequal) else both) - _BEFORE)
    return Excerpts(left[start : start + EXCERPT_CHARS], right[start : start + EXCERPT_CHARS])


def _taken(documents: Sequence[Shard], at: KeyArray) -> Iterator[pa.Table]:
    """The documents at ascending addresses."""
    for shard in documents:
        rows = rows_of(at[shards_of(at) == shard.index])
        if len(rows):
            yield shard.take(rows.tolist(), ["id", "url", "text"])


def _hash(ids: npt.NDArray[np.uint64]) -> KeyArray:
    """Of ids, which are hashes themselves: another order than theirs, in which other samples are drawn."""
    mixed = (ids[:, 0] ^ (ids[:, 1] * _MIX)) * _MIX
    return mixed ^ (mixed >> np.uint64(32))


def _ids(ids: npt.NDArray[np.uint64]) -> pa.Array:
    return pa.array([pair.tobytes() for pair in ids.astype(">u8")], ID_TYPE)


def _facts(table: pa.Table) -> dict[str, Any]:
    """What the sample says of all removals; what has no n-gram is left out."""
    measured = table.filter(pc.is_valid(table["jaccard"]))
    jaccard, estimated = measured["jaccard"].to_numpy(), measured["estimate"].to_numpy()
    facts: dict[str, Any] = {"pairs": len(jaccard), "histogram": np.histogram(jaccard, _BINS, (0.0, 1.0))[0].tolist()}
    if len(jaccard):
        error = estimated - jaccard
        facts["below_half"] = float((jaccard < _LOW).mean())
        facts["mean_error"] = float(error.mean())
        facts["mean_absolute_error"] = float(np.abs(error).mean())
    return facts
