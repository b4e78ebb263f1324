"""Builds the WARC files and LICENSES.csv of this folder from their sources; see README.md.

Not needed to use the project. Two runs over the same sources give the same bytes.

    python build_samples.py --data DATA --gnome HTML --nova HTML --ubuntu HTML --freedombox HTML
"""

from __future__ import annotations

import argparse
import base64
import csv
import gzip
import hashlib
import random
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sample_sources as sources
import written_pages as written
from sample_sources import Page
from zopfli.gzip import compress as zopfli

NUM_FILES = 12
SEED = 20241118
HERE = Path(__file__).parent
_NAMESPACE = uuid.UUID("6f1f4d9e-5d0c-4b0e-9f53-8b1f0d2a7c11")
COLUMNS = ("file", "url", "record_id", "title", "author_or_publisher", "licence", "licence_url", "proof", "changes")


@dataclass(frozen=True)
class Record:
    """One WARC record, still without its file: headers in order, and the block."""

    headers: dict[str, str]
    block: bytes

    def to_bytes(self) -> bytes:
        """The record as a gzip member of its own, as Common Crawl writes it."""
        fields = {**self.headers, "WARC-Block-Digest": _digest(self.block), "Content-Length": str(len(self.block))}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return zopfli(b"WARC/1.0\r\n" + head.encode() + b"\r\n" + self.block + b"\r\n\r\n")


def _digest(data: bytes) -> str:
    return "sha1:" + base64.b32encode(hashlib.sha1(data).digest()).decode()


def _record_id(*parts: str) -> str:
    return f"<urn:uuid:{uuid.uuid5(_NAMESPACE, ' '.join(parts))}>"


