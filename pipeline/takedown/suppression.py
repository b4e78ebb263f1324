"""Which documents must not come back: ids, URLs and domains, as a run or a file lists them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import RunFailedError, UserError
from pipeline.storage import Storage
from pipeline.takedown.urls import Ints, Spans, ascii_host, host_of, is_among, normal, shorts_of, url_hashes, url_key

Mask = npt.NDArray[np.bool_]

LIST_FILE = "suppressed.json"
"""Under a run: its generation, the takedowns it has seen, and what they forbid."""

FORMAT_VERSION = 1
_TOLD = 20  # lines that a message names

_ID = re.compile(r"[0-9a-fA-F]{32}")
_DOMAIN = re.compile(r"[^\s/?#@:]+\.[^\s/?#@:]+")
_ROWS_AT_ONCE = 1 << 16
_MOST_LABELS = 32  # of a host name; a name of 253 characters with more of them is nobody's domain


@dataclass(frozen=True)
class Suppression:
    """What is forbidden, and by which request. urls: ``url_hashes``; domains: in their ASCII form, with all below."""

    ids: Mapping[bytes, int] = field(default_factory=dict)
    urls: Mapping[bytes, int] = field(default_factory=dict)
    domains: Mapping[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """False where nothing is forbidden."""
        return bool(self.ids or self.urls or self.domains)

    def rows(self, table: pa.Table) -> Mask:
        """Rows of a table that are forbidden, by its columns ``id`` and ``url``, those of them that there are."""
        mask = np.zeros(table.num_rows, np.bool_)
        if self.ids and "id" in table.column_names:
            mask |= _flags(pc.is_in(table["id"].cast(pa.binary()), value_set=self._wanted_ids, skip_nulls=True))
        if (self.urls or self.domains) and "url" in table.column_names:
            first = 0
            for chunk in table["url"].cast(pa.string()).chunks:
                for start in range(0, len(chunk), _ROWS_AT_ONCE):
                    part = chunk.slice(start, _ROWS_AT_ONCE)
                    mask[first : first + len(part)] |= self._places(part)
                    first += len(part)
        return mask

    def _places(self, urls: pa.Array) -> Mask:
        """Rows whose short hashes are listed, then of these the ones that are meant."""
        rows, spans = normal(urls)
        mask = np.zeros(len(urls), np.bool_)
        mask[rows] = self._may_be(spans, spans.hosts() if self.domains else spans)
        others = pc.is_valid(urls).to_numpy(zero_copy_only=False)
        others[rows] = False
        rest = np.flatnonzero(others)
        texts = _strings(urls, rest)
        keys = pa.array([url_key(text).encode("utf-8", "surrogatepass") for text in texts], pa.binary())
        hosts = [host_of(text).encode("utf-8", "surrogatepass") for text in texts] if self.domains else []
        mask[rest] = self._may_be(Spans.of(keys), Spans.of(pa.array(hosts, pa.binary())))
        found = np.flatnonzero(mask)
        mask[found] = [self._forbids(text) for text in _strings(urls, found)]
        return mask

    def _may_be(self, keys: Spans, hosts: Spans) -> Mask:
        mask = np.zeros(len(keys.starts), np.bool_)
        if self.urls:
            mask |= is_among(keys.short(), self._short_urls)
        if self.domains:
            mask |= hosts.below(self._short_domains, _MOST_LABELS)
        return mask

    def _forbids(self, url: str) -> bool:
        return url_hash(url) in self.urls or self._domain(url) is not None

    def _domain(self, url: str) -> str | None:
        """The listed domain that a URL lies in."""
        labels = host_of(url).split(".")
        names = (".".join(labels[k:]) for k in range(min(len(labels), _MOST_LABELS)))
        return next((name for name in names if name in self.domains), None)

    @cached_property
    def _short_urls(self) -> npt.NDArray[np.uint32]:
        return shorts_of(list(self.urls))

    @cached_property
    def _short_domains(self) -> npt.NDArray[np.uint32]:
        return shorts_of(url_hashes(list(self.domains)))

    @cached_property
    def _wanted_ids(self) -> pa.Array:
        return pa.array(list(self.ids), pa.binary())

    def request(self, query: str) -> int | None:
        """The number of the request that forbids an id (32 hex digits) or a URL; None where none does."""
        if _ID.fullmatch(query):
            return self.ids.get(bytes.fromhex(query))
        found, domain = self.urls.get(url_hash(query)), self._domain(query)
        return found if found is not None or domain is None else self.domains[domain]

    def joined(self, other: Suppression) -> Suppression:
        """Both; what both forbid stands under the request of this one."""
        return Suppression({**other.ids, **self.ids}, {**other.urls, **self.urls}, {**other.domains, **self.domains})

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "ids": {key.hex(): number for key, number in sorted(self.ids.items())},
            "urls": {key.hex(): number for key, number in sorted(self.urls.items())},
            "domains": dict(sorted(self.domains.items())),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Suppression:
        """Read what ``to_json`` wrote."""
        return cls(
            {bytes.fromhex(key): number for key, number in data["ids"].items()},
            {bytes.fromhex(key): number for key, number in data["urls"].items()},
            dict(data["domains"]),
        )


@dataclass(frozen=True)
class Register:
    """``suppressed.json``: the generation readers see, what is forbidden, and an entry for each takedown."""

    generation: int = 1
    suppression: Suppression = field(default_factory=Suppression)
    requests: tuple[Mapping[str, Any], ...] = ()

    def to_bytes(self) -> bytes:
        """The file."""
        data = {
            "format_version": FORMAT_VERSION,
            "generation": self.generation,
            "requests": [dict(one) for one in self.requests],
            **self.suppression.to_json(),
        }
        return orjson.dumps(data, option=orjson.OPT_INDENT_2)


def register(storage: Storage) -> Register:
    """The takedowns of a run; none where it has no list.

    Raises:
        RunFailedError: the list is of a newer version.
    """
    try:
        data = storage.read_bytes(LIST_FILE)
    except FileNotFoundError:
        return Register()
    return _parsed(data, LIST_FILE)


@lru_cache(maxsize=4)
def _parsed(data: bytes, name: str) -> Register:
    found = orjson.loads(data)
    if found["format_version"] > FORMAT_VERSION:
        msg = f"{name} is of format {found['format_version']}, this version reads {FORMAT_VERSION}; update sluice"
        raise RunFailedError(msg)
    return Register(found["generation"], Suppression.from_json(found), tuple(found["requests"]))


def read_list(path: Path) -> Suppression:
    """A list of what is forbidden: the ``suppressed.json`` of a run, or lines, each a URL, a domain or an id.

    Raises:
        UserError: it cannot be read, or a line is none of these.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        msg = f"suppress: {path} cannot be read ({error.strerror}); give lines of URLs, domains or ids, or a run's list"
        raise UserError(msg) from error
    if data.lstrip()[:1] == b"{":
        try:
            return _parsed(data, str(path)).suppression
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            msg = f"suppress: {path} is JSON, but not the {LIST_FILE} of a run: {error}"
            raise UserError(msg) from error
    lines = read_lines(path)
    ids = [line for line in lines if _ID.fullmatch(line)]
    urls = [line for line in lines if "/" in line]
    domains = [line for line in lines if not _ID.fullmatch(line) and "/" not in line]
    return of(ids=ids, urls=urls, domains=domains)


