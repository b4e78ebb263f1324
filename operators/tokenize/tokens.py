"""Tokenize documents into shards that every common trainer reads."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from operators.tokenize.encoder import Encoder
from operators.tokenize.shards.encoded import Encode
from operators.tokenize.shards.planning import ROLE
from operators.tokenize.shards.regroup import Regroup
from operators.tokenize.shards.sink import TokenizeSink
from operators.tokenize.shards.writer import COLUMNS
from pipeline.value import Artifact, Strings, Value
from pipeline.work import Node, StreamWork, Task


class Shuffle(Value):
    """Documents permuted by hash(seed, id), within windows of neighbouring shards.

    window_tokens: about how many tokens a window has (None: those of one token shard). seed: None takes the workflow's.
    """

    window_tokens: int | None = Field(default=None, ge=1)
    seed: int | None = None


class Tokenize(StreamWork):
    """Documents as token ids back to back, one end mark ``eos`` after each and nowhere else.

    Ids are those of the tokenizers library with special tokens in a text taken as ordinary text, whatever engine
    computes them. Stored in 16 bits where the vocabulary is below 65,500, else in 32. Documents without text, or whose
    text gives no token, are dropped. Tokens in the ledger count end marks.

    keep: numeric, boolean or string columns of the documents that ``docs.parquet`` holds too, such as a quality score.
    tokens_per_shard: None makes one token shard of each shard of documents, as soon as that is there. A number makes
    shards of at most about that many tokens, once all documents are encoded. shuffle: in which order.
    """

    kind: ClassVar = "tokens"
    libraries: ClassVar = ("tokenizers",)

    tokenizer: Artifact
    eos: str = "<|endoftext|>"
    keep: Strings = ()
    tokens_per_shard: int | None = Field(default=None, ge=1)
    shuffle: Shuffle | None = None

    @model_validator(mode="after")
    def _can_be_done(self) -> Self:
        for name in self.keep:
            if name in (*COLUMNS, "text"):
                msg = f"keep: {name} is a column that docs.parquet has anyway, or the text, which it does not hold"
                raise ValueError(msg)
        window = None if self.shuffle is None else self.shuffle.window_tokens
        if self.shuffle is not None and window is None and self.tokens_per_shard is None:
            msg = "shuffle needs to know how far: give it window_tokens, or give tokens_per_shard"
            raise ValueError(msg)
        if window is not None and self.tokens_per_shard is not None and window < self.tokens_per_shard:
            msg = (
                f"window_tokens={window} is less than tokens_per_shard={self.tokens_per_shard}: no shard would be full"
            )
            raise ValueError(msg)
        return self

    def open(self, task: Task) -> TokenizeSink:
        """A sink for one shard.

        Raises:
            UserError: the tokenizer is not made yet, cannot be read, is another one than the run was planned with, or has
                no token ``eos``.
        """
        encoder = Encoder.of(self.tokenizer)
        return TokenizeSink(encoder, encoder.token_id(self.eos), task, keep=self.keep)

    def nodes(self, step: str, source: str | None, seed: int) -> tuple[Node, ...]:
        """One node; with sizes or an order asked for, one that encodes and one that puts token shards together."""
        documents = {"documents": source or ""}
        if self.tokens_per_shard is None and self.shuffle is None:
            return (Node(step, self, documents),)
        encode = Encode(tokenizer=self.tokenizer, eos=self.eos, keep=self.keep)
        inner = f"{step}.encoded"
        return (Node(inner, encode, documents), Node(step, self._regroup(seed), {ROLE: inner, **documents}))

    def _regroup(self, seed: int) -> Regroup:
        if self.shuffle is None:
            return Regroup(tokens_per_shard=self.tokens_per_shard or 1)
        window = self.shuffle.window_tokens or self.tokens_per_shard or 1
        return Regroup(
            tokens_per_shard=self.tokens_per_shard or window,
            window_tokens=window,
            seed=seed if self.shuffle.seed is None else self.shuffle.seed,
        )
