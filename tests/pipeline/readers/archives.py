"""Small archives made in memory, byte by byte, as tests need them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from pipeline.inputs import Piece
from pipeline.readers.batch import ReadBatch
from pipeline.readers.read import Read, read_shard


def http(
    body: bytes, content_type: str | None = "text/html; charset=utf-8", status: str = "200 OK", **headers: str
) -> bytes:
    """An HTTP response; header names are given with underscores."""
    lines = [f"HTTP/1.1 {status}"]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def record(
    block: bytes,
    url: str | None = "http://example.org/",
    kind: str = "response",
    content_type: str = "application/http; msgtype=response",
    **headers: str,
) -> bytes:
    """A WARC record with its closing blank lines."""
    fields = {"WARC-Type": kind, "WARC-Date": "2026-01-02T03:04:05Z", "Content-Type": content_type}
    if url is not None:
        fields["WARC-Target-URI"] = url
        fields["WARC-Record-ID"] = f"<urn:uuid:{zlib.crc32(url.encode()):08x}>"
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    fields["Content-Length"] = str(len(block))
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return b"WARC/1.0\r\n" + head.encode() + b"\r\n" + block + b"\r\n\r\n"


def page(number: int, size: int = 40) -> bytes:
    """A record of a page of its own; contents that do not compress to nothing."""
    words = " ".join(f"{zlib.crc32(b'%d-%d' % (number, k)):x}" for k in range(size))
    return record(http(f"<html><p>page {number} {words}</p></html>".encode()), f"http://example.org/{number}")


def gzipped(records: Iterable[bytes]) -> bytes:
    """Each record a member of its own, as the standard has it."""
    return b"".join(gzip.compress(one, mtime=0) for one in records)


def read_all(options: Read, *pieces: Piece, batch_bytes: int = 64 << 20) -> ReadBatch:
    """Everything of a shard as one batch."""
    parts = list(read_shard(options, pieces, batch_bytes=batch_bytes))
    return ReadBatch(
        pa.concat_tables([part.documents for part in parts]),
        pa.concat_tables([part.dropped for part in parts]),
        pa.concat_tables([part.quarantined for part in parts]),
    )


def read_bytes(
    folder: Path, data: bytes, name: str = "x.warc.gz", *, batch_bytes: int = 64 << 20, **options: object
) -> ReadBatch:
    """Write a file and read it with a format's options."""
    path = folder / name
    path.write_bytes(data)
    fields = {"format": "warc", "paths": (name,), "source": "demo", **options}
    return read_all(Read.model_validate(fields), Piece(path=str(path)), batch_bytes=batch_bytes)


def texts(batch: ReadBatch) -> Sequence[str]:
    return batch.documents["text"].to_pylist()


def errors(batch: ReadBatch) -> Sequence[str]:
    return batch.quarantined["error"].to_pylist()


def reasons(batch: ReadBatch) -> Sequence[tuple[str, str | None]]:
    return list(zip(batch.dropped["reason"].to_pylist(), batch.dropped["value"].to_pylist(), strict=True))
