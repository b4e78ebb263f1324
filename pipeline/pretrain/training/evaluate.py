"""Bits per byte of held-out documents, while a model is trained.

The definition. Each document stands alone: its context is one EOS, then its own tokens, and no other document. It is
cut into windows of T tokens, so a token sees at most T before it, and the first of a later window sees the one before
it. Every token of the text is predicted exactly once; the EOS that ends a document, being no text, has 0 bytes, and
its loss is not counted. With n_i the nats (-ln p) of token i and b the UTF-8 bytes of the texts,

    bits per byte = sum n_i / (ln 2 * b)

over all documents together, hence weighted by bytes. Vocabularies compare, since a coarser one predicts fewer and
harder tokens for the same bytes. ``pipeline.evaluation`` lets windows overlap and so gives every token more context.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import pyarrow.parquet as pq

from pipeline.pretrain.config import TokenFiles
from pipeline.pretrain.data.corpus import Corpus
from pipeline.pretrain.ranks import Place
from pipeline.pretrain.training.parts import Part, parts_by
from pipeline.pretrain.training.windows import Cut, Nats, document_nats

LABELS = ("source", "language")
"""Columns of the tables of documents by which held-out documents are told apart."""
UNKNOWN = "und"
"""Label of a document that has none: the code of an undetermined language."""


@dataclass(frozen=True)
class Score:
    """What an evaluation found."""

    bits_per_byte: float
    nats_per_token: float
    documents: int
    bytes: int
    tokens: int
    groups: Mapping[str, Mapping[str, Part]] = field(default_factory=dict)
    """By label and its value, such as ``language`` and ``zh``; only labels that the shards have."""

    def line(self) -> dict[str, Any]:
        """What a line of the metrics tells of it."""
        return {
            "bits_per_byte": self.bits_per_byte,
            "loss": self.nats_per_token,
            "documents": self.documents,
            "bytes": self.bytes,
            "tokens": self.tokens,
            **{
                f"{label}s": {name: part.line() for name, part in parts.items()} for label, parts in self.groups.items()
            },
        }


def score(nats: Nats, corpus: Corpus, *, length: int, max_documents: int, place: Place) -> Score:
    """Score the first ``max_documents`` held-out documents; ranks share the work and all get the result."""
    held = corpus.held_out
    chosen = slice(min(max_documents, len(held.start)))
    num_tokens, num_bytes = held.num_tokens[chosen], held.num_bytes[chosen]
    cut = Cut(begin_id=corpus.data.eos_id, length=length, stride=length)
    # A long document is asked for once a window, and windows of like length come in the order of documents.
    tokens_of = lru_cache(maxsize=16)(corpus.held_out_tokens)
    found = document_nats(nats, num_tokens.tolist(), tokens_of, cut, place, vocab_size=corpus.data.vocab_size)
    whole = Part(float(found.sum()), int(num_tokens.sum()), int(num_bytes.sum()), len(num_tokens))
    groups = {}
    where = tuple(zip(held.shard[chosen].tolist(), held.row[chosen].tolist(), strict=True))
    for label in LABELS:
        names = _labels(corpus.data.shards, where, label)
        if names is not None:
            groups[label] = parts_by(names, found, num_tokens, num_bytes)
    return Score(whole.bits_per_byte, whole.nats_per_token, whole.documents, whole.bytes, whole.tokens, groups)


@lru_cache(maxsize=2 * len(LABELS))  # read once a run: thousands of shards take seconds
def _labels(shards: tuple[TokenFiles, ...], where: tuple[tuple[int, int], ...], label: str) -> tuple[str, ...] | None:
    """The label of each document, by (shard, row); None where a shard has no such column."""
    columns = {}
    for number in {shard for shard, _ in where}:
        path = shards[number].documents
        if label not in pq.read_schema(path).names:
            return None
        columns[number] = pq.read_table(path, columns=[label])[label]
    return tuple(columns[number][row].as_py() or UNKNOWN for number, row in where)
