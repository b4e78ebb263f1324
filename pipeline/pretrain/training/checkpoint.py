"""Checkpoints: torch.distributed.checkpoint folders that are complete or not there.

``<home>/checkpoints/step-00000100/`` holds what DCP wrote and ``complete.json``: step, configuration and the size of
every file. It is written under another name, synced, then renamed. Any number of ranks, however they split the model,
can read what another wrote.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from pipeline.errors import UserError
from pipeline.pretrain.config import Shape, TrainConfig
from pipeline.pretrain.data.corpus import Corpus
from pipeline.pretrain.ranks import from_first
from pipeline.pretrain.training.checkpoint_writer import Writer, alone_on_purpose
from pipeline.synced import sync

Optimizers = torch.optim.Optimizer | Sequence[torch.optim.Optimizer]

FORMAT_VERSION = 1
_COMPLETE = "complete.json"
_MUON = "apart"
"""Muon's rule: q, k and v, gate and up are matrices of their own. Checkpoints that name none took them as one."""
_WHY = {
    "corpus": " (other documents than it was trained on, as after a takedown)",
    "optimizer.muon": " (an older Sluice, whose Muon took q, k and v as one matrix: only that one can go on with it)",
}


def identity(config: TrainConfig, corpus: Corpus) -> dict[str, Any]:
    """What a checkpoint can be resumed with: flat, one entry a field, so that a difference has a name.

    Steps that are left out are no part of it: a run adds to them as it goes.
    """
    return {
        **_flat(config.model_dump(mode="json")),
        "vocab_size": corpus.data.vocab_size,
        "tokenizer_sha256": corpus.data.tokenizer_sha256,
        "documents": corpus.documents,
        "training_tokens": corpus.tokens,
        "corpus": corpus.digest,
        **({"mixture": config.mixture.digest} if config.mixture else {}),
        **({"optimizer.muon": _MUON} if config.optimizer == "muon" else {}),
    }


def _flat(fields: dict[str, Any]) -> dict[str, Any]:
    shape = {f"shape.{name}": value for name, value in fields.pop("shape").items()}
    start = fields.pop("start")
    shape |= {"start.sha256": start and start["sha256"]}  # what it is called does not matter
    return {name: value for name, value in fields.items() if name not in ("mixture", "skipped_steps")} | shape


