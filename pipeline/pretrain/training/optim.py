"""Which weights are learned by which optimizer, and one update of all of them, which may come to nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pipeline.pretrain.training.muon import Muon

if TYPE_CHECKING:
    from pipeline.pretrain.config import TrainConfig
    from pipeline.pretrain.model.transformer import Transformer

_BETAS = (0.9, 0.95)


def make_optimizers(model: Transformer, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """AdamW for all weights; or Muon for the blocks' matrices, AdamW for embedding, head and gains.

    Decay is on matrices only: gains are few, and a decayed embedding punishes rare ids for being rare. ``model`` is
    already on its ranks. Both take the same learning rate, since Muon's updates are scaled to the size of AdamW's.
    """
    decayed = dict(model.matrices())
    ours = {name for name in decayed if config.optimizer == "muon" and name.startswith("blocks.")}
    plain = [parameter for name, parameter in model.named_parameters() if name not in decayed]
    rest = [parameter for name, parameter in decayed.items() if name not in ours]
    groups = [
        {"params": part, "weight_decay": decay}
        for part, decay in ((rest, config.weight_decay), (plain, 0.0))
        if part  # a tied model under Muon leaves no matrix to AdamW
    ]
    adamw = torch.optim.AdamW(groups, lr=config.learning_rate, betas=_BETAS, fused=True)
    if not ours:
        return [adamw]
    matrices: list[nn.Parameter] = [decayed[name] for name in decayed if name in ours]
    rows = {decayed[name]: rows for name, rows in model.fused_rows() if name in ours}
    return [Muon(matrices, lr=config.learning_rate, weight_decay=config.weight_decay, rows=rows), adamw]


def update(optimizers: Sequence[torch.optim.Optimizer], rate: float, skip: Tensor) -> None:
    """One step of all optimizers.

    rate: learning rate. skip: float32 () on the weights' device; where it is 1 neither weights nor moments nor the count
    of updates change, and the host does not wait to learn it: fused AdamW, like our Muon, takes it as ``found_inf``, the
    flag by which mixed-precision scalers leave steps out.
    """
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
        vars(optimizer)["found_inf"] = skip
        try:
            optimizer.step()
        finally:
            del vars(optimizer)["found_inf"]  # a checkpoint's first, empty step must not see it
