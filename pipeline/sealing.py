"""The end of a dataset: what its manifest says, and what a person should hear about it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow.parquet as pq

from pipeline.commit import Commit
from pipeline.fingerprint import FORMAT_VERSION
from pipeline.graph import Graph, NodeState
from pipeline.ledger import Ledger
from pipeline.padding import Padding
from pipeline.storage import Storage


def warnings(state: NodeState, ledger: Ledger, storage: Storage) -> Iterator[str]:
    """A source without documents, a selection that keeps none, much padding, and what is in quarantine, with its first error."""
    if state.work.kind == "source" and ledger.into.docs == 0:
        yield f"{state.name} read no document; is `format` what its files hold?"
    if state.work.kind == "selection" and ledger.into.docs and not ledger.kept.docs:
        yield f"{state.name} is empty: none of {ledger.into.docs:,} documents went into it"
    if state.work.kind == "sequences":
        padded = Padding.of(commit.facts for commit in state.commits.values()).warning(state.name)
        yield from () if padded is None else (padded,)
    failed = sum(count.docs for count in ledger.quarantined.values())
    if failed:
        yield f"{state.name}: {failed} in quarantine, first: {_first_error(state, storage)}"


def _first_error(state: NodeState, storage: Storage) -> str:
    for index in sorted(state.commits):
        for output in state.commits[index].outputs:
            if output.folder == "quarantine":
                row = pq.read_table(storage.local_path(output.name)).slice(0, 1).to_pylist()[0]
                return f"{row['error']} ({row['origin']})"
    return "unknown"


def manifest(state: NodeState, ledger: Ledger, graph: Graph) -> dict[str, object]:
    """What a complete dataset holds, as its manifest says it; the same whatever the machines and times were."""
    base = graph.states[state.node.inputs["documents"]].dataset if state.work.kind == "selection" else None
    own = {
        "step": state.name,
        "fingerprint": state.fingerprint,
        "kind": state.work.kind,
        "base": base,
        "inputs": {role: graph.states[source].dataset for role, source in state.deps.items()},
    }
    return as_manifest(own, state.commits, without_seconds(ledger.to_json()))


def as_manifest(own: Mapping[str, object], commits: Mapping[int, Commit], ledger: dict) -> dict[str, object]:
    """A manifest, from what identifies the dataset, its shards and their sum."""
    generation = max((commit.generation for commit in commits.values()), default=1)
    return {
        "format_version": FORMAT_VERSION,
        **own,
        **({"generation": generation} if generation > 1 else {}),
        "num_shards": len(commits),
        "shards": [_deterministic(commits[k]) for k in sorted(commits)],
        "ledger": ledger,
    }


def _deterministic(commit: Commit) -> dict[str, object]:
    data = commit.to_json(with_run=False)
    data["ledger"] = without_seconds(data["ledger"])
    return data


def without_seconds(ledger: dict) -> dict:
    """An account without the times, which differ from run to run."""
    flows = [{key: value for key, value in flow.items() if key != "seconds"} for flow in ledger["operators"]]
    return {**ledger, "operators": flows}


def clear_scratch(storage: Storage) -> None:
    """Remove what attempts of dead drivers left; only the holder of the lease may."""
    shutil.rmtree(storage.scratch(), ignore_errors=True)
    if storage.is_local:
        # Small files are written beside their names; a killed writer leaves its own.
        for pattern in (".*.tmp", "*/.*.tmp", "*/*/.*.tmp"):
            for path in Path(storage.uri).glob(pattern):
                path.unlink(missing_ok=True)
