"""Which documents must not come back: ids, URLs and domains, as a run or a file lists them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import RunFailedError, UserError
from pipeline.storage import Storage

Mask = npt.NDArray[np.bool_]
Strings = pa.Array | pa.ChunkedArray

LIST_FILE = "suppressed.json"
"""Under a run: its generation, the takedowns it has seen, and what they forbid."""

FORMAT_VERSION = 1

_ID = re.compile(r"[0-9a-fA-F]{32}")
_DOMAIN = re.compile(r"[^\s/?#@:]+\.[^\s/?#@:]+")
_URL = r"(?s)^(?:(?:[a-zA-Z][a-zA-Z0-9+.-]*:)?//)?(?:[^/?#@]*@)?(?P<host>\[[^\]]*\]|[^/?#:]*)(?::(?P<port>[0-9]*))?(?P<rest>[^#]*)"
_MOST_LABELS = 32  # of a host name; a name of 253 characters with more of them is nobody's domain


@dataclass(frozen=True)
class Suppression:
    """What is forbidden, and by which request. urls: SHA-256 of ``url_keys``; domains: with all below them."""

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
            wanted = pa.array(list(self.ids), pa.binary())
            mask |= _flags(pc.is_in(table["id"].cast(pa.binary()), value_set=wanted, skip_nulls=True))
        if (self.urls or self.domains) and "url" in table.column_names and table.num_rows:
            mask |= self._places(table["url"].cast(pa.string()).combine_chunks())
        return mask

    def _places(self, urls: pa.Array) -> Mask:
        mask = np.zeros(len(urls), np.bool_)
        if self.domains:
            hosts, wanted = _hosts(urls), pa.array(list(self.domains), pa.string())
            for _ in range(_MOST_LABELS):
                mask |= _flags(pc.is_in(hosts, value_set=wanted, skip_nulls=True))
                hosts = pc.replace_substring_regex(hosts, r"^[^.]*\.?", "")
                if not _flags(pc.greater(pc.binary_length(hosts), 0)).any():
                    break
        if self.urls:
            keys = url_keys(urls).to_pylist()
            mask |= np.fromiter((key is not None and url_hash(key) in self.urls for key in keys), np.bool_, len(keys))
        return mask

    def request(self, query: str) -> int | None:
        """The number of the request that forbids an id (32 hex digits) or a URL; None where none does."""
        if _ID.fullmatch(query):
            return self.ids.get(bytes.fromhex(query))
        array = pa.array([query], pa.string())
        found = self.urls.get(url_hash(url_keys(array)[0].as_py()))
        if found is not None or not self.rows(pa.table({"url": array}))[0]:
            return found
        host = _hosts(array)[0].as_py()
        return next(number for name, number in self.domains.items() if host == name or host.endswith(f".{name}"))

    def joined(self, other: Suppression) -> Suppression:
        """Both; what both forbid stands under the request of this one."""
        return Suppression({**other.ids, **self.ids}, {**other.urls, **self.urls}, {**other.domains, **self.domains})

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "ids": {key.hex(): number for key, number in sorted(self.ids.items())},
            "urls_sha256": {key.hex(): number for key, number in sorted(self.urls.items())},
            "domains": dict(sorted(self.domains.items())),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Suppression:
        """Read what ``to_json`` wrote."""
        return cls(
            {bytes.fromhex(key): number for key, number in data["ids"].items()},
            {bytes.fromhex(key): number for key, number in data["urls_sha256"].items()},
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
    names = [line.lower().strip(".").removeprefix("*.") for line in domains]
    wrong = {
        "an id (32 hex digits)": [line for line in ids if not _ID.fullmatch(line)],
        "a URL": [line for line in urls if "/" not in line or any(c.isspace() for c in line)],
        "a domain such as example.org": [line for line in names if not _DOMAIN.fullmatch(line)],
    }
    for what, lines in wrong.items():
        if lines:
            msg = f"{lines[0]!r} is not {what}"
            raise UserError(msg)
    keys = url_keys(pa.array(list(urls), pa.string())).to_pylist()
    return Suppression(
        {bytes.fromhex(line): request for line in ids},
        {url_hash(key): request for key in keys if key is not None},
        dict.fromkeys(names, request),
    )


def url_keys(urls: Strings) -> Strings:
    """What URLs are compared by: without scheme, user, port 80 and 443 and fragment, the host in lower case."""
    parts = pc.extract_regex(urls, pattern=_URL)
    port, rest = pc.struct_field(parts, "port"), pc.struct_field(parts, "rest")
    usual = pc.is_in(port, value_set=pa.array(["", "80", "443"]))
    shown = pc.if_else(usual, pa.scalar(""), pc.binary_join_element_wise(pa.scalar(":"), port, pa.scalar("")))
    slash = pc.if_else(pc.starts_with(rest, pattern="/"), pa.scalar(""), pa.scalar("/"))
    return pc.binary_join_element_wise(_lower(pc.struct_field(parts, "host")), shown, slash, rest, pa.scalar(""))


def url_hash(key: str) -> bytes:
    """SHA-256 of what a URL is compared by."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _hosts(urls: Strings) -> Strings:
    return _lower(pc.struct_field(pc.extract_regex(urls, pattern=_URL), "host"))


def _lower(hosts: Strings) -> Strings:
    return pc.utf8_rtrim(pc.utf8_lower(hosts), characters=".")


def _flags(column: Strings) -> Mask:
    return np.asarray(pc.fill_null(column, fill_value=False).to_numpy(zero_copy_only=False), np.bool_)
