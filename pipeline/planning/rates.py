"""Batch and peak learning rate by published power laws. All batches in tokens."""

from __future__ import annotations

from pipeline.planning.formula import Formula, Range

STEP_LAW = Formula(
    "Step Law",
    "rate = 1.79 N^-0.713 D^0.307; batch = 0.58 D^0.571 tokens",
    "Li et al. 2025, arXiv:2503.04715: 3,700 runs of AdamW",
    (Range("N", 6e7, 1.1e9, "parameters without embeddings"), Range("D", 2e9, 1e11, "tokens")),
)
DEEPSEEK = Formula(
    "DeepSeek",
    "rate = 0.3118 C^-0.1250; batch = 0.2920 C^0.3271 tokens; C = M D, M operations a token without the output head",
    "Bi et al. 2024, arXiv:2401.02954, section 3.1",
    (Range("C", 1e17, 2e19, "operations"),),
)
POWER_LINES = Formula(
    "power lines",
    "batch = 2^19 (D / 1.16e9)^0.383 tokens",
    "exponent: Bergsma et al. 2025, arXiv:2505.13738; anchor: nanochat's 12 layers, 10.5 tokens a matrix parameter",
    (),
    "the anchor is of one recipe, trained with Muon",
)
_FEWEST = {one.quantity: one.low for one in STEP_LAW.domain}
_ANCHOR_BATCH, _ANCHOR_TOKENS = 2**19, 1.16e9


def step_law_rate(params: float, tokens: float) -> float:
    """Peak learning rate of AdamW. params: without embeddings."""
    return float(1.79 * params**-0.713 * tokens**0.307)


def careful_rate(params: float, tokens: float) -> float:
    """The same, of the smallest model and the fewest tokens it was fitted on where there are less.

    Carried on to 0.4M parameters and 5M tokens the law says 2e-2; the ``tiny`` preset's rate, of that size, is 6e-3.
    """
    return step_law_rate(max(params, _FEWEST["N"]), max(tokens, _FEWEST["D"]))


def step_law_batch(tokens: float) -> float:
    """Tokens of a batch."""
    return float(0.58 * tokens**0.571)


def deepseek_rate(flops: float) -> float:
    """Peak learning rate of AdamW. flops: of the whole training, without the output head."""
    return float(0.3118 * flops**-0.1250)


def deepseek_batch(flops: float) -> float:
    """Tokens of a batch. flops: as for the rate."""
    return float(0.2920 * flops**0.3271)


def power_lines_batch(tokens: float) -> float:
    """Tokens of a batch."""
    return float(_ANCHOR_BATCH * (tokens / _ANCHOR_TOKENS) ** 0.383)
