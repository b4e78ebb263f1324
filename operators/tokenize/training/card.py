"""How well a tokenizer compresses, over all and by language."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pyarrow as pa

from operators.tokenize.encoder import Encoder
from pipeline.documents import text_bytes
from pipeline.ledger import Count
from pipeline.rejects import languages


@dataclass
class Compression:
    """Documents, bytes and tokens (without end marks) by language."""

    by_language: dict[str, Count] = field(default_factory=dict)

    @classmethod
    def measure(cls, encoder: Encoder, tables: Iterable[pa.Table]) -> Self:
        """Encode the documents and count."""
        result = cls()
        for table in tables:
            _, offsets = encoder.encode(table["text"].combine_chunks())
            rows = pa.table(
                {"language": languages(table), "bytes": text_bytes(table), "tokens": pa.array(np.diff(offsets))}
            )
            sums = rows.group_by("language").aggregate([("bytes", "count"), ("bytes", "sum"), ("tokens", "sum")])
            for row in sums.to_pylist():
                count = result.by_language.setdefault(row["language"], Count())
                count.add(row["bytes_count"], row["bytes_sum"], row["tokens_sum"])
        return result

    def to_json(self) -> dict[str, Any]:
        """Plain data: measured documents, bytes, tokens and bytes per token, ``all`` first, then by language."""
        whole = Count()
        for count in self.by_language.values():
            whole.merge(count)
        by_language = {language: _row(count) for language, count in sorted(self.by_language.items())}
        return {**_row(whole), "by_language": by_language}


def _row(count: Count) -> dict[str, Any]:
    ratio = round(count.bytes / count.tokens, 4) if count.tokens else None
    return {"docs": count.docs, "bytes": count.bytes, "tokens": count.tokens, "bytes_per_token": ratio}
