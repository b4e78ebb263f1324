"""How many ranks a job can use, and how many of them hold one copy of the model."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.pretrain.config import Job


def ranks_of_node(world: int) -> int:
    """Ranks on this node, as the launcher says; all where it says nothing."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", world))


def ranks_per_copy(job: Job, world: int, of_node: int) -> int:
    """Ranks that hold one copy of the model between them.

    of_node: ranks of one node. ``hsdp`` without ``shard_ranks`` splits over them; where nodes have unlike numbers, over
    the most that divide both.

    Raises:
        UserError: ``shard_ranks`` does not divide the ranks.
    """
    match job.sharding:
        case "replicate":
            return 1
        case "fsdp":
            return world
        case "hsdp":
            ranks = job.shard_ranks or math.gcd(world, of_node)
            if world % ranks:
                msg = (
                    f"sharding: hsdp splits the model over shard_ranks={ranks} workers, which does not divide the "
                    f"{world} workers: set shard_ranks to a divisor of {world}, or workers to a multiple of {ranks}"
                )
                raise UserError(msg)
            return ranks


def usable_ranks(job: Job, available: int) -> int:
    """The most of the available ranks that can share the batch evenly, and the model where ``shard_ranks`` is named."""
    step = (job.shard_ranks or 1) if job.sharding == "hsdp" else 1
    counts = (count for count in range(available, 0, -1) if not job.config.batch_size % count and not count % step)
    return next(counts, 0)


def check_ranks(job: Job, world: int) -> None:
    """See before the start that a job can run with that many ranks.

    Raises:
        UserError: they cannot split the model, or options exclude each other.
    """
    ranks_per_copy(job, world, world)
    if job.compile and job.config.shape.experts is not None:
        msg = (
            "compile: a graph needs fixed sizes, and how many tokens an expert gets is known only later; leave one out"
        )
        raise UserError(msg)
