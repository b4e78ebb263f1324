"""The card beside a tokenizer: what it was trained on, how it was made, how well it compresses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tokenizers import Tokenizer

from operators.tokenize.encoder import Encoder
from pipeline.documents import text_bytes
from pipeline.fingerprint import file_sha256
from pipeline.ledger import Count
from pipeline.rejects import languages, sources
from pipeline.value import Artifact
from pipeline.work import Output, Result


@dataclass
class Compression:
    """Documents, bytes and tokens (without end marks) by language and by source, and how often each id occurs."""

    counts: npt.NDArray[np.int64]
    by_language: dict[str, Count] = field(default_factory=dict)
    by_source: dict[str, Count] = field(default_factory=dict)

    @classmethod
    def measure(cls, encoder: Encoder, tables: Iterable[pa.Table]) -> Self:
        """Encode the documents and count."""
        result = cls(np.zeros(encoder.vocab_size, np.int64))
        for table in tables:
            ids, offsets = encoder.encode(table["text"].combine_chunks())
            result.counts += np.bincount(ids, minlength=len(result.counts))
            rows = pa.table({
                "language": languages(table), "source": sources(table), "bytes": text_bytes(table),
                "tokens": pa.array(np.diff(offsets)),
            })  # fmt: skip
            result.add(rows)
        return result

    def add(self, rows: pa.Table) -> None:
        """Add documents, given the language, source, bytes and tokens of each."""
        for axis, counts in (("language", self.by_language), ("source", self.by_source)):
            sums = rows.group_by(axis).aggregate([("bytes", "count"), ("bytes", "sum"), ("tokens", "sum")])
            for row in sums.to_pylist():
                count = counts.setdefault(row[axis], Count())
                count.add(row["bytes_count"], row["bytes_sum"], row["tokens_sum"])

    def to_json(self) -> dict[str, Any]:
        """Plain data: measured documents, bytes, tokens and bytes per token, and the same by language and source."""
        whole = Count()
        for count in self.by_language.values():
            whole.merge(count)
        return {
            **_row(whole),
            "unused_ids": int((self.counts == 0).sum()),
            "by_language": {language: _row(count) for language, count in sorted(self.by_language.items())},
            "by_source": {source: _row(count) for source, count in sorted(self.by_source.items())},
        }


def _row(count: Count) -> dict[str, Any]:
    ratio = round(count.bytes / count.tokens, 4) if count.tokens else None
    return {"docs": count.docs, "bytes": count.bytes, "tokens": count.tokens, "bytes_per_token": ratio}


def sample_of(strata: Mapping[str, Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """What the card says of the sample: documents and bytes, over all and by stratum, beside those of the corpus."""
    shown = ("docs", "bytes", "sample_docs", "sample_bytes")
    rows = {name: {key: row[key] for key in shown} for name, row in sorted(strata.items())}
    return {
        "docs": sum(row["sample_docs"] for row in rows.values()),
        "bytes": sum(row["sample_bytes"] for row in rows.values()),
        "seed": seed,
        "strata": rows,
    }


def with_card(tokenizer: Tokenizer, scratch: Path, said: Mapping[str, Any], measured: Iterable[pa.Table]) -> Result:
    """The two files of a trained tokenizer. said: what the card holds besides what is found here."""
    path, card_path = scratch / "tokenizer.json", scratch / "tokenizer.card.json"
    path.write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
    specials = {token: tokenizer.token_to_id(token) for token in said["special_tokens"]}
    sha256 = file_sha256(path)
    encoder = Encoder.of(Artifact(file=str(path), sha256=sha256))
    card = {
        **said,
        "sha256": sha256,
        "vocab_size": tokenizer.get_vocab_size(),
        "special_tokens": specials,
        "compression": Compression.measure(encoder, measured).to_json(),
    }
    card_path.write_text(json.dumps(card, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    facts: dict[str, Any] = {key: card[key] for key in ("vocab_size", "special_tokens", "sha256")}
    return Result([Output(path, ".json"), Output(card_path, ".card.json")], facts=facts)
