"""One training run for a corpus, a number of GPUs and a time: model, tokens, settings, memory, cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from pipeline.errors import UserError
from pipeline.planning.gpus import Gpu
from pipeline.planning.laws import Law, effective_tokens
from pipeline.planning.memory import NODE_GPUS, Memory, Setting, estimate
from pipeline.planning.rates import careful_rate, power_lines_batch, step_law_batch
from pipeline.planning.shapes import shapes
from pipeline.pretrain.config import Optimizer, Recompute, Shape, Sharding
from pipeline.pretrain.model.flops import Flops, Parameters, flops_per_token, parameters

DECAY_FRACTION = 0.2
"""Of the steps in which WSD falls to zero; one run so gives several numbers of tokens (arXiv:2405.18392, section 4)."""
_WARMUP_STEPS, _WARMUP_FRACTION = 40, 0.01
_SAVE_EVERY_S = 1800.0
"""Between two checkpoints: what a failure may cost."""
_MICRO_BATCHES = (65_536, 32_768, 16_384, 8192, 4096, 2048, 1)
_FULL = 16_384
"""Tokens at once that still fill a GPU; for fewer, recomputing is the better way to save memory."""
_LAYOUTS: tuple[tuple[Sharding, Recompute], ...] = (
    ("replicate", "none"),
    ("replicate", "selective"),
    ("hsdp", "none"),
    ("hsdp", "selective"),
    ("fsdp", "none"),
    ("fsdp", "selective"),
    ("fsdp", "full"),
)
_WIDER = 1.25
"""Parameters over the law's best for its tokens: shapes of the table lie up to a quarter apart."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What there is. tokens: those that may be trained on, each once."""

    tokens: int
    vocab_size: int
    gpu: Gpu
    gpus: int
    hours: float
    mfu: float
    law: Law
    sequence_length: int = 2048
    optimizer: Optimizer = "adamw"
    max_epochs: float = 4.0
    shape: Shape | None = None
    """None: the best of the table."""

    @property
    def flops_per_s(self) -> float:
        """Of all GPUs, as they are really used."""
        return self.gpus * self.gpu.peak_flops * self.mfu

    @property
    def flops(self) -> float:
        """Of the whole time."""
        return self.flops_per_s * 3600 * self.hours


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How it is put on the GPUs, and what one of them then holds."""

    sharding: Sharding
    recompute: Recompute
    micro_batch_tokens: int
    memory: Memory
    fits: bool
    sharers: int
    """GPUs that share weights and moments."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One training run."""

    question: Question
    shape: Shape
    parameters: Parameters
    flops_per_token: Flops
    tokens: int
    steps: int
    batch_sequences: int
    learning_rate: float
    warmup_steps: int
    loss: float
    """Nats per token by the question's law, repeated tokens counted for less; see ``guessing``."""
    layout: Layout
    limited_by: str
    """``corpus`` or ``time``."""

    @property
    def batch_tokens(self) -> int:
        """Of all GPUs."""
        return self.batch_sequences * self.question.sequence_length

    @property
    def guessing(self) -> float:
        """Nats per token of a model that knows nothing: what a law says above it is no prediction."""
        return math.log(self.question.vocab_size)

    @property
    def epochs(self) -> float:
        """How often the corpus is read."""
        return self.tokens / self.question.tokens

    @property
    def flops(self) -> float:
        """Of the whole training, attention included."""
        return float(self.tokens * self.flops_per_token.total)

    @property
    def seconds(self) -> float:
        """Of training, without start, evaluation and checkpoints."""
        return self.flops / self.question.flops_per_s

    @property
    def tokens_per_s(self) -> float:
        """Of all GPUs."""
        return self.question.flops_per_s / self.flops_per_token.total

    @property
    def checkpoint_every(self) -> int:
        """Steps of about half an hour, or a tenth of a short run."""
        return max(1, min(round(_SAVE_EVERY_S * self.steps / self.seconds), math.ceil(self.steps / 10)))

    @property
    def checkpoint_bytes(self) -> int:
        """Of one checkpoint: weights and moments."""
        return (self.layout.memory.weights + self.layout.memory.moments) * self.layout.sharers


@dataclass(frozen=True)
class _Candidate:
    shape: Shape
    tokens: int
    loss: float
    limited_by: str


