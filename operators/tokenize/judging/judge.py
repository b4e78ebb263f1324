"""A tokenizer on texts: compression, pieces of characters, unused ids, round trip, special tokens, worst documents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import Tokenizer

from operators.kernels.buffers import text_buffers
from operators.kernels.token_pieces import count_kinds, find_lossless
from operators.tokenize.encoder import Encoder
from operators.tokenize.engines import Ids, Offsets
from operators.tokenize.judging.counts import Counts, Group, Texts
from operators.tokenize.judging.specials import Isolation
from operators.tokenize.judging.vocabulary import NUM_KINDS, SPECIAL, UNKNOWN, Vocabulary
from operators.tokenize.judging.worst import Worst, named

_SLICE_BYTES = 4 << 20  # with ids, offsets and the reference's Python objects some 100 MB at a time
_UNUSED_SHOWN = 30
_AROUND_CHARS = 30


@dataclass(frozen=True)
class Candidate:
    """A tokenizer to be judged. place: where it lies; tokenizer_json: its content."""

    name: str
    place: str
    tokenizer_json: str


class Judge:
    """Judges one tokenizer on batches of documents."""

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self._encoder = Encoder(candidate.tokenizer_json)
        self._library = Tokenizer.from_str(candidate.tokenizer_json)
        self._vocabulary = Vocabulary.of(candidate.tokenizer_json)
        self._used = np.zeros(self._vocabulary.size, np.int64)
        self._groups: dict[Group, Counts] = defaultdict(Counts)
        self._worst = Worst()
        self._first_lossy: dict[str, Any] | None = None

    def add(self, texts: Texts) -> None:
        """Encode a batch, decode it again, and count."""
        if not texts.docs.num_rows:
            return
        column = texts.column
        ids, offsets = self._encoder.encode(column)
        assert not len(ids) or int(ids.max()) < self._vocabulary.size, "an id beyond the vocabulary"
        kinds = np.zeros((len(column), NUM_KINDS), np.int64)
        count_kinds(ids, offsets, self._vocabulary.kinds, self._used, kinds)
        lossless = self._lossless(column, ids, offsets)
        tokens = np.diff(offsets)
        for group, counts in texts.by_group(tokens, kinds, ~lossless).items():
            self._groups[group].merge(counts)
        self._worst.add(texts, tokens)
        if self._first_lossy is None and not lossless.all():
            row = int(np.argmin(lossless))
            back = self._library.decode(ids[offsets[row] : offsets[row + 1]].tolist(), skip_special_tokens=False)
            self._first_lossy = {**named(texts, row), **_difference(column[row].as_py(), back)}

    def to_json(self) -> dict[str, Any]:
        """The judgement as plain data."""
        whole = Counts.sum(list(self._groups.values()))
        return {
            "name": self.candidate.name,
            "place": self.candidate.place,
            "sha256": self._encoder.sha256,
            "engine": self._encoder.engine,
            "model": self._vocabulary.model,
            "all": whole.to_json(),
            "by_language": self._by(1),
            "by_source": self._by(0),
            "by_group": [
                {"source": source, "language": language, **self._groups[source, language].to_json()}
                for source, language in sorted(self._groups)
            ],
            "vocabulary": self._vocabulary_json(),
            "round_trip": {"docs": whole.docs, "lossy": whole.lossy, "first": self._first_lossy},
            "special_tokens": Isolation.of(self.candidate.tokenizer_json, self._encoder, self._vocabulary).to_json(),
            "worst": self._worst.to_json(),
        }

    def _lossless(self, column: Any, ids: Ids, offsets: Offsets) -> npt.NDArray[np.bool_]:
        """Whether decoding gives the text back, bool (N,)."""
        if self._vocabulary.byte_exact:
            lossless = np.zeros(len(column), np.bool_)
            texts = text_buffers(column)
            find_lossless(ids, offsets, self._vocabulary.pieces, texts.data, texts.offsets, lossless)
            return lossless
        rows = [ids[offsets[row] : offsets[row + 1]].tolist() for row in range(len(column))]
        back = self._library.decode_batch(rows, skip_special_tokens=False)
        return np.array([a == b for a, b in zip(back, column.to_pylist(), strict=True)], np.bool_)

    def _by(self, place: int) -> dict[str, Any]:
        found: dict[str, Counts] = defaultdict(Counts)
        for group, counts in self._groups.items():
            found[group[place]].merge(counts)
        return {name: counts.to_json() for name, counts in sorted(found.items())}

    def _vocabulary_json(self) -> dict[str, Any]:
        vocabulary = self._vocabulary
        ordinary = [k for k in vocabulary.tokens if not vocabulary.kinds[k] & (SPECIAL | UNKNOWN)]
        unused = sorted(k for k in ordinary if not self._used[k])
        return {
            "size": vocabulary.size,
            "tokens": len(vocabulary.tokens),
            "special": int((vocabulary.kinds & SPECIAL > 0).sum()),
            "without_token": vocabulary.size - len(vocabulary.tokens),
            "ordinary": len(ordinary),
            "unused": len(unused),
            "unused_fraction": round(len(unused) / len(ordinary), 6) if ordinary else None,
            "unused_examples": [{"id": k, "token": vocabulary.tokens[k]} for k in unused[:_UNUSED_SHOWN]],
        }


def judge(candidates: Sequence[Candidate], tables: Iterable[pa.Table]) -> dict[str, Any]:
    """Judge tokenizers on the same documents, read once.

    tables: of documents, any size. Returns plain data: ``texts`` (what was read) and ``tokenizers`` (one judgement
    each, in the order given). Texts are encoded as ``tokenize`` does: a special token in a text is text. Documents
    without text are left out.
    """
    judges = [Judge(candidate) for candidate in candidates]
    read = Counts()
    for table in tables:
        for part in slices(table):
            texts = Texts.of(part)
            read.merge(Counts(texts.docs.num_rows, *(int(n.sum()) for n in (texts.bytes, texts.chars, texts.words))))
            for one in judges:
                one.add(texts)
    sums = {name: getattr(read, name) for name in ("docs", "bytes", "chars", "words")}
    return {"texts": sums, "tokenizers": [one.to_json() for one in judges]}


def slices(table: pa.Table) -> Iterator[pa.Table]:
    """Neighbouring rows of about 4 MiB of text."""
    if not table.num_rows:
        return
    ends = np.cumsum(pc.fill_null(pc.binary_length(table["text"]), 0).to_numpy().astype(np.int64))
    start = 0
    while start < table.num_rows:
        before = int(ends[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(ends, before + _SLICE_BYTES, side="right")))
        yield table.slice(start, end - start)
        start = end


def _difference(text: str, back: str) -> dict[str, Any]:
    """Where a text and what came back part, with some characters around."""
    at = next((k for k, (a, b) in enumerate(zip(text, back, strict=False)) if a != b), min(len(text), len(back)))
    window = slice(max(0, at - _AROUND_CHARS), at + _AROUND_CHARS)
    return {"at_char": at, "from_char": window.start, "text": text[window], "decoded": back[window]}
