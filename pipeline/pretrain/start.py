"""The model that a training begins with, in place of weights drawn by its seed: named, found, and held against the step."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, model_validator

from pipeline.errors import UserError
from pipeline.fingerprint import file_sha256
from pipeline.named_files import check_sha256, file_state
from pipeline.pretrain.config import Start
from pipeline.pretrain.model.described import Described, describe, weight_files
from pipeline.pretrain.trained import tokenizer_hash, trained_step
from pipeline.stores import is_uri, local
from pipeline.value import Artifact, Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.pretrain.config import RopeScaling, Shape, TokenData

_CONFIG, _TOKENIZER = "config.json", "tokenizer.json"


def _as_artifact(value: object) -> object:
    return Artifact(step=value) if isinstance(value, str) else value


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


class StartFrom(Value):
    """A trained model: ``{step: name}`` of this workflow, or by name RUN, RUN:STEP or a folder in Hugging Face's layout.

    What it is called is no part of what is made from it; the hashes of its files are. The other fields than the first two
    are filled in by the workflow.
    """

    runtime: ClassVar[tuple[str, ...]] = ("model", "tokenizer_sha256")

    model: str | None = None
    step: Annotated[Artifact | None, BeforeValidator(_as_artifact)] = None
    weights: Annotated[tuple[Artifact, ...], BeforeValidator(_as_tuple)] = ()
    config: Artifact | None = None
    tokenizer_sha256: str | None = None
    """Of the tokens it was trained on; None: not known."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.model is None) == (self.step is None):
            msg = (
                "start_from is RUN, RUN:STEP or a folder, or {step: name} for a model of this recipe; give one of them"
            )
            raise ValueError(msg)
        return self

    def located(self, folder: Path) -> StartFrom:
        """The same with an absolute path. folder: what a relative one starts from."""
        if self.model is None or is_uri(self.model):
            return self
        place = os.path.abspath(folder / local(self.model).expanduser())  # noqa: PTH100  # links stay as they are named
        return self.model_copy(update={"model": place})

    def found(self) -> StartFrom:
        """The same with its files; that of a step comes once the step is done.

        Raises:
            UserError: no such folder, run or step, no model in it yet, or files of it are missing.
        """
        if self.model is None or self.weights:
            return self
        folder = Path(self.model)
        found = _in_folder(folder) if (folder / _CONFIG).is_file() else _in_run(self.model)
        return self.model_copy(update=found)

    @property
    def files(self) -> tuple[Artifact, ...]:
        """Of the weights."""
        return self.weights if self.step is None else (self.step,)

    @property
    def name(self) -> str:
        """As a person knows it."""
        return self.model or f"step {self.step.step if self.step else None}"

    @property
    def sha256(self) -> str:
        """Of the weights: the file's, or that of the hashes of several."""
        known = [one.sha256 or file_sha256(one.file or "") for one in self.files]
        return known[0] if len(known) == 1 else hashlib.sha256("".join(known).encode()).hexdigest()

    def described(self) -> Described:
        """What its configuration says.

        Raises:
            UserError: it cannot be read, or is of a model that cannot be loaded.
        """
        return describe(Path(self.config.file or "") if self.config else self._beside(".config.json"))

    def check_files(self) -> None:
        """See that weights and configuration are those that the run was planned with. Reads them whole.

        Raises:
            UserError: one was changed since.
        """
        for one in (*self.files, *([self.config] if self.config else [])):
            if one.sha256 is not None:
                check_sha256(file_state(one), file_sha256(one.file or ""))

    def check_tokens(self, data: TokenData, rows: int) -> None:
        """See that the ids of the tokens are the model's. rows: of its embedding.

        Raises:
            UserError: they were made by another tokenizer, or are more.
        """
        if rows < data.vocab_size:
            msg = (
                f"start_from: {self.name} has {rows:,} ids, the tokens {data.vocab_size:,}: tokenize with the tokenizer that "
                "the model was trained with"
            )
            raise UserError(msg)
        theirs = self.tokenizer_sha256 if self.step is None else self._summary().get("tokenizer_sha256")
        if theirs and data.tokenizer_sha256 and theirs != data.tokenizer_sha256:
            msg = (
                f"start_from: {self.name} goes with a tokenizer with sha256 {theirs}, the tokens were made with "
                f"{data.tokenizer_sha256}: tokenize with the model's, or start from a model of this one"
            )
            raise UserError(msg)

    def recorded(self) -> Start:
        """What a training remembers of it."""
        _, max_length, rows, *_ = self.described()
        return Start(model=self.name, sha256=self.sha256, rows=rows, positions=max_length)

    def shape(
        self, own: Shape | None, changes: Mapping[str, Any], sequence_length: int, base: Described | None = None
    ) -> Shape:
        """The shape of the model, perhaps with other rotary angles.

        own: what the step gives. changes: fields of ``Shape`` that it asks for beside. ``rope_scaling`` may be another one
        than the model's. base: what the model will be, before its files are there; None: what they say.

        Raises:
            UserError: another field differs, the scaling is of another model, or the sequences are longer than the positions.
        """
        found, max_length, *_ = self.described() if base is None else base
        wanted = {**_comparable(own), **changes}
        theirs = _comparable(found)
        for name in sorted(theirs.keys() & wanted.keys() - {"rope_scaling"}):
            if wanted[name] != theirs[name]:
                msg = (
                    f"start_from: {self.name} has {name} {_plain(theirs[name])}, and this step asks for "
                    f"{_plain(wanted[name])}: leave {name} out, it is taken from the model"
                )
                raise UserError(msg)
        scaling: RopeScaling | None = wanted.get("rope_scaling") or found.rope_scaling
        origin = max_length if found.rope_scaling is None else found.rope_scaling.original_length
        # Angles of another scaling reach as far as it says, whatever the model's own did.
        least = max_length if scaling == found.rope_scaling else 0
        self._check_positions(scaling, origin, least, sequence_length)
        return found.model_copy(update={"rope_scaling": scaling})

    def _check_positions(self, scaling: RopeScaling | None, origin: int, least: int, sequence_length: int) -> None:
        """origin: positions before any scaling. least: positions whatever the scaling."""
        if scaling is not None and scaling.original_length != origin:
            msg = (
                f"start_from: {self.name} was trained for {origin} positions, and rope_scaling has original_length "
                f"{scaling.original_length}: write original_length: {origin}"
            )
            raise UserError(msg)
        positions = least if scaling is None else max(least, int(scaling.factor * origin))
        if sequence_length > positions:
            msg = (
                f"start_from: {self.name} has {positions} positions, and sequence_length is {sequence_length}: shorten it, or "
                f"write rope_scaling: {{method: yarn, factor: {-(-sequence_length // origin)}, original_length: {origin}}}"
            )
            raise UserError(msg)

    def _beside(self, suffix: str) -> Path:
        """Another file of the step that made the weights."""
        return Path(self.files[0].file or "").with_suffix(suffix)

    def _summary(self) -> dict[str, Any]:
        return json.loads(self._beside(".json").read_text(encoding="utf-8"))


