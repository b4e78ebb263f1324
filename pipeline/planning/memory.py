"""Memory of one GPU in training, estimated before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass, fields

from pipeline.errors import UserError
from pipeline.planning.formula import Formula
from pipeline.pretrain.config import Job, Optimizer, Recompute, Shape, Sharding
from pipeline.pretrain.model.flops import Parameters, parameters
from pipeline.pretrain.model.vocabulary import chunk_rows, padded_vocabulary

GIB = 1 << 30
NODE_GPUS = 8
"""Taken for the ranks of a node where none are named."""
_GROUP = 30_000_000
"""Parameters that are gathered at once, if a block has not more (``sharding.distribute``); two groups are there at a time."""
_CHUNK_BYTES = 1 << 30
"""Of matrices that Muon makes orthogonal at once (``training.muon``), at least one parameter."""
_RESERVE = 1_500_000_000
"""The CUDA context, the libraries' workspaces, buckets of gradients."""
_FRAGMENTS = 1.05
"""The allocator's blocks are never all full."""

FORMULA = Formula(
    "memory of a GPU",
    "4 N weights + 4 N gradients + 8 N moments (Muon: 4 for matrices) over the ranks that share them, bfloat16 copies, "
    "activations a token (8 D + 6 HE + 6 KE + 8 F bytes a layer, none recomputed or compiled), 12 V a token of the chunk whose "
    "logits are there (at most 2^28 of them), and 8 V D for their gradient by the head",
    "counted over the model's own tensors; compiled code computes the gate's SiLU again; "
    "Muon works in 3 x at most 1 GiB (at least a matrix)",
    (),
    "D width, HE and KE widths of all query and of all key heads, F feed-forward, V padded ids; experts: as if F were theirs",
)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What decides how much memory a rank needs."""

    shape: Shape
    vocab_size: int
    sequence_length: int
    micro_batch_tokens: int
    ranks: int = 1
    sharding: Sharding = "replicate"
    shard_ranks: int | None = None
    recompute: Recompute = "none"
    optimizer: Optimizer = "adamw"
    compile: bool = False

    @property
    def sharers(self) -> int:
        """Ranks over which weights, gradients and moments are split."""
        match self.sharding:
            case "replicate":
                return 1
            case "fsdp":
                return self.ranks
            case "hsdp":
                return self.shard_ranks or min(self.ranks, NODE_GPUS)

    @property
    def tokens(self) -> int:
        """Tokens that go through the model at once: whole sequences."""
        return max(1, self.micro_batch_tokens // self.sequence_length) * self.sequence_length


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU at the fullest moment of a step."""

    weights: int
    gradients: int
    moments: int
    copies: int
    """bfloat16 weights: of all matrices where every rank has them, else of two groups and of what is at both ends."""
    activations: int
    logits: int
    buffers: int
    """Of Muon: matrices it has gathered, the stack it makes of them, products and updates."""
    reserve: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(getattr(self, one.name) for one in fields(self))


def estimate(setting: Setting) -> Memory:
    """Bytes of each kind. Mixed precision: float32 weights and sums, bfloat16 products."""
    counted = parameters(setting.shape, setting.vocab_size)
    sharers = setting.sharers
    kept = {
        "weights": 4 * counted.total // sharers,
        "gradients": 4 * counted.total // sharers,
        "moments": _moments(setting, counted) // sharers,
        "copies": _copies(setting, counted),
        "activations": setting.tokens * _activations(setting),
        "logits": _logits(setting),
        "buffers": _buffers(setting, counted),
    }
    return Memory(**kept, reserve=_RESERVE + round((_FRAGMENTS - 1) * sum(kept.values())))


def layer_bytes(shape: Shape) -> int:
    """Bytes that one layer keeps for the backward pass, for each token, run as it is written on a GPU.

    All bfloat16. Of the width: the inputs of the two norms and of the products behind them, and the mixture. Queries, keys
    and values before, queries and keys after their rotation. Gate and up, the gate's SiLU, the product of the two.
    """
    gated = 4 if shape.feed_forward == "swiglu" else 2
    return 8 * shape.dim + _mixed(shape) + _projected(shape) + 2 * _rotated(shape) + 2 * gated * _ffn_width(shape)


def _mixed(shape: Shape) -> int:
    return 2 * shape.heads * shape.head_dim


def _projected(shape: Shape) -> int:
    return 2 * (shape.heads + 2 * shape.kv_heads) * shape.head_dim


def _rotated(shape: Shape) -> int:
    return (shape.heads + shape.kv_heads) * shape.head_dim


