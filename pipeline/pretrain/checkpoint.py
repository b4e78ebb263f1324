"""Checkpoints: torch.distributed.checkpoint folders that are complete or not there.

``<home>/checkpoints/step-00000100/`` holds what DCP wrote and ``complete.json``: step, configuration and the size of
every file. It is written under another name, synced, then renamed. Any number of ranks can read what another wrote.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from pipeline.errors import UserError
from pipeline.pretrain.config import TrainConfig
from pipeline.pretrain.data import Corpus
from pipeline.pretrain.ranks import from_first, wait_for_all
from pipeline.synced import sync

FORMAT_VERSION = 1
_COMPLETE = "complete.json"


def identity(config: TrainConfig, corpus: Corpus) -> dict[str, Any]:
    """What a checkpoint can be resumed with: flat, one entry a field, so that a difference has a name."""
    fields = config.model_dump(mode="json")
    shape = {f"shape.{name}": value for name, value in fields.pop("shape").items()}
    fields.pop("mixture")
    return {
        **fields,
        **shape,
        "vocab_size": corpus.data.vocab_size,
        "tokenizer_sha256": corpus.data.tokenizer_sha256,
        "documents": corpus.documents,
        "training_tokens": corpus.tokens,
        "corpus": corpus.digest,
        **({"mixture": config.mixture.digest} if config.mixture else {}),
    }


class Checkpoints:
    """The checkpoints of one run. Every rank calls every method."""

    def __init__(self, folder: Path, *, config: Mapping[str, Any], keep: int) -> None:
        """config: what ``identity`` gave. keep: how many stay."""
        self._folder, self._config, self._keep = folder, dict(config), keep

    def save(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, step: int) -> Path:
        """Write the state after a step; returns its folder, which exists once every file is on disk."""
        final = self._folder / f"step-{step:08d}"
        # A name of its own for each attempt: a worker thought dead may still be writing into the last one.
        fresh = Path(from_first(str(self._folder / f".{final.name}-{os.urandom(4).hex()}")))
        if _first():
            fresh.mkdir(parents=True)
        wait_for_all()
        weights, moments = get_state_dict(model, optimizer)
        with _alone_on_purpose():
            dcp.save({"model": weights, "optimizer": moments}, checkpoint_id=fresh, no_dist=not dist.is_initialized())
        if _first():
            self._commit(fresh, final, step)
        wait_for_all()
        return final

    def load_latest(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> int:
        """Bring back the newest complete checkpoint; returns its step, 0 where there is none.

        Raises:
            UserError: it was written by another configuration; the message names the field.
        """
        found = from_first(self._sweep() if _first() else None)
        if found is None:
            return 0
        complete = json.loads((found / _COMPLETE).read_text())
        self._check_config(found, complete["config"])
        weights, moments = get_state_dict(model, optimizer)
        state = {"model": weights, "optimizer": moments}
        with _alone_on_purpose():
            dcp.load(state, checkpoint_id=found, no_dist=not dist.is_initialized())
        set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
        return int(complete["step"])

    def _commit(self, fresh: Path, final: Path, step: int) -> None:
        files = sorted(path for path in fresh.iterdir() if path.is_file())
        for path in files:
            sync(path)
        complete = {
            "format_version": FORMAT_VERSION,
            "step": step,
            "config": self._config,
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
            shutil.rmtree(old)

    def _sweep(self) -> Path | None:
        """The newest complete one; what dead attempts left behind is removed."""
        for leftover in self._folder.glob(".step-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        return latest(self._folder)

    def _check_config(self, found: Path, theirs: Mapping[str, Any]) -> None:
        for name in sorted({*self._config, *theirs}):
            mine, other = self._config.get(name), theirs.get(name)
            if mine != other:
                why = " (other documents than it was trained on, as after a takedown)" if name == "corpus" else ""
                msg = (
                    f"{found} was written with {name}={other!r}, this run has {mine!r}{why}: "
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
    with _alone_on_purpose():
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


@contextlib.contextmanager
def _alone_on_purpose() -> Iterator[None]:
    """DCP warns of a missing process group even when it is told that there is none."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled, unavailable or uninitialized", UserWarning)
        yield


def _first() -> bool:
    return not dist.is_initialized() or dist.get_rank() == 0