def as_start(value: object) -> object:
    """A name is taken for ``{model: name}``."""
    return {"model": value} if isinstance(value, str) else value


def _comparable(shape: Shape | None) -> dict[str, Any]:
    """Fields that decide what weights there are and what they mean."""
    if shape is None:
        return {}
    return {**dict(shape), "head_width": shape.head_dim, "learning_rate": None}


def _plain(value: object) -> str:
    return json.dumps(value.model_dump(mode="json") if isinstance(value, Value) else value)


def _in_folder(folder: Path) -> dict[str, Any]:
    weights = weight_files(folder)
    for path in weights:
        if not path.is_file():
            msg = f"{path} is not there: a model is a folder with model.safetensors and config.json"
            raise UserError(msg)
    tokenizer = folder / _TOKENIZER
    return {
        "weights": tuple(Artifact(file=str(path.resolve())) for path in weights),
        "config": Artifact(file=str((folder / _CONFIG).resolve())),
        "tokenizer_sha256": file_sha256(tokenizer) if tokenizer.is_file() else None,
    }


def _in_run(named: str) -> dict[str, Any]:
    dataset = trained_step(named)
    (shard,) = dataset.shards()
    known = {output.suffix: output.sha256 for output in shard.spec.outputs if output.folder == "shards"}
    weights, config = (
        Artifact(file=str(shard.file(suffix).resolve()), sha256=known[suffix])
        for suffix in (".safetensors", ".config.json")
    )
    return {"weights": (weights,), "config": config, "tokenizer_sha256": tokenizer_hash(dataset)}
