"""Shapes to choose from: widths that matrix units like, depths in proportion."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.pretrain.config import Shape

HEAD_DIM = 128
WIDTH_PER_LAYER = (48, 64, 85)
"""GPT-3's models have 43 to 128. It matters little: 6 layers of width 4,288 came within 3 % of 48 of width 1,600 (Kaplan et
al. 2020, arXiv:2001.08361, section 3.1)."""
_WIDEST = 16_384
_TIED_BELOW = 2048
"""Width from which the output head is a matrix of its own: below, a second one would be a large part of the parameters."""
_MANY_HEADS = 16
"""From here on, several query heads share a key and value head; widths are multiples of four, then eight heads."""


def shapes() -> Iterator[Shape]:
    """From about 1M to 100B parameters, rising in width: head width 128, SwiGLU of 8/3 the width, as the presets."""
    for dim in range(HEAD_DIM, _WIDEST + 1, HEAD_DIM):
        heads = dim // HEAD_DIM
        if heads > _MANY_HEADS and heads % (4 if heads < 2 * _MANY_HEADS else 8):
            continue
        for layers in sorted({max(2, round(dim / ratio)) for ratio in WIDTH_PER_LAYER}):
            yield Shape(
                layers=layers,
                dim=dim,
                heads=heads,
                kv_heads=heads if heads < _MANY_HEADS else 8 if heads % 8 == 0 else 4,
                ffn_dim=-(-8 * dim // (3 * HEAD_DIM)) * HEAD_DIM,
                tied=dim < _TIED_BELOW,
            )
