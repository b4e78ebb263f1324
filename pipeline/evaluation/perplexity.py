"""Perplexity and bits per byte of documents by a sliding window, together and by source and language.

Each document stands alone behind one begin mark. Windows of T tokens begin S apart, and of each but the first only the
last S tokens are scored, so that those have at least T - S tokens before them; every token is scored once. With n_i the
nats (-ln p) of token i, b the UTF-8 bytes of the texts and t their tokens,

    bits per byte = sum n_i / (ln 2 * b)        perplexity = exp(sum n_i / t)

Only the first compares models of different vocabularies. The end mark after a document is no text and is not scored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.pretrain.ranks import Place
from pipeline.pretrain.training.parts import Part, largest, parts_by
from pipeline.pretrain.training.windows import Cut, Nats, document_nats

Int64s = NDArray[np.int64]
CHUNK_TOKENS = 1 << 20
"""Tokens of documents that are cut into windows at once: 8 MB of ids, enough that windows of like length meet."""


@dataclass(frozen=True)
class Texts:
    """Some documents."""

    tokens: Sequence[Int64s]
    """Of each, without marks."""
    num_bytes: Int64s
    """UTF-8 bytes of each text."""
    labels: Mapping[str, Sequence[str]]
    """By what they are told apart, such as ``language``, and the value of each document."""


@dataclass
class Perplexity:
    """What was found so far."""

    whole: Part = field(default_factory=lambda: Part(0.0, 0, 0, 0))
    groups: dict[str, dict[str, Part]] = field(default_factory=dict)
    """By label and value."""

    def add(self, texts: Texts, nats: NDArray[np.float64]) -> None:
        """Count documents in; nats: of each, float64 (D,)."""
        num_tokens = np.array([len(tokens) for tokens in texts.tokens], np.int64)
        self.whole += Part(float(nats.sum()), int(num_tokens.sum()), int(texts.num_bytes.sum()), len(num_tokens))
        for label, names in texts.labels.items():
            known = self.groups.setdefault(label, {})
            for name, part in parts_by(names, nats, num_tokens, texts.num_bytes).items():
                known[name] = known[name] + part if name in known else part

    def told(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            **_told(self.whole),
            **{
                f"by_{label}": {name: _told(part) for name, part in largest(parts).items()}
                for label, parts in self.groups.items()
            },
        }


def _told(part: Part) -> dict[str, Any]:
    return {
        "bits_per_byte": part.bits_per_byte,
        "perplexity": part.perplexity,
        "nats_per_token": part.nats_per_token,
        "bytes_per_token": part.bytes / max(1, part.tokens),
        "documents": part.documents,
        "bytes": part.bytes,
        "tokens": part.tokens,
    }


def perplexity(nats: Nats, chunks: Iterable[Texts], cut: Cut, place: Place, *, vocab_size: int) -> Perplexity:
    """Score documents, a chunk after the other. vocab_size: ids of the model, by which windows are put together."""
    found = Perplexity()
    for texts in chunks:
        num_tokens = [len(tokens) for tokens in texts.tokens]
        scored = document_nats(nats, num_tokens, texts.tokens.__getitem__, cut, place, vocab_size=vocab_size)
        found.add(texts, scored)
    return found