def plan(question: Question) -> Plan:
    """The run with the least loss that the time and the corpus allow.

    Every shape of the table is given the tokens that its own operations, attention included, leave time for, at most
    ``max_epochs`` of the corpus. No model is made larger than suits its tokens, so a small corpus may leave time over.

    Raises:
        UserError: the corpus, or the time, is less than one batch.
    """
    chosen = _best(question)
    counted = parameters(chosen.shape, question.vocab_size)
    sequences = _batch_sequences(question, chosen.tokens)
    steps = chosen.tokens // (sequences * question.sequence_length)
    if not steps:
        msg = (
            f"{chosen.tokens:,} tokens are less than one batch of {sequences} sequences of {question.sequence_length:,}: "
            "give more tokens, more hours, fewer GPUs or a shorter sequence length"
        )
        raise UserError(msg)
    return Plan(
        question=question,
        shape=chosen.shape,
        parameters=counted,
        flops_per_token=flops_per_token(chosen.shape, question.vocab_size, question.sequence_length),
        tokens=steps * sequences * question.sequence_length,
        steps=steps,
        batch_sequences=sequences,
        learning_rate=careful_rate(counted.without_embedding, chosen.tokens),
        warmup_steps=min(max(_WARMUP_STEPS, round(_WARMUP_FRACTION * steps)), steps // 10),
        loss=chosen.loss,
        layout=_layout(question, chosen.shape, sequences),
        limited_by=chosen.limited_by,
    )


def _best(question: Question) -> _Candidate:
    """The candidate of the least loss; the smallest where even that is larger than suits the corpus."""
    given = [question.shape] if question.shape is not None else shapes()
    everything = [_candidate(question, shape) for shape in given]
    suiting = [one for one in everything if _suits(question, one)]
    smallest = min(everything, key=lambda one: parameters(one.shape, question.vocab_size).total)
    return min(suiting or [smallest], key=lambda one: one.loss)


def _candidate(question: Question, shape: Shape) -> _Candidate:
    in_time = question.flops / flops_per_token(shape, question.vocab_size, question.sequence_length).total
    at_most = question.max_epochs * question.tokens
    tokens = int(min(in_time, at_most))
    worth = effective_tokens(max(1, tokens), question.tokens)
    loss = question.law.loss(parameters(shape, question.vocab_size).total, worth)
    return _Candidate(shape, tokens, loss, "time" if in_time < at_most else "corpus")


def _suits(question: Question, candidate: _Candidate) -> bool:
    worth = effective_tokens(max(1, candidate.tokens), question.tokens)
    largest = _WIDER * question.law.parameters_for(worth)
    return parameters(candidate.shape, question.vocab_size).total <= largest


def _batch_sequences(question: Question, tokens: int) -> int:
    """The power of two of sequences that is nearest to the law's batch, and shared evenly by the GPUs."""
    wanted = power_lines_batch(tokens) if question.optimizer == "muon" else step_law_batch(tokens)
    sequences = 2 ** max(0, round(math.log2(max(wanted, 1) / question.sequence_length)))
    return math.ceil(sequences / question.gpus) * question.gpus


def _layout(question: Question, shape: Shape, sequences: int) -> Layout:
    """The first layout that fits, the fast ones first; the most frugal where none does."""
    tried = list(_layouts(question, shape, sequences))
    return next((layout for layout in tried if layout.fits), tried[-1])


def _layouts(question: Question, shape: Shape, sequences: int) -> Iterator[Layout]:
    share = sequences // question.gpus * question.sequence_length
    sizes = list(dict.fromkeys(max(question.sequence_length, min(size, share)) for size in _MICRO_BATCHES))
    full = [size for size in sizes if size >= min(_FULL, share)]
    ways = [way for way in _LAYOUTS if question.gpus > _MORE_THAN[way[0]]]
    for micro_batches in (full, sizes):
        for (sharding, recompute), tokens in product(ways, micro_batches):
            setting = Setting(
                shape=shape,
                vocab_size=question.vocab_size,
                sequence_length=question.sequence_length,
                micro_batch_tokens=tokens,
                ranks=question.gpus,
                sharding=sharding,
                recompute=recompute,
                optimizer=question.optimizer,
                compile=True,
            )
            memory = estimate(setting)
            yield Layout(
                sharding=sharding,
                recompute=recompute,
                micro_batch_tokens=tokens,
                memory=memory,
                fits=memory.total <= question.gpu.memory_bytes,
                sharers=setting.sharers,
            )


_MORE_THAN: dict[Sharding, int] = {"replicate": 0, "fsdp": 1, "hsdp": NODE_GPUS}
"""GPUs that a layout makes sense above."""
