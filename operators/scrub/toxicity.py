"""Share of a text's words that stand on a word list."""

from __future__ import annotations

import difflib
from functools import lru_cache
from typing import Annotated, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BeforeValidator, Field, model_validator

from operators.kernels.buffers import text_buffers
from operators.kernels.keywords import find, warm
from operators.kernels.keywords_lexicon import Search
from operators.word_lists import ALLOWED, read_list, search_for, shipped_list, shipped_names
from pipeline.named_files import FileState, file_state
from pipeline.operator import Bound, Filter
from pipeline.value import Artifact, Strings

Files = Annotated[
    tuple[Artifact, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
]


class Toxicity(Filter):
    """Counts words of the lists per 1,000 words, case aside, and drops what has more of them than the limit.

    ``lists`` names shipped lists, ``files`` adds your own (UTF-8, an entry a line). Entries match whole words in scripts
    with blanks, anywhere in scripts without (Han, kana, Thai); overlapping hits count once. Such lists do harm: C4's
    dropped 42 % of the documents in African-American English against 6 % of others, and half of what it dropped was not
    sexual at all (Dodge et al. 2021, arXiv:2104.08758). They hold medical and identity words, and know neither quotation
    nor irony. A share of words, unlike C4's single hit, spares long and factual texts; look at what is dropped, by
    language and topic, before you trust a limit, and prefer ``max_hits_per_1000_words: null``, which only tags.

    Measures: ``hits`` their number, ``hits_per_1000_words`` their share in [0, 1000] but for entries of several words,
    where a letter of a script without blanks counts as a word; both null for a text without words.
    Source: C4's bad-word filter (Raffel et al. 2020, arXiv:1910.10683) as a rate; lists of LDNOOBW and our own.
    """

    lists: Strings = ("en",)
    files: Files = ()
    max_hits_per_1000_words: float | None = Field(default=5.0, ge=0)
    """null: only measure."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        if not self.lists and not self.files:
            msg = f"needs lists or files; shipped lists: {', '.join(shipped_names())}"
            raise ValueError(msg)
        for name in self.lists:
            if name not in shipped_names():
                near = difflib.get_close_matches(name, shipped_names(), 3, 0.4) or shipped_names()
                msg = f"no shipped list {name!r}; near: {', '.join(near)}"
                raise ValueError(msg)
        return self

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """The most hits."""
        if self.max_hits_per_1000_words is None:
            return ()
        return (Bound("hits_per_1000_words", max=self.max_hits_per_1000_words, reason="toxic_words"),)

    def prepare(self) -> None:
        """Load the lists and compile the kernels."""
        self._search()
        warm()

    def measure(self, docs: pa.Table) -> dict[str, pa.Array]:
        """Hits of each text, and per 1,000 of its words."""
        texts: Any = pc.fill_null(docs["text"].combine_chunks(), pa.scalar("", pa.large_string()))
        found = find(text_buffers(pc.utf8_lower(texts)), self._search(), 1)
        none = found.words == 0
        rates = np.divide(1000.0 * found.hits[0], found.words, where=~none, out=np.zeros(len(none)))
        return {
            "hits": pa.array(found.hits[0], pa.int64(), mask=none),
            "hits_per_1000_words": pa.array(rates, pa.float64(), mask=none),
        }

    def _search(self) -> Search:
        return _search_for(self.lists, tuple(file_state(file) for file in self.files))


@lru_cache(maxsize=8)
def _search_for(lists: tuple[str, ...], files: tuple[FileState, ...]) -> Search:
    """Kept until one of the files changes."""
    entries: set[str] = set()
    for name in lists:
        entries |= set(shipped_list(name)) - ALLOWED.get(name.partition("-")[0], frozenset())
    for file in files:
        entries |= set(read_list(file))
    lowered = pc.utf8_lower(pa.array(sorted(entries), pa.string())).to_pylist()
    return search_for([lowered], None, "words")
