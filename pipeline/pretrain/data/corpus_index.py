"""What opening a corpus finds out, kept in a file beside the run: every rank, and every later launch, reads that instead.

The tables of 10,000 token shards take a process about 15 s of CPU to read, and a node starts eight ranks at once.
"""

from __future__ import annotations

import contextlib
import os
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import xxhash

from pipeline.pretrain.config import TokenData, TrainConfig
from pipeline.pretrain.data.corpus import Corpus, HeldOut, open_corpus
from pipeline.pretrain.data.documents import map_payload

FEWEST_SHARDS = 100
"""Fewer are read in the time that torch takes to be imported."""
_FORMAT = "1"
_ARRAYS = ("segment_shard", "segment_start", "segment_end", "stratum_start")
_HELD_OUT = tuple(field.name for field in fields(HeldOut))


def indexed_corpus(data: TokenData, config: TrainConfig, home: Path, *, keep: bool = True) -> Corpus:
    """The corpus of ``open_corpus``, from its index in ``home`` where there is one; else it is made.

    The index is of these files as they are (path, size, time of change), this seed, held-out share and mixture. It is written
    whole or not at all, by whoever comes first: a driver, before it starts ranks. Where it cannot be written, each reads the
    tables. keep: False for whoever only looks, who writes nothing.

    Raises:
        UserError: see ``open_corpus``.
    """
    options: dict[str, Any] = {
        "held_out_fraction": config.held_out_fraction,
        "seed": config.seed,
        "mixture": config.mixture,
    }
    if len(data.shards) < FEWEST_SHARDS:
        return open_corpus(data, **options)
    path = home / f"corpus-{_key(data, config)}.npz"
    found = _read(path, data, config)
    if found is None:
        found = open_corpus(data, **options)
        if keep:
            _write(path, found)
    return found


def _key(data: TokenData, config: TrainConfig) -> str:
    """Hex digits of all that the index follows from."""
    mixture = "" if config.mixture is None else config.mixture.model_dump_json()
    asked = f"{_FORMAT} {data.dtype} {data.eos_id} {config.seed} {config.held_out_fraction!r} {mixture}"
    key = xxhash.xxh3_128(asked.encode())
    for files in data.shards:
        for path in (files.tokens, files.documents):
            found = Path(path).stat()
            key.update(f"\0{path}\0{found.st_size} {found.st_mtime_ns}".encode())
    return key.hexdigest()


def _read(path: Path, data: TokenData, config: TrainConfig) -> Corpus | None:
    """The corpus of an index; None where there is none, or none that can be read."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    return Corpus(
        data=data,
        payloads=tuple(
            map_payload(files, data.dtype, count)
            for files, count in zip(data.shards, arrays["payload_tokens"].tolist(), strict=True)
        ),
        held_out=HeldOut(**{name: arrays[f"held_out_{name}"] for name in _HELD_OUT}),
        documents=int(arrays["documents"]),
        digest=str(arrays["digest"]),
        mixture=config.mixture,
        held_out_below=int(arrays["held_out_below"]),
        **{name: arrays[name] for name in _ARRAYS},
    )


def _write(path: Path, corpus: Corpus) -> None:
    stored = {name: getattr(corpus, name) for name in _ARRAYS}
    stored |= {f"held_out_{name}": getattr(corpus.held_out, name) for name in _HELD_OUT}
    stored |= {
        "payload_tokens": np.array([len(payload) for payload in corpus.payloads], np.int64),
        "documents": np.array(corpus.documents),
        "digest": np.array(corpus.digest),
        "held_out_below": np.array(corpus.held_out_below, np.uint64),
    }
    scratch = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("wb") as file:
            np.savez(file, **stored)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
        # Of shards, or a configuration, that the run no longer has; or half written by a process that was killed.
        for other in (*path.parent.glob("corpus-*.npz"), *path.parent.glob(".corpus-*.npz.*")):
            if other != path:
                other.unlink(missing_ok=True)
    except OSError:  # a full disk, say: whatever needs the room will say so
        with contextlib.suppress(OSError):
            scratch.unlink()
