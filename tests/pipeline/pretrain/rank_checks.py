"""What two ranks of gloo find, each as JSON: forked from one process, since torch takes seconds to import.

python -m tests.pipeline.pretrain.rank_checks FOLDER
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from pipeline.errors import RunFailedError
from pipeline.pretrain.config import Job, Shape, TokenData, TrainConfig
from pipeline.pretrain.model.transformer import Transformer
from pipeline.pretrain.ranks import Agreement, current_place
from pipeline.pretrain.sharding.distribute import distribute, make_gradients
from pipeline.pretrain.sharding.replicated import ReplicatedGradients
from pipeline.pretrain.training.checkpoint import Checkpoints

SMALL = Shape(layers=2, dim=64, heads=2, kv_heads=1, ffn_dim=64)


def buckets(rank: int) -> dict[str, Any]:
    """A bucket for each of three parameters; rank 0 uses two of them, rank 1 all, and in two parts."""
    weights = [nn.Parameter(torch.zeros(size)) for size in (2, 1, 3)]
    gradients = ReplicatedGradients(weights, bucket_bytes=1)
    found: dict[str, Any] = {}
    for step in (1, 2):  # the second must forget the first
        gradients.clear()
        for last in (False, True):
            with gradients.part(last=last):
                (step * weights[0].sum() + 10 * weights[2].sum() + (100 * weights[1].sum() if rank else 0)).backward()
        sums = gradients.add_up(torch.tensor([1.0, float(rank)]))
        found[f"step {step}"] = [weight.grad.tolist() for weight in weights]
    gradients.scale_(torch.tensor(0.5))
    return {**found, "sums": sums.tolist(), "norm": float(gradients.norm())}


def agreement(rank: int) -> list[bool]:
    """Rank 1 says yes the second time."""
    asked = Agreement()
    return [asked.any(rank == 1 and time == 2) for time in range(1, 5)]


def meeting(rank: int) -> list[bool | None]:
    """Both come at one step; rank 1 is a step ahead, with a vote more; rank 1 does not come."""
    together, apart, alone = Agreement(), Agreement(), Agreement()
    found: list[bool | None] = [together.all_at(5)]
    for _ in range(1 + rank):
        apart.any(mine=False)
    found.append(apart.all_at(5 + rank))
    dist.barrier()
    found.append(None if rank else alone.all_at(5, patience_s=0.5))
    dist.barrier()
    return found


def full_disk(rank: int, folder: Path) -> dict[str, Any]:
    """Rank 1 cannot write its part of the second checkpoint; the third goes well again."""
    data = TokenData(shards=(), dtype="uint16", vocab_size=48, eos_id=0)
    config = TrainConfig(shape=SMALL, learning_rate=1e-2, sequence_length=8)
    job = Job(config=config, data=data, home=str(folder), sharding="fsdp")
    place = current_place("cpu")
    model = distribute(Transformer(SMALL, 48, max_length=8, seed=0), job, place)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    checkpoints = Checkpoints(folder, config={}, keep=2)
    found: dict[str, Any] = {}
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    for step in (1, 2, 3):
        gradients = make_gradients(model, job, place)
        gradients.clear()
        with gradients.part(last=True):
            model(torch.arange(8)[None]).square().mean().backward()
        optimizer.step()
        if rank == 1 and step == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limit[1]))
        checkpoints.save(model, optimizer, step)
        try:
            checkpoints.wait()
        except RunFailedError as error:
            found[f"step {step}"] = str(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        dist.barrier()
        found[f"left {step}"] = sorted(path.name for path in folder.iterdir())
        dist.barrier()
    checkpoints.close()
    return found


def main(folder: Path) -> int:
    torch.set_num_threads(1)
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # imports the compiler, once
    children = []
    for rank in range(2):
        child = os.fork()
        if not child:
            store = dist.FileStore(str(folder / "store"), 2)
            dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
            found = {
                "buckets": buckets(rank),
                "agreement": agreement(rank),
                "meeting": meeting(rank),
                "full_disk": full_disk(rank, folder / "checkpoints"),
            }
            (folder / f"{rank}.json").write_text(json.dumps(found))
            dist.destroy_process_group()
            os._exit(0)
        children.append(child)
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
