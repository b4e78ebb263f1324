"""The real pages of the samples: where each is read, and which licence it states.

Every function yields the pages of one source, bytes unchanged. The folders come from packages
anybody can download (see README.md); the data folder is the developers' collection.
"""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import zstandard
from fastwarc.warc import ArchiveIterator, WarcRecordType
from resiliparse.extract.html2text import extract_plain_text

BY_SA_3 = ("CC BY-SA 3.0", "https://creativecommons.org/licenses/by-sa/3.0/")
BY_SA_4 = ("CC BY-SA 4.0", "https://creativecommons.org/licenses/by-sa/4.0/")
BY_3 = ("CC BY 3.0", "https://creativecommons.org/licenses/by/3.0/")
BY_4 = ("CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/")
US_GOV = ("US government work (public domain)", "https://www.usa.gov/government-copyright")
CC0 = ("CC0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/")

FOOTER = "page footer"
_HAN = re.compile(r"[\u4e00-\u9fff]")


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page with its rights; ``kind`` names the source, ``changes`` what we did to it."""

    url: str
    body: bytes
    author: str
    licence: tuple[str, str]
    proof: str
    kind: str
    changes: str = "none"
    content_type: str = "text/html; charset=UTF-8"
    status: str = "200 OK"
    transfer: str = ""

    @property
    def title(self) -> str:
        """The page's own title, on one line."""
        found = re.search(rb"<title[^>]*>(.*?)</title>", self.body, re.DOTALL | re.IGNORECASE)
        text = html.unescape(found[1].decode("utf-8", "replace")) if found else self.url.rsplit("/", 1)[-1]
        return " ".join(text.split())[:80]


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a zstd-compressed JSONL file."""
    with path.open("rb") as raw, zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(raw) as plain:
        for line in io.TextIOWrapper(plain, encoding="utf-8", newline="\n"):
            yield json.loads(line)


def main_text(body: bytes) -> str:
    """The main text of a UTF-8 page, as the pipeline would extract it."""
    return extract_plain_text(body.decode("utf-8", "replace"), main_content=True, alt_texts=False)


def han_fraction(text: str) -> float:
    """Han characters per non-space character."""
    return len(_HAN.findall(text)) / max(1, len("".join(text.split())))


def prose_fraction(text: str) -> float:
    """Characters in lines that look like sentences, per character: low for menus, tables and code."""
    lines = [line.strip() for line in text.splitlines()]
    prose = [line for line in lines if line.endswith((".", "?", "!")) and len(line.split()) >= 5]
    return sum(map(len, prose)) / max(1, len(text))


def handbook(data: Path) -> Iterator[Page]:
    """The Debian Administrator's Handbook: all of English, the translated Chinese pages, a few others."""
    untranslated = {"zh-CN": 6, "zh-TW": 4}
    others = dict.fromkeys(("de-DE", "fr-FR", "ja-JP", "ru-RU", "ar-MA"), 2)
    least_han = {"zh-CN": 0.17, "zh-TW": 0.17}
    path = data / "warc" / "debian_handbook_8lang.warc.gz"
    for record in ArchiveIterator(path.open("rb"), record_types=WarcRecordType.response):
        url, body = record.headers["WARC-Target-URI"], record.reader.read()
        lang = url.split("/browse/")[1].split("/")[0]
        text = main_text(body)
        if lang in least_han and han_fraction(text) < least_han[lang]:
            if untranslated[lang] == 0 or len(text) < 1500:
                continue
            untranslated[lang] -= 1
        elif lang in others:
            if others[lang] == 0 or not 2500 < len(text) < 9000 or text.count(" the ") > 2:
                continue
            others[lang] -= 1
        yield Page(
            url=url,
            body=body,
            author="Raphaël Hertzog, Roland Mas, Freexian SARL and the translators",
            licence=("CC BY-SA 3.0 (or GPL-2.0+)", BY_SA_3[1]),
            proof="debian-handbook 11.20220922: /usr/share/doc/debian-handbook/copyright",
            kind="handbook-" + ("en" if lang == "stable" else lang),
        )


def gnome_help(folder: Path) -> Iterator[Page]:
    """GNOME Help 48.2 as ``yelp-build html`` makes it; each page's footer names its authors and licence."""
    for lang, suffix, kept, short in (("zh_CN", "zh_CN", 200, 12), ("C", "en", 48, 8)):
        pages = [(len(main_text(path.read_bytes())), path) for path in sorted((folder / lang).glob("*.html"))]
        pages.sort(key=lambda page: -page[0])
        for _, path in pages[:kept] + pages[-short:]:
            body = path.read_bytes()
            names = re.findall(rb'<div class="copyright">\s*(.*?)</div>', body, re.DOTALL)
            names += re.findall(rb'<ul class="credits">(.*?)</ul>', body, re.DOTALL)[:1]
            found = html.unescape(re.sub(r"<[^>]+>|\s+|©", " ", b", ".join(names).decode()))
            yield Page(
                url=f"https://help.gnome.org/users/gnome-help/48/{path.name}.{suffix}",
                body=body,
                author=shorten("GNOME Documentation Project; " + found, 130, placeholder=" and others (see page)"),
                licence=BY_SA_3,
                proof=FOOTER + "; Debian gnome-user-docs 48.2-1",
                kind=f"gnome-help-{suffix}",
            )


