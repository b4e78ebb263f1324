"""The verb ``train_tokenizer`` of a recipe and the nodes it stands for."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from operators.tokenize.training.counts import MergedCounts, PieceCounts
from operators.tokenize.training.sample import Strata
from operators.tokenize.training.splitting import Form, Splitting
from operators.tokenize.training.strata import SampleLimits, StratumSizes
from operators.tokenize.training.works import LearnMerges, TrainUnigram
from pipeline.errors import UserError
from pipeline.value import Strings, Value
from pipeline.work import Kind, Node

_MEASURED_BYTES = 8 << 20  # three seconds with the slowest engine
_MULTIPLE = 128  # embedding tables of other heights leave tensor cores idle
_SPECIAL = re.compile(r"<\|[A-Za-z0-9_]*[A-Za-z0-9][A-Za-z0-9_]*\|>")
_SAMPLE_BYTES = 256 << 20
_UNIGRAM_BYTES = 16 << 20  # some twenty times slower
_FORMS: dict[str, Form] = {"byte_bpe": "bytes", "bpe": "text", "wordpiece": "words", "unigram": "text"}


class TrainTokenizer(Value):
    """A tokenizer trained on a deterministic sample of a dataset.

    algorithm: ``byte_bpe`` and ``bpe`` (over characters, the rare ones as bytes) and ``unigram`` encode any text without
    loss; ``wordpiece`` is BERT's and does not. All but ``unigram`` are exact: equal corpora give equal bytes.
    The first of ``special_tokens`` ends a document and has id 0. ``vocab_size`` counts them and is rounded up to a
    multiple of 128; a corpus with too few pairs that occur ``min_frequency`` times gives fewer, which the card tells.
    sample_bytes: how much text the sample has, by default 256 MiB, for ``unigram`` 16; ``sample`` says of what. Documents
    are taken by hash(seed, id), each cut to ``max_chars_per_document``.
    min_count: pieces of text that occur less often do not count; 2 saves half of the trainer's memory and more.
    digits, han: see ``Splitting``. The fastest engine, gigatoken, takes ``digits`` 1 or 3 with ``han: clause``, the splits of
    Qwen2 and of cl100k_base; fastokens also ``digits`` 2; with ``han: character`` the tokenizers library encodes.
    character_coverage: the share of the text whose characters all but ``byte_bpe`` know; ``bpe`` and ``unigram`` spell others
    in bytes.
    partitions: the counts are merged in so many parts, each by a task.

    Source: Sennrich et al. 2016, arXiv:1508.07909; the merges are those of the tokenizers library, to the letter.
    """

    kind: ClassVar[Kind] = "artifact"
    """What its last node makes: other steps may name it as their tokenizer."""

    algorithm: Literal["byte_bpe", "bpe", "wordpiece", "unigram"] = "byte_bpe"
    vocab_size: Annotated[int, Field(ge=384, le=1 << 20)] = 32768
    special_tokens: Strings = ("<|endoftext|>",)
    digits: Annotated[int, Field(ge=1, le=3)] = 3
    han: Literal["clause", "character"] = "clause"
    min_frequency: Annotated[int, Field(ge=1)] = 2
    min_count: Annotated[int, Field(ge=1)] = 1
    character_coverage: Annotated[float, Field(gt=0, le=1)] = 0.9995
    max_chars_per_document: Annotated[int, Field(ge=1)] = 100_000
    sample_bytes: Annotated[int, Field(ge=1)] | None = None
    sample: Strata = Strata()
    partitions: Annotated[int, Field(ge=1, le=1024)] = 4
    seed: Annotated[int, Field(ge=0, lt=1 << 64)] | None = None

    @model_validator(mode="after")
    def _specials_cannot_be_merged(self) -> Self:
        # Letters and marks never share a piece, so no merge of ordinary text can make a token of this form.
        wrong = [token for token in self.special_tokens if not _SPECIAL.fullmatch(token)]
        if wrong or not self.special_tokens or len(set(self.special_tokens)) < len(self.special_tokens):
            msg = f"special_tokens must be distinct, at least one, each like '<|name|>'; got {self.special_tokens}"
            raise ValueError(msg)
        if self.algorithm == "wordpiece" and self.digits != Splitting().digits:
            msg = f"digits: {self.digits} has no effect on wordpiece, which takes words as BERT does; leave it out"
            raise ValueError(msg)
        return self

    def nodes(self, step: str, source: str | None, seed: int) -> tuple[Node, ...]:
        """The sizes of the strata, the limits of the sample, the counts by shard and merged, and the tokenizer.

        ``unigram`` reads the texts of the sample again instead. The workflow's seed where none is given.

        Raises:
            UserError: there are no documents to read.
        """
        if source is None:
            msg = f"step {step!r} is a train_tokenizer without documents; name the step to read with 'from'"
            raise UserError(msg)
        seed = seed if self.seed is None else self.seed
        strata, limits = f"{step}.strata", f"{step}.limits"
        shared = {"strata": self.sample, "max_chars": self.max_chars_per_document, "seed": seed}
        sizes = StratumSizes(**shared)
        of_all = SampleLimits(strata=self.sample, sample_bytes=self._sample_bytes, measured_bytes=_MEASURED_BYTES)
        nodes = [Node(strata, sizes, {"documents": source}), Node(limits, of_all, {"strata": strata})]
        if self.algorithm == "unigram":
            work = TrainUnigram(character_coverage=self.character_coverage, **self._settings, **shared)
            return (*nodes, Node(step, work, {"documents": source, "limits": limits}))
        counts, merged = f"{step}.counts", f"{step}.merged"
        count = PieceCounts(splitting=self._splitting, partitions=self.partitions, **shared)
        merge = MergedCounts(partitions=self.partitions, min_count=self.min_count)
        learn = LearnMerges(
            algorithm=self.algorithm,
            min_frequency=self.min_frequency,
            min_count=self.min_count,
            character_coverage=self.character_coverage,
            **self._settings,
            **shared,
        )
        return (
            *nodes,
            Node(counts, count, {"documents": source, "limits": limits}),
            Node(merged, merge, {"counts": counts}),
            Node(step, learn, {"documents": source, "merged": merged, "counts": counts, "limits": limits}),
        )

    @property
    def _sample_bytes(self) -> int:
        return self.sample_bytes or (_UNIGRAM_BYTES if self.algorithm == "unigram" else _SAMPLE_BYTES)

    @property
    def _splitting(self) -> Splitting:
        return Splitting(form=_FORMS[self.algorithm], digits=self.digits, han=self.han)

    @property
    def _settings(self) -> dict[str, Any]:
        rounded = -(-self.vocab_size // _MULTIPLE) * _MULTIPLE
        return {"vocab_size": rounded, "special_tokens": self.special_tokens, "splitting": self._splitting}
