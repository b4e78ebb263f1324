"""The bytes of a page out of an HTTP body as it was sent: chunks joined, content encodings undone."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Iterator

import zstandard
from fastwarc.stream_io import BrotliReader

_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
_STEP = 1 << 16
_PIECE = 1 << 20
_ERRORS = (zlib.error, zstandard.ZstdError, OSError)


class BodyError(Exception):
    """A body that cannot be read as its header says."""


def undo_transfer(body: bytes, transfer: str, encodings: str, max_bytes: int) -> tuple[bytes, str | None]:
    """The page as the server meant it, and what was missing of it (None: nothing).

    transfer, encodings: the values of Transfer-Encoding and Content-Encoding, empty where absent. Archives often keep
    the headers and store the body decoded: a body that is plainly not encoded so is taken as it is. A body cut off is
    decoded as far as it goes. A layer that neither decodes nor is absent is an error.

    Raises:
        BodyError: undecodable, or more than ``max_bytes`` when decoded.
    """
    missing: list[str] = []
    if "chunked" in transfer.lower():
        body, cut = _join_chunks(body)
        missing += ["chunked body cut off"] * cut
    for name in reversed([part.strip().lower() for part in encodings.split(",")]):
        layer = _LAYERS.get(name)
        if layer is None or not body:
            continue
        decoded, problem = _undo(body, layer, max_bytes)
        if problem is not None and not decoded:
            if _could_be_text(body):
                continue
            msg = f"Content-Encoding {name} cannot be undone: {problem}"
            raise BodyError(msg)
        body = decoded
        if problem is not None:
            missing.append(f"{name} body cut off or damaged")
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    return body, "; ".join(missing) or None


def _join_chunks(body: bytes) -> tuple[bytes, bool]:
    """The chunks' content, and whether the last one is missing; the body itself where it is not chunked."""
    parts: list[bytes] = []
    position = 0
    while True:
        head = _CHUNK_SIZE.match(body, position)
        if head is None:
            rest = body[position:]
            if not parts:
                return body, False
            # Not chunked after all, or cut off between two chunks.
            return (b"".join(parts), True) if len(rest) < 20 or rest.isspace() else _or_whole(body, parts)
        size = int(head[1], 16)
        if size == 0:
            return b"".join(parts), False
        parts.append(body[head.end() : head.end() + size])
        position = head.end() + size
        if position >= len(body):
            return b"".join(parts), True
        if body.startswith(b"\r\n", position):
            position += 2
        elif body.startswith(b"\n", position):
            position += 1
        elif len(parts) == 1:
            # A first line that happens to be a number: the body was stored without its chunks.
            return body, False


def _or_whole(body: bytes, parts: list[bytes]) -> tuple[bytes, bool]:
    """The chunks so far where there are several, which chance does not make; else the body as it is."""
    return (b"".join(parts), True) if len(parts) > 1 else (body, False)


def _undo(body: bytes, layer: Callable[[bytes], Iterator[bytes]], max_bytes: int) -> tuple[bytes, str | None]:
    made = bytearray()
    try:
        for piece in layer(body):
            made += piece
            if len(made) > max_bytes:
                raise _too_large(max_bytes)
    except _ERRORS as error:
        return bytes(made), str(error)
    except EOFError:
        return bytes(made), "it is cut off"
    return bytes(made), None


def _too_large(max_bytes: int) -> BodyError:
    return BodyError(f"page of more than {max_bytes} bytes (max_document_bytes)")


def _could_be_text(body: bytes) -> bool:
    """True where a body's beginning has none of the bytes that compressed data is full of and pages never hold."""
    head = body[:512]
    return not any(byte < 0x20 and byte not in b"\t\n\f\r\x1b" for byte in head)  # C0 controls


def _gunzip(body: bytes) -> Iterator[bytes]:
    if not body.startswith(b"\x1f\x8b"):
        msg = "it is not gzip"
        raise zlib.error(msg)
    while body.startswith(b"\x1f\x8b"):
        body = yield from _inflate(body, zlib.MAX_WBITS | 16)


def _deflate(body: bytes) -> Iterator[bytes]:
    # "deflate" means zlib's format; some servers send the bare stream.
    try:
        zlib.decompressobj().decompress(body[:_STEP], 1)
    except zlib.error:
        yield from _inflate(body, -zlib.MAX_WBITS)
    else:
        yield from _inflate(body, zlib.MAX_WBITS)


def _inflate(body: bytes, window: int) -> Iterator[bytes]:
    """Decompress one member; returns what follows it."""
    inflate = zlib.decompressobj(window)
    for start in range(0, len(body), _STEP):
        data = body[start : start + _STEP]
        while True:
            made = inflate.decompress(data, _PIECE)
            yield made
            data = inflate.unconsumed_tail
            # Behind the end the tail is stale; a full piece may have left output inside, with no input to show for it.
            if inflate.eof or (not data and len(made) < _PIECE):
                break
        if inflate.eof:
            return inflate.unused_data + body[start + _STEP :]
    raise EOFError


def _brotli(body: bytes) -> Iterator[bytes]:
    reader = BrotliReader(io.BytesIO(body))
    # At a cut it raises without giving what it had made for this call: small calls lose little.
    while piece := reader.read(1024):
        yield piece


def _unzstd(body: bytes) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj()
    for start in range(0, len(body), 4096):
        yield decompressor.decompress(body[start : start + 4096])
        if decompressor.eof:
            return
    raise EOFError


_LAYERS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _unzstd,
}
