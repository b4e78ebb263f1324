"""Which ranks hold the pieces of one copy of the model, and which hold the same piece."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from pipeline.pretrain.ranks import from_first
from pipeline.pretrain.sharding.world import ranks_of_node, ranks_per_copy

if TYPE_CHECKING:
    from pipeline.pretrain.config import Job


def make_mesh(job: Job, world: int) -> DeviceMesh:
    """(copies, ranks of a copy) for ``hsdp``, else (ranks,). Every rank calls it.

    Raises:
        UserError: see ``ranks_per_copy``.
    """
    ranks = ranks_per_copy(job, world, from_first(ranks_of_node(world)))  # nodes may be unlike, ranks must agree
    if job.sharding == "hsdp":
        return init_device_mesh(job.device, (world // ranks, ranks), mesh_dim_names=("replicate", "shard"))
    return init_device_mesh(job.device, (world,), mesh_dim_names=("shard",))
