"""Put a model on its ranks: recomputed, compiled and split as the job says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

from pipeline.pretrain.sharding.mesh import make_mesh
from pipeline.pretrain.sharding.recompute import recompute_blocks
from pipeline.pretrain.sharding.replicated import ReplicatedGradients
from pipeline.pretrain.sharding.sharded import ShardedGradients

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from pipeline.pretrain.config import Job
    from pipeline.pretrain.model.transformer import Transformer
    from pipeline.pretrain.ranks import Place
    from pipeline.pretrain.sharding.gradients import Gradients

GROUP_PARAMETERS = 30_000_000
"""Blocks are gathered together until they have that many: below it a message is short, and each group costs the host
about 1 ms a pass (pytorch issue 173680)."""
COMPILER = "inductor"


def distribute(model: Transformer, job: Job, place: Place) -> Transformer:
    """Move a model to the rank's device, split as the job says; returns the same model. Every rank calls it.

    model: on the CPU, the same weights on every rank. Names of parameters stay. Under fsdp and hsdp they become DTensors
    and the model must be called as a whole by all ranks equally often, also for evaluation. Call it before the optimizer
    is made. A single rank has nobody to share with, so it is replicated.

    Raises:
        UserError: ``shard_ranks`` does not divide the ranks.
    """
    recompute_blocks(model.blocks, job.recompute)
    if job.compile and place.world == 1:
        model.loss = torch.compile(model.loss, dynamic=False, backend=COMPILER)
    elif job.compile:
        # By block: between blocks split models gather weights and replicated ones send gradients, which no graph can hold.
        for block in model.blocks:
            block.forward = _compiled_to_learn(block.forward)
    if not _is_split(job, place):
        return model.to(place.device)
    _shard(model, make_mesh(job, place.world))
    model.to(place.device)
    return model


def make_gradients(model: nn.Module, job: Job, place: Place) -> Gradients:
    """The gradients of a model that ``distribute`` has put on ranks."""
    if not _is_split(job, place):
        return ReplicatedGradients(model.parameters())
    if not isinstance(model, FSDPModule):
        msg = "the model was not split: distribute() it first"
        raise TypeError(msg)
    return ShardedGradients(model)


def _is_split(job: Job, place: Place) -> bool:
    return job.sharding != "replicate" and place.world > 1


def _compiled_to_learn(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Compiled where gradients are wanted. Evaluation runs the code as written, as it does in a replicated model.

    Its batches are as long as their longest document, and each length would be a graph of its own: minutes, until the
    compiler has come to its limit of graphs for a function (8).
    """
    compiled = torch.compile(forward, dynamic=False, backend=COMPILER)

    def run(*args: object) -> Tensor:
        return compiled(*args) if torch.is_grad_enabled() else forward(*args)

    return run


def _shard(model: Transformer, mesh: DeviceMesh) -> None:
    on_gpu = mesh.device_type == "cuda"
    # Weights are gathered as bfloat16, half the bytes; gradients are added up in float32. Inputs keep their type: rotary
    # angles in bfloat16 would be off by 1 % of a turn.
    precision = (
        MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False)
        if on_gpu
        else MixedPrecisionPolicy()
    )
    for group in groups(list(model.blocks)):
        fully_shard(group, mesh=mesh, mp_policy=precision)
    # The rest, embedding and head, is used at both ends of a pass, so it stays whole between them.
    fully_shard(model, mesh=mesh, mp_policy=precision, reshard_after_forward=False)
    for method in ("loss", "nats"):  # they do without ``forward``, hence without its hooks
        register_fsdp_forward_method(model, method)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            # Gradients are sums: torch would divide them by the number of ranks. Gloo knows no scaled sum.
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(enable=True)


def groups(blocks: Sequence[nn.Module], num_parameters: int = GROUP_PARAMETERS) -> Iterator[list[nn.Module]]:
    """Runs of blocks, each ended by the block with which it has that many parameters."""
    run: list[nn.Module] = []
    count = 0
    for block in blocks:
        run.append(block)
        count += sum(parameter.numel() for parameter in block.parameters())
        if count >= num_parameters:
            yield run
            run, count = [], 0
    if run:
        yield run
