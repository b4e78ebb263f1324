"""Reading one shard of a source, whatever its format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import assert_never

import pyarrow as pa

from pipeline.inputs import Piece
from pipeline.readers import jsonl, text, warc
from pipeline.readers.batch import Item, ReadBatch, batches
from pipeline.readers.options import Read
from pipeline.readers.parquet import read_parquet

BATCH_BYTES = 64 << 20


def read_shard(options: Read, pieces: Sequence[Piece], *, batch_bytes: int = BATCH_BYTES) -> Iterator[ReadBatch]:
    """The documents of a shard in order, in tables of about ``batch_bytes`` of text; at least one table.

    What is a document, in which order and with which id does not depend on ``batch_bytes``.

    Raises:
        ValueError: ``options.source`` is not set; the engine sets it to the step's name.
        UserError: a Parquet file lacks a column.
        OSError: a file cannot be opened or read.
    """
    if options.source is None:
        msg = "read without a source name; set source before reading"
        raise ValueError(msg)
    if options.format == "parquet":
        yield from read_parquet(options, options.source, pieces, batch_bytes)
    else:
        yield from batches(_items(options, pieces), options.source, further_columns(options), batch_bytes)


def further_columns(options: Read) -> Sequence[pa.Field]:
    """The columns of a source beyond the fixed ones; those of Parquet are known only from its files."""
    match options.format:
        case "warc" | "wet":
            return warc.FURTHER
        case "jsonl":
            return options.further
        case "text":
            return text.FURTHER
        case "parquet":
            msg = "the further columns of Parquet are those of its files"
            raise ValueError(msg)
        case _:
            assert_never(options.format)


def _items(options: Read, pieces: Sequence[Piece]) -> Iterator[Item]:
    for piece in pieces:
        match options.format:
            case "warc" | "wet":
                yield from warc.read_warc(options, piece.path)
            case "jsonl":
                yield from jsonl.read_jsonl(options, piece)
            case "text":
                yield from text.read_text(options, piece)
            case "parquet":
                msg = "Parquet is read as tables"
                raise ValueError(msg)
            case _:
                assert_never(options.format)
