"""Muon: momentum whose every matrix is made orthogonal before it becomes an update.

torch has one too (``torch.optim.Muon``), which takes a matrix at a time. This one stacks matrices of a shape, so that a
GPU has enough to do; lets each rank orthogonalise its share of them, since otherwise every rank would do the work of
all; takes stacks of experts; and can leave an update out without asking the host. The tests hold it against torch's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate

_QUINTIC = (3.4445, -4.7750, 2.0315)
"""Steepest at zero; singular values end within about 0.7 and 1.2 (Jordan 2024, kellerjordan.github.io/posts/muon)."""
_TIMES = 5
_LEAST_NORM = 1e-7
_RMS = 0.2
"""Of AdamW's usual update, to which this one is scaled (Liu et al. 2025, arXiv:2502.16982, section 2.2)."""
CHUNK_BYTES = 2**30
"""Of matrices made orthogonal at once, counted in float32: split weights are whole meanwhile. A parameter is never cut."""


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, with decoupled weight decay.

    Parameters are matrices (m, n), or stacks of them (..., m, n) of which each counts for itself, whole or split over
    ranks; all ranks call ``step`` together. A float32 () ``found_inf`` set as attribute leaves the step out where it is 1.
    Matrices that are stored in one parameter, queries, keys and values say, are made orthogonal apart: each is a map of its
    own, and together the largest would set the size of all (Jordan 2024, kellerjordan.github.io/posts/muon, on q, k, v).
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        rows: Mapping[nn.Parameter, tuple[int, ...]] | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """rows: of the matrices that lie one below the other in a parameter; without an entry it is one matrix.

        dtype: in which matrices are made orthogonal; None: bfloat16 on a GPU, which suffices, else float32.

        Raises:
            ValueError: a parameter is no matrix, or its rows do not add up.
        """
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self._dtype = dtype
        self._rows = dict(rows or {})  # not in the groups, which a checkpoint keeps
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.ndim < 2:
                    msg = f"Muon is for matrices, not for a parameter of shape {tuple(parameter.shape)}"
                    raise ValueError(msg)
                if sum(self._rows_of(parameter)) != parameter.shape[-2]:
                    msg = (
                        f"rows {self._rows_of(parameter)} do not make up a parameter of shape {tuple(parameter.shape)}"
                    )
                    raise ValueError(msg)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyrefly: ignore[bad-override]
        """One update. closure: refused; the gradients are there already."""
        if closure is not None:
            msg = "Muon takes no closure"
            raise ValueError(msg)
        skip = getattr(self, "found_inf", None)
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault((*self._rows_of(parameter), parameter.shape[-1]), []).append(parameter)
            for alike in by_shape.values():
                for chunk in _chunks(alike):
                    self._update(chunk, group, skip)

    def _update(self, parameters: Sequence[nn.Parameter], group: dict[str, Any], skip: Tensor | None) -> None:
        """parameters: of matrices of one shape, cut into the same rows."""
        directions = self._stack(parameters, group["momentum"], skip)
        updates = _sized(directions, self._rows_of(parameters[0]), parameters[0].dtype)
        rate = group["lr"]
        updates.mul_(-rate)
        decay = rate * group["weight_decay"]
        position = 0
        for parameter in parameters:
            count = parameter.shape[:-2].numel()
            mine = _piece(updates[position : position + count].view(parameter.shape), parameter)
            position += count
            held = _local(parameter)
            changed = mine.sub_(held, alpha=decay)
            held.add_(changed if skip is None else torch.where(skip > 0, 0, changed))

    def _rows_of(self, parameter: nn.Parameter) -> tuple[int, ...]:
        return self._rows.get(parameter, (parameter.shape[-2],))

    def _stack(self, parameters: Sequence[nn.Parameter], momentum: float, skip: Tensor | None) -> Tensor:
        """Directions of matrices of one shape, (N, m, n). Each is narrowed before the next is gathered."""
        dtype = self._dtype or (torch.bfloat16 if parameters[0].is_cuda else torch.float32)
        directions = (_whole(self._direction(parameter, momentum, skip)).to(dtype) for parameter in parameters)
        return torch.cat([direction.reshape(-1, *direction.shape[-2:]) for direction in directions])

    def _direction(self, parameter: nn.Parameter, momentum: float, skip: Tensor | None) -> Tensor:
        """Where the momentum looks from its next place; like the parameter, whole or split."""
        grad = parameter.grad
        if grad is None:
            msg = "a parameter without gradient"
            raise ValueError(msg)
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(grad)
        held, change = _local(state["momentum_buffer"]), _local(grad)
        if skip is not None:
            change = torch.where(
                skip > 0, held, change
            )  # the mean of both is then the old momentum, even where grad is NaN
        held.lerp_(change, 1 - momentum)
        ahead = change.lerp(held, momentum)
        if not isinstance(parameter, DTensor):
            return ahead
        return DTensor.from_local(
            ahead,
            parameter.device_mesh,
            parameter.placements,
            run_check=False,
            shape=parameter.shape,
            stride=parameter.stride(),
        )


