"""The user's own word lists and phrases."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from operators.kernels import keywords, keywords_fold
from operators.kernels.buffers import text_buffers
from operators.kernels.keywords_lexicon import Search
from operators.word_lists import MAX_ENTRY_CHARS, read_list, search_for
from pipeline.named_files import FileState, file_state
from pipeline.operator import Bound, Filter
from pipeline.value import Artifact, Strings, as_pairs


def _names_differ(pairs: tuple[tuple[str, Any], ...]) -> tuple[tuple[str, Any], ...]:
    names = [name for name, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        msg = f"names {', '.join(twice)} more than once"
        raise ValueError(msg)
    return pairs


ListName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Lists = Annotated[
    tuple[tuple[ListName, Artifact | Strings], ...], BeforeValidator(as_pairs), AfterValidator(_names_differ)
]
"""``{adult: {file: adult.txt}, casino: [free spins, 老虎机]}``"""
Counts = Annotated[
    tuple[tuple[str, Annotated[int, Field(ge=0)]], ...], BeforeValidator(as_pairs), AfterValidator(_names_differ)
]
Rates = Annotated[
    tuple[tuple[str, Annotated[float, Field(ge=0)]], ...], BeforeValidator(as_pairs), AfterValidator(_names_differ)
]
"""``{casino: 5}``: limits by list; lists that are not named have none."""


class Keywords(Filter):
    """Counts hits of your own lists of words and phrases, each list by itself, and keeps texts within your limits.

    ``lists`` holds files (UTF-8, an entry a line) or phrases by name; the limits go by the same names, so that one list can
    be forbidden (``max_hits: {casino: 2}``) and another required (``min_distinct_hits: {cooking: 3}``). Entries match
    whole words in scripts with blanks, anywhere in scripts without (Han, kana, Thai, Lao, Khmer, Myanmar); a blank in an
    entry matches any white space, line breaks too. Of hits of one list that overlap the leftmost counts, of those the
    longest. ``fold_case`` makes case alike (``str.casefold``: ß and ss, K and the Kelvin sign; İ is i and a dot
    above), ``fold_width`` full-width and ordinary letters, half-width and ordinary kana. Composed and decomposed accents differ: let
    ``fix_text`` compose them, and write your lists composed.

    Measures: for each list ``<list>_hits`` and ``<list>_distinct_hits``, the entries hit; both 0 for an empty text.
    ``<list>_hits_per_1000_words``, where each letter of a script without blanks is a word, so that there it is per 1,000
    characters; null without words. ``<list>_found``: the first ``num_found`` entries hit, in the order of the text,
    between semicolons; empty where none is.

    Source: counts by list as of the "dirty words" in Llama 3, arXiv:2407.21783, section 3.1.1; the matching rules are ours.
    """

    lists: Lists = Field(min_length=1)
    fold_case: bool = True
    fold_width: bool = True
    num_found: int = Field(default=5, ge=0, le=100)
    min_hits: Counts = ()
    max_hits: Counts = ()
    min_distinct_hits: Counts = ()
    max_distinct_hits: Counts = ()
    min_hits_per_1000_words: Rates = ()
    max_hits_per_1000_words: Rates = ()

    @model_validator(mode="after")
    def _known(self) -> Self:
        names = [name for name, _ in self.lists]
        for threshold in self.thresholds():
            for name, _ in getattr(self, threshold):
                if name not in names:
                    near = difflib.get_close_matches(name, names, 3, 0.4) or names
                    msg = f"{threshold} names {name!r}, which is no list; near: {', '.join(near)}"
                    raise ValueError(msg)
        for name, entries in self.lists:
            if isinstance(entries, tuple) and not (entries and all(map(str.strip, entries))):
                msg = f"list {name!r} has no entry, or an empty one"
                raise ValueError(msg)
            if isinstance(entries, tuple) and max(map(len, entries)) > MAX_ENTRY_CHARS:
                msg = f"list {name!r} has an entry of more than {MAX_ENTRY_CHARS} characters"
                raise ValueError(msg)
        return self

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """Inclusive limits, list by list; the reason names list and limit: ``casino_max_hits``."""
        limits = {threshold: dict(getattr(self, threshold)) for threshold in self.thresholds()}
        return tuple(
            Bound(f"{name}_{threshold[4:]}", reason=f"{name}_{threshold}", **{threshold[:3]: limits[threshold][name]})
            for name, _ in self.lists
            for threshold in self.thresholds()
            if name in limits[threshold]
        )

    def prepare(self) -> None:
        """Load the lists and compile the kernels."""
        self._loaded()
        keywords.warm()
        keywords_fold.warm()

    def measure(self, docs: pa.Table) -> Mapping[str, pa.Array]:
        """Four measures a list: two counts (int64), a rate (float64), the entries hit (string)."""
        texts, loaded = text_buffers(docs["text"]), self._loaded()
        folded = keywords_fold.folded(texts, loaded.fold)
        found = keywords.find(folded, loaded.search, len(self.lists), self.num_found)
        none = ~texts.valid
        rates = np.divide(1000.0 * found.hits, found.words, where=found.words > 0, out=np.zeros(found.hits.shape))
        columns: dict[str, pa.Array] = {}
        for number, (name, _) in enumerate(self.lists):
            columns[f"{name}_hits"] = pa.array(found.hits[number], pa.int64(), mask=none)
            columns[f"{name}_distinct_hits"] = pa.array(found.distinct[number], pa.int64(), mask=none)
            columns[f"{name}_hits_per_1000_words"] = pa.array(
                rates[number], pa.float64(), mask=none | (found.words == 0)
            )
            columns[f"{name}_found"] = _joined(loaded.entries, found.first[number], none)
        return columns

    def _loaded(self) -> _Loaded:
        sources = tuple(file_state(one) if isinstance(one, Artifact) else one for _, one in self.lists)
        return _load(sources, self.fold_case, self.fold_width)


class _Loaded(NamedTuple):
    fold: keywords_fold.Fold
    search: Search
    entries: pa.Array


@lru_cache(maxsize=8)
def _load(sources: tuple[FileState | tuple[str, ...], ...], fold_case: bool, fold_width: bool) -> _Loaded:
    """Kept until one of the files changes."""
    lists = [
        read_list(source) if isinstance(source, FileState) else tuple(entry.strip() for entry in source)
        for source in sources
    ]
    fold = keywords_fold.fold_table("fold" if fold_case else "exact", width=fold_width, blanks=True)
    entries = pa.array([entry for entries in lists for entry in entries], pa.string())
    return _Loaded(fold, search_for(lists, fold, "words", blanks=True), entries)


def _joined(entries: pa.Array, first: npt.NDArray[np.int32], none: npt.NDArray[np.bool_]) -> pa.Array:
    """The entries of each row of (N, S), -1 for none, between semicolons; null where ``none``."""
    there = first >= 0
    offsets = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), entries.take(pa.array(first[there])))
    return pc.if_else(pa.array(none), pa.scalar(None, pa.string()), pc.binary_join(lists, "; "))
