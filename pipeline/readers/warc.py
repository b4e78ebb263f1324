"""Documents from WARC (responses) and WET (conversions) files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
from fastwarc.warc import WarcRecord

from pipeline.readers.batch import Broken, Dropped, Found, Item
from pipeline.readers.charset import Decoded, decode_page
from pipeline.readers.http_body import BodyError, undo_transfer
from pipeline.readers.options import Read
from pipeline.readers.streams import chunks
from pipeline.readers.warc_records import MAGIC, Record, records
from pipeline.stores import open_input

FURTHER = (
    pa.field("charset", pa.string()),
    pa.field("charset_from", pa.string()),
    pa.field("replacement_chars", pa.int64()),
    pa.field("content_type", pa.string()),
    pa.field("truncated", pa.string()),
    pa.field("record_id", pa.string()),
)
"""charset: the encoding used, as WHATWG names it; charset_from: who named it (bom, http, meta, detected, default);
replacement_chars: undecodable places that became U+FFFD; truncated: why the page is not whole (the record's
WARC-Truncated, or what was missing of its body), else null."""

_OK = 200
# Headers of a page are a few KiB; a block may be larger than its page by them and by chunk sizes.
_HEADER_ROOM = 1 << 20
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([^\s;,\"']+)", re.IGNORECASE)
_STATUS = re.compile(r"HTTP/\d(?:\.\d)?[ \t]+(\d{3})")
_HTML = re.compile(rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body|title|meta)\b", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Place:
    """What names a record."""

    locator: str
    origin: str
    url: str | None
    date: str | None
    record_id: str | None
    truncated: str | None


def read_warc(options: Read, path: str) -> Iterator[Item]:
    """The pages of a WARC file, or the texts of a WET file.

    Only responses to HTTP requests (in WET: conversions) count; requests, metadata, revisits, DNS are not documents.
    """
    wanted = b"conversion" if options.format == "wet" else b"response"
    limit = options.max_document_bytes + _HEADER_ROOM
    with open_input(path) as file:
        for record in records(chunks(file, lambda head: head.startswith(MAGIC)), path, wanted, limit):
            item = record if isinstance(record, Broken) else _item(options, record)
            if item is not None:
                yield item


def _item(options: Read, record: Record) -> Item | None:
    url = None
    try:
        parsed = WarcRecord.from_bytes(record.header + record.block) if record.whole else _head_only(record)
        place = _place(parsed, record.origin)
        url = place.url
        make = _conversion if options.format == "wet" else _page
        return make(options, parsed, place, record)
    except BodyError as error:
        return Broken(str(error), record.origin, record.size, url)
    except OSError as error:
        # fastwarc's word for a header it cannot parse; the bytes are in memory, so no disk is to blame.
        return Broken(f"malformed record: {error}", record.origin, record.size, url, record.header)


def _head_only(record: Record) -> WarcRecord:
    """A record with the beginning of its block, under a Content-Length that fits."""
    length = b"Content-Length: %d\r\n" % len(record.block)
    header = re.sub(rb"(?im)^content-length:[^\n]*\n", length, record.header)
    return WarcRecord.from_bytes(header + record.block)


def _place(parsed: WarcRecord, origin: str) -> _Place:
    headers = parsed.headers
    # Old writers put the URI in angle brackets, as the standard's grammar did.
    url = (headers.get("WARC-Target-URI") or "").strip().removeprefix("<").removesuffix(">") or None
    date = headers.get("WARC-Date")
    record_id = headers.get("WARC-Record-ID")
    locator = f"{url} {date}" if url and date else record_id or url or ""
    truncated = headers.get("WARC-Truncated")
    if truncated is None and headers.get("WARC-Segment-Number") is not None:
        truncated = "segment"
    return _Place(locator, origin, url, date, record_id, truncated)


def _page(options: Read, parsed: WarcRecord, place: _Place, record: Record) -> Item | None:
    if not _is_http(parsed, place, record):
        return None
    parsed.parse_http(quirks_mode=True)
    headers = parsed.http_headers
    status = _STATUS.match(headers.status_line or "") if headers is not None else None
    if headers is None or status is None:
        return Broken("HTTP response without a status line", place.origin, record.size, place.url, record.block)
    body = parsed.reader.read()
    if int(status[1]) != _OK:
        return _dropped("http_status", body, place, status[1], str(_OK))
    content_type = headers.get("Content-Type") or ""
    essence = re.split(r"[;,\s]", content_type.strip(), maxsplit=1)[0].lower()
    if essence and essence not in options.html_types:
        return _dropped("content_type", body, place, essence, ", ".join(options.html_types))
    if not record.whole:
        raise BodyError(_too_large(record.size, options))
    transfer, encodings = headers.get("Transfer-Encoding") or "", headers.get("Content-Encoding") or ""
    body, missing = undo_transfer(body, transfer, encodings, options.max_document_bytes)
    if not essence and body and not _HTML.match(body[:4096]):
        return _dropped("content_type", body, place, "", ", ".join(options.html_types))
    label = _CHARSET.search(content_type)
    return _found(options, decode_page(body, label[1] if label else None), place, essence or None, missing)


def _conversion(options: Read, parsed: WarcRecord, place: _Place, record: Record) -> Item:
    body = parsed.reader.read()
    essence = (parsed.headers.get("Content-Type") or "text/plain").partition(";")[0].strip().lower()
    if essence != "text/plain":
        return _dropped("content_type", body, place, essence, "text/plain")
    if not record.whole:
        raise BodyError(_too_large(record.size, options))
    return _found(options, decode_page(body, "utf-8", html=False), place, essence, None)


def _found(options: Read, page: Decoded, place: _Place, content_type: str | None, missing: str | None) -> Item:
    text = page.text.encode()
    if not text:
        return _dropped("empty", text, place, None, None)
    if len(text) > options.max_document_bytes:
        raise BodyError(_too_large(len(text), options))
    truncated = "; ".join(part for part in (place.truncated, missing) if part) or None
    return Found(
        text,
        place.locator,
        place.origin,
        place.url,
        place.date,
        extra=(page.charset, page.charset_from, page.replaced, content_type, truncated, place.record_id),
    )


def _is_http(parsed: WarcRecord, place: _Place, record: Record) -> bool:
    content_type = (parsed.headers.get("Content-Type") or "").lower()
    if content_type.startswith("application/http"):
        return True
    # Some writers leave the type out; a DNS answer has text/dns and a URI of its own scheme.
    return (place.url or "").lower().startswith(("http://", "https://")) and record.block.startswith(b"HTTP/")


def _dropped(reason: str, raw: bytes, place: _Place, value: str | None, threshold: str | None) -> Dropped:
    return Dropped(reason, raw, place.locator, place.origin, place.url, place.date, value=value, threshold=threshold)


def _too_large(size: int, options: Read) -> str:
    return f"page of {size} bytes, over max_document_bytes = {options.max_document_bytes}"
