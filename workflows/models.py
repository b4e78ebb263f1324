"""Trained models by name: a folder of files, or what a step of a run made, with the tokenizer they were trained with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from operators.tokenize.decoding import Decoder
from operators.tokenize.encoder import Encoder
from operators.tokenize.foreign.files import tokenizer_json
from operators.tokenize.trained_with import tokenizer_of
from pipeline.dataset import Dataset
from pipeline.errors import UserError
from pipeline.pretrain.config import recorded_objective
from pipeline.pretrain.trained import trained_step

if TYPE_CHECKING:
    from pipeline.generation.texts import Marks
    from pipeline.pretrain.model.load import LoadedModel

_FOLDER_FILES = ("config.json", "tokenizer.json")


@dataclass(frozen=True)
class Found:
    """A model's files and its tokenizer's."""

    name: str
    """As it was asked for."""
    weights: Path
    """The file, or the folder that holds it."""
    config: Path
    tokenizer: Path | None
    step: Dataset | None = None
    """What trained it; None: it comes from a folder."""

    def load(self, device: str = "cpu") -> LoadedModel:
        """The model itself.

        Raises:
            UserError: its files are broken, or it is of another architecture.
        """
        from pipeline.pretrain.model.load import load_files, load_model  # torch takes 2 s

        if self.weights.is_dir():
            return load_model(self.weights, device)
        return load_files(self.weights, self.config, device)

    @property
    def objective(self) -> str | None:
        """Kind of objective it was trained with; None: the next token, or nothing is known."""
        if self.step is None:
            return None
        return recorded_objective(self.step.run.facts, self.step.name)

    @cached_property
    def encoder(self) -> Encoder:
        """Its tokenizer, special tokens in a text being letters like others.

        Raises:
            UserError: there is none, or the file is not one.
        """
        return Encoder.load(self._tokenizer, "tokenizers")

    @cached_property
    def decoder(self) -> Decoder:
        """Its tokenizer the other way.

        Raises:
            UserError: as ``encoder``.
        """
        try:
            return Decoder(tokenizer_json(self._tokenizer))
        except (OSError, ValueError) as error:
            msg = f"cannot read a tokenizer from {self._tokenizer}: {error}"
            raise UserError(msg) from error

    def marks(self, model: LoadedModel, *, begin: bool = True) -> Marks:
        """What the tokenizer says about ids. begin: a text has the model's mark before it, if it knows one.

        Raises:
            UserError: the model has fewer ids than the tokenizer, or does not know how a text ends.
        """
        from pipeline.generation.texts import Marks

        num_ids = model.model.embedding.num_embeddings
        if self.encoder.vocab_size > num_ids:
            msg = (
                f"{self.name} has {num_ids:,} ids, its tokenizer {self._tokenizer} {self.encoder.vocab_size:,}; give the one "
                "it was trained with by --tokenizer"
            )
            raise UserError(msg)
        if model.eos_id is None:
            msg = f"{self.config} names no eos_token_id, the mark that ends a text; add it there"
            raise UserError(msg)
        return Marks(model.eos_id, model.bos_id if begin else None, self.encoder.vocab_size)

    @property
    def _tokenizer(self) -> Path:
        if self.tokenizer is None:
            msg = f"no tokenizer.json beside {self.config}; give one by --tokenizer"
            raise UserError(msg)
        return self.tokenizer


def find_model(named: str, tokenizer: Path | None = None) -> Found:
    """A model by name: a folder with ``model.safetensors`` and ``config.json``, RUN, or RUN:STEP.

    RUN alone will do where it trained one model. tokenizer: in place of the one in the folder or the one the run's tokens
    were made with.

    Raises:
        UserError: no such folder, run or step, no model in it yet, or its tokenizer is no longer the same.
    """
    folder = Path(named)
    config, beside = (folder / name for name in _FOLDER_FILES)
    if config.is_file():
        return Found(named, folder, config, tokenizer or (beside if beside.is_file() else None))
    dataset = trained_step(named)
    (shard,) = dataset.shards()
    path = tokenizer if tokenizer is not None else tokenizer_of(dataset)
    return Found(named, shard.file(".safetensors"), shard.file(".config.json"), path, dataset)
