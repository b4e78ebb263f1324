"""A new generation of a run: written beside the old one, put in force by one small write, then the old one deleted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from pipeline.commit import Commit, commit_name, committed, read_commit, records
from pipeline.dataset import Run
from pipeline.errors import UserError
from pipeline.ledger import total
from pipeline.sealing import as_manifest, without_seconds
from pipeline.storage import Storage
from pipeline.takedown.suppression import LIST_FILE, Register, register

PENDING = "takedown.pending"
"""There while a takedown is under way: when it began, and by what its end is to be proven."""

FOLDERS = ("shards", "dropped", "quarantine", "repeats", "commits")
_DATASET = re.compile(r"(?P<folder>[^/]+-[0-9a-f]{16})/")
_KEPT_KINDS = ("artifact", "model")


def check_not_pending(storage: Storage) -> None:
    """Refuse to go on with a run of which a takedown was begun and did not end.

    Raises:
        UserError: there is one.
    """
    if storage.exists(PENDING):
        begun = orjson.loads(storage.read_bytes(PENDING)).get("begun", "some time ago")
        msg = (
            f"a takedown of this run was begun on {begun} and did not end; give the same `sluice takedown` command "
            f"again, then run"
        )
        raise UserError(msg)


def write(storage: Storage, dataset: str, commit: Commit) -> None:
    """A record of a generation that is not in force yet."""
    storage.write_bytes(commit_name(dataset, commit.index, commit.generation), orjson.dumps(commit.to_json()))


def switch(storage: Storage, new: Register) -> None:
    """Put a generation and its list in force: from here on every reader sees it."""
    storage.write_bytes(LIST_FILE, new.to_bytes())


def roll_back(storage: Storage) -> None:
    """Delete what a killed takedown wrote for a generation that never came into force."""
    current = register(storage).generation
    for folder in sorted(dataset_folders(storage)):
        for (_, generation), name in records(storage, folder).items():
            if generation > current:
                storage.delete(name)


def settle(run: Run) -> int:
    """Delete whatever no record in force names, and write the manifests of the generation; returns files deleted."""
    storage, deleted = run.storage, 0
    current = {str(node["dataset"]) for node in run.nodes.values() if node["dataset"] is not None}
    for folder in sorted(current):
        commits = committed(storage, folder)
        _write_manifest(storage, folder, commits)
        named = {output.name for commit in commits.values() for output in commit.outputs}
        named |= {commit_name(folder, k, commit.generation) for k, commit in commits.items()}
        # Records of older generations first: while the newest says that a shard is forgotten, it must stay so.
        files = [name for part in FOLDERS for name in storage.list(f"{folder}/{part}") if name not in named]
        for name in sorted(files, key=_age):
            storage.delete(name)
            deleted += 1
    return deleted


def _age(name: str) -> tuple[int, str]:
    match = re.search(r"/commits/\d+\.g(\d+)\.json$", name)
    return (int(match[1]) if match else 0, name)


def unused(run: Run) -> Iterator[str]:
    """Files of datasets that no step of the run as it is now has, of models and artifacts none."""
    current = {str(node["dataset"]) for node in run.nodes.values() if node["dataset"] is not None}
    for folder in sorted(dataset_folders(run.storage) - current):
        names = run.storage.list(folder)
        if not _is_kept(run.storage, folder, names):
            yield from names


def _is_kept(storage: Storage, folder: str, names: list[str]) -> bool:
    if f"{folder}/manifest.json" in names:
        return orjson.loads(storage.read_bytes(f"{folder}/manifest.json"))["kind"] in _KEPT_KINDS
    return any(name.startswith(f"{folder}/checkpoints/") for name in names)


def dataset_folders(storage: Storage) -> set[str]:
    """Folders of a run that look like datasets."""
    matches = (_DATASET.match(name) for name in storage.list(""))
    return {match["folder"] for match in matches if match}


def _write_manifest(storage: Storage, folder: str, commits: Mapping[int, Commit]) -> None:
    name = f"{folder}/manifest.json"
    if not storage.exists(name) or not any(commit.generation > 1 for commit in _with_forgotten(storage, folder)):
        return
    old: dict[str, Any] = orjson.loads(storage.read_bytes(name))
    if len(commits) < old["num_shards"]:
        storage.delete(name)
        return
    ledger = without_seconds(total(commits[k].ledger for k in sorted(commits)).to_json())
    own = {key: old[key] for key in ("step", "fingerprint", "kind", "base", "inputs")}
    data = orjson.dumps(as_manifest(own, commits, ledger), option=orjson.OPT_INDENT_2)
    if storage.read_bytes(name) != data:
        storage.write_bytes(name, data)


def _with_forgotten(storage: Storage, folder: str) -> Iterator[Commit]:
    current = register(storage).generation
    for (_, generation), name in records(storage, folder).items():
        if generation <= current:
            yield read_commit(storage, name)
