"""Documents from plain text: whole files, lines or paragraphs."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from pipeline.inputs import Piece
from pipeline.readers.batch import Broken, Dropped, Found, Item
from pipeline.readers.charset import Decoded, decode_page
from pipeline.readers.codecs import UTF8, decode, encoding_of
from pipeline.readers.lines import Line, read_lines
from pipeline.readers.options import Read
from pipeline.readers.streams import Damage, chunks
from pipeline.stores import open_input

FURTHER = (
    pa.field("charset", pa.string()),
    pa.field("charset_from", pa.string()),
    pa.field("replacement_chars", pa.int64()),
)
"""As for WARC; charset_from is ``recipe`` where the recipe names the encoding."""

_BOM = b"\xef\xbb\xbf"


def read_text(options: Read, piece: Piece) -> Iterator[Item]:
    """The documents of a file. They have no key but their text: equal ones share an id.

    Lines and paragraphs are UTF-8 unless the recipe says otherwise, lose their line ends, and blank ones are none; a
    whole file is decoded by its byte-order mark, else as what its bytes look like. A compressed file that is damaged
    is quarantined whole.
    """
    match options.documents:
        case "file":
            yield _file(options, piece)
        case "line":
            for line in read_lines(piece, options.max_document_bytes):
                yield from _lines_as_one(options, piece, [line] if _has_text(line) else [])
        case "paragraph":
            yield from _paragraphs(options, piece)


def _file(options: Read, piece: Piece) -> Item:
    content = bytearray()
    origin = f"{piece.path}#0"
    with open_input(piece.path) as file:
        for chunk in chunks(file):
            if isinstance(chunk, Damage):
                return Broken(chunk.error, f"{piece.path}#{chunk.offset}", len(content), excerpt=bytes(content[:2000]))
            content += chunk.data
            if len(content) > options.max_document_bytes:
                return _too_large(options, origin, len(content), bytes(content[:2000]))
    return _document(options, bytes(content), origin)


def _paragraphs(options: Read, piece: Piece) -> Iterator[Item]:
    held: list[Line] = []
    for line in read_lines(piece, options.max_document_bytes):
        if isinstance(line, Line) and _has_text(line):
            held.append(line)
            continue
        yield from _lines_as_one(options, piece, held)
        held = []
        if isinstance(line, Broken):
            yield line
    yield from _lines_as_one(options, piece, held)


def _lines_as_one(options: Read, piece: Piece, lines: list[Line | Broken] | list[Line]) -> Iterator[Item]:
    if not lines:
        return
    first = lines[0]
    if isinstance(first, Broken):
        yield first
        return
    origin = f"{piece.path}#{first.offset}"
    size = sum(line.size + 1 for line in lines if isinstance(line, Line)) - 1
    parts = [line.data.removesuffix(b"\r") for line in lines if isinstance(line, Line)]
    if first.offset == 0:
        parts[0] = parts[0].removeprefix(_BOM)
    if size > options.max_document_bytes:
        yield _too_large(options, origin, size, parts[0][:2000])
    else:
        yield _document(options, b"\n".join(parts), origin)


def _has_text(line: Line | Broken) -> bool:
    return isinstance(line, Broken) or not (line.whole and (not line.data or line.data.isspace()))


def _document(options: Read, data: bytes, origin: str) -> Item:
    label = options.encoding
    encoding = encoding_of(label)
    if encoding is None and options.documents == "file":
        page = decode_page(data, None, html=False)
    else:
        text, replaced = decode(data.removeprefix(_BOM) if encoding in (None, UTF8) else data, encoding or UTF8)
        page = Decoded(text, encoding or UTF8, "default", replaced)
    raw = page.text.encode()
    if not raw:
        return Dropped("empty", raw, "", origin)
    if len(raw) > options.max_document_bytes:
        return _too_large(options, origin, len(raw), raw[:2000])
    charset_from = "recipe" if encoding is not None else page.charset_from
    return Found(raw, "", origin, extra=(page.charset, charset_from, page.replaced))


def _too_large(options: Read, origin: str, size: int, excerpt: bytes) -> Broken:
    message = f"text of at least {size} bytes, over max_document_bytes = {options.max_document_bytes}"
    return Broken(message, origin, size, excerpt=excerpt)