class Checkpoints:
    """The checkpoints of one run. Every rank calls every method, in the same order."""

    def __init__(self, folder: Path, *, config: Mapping[str, Any], keep: int, keep_every: int | None = None) -> None:
        """config: what ``identity`` gave. keep: how many of the newest stay. keep_every: and steps that it divides."""
        self._folder, self._config, self._keep, self._keep_every = folder, dict(config), keep, keep_every
        # A name of its own for each attempt: a worker thought dead may still be writing into the last one.
        self._attempt = from_first(os.urandom(4).hex())
        self._writer = Writer()
        self.extra: dict[str, Any] = {}
        """What was given to ``save`` beside the state of the checkpoint that ``load_latest`` found."""

    def save(
        self,
        model: torch.nn.Module,
        optimizer: Optimizers,
        step: int,
        extra: Mapping[str, Any] | None = None,
    ) -> Path:
        """Copy the state after a step and write it in the background; returns the folder it will have.

        The folder exists once every file is on disk, at the latest after ``wait``. extra: JSON values that are to come
        back with it, the same on every rank.

        Raises:
            RunFailedError: the one before could not be written, for want of space say.
        """
        self.wait()
        final = self._folder / f"step-{step:08d}"
        fresh = self._folder / f".{final.name}-{self._attempt}"
        weights, moments = get_state_dict(model, _as_list(optimizer))
        known = dict(extra or {})
        state = {"model": weights, "optimizer": moments}
        self._writer.start(state, fresh, lambda: self._commit(fresh, final, step, known), name=final.name)
        return final

    def wait(self) -> None:
        """Return when the last ``save`` is on disk.

        Raises:
            RunFailedError: it could not be written.
        """
        self._writer.wait()

    def close(self) -> None:
        """Let the last ``save`` come to its end, however the training ended."""
        self._writer.close()

    def load_latest(self, model: torch.nn.Module, optimizer: Optimizers) -> int:
        """Bring back the newest complete checkpoint, and ``extra``; returns its step, 0 where there is none.

        Raises:
            UserError: it was written by another configuration, or in another format; the message names the field.
            RunFailedError: the last ``save`` could not be written.
        """
        self.wait()
        found = from_first(self._sweep() if _first() else None)
        if found is None:
            return 0
        complete = json.loads((found / _COMPLETE).read_text())
        self._check_version(found, complete.get("format_version"))
        self._check_config(found, complete["config"])
        optimizers = _as_list(optimizer)
        weights, moments = get_state_dict(model, optimizers)
        state = {"model": weights, "optimizer": moments}
        with alone_on_purpose():
            dcp.load(state, checkpoint_id=found, process_group=self._writer.group, no_dist=not dist.is_initialized())
        set_state_dict(model, optimizers, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
        self.extra = dict(complete.get("extra", {}))
        return int(complete["step"])

    def _commit(self, fresh: Path, final: Path, step: int, extra: dict[str, Any]) -> None:
        files = sorted(path for path in fresh.iterdir() if path.is_file())
        for path in files:
            sync(path)
        complete = {
            "format_version": FORMAT_VERSION,
            "step": step,
            "config": self._config,
            "extra": extra,
            "files": {path.name: path.stat().st_size for path in files},
        }
        (fresh / _COMPLETE).write_text(json.dumps(complete, indent=1))
        sync(fresh / _COMPLETE)
        sync(fresh)
        if final.exists():  # replayed after a newer checkpoint was found damaged
            shutil.rmtree(final)
        fresh.rename(final)
        sync(self._folder)
        for old in _complete(self._folder)[: -self._keep]:
            if not self._keep_every or _step(old) % self._keep_every:
                shutil.rmtree(old)

    def _sweep(self) -> Path | None:
        """The newest complete one; what dead attempts left behind is removed."""
        for leftover in self._folder.glob(".step-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        return latest(self._folder)

    def _check_version(self, found: Path, version: object) -> None:
        if version != FORMAT_VERSION:
            msg = (
                f"{found} has format_version {version!r}, this Sluice reads {FORMAT_VERSION}: go on with the Sluice that wrote "
                f"it, or remove {self._folder} to start over"
            )
            raise UserError(msg)

    def _check_config(self, found: Path, theirs: Mapping[str, Any]) -> None:
        # A field that is younger than the checkpoint had no effect then, which is what its default means.
        theirs = {name: value for name, value in _defaults().items() if name in self._config} | dict(theirs)
        for name in sorted({*self._config, *theirs}):
            mine, other = self._config.get(name), theirs.get(name)
            if mine != other:
                msg = (
                    f"{found} was written with {name}={other!r}, this run has {mine!r}{_WHY.get(name, '')}: "
                    f"set it back, or remove {self._folder} to start over"
                )
                raise UserError(msg)


def latest(folder: Path) -> Path | None:
    """The newest complete checkpoint of a folder."""
    found = _complete(folder)
    return found[-1] if found else None


def load_weights(checkpoint: Path, model: torch.nn.Module) -> None:
    """Only the weights, in one process."""
    state = {"model": model.state_dict()}
    with alone_on_purpose():
        dcp.load(state, checkpoint_id=checkpoint, no_dist=True)
    model.load_state_dict(state["model"])


def _complete(folder: Path) -> list[Path]:
    """Complete checkpoints by step. One whose files are missing or short does not count."""
    return [path for path in sorted(folder.glob("step-*")) if _is_complete(path)]


def _is_complete(path: Path) -> bool:
    record = path / _COMPLETE
    if not record.exists():
        return False
    files = json.loads(record.read_text())["files"]
    return all((path / name).is_file() and (path / name).stat().st_size == size for name, size in files.items())


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _defaults() -> dict[str, Any]:
    """Fields that have a default, as ``identity`` names them."""
    least = Shape(layers=1, dim=2, heads=1, kv_heads=1, ffn_dim=1)
    fields = TrainConfig(shape=least, learning_rate=1).model_dump(mode="json")
    needed = {name for name, field in TrainConfig.model_fields.items() if field.is_required()}
    needed |= {f"shape.{name}" for name, field in Shape.model_fields.items() if field.is_required()}
    return {name: value for name, value in _flat(fields).items() if name not in needed}


def _as_list(optimizer: Optimizers) -> list[torch.optim.Optimizer]:
    return [optimizer] if isinstance(optimizer, torch.optim.Optimizer) else list(optimizer)


def _first() -> bool:
    return not dist.is_initialized() or dist.get_rank() == 0
