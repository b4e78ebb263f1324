"""What is trained, on what, and how it is run: plain values, free of torch, that travel to every rank as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from pipeline.pretrain.data.mixture import Mixture
from pipeline.value import Value

Schedule = Literal["cosine", "wsd"]
Preset = Literal["tiny", "124m", "350m", "1.3b"]
Device = Literal["cpu", "cuda"]
FeedForward = Literal["swiglu", "relu2"]
Optimizer = Literal["adamw", "muon"]
Sharding = Literal["replicate", "fsdp", "hsdp"]
Recompute = Literal["none", "selective", "full"]
Backend = Literal["auto", "sdpa", "cudnn", "flash", "varlen"]

MICRO_BATCH_TOKENS: Mapping[Device, int] = MappingProxyType({"cpu": 512, "cuda": 32_768})
"""At 512 tokens the logits over 8,192 ids take 16 MB: 10 to 15 % faster on a core than 2,048. A GPU wants to be filled."""


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


class RopeScaling(Value):
    """Longer contexts than a model was trained for, by other rotary angles."""

    method: Literal["linear", "ntk", "yarn"]
    """Position interpolation (Chen et al. 2023, arXiv:2306.15595), NTK-aware base, YaRN (Peng et al. 2023, 2309.00071)."""
    factor: float = Field(gt=1)
    """New context over the old one."""
    original_length: int = Field(gt=0)
    """Positions the model was trained for."""


class Experts(Value):
    """A feed-forward of experts, of which a router picks some for each token."""

    count: int = Field(gt=1)
    per_token: int = Field(default=2, gt=0)
    ffn_dim: int = Field(gt=0)
    """Of each expert."""
    balance: float = Field(default=0.01, ge=0)
    """Weight of the load-balance loss (Fedus et al. 2021, arXiv:2101.03961, eq. 4)."""

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.per_token > self.count:
            msg = f"{self.per_token} experts a token, but there are {self.count}"
            raise ValueError(msg)
        return self


class Objective(Value):
    """What is predicted from what, where it is not the next token from all before it.

    prefix: the tokens before a random place see each other both ways and are not predicted. span: T5's span corruption in
    a decoder, the corrupted text as the prefix. mlm: BERT's, no causal mask.
    """

    kind: Literal["prefix", "span", "mlm"]
    rate: float = Field(default=0.15, gt=0, lt=1)
    """Share of the tokens that are hidden (span, mlm)."""
    mean_span: float = Field(default=3.0, ge=1)
    """Mean length of a hidden span (span)."""
    mask_ids: Annotated[tuple[int, ...], BeforeValidator(_as_tuple)] = ()
    """Ids that stand for what is hidden: one for mlm, one for each span of a sequence for span."""


class Shape(Value):
    """Widths and depths of a decoder-only transformer: RMSNorm, rotary positions, grouped queries, SwiGLU."""

    layers: int = Field(gt=0)
    dim: int = Field(gt=0)
    heads: int = Field(gt=0)
    kv_heads: int = Field(gt=0)
    ffn_dim: int = Field(gt=0)
    tied: bool = True
    """One matrix serves as embedding and as output head."""
    qk_norm: bool = False
    """RMSNorm with a gain on each query and key head, as in Qwen3."""
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    feed_forward: FeedForward = "swiglu"
    rope_scaling: RopeScaling | None = None
    experts: Experts | None = None
    """None: one feed-forward for all tokens."""
    head_width: int | None = Field(default=None, gt=0)
    """Of one head; None: dim / heads."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Peak learning rate of AdamW that suits this shape, unless a run names its own."""

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.head_width or self.dim // self.heads

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        divided = self.head_width is not None or self.dim % self.heads == 0
        if not divided or self.head_dim % 2 or self.heads % self.kv_heads:
            msg = (
                f"dim {self.dim} must be heads {self.heads} times an even head width, and heads a multiple of "
                f"kv_heads {self.kv_heads}"
            )
            raise ValueError(msg)
        return self


PRESETS = MappingProxyType(
    {
        # Sized for 200 steps of 2,048 tokens in about a minute on two slow cores.
        "tiny": Shape(layers=2, dim=128, heads=4, kv_heads=2, ffn_dim=384, learning_rate=6e-3),
        # Head width 128, every width a multiple of 128: what tensor cores like best.
        "124m": Shape(layers=12, dim=768, heads=6, kv_heads=6, ffn_dim=2048, learning_rate=1.5e-3),
        "350m": Shape(layers=24, dim=1024, heads=8, kv_heads=8, ffn_dim=2816, learning_rate=1e-3),
        "1.3b": Shape(layers=24, dim=2048, heads=16, kv_heads=8, ffn_dim=5632, tied=False, learning_rate=6e-4),
    }
)
"""Shapes by name. Parameters, without and with the embeddings of 32,768 ids, are in the tests."""


class TokenFiles(Value):
    """One token shard: the payload and the table of its documents."""

    tokens: str
    """Little-endian ids, documents back to back, one EOS after each."""
    documents: str
    """Parquet: id, num_tokens (EOS included), num_bytes (UTF-8 bytes of the text), start (offset in tokens)."""


class PackedFiles(Value):
    """One shard of sequences that ``pack`` made; its pieces point into the token shards by their numbers."""

    pieces: str
    rows: str
    rewritten: str | None = None
    """Payload of documents that fill-in-the-middle rewrote."""


