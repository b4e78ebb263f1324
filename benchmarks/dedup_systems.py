"""Deduplication by us and by others over the same documents at the same parameters: who goes, and for whom.

Word 5-grams, 14 bands of 8 hashes. Each system runs the way its users run it: ours as a recipe, datatrove's stages by
its executor, text-dedup's command, datasketch's LSH as an index that is asked before it is added to. Verdicts are
kept in a folder, so that tables can be printed again without running the peers again.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import xxhash
from datasketch import MinHash, MinHashLSH

from benchmarks.dedup_sets import NGRAM, DocumentSet
from benchmarks.peers.process import ENVIRONMENTS
from operators.kernels.shingles import shingle_hashes
from pipeline.errors import UserError
from pipeline.session import Settings
from workflows import load, run

BANDS, ROWS, THRESHOLD = 14, 8, 0.7
PEERS = Path(__file__).parent / "peers"


@dataclass
class Verdicts:
    """What a system has done with a set. survivors: id of a removed document -> ids of kept documents it went for.

    One where the system names it or keeps one of a cluster; several where the kept documents found are all that is
    known. lost: removed without being a duplicate of anything. estimates: similarity that the system gives, if any.
    """

    survivors: dict[str, list[str]]
    lost: list[str] = field(default_factory=list)
    estimates: dict[str, float] = field(default_factory=dict)
    exact: list[str] = field(default_factory=list)
    note: str = ""

    @property
    def gone(self) -> set[str]:
        """All that are removed."""
        return {*self.survivors, *self.lost}


def write_jsonl(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """A plain JSONL file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def recipe(folder: Path, dedup: Mapping[str, Any]) -> Path:
    """A recipe that deduplicates FOLDER/docs/*.jsonl."""
    read = {
        "format": "jsonl", "paths": [str(folder / "docs" / "*.jsonl")], "source": "docs", "group_bytes": 0,
        "columns": {"id": "id", "text": "text", "language": "lang"},
    }  # fmt: skip
    steps = {"docs": {"read": read}, "unique": {"from": "docs", "dedup": dict(dedup)}}
    path = folder / "recipe.yaml"
    path.write_text(json.dumps({"name": "dedup", "seed": 0, "steps": steps}))  # JSON is YAML
    return path


def write_shards(folder: Path, docs: Sequence[Mapping[str, Any]], shards: int) -> None:
    """Documents in turn to the files of FOLDER/docs."""
    keys = ("id", "text", "lang")
    for k in range(shards):
        rows = ({key: doc.get(key) for key in keys} for doc in docs[k::shards])
        write_jsonl(folder / "docs" / f"{k:05d}.jsonl", rows)


def ours(docs: DocumentSet, rule: str = "greedy") -> Verdicts:
    """Our step, inline."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shards(folder, list(docs.docs.values()), 4)
        near = {"ngram": NGRAM, "bands": BANDS, "rows": ROWS, "threshold": THRESHOLD}
        workflow = load(recipe(folder, {"exact": True, "minhash": near, "rule": rule}))
        done = run(workflow, folder / "run", settings=Settings(backend="inline", progress="none"))
        named = {}
        for table in done["docs"].documents():
            named.update(zip(table["id"].to_pylist(), table["record_id"].to_pylist(), strict=True))
        removed = [row for shard in done["unique"].shards() for row in pq.read_table(shard.file(".removed.parquet")).to_pylist()]  # fmt: skip
    return Verdicts(
        {named[row["id"]]: [named[row["rep_id"]]] for row in removed},
        estimates={named[row["id"]]: row["estimate"] for row in removed if row["estimate"] is not None},
        exact=[named[row["id"]] for row in removed if row["kind"] == "exact"],
    )


def datatrove(docs: DocumentSet) -> Verdicts:
    """Datatrove's four stages; Chinese with its Chinese words in a run of its own, as FineWeb2 does, the rest as English."""
    found = Verdicts({})
    for language, wanted in (("eng", False), ("cmn", True)):
        rows = [doc for doc in docs.docs.values() if (doc.get("lang") == "zh") == wanted]
        if rows:
            with tempfile.TemporaryDirectory() as name:
                folder, tasks = Path(name), min(4, len(rows))
                write_shards(folder, rows, tasks)
                peer("datatrove", "datatrove_stages.py", folder, language, "signatures", "buckets", "cluster", "filter")
                clusters = _datatrove_clusters(folder, rows, tasks)
                kept = {json.loads(line)["id"] for path in (folder / "kept").glob("*") for line in path.open()}
            _one_kept(found, [row["id"] for row in rows], clusters, kept)
    return found