def nova(folder: Path) -> Iterator[Page]:
    """OpenStack Nova's manual: the 60 pages with the most prose, and some tables and indexes."""
    pages = []
    for path in sorted(folder.rglob("*.html")):
        text = main_text(path.read_bytes())
        if 1500 < len(text) < 50_000:
            pages.append((prose_fraction(text), path))
    pages.sort(key=lambda page: -page[0])
    for _, path in pages[:60] + pages[-6:]:
        yield Page(
            url=f"https://docs.openstack.org/nova/zed/{path.relative_to(folder)}",
            body=path.read_bytes(),
            author="OpenStack Foundation and the Nova contributors",
            licence=BY_3,
            proof=FOOTER + " (Debian nova-doc 2:26.2.2-1~deb12u5)",
            kind="openstack-nova",
        )


def ubuntu_guide(folder: Path) -> Iterator[Page]:
    """The Ubuntu Packaging Guide, all pages but the search form."""
    for path in sorted(folder.glob("*.html")):
        if path.name not in {"search.html", "genindex.html"}:
            yield Page(
                url=f"https://packaging.ubuntu.com/html/{path.name}",
                body=path.read_bytes(),
                author="Ubuntu Developers",
                licence=BY_SA_3,
                proof=FOOTER + "; Debian ubuntu-packaging-guide-html 1.0.4",
                kind="ubuntu-packaging-guide",
            )


def freedombox(folder: Path) -> Iterator[Page]:
    """The FreedomBox manual: fragments without a head, as the program serves them; host name invented."""
    paths = [
        p for p in folder.glob("*.part.html") if p.name not in {"freedombox-manual.part.html", "ReleaseNotes.part.html"}
    ]
    for path in sorted(paths, key=lambda p: -p.stat().st_size)[:38]:
        yield Page(
            url=f"https://manual.freedombox.example.net/help/manual/en/{path.name.removesuffix('.part.html')}",
            body=path.read_bytes(),
            author="FreedomBox Authors",
            licence=BY_SA_4,
            proof="freedombox-doc-en 23.6.2+deb12u2: /usr/share/doc/freedombox-doc-en/copyright (doc/*.xml, source of the HTML)",
            kind="freedombox-manual",
        )


_AGENCIES = {
    "svs.gsfc.nasa.gov/4974": "NASA Scientific Visualization Studio",
    "www.cdc.gov/nutrition": "Centers for Disease Control and Prevention",
    "www.ers.usda.gov/topics": "USDA Economic Research Service",
    "www.fda.gov/drugs/postmarket": "US Food and Drug Administration",
    "www.hrsa.gov/oral-health": "Health Resources and Services Administration",
    "www.msha.gov/news": "Mine Safety and Health Administration",
    "www.niddk.nih.gov/health": "National Institute of Diabetes and Digestive and Kidney Diseases",
    "www.nsf.gov/science-matters": "US National Science Foundation",
    "www.osha.gov/electrical": "Occupational Safety and Health Administration",
    "www.sba.gov/business-guide": "US Small Business Administration",
}
_LICENSED = {
    "cloud.google.com/iam/docs/overview": ("Google LLC", BY_4),
    "en.wikipedia.org/wiki/List_of_prog": ("Wikipedia contributors", BY_SA_4),
    "wiki.gentoo.org/wiki/Portage": ("Gentoo Authors", BY_SA_4),
    "creativecommons.org/about/": ("Creative Commons", BY_4),
    "wikimediafoundation.org/news/2020": ("Wikimedia Foundation", BY_SA_3),
    "flowfx.de/blog/copy-paste": ("Florian Posdziech", BY_4),
    "rete-mirabile.net/notizen/15": ("rete-mirabile.net", BY_SA_4),
    "an.wikipedia.org/wiki/Escopete": ("Wikipedia contributors", BY_SA_4),
}


_CODE = re.compile(rb"(<(script|style)\b[^>]*>).*?(</\2\s*>)", re.DOTALL | re.IGNORECASE)


def collected(data: Path) -> Iterator[Page]:
    """Single web pages of three collections, chosen because the page itself is free to pass on.

    A page's licence covers its text; inline scripts and style sheets may be a third party's, so they are emptied.
    """
    changes = "inline scripts and styles emptied"
    found: dict[str, tuple[bytes, str]] = {}
    for row in rows(data / "html" / "wcxb_dev.jsonl.zst"):
        found.setdefault(row["url"], (row["html"].encode(), "WCXB (M. Foley, CC BY 4.0)"))
    for name, credit in (("part-00001", "adbar/trafilatura tests"), ("real_cc", "Common Crawl")):
        path = data / "warc" / f"{name}.warc.gz"
        for record in ArchiveIterator(path.open("rb"), record_types=WarcRecordType.response):
            found.setdefault(record.headers["WARC-Target-URI"], (record.reader.read(), credit))
    for url, (original, credit) in sorted(found.items()):
        place, body = url.split("://", 1)[-1], _CODE.sub(rb"\1\3", original)
        for start, agency in _AGENCIES.items():
            if place.startswith(start):
                proof = f"17 U.S.C. § 105: text of a federal agency on its own site; copy from {credit}"
                yield Page(
                    url=url,
                    body=body,
                    author=agency,
                    licence=US_GOV,
                    proof=proof,
                    kind="us-government",
                    changes=changes,
                )
        for start, (author, licence) in _LICENSED.items():
            if place.startswith(start):
                proof = f"{FOOTER}; copy from {credit}"
                yield Page(
                    url=url, body=body, author=author, licence=licence, proof=proof, kind="web-cc", changes=changes
                )
