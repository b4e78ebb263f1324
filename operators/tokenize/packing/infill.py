"""Fill-in-the-middle: some documents rewritten so that a model learns to write between a prefix and a suffix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from operators.kernels.buffers import large_strings
from operators.kernels.infilling import arrange, spell, spelled_sizes
from operators.tokenize.encoder import Encoder
from operators.tokenize.foreign.files import json_of
from operators.tokenize.packing.draws import below, drawn
from operators.tokenize.packing.layout import Documents, Int64s
from operators.tokenize.packing.spelling import spelling
from operators.tokenize.shards.reader import TokenShard
from pipeline.errors import UserError
from pipeline.named_files import content, file_state
from pipeline.operator import Conditions
from pipeline.value import Artifact, Value

_COLUMNS = ("source", "language")
_BATCH_BYTES = 4 << 20  # text held at once; its tokens and both orders are some three times that


class Fim(Value):
    """Cut a document at two characters, drawn uniformly, and train on prefix, suffix, middle.

    tokenizer: the one that the tokens were made by. rate: share of the documents, by hash of seed and id. spm_rate: of
    these, the share written suffix first (PREFIX SUFFIX suffix MIDDLE prefix middle), the others prefix first (PREFIX
    prefix SUFFIX suffix MIDDLE middle). only: ``{source: [...], language: [...]}``, the documents it is about. prefix,
    suffix, middle: the special tokens that stand before each part.
    Source: Bavarian et al. 2022, arXiv:2207.14255, sections 3 and 4: documents, characters, both orders half and half.
    """

    tokenizer: Artifact
    rate: float = Field(default=0.5, ge=0, le=1)
    spm_rate: float = Field(default=0.5, ge=0, le=1)
    only: Conditions = ()
    prefix: str = "<|fim_prefix|>"
    suffix: str = "<|fim_suffix|>"
    middle: str = "<|fim_middle|>"

    @model_validator(mode="after")
    def _tells_documents_apart(self) -> Self:
        if unknown := sorted({column for column, _ in self.only} - set(_COLUMNS)):
            msg = f"fim: only knows {' and '.join(_COLUMNS)} of a document of tokens, not {', '.join(unknown)}"
            raise ValueError(msg)
        if len({self.prefix, self.suffix, self.middle}) < 3:
            msg = "fim: prefix, suffix and middle are three tokens"
            raise ValueError(msg)
        return self


class Infiller:
    """Rewrites documents of token shards into a payload of its own; ``close`` it at the end."""

    def __init__(self, fim: Fim, seed: int, facts: Mapping[str, Any], path: Path) -> None:
        self._fim, self._seed = fim, seed
        self._encoder = Encoder.of(fim.tokenizer)
        if self._encoder.sha256 != facts["tokenizer_sha256"]:
            msg = (
                f"fim: tokenizer {fim.tokenizer.file} is {self._encoder.sha256[:16]}, the tokens were made by "
                f"{facts['tokenizer_sha256'][:16]}; name the tokenizer of the step that made them"
            )
            raise UserError(msg)
        self._marks = np.array([*(self._mark(t) for t in (fim.prefix, fim.suffix, fim.middle)), facts["eos_id"]])
        self._spelling = spelling(json_of(content(file_state(fim.tokenizer))))
        self._file = path.open("wb")
        self._written = 0
        self.num_left = 0
        """Documents chosen, but left as they are, since their tokens do not give back their text."""

    def rewrite(self, documents: Documents, tokens: Mapping[int, TokenShard]) -> Documents:
        """The same documents, those chosen by their new tokens."""
        start, length, rewritten = documents.start.copy(), documents.length.copy(), documents.rewritten.copy()
        for number in np.unique(documents.shard).tolist():
            mine = np.flatnonzero(documents.shard == number)
            mine = mine[np.argsort(documents.document[mine])]
            table = tokens[number].columns(["id", *(name for name, _ in self._fim.only)])
            table = table.take(pa.array(documents.document[mine]))
            chosen = np.flatnonzero(self._chosen(table))
            num_bytes = documents.num_bytes[mine[chosen]]
            ids = _ids(table.select(["id"]).take(pa.array(chosen)))
            for part in _batches(num_bytes):
                at = mine[chosen[part]]
                spans = documents.start[at], documents.length[at] - 1
                given_back, new = self._append(tokens[number], spans, num_bytes[part], ids[part])
                at = at[given_back]
                start[at] = self._written - new.sum() + np.cumsum(new) - new
                length[at], rewritten[at] = new, True
        return documents._replace(start=start, length=length, rewritten=rewritten)

    def close(self) -> None:
        """Close the payload."""
        self._file.close()

    def _mark(self, token: str) -> int:
        if token not in self._encoder.special_tokens:
            msg = (
                f"fim: {token!r} is no special token of the tokenizer, so a text could write it; train with "
                f"special_tokens that hold it, or name others by prefix, suffix and middle"
            )
            raise UserError(msg)
        return self._encoder.special_tokens[token]

    def _chosen(self, table: pa.Table) -> npt.NDArray[np.bool_]:
        mask = below(drawn(_ids(table), self._seed, "fim"), self._fim.rate)
        for column, names in self._fim.only:
            named: Any = pc.is_in(table[column].combine_chunks(), value_set=pa.array(names, pa.string()))
            mask &= named.to_numpy(zero_copy_only=False)
        return mask

    def _append(
        self, shard: TokenShard, spans: tuple[Int64s, Int64s], num_bytes: Int64s, ids: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.bool_], Int64s]:
        """Write some documents; which of them, bool (N,), and the new length of each that was."""
        payload, (letters, words) = np.asarray(shard.tokens), self._spelling
        sizes = np.empty(len(num_bytes), np.int64)
        spelled_sizes(payload, *spans, words, sizes)
        good = sizes == num_bytes
        self.num_left += int((~good).sum())
        first, lengths = (np.ascontiguousarray(column[good]) for column in spans)
        draws = np.stack([drawn(ids[good], self._seed, what) for what in ("fim.first", "fim.second")], axis=1)
        text, bounds = np.empty(int(sizes[good].sum()), np.uint8), np.empty(3 * len(first) + 1, np.int64)
        spell(payload, first, lengths, words, letters, np.ascontiguousarray(draws), text, bounds)
        parts, ends = self._encoder.encode(large_strings(text, bounds, np.ones(len(bounds) - 1, np.bool_)))
        out = np.empty(len(parts) + 4 * len(first), self._encoder.dtype)
        suffix_first = below(drawn(ids[good], self._seed, "fim.order"), self._fim.spm_rate)
        arrange(parts, ends, suffix_first, self._marks, out)
        self._file.write(out.data)
        self._written += len(out)
        return good, np.diff(ends[::3]) + 4


def _ids(table: pa.Table) -> npt.NDArray[np.uint8]:
    column: Any = table["id"].combine_chunks()
    if not len(column):
        return np.zeros((0, 16), np.uint8)
    return np.frombuffer(memoryview(column.buffers()[1]), np.uint8)[16 * column.offset :][: 16 * len(column)].reshape(
        -1, 16
    )


def _batches(num_bytes: Int64s) -> Iterator[slice]:
    """Neighbours of about ``_BATCH_BYTES``, at least one."""
    ends = np.cumsum(num_bytes)
    start = 0
    while start < len(ends):
        before = int(ends[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(ends, before + _BATCH_BYTES, side="right")))
        yield slice(start, end)
        start = end
