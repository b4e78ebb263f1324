"""Signatures of a run as ``datasketch`` objects, and shingles from which datasketch makes the same ones.

From a run, whose step was ``dedup: {minhash: {full: true}}``, into an index of datasketch::

    from datasketch import MinHashLSH
    from operators.dedup.interchange import lean_minhashes
    from pipeline.dataset import Run

    index = MinHashLSH(threshold=0.7, num_perm=112)
    for identity, signature in lean_minhashes(Run.open("runs/web"), "unique"):
        index.insert(identity, signature)

And the other way, a text of another program that is looked up in that index::

    from datasketch import MinHash
    from operators.dedup.interchange import same_hash, shingles

    signature = MinHash(num_perm=112, seed=1, scheme="affine32", hashfunc=same_hash)
    signature.update_batch(shingles(text, ngram=5).tolist())
    index.query(signature)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasketch import LeanMinHash, MinHash

from operators.dedup.full_signatures import MINHASH, SCHEME
from operators.kernels.fold import SHA256
from operators.kernels.minhash import SEED, permutations
from operators.kernels.shingles import HashArray, shingle_hashes
from pipeline.dataset import Dataset, Run
from pipeline.errors import UserError
from pipeline.shards import committed_file, read_keep


def shingles(text: str, ngram: int = 5) -> HashArray:
    """The hashes of a text's word n-grams that its signature is made of: uint32 (S,), in text order, with repeats.

    Words are folded as in a run (case, accents, compatibility forms; a character of a script without blanks is a word).
    A text of fewer than ``ngram`` words has none; what a MinHash of no update says is meaningless, so leave it out.
    """
    hashes, _ = shingle_hashes(pa.array([text], pa.large_string()), ngram)
    return hashes.copy()


def same_hash(value: int) -> int:
    """The ``hashfunc`` of a MinHash that is updated with hashes: shingles are hashed already."""
    return value


def lean_minhashes(run: Run, step: str, *, removed_too: bool = False) -> Iterator[tuple[bytes, LeanMinHash]]:
    """Id and signature of every document that a dedup step keeps, in the order of its shards.

    removed_too: also of those that it removes. A text without a shingle has no signature and is left out.
    All arrays are views of one batch of some thousand signatures: an object that is kept keeps its batch.

    Raises:
        UserError: no such step, it wrote no whole signatures, or they were made with another fold table.
    """
    for ids, signed in _batches(run, step, removed_too=removed_too):
        for identity, slots in zip(ids, signed, strict=True):
            yield identity, LeanMinHash(seed=SEED, hashvalues=slots, scheme=SCHEME)


def minhashes(run: Run, step: str, *, removed_too: bool = False) -> Iterator[tuple[bytes, MinHash]]:
    """Like ``lean_minhashes``, with objects that can be updated further (by hashes) and merged; they are larger."""
    for ids, signed in _batches(run, step, removed_too=removed_too):
        shared = permutations(signed.shape[1])
        for identity, slots in zip(ids, signed, strict=True):
            yield (
                identity,
                MinHash(seed=SEED, hashvalues=slots, permutations=shared, scheme=SCHEME, hashfunc=same_hash),
            )


def _batches(run: Run, step: str, *, removed_too: bool) -> Iterator[tuple[list[bytes], HashArray]]:
    """Ids and signatures uint32 (N, P) of the documents that have one."""
    kept, signed = run[step], run[_signatures_node(run, step)]
    for shard in sorted(signed.commits):
        keep = None if removed_too else _keep(kept, shard)
        first = 0
        with pq.ParquetFile(_file(signed, shard, MINHASH)) as file:
            _check(file.schema_arrow.field("minhash").metadata or {}, step)
            for batch in file.iter_batches():
                table = pa.Table.from_batches([batch])
                if keep is not None:
                    table = table.filter(keep.slice(first, batch.num_rows))
                first += batch.num_rows
                table = table.filter(table["minhash"].is_valid()).combine_chunks()
                if table.num_rows:
                    ids: list[Any] = table["id"].to_pylist()
                    slots: Any = table["minhash"].combine_chunks()
                    yield ids, slots.flatten().to_numpy().reshape(table.num_rows, -1)  # no nulls are left to skip


def _signatures_node(run: Run, step: str) -> str:
    name = f"{step}.signatures"
    full = name in run.nodes and any(o.suffix == MINHASH for c in run[name].commits.values() for o in c.outputs)
    if not full:
        run[step]  # no such step is another mistake
        msg = f"step {step!r} of {run.storage.uri} wrote no whole signatures; run it with dedup: {{minhash: {{full: true}}}}"
        raise UserError(msg)
    return name


def _check(metadata: Mapping[bytes, bytes], step: str) -> None:
    made_with = metadata.get(b"fold", b"").decode()
    if made_with != SHA256:
        msg = f"the signatures of {step!r} were made with fold table {made_with[:12]}, this version has {SHA256[:12]}; run the step again"
        raise UserError(msg)


def _file(dataset: Dataset, shard: int, suffix: str) -> Path:
    (output,) = (output for output in dataset.commits[shard].outputs if output.suffix == suffix)
    return committed_file(dataset.run.storage, output)


def _keep(step: Dataset, shard: int) -> pa.ChunkedArray:
    if shard not in step.commits:
        msg = f"step {step.name!r} has not decided shard {shard} yet; finish the run, or take removed_too=True"
        raise UserError(msg)
    return read_keep(_file(step, shard, ".keep"))