def read_lines(path: Path) -> list[str]:
    """The lines of a list, without blank ones and those that begin with #.

    Raises:
        UserError: it is not there, or not UTF-8.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read as lines of UTF-8: {error}"
        raise UserError(msg) from error
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def of(
    *, ids: Iterable[str] = (), urls: Iterable[str] = (), domains: Iterable[str] = (), request: int = 0
) -> Suppression:
    """What these lines forbid.

    Raises:
        UserError: a line is no id, URL or domain.
    """
    names = [ascii_host(line.strip(".").removeprefix("*.")) for line in domains]
    wrong = {
        "an id (32 hex digits)": [line for line in ids if not _ID.fullmatch(line)],
        "a URL": [line for line in urls if "/" not in line or any(c.isspace() for c in line)],
        "a domain such as example.org": [line for line in names if not _DOMAIN.fullmatch(line)],
    }
    told = [f"{', '.join(map(repr, lines[:_TOLD]))}: not {what}" for what, lines in wrong.items() if lines]
    if told:
        number = sum(map(len, wrong.values()))
        msg = f"{number} {'lines' if number > 1 else 'line'} of the list cannot be taken: {'; '.join(told)}"
        raise UserError(msg)
    return Suppression(
        {bytes.fromhex(line): request for line in ids},
        dict.fromkeys(url_hashes([url_key(line) for line in urls]), request),
        dict.fromkeys(names, request),
    )


def url_hash(url: str) -> bytes:
    """What stands for a URL in a list."""
    return url_hashes([url_key(url)])[0]


def _strings(urls: pa.Array, rows: Ints) -> list[str]:
    return [str(text) for text in urls.take(pa.array(rows)).to_pylist()]


def _flags(column: pa.Array | pa.ChunkedArray) -> Mask:
    return np.asarray(pc.fill_null(column, fill_value=False).to_numpy(zero_copy_only=False), np.bool_)
