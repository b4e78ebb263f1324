"""The measures of a judgement as a person reads them, the same in the terminal and on the page."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.report.units import count, share


@dataclass(frozen=True)
class Measure:
    """One line about a tokenizer. shown: of a judgement. note: what it is, and which way is good."""

    title: str
    shown: Callable[[Mapping[str, Any]], str]
    note: str


@dataclass(frozen=True)
class GroupMeasure:
    """One number about the texts of a language or source."""

    title: str
    key: str
    digits: int = 3
    percent: bool = False

    def of(self, counts: Mapping[str, Any]) -> str:
        """The number; ``-`` where there is nothing to divide by."""
        value = counts[self.key]
        if value is None:
            return "-"
        return f"{100 * value:.1f} %" if self.percent else f"{value:.{self.digits}f}"


BYTES_PER_TOKEN = GroupMeasure("bytes/token", "bytes_per_token")
TOKENS_PER_WORD = GroupMeasure("tokens/word", "tokens_per_word")
TOKENS_PER_CHAR = GroupMeasure("tokens/char", "tokens_per_char")
SINGLE_BYTE = GroupMeasure("one byte", "single_byte_fraction", percent=True)
PARTIAL = GroupMeasure("part of a character", "partial_char_fraction", percent=True)
UNKNOWN = GroupMeasure("unknown", "unknown_fraction", percent=True)
GROUP_MEASURES = (BYTES_PER_TOKEN, TOKENS_PER_WORD, TOKENS_PER_CHAR, SINGLE_BYTE)


def _of_all(measure: GroupMeasure) -> Callable[[Mapping[str, Any]], str]:
    return lambda one: measure.of(one["all"])


def _unused(one: Mapping[str, Any]) -> str:
    vocabulary = one["vocabulary"]
    return f"{count(vocabulary['unused'])} ({share(vocabulary['unused'], vocabulary['ordinary'])})"


def _lossy(one: Mapping[str, Any]) -> str:
    trip = one["round_trip"]
    return "none" if not trip["lossy"] else f"{count(trip['lossy'])} ({share(trip['lossy'], trip['docs'])})"


def _isolated(one: Mapping[str, Any]) -> str:
    specials = one["special_tokens"]
    if not specials["tokens"]:
        return "has none"
    return f"{len(specials['leaks'])} leak" if specials["leaks"] else "yes"


def _worst(one: Mapping[str, Any]) -> str:
    return "-" if one["worst"] is None else f"{one['worst']['bytes_per_token']:.3f}"


OVERALL = (
    Measure("model", lambda one: f"{one['model']}", "algorithm of the tokenizer.json"),
    Measure(
        "vocabulary", lambda one: count(one["vocabulary"]["tokens"]), "ids that have a token, special ones included"
    ),
    Measure("tokens", lambda one: count(one["all"]["tokens"]), "for the texts, without end marks"),
    Measure("bytes/token", _of_all(BYTES_PER_TOKEN), "compression; more is better"),
    Measure(
        "tokens/word", _of_all(TOKENS_PER_WORD), "fertility; words of UAX #29, each Han, Hiragana or Thai letter one"
    ),
    Measure("tokens/char", _of_all(TOKENS_PER_CHAR), "characters are code points"),
    Measure(
        "one byte", _of_all(SINGLE_BYTE), "share of tokens that stand for a single byte, letters of ASCII included"
    ),
    Measure("part of a character", _of_all(PARTIAL), "share of tokens whose bytes are not whole characters"),
    Measure("unknown", _of_all(UNKNOWN), "share of tokens that say only that the vocabulary cannot write the text"),
    Measure("unused ids", _unused, "of the ordinary tokens, not one occurred in these texts"),
    Measure("documents not given back", _lossy, "decoding gives another text than was encoded"),
    Measure("special tokens isolated", _isolated, "no text that writes a special token gets its id, as sluice encodes"),
    Measure("worst 1 %: bytes/token", _worst, "of the documents of 100 bytes and more that compress least, together"),
)


_BLANKS = {"\n": "⏎", "\t": "⇥", "\r": "␍"}
_SPACES = re.compile(r"^ +| +$| {2,}")


def visible(text: str) -> str:
    """A text in which blanks can be told apart, safe for a terminal.

    Line ends and tabs as signs, so are spaces in a row or at an end; what cannot be printed, by its number.
    """
    shown = _SPACES.sub(lambda found: "␣" * len(found[0]), text)
    return "".join(c if c.isprintable() else _BLANKS.get(c, f"\\u{{{ord(c):04X}}}") for c in shown)


def parting(first: Mapping[str, Any]) -> str:
    """The characters at which a text and what came back part, by number: they may look alike."""
    at = first["at_char"] - first["from_char"]
    return f"{_number(first['text'][at : at + 1])} became {_number(first['decoded'][at : at + 1])}"


def _number(char: str) -> str:
    return f"U+{ord(char):04X}" if char else "the end of the text"


def largest(groups: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of groups, those with the most bytes first."""
    return sorted(groups, key=lambda name: (-groups[name]["bytes"], name))