def _ffn_width(shape: Shape) -> int:
    """Of what one token goes through."""
    return shape.ffn_dim if shape.experts is None else shape.experts.per_token * shape.experts.ffn_dim


def _activations(setting: Setting) -> int:
    """Bytes a token, and those of the layer whose gradients are being computed."""
    shape, whole = setting.shape, layer_bytes(setting.shape)
    inside = 2 * (2 if shape.feed_forward == "swiglu" else 1) * _ffn_width(shape)
    match setting.recompute:
        case "none":
            again = 2 * _ffn_width(shape) if setting.compile else 0
            return shape.layers * (whole - again) + whole
        case "selective":  # the block's input, and the outputs of its products and of attention
            return shape.layers * (6 * shape.dim + _projected(shape) + _mixed(shape) + inside) + 2 * whole
        case "full":
            return shape.layers * 2 * shape.dim + 2 * whole


def _moments(setting: Setting, counted: Parameters) -> int:
    """AdamW has two float32 moments; Muon has one, for the matrices of the blocks."""
    if setting.optimizer == "adamw":
        return 8 * counted.total
    return 4 * counted.without_embedding + 8 * counted.embedding


def _logits(setting: Setting) -> int:
    """Of a chunk: bfloat16, two of float32, their gradient in bfloat16; and that of the head, in float32, when it is scaled."""
    rows = padded_vocabulary(setting.vocab_size)
    tokens = min(setting.tokens, chunk_rows(rows, "cuda"))
    return 12 * tokens * rows + 8 * rows * setting.shape.dim


def _buffers(setting: Setting, counted: Parameters) -> int:
    """Three times the chunk: on a GPU a stack, products and results in bfloat16, updates in float32."""
    if setting.optimizer == "adamw":
        return 0
    shape = setting.shape
    inward = 2 if shape.feed_forward == "swiglu" else 1  # gate and up are one parameter
    width = shape.ffn_dim if shape.experts is None else shape.experts.count * shape.experts.ffn_dim
    largest = 4 * shape.dim * max(inward * width, shape.heads * shape.head_dim)
    return 3 * min(4 * counted.without_embedding, max(_CHUNK_BYTES, largest))


def _copies(setting: Setting, counted: Parameters) -> int:
    if setting.sharers == 1:
        return 2 * (counted.without_embedding + counted.embedding // (1 if setting.shape.tied else 2))
    block = counted.without_embedding // setting.shape.layers
    # Two groups of weights, one of gradients on its way into pieces: bfloat16, and float32 for the sum.
    return min(counted.without_embedding, max(_GROUP, block)) * (2 * 2 + 6) + 2 * counted.embedding


def setting_of(job: Job, world: int) -> Setting:
    """What a job asks of each of its ranks."""
    config = job.config
    share = max(1, config.batch_size // world) * config.sequence_length
    return Setting(
        shape=config.shape,
        vocab_size=job.data.vocab_size,
        sequence_length=config.sequence_length,
        micro_batch_tokens=min(job.micro_batch_tokens, share),
        ranks=world,
        sharding=job.sharding,
        shard_ranks=job.shard_ranks,
        recompute=job.recompute,
        optimizer=config.optimizer,
        compile=job.compile,
    )


def check_memory(job: Job, world: int, free_bytes: int) -> Memory:
    """The estimate, if it fits.

    free_bytes: of the rank's GPU, before the model is made.

    Raises:
        UserError: it does not; the message says which part is how large, and what would help.
    """
    setting = setting_of(job, world)
    found = estimate(setting)
    if found.total <= free_bytes:
        return found
    parts = ", ".join(f"{one.name} {getattr(found, one.name) / GIB:.1f}" for one in fields(found))
    msg = (
        f"a GPU would need about {found.total / GIB:.1f} GiB and has {free_bytes / GIB:.1f} free ({parts}): "
        f"{_remedy(setting, found)}"
    )
    raise UserError(msg)


def _remedy(setting: Setting, found: Memory) -> str:
    remedies = []
    if setting.micro_batch_tokens > setting.sequence_length:
        remedies.append(f"micro_batch_tokens below {setting.micro_batch_tokens:,}")
    if setting.recompute != "full":
        remedies.append(f"recompute: {'selective' if setting.recompute == 'none' else 'full'}")
    state = found.weights + found.gradients + found.moments
    if setting.sharding == "replicate" and state > found.activations:
        remedies.insert(0, "sharding: fsdp over more workers" if setting.ranks == 1 else "sharding: fsdp")
    elif setting.sharding != "replicate" and state > found.activations:
        remedies.insert(0, "more workers to share it")
    return "try " + ", or ".join(remedies or ["a shorter sequence_length or a smaller shape"])
