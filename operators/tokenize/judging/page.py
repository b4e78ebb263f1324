"""Tokenizers side by side: one HTML page that stands alone, readable without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files as package_files
from typing import Any

from operators.tokenize.judging.shown import (
    BYTES_PER_TOKEN,
    OVERALL,
    PARTIAL,
    SINGLE_BYTE,
    TOKENS_PER_CHAR,
    TOKENS_PER_WORD,
    largest,
    parting,
    visible,
)
from pipeline.report import svg
from pipeline.report.markup import Content, Markup, element, folded, markup, section, table
from pipeline.report.units import count, share, size

_DETAILS = (TOKENS_PER_WORD, TOKENS_PER_CHAR, SINGLE_BYTE, PARTIAL)
_GROUPS = 200
_TOKENS_SHOWN = 40
_WITH_BARS = 2  # tokenizers; bars of more do not fit beside each other

Judgements = Sequence[Mapping[str, Any]]


def render(result: Mapping[str, Any]) -> str:
    """The page of what ``judge`` gives."""
    texts, judged = result["texts"], result["tokenizers"]
    parts = [
        _overview(judged),
        _groups("By language", "language", "by_language", judged),
        _groups("By source", "source", "by_source", judged),
        _vocabulary(judged),
        _round_trip(judged),
        _specials(judged),
        _worst(judged),
        _reproduce(texts, judged),
    ]
    # A policy of its own, in case a page is shown from a server: whatever a quoted text may hold, nothing is fetched.
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", "Tokenizers: Sluice report"),
        element("style", _asset("style.css")),
    )
    body = element("body", _header(texts, judged), element("main", parts), element("script", _asset("page.js")))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _asset(name: str) -> Markup:
    return Markup((package_files("pipeline.report") / name).read_text(encoding="utf-8"))


def _header(texts: Mapping[str, Any], judged: Judgements) -> Markup:
    names = ("Overview", "By language", "By source", "Vocabulary", "Round trip", "Special tokens", "Worst documents")
    return markup(
        [
            element("h1", "Tokenizers" if len(judged) > 1 else f"Tokenizer {judged[0]['name']}"),
            element(
                "p",
                f"{count(texts['docs'])} documents, {size(texts['bytes'])}, {count(texts['chars'])} characters, "
                f"{count(texts['words'])} words.",
            ),
            element("nav", [element("a", name, href=f"#{name.lower().replace(' ', '-')}") for name in names]),
        ]
    )


def _overview(judged: Judgements) -> Markup:
    rows = [
        [measure.title, element("span", measure.note, class_="soft"), *(_flagged(measure.shown(one)) for one in judged)]
        for measure in OVERALL
    ]
    return section("Overview", table(["measure", "", *(one["name"] for one in judged)], rows, text_columns=2))


def _flagged(shown: str) -> Content:
    return element("span", shown, class_="bad") if shown.endswith("leak") else shown


def _groups(title: str, what: str, key: str, judged: Judgements) -> Markup:
    names = largest(judged[0][key])[:_GROUPS]
    longest = max((one[key][name]["bytes_per_token"] or 0.0 for one in judged for name in names), default=0.0) or 1.0
    with_bars = len(judged) <= _WITH_BARS
    head = [what, "documents", "bytes"]
    for one in judged:
        head += [f"bytes/token, {one['name']}" if len(judged) > 1 else "bytes/token", *([""] if with_bars else [])]
    rows = []
    for name in names:
        first = judged[0][key][name]
        row: list[Content] = [name or "-", count(first["docs"]), size(first["bytes"])]
        ratios = [one[key][name]["bytes_per_token"] or 0.0 for one in judged]
        for one, ratio in zip(judged, ratios, strict=True):
            best = len(judged) > 1 and ratio == max(ratios)
            row.append(element("span", BYTES_PER_TOKEN.of(one[key][name]), class_="ok" if best else None))
            row += [svg.bar(ratio / longest)] if with_bars else []
        rows.append(row)
    more = (
        element("p", f"The {_GROUPS} largest of {len(judged[0][key]):,}.", class_="note")
        if len(judged[0][key]) > _GROUPS
        else None
    )
    details = [folded(measure.title, _detail(what, key, names, judged, measure.key)) for measure in _DETAILS]
    return section(title, table(head, rows), more, details)


def _detail(what: str, key: str, names: Sequence[str], judged: Judgements, measure: str) -> Markup:
    chosen = next(one for one in _DETAILS if one.key == measure)
    rows = [[name or "-", *(chosen.of(one[key][name]) for one in judged)] for name in names]
    return table([what, *(one["name"] for one in judged)], rows)


def _vocabulary(judged: Judgements) -> Markup:
    head = ["tokenizer", "model", "ids", "special", "ids without token", "ordinary", "unused", "share"]
    rows = []
    examples = []
    for one in judged:
        v = one["vocabulary"]
        numbers = (v["size"], v["special"], v["without_token"], v["ordinary"], v["unused"])
        rows.append([one["name"], one["model"], *map(count, numbers), share(v["unused"], v["ordinary"])])
        shown = [
            markup([element("code", repr(unused["token"])), " "]) for unused in v["unused_examples"][:_TOKENS_SHOWN]
        ]
        if shown:
            examples.append(folded(f"Unused in these texts, by id: {one['name']}", element("p", shown)))
    return section("Vocabulary", table(head, rows, text_columns=2), examples)


def _round_trip(judged: Judgements) -> Markup:
    rows, firsts = [], []
    for one in judged:
        trip, first = one["round_trip"], one["round_trip"]["first"]
        state = element("span", "lossless", class_="ok") if not trip["lossy"] else count(trip["lossy"])
        rows.append([one["name"], state, share(trip["lossy"], trip["docs"])])
        if first is not None:
            firsts.append(
                markup(
                    [
                        element("h3", one["name"]),
                        element(
                            "p",
                            f"First: {first['id']} ({_whose(first)}), from character {first['at_char']:,} on: "
                            f"{parting(first)}.",
                        ),
                        table(
                            ["", ""],
                            [["text", _quoted(first["text"])], ["decoded", _quoted(first["decoded"])]],
                            text_columns=2,
                        ),
                    ]
                )
            )
    return section("Round trip", table(["tokenizer", "documents not given back", "share"], rows), firsts)


def _whose(one: Mapping[str, Any]) -> str:
    return ", ".join(part for part in (one["source"], one["language"]) if part)


def _quoted(text: str) -> Markup:
    return element("blockquote", visible(text))


def _specials(judged: Judgements) -> Markup:
    rows = []
    for one in judged:
        found = one["special_tokens"]
        state = element("span", "isolated", class_="ok")
        if found["leaks"]:
            state = element("span", f"leak: {' '.join(found['leaks'])}", class_="bad")
        rows.append([one["name"], " ".join(found["tokens"]) or "-", state, count(len(found["taken"]))])
    note = (
        "Isolated: as sluice encodes, no text that writes a special token gets its id. Taken elsewhere: special tokens "
        "that a program which loads the file as it stands takes out of a text for the mark itself."
    )
    head = ["tokenizer", "special tokens", "in sluice", "taken elsewhere"]
    return section("Special tokens", table(head, rows, text_columns=3), element("p", note, class_="note"))


def _worst(judged: Judgements) -> Markup:
    parts = []
    for one in judged:
        worst = one["worst"]
        if worst is None:
            continue
        whose = ", ".join(f"{group.replace('|', ' ')} {docs:,}" for group, docs in list(worst["by_group"].items())[:8])
        rows = [
            [
                example["id"],
                _whose(example),
                element("blockquote", example["excerpt"]),
                count(example["bytes"]),
                count(example["tokens"]),
                f"{example['bytes_per_token']:.3f}",
            ]
            for example in worst["examples"]
        ]
        head = ["document", "source, language", "begins", "bytes", "tokens", "bytes/token"]
        said = (
            f"{count(worst['docs'])} of {count(worst['documents_looked_at'])} documents of {worst['min_bytes']} bytes and "
            f"more: up to {worst['up_to_bytes_per_token']:.3f} bytes/token, together {worst['bytes_per_token']:.3f}. "
            f"From: {whose}."
        )
        parts.append(markup([element("h3", one["name"]), element("p", said), table(head, rows, text_columns=3)]))
    return section("Worst documents", parts or element("p", "No document is long enough."))


def _reproduce(texts: Mapping[str, Any], judged: Judgements) -> Markup:
    limit = texts.get("limit_bytes")
    rows = [[one["name"], one["place"], one["sha256"], one["engine"]] for one in judged]
    said = f"Texts: {', '.join(texts.get('from', ()))}; {'all of them' if limit is None else f'up to {size(limit)}'}."
    return section(
        "Reproduce",
        element("p", said),
        table(["tokenizer", "place", "sha256 of its tokenizer.json", "encoded by"], rows, text_columns=4),
    )