def _chunked(body: bytes) -> bytes:
    pieces = [body[start : start + 4096] for start in range(0, len(body), 4096)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def _block(page: Page) -> bytes:
    """The HTTP response as the server would have sent it."""
    fields = {"Server": "nginx", "Content-Type": page.content_type}
    body = page.body
    if "gzip" in page.transfer:
        body = gzip.compress(body, mtime=0)
        fields["Content-Encoding"] = "gzip"
    if "chunked" in page.transfer:
        body = _chunked(body)
        fields["Transfer-Encoding"] = "chunked"
    else:
        fields["Content-Length"] = str(len(body))
    if page.status.startswith("301"):
        fields["Location"] = page.url.replace("http://", "https://")
    if page.transfer == "truncated":
        body = body[: len(body) * 7 // 10]
    head = f"HTTP/1.1 {page.status}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return head.encode() + b"\r\n" + body


def records(page: Page, number: int) -> Iterator[Record]:
    """The response of a page; every fourth page also has its request, every eighth its metadata."""
    date = (datetime(2024, 11, 18, 3, tzinfo=UTC) + timedelta(seconds=97 * number)).strftime("%Y-%m-%dT%H:%M:%SZ")
    response_id = _record_id("response", page.url, date)
    common = {"WARC-Target-URI": page.url, "WARC-Date": date}
    if number % 4 == 0:
        host, _, path = page.url.split("://", 1)[1].partition("/")
        request = f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: sluice-samples/1.0\r\nAccept: text/html\r\n\r\n"
        headers = {"WARC-Type": "request", "WARC-Record-ID": _record_id("request", page.url, date), **common}
        headers |= {"WARC-Concurrent-To": response_id, "Content-Type": "application/http; msgtype=request"}
        yield Record(headers, request.encode())
    payload = gzip.compress(page.body, mtime=0) if "gzip" in page.transfer else page.body
    if page.transfer == "truncated":
        payload = payload[: len(payload) * 7 // 10]
    headers = {
        "WARC-Type": "response",
        "WARC-Record-ID": response_id,
        **common,
        "WARC-Payload-Digest": _digest(payload),
    }
    headers |= {"WARC-Truncated": "length"} if page.transfer == "truncated" else {}
    yield Record({**headers, "Content-Type": "application/http; msgtype=response"}, _block(page))
    if number % 8 == 0:
        headers = {"WARC-Type": "metadata", "WARC-Record-ID": _record_id("metadata", page.url, date), **common}
        headers |= {"WARC-Concurrent-To": response_id, "Content-Type": "application/warc-fields"}
        yield Record(headers, b"fetchTimeMs: 214\r\n")


def recoded(page: Page, codec: str, declared: str, *, where: str) -> Page:
    """The page in another charset, declared in the header, in its meta tag or in both."""
    text = page.body.decode("utf-8").replace('encoding="UTF-8"', f'encoding="{declared}"')
    for old in ("charset=UTF-8", "charset=utf-8"):
        text = text.replace(old, f"charset={declared}") if where != "header" else text.replace(f"; {old}", "")
    content_type = "text/html" if where == "meta" else f"text/html; charset={declared}"
    body = text.encode(codec, "xmlcharrefreplace")
    return replace(page, body=body, content_type=content_type, changes=f"transcoded to {codec}, declared as {declared}")


def mirrored(page: Page, number: int) -> Page:
    """The page on an invented mirror, with a banner and a footer of the mirror's own: a near duplicate."""
    banner = f'<div class="mirror"><p>Mirror {number} of free documentation. Home | Search | About | Contact</p></div>'
    footer = "<p>This copy is kept by volunteers and may be out of date. Please see the original site.</p>"
    body = re.sub(rb"<body[^>]*>", lambda tag: tag[0] + banner.encode(), page.body, count=1)
    body = body.replace(b"</body>", footer.encode() + b"</body>", 1)
    url = f"https://mirror{number}.example.org/docs/" + page.url.split("://", 1)[1]
    return replace(page, url=url, body=body, changes="near duplicate: mirror's banner and footer added, URL invented")


def varied(pages: list[Page]) -> list[Page]:
    """All pages, some of them in another charset or transfer coding, and the planted duplicates."""
    kinds: dict[str, list[int]] = {}
    for index, page in enumerate(pages):
        kinds.setdefault(page.kind, []).append(index)
    chinese, taiwan = kinds["gnome-help-zh_CN"], kinds["handbook-zh-TW"]
    english, nova = kinds["handbook-en"], kinds["openstack-nova"]
    duplicates = []
    for step, index in enumerate([*english[5:100:8], *chinese[6:90:8], *nova[5:50:9]]):
        page = pages[index]
        if step % 2:
            duplicates.append(mirrored(page, step % 3))
        else:
            note = "exact duplicate of the same page at its first URL"
            duplicates.append(replace(page, url=page.url.replace("https://", "http://", 1) + "?print=1", changes=note))
    for index, where in zip(chinese[1:16:3], ("both", "header", "meta", "both", "meta"), strict=True):
        pages[index] = recoded(pages[index], "gb18030", "gb2312", where=where)
    pages[chinese[20]] = recoded(pages[chinese[20]], "gbk", "gbk", where="both")
    for index in taiwan[3:12:4]:
        pages[index] = recoded(pages[index], "big5", "big5", where="both")
    pages[english[10]] = recoded(pages[english[10]], "windows-1252", "windows-1252", where="both")
    for index, transfer in (
        (english[20], "chunked"), (chinese[30], "gzip"), (nova[3], "gzip+chunked"), (english[30], "gzip"),
        (chinese[40], "chunked"), (english[41], "truncated"),
    ):  # fmt: skip
        note = "cut at 70 %" if transfer == "truncated" else f"bytes unchanged, sent {transfer}"
        pages[index] = replace(pages[index], transfer=transfer, changes=note)
    return pages + duplicates


def dealt(pages: list[Page]) -> list[list[Page]]:
    """The pages over the files, every kind spread evenly, in an order drawn once."""
    draw = random.Random(SEED)
    draw.shuffle(pages)
    pages.sort(key=lambda page: page.kind)
    files: list[list[Page]] = [pages[start::NUM_FILES] for start in range(NUM_FILES)]
    for file in files:
        draw.shuffle(file)
    return files


def licence_row(file: str, page: Page, record_id: str) -> dict[str, str]:
    """The row of LICENSES.csv for one response."""
    values = (file, page.url, record_id, page.title, page.author, *page.licence, page.proof, page.changes)
    return dict(zip(COLUMNS, values, strict=True))


def main() -> None:
    """Read the sources named on the command line and write the samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "gnome", "nova", "ubuntu", "freedombox"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=HERE)
    args = parser.parse_args()
    pages = [*sources.handbook(args.data), *sources.gnome_help(args.gnome), *sources.nova(args.nova)]
    pages += [*sources.ubuntu_guide(args.ubuntu), *sources.freedombox(args.freedombox), *sources.collected(args.data)]
    pages += [*written.threads(), *written.adverts(), *written.quarrels(args.data), *written.others()]
    licences = []
    number = 0
    for file_number, file in enumerate(dealt(varied(pages))):
        name = f"pages-{file_number:02d}.warc.gz"
        info = {"WARC-Type": "warcinfo", "WARC-Record-ID": _record_id("warcinfo", name), "WARC-Filename": name}
        info |= {"WARC-Date": "2024-11-18T03:00:00Z", "Content-Type": "application/warc-fields"}
        members = [Record(info, b"software: build_samples.py\r\nformat: WARC File Format 1.0\r\n").to_bytes()]
        for page in file:
            for record in records(page, number):
                members.append(record.to_bytes())
                if record.headers["WARC-Type"] == "response":
                    licences.append(licence_row(name, page, record.headers["WARC-Record-ID"]))
            number += 1
        (args.output / name).write_bytes(b"".join(members))
    with (args.output / "LICENSES.csv").open("w", encoding="utf-8", newline="") as out:
        table = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(licences)


if __name__ == "__main__":
    main()
