"""Reading one shard of a source, whatever its format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import assert_never

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.documents import text_bytes
from pipeline.inputs import Piece
from pipeline.readers import jsonl, text, warc
from pipeline.readers.batch import Item, ReadBatch, batches
from pipeline.readers.options import Read
from pipeline.readers.parquet import read_parquet
from pipeline.takedown.suppression import Suppression, read_list

BATCH_BYTES = 16 << 20
"""Text of a table: its words, lines and n-grams take some twenty times as much while filters run over it."""


def read_shard(
    options: Read,
    pieces: Sequence[Piece],
    suppression: Suppression | None = None,
    *,
    batch_bytes: int = BATCH_BYTES,
) -> Iterator[ReadBatch]:
    """The documents of a shard in order, in tables of about ``batch_bytes`` of text; at least one table.

    What is a document, in which order and with which id does not depend on ``batch_bytes``. suppression: what the run
    keeps out, besides what ``options.suppress`` lists.

    Raises:
        ValueError: ``options.source`` is not set; the engine sets it to the step's name.
        UserError: a Parquet file lacks a column.
        OSError: a file cannot be opened or read.
    """
    if options.source is None:
        msg = "read without a source name; set source before reading"
        raise ValueError(msg)
    if options.format == "parquet":
        found = read_parquet(options, options.source, pieces, batch_bytes)
    else:
        found = batches(_items(options, pieces), options.source, further_columns(options), batch_bytes)
    forbidden = suppression or Suppression()
    if options.suppress is not None and options.suppress.file is not None:
        forbidden = forbidden.joined(read_list(Path(options.suppress.file)))
    yield from (without(batch, forbidden) for batch in found) if forbidden else found


def without(batch: ReadBatch, forbidden: Suppression) -> ReadBatch:
    """A batch without the rows that are forbidden; they are counted."""
    docs, dropped, broken = batch.documents, batch.dropped, batch.quarantined
    masks = [forbidden.rows(table) for table in (docs, dropped, broken)]
    if not any(mask.any() for mask in masks):
        return batch
    rows = [pa.array(mask) for mask in masks]
    sizes = [text_bytes(docs.filter(rows[0])), dropped.filter(rows[1])["bytes"], broken.filter(rows[2])["bytes"]]
    left = [table.filter(pa.array(~mask)) for table, mask in zip((docs, dropped, broken), masks, strict=True)]
    num_bytes = sum(pc.sum(size).as_py() or 0 for size in sizes)
    return ReadBatch(*left, suppressed=sum(int(mask.sum()) for mask in masks), suppressed_bytes=num_bytes)


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
