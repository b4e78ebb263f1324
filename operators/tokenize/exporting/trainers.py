"""Token shards under the names that trainers look for, linked where the bytes are the same."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from operators.tokenize.exporting.folder import ExportFolder
from operators.tokenize.exporting.parts import TRAIN, Part
from operators.tokenize.shards.indexes import datatrove_index, datatrove_metadata, megatron_index, olmo_index
from pipeline.errors import UserError

Parts = Sequence[Part]


def megatron(folder: ExportFolder, parts: Parts, prefix: str, name: str) -> None:
    """``00000.bin`` and ``.idx``, and for ``--data-args-path`` a file with the weight (tokens) and path of each shard.

    An index names its documents by where they lie in the payload, so each set has the whole payload, linked, and an
    index of its own documents.
    """
    del name
    lines = []
    for part in parts:
        stem = f"{prefix}{part.index:05d}"
        folder.link(*part.committed_file(".bin"), f"{stem}.bin")
        _index(folder, part, ".idx", f"{stem}.idx", lambda p: megatron_index(p.lengths, p.itemsize, p.starts))
        lines.append(f"{part.num_tokens} {folder.out / stem}\n")
    folder.write(f"{prefix}data_args.txt", ["".join(lines).encode()])


def olmo(folder: ExportFolder, parts: Parts, prefix: str, name: str) -> None:
    """``part-00000.npy``, raw tokens in spite of the name, and ``.csv.gz``."""
    del name
    for part in parts:
        stem = f"{prefix}part-{part.index:05d}"
        _payload(folder, part, f"{stem}.npy")
        _index(folder, part, ".csv.gz", f"{stem}.csv.gz", lambda p: olmo_index(p.lengths, p.ids))


def datatrove(folder: ExportFolder, parts: Parts, prefix: str, name: str) -> None:
    """``00000_tokens.ds``, ``.ds.index`` and ``.ds.metadata``; Nanotron reads the same."""
    for part in parts:
        stem = f"{prefix}{part.index:05d}_tokens"
        _payload(folder, part, f"{stem}.ds")
        _index(folder, part, ".ds.index", f"{stem}.ds.index", lambda p: datatrove_index(p.lengths))
        _index(
            folder, part, ".ds.metadata", f"{stem}.ds.metadata",
            lambda p: datatrove_metadata(name, p.itemsize, p.num_tokens).encode(),
        )  # fmt: skip


def nanogpt(folder: ExportFolder, parts: Parts, prefix: str, name: str) -> None:
    """One file of 16 bits a set, ``train.bin`` and ``val.bin``, and ``meta.pkl`` with the size of the vocabulary.

    Raises:
        UserError: tokens of 32 bits, which nanoGPT would read as twice as many of 16.
    """
    del name
    if parts[0].itemsize != 2:
        msg = (
            f"nanoGPT reads tokens of 16 bits, these have 32 (vocabulary {parts[0].facts['vocab_size']:,}); "
            f"tokenize with a vocabulary below 65,500, or export --to megatron, olmo, litgpt or llmc"
        )
        raise UserError(msg)
    _joined(folder, parts, f"{prefix or TRAIN}".rstrip("/") + ".bin")
    if prefix.rstrip("/") in ("", TRAIN):
        folder.write("meta.pkl", [_pickled_vocab_size(int(parts[0].facts["vocab_size"]))])


def titan(folder: ExportFolder, parts: Parts, prefix: str, name: str) -> None:
    """``tokens.bin`` of 32 bits and ``document_offsets.npy``, as torchtitan's guide to pretokenized data reads them."""
    del name
    if parts[0].itemsize == 4:
        _joined(folder, parts, f"{prefix}tokens.bin")
    else:
        wide = (block.astype("<u4") for part in parts for block in part.blocks())
        folder.write(f"{prefix}tokens.bin", wide)
    folder.write(f"{prefix}document_offsets.npy", _offsets(parts))


def _offsets(parts: Parts) -> Iterator[Any]:
    """An ``.npy`` of where each document of all parts begins, and where the last one ends."""
    header = io.BytesIO()
    shape = (1 + sum(part.num_documents for part in parts),)
    np.lib.format.write_array_header_1_0(header, {"descr": "<i8", "fortran_order": False, "shape": shape})
    yield header.getvalue()
    end = np.zeros(1, "<i8")
    yield end
    for part in parts:
        yield (ends := end[-1] + np.cumsum(part.lengths, dtype="<i8"))
        end = ends


def _payload(folder: ExportFolder, part: Part, name: str) -> None:
    """The tokens as they are: the run's file, or those of the documents chosen."""
    if part.chosen is None:
        folder.link(*part.committed_file(".bin"), name)
    else:
        folder.write(name, (block for block in part.blocks() if len(block)))


def _index(folder: ExportFolder, part: Part, suffix: str, name: str, made: Callable[[Part], bytes]) -> None:
    if part.chosen is None:
        folder.link(*part.committed_file(suffix), name)
    else:
        folder.write(name, [made(part)])


def _joined(folder: ExportFolder, parts: Parts, name: str) -> None:
    """The tokens of all parts in one file."""
    if len(parts) == 1:
        _payload(folder, parts[0], name)
    else:
        folder.write(name, _blocks(parts))


def _blocks(parts: Parts) -> Iterator[Any]:
    for part in parts:
        yield from (block for block in part.blocks() if len(block))


def _pickled_vocab_size(size: int) -> bytes:
    """``{"vocab_size": size}`` as pickle's protocol 0, the same bytes in every version of Python."""
    return b"(dVvocab_size\nI%d\ns." % size
