"""A model from ``model.safetensors`` and ``config.json``: ours, or one of Hugging Face's of the same architecture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.pretrain.config import RopeScaling, Shape
from pipeline.pretrain.model.described import describe, weight_files
from pipeline.pretrain.model.layout import to_ours
from pipeline.pretrain.model.transformer import Transformer

if TYPE_CHECKING:
    from pipeline.pretrain.config import Backend


@dataclass(frozen=True)
class LoadedModel:
    """A model, ready to be asked (``eval``), and what its files say of it."""

    model: Transformer
    shape: Shape
    max_length: int
    """Positions it was trained for."""
    eos_id: int | None
    bos_id: int | None


def load_model(path: Path | str, device: torch.device | str = "cpu") -> LoadedModel:
    """From a folder that holds ``config.json`` and ``model.safetensors`` or the several files of its index.

    Raises:
        UserError: a file is missing or broken, or the architecture is another one.
    """
    return _load(weight_files(Path(path)), Path(path) / "config.json", device)


def load_files(weights: Path, config: Path, device: torch.device | str = "cpu") -> LoadedModel:
    """From a file of weights and its configuration, whatever they are called.

    Raises:
        UserError: as ``load_model``.
    """
    return _load((weights,), config, device)


def stretched(loaded: LoadedModel, method: Literal["linear", "ntk", "yarn"], factor: float) -> LoadedModel:
    """The same weights with rotary angles for ``factor`` times as many positions, see ``rope.frequencies``.

    ntk and yarn serve without further training up to factors of about 2; more, and linear, want some training, which
    ``start_from`` of a ``pretrain`` step gives.

    Raises:
        UserError: the model's angles are scaled already, or the factor is not above 1.
    """
    if loaded.shape.rope_scaling is not None or factor <= 1:
        msg = f"cannot stretch by {factor}: the factor must be above 1, and the model's positions not scaled yet"
        raise UserError(msg)
    scaling = RopeScaling(method=method, factor=factor, original_length=loaded.max_length)
    shape = loaded.shape.model_copy(update={"rope_scaling": scaling})
    max_length, weight = round(loaded.max_length * factor), loaded.model.embedding.weight
    model = unfilled(shape, len(weight), max_length=max_length)
    model.load_state_dict(loaded.model.state_dict())
    return replace(loaded, model=model.to(weight.device).eval(), shape=shape, max_length=max_length)


def unfilled(shape: Shape, rows: int, *, max_length: int, attention: Backend = "auto") -> Transformer:
    """A model whose weights are still to come, with exactly so many ids. A row too many would take part in the softmax."""
    model = Transformer(shape, rows, max_length=max_length, seed=None, attention=attention)
    if model.embedding.num_embeddings != rows:  # it pads, and these were not padded by us
        model.embedding = nn.Embedding(rows, shape.dim)
        model.head = None if shape.tied else nn.Linear(shape.dim, rows, bias=False)
    return model


def fill(model: Transformer, files: Sequence[Path]) -> None:
    """Copy weights into a model on the CPU, widened to its type. Files are mapped: beside the model stands one tensor.

    files: safetensors by Hugging Face's names.

    Raises:
        UserError: a file is missing or broken, a weight is missing or of another shape than the model's.
    """
    parameters = dict(model.named_parameters())
    with ExitStack() as stack, torch.no_grad():
        found = _Files(files, stack)
        for name, tensor in to_ours(model.shape, found):
            wanted = parameters[name]
            if tensor.shape != wanted.shape:
                sizes = f"{name} is {tuple(tensor.shape)}, it calls for {tuple(wanted.shape)}"
                msg = f"{files[0]}: weights do not fit the configuration: {sizes}"
                raise UserError(msg)
            wanted.copy_(tensor)


def _load(files: Sequence[Path], config: Path, device: torch.device | str) -> LoadedModel:
    described = describe(config)
    model = unfilled(described.shape, described.rows, max_length=described.max_length)
    fill(model, files)
    shape, max_length, _, eos_id, bos_id = described
    return LoadedModel(model.to(device).eval(), shape, max_length, eos_id, bos_id)


class _Files(Mapping[str, Tensor]):
    """Tensors of several files by name, read when they are asked for."""

    def __init__(self, files: Sequence[Path], stack: ExitStack) -> None:
        self._folder = files[0].parent if files else Path()
        self._file_of: dict[str, Any] = {}
        for path in files:
            file = _opened(path, stack)
            self._file_of |= dict.fromkeys(file.keys(), file)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._file_of:
            msg = f"{self._folder}: no weight {name!r}, which its configuration calls for: are they of one model?"
            raise UserError(msg)
        return self._file_of[name].get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._file_of)

    def __len__(self) -> int:
        return len(self._file_of)


def _opened(path: Path, stack: ExitStack) -> Any:
    if not path.is_file():
        msg = f"{path} is not there: a model is a folder with model.safetensors and config.json"
        raise UserError(msg)
    try:
        return stack.enter_context(safe_open(path, "pt"))
    except SafetensorError as error:
        msg = f"{path} cannot be read: {error}"
        raise UserError(msg) from None
