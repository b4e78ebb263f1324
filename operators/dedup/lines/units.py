"""What counts as a line, paragraph or sentence of a document, and when two of them are the same."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from pydantic import Field

from operators.kernels import unit_hashes
from operators.kernels.buffers import TextBuffers
from operators.kernels.fold import SHA256, FoldTable, fold_table
from operators.kernels.segmentation import SpanRule, segments
from operators.kernels.shingles import KeyArray
from operators.kernels.unit_hashes import ByteFlags, copies_in_text, digits_folded, unit_keys, units_of
from pipeline.errors import UserError
from pipeline.rejects import language_column, languages, sources
from pipeline.value import Value

Unit = Literal["line", "paragraph", "sentences"]
Scope = Literal["all", "source", "host", "language"]

_RULES: dict[Unit, SpanRule] = {"line": "nonempty_lines", "paragraph": "nonempty_lines", "sentences": "sentences"}
_HOST = r"^[A-Za-z][A-Za-z0-9+.\-]*://(?:[^/?#@]*@)?(?P<host>[^/?#:]*)"


class Found(NamedTuple):
    """The units of N documents, and their keys."""

    texts: TextBuffers
    units: unit_hashes.Units
    keys: KeyArray
    """uint64 (M,), of the span that begins at each unit; 0 where there is none."""
    copies: ByteFlags
    """uint8 (M,): whether a key stands alone in its document, is the first of several or a later one."""

    def documents(self) -> npt.NDArray[np.int64]:
        """int64 (M,): which document each unit belongs to."""
        return np.repeat(np.arange(len(self.units.bounds) - 1), np.diff(self.units.bounds))


class Units(Value):
    r"""What is counted and compared.

    unit: ``line``, what stands between line feeds; ``paragraph``, lines with no blank line between them (which may hold
    blanks or end in ``\r\n``); ``sentences``, up to an end mark of any script (``spans.sentence_stop``; a line feed ends
    none, as in NLTK's punkt). spans: how many units in a row are compared as one, at each unit anew.
    fold: two units are the same when their words are, by the table of ``operators/kernels/fold.py``: case, accents,
    compatibility forms (full width, ligatures), kind and number of blanks, punctuation and symbols do not count, digits of
    every script are the same digits. So do CCNet (arXiv:1911.00359, section 3.1) and datatrove, with one difference:
    numbers count here, since "Article 12" is not "Article 13". ``fold_digits`` makes every digit 0, as CCNet does.
    Without ``fold`` the stripped bytes are compared. A unit without a word (a rule, a brace, a blank line) is none, and
    stays wherever it is.
    min_chars: shorter ones are none either: of fewer characters, blanks between words included, and of fewer words than
    a third of that (an ideograph is a word). scope: the documents among which copies are looked for: all, or those of the
    same source, host or language.
    """

    unit: Unit = "line"
    spans: int = Field(default=1, ge=1, le=100)
    fold: bool = True
    fold_digits: bool = False
    min_chars: int = Field(default=12, ge=0)
    scope: Scope = "all"

    def prepare(self) -> None:
        """Compile the kernels."""
        columns = {"text": pa.large_string(), "source": pa.string(), "url": pa.string(), "language": pa.string()}
        self.find(pa.table({name: pa.array(["a"], kind) for name, kind in columns.items()}))

    def find(self, docs: pa.Table) -> Found:
        """The units of a table of one chunk."""
        found = segments(docs)
        units = units_of(found, _RULES[self.unit], joined=self.unit == "paragraph")
        table = _table(digits=self.fold_digits) if self.fold else None
        keys = unit_keys(found.texts, units, table, self._scopes(docs), self.spans, self.min_chars)
        return Found(found.texts, units, keys, copies_in_text(units, keys))

    @property
    def parameters(self) -> dict[str, Any]:
        """What files must have been made with to be read together."""
        return {"fold_table": SHA256, **self.model_dump(mode="json")}

    def _scopes(self, docs: pa.Table) -> KeyArray:
        """A hash of each document's scope: uint64 (N,)."""
        match self.scope:
            case "all":
                return np.zeros(docs.num_rows, np.uint64)
            case "source":
                names = sources(docs)
            case "language":
                if language_column(docs) is None:
                    msg = (
                        "dedup_lines: scope: language needs a column that names the language; put `language` before it"
                    )
                    raise UserError(msg)
                names = languages(docs)
            case "host":
                if "url" not in docs.column_names:
                    msg = (
                        "dedup_lines: scope: host needs the column url, which the documents lack; choose another scope"
                    )
                    raise UserError(msg)
                names = _hosts(docs["url"])
        coded = names.dictionary_encode()
        hashes = [xxhash.xxh3_64_intdigest((name or "").encode()) for name in coded.dictionary.to_pylist()]
        return np.array(hashes, np.uint64)[coded.indices.to_numpy(zero_copy_only=False)]


def _hosts(urls: pa.ChunkedArray) -> pa.Array:
    """The host in lower case; empty where there is none, so that such documents are compared with each other."""
    found = pc.extract_regex(urls.combine_chunks().cast(pa.string()), pattern=_HOST)
    hosts: Any = pc.fill_null(pc.utf8_lower(pc.struct_field(found, 0)), "")
    return hosts


@cache
def _table(*, digits: bool) -> FoldTable:
    return digits_folded(fold_table()) if digits else fold_table()
