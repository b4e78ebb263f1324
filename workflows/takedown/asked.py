"""What a takedown was asked for: lines of URLs, domains and ids, as they were given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.takedown.absence import Needles
from pipeline.takedown.suppression import Register, Suppression, of, read_lines, url_hash
from pipeline.takedown.urls import ascii_host, host_of, url_key


@dataclass(frozen=True)
class Entries:
    """The lines."""

    urls: Sequence[str] = ()
    domains: Sequence[str] = ()
    ids: Sequence[str] = ()

    @classmethod
    def read(cls, urls: Path | None, domains: Path | None, ids: Path | None) -> Entries:
        """Read the files.

        Raises:
            UserError: there is none, they are empty, or cannot be read.
        """
        if urls is None and domains is None and ids is None:
            msg = "nothing says what to take down; give --urls, --domains or --ids FILE, one a line"
            raise UserError(msg)
        read = cls(*(read_lines(path) if path else () for path in (urls, domains, ids)))
        try:
            found = read.suppression()
        except UserError as error:
            names = ", ".join(str(path) for path in (urls, domains, ids) if path)
            msg = f"{names}: {error}"
            raise UserError(msg) from error
        if not found:
            msg = "the files name nothing; one id, URL or domain a line"
            raise UserError(msg)
        return read

    def suppression(self) -> Suppression:
        """What they forbid.

        Raises:
            UserError: a line is no id, URL or domain.
        """
        return of(urls=self.urls, domains=self.domains, ids=self.ids)

    def needles(self, before: Register, request: int) -> Needles:
        """The entries as bytes, whether a page was found by them or not; and the ids that the request took before."""
        urls = {scheme + url_key(url) for url in self.urls for scheme in ("http://", "https://")}
        urls |= {url for url in self.urls if "://" in url}
        ids = {bytes.fromhex(line) for line in self.ids}
        ids |= {key for key, number in before.suppression.ids.items() if number == request}
        return Needles(frozenset(ids), frozenset(url.encode() for url in urls))

    def not_found(self, before: Register, documents: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The entries that none of these documents (of ``as_data``) is meant by, with the request that lists them already."""
        urls = [str(one["url"]) for one in documents if one.get("url")]
        keys, ids = {url_key(url) for url in urls}, {one.get("id") for one in documents}
        labels = [host_of(url).split(".") for url in urls]
        above = {".".join(host[k:]) for host in labels for k in range(len(host))}
        listed = before.suppression
        names = [ascii_host(line.strip(".").removeprefix("*.")) for line in self.domains]
        entries = [
            *(("url", line, listed.urls.get(url_hash(line)), url_key(line) in keys) for line in self.urls),
            *(
                ("domain", line, listed.domains.get(name), name in above)
                for line, name in zip(self.domains, names, strict=True)
            ),
            *(("id", line, listed.ids.get(bytes.fromhex(line)), line.lower() in ids) for line in self.ids),
        ]
        return [
            {"kind": kind, "entry": line, "listed_by": number} for kind, line, number, there in entries if not there
        ]
