"""A shard becomes visible all at once: files under content names, then one record created if absent."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import orjson

from pipeline.errors import RunFailedError
from pipeline.fingerprint import FORMAT_VERSION, file_sha256
from pipeline.ledger import Ledger
from pipeline.storage import Storage
from pipeline.takedown.suppression import register
from pipeline.work import Output, Result

_RECORD = re.compile(r".*/(\d{8})(?:\.g(\d+))?\.json")


@dataclass(frozen=True)
class Published:
    """A committed file: its name under the run, and what its bytes must be."""

    name: str
    suffix: str
    folder: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Commit:
    """One shard's commit record. ``run`` says how it came about; it is never compared.

    generation: 1, or that of the takedown that wrote it. takedown: what that noted: ``key``, that of the first
    generation, and ``state``: rewritten, retired (its files are gone, and made anew if a task asks for them), or
    forgotten (the shard counts as not committed).
    """

    index: int
    inputs: Mapping[str, Sequence[str]]
    outputs: tuple[Published, ...]
    ledger: Ledger
    facts: Mapping[str, Any]
    run: Mapping[str, Any]
    generation: int = 1
    takedown: Mapping[str, Any] | None = None

    @property
    def retired(self) -> bool:
        """True where a takedown deleted its files."""
        return self.takedown is not None and self.takedown["state"] == "retired"

    @property
    def key(self) -> str:
        """What descendants are keyed by: the hashes of its outputs, or its number where it has none.

        A takedown leaves it, so that nothing is derived anew because of it.
        """
        if self.takedown is not None:
            return self.takedown["key"]
        return "+".join(output.sha256[:32] for output in self.outputs) or f"shard-{self.index}"

    def to_json(self, *, with_run: bool = True) -> dict[str, Any]:
        """Plain data."""
        data: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "shard": self.index,
            "inputs": {role: list(keys) for role, keys in self.inputs.items()},
            "outputs": [
                {"path": o.name, "suffix": o.suffix, "folder": o.folder, "bytes": o.bytes, "sha256": o.sha256}
                for o in self.outputs
            ],
            "ledger": self.ledger.to_json(),
            "facts": dict(self.facts),
        }
        if self.takedown is not None:
            data |= {"generation": self.generation, "takedown": dict(self.takedown)}
        if with_run:
            data["run"] = dict(self.run)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what ``to_json`` wrote.

        Raises:
            RunFailedError: the record is of a newer format.
        """
        if data["format_version"] > FORMAT_VERSION:
            msg = f"record of format {data['format_version']}, this version reads up to {FORMAT_VERSION}; update sluice"
            raise RunFailedError(msg)
        return cls(
            index=data["shard"],
            inputs=data["inputs"],
            outputs=tuple(
                Published(o["path"], o["suffix"], o["folder"], o["bytes"], o["sha256"]) for o in data["outputs"]
            ),
            ledger=Ledger.from_json(data["ledger"]),
            facts=data["facts"],
            run=data.get("run", {}),
            generation=data.get("generation", 1),
            takedown=data.get("takedown"),
        )


def commit_name(dataset: str, index: int, generation: int = 1) -> str:
    """Where the commit record of a shard lies, under the run."""
    later = f".g{generation}" if generation > 1 else ""
    return f"{dataset}/commits/{index:08d}{later}.json"


def publish(storage: Storage, dataset: str, index: int, outputs: Sequence[Output]) -> tuple[Published, ...]:
    """Give the files their content names. They stay invisible until a commit names them.

    Files of one folder share a stem, from the hash of the folder's first file, so that sidecars stand together.
    """
    stems: dict[str, str] = {}
    published = []
    for output in outputs:
        sha256 = file_sha256(output.path)
        stem = stems.setdefault(output.folder, f"{index:08d}-{sha256[:16]}")
        name = f"{dataset}/{output.folder}/{stem}{output.suffix}"
        size = output.path.stat().st_size
        storage.write_file(output.path, name)
        published.append(Published(name, output.suffix, output.folder, size, sha256))
    return tuple(published)


def commit(
    storage: Storage, dataset: str, index: int, result: Result, inputs: Mapping[str, Sequence[str]], seconds: float
) -> Commit:
    """Publish a task's outputs and record them; the first of several attempts wins, all return its record.

    Raises:
        RunFailedError: the ledger does not balance; nothing is published then.
    """
    result.ledger.check(f"{dataset} shard {index}")
    mine = Commit(
        index=index,
        inputs=inputs,
        outputs=publish(storage, dataset, index, result.outputs),
        ledger=result.ledger,
        facts=result.facts,
        run={"host": socket.gethostname(), "pid": os.getpid(), "seconds": round(seconds, 3), "ended": time.time()},
    )
    name = commit_name(dataset, index)
    if storage.create_if_absent(name, orjson.dumps(mine.to_json())):
        return mine
    theirs = read_commit(storage, name)
    kept = {output.name for output in theirs.outputs}
    for output in mine.outputs:
        if output.name not in kept:
            storage.delete(output.name)
    return theirs


def read_commit(storage: Storage, name: str) -> Commit:
    """Read a commit record."""
    return Commit.from_json(orjson.loads(storage.read_bytes(name)))


def committed(storage: Storage, dataset: str) -> dict[int, Commit]:
    """Every committed shard of a dataset, by number, as the generation in force has it."""
    names = records(storage, dataset)
    current = register(storage).generation if any(generation > 1 for _, generation in names) else 1
    newest: dict[int, tuple[int, str]] = {}
    for (index, generation), name in names.items():
        if newest.get(index, (0, ""))[0] < generation <= current:
            newest[index] = generation, name
    commits = (read_commit(storage, name) for _, name in newest.values())
    return {one.index: one for one in commits if one.takedown is None or one.takedown["state"] != "forgotten"}


def records(storage: Storage, dataset: str) -> dict[tuple[int, int], str]:
    """The commit records of every generation: (shard, generation) -> name."""
    found = {name: _RECORD.fullmatch(name) for name in storage.list(f"{dataset}/commits")}
    return {(int(match[1]), int(match[2] or 1)): name for name, match in sorted(found.items()) if match}
