"""Bytes of a file, decompressed member by member, with what is damaged told apart and the rest read on."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Protocol

import zstandard

_READ_BYTES = 64 * 1024
# Output of a member that is held back until the member, or this much more of it, proved sound: after a flipped bit
# inflate goes on for a while before it notices. A Common Crawl record is about 100 KiB, one member each.
_HELD_BYTES = 1 << 20
_TRIAL_BYTES = 64 * 1024
_SCAN_BYTES = 1 << 20
_MAGIC_BYTES = 4


@dataclass(frozen=True, slots=True)
class Chunk:
    """Decompressed bytes. offset: where their member starts in the file; inner: how far into it they lie.

    In a file that is not compressed the whole is one member at 0.
    """

    data: bytes
    offset: int
    inner: int


@dataclass(frozen=True, slots=True)
class Damage:
    """A stretch of the file that could not be read: where it starts, its size in the file, and why."""

    offset: int
    size: int
    error: str


class _Decompressor(Protocol):
    """One member being decompressed."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def pieces(self, data: bytes) -> Iterator[bytes]: ...


class _Gunzip:
    """zlib's inflate with bounded pieces of output: 64 KiB may hold 64 MiB."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def pieces(self, data: bytes) -> Iterator[bytes]:
        while True:
            made = self._inflate.decompress(data, _HELD_BYTES)
            yield made
            data = self._inflate.unconsumed_tail
            # Behind the end the tail is stale; a full piece may have left output inside, with no input to show for it.
            if self._inflate.eof or (not data and len(made) < _HELD_BYTES):
                return


class _Unzstd:
    # 4 KiB of zstd may hold 128 MiB (a block of 128 KiB takes 4 bytes), a usual 4 KiB some 16.
    _STEP = 4096

    def __init__(self) -> None:
        self._unused = b""
        # Windows up to 2 GiB: files made with --long=31 are common among published corpora.
        self._decompress = zstandard.ZstdDecompressor(max_window_size=2**31).decompressobj()

    @property
    def eof(self) -> bool:
        return self._decompress.eof

    @property
    def unused_data(self) -> bytes:
        return self._unused

    def pieces(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), self._STEP):
            yield self._decompress.decompress(data[start : start + self._STEP])
            if self._decompress.eof:
                self._unused = self._decompress.unused_data + data[start + self._STEP :]
                return


@dataclass(frozen=True)
class Compression:
    """A format of compressed members. magics: how a member begins; padding: what may stand between two."""

    name: str
    magics: tuple[bytes, ...]
    start: Callable[[], _Decompressor]
    padding: bytes


GZIP = Compression("gzip", (b"\x1f\x8b\x08",), _Gunzip, b"\0")
# A frame, or one of the 16 kinds of skippable ones.
_ZSTD_MAGICS = (b"\x28\xb5\x2f\xfd", *(bytes([0x50 + k]) + b"\x2a\x4d\x18" for k in range(16)))
ZSTD = Compression("zstd", _ZSTD_MAGICS, _Unzstd, b"")
_ERRORS = (zlib.error, zstandard.ZstdError)


def compression(head: bytes) -> Compression | None:
    """How a file that begins so is compressed; told from its bytes, since names lie."""
    for kind in (GZIP, ZSTD):
        # A file cut off within the magic itself is still told from text.
        if any(head[:4].startswith(magic) or (len(head) > 1 and magic.startswith(head)) for magic in kind.magics):
            return kind
    return None


def chunks(file: IO[bytes], looks_right: Callable[[bytes], bool] = bool) -> Iterator[Chunk | Damage]:
    """The bytes of a file from its start, decompressed where it is compressed.

    looks_right: whether decompressed bytes can be the start of a member; asked only where, behind a damaged stretch,
    the next sound member is looked for.
    """
    head = file.read(4)
    file.seek(0)
    kind = compression(head)
    if kind is None:
        yield from plain(file)
    else:
        yield from _Members(file, kind, looks_right).read()


def plain(file: IO[bytes], offset: int = 0) -> Iterator[Chunk]:
    """The bytes of a file as they are, from an offset on."""
    file.seek(offset)
    while data := file.read(_SCAN_BYTES):
        yield Chunk(data, 0, offset)
        offset += len(data)


class _Members:
    """Reads a compressed file member by member."""

    def __init__(self, file: IO[bytes], kind: Compression, looks_right: Callable[[bytes], bool]) -> None:
        self._file = file
        self._kind = kind
        self._looks_right = looks_right
        self._buffer = b""
        self._position = 0
        """Offset in the file of the first byte of the buffer."""

    def read(self) -> Iterator[Chunk | Damage]:
        while self._fill():
            if self._buffer[:1] in self._kind.padding and self._kind.padding:
                self._drop_padding()
            elif self._buffer.startswith(self._kind.magics):
                yield from self._member(self._position)
            else:
                start = self._position
                self._seek(self._next_member(start + 1))
                yield Damage(start, self._position - start, f"no {self._kind.name} member begins here")

    def _member(self, start: int) -> Iterator[Chunk | Damage]:
        """One member from its start; the position afterwards is behind it, or behind its damage."""
        inner, held = 0, bytearray()
        problem: Exception | None = None
        try:
            for data in self._output(start, None):
                held += data
                if len(held) >= 2 * _HELD_BYTES:
                    yield Chunk(bytes(held[:-_HELD_BYTES]), start, inner)
                    inner += len(held) - _HELD_BYTES
                    del held[:-_HELD_BYTES]
        except _ERRORS as error:
            problem = error
        what = None if self._ended and problem is None else "cut off"
        if what is not None:
            # Cut off, or broken: a member cut off before another one looks broken, as its end is sought in the other.
            end = self._next_member(start + 1)
            sound = self._cut_off(start, end, inner)
            self._seek(end)
            held = sound or bytearray()
            if sound is None:
                what = f"damaged ({problem})"
        if held:
            yield Chunk(bytes(held), start, inner)
        if what is not None:
            message = f"{self._kind.name} member {what} after {inner + len(held)} bytes of content"
            yield Damage(start, self._position - start, message)

    def _output(self, start: int, end: int | None) -> Iterator[bytes]:
        """Decompress from a member's start to its end (``_ended``), or to the end of the file or ``end``."""
        if start != self._position:
            self._seek(start)
        self._ended = False
        decompressor = self._kind.start()
        while self._fill() and (end is None or self._position < end):
            data = self._buffer if end is None else self._buffer[: end - self._position]
            self._buffer, self._position = self._buffer[len(data) :], self._position + len(data)
            yield from decompressor.pieces(data)
            if decompressor.eof:
                unused = decompressor.unused_data
                self._buffer, self._position = unused + self._buffer, self._position - len(unused)
                self._ended = True
                return

    def _cut_off(self, start: int, end: int, skip: int) -> bytearray | None:
        """The content between two offsets beyond the first ``skip`` bytes; None where it is broken and not just cut."""
        kept = bytearray()
        try:
            for data in self._output(start, end):
                kept += data[skip:] if skip else data
                skip = max(0, skip - len(data))
        except _ERRORS:
            return None
        return kept

    def _next_member(self, start: int) -> int:
        """Offset of the next sound member at or after an offset; the end of the file where there is none."""
        while True:
            self._seek(start)
            window = self._file.read(_SCAN_BYTES)
            if not window:
                return start
            places = sorted(_places(window, self._kind.magics))
            for place in places:
                if self._is_sound(start + place):
                    return start + place
            if len(window) < _MAGIC_BYTES:
                return start + len(window)
            start += len(window) - _MAGIC_BYTES + 1

    def _is_sound(self, start: int) -> bool:
        made = b""
        try:
            for data in self._output(start, None):
                made += data
                if len(made) >= _TRIAL_BYTES:
                    break
        except _ERRORS:
            return False
        return self._looks_right(made)

    def _fill(self) -> bool:
        """Have at least a magic's bytes in the buffer, where the file has as many left; False at its end."""
        while len(self._buffer) < _MAGIC_BYTES:
            data = self._file.read(_READ_BYTES)
            if not data:
                break
            self._buffer += data
        return bool(self._buffer)

    def _seek(self, position: int) -> None:
        self._file.seek(position)
        self._buffer, self._position = b"", position

    def _drop_padding(self) -> None:
        rest = self._buffer.lstrip(self._kind.padding)
        self._position += len(self._buffer) - len(rest)
        self._buffer = rest


def _places(window: bytes, magics: tuple[bytes, ...]) -> Iterator[int]:
    for magic in magics:
        place = window.find(magic)
        while place >= 0:
            yield place
            place = window.find(magic, place + 1)
