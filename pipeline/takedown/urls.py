"""What URLs are compared by: one normal form of each, its hash, and which rows of a column can be meant."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from encodings.idna import nameprep
from functools import lru_cache
from typing import Self
from urllib.parse import unquote_to_bytes

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]

_URL = re.compile(
    r"(?s)(?:(?:[a-zA-Z][a-zA-Z0-9+.-]*:)?//)?(?:[^/?#@]*@)?(?P<host>\[[^\]]*\]|[^/?#:]*)(?::(?P<port>[0-9]*))?"
    r"(?P<path>[^?#]*)(?P<query>\?[^#]*)?"
)
_USUAL_PORTS = ("", "80", "443")
_BLANK = "".join(map(chr, range(0x21)))
_DOTS = re.compile("[\u3002\uff0e\uff61]")  # separate labels like a full stop (RFC 3490, section 3.1)
_DEVIATING = re.compile("([\u00df\u03c2])")  # sharp s and final sigma are letters of their own since IDNA 2008
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})|([^A-Za-z0-9._~!$&'()*+,;=:@/?-])")

_PCHAR = r"[A-Za-z0-9_~!$&'()*+,;=:@-]"
_SEGMENT = rf"{_PCHAR}(?:{_PCHAR}|\.)*"
_NORMAL = (
    r"^https?://[a-z0-9_-]+(?:\.[a-z0-9_-]+)*"
    rf"(?:(?:/+{_SEGMENT})*/*|(?:/+{_SEGMENT})*\?(?:{_PCHAR}|[./?])*(?:{_PCHAR}|[.?]))$"
)
"""URLs that are in normal form but for their scheme and slashes at the end: most of a crawl."""

_WORDS = 32  # of 8 bytes, from the end of a key; what keys differ by before that only SHA-256 sees
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def url_key(url: str) -> str:
    """The normal form: host, port, path and query.

    Without scheme, user, ports 80 and 443, fragment, slashes at the end of the path, and an empty query. The host in
    lower case and in its ASCII form (IDNA). In path and query, letters, digits and ``-._~`` as they are, other
    characters that are no delimiters (RFC 3986, section 2.2) as upper-case ``%XX`` of their UTF-8; dot segments removed.
    """
    found = _URL.match(url.strip(_BLANK))
    if found is None:  # the pattern matches anything; for the type
        return url
    port = (found["port"] or "").lstrip("0")
    path = _without_dots(_escaped(found["path"])).rstrip("/")
    slash = "/" if path and not path.startswith("/") else ""
    query = _escaped(found["query"] or "")
    shown = "" if port in _USUAL_PORTS else f":{port}"
    return f"{ascii_host(found['host'])}{shown}{slash}{path}{query if query != '?' else ''}"


def host_of(url: str) -> str:
    """The host of a URL, in its ASCII form."""
    found = _URL.match(url.strip(_BLANK))
    return "" if found is None else ascii_host(found["host"])


@lru_cache(maxsize=1 << 16)
def ascii_host(name: str) -> str:
    """A host name in lower case, labels of other letters by IDNA, without the full stop at the end."""
    if name.startswith("["):
        return name.lower()
    if "%" in name:
        name = unquote_to_bytes(name).decode("utf-8", "replace")
    return ".".join(_label(label) for label in _DOTS.sub(".", name).rstrip(".").split("."))


def _label(label: str) -> str:
    if label.isascii():
        return label.lower()
    try:
        # The tables of Unicode 3.2 that nameprep is defined by: the same in every version of Python.
        parts = _DEVIATING.split(label.replace("\u1e9e", "\u00df"))
        folded = "".join(part if _DEVIATING.fullmatch(part) else nameprep(part) for part in parts)
        return folded if folded.isascii() else "xn--" + folded.encode("punycode").decode("ascii")
    except UnicodeError:
        return label.lower()  # nobody's name


def _escaped(part: str) -> str:
    if part.isascii() and part.isalnum():
        return part
    return _ESCAPED.sub(_escape, part.encode("utf-8", "surrogatepass")).decode("ascii")


def _escape(match: re.Match[bytes]) -> bytes:
    code = int(match[1], 16) if match[1] is not None else match[2][0]
    return bytes((code,)) if code in _UNRESERVED else b"%%%02X" % code


def _without_dots(path: str) -> str:
    """RFC 3986, section 5.2.4."""
    if "/." not in path:
        return path
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del kept[max(1, len(kept) - 1) :]
        elif part != ".":
            kept.append(part)
    return "/".join(kept)


def url_hashes(keys: Sequence[str]) -> list[bytes]:
    """For each key 36 bytes: a short hash, which columns are searched by, and the SHA-256, which decides."""
    data = [key.encode("utf-8", "surrogatepass") for key in keys]
    shorts = Spans.of(pa.array(data, pa.binary())).short()
    return [short.tobytes() + hashlib.sha256(one).digest() for short, one in zip(shorts, data, strict=True)]


def shorts_of(hashes: Sequence[bytes]) -> npt.NDArray[np.uint32]:
    """The short hashes of what ``url_hashes`` gave, ascending."""
    return np.sort(np.frombuffer(b"".join(one[:4] for one in hashes), "<u4"))


def is_among(values: npt.NDArray[np.uint32], ascending: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
    """Which values are in a list that has been sorted."""
    if not len(ascending):
        return np.zeros(len(values), np.bool_)
    places = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return ascending[places] == values


@dataclass(frozen=True)
class Spans:
    """Stretches of a buffer of bytes, one a row. data: with 8 bytes before the first that may be read."""

    data: npt.NDArray[np.uint8]
    starts: Ints
    ends: Ints

    @classmethod
    def of(cls, strings: pa.Array) -> Self:
        """The strings of an array; nulls are empty."""
        _, offsets, data = strings.buffers()
        if not len(strings) or offsets is None or data is None:
            empty = np.zeros(len(strings), np.int64)
            return cls(np.zeros(8, np.uint8), empty + 8, empty + 8)
        bounds = np.frombuffer(memoryview(offsets), "<i4")[strings.offset : strings.offset + len(strings) + 1].astype(
            np.int64
        )
        held = np.frombuffer(memoryview(data), "u1")[bounds[0] : bounds[-1]]
        places = bounds - bounds[0] + 8
        return cls(np.concatenate([np.zeros(8, np.uint8), held]), places[:-1], places[1:])

    def short(self) -> npt.NDArray[np.uint32]:
        """A hash of 32 bits of the length and the last 256 bytes of each."""
        lengths = self.ends - self.starts
        hashed = lengths.astype(np.uint64) * _MULTIPLIER
        words = np.lib.stride_tricks.as_strided(self.data[:8].view("<u8"), (len(self.data) - 7,), (1,))
        for number in range(_WORDS):
            rows = np.flatnonzero(lengths > 8 * number)
            if not len(rows):
                break
            empty = 8 - np.minimum(lengths[rows] - 8 * number, 8)  # bytes of the word that are of the row before
            word = words[self.ends[rows] - 8 * (number + 1)] >> (8 * empty).astype(np.uint64)
            mixed = (hashed[rows] ^ word) * _MULTIPLIER
            hashed[rows] = mixed ^ (mixed >> np.uint64(32))
        return (hashed >> np.uint64(32)).astype(np.uint32)

    def hosts(self) -> Spans:
        """What stands before the first slash or question mark."""
        marks = np.flatnonzero((self.data == ord("/")) | (self.data == ord("?")))
        marks = np.append(marks, len(self.data))
        return Spans(self.data, self.starts, np.minimum(marks[np.searchsorted(marks, self.starts)], self.ends))

    def below(self, ascending: npt.NDArray[np.uint32], most_labels: int) -> npt.NDArray[np.bool_]:
        """Which host names, or names that they lie below, have a short hash of a list."""
        dots = np.append(np.flatnonzero(self.data == ord(".")), len(self.data))
        next_dot, starts = np.searchsorted(dots, self.starts), self.starts
        found, rows = np.zeros(len(self.starts), np.bool_), np.arange(len(self.starts))
        for _ in range(most_labels):
            found[rows] |= is_among(Spans(self.data, starts, self.ends[rows]).short(), ascending)
            more = dots[next_dot] < self.ends[rows]
            starts, next_dot, rows = dots[next_dot[more]] + 1, next_dot[more] + 1, rows[more]
            if not len(rows):
                break
        return found


def normal(urls: pa.Array) -> tuple[Ints, Spans]:
    """The rows of an array whose URL has a normal form that is part of it, and where that lies."""
    rows = np.flatnonzero(pc.fill_null(pc.match_substring_regex(urls, _NORMAL), fill_value=False).to_numpy(False))
    whole = Spans.of(urls)
    starts, ends = whole.starts[rows], whole.ends[rows]
    starts = starts + len("http://") + (whole.data[starts + len("http")] == ord("s"))
    while (slashes := whole.data[ends - 1] == ord("/")).any():
        ends = ends - slashes
    return rows, Spans(whole.data, starts, ends)
