"""Check token shards against what every reader relies on."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.tokenize.shards.indexes import datatrove_index, megatron_index, olmo_lines
from operators.tokenize.shards.planning import ROLE
from operators.tokenize.shards.reader import TokenShard, index_dtype
from pipeline.dataset import Dataset
from pipeline.errors import RunFailedError

SUFFIXES = (".bin", ".idx", ".ds.index", ".ds.metadata", ".csv.gz", ".offsets.npy", ".docs.parquet")
"""The files of a token shard."""

_OF_ALL = ("dtype", "vocab_size", "eos_id", "tokenizer_sha256")
_TOKENS_TOGETHER = 1 << 24


def verify(paths: Iterable[str | Path]) -> list[str]:
    """What is wrong with shards, given their ``.bin`` files; empty where nothing is.

    (a) Each document ends in the same token, which stands nowhere else; (b) the lengths add up to the payload; (c) no
    document is empty; and all indexes beside the payload tell the same bounds.
    """
    return [f"{Path(path).name}: {problem}" for path in paths for problem in _problems(_beside(Path(path)), {})]


def verify_dataset(dataset: Dataset) -> list[str]:
    """What is wrong with the token shards of a step.

    Beside what ``verify`` finds: (d) the manifest, where there is one, names what was committed; all shards are of one
    tokenizer; what each commit says of its shard is so; and shards put together from encoded documents hold all of them.
    """
    shards = dataset.shards()
    found = [*_of_manifest(dataset), *_of_encoded(dataset)]
    values = {name: sorted({str(shard.facts[name]) for shard in shards}) for name in _OF_ALL}
    found += [f"shards differ in {name}: {', '.join(some)}" for name, some in values.items() if len(some) > 1]
    for shard in shards:
        files = {suffix: shard.file(suffix) for suffix in SUFFIXES}
        found += [f"{files['.bin'].name}: {problem}" for problem in _problems(files, shard.facts)]
    return found


def _of_manifest(dataset: Dataset) -> Iterator[str]:
    if dataset.manifest is None:
        return
    named = {one["shard"]: [output["path"] for output in one["outputs"]] for one in dataset.manifest["shards"]}
    if named != {index: [output.name for output in commit.outputs] for index, commit in dataset.commits.items()}:
        yield "the manifest names other files than the commits do"


def _of_encoded(dataset: Dataset) -> Iterator[str]:
    name = dataset.run.nodes[dataset.name]["inputs"].get(ROLE)
    if name is None or not dataset.complete:
        return
    encoded = dataset.run[name].commits
    if any(commit.generation > 1 for commit in (*dataset.commits.values(), *encoded.values())):
        return  # what a takedown took out is missing in one of them first
    for fact in ("docs", "tokens"):
        have, wanted = (sum(commit.facts[fact] for commit in one.values()) for one in (dataset.commits, encoded))
        if have != wanted:
            yield f"{have:,} {fact} are here, {name} has {wanted:,}"


def _beside(payload: Path) -> dict[str, Path]:
    stem = payload.with_suffix("")
    return {suffix: stem.with_name(stem.name + suffix) for suffix in SUFFIXES}


def _problems(files: Mapping[str, Path], facts: Mapping[str, Any]) -> list[str]:
    if missing := [suffix for suffix, path in files.items() if not path.is_file()]:
        return [f"no {', '.join(missing)} beside it"]
    try:
        dtype = index_dtype(files[".idx"])
        offsets = np.load(files[".offsets.npy"])
        docs = TokenShard(files[".bin"], files[".docs.parquet"], dtype, offsets, None)
        found = [*_differences(docs, files), *_facts(docs, facts)]
    except (OSError, EOFError, ValueError, pa.ArrowException, zlib.error, RunFailedError) as error:
        return [f"an index cannot be read: {error}"]
    size = files[".bin"].stat().st_size
    if not len(offsets) or offsets[0] != 0 or docs.num_tokens * dtype.itemsize != size:
        found.append(f"documents add up to {docs.num_tokens * dtype.itemsize:,} bytes, the payload has {size:,}")
    return found if found or not size else list(_tokens(docs, facts))


def _differences(shard: TokenShard, files: Mapping[str, Path]) -> Iterator[str]:
    lengths = shard.lengths
    if num_empty := int((lengths <= 1).sum()):  # an end mark and nothing before it
        yield f"{num_empty:,} documents are empty"
    if files[".idx"].read_bytes() != megatron_index(lengths, shard.dtype.itemsize):
        yield "its .idx and .offsets.npy differ"
    if files[".ds.index"].read_bytes() != datatrove_index(lengths):
        yield "its .ds.index and .offsets.npy differ"
    head = files[".ds.metadata"].read_text().split("\n")
    if head[0].rpartition("|")[2] != str(shard.dtype.itemsize) or head[1] != str(shard.num_tokens):
        yield "its .ds.metadata and .offsets.npy differ"
    rows = shard.columns(["start", "num_tokens"])
    if not np.array_equal(rows["start"], shard.offsets[:-1]) or not np.array_equal(rows["num_tokens"], lengths):
        yield "its .docs.parquet and .offsets.npy differ"
    elif gzip.decompress(files[".csv.gz"].read_bytes()) != olmo_lines(lengths, shard.ids):
        yield "its .csv.gz and .docs.parquet differ"


def _facts(shard: TokenShard, facts: Mapping[str, Any]) -> Iterator[str]:
    """What a commit says, where there is one."""
    have = {"dtype": shard.dtype.name, "tokens": shard.num_tokens, "docs": shard.num_documents}
    for name, value in have.items():
        if facts.get(name, value) != value:
            yield f"its commit says {name}={facts[name]}, it has {value}"


def _tokens(shard: TokenShard, facts: Mapping[str, Any]) -> Iterator[str]:
    tokens: npt.NDArray = shard.tokens
    last = np.asarray(tokens[shard.offsets[1:] - 1])
    eos = facts.get("eos_id", int(last[0]))
    if (last != eos).any():
        yield f"documents end in different tokens: {np.unique(last)[:5].tolist()}, the end mark is {eos}"
        return
    marks = most = 0
    for first in range(0, len(tokens), _TOKENS_TOGETHER):
        block = tokens[first : first + _TOKENS_TOGETHER]
        marks += int((block == eos).sum())
        most = max(most, int(block.max()))
    if marks != len(last):
        yield f"end mark {eos} stands {marks:,} times in {len(last):,} documents"
    if most >= facts.get("vocab_size", most + 1):
        yield f"token {most} in a vocabulary of {facts['vocab_size']}"
