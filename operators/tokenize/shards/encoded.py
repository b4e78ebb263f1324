"""Encoded documents: one shard a shard of documents, inside the step, for those that regroup them."""

from __future__ import annotations

from typing import ClassVar

from operators.tokenize.encoder import Encoder
from operators.tokenize.shards.sink import TokenizeSink
from pipeline.value import Artifact, Strings
from pipeline.work import StreamWork, Task


class Encode(StreamWork):
    """Documents as token ids, as ``Tokenize`` writes them, without the indexes of other readers."""

    kind: ClassVar = "work"
    libraries: ClassVar = ("tokenizers",)

    tokenizer: Artifact
    eos: str
    keep: Strings = ()

    def open(self, task: Task) -> TokenizeSink:
        """A sink for one shard.

        Raises:
            UserError: the tokenizer is not made yet, cannot be read, is another one than the run was planned with, or has
                no token ``eos``.
        """
        encoder = Encoder.of(self.tokenizer)
        return TokenizeSink(encoder, encoder.token_id(self.eos), task, keep=self.keep, inner=True)