class Streaming(Value):
    """Training that begins before the token shards are all there; see ``streamed``."""

    window: int = Field(default=8, gt=0)
    """Neighbouring token shards whose sequences are permuted together. It begins when the first ``window`` are committed."""


class Arriving(Value):
    """Token shards that are told of one by one; see ``arrivals``."""

    planned: int = Field(ge=0)
    """Shards that there will be."""
    file: str


class TokenData(Value):
    """Token shards in plan order, all made by one tokenizer, and what was packed from them."""

    shards: Annotated[tuple[TokenFiles, ...], BeforeValidator(_as_tuple)]
    packed: Annotated[tuple[PackedFiles, ...], BeforeValidator(_as_tuple)] = ()
    """Empty: windows are cut from the stream of documents."""
    packed_length: int = 0
    """``sequence_length`` of the packed sequences."""
    arriving: Arriving | None = None
    """Where the other shards are told of; ``shards`` are then those of the first window."""
    dtype: Literal["uint16", "uint32"]
    vocab_size: int = Field(gt=0)
    eos_id: int = Field(ge=0)
    tokenizer_sha256: str = ""


class Start(Value):
    """A trained model whose weights come before the first step; optimizer, schedule and data order begin anew."""

    model: str
    """As it was named."""
    sha256: str
    """Of the weights."""
    rows: int = Field(gt=0)
    """Of its embedding, which need not be padded as ours are."""
    positions: int = Field(default=1, gt=0)
    """That it has; training on shorter sequences does not take them away."""


class TrainConfig(Value):
    """Everything that decides what is learned. Where and with how many ranks is in ``Job`` and does not."""

    shape: Shape
    sequence_length: int = Field(default=256, gt=0)
    steps: int = Field(default=200, gt=0)
    batch_size: int = Field(default=8, gt=0)
    """Sequences per step over all ranks."""
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(default=20, ge=0)
    schedule: Schedule = "cosine"
    weight_decay: float = Field(default=0.1, ge=0)
    optimizer: Optimizer = "adamw"
    """Muon: for the matrices of the blocks, AdamW for the rest."""
    decay_fraction: float = Field(default=0.2, gt=0, le=1)
    """Of the steps, in which ``wsd`` falls to zero."""
    clip: float = Field(default=1.0, gt=0)
    """Longest gradient; a longer one is scaled down to it."""
    skip_sigmas: float | None = Field(default=None, gt=0)
    """A step whose loss or gradient lies more than that many standard deviations above the mean of the last 128 leaves the
    weights alone; None: none does."""
    z_loss: float = Field(default=0.0, ge=0)
    """Weight of (log of the softmax's sum)**2 (PaLM, arXiv:2204.02311, section 5)."""
    document_mask: bool = False
    """A token sees its own document only."""
    objective: Objective | None = None
    """None: the next token from all before it."""
    skipped_steps: Annotated[tuple[int, ...], BeforeValidator(_as_tuple)] = ()
    """Steps whose batch is left out, after a loss that was no number."""
    held_out_fraction: float = Field(default=0.05, gt=0, le=0.5)
    evaluate_every: int = Field(default=100, gt=0)
    """Steps between evaluations; the last step is always evaluated."""
    max_evaluation_documents: int = Field(default=2000, gt=0)
    """Of the held-out documents, those first by hash are scored, so that an evaluation of a huge corpus ends."""
    seed: int = 0
    start: Start | None = None
    """None: weights drawn by the seed."""
    mixture: Mixture | None = None
    """What is drawn from which documents; None: each once an epoch."""
    stream_window: int | None = Field(default=None, gt=0)
    """``Streaming.window``; None: sequences of all shards are permuted together."""


class Job(Value):
    """A training run as every rank gets it."""

    config: TrainConfig
    data: TokenData
    home: str
    """Folder that outlives drivers: ``checkpoints/`` and ``metrics.jsonl``. On several nodes it must be shared."""
    device: Device = "cpu"
    checkpoint_every: int = Field(default=100, gt=0)
    """Steps between checkpoints; the last step always leaves one."""
    keep_checkpoints: int = Field(default=2, gt=0)
    micro_batch_tokens: int = Field(default=MICRO_BATCH_TOKENS["cpu"], gt=0)
    """Tokens a rank takes through the model at once; a batch of more is done in turns, gradients added."""
    keep_every: int | None = Field(default=None, gt=0)
    """Checkpoints of steps that are multiples of it stay for good, beside the newest ``keep_checkpoints``."""
    sharding: Sharding = "replicate"
    """replicate: every rank has the whole model. fsdp: weights, gradients and moments are split over all ranks. hsdp: over
    the ranks of a group, and replicated over the groups."""
    shard_ranks: int | None = Field(default=None, gt=0)
    """Ranks of a group of ``hsdp``; None: those of one node."""
    compile: bool = False
    recompute: Recompute = "none"
    """Activations that are computed again in the backward pass, to save memory."""
    attention: Backend = "auto"
    log_every: int = Field(default=1, gt=0)
    """Steps whose metrics are brought over from the device at once."""
    tensorboard: bool = False
    start_weights: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = ()
    """Files of the weights that ``TrainConfig.start`` tells of."""
    began: float | None = None
    """Unix time when the command began, from which the seconds to the first step count; None: when the rank did."""


def recorded_objective(facts: Mapping[str, Any], step: str) -> str | None:
    """Kind of objective that a step trained with, from what ``run.json`` records; None: the next token."""
    verb = facts["recipe"].get(step, {}).get("Pretrain", {})
    return (verb.get("objective") or {}).get(Objective.__name__, {}).get("kind")
