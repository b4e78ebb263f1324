"""Other runs that a dedup step is compared with: named in a recipe, found on disk, checked before anything runs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import BeforeValidator, Field

from operators.dedup.earlier.levels import EarlierRun
from operators.dedup.order import check_addressable
from pipeline.dataset import Run
from pipeline.errors import UserError
from pipeline.stores import is_uri, local
from pipeline.value import Value


class Against(Value):
    """The documents that stay in a dedup step of another run, with ``index: true``.

    run: its folder, relative to the recipe, or its URI. step: the dedup step in it.
    """

    run: str = Field(min_length=1)
    step: str = Field(min_length=1)

    def located(self, folder: Path) -> Against:
        """The same with an absolute path."""
        if is_uri(self.run):
            return self
        place = os.path.abspath(folder / local(self.run).expanduser())  # noqa: PTH100  # links stay as they are named
        return Against(run=place, step=self.step)


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


OtherRuns = Annotated[tuple[Against, ...], BeforeValidator(_as_tuple)]
"""Other runs, oldest first; a YAML list is taken too."""


def earlier_runs(
    against: Sequence[Against], parameters: Mapping[str, Any], columns: Sequence[str]
) -> tuple[EarlierRun, ...]:
    """Find the indexes of other runs.

    parameters: what an index must have been made with, key by key. columns: those of a sketch that the survivor's
    choice looks at.

    Raises:
        UserError: no such run or step, an index that is missing, not finished or of other parameters, or one listed
            twice.
    """
    check_addressable(0, len(against))
    runs = [_earlier_run(one, parameters, columns) for one in against]
    for position, run in enumerate(runs):
        if run in runs[:position]:
            msg = f"against lists {against[position].run} step {against[position].step!r} twice; name it once"
            raise UserError(msg)
    return tuple(runs)


def _earlier_run(against: Against, parameters: Mapping[str, Any], columns: Sequence[str]) -> EarlierRun:
    run = Run.open(against.run)
    names = _index_nodes(run, against)
    folders, manifests = [], []
    for name in names:
        folder = run.nodes[name]["dataset"]
        path = f"{folder}/manifest.json"
        if folder is None or not run.storage.exists(path):
            msg = f"{_place(against)}: its index {name} is not finished; run it to its end first"
            raise UserError(msg)
        data = run.storage.read_bytes(path)
        for shard in orjson.loads(data)["shards"]:
            _check(against, shard["facts"], parameters, columns)
        folders.append(folder)
        manifests.append(hashlib.sha256(data).hexdigest())
    return EarlierRun(run=run.storage.uri, datasets=tuple(folders), manifests=tuple(manifests))


def _index_nodes(run: Run, against: Against) -> list[str]:
    """The indexes of a step, an epoch each, oldest first: the graph is recorded in the order of its inputs."""
    steps = {name: verb["Dedup"] for name, verb in run.facts["recipe"].items() if "Dedup" in verb}
    if against.step not in steps:
        there = ", ".join(steps) or "none"
        msg = f"{against.run} has no dedup step {against.step!r}; its dedup steps: {there}"
        raise UserError(msg)
    names = [name for name in run.nodes if name.startswith(f"{against.step}.") and name.endswith(".index")]
    if not steps[against.step].get("index") or not names:
        msg = (
            f"{_place(against)}: it keeps no index; add `index: true` to its dedup and run it again with the same "
            f"--out: no text is read again for that"
        )
        raise UserError(msg)
    return names


def _check(against: Against, facts: Mapping[str, Any], parameters: Mapping[str, Any], columns: Sequence[str]) -> None:
    made_with = facts["parameters"]
    for name, asked in parameters.items():
        if made_with.get(name) != asked:
            msg = (
                f"{_place(against)}: its index was made with {name} {made_with.get(name)}, this step has {name} {asked}; "
                f"give both the same"
            )
            raise UserError(msg)
    missing = [name for name in columns if facts["shards"] and name not in facts["columns"]]
    if missing:
        msg = f"{_place(against)}: its index lacks what `keep` looks at here: {', '.join(missing)}; give both the same keep"
        raise UserError(msg)


def _place(against: Against) -> str:
    return f"against {against.run} step {against.step!r}"