def _chunks(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Runs of parameters, as many as ``CHUNK_BYTES`` hold, at least one; the same on every rank."""
    run: list[nn.Parameter] = []
    num_bytes = 0
    for parameter in parameters:
        size = 4 * parameter.numel()  # of a split one too: of the whole
        if run and num_bytes + size > CHUNK_BYTES:
            yield run
            run, num_bytes = [], 0
        run.append(parameter)
        num_bytes += size
    if run:
        yield run


def orthogonal(matrices: Tensor) -> Tensor:
    """(N, m, n) matrices with the singular vectors of those given, and singular values near 1. Newton-Schulz, 5 times."""
    wide = matrices.mT if matrices.shape[-2] > matrices.shape[-1] else matrices
    found = wide / torch.linalg.matrix_norm(wide, keepdim=True).clamp(min=_LEAST_NORM)
    linear, cubic, quintic = _QUINTIC
    for _ in range(_TIMES):
        gram = found @ found.mT
        found = torch.baddbmm(found, torch.baddbmm(gram, gram, gram, beta=cubic, alpha=quintic), found, beta=linear)
    return found.mT if wide is not matrices else found


def _sized(stack: Tensor, rows: Sequence[int], dtype: torch.dtype) -> Tensor:
    """(N, m, n): of each matrix the parts of so many rows made orthogonal, each apart, as long as AdamW's updates."""
    columns = stack.shape[-1]
    parts = stack.split(list(rows), dim=1)
    made: dict[int, Iterator[Tensor]] = {}
    for height in dict.fromkeys(rows):
        alike = [part for part in parts if part.shape[1] == height]
        found = _shared(alike[0] if len(alike) == 1 else torch.cat(alike)).to(dtype)
        made[height] = iter(found.mul_(_RMS * math.sqrt(max(height, columns))).split(len(stack)))
    ordered = [next(made[height]) for height in rows]
    return ordered[0] if len(rows) == 1 else torch.cat(ordered, dim=1)


def _shared(stack: Tensor) -> Tensor:
    """``orthogonal``, each rank doing an equal part of the stack."""
    world = dist.get_world_size() if dist.is_initialized() else 1
    if world == 1:
        return orthogonal(stack)
    share = -(-len(stack) // world)
    padded = torch.cat([stack, stack.new_zeros(share * world - len(stack), *stack.shape[1:])])
    own = orthogonal(padded[dist.get_rank() * share :][:share]).contiguous()
    gathered = torch.empty_like(padded)
    dist.all_gather_into_tensor(gathered, own)
    return gathered[: len(stack)]


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _piece(whole: Tensor, like: Tensor) -> Tensor:
    """The part of a tensor, which every rank has, that this rank holds of ``like``."""
    if not isinstance(like, DTensor):
        return whole
    everywhere = [Replicate()] * like.device_mesh.ndim
    placed = DTensor.from_local(whole, like.device_mesh, everywhere, run_check=False)
    return placed.redistribute(like.device_mesh, like.placements).to_local().clone()