def peer(environment: str, script: str, *arguments: object) -> list[dict[str, Any]]:
    """Run a peer's script in its environment; its lines of JSON."""
    command = [str(ENVIRONMENTS / environment / "bin" / "python"), str(PEERS / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        msg = f"{script}: {done.stderr[-2000:]}"
        raise RuntimeError(msg)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def _datatrove_clusters(folder: Path, rows: Sequence[Mapping[str, Any]], tasks: int) -> dict[str, Any]:
    clusters = {}
    for k in range(tasks):
        path = folder / "remove" / f"{k:06d}.clusters"
        numbers = np.fromfile(path, "<u4").reshape(-1, 2) if path.exists() else np.empty((0, 2), np.uint32)
        ids = [row["id"] for row in rows[k::tasks]]
        clusters.update({ids[row]: int(cluster) for row, cluster in numbers})
    return clusters


def _one_kept(into: Verdicts, ids: Sequence[str], clusters: Mapping[str, Any], kept: set[str]) -> None:
    """Removed documents with the kept ones of their cluster."""
    stays = defaultdict(list)
    for key in ids:
        if key in kept and key in clusters:
            stays[clusters[key]].append(key)
    for key in ids:
        if key not in kept:
            if key in clusters:
                into.survivors[key] = stays[clusters[key]]
            else:
                into.lost.append(key)


def textdedup(docs: DocumentSet) -> Verdicts:
    """text-dedup's MinHash command."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_jsonl(folder / "docs.jsonl", ({"key": key, "text": text} for key, text in docs.texts.items()))
        peer("textdedup", "textdedup_run.py", folder, 2)
        clusters, kept = (json.loads((folder / f"{part}.json").read_text()) for part in ("roots", "kept"))
    found = Verdicts({}, note="lost: texts of fewer than 5 words, which its min_length leaves out")
    _one_kept(found, list(docs.docs), clusters, set(kept))
    return found


def our_shingles(texts: Sequence[str]) -> list[list[int]]:
    """What datasketch can be fed with: our 32-bit hashes."""
    hashes, starts = shingle_hashes(_column(texts), NGRAM)
    return [hashes[starts[k] : starts[k + 1]].tolist() for k in range(len(texts))]


def _column(texts: Sequence[str]) -> Any:
    import pyarrow as pa

    return pa.array(texts, pa.large_string())


def split_shingles(texts: Sequence[str]) -> list[list[int]]:
    """What its users do: lower case, split at blanks, join five words by a blank."""
    found = []
    for text in texts:
        words = text.lower().split()
        grams = (" ".join(words[k : k + NGRAM]) for k in range(len(words) - NGRAM + 1))
        found.append([xxhash.xxh32_intdigest(gram.encode()) for gram in grams])
    return found


def datasketch_signatures(shingles: Sequence[Sequence[int]]) -> list[MinHash]:
    """Scheme affine32 over hashes that are ready."""
    return MinHash.bulk(shingles, num_perm=BANDS * ROWS, scheme="affine32", hashfunc=int)


def datasketch(docs: DocumentSet, shingles: Callable[[Sequence[str]], list[list[int]]]) -> Verdicts:
    """Ask the index, remove if it answers, else insert; in the order of the file.

    Documents without a shingle are kept: their signatures are all the same, and all but one would go.
    """
    sets = shingles(list(docs.texts.values()))
    named = [(key, found) for key, found in zip(docs.texts, sets, strict=True) if found]
    index, survivors = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS)), {}
    for (key, _), signature in zip(named, datasketch_signatures([found for _, found in named]), strict=True):
        if similar := index.query(signature):
            survivors[key] = similar
        else:
            index.insert(key, signature)
    return Verdicts(survivors, note=f"{len(docs.docs) - len(named)} documents have no shingle and are kept")


SYSTEMS: dict[str, Callable[[DocumentSet], Verdicts]] = {
    "ours": ours,
    "ours, transitive": lambda docs: ours(docs, rule="transitive"),
    "datatrove": datatrove,
    "text-dedup": textdedup,
    "datasketch LSH, our shingles": lambda docs: datasketch(docs, our_shingles),
    "datasketch LSH, split at blanks": lambda docs: datasketch(docs, split_shingles),
}


def available(system: str) -> bool:
    """Whether the peer has an environment (``benchmarks/peers/install.py``)."""
    name = {"datatrove": "datatrove", "text-dedup": "textdedup"}.get(system)
    return name is None or (ENVIRONMENTS / name / "installed").exists()


def verdicts(system: str, docs: DocumentSet, kept_in: Path | None) -> Verdicts | None:
    """What a system decides; from the folder where it was asked before. None where it cannot be run."""
    path = kept_in / f"{docs.name}-{system.replace(' ', '_').replace(',', '')}.json" if kept_in else None
    if path and path.exists():
        return Verdicts(**json.loads(path.read_text()))
    if not available(system):
        return None
    try:
        found = SYSTEMS[system](docs)
    except UserError as refused:
        print(f"{system}: {refused}")
        return None
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(found)))
    return found
