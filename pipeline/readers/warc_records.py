"""WARC records cut out of a stream of bytes, with every stretch that is no record reported once."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.readers.batch import Broken
from pipeline.readers.streams import Chunk, Damage

MAGIC = b"WARC/"
_MAX_HEADER_BYTES = 1 << 20
# Where a record begins inside other bytes: at the start of a line.
_NEXT = re.compile(rb"\nWARC/[01]\.")
_LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,18})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_TYPE = re.compile(rb"^warc-type:[ \t]*([^\s]+)", re.IGNORECASE | re.MULTILINE)
_URI = re.compile(rb"^warc-target-uri:[ \t]*<?([^\s>]+)", re.IGNORECASE | re.MULTILINE)
_HEADER_END = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class Record:
    """A record of a wanted type. header: with its closing blank line; block: its first bytes where not ``whole``."""

    header: bytes
    block: bytes
    size: int
    """Bytes of the whole block."""
    origin: str

    @property
    def whole(self) -> bool:
        """False where the block was over the limit, so that only its beginning is here."""
        return len(self.block) == self.size


def records(
    stream: Iterator[Chunk | Damage], path: str, wanted: bytes, max_block_bytes: int, head_bytes: int = 64 * 1024
) -> Iterator[Record | Broken]:
    """The records of type ``wanted``; of a larger block than ``max_block_bytes`` just the first ``head_bytes``.

    A record is whole or not there: one that is cut short, by damage or by the next one's beginning, is a Broken, as is
    each stretch that is no record. Origins are ``path#offset`` of the record, in a compressed file of its member, with
    ``+n`` where it begins n bytes into the member.
    """
    return _Framer(stream, path, wanted, (max_block_bytes, head_bytes)).read()


class _Framer:
    def __init__(self, stream: Iterator[Chunk | Damage], path: str, wanted: bytes, limits: tuple[int, int]) -> None:
        self._stream = stream
        self._path = path
        self._wanted = wanted
        self._max_block, self._head = limits
        self._data = bytearray()
        self._taken = 0
        """Bytes dropped from the front of the buffer so far; with its length, positions in the whole stream."""
        self._marks: deque[tuple[int, int, int]] = deque()
        """(position in the stream, member, offset in the member) of each chunk in the buffer."""
        self._next: Chunk | Damage | None = None

    def read(self) -> Iterator[Record | Broken]:
        while True:
            self._skip_blank()
            if not self._data:
                damage = self._take_damage()
                if damage is not None:
                    yield Broken(damage.error, f"{self._path}#{damage.offset}", damage.size)
                elif not self._fill(accept_member=True):
                    return
            else:
                yield from self._record()

    def _record(self) -> Iterator[Record | Broken]:
        origin = self._origin()
        if not (self._need(len(MAGIC)) and self._data.startswith(MAGIC)):
            yield self._lost("no WARC record begins here", origin)
            return
        end = self._header_end()
        header = bytes(self._data[:end]) if end else b""
        length = _LENGTH.search(header)
        if length is None:
            self._drop(len(MAGIC))
            what = "WARC header without Content-Length" if end else "WARC header without an end"
            yield self._lost(what, origin, before=len(MAGIC), excerpt=MAGIC + bytes(self._data[:1000]), header=header)
            return
        self._drop(end)
        kind = _TYPE.search(header)
        size = int(length[1])
        wanted = kind is not None and kind[1].lower() == self._wanted
        keep = (size if size <= self._max_block else self._head) if wanted else 0
        block = self._take(keep)
        if block is None or not self._skip(size - keep):
            yield self._lost("WARC record cut short", origin, before=end, header=header)
        elif not self._ends_here():
            what = "WARC record does not end where its Content-Length says"
            yield self._lost(what, origin, before=end + size, header=header)
        elif wanted:
            yield Record(header, block, size, origin)

    def _header_end(self) -> int:
        """Length of the header with its blank line; 0 where it has no end."""
        searched = 0
        while True:
            found = _HEADER_END.search(self._data, searched)
            if found:
                return found.end()
            searched = max(0, len(self._data) - 4)
            if searched > _MAX_HEADER_BYTES or not self._fill():
                return 0

    def _ends_here(self) -> bool:
        """A record is followed by blank lines, another record, or nothing."""
        if not self._need(1):
            return True
        return self._data[:1] in (b"\r", b"\n") or (self._need(len(MAGIC)) and self._data.startswith(MAGIC))

    def _lost(self, what: str, origin: str, *, before: int = 0, header: bytes = b"", excerpt: bytes = b"") -> Broken:
        """Drop bytes up to the next record; the damage of the file that explains it is told with it, once."""
        excerpt = excerpt or bytes(self._data[:1000])
        size = before
        while True:
            found = _NEXT.search(self._data)
            if found:
                size += found.start() + 1
                self._drop(found.start() + 1)
                break
            size += max(0, len(self._data) - 10)
            self._drop(max(0, len(self._data) - 10))
            if not self._fill():
                size += len(self._data)
                self._drop(len(self._data))
                break
        damage = None if self._data else self._take_damage()
        error = what if damage is None else f"{what}: {damage.error}"
        uri = _URI.search(header)
        url = uri[1].decode("utf-8", "replace") if uri else None
        return Broken(error, origin, size, url, header or excerpt)

    def _take(self, size: int) -> bytes | None:
        """The next bytes, or None where a member or the file ends before."""
        if not self._need(size):
            return None
        block = bytes(memoryview(self._data)[:size])
        self._drop(size)
        return block

    def _skip(self, size: int) -> bool:
        while size:
            if not self._data and not self._fill():
                return False
            step = min(size, len(self._data))
            self._drop(step)
            size -= step
        return True

    def _need(self, size: int) -> bool:
        while len(self._data) < size:
            if not self._fill():
                return False
        return True

    def _fill(self, *, accept_member: bool = False) -> bool:
        """Take one more chunk; False at the end, at damage, and where a member begins with a record of its own."""
        if self._next is None:
            self._next = next(self._stream, None)
        chunk = self._next
        if not isinstance(chunk, Chunk):
            return False
        if not accept_member and chunk.inner == 0 and chunk.data.startswith(MAGIC):
            return False
        self._marks.append((self._taken + len(self._data), chunk.offset, chunk.inner))
        self._data += chunk.data
        self._next = None
        return True

    def _take_damage(self) -> Damage | None:
        if self._next is None:
            self._next = next(self._stream, None)
        if not isinstance(self._next, Damage):
            return None
        damage, self._next = self._next, None
        return damage

    def _drop(self, size: int) -> None:
        del self._data[:size]
        self._taken += size

    def _origin(self) -> str:
        while len(self._marks) > 1 and self._marks[1][0] <= self._taken:
            self._marks.popleft()
        position, member, inner = self._marks[0]
        inner += self._taken - position
        if member and inner:
            return f"{self._path}#{member}+{inner}"
        return f"{self._path}#{member + inner}"

    def _skip_blank(self) -> None:
        while self._need(1) and self._data[:1] in (b"\r", b"\n"):
            self._drop(len(self._data) - len(self._data.lstrip(b"\r\n")))
