"""Builds quality.jsonl, the training rows of the quality classifier, and adds its sources to LICENSES.csv.

Run it after build_samples.py, with the same folders. Every passage is cut to a length drawn from one
distribution per language, so that length does not give the label away.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from build_samples import COLUMNS, HERE
from resiliparse.parse.html import HTMLTree
from sample_sources import BY_3, BY_4, BY_SA_3, BY_SA_4, CC0, US_GOV, main_text, rows
from written_pages import ADVERTS, COMMENTS

SEED = 20241119
PUBLIC_DOMAIN = ("public domain", "https://creativecommons.org/publicdomain/mark/1.0/")
PASSAGE_CHARS = {"en": (200, 620), "zh": (90, 260)}
ROWS_PER_CLASS = {"en": 210, "zh": 168}

# source -> (author, licence, where the licence is stated)
SOURCES = {
    "books": (
        "authors dead for long",
        PUBLIC_DOMAIN,
        "mlschmitt/classic-books-markdown, README: texts in the public domain (US)",
    ),
    "digitalgov": (
        "US General Services Administration",
        US_GOV,
        "GSA/digitalgov.gov, LICENSE.md: CC0, US government work",
    ),
    "us-speeches": ("Presidents of the United States", PUBLIC_DOMAIN, "NLTK state_union, inaugural: 17 U.S.C. § 105"),
    "xquad": ("Wikipedia contributors; Artetxe et al. 2020", BY_SA_4, "google-deepmind/xquad, README"),
    "zh-wiki-drcd": ("Wikipedia contributors; Delta Research Center", BY_SA_3, "DRCKnowledgeTeam/DRCD, README"),
    "zh-wiki-cmrc": ("Wikipedia contributors; Cui et al. 2019", BY_SA_4, "ymcui/cmrc2018, README"),
    "zh-classics": (
        "poets of the Tang and Song",
        PUBLIC_DOMAIN,
        "chinese-poetry/chinese-poetry: poems older than 700 years",
    ),
    "rn-docs": ("Meta Platforms and contributors", BY_4, "facebook/react-native-website, LICENSE-docs"),
    "openstack-nova": ("OpenStack Foundation", BY_3, "page footer (Debian nova-doc 2:26.2.2-1~deb12u5)"),
    "gnome-help": (
        "GNOME Documentation Project and translators",
        BY_SA_3,
        "page footer (Debian gnome-user-docs 48.2-1)",
    ),
    "kicad-help-zh": (
        "KiCad contributors and translators",
        BY_3,
        "section Copyright of each manual (Debian kicad-doc-zh 6.0.11)",
    ),
    "handbook-titles": (
        "R. Hertzog, R. Mas and translators",
        BY_SA_3,
        "debian-handbook 11.20220922, copyright; order of titles changed",
    ),
    "comments": ("Civil Comments users (anonymous)", CC0, "ipavlopoulos/toxic_spans (CC0), from Civil Comments (CC0)"),
    "adverts": ("The Sluice authors", CC0, "written for Sluice"),
}
# Comments that name somebody (a capital inside a sentence) or touch people for what they are stay out.
_TOUCHY = re.compile(
    r"(?<![.!?\"'\n])\s(?!I\b)[A-Z]|http|@|(?i:\b(?:trump|obama|muslim|islam|christian|jew|black|white|wom[ae]n|girl|gay|"
    r"rac(?:e|is)|sex|rape|kill|murder|immigra|mexic|indian|native|nazi|terror|shoot|gun|ass|shit|fuck|damn|hell))"
)
Passages = dict[str, list[str]]


def passages(texts: Iterable[str], lang: str, draw: random.Random) -> Iterator[str]:
    """At most three runs of whole lines or sentences from each text, of about a drawn length."""
    for text in texts:
        parts = [
            part for part in re.split(r"(?<=[.!?])\s+|(?<=[。！？])(?![”」』])|\n+", text) if part and part.strip()
        ]
        for _ in range(3):
            least = draw.randint(*PASSAGE_CHARS[lang])
            start = draw.randrange(len(parts)) if len(parts) > 3 else 0
            taken = ""
            for part in parts[start:]:
                taken += ("" if not taken or lang == "zh" or part[0].isspace() else " ") + part
                if len(taken) >= least:
                    yield taken.strip()[: 2 * least]
                    break


def lines_of_prose(text: str) -> str:
    """Only the lines that end like a sentence."""
    return "\n".join(
        line for line in map(str.strip, text.splitlines()) if re.search(r"[.!?。！？]$", line) and len(line) > 40
    )


def unused(folder: Path, suffix: str, licences: Path) -> list[str]:
    """Prose of the pages of a folder that are not in the WARC files."""
    used = licences.read_text(encoding="utf-8")
    pages = [path for path in sorted(folder.rglob("*.html")) if f"/{path.relative_to(folder)}{suffix}," not in used]
    return [lines_of_prose(main_text(path.read_bytes())) for path in pages]


def link_titles(paths: Iterable[Path]) -> list[str]:
    """The distinct link texts of pages."""
    titles: dict[str, None] = {}
    for path in paths:
        for link in HTMLTree.parse_from_bytes(path.read_bytes()).body.get_elements_by_tag_name("a"):
            title = " ".join(link.text.split())
            if 2 <= len(title) <= 60:
                titles[title] = None
    return list(titles)


def menus(titles: list[str], lang: str, count: int, draw: random.Random) -> list[str]:
    """Navigation as pages show it: some titles in a row, or scattered, with the separators of the web."""
    found = []
    for _ in range(count):
        length = draw.randint(*PASSAGE_CHARS[lang])
        start = draw.randrange(len(titles) - 80)
        chosen = titles[start : start + 80] if draw.random() < 0.5 else draw.sample(titles, 80)
        text, glue = "", draw.choice(("\n", "\n", " | ", " » ", " "))
        for title in chosen:
            text += title + glue
            if len(text) >= length:
                break
        found.append(text.strip())
    return found


def adverts(lang: str, count: int, draw: random.Random) -> list[str]:
    """Advertising lines of our own, drawn with repetition."""
    found = []
    for _ in range(count):
        text, length = "", draw.randint(*PASSAGE_CHARS[lang])
        while len(text) < length:
            text += draw.choice(ADVERTS[lang]) + draw.choice(("\n", " ", "\n"))
        found.append(text.strip())
    return found


def pools(args: argparse.Namespace, draw: random.Random) -> dict[tuple[str, str], dict[str, list[str]]]:
    """(label, language) to source to passages, more of them than are needed."""
    texts: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows(args.data / "throughput" / "base.jsonl.zst"):
        source = row["source"]
        if source == "zh-wiki":
            source += "-drcd" if "3.0" in row["license"] else "-cmrc"
        if source in SOURCES and source != "comments" and row["lang"] in PASSAGE_CHARS:
            texts[source, row["lang"]].append(row["text"])
    for found in texts.values():
        draw.shuffle(found)
    licences = HERE / "LICENSES.csv"
    texts["openstack-nova", "en"] = unused(args.nova, "", licences)
    texts["gnome-help", "en"] = unused(args.gnome / "C", ".en", licences)
    texts["gnome-help", "zh"] = unused(args.gnome / "zh_CN", ".zh_CN", licences)
    texts["kicad-help-zh", "zh"] = [
        lines_of_prose(main_text(path.read_bytes())) for path in sorted(args.kicad.glob("*.html"))
    ] * 12
    result: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(dict)
    for (source, lang), found in texts.items():
        kept = [
            text
            for text in passages(found[:400], lang, draw)
            if lang == "en" or len(re.findall(r"[\u4e00-\u9fff]", text)) > 45
        ]
        result["hq", lang][source] = kept if lang == "en" else [text for text in kept if "。" in text]
    used = {f"tsd_train-{key}" for key in COMMENTS}
    spans = rows(args.data / "toxicity" / "toxic_spans_train.jsonl.zst")
    calm = [row["text"] for row in spans if row["id"] not in used and not row["toxic_spans"]]
    result["lq", "en"]["comments"] = [text for text in calm if 100 < len(text) < 620 and not _TOUCHY.search(text)]
    for lang, book, site in (("en", "en-US", "C"), ("zh", "zh-CN", "zh_CN")):
        half = ROWS_PER_CLASS[lang] // 2
        result["lq", lang]["handbook-titles"] = menus(
            link_titles(sorted((args.handbook / book).glob("*.html"))), lang, half, draw
        )
        result["lq", lang]["gnome-help"] = menus(
            link_titles(sorted((args.gnome / site).glob("*.html"))), lang, half, draw
        )
        result["lq", lang]["adverts"] = adverts(lang, half // 2, draw)
    result["lq", "en"]["openstack-nova"] = menus(link_titles(sorted(args.nova.rglob("*.html"))), "en", 60, draw)
    return result


def balanced(sources: Passages, count: int, draw: random.Random) -> list[tuple[str, str]]:
    """``count`` (source, passage) pairs, the sources in turn, each passage once."""
    queues = {source: list(dict.fromkeys(found)) for source, found in sorted(sources.items())}
    for queue in queues.values():
        draw.shuffle(queue)
    chosen: list[tuple[str, str]] = []
    while len(chosen) < count and any(queues.values()):
        chosen += [(source, queue.pop()) for source, queue in queues.items() if queue]
    return chosen[:count]


def main() -> None:
    """Draw the rows, write them, and list their sources."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "gnome", "nova", "kicad", "handbook"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    draw = random.Random(SEED)
    written, counts = [], Counter()
    for (label, lang), sources in sorted(pools(args, draw).items()):
        for source, text in balanced(sources, ROWS_PER_CLASS[lang], draw):
            row = {"text": text, "label": label, "source": source, "lang": lang, "license": SOURCES[source][1][0]}
            written.append(row)
            counts[source] += 1
    draw.shuffle(written)
    body = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in written)
    (HERE / "quality.jsonl").write_text(body, encoding="utf-8")
    table = HERE / "LICENSES.csv"
    with table.open(encoding="utf-8", newline="") as old:
        kept = [row for row in csv.DictReader(old) if row["file"] != "quality.jsonl"]
    for source, count in sorted(counts.items()):
        author, licence, proof = SOURCES[source]
        values = ("quality.jsonl", source, f"{count} rows", source, author, *licence, proof, "cut to passages")
        kept.append(dict(zip(COLUMNS, values, strict=True)))
    with table.open("w", encoding="utf-8", newline="") as out:
        rewritten = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        rewritten.writeheader()
        rewritten.writerows(kept)


if __name__ == "__main__":
    main()
