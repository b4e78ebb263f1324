"""Lines of a file or of a byte range of it, cut at the line feed only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.inputs import Piece
from pipeline.readers.batch import Broken
from pipeline.readers.streams import Chunk, Damage, chunks, plain
from pipeline.stores import open_input


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its line feed. offset: of its first byte in the file, in a compressed one in the content.

    whole: False where it is longer than the limit, so that only its beginning is here. size: of the whole line.
    """

    data: bytes
    offset: int
    size: int

    @property
    def whole(self) -> bool:
        """True where nothing was left out."""
        return self.size == len(self.data)


def read_lines(piece: Piece, max_line_bytes: int) -> Iterator[Line | Broken]:
    """The lines that begin in a piece; the last one may end beyond it, and need not end in a line feed.

    A damaged stretch of a compressed file is one Broken; a line it cuts goes with it.
    """
    with open_input(piece.path) as file:
        if piece.start == 0 and piece.end is None:
            yield from _lines(chunks(file), piece, max_line_bytes, 0)
        else:
            # The byte before tells whether a line begins right at the start.
            yield from _lines(plain(file, max(0, piece.start - 1)), piece, max_line_bytes, max(0, piece.start - 1))


def _lines(stream: Iterator[Chunk | Damage], piece: Piece, limit: int, offset: int) -> Iterator[Line | Broken]:
    end = piece.end
    skipping = piece.start > 0
    held = _Held(offset, limit)
    for chunk in stream:
        if isinstance(chunk, Damage):
            yield Broken(chunk.error, f"{piece.path}#{chunk.offset}", chunk.size, excerpt=bytes(held.kept) or None)
            held = _Held(held.offset + held.size, limit)
            continue
        start = 0
        while (stop := chunk.data.find(b"\n", start)) >= 0:
            held.add(chunk.data[start:stop])
            if not skipping:
                yield held.line()
            skipping = False
            held = _Held(held.offset + held.size + 1, limit)
            start = stop + 1
            if end is not None and held.offset >= end:
                return
        held.add(chunk.data[start:])
    if held.size and not skipping:
        yield held.line()


class _Held:
    """A line being put together; what is over the limit is counted and let go."""

    __slots__ = ("_limit", "kept", "offset", "size")

    def __init__(self, offset: int, limit: int) -> None:
        self.kept = bytearray()
        self.offset = offset
        self.size = 0
        self._limit = limit

    def add(self, data: bytes) -> None:
        self.size += len(data)
        if len(self.kept) < self._limit:
            self.kept += data[: self._limit - len(self.kept)]

    def line(self) -> Line:
        return Line(bytes(self.kept), self.offset, self.size)
