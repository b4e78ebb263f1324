"""The baseline every model must beat: how often each id stands in the training stream, whatever comes before it."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.pretrain.data.corpus import Corpus
from pipeline.pretrain.ranks import Place, add_up
from pipeline.pretrain.training.windows import Nats


def unigram_nats(corpus: Corpus, place: Place) -> Nats:
    """-log p of each target, p(id) = (count + 1) / (tokens + vocabulary): add-one smoothing, EOS counted as an id."""
    counts = torch.from_numpy(corpus.training_counts(part=place.rank, parts=place.world)).to(place.device)
    counts = add_up(counts).to(torch.float64) + 1
    table = -(counts / counts.sum()).log()

    def nats(_inputs: Tensor, targets: Tensor) -> Tensor:
        return table[targets]

    return nats
