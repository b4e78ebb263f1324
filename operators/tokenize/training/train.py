"""Train a byte-level BPE tokenizer on a dataset."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator
from tokenizers import Tokenizer, decoders, models
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from operators.tokenize.encoder import Encoder
from operators.tokenize.training.card import Compression
from operators.tokenize.training.sample import Sample, limits
from operators.tokenize.training.splitting import encoding_split, training_split
from pipeline.documents import as_documents, text_bytes
from pipeline.errors import RunFailedError
from pipeline.value import Strings
from pipeline.work import EVERY, Extent, Node, Output, Result, Shard, ShardWork, Task, TaskPlan

_CARD_BYTES = 8 << 20  # three seconds with the slowest engine
_MULTIPLE = 128  # embedding tables of other heights leave tensor cores idle
_SPECIAL = re.compile(r"<\|[A-Za-z0-9_]*[A-Za-z0-9][A-Za-z0-9_]*\|>")


class TrainTokenizer(ShardWork):
    """A byte-level BPE tokenizer: any text is encoded without loss, and equal corpora give equal bytes.

    The first of ``special_tokens`` ends a document and has id 0. ``vocab_size`` counts them and is rounded up to a
    multiple of 128; a corpus with too few pairs that occur ``min_frequency`` times gives fewer, which the card tells.
    Training takes documents by hash(seed, id) until ``sample_bytes`` are reached, each cut to
    ``max_chars_per_document``; memory is some ten times the sample for English and up to eighty times for Chinese.
    Merges follow (count, then lower ids), sums of integers, so neither order nor number of shards can show.

    Source: Sennrich et al. 2016, arXiv:1508.07909; trained by the tokenizers library.
    """

    kind: ClassVar = "artifact"
    barrier: ClassVar = True
    libraries: ClassVar = ("tokenizers",)

    algorithm: Literal["byte_bpe"] = "byte_bpe"
    vocab_size: Annotated[int, Field(ge=384, le=1 << 20)] = 32768
    special_tokens: Strings = ("<|endoftext|>",)
    min_frequency: Annotated[int, Field(ge=1)] = 2
    max_chars_per_document: Annotated[int, Field(ge=1)] = 100_000
    # The trainer sums counts of pairs in 32 bits; a pair occurs at most once a byte.
    sample_bytes: Annotated[int, Field(ge=1, lt=1 << 31)] = 256 << 20
    seed: Annotated[int, Field(ge=0, lt=1 << 64)] | None = None

    @model_validator(mode="after")
    def _specials_cannot_be_merged(self) -> Self:
        # Letters and marks never share a piece, so no merge of ordinary text can make a token of this form.
        wrong = [token for token in self.special_tokens if not _SPECIAL.fullmatch(token)]
        if wrong or not self.special_tokens or len(set(self.special_tokens)) < len(self.special_tokens):
            msg = f"special_tokens must be distinct, at least one, each like '<|name|>'; got {self.special_tokens}"
            raise ValueError(msg)
        return self

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """One task over every shard."""
        del shards
        return [TaskPlan(0, {"documents": EVERY})]

    def nodes(self, step: str, source: str | None, seed: int) -> tuple[Node, ...]:
        """One node; the workflow's seed where none is given."""
        work = self if self.seed is not None else self.model_copy(update={"seed": seed})
        return (Node(step, work, {"documents": source or ""}),)

    def run(self, task: Task) -> Result:
        """Train, and measure on part of the sample.

        Raises:
            RunFailedError: no document has any text; look at what the steps before have dropped.
        """
        shards = task.inputs["documents"]
        whole = Sample(seed=self.seed or 0, max_chars=self.max_chars_per_document)
        sample, measured = limits(lambda: _documents(shards), whole, [self.sample_bytes, _CARD_BYTES])
        if sample == 0:
            msg = f"nothing to train a tokenizer on: {len(shards)} shards without any text"
            raise RunFailedError(msg)
        chosen = Sample(seed=whole.seed, max_chars=whole.max_chars, num_buckets=sample)
        counted = _Counted(chosen.tables(_documents(shards)))
        tokenizer = self._train(counted)
        path = task.scratch / "tokenizer.json"
        path.write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
        few = Sample(seed=whole.seed, max_chars=whole.max_chars, num_buckets=min(sample, measured))
        compression = Compression.measure(Encoder.load(path), few.tables(_documents(shards)))
        card = {
            "algorithm": self.algorithm,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "vocab_size": tokenizer.get_vocab_size(),
            "vocab_size_wanted": self._rounded,
            "special_tokens": {token: tokenizer.token_to_id(token) for token in self.special_tokens},
            "sample": {"docs": counted.docs, "bytes": counted.bytes, "seed": whole.seed},
            "compression": compression.to_json(),
        }
        card_path = task.scratch / "tokenizer.card.json"
        card_path.write_text(json.dumps(card, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
        facts: dict[str, Any] = {key: card[key] for key in ("vocab_size", "special_tokens", "sha256")}
        return Result([Output(path, ".json"), Output(card_path, ".card.json")], facts=facts)

    @property
    def _rounded(self) -> int:
        return -(-self.vocab_size // _MULTIPLE) * _MULTIPLE

    def _train(self, texts: Iterator[list[str]]) -> Tokenizer:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = training_split()
        trainer = BpeTrainer(
            vocab_size=self._rounded,
            min_frequency=self.min_frequency,
            special_tokens=list(self.special_tokens),
            initial_alphabet=ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        tokenizer.pre_tokenizer = encoding_split()
        tokenizer.decoder = decoders.ByteLevel()
        return tokenizer


class _Counted(Iterator[list[str]]):
    """The texts of tables, counted as they pass."""

    def __init__(self, tables: Iterator[pa.Table]) -> None:
        self._tables = tables
        self.docs = 0
        self.bytes = 0

    def __next__(self) -> list[str]:
        table = next(self._tables)
        self.docs += table.num_rows
        self.bytes += int(text_bytes(table).to_numpy().sum())
        return [text or "" for text in table["text"].to_pylist()]


def _documents(shards: Sequence[Shard]) -> Iterator[pa.Table]:
    for shard in shards:
        yield from map(as_documents, shard.documents())
