"""C4's bad-word filter."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from pydantic import Field

from operators.kernels import keywords, keywords_fold
from operators.kernels.buffers import text_buffers
from operators.kernels.keywords_edges import EdgeRule
from operators.kernels.keywords_lexicon import Search
from operators.word_lists import ALLOWED, parse_list, search_for, shipped_list, shipped_names
from pipeline.errors import RunFailedError, UserError
from pipeline.language_labels import short_label
from pipeline.operator import Bound, Filter
from pipeline.rejects import language_column, languages

Flavour = Literal["datatrove", "c4", "dclm"]

LATER_SHA256 = "815dc2e18968321d8ac0c0da0c0f88c47cbc3ca4c8e9a2bc6296e915f21ecee1"
"""Of the list of English entries that C4's copy does not have yet."""

_RULES: dict[Flavour, EdgeRule] = {"datatrove": "flanked", "c4": "flanked_in_line", "dclm": "word_boundary"}
_WITHOUT_BLANKS = ("ja", "th", "zh")


class C4BadWords(Filter):
    r"""Drops a text in which a word of its language's LDNOOBW list stands, lower-cased.

    flavour ``datatrove``, as mC4: 27 languages, words between ``\W`` or text ends, anywhere in Japanese, Thai and Chinese;
    C4's exceptions for Japanese and Chinese are taken from every list, and entries with capitals (most of the Spanish
    ones) never match, both as in the reference. ``c4``, English: the word has a character that is not a to z on both
    sides within its line, so that one at the start of a line does not count; after ``c4_lines``. ``dclm``, English:
    ``\b`` on both sides. English is the copy of 2016 that all three use, 377 entries. The language is ``language``, or
    each row's own, or, where no column names it, English for ``c4`` and ``dclm``; zh-TW is zh. A row whose language has no list passes (``missing_list: drop`` drops it as undefined).
    Of the texts with hits the share ``keep_fraction`` is spared, drawn by hash(``seed``, id).

    What this does to dialects and topics: see ``toxicity``, which measures a rate instead.

    Measures: ``list``: the language whose list was taken; null where there is none.
    ``hits``: their number, those that overlap once, the leftmost and longest; 0 for an empty text, null
    without a list.
    ``first``: the first entry hit; empty where none is, null without a list.
    ``counted_hits``: the hits, 0 where the draw spares the text; without a list 0 or, with ``drop``, null.

    Source: Raffel et al. 2020 (T5), arXiv:1910.10683, section 2.2; code of TFDS c4_utils (C4 and mC4), of datatrove 0.10
    C4BadWordsFilter and of DCLM's c4.yaml; lists of LDNOOBW.
    """

    reads: ClassVar[tuple[str, ...]] = ("id", "text", "language.label")

    flavour: Flavour = "datatrove"
    language: str | None = None
    missing_list: Literal["pass", "drop"] = "pass"
    keep_fraction: float = Field(default=0.0, ge=0, le=1)
    seed: Annotated[int, Field(ge=0, lt=1 << 64)] = 0
    max_hits: int | None = Field(default=0, ge=0)

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """The most hits."""
        if self.max_hits is None:
            return ()
        return (Bound("counted_hits", max=self.max_hits, reason="document_removed_with_badwords"),)

    def prepare(self) -> None:
        """Load the lists and compile the kernels."""
        for language in _listed(self.flavour):
            _search_for(self.flavour, language)
        keywords.warm()
        keywords_fold.warm()

    def measure(self, docs: pa.Table) -> Mapping[str, pa.Array]:
        """Two counts (int64), the language and the first entry (string)."""
        texts = text_buffers(docs["text"])
        lowered = keywords_fold.folded(texts, keywords_fold.fold_table("lower"))
        lists = self._lists(docs)
        hits, first = np.zeros(len(lists), np.int64), np.full(len(lists), "", object)
        for language in sorted({name for name in lists.tolist() if name}):
            rows = np.flatnonzero(lists == language)
            found = keywords.find(lowered, _search_for(self.flavour, language), 1, 1, rows)
            hits[rows] = found.hits[0, rows]
            struck = rows[hits[rows] > 0]
            entries = _entries(self.flavour, language)
            first[struck] = [entries[entry] for entry in found.first[0, struck, 0]]
        missing, none = lists == "", ~texts.valid
        unknown = none | missing if self.missing_list == "drop" else none
        counted = np.where(self._spared(docs, hits), 0, hits)
        return {
            "list": pa.array(lists, pa.string(), mask=none | missing),
            "hits": pa.array(hits, pa.int64(), mask=none | missing),
            "first": pa.array(first, pa.string(), mask=none | missing),
            "counted_hits": pa.array(counted, pa.int64(), mask=unknown),
        }

    def _lists(self, docs: pa.Table) -> npt.NDArray[np.object_]:
        """The list of each row, empty where its language has none."""
        if self.language is not None or (self.flavour != "datatrove" and language_column(docs) is None):
            labels = pa.repeat(self.language or "en", docs.num_rows)
        elif language_column(docs) is None:
            msg = (
                f"{self.name} takes its list by language, but the documents have no column that names it; put `language` "
                f"before it or give it `language: en` (they have: {', '.join(docs.column_names)})"
            )
            raise UserError(msg)
        else:
            labels = languages(docs)
        encoded = pc.dictionary_encode(labels)
        known = _listed(self.flavour)
        names = [
            name if (name := short_label(label).partition("-")[0]) in known else ""
            for label in encoded.dictionary.to_pylist()
        ]
        return np.array([*names, ""], object)[encoded.indices.to_numpy(zero_copy_only=False)]

    def _spared(self, docs: pa.Table, hits: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        spared = np.zeros(len(hits), np.bool_)
        struck = np.flatnonzero(hits) if self.keep_fraction > 0 else np.zeros(0, np.int64)
        ids = docs["id"].combine_chunks().take(pa.array(struck)).cast(pa.binary()).to_pylist() if len(struck) else []
        draws = (xxhash.xxh3_64_intdigest(key or b"", self.seed) for key in ids)
        spared[struck] = [draw < self.keep_fraction * 2.0**64 for draw in draws]
        return spared


@cache
def _listed(flavour: Flavour) -> frozenset[str]:
    """Languages with a list."""
    return (
        frozenset(name for name in shipped_names() if "-" not in name) if flavour == "datatrove" else frozenset({"en"})
    )


@cache
def _entries(flavour: Flavour, language: str) -> tuple[str, ...]:
    gone = set(_later_entries()) if language == "en" else set()
    if flavour == "datatrove":
        gone = gone.union(*ALLOWED.values())
    return tuple(entry for entry in shipped_list(language) if entry not in gone)


@cache
def _later_entries() -> tuple[str, ...]:
    path = Path(__file__).parent.parent / "data" / "c4_bad_words" / "en-later-entries.txt"
    content = path.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != LATER_SHA256:
        msg = f"the word list {path} has sha256 {found}, expected {LATER_SHA256}; install the package again"
        raise RunFailedError(msg)
    return parse_list(content, str(path))


@cache
def _search_for(flavour: Flavour, language: str) -> Search:
    rule = "anywhere" if flavour == "datatrove" and language in _WITHOUT_BLANKS else _RULES[flavour]
    return search_for([_entries(flavour, language)], None, rule)
