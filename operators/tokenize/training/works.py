"""The works that make a tokenizer: from counted pieces, exactly; from texts, where the method cannot repeat itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field
from tokenizers import Tokenizer

from operators.tokenize.training import piece_table, unigram
from operators.tokenize.training.card import sample_of, with_card
from operators.tokenize.training.counts import COUNTS, MEASURED
from operators.tokenize.training.merges import Pieces, assemble, dress, initial, learnt
from operators.tokenize.training.sample import Strata, buckets, cut
from operators.tokenize.training.splitting import Splitting
from operators.tokenize.training.strata import chosen, read_limits
from pipeline.documents import as_documents, text_bytes
from pipeline.errors import UserError
from pipeline.value import Strings
from pipeline.work import EVERY, Extent, Kind, Result, Shard, ShardWork, Task, TaskPlan


class Settings(ShardWork):
    """What the card says of how a tokenizer is made."""

    kind: ClassVar[Kind] = "artifact"
    barrier: ClassVar[bool] = True
    libraries: ClassVar = ("tokenizers",)

    vocab_size: int
    special_tokens: Strings
    splitting: Splitting
    strata: Strata
    max_chars: int
    seed: int

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """One task over every shard of every input."""
        return [TaskPlan(0, dict.fromkeys(shards, EVERY))]

    def said(self, algorithm: str, strata: Mapping[str, Mapping[str, Any]], **more: Any) -> dict[str, Any]:
        """The part of the card that is known before the tokenizer is."""
        return {
            "algorithm": algorithm,
            "vocab_size_wanted": self.vocab_size,
            "special_tokens": self.special_tokens,
            "sample": sample_of(strata, self.seed),
            "settings": {
                "digits": self.splitting.digits, "han": self.splitting.han, "max_chars_per_document": self.max_chars,
                "by": list(self.strata.by), "temperature": self.strata.temperature,
                "weights": dict(self.strata.weights), **more,
            },
        }  # fmt: skip


class LearnMerges(Settings):
    """A tokenizer of merged pairs, from the counts of all partitions.

    Merges follow (count, then lower ids), sums of integers: neither order nor number of shards can show.
    Memory: the distinct pieces of the sample, see ``operators.kernels.bpe_training.learn``.
    """

    algorithm: Literal["byte_bpe", "bpe", "wordpiece"]
    min_frequency: int
    min_count: int
    character_coverage: float

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:
        """One task over every shard of the counts; of the documents it needs none, they say what it was made of."""
        return [TaskPlan(0, {role: () if role == "documents" else EVERY for role in shards})]

    def run(self, task: Task) -> Result:
        """Learn, and measure on part of the sample.

        Raises:
            UserError: the characters alone are more than ``vocab_size``.
        """
        strata = read_limits(task.inputs["limits"])
        whole = pa.concat_tables(piece_table.read(shard.file(COUNTS), 0) for shard in task.inputs["merged"])
        pieces = Pieces.of(whole)
        start = initial(self.algorithm, self.special_tokens, pieces, self.character_coverage)
        if len(start.tokens) > self.vocab_size:
            msg = (
                f"vocab_size {self.vocab_size} is less than the {len(start.tokens)} tokens that special tokens, bytes and "
                "single characters take; raise it, lower character_coverage, or use byte_bpe"
            )
            raise UserError(msg)
        found = learnt(pieces, start, self.vocab_size, self.min_frequency)
        tokenizer = assemble(self.algorithm, found, self.special_tokens, self.splitting)
        said = self.said(
            self.algorithm, strata, min_frequency=self.min_frequency, min_count=self.min_count,
            **({} if self.algorithm == "byte_bpe" else {"character_coverage": self.character_coverage}),
        )  # fmt: skip
        said["pieces"] = {"distinct": whole.num_rows, "bytes": int(pieces.offsets[-1] - pieces.offsets[0])}
        return with_card(tokenizer, task.scratch, said, _measured(task.inputs["counts"]))


def _measured(shards: Sequence[Shard]) -> Iterator[pa.Table]:
    for shard in shards:
        yield pq.read_table(shard.file(MEASURED))


class TrainUnigram(Settings):
    """A Unigram tokenizer, by the library's trainer over the texts of the sample.

    The library sums probabilities in another order each time, so no two trainings need give the same bytes: this step is
    recorded, and what follows is keyed by the file it gave.
    Source: Kudo 2018, arXiv:1804.10959.
    """

    recorded: ClassVar[bool] = True

    character_coverage: float
    max_piece_chars: Annotated[int, Field(ge=1)] = 16

    def run(self, task: Task) -> Result:
        """Train on the texts of the sample, and measure on part of it.

        Raises:
            UserError: the characters alone are more than ``vocab_size``.
        """
        strata = read_limits(task.inputs["limits"])
        rare = unigram.rare_characters(self._texts(task, strata, "limit"), self.character_coverage)
        tables = self._texts(task, strata, "limit")
        texts = ((text or "").translate(rare) for table in tables for text in table["text"].to_pylist())
        model = unigram.train(texts, self.vocab_size, self.special_tokens, self.splitting, self.max_piece_chars)
        tokenizer = Tokenizer(model)
        dress(tokenizer, "unigram", self.special_tokens, self.splitting)
        said = self.said(
            "unigram", strata, max_piece_chars=self.max_piece_chars, character_coverage=self.character_coverage
        )
        return with_card(tokenizer, task.scratch, said, self._texts(task, strata, "measured"))

    def _texts(self, task: Task, strata: Mapping[str, Mapping[str, Any]], limit: str) -> Iterator[pa.Table]:
        sample = chosen(strata, limit)
        for shard in task.inputs["documents"]:
            for docs in map(as_documents, shard.documents()):
                mask = sample.mask(self.strata.names(docs), buckets(docs, self.seed))
                mask &= text_bytes(docs).to_numpy() > 0
                if mask.any():
                    yield cut(docs.filter(pa.array(mask)), self.max_chars)
