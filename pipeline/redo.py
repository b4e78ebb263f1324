"""A damaged file of a run is made anew: its shard's commit record goes, and the run goes on from those that are left."""

from __future__ import annotations

from pathlib import Path

from pipeline.commit import Commit, commit_name, committed
from pipeline.dataset import Run
from pipeline.errors import DamagedFileError
from pipeline.graph import Graph, NodeState
from pipeline.planned import CutOtherwiseError
from pipeline.storage import Storage
from pipeline.takedown.suppression import register


def make_anew(graph: Graph, storage: Storage, error: DamagedFileError | CutOtherwiseError) -> str:
    """Forget the shard that a damaged file belongs to, or those of a plan that a takedown made void; says so in words.

    What was made from the file before it was damaged stays: the shard's task gives the same bytes again.

    Raises:
        DamagedFileError: the file is not of this run, or of a recorded step, which would not give the same again.
        CutOtherwiseError: a recorded step, or no takedown changed the run.
    """
    if isinstance(error, CutOtherwiseError):
        return _make_cut_otherwise(graph, storage, error)
    for state in graph.states.values():
        if Path(error.path).name == retired_name(state.dataset or ""):
            return _make_retired(state, storage)
    found = _owner(graph, error.path) if storage.holds(error.path) else None
    if found is None or found[0].work.recorded:
        raise error
    state, commit = found
    forget(storage, state.dataset or "", commit)
    Path(error.path).unlink(missing_ok=True)  # where it was the local copy of a remote file
    return f"{error}; shard {commit.index} of {state.name} is made anew"


def _make_cut_otherwise(graph: Graph, storage: Storage, error: CutOtherwiseError) -> str:
    """Forget the shards of another plan: the task of each is exact, so nothing is lost but its time."""
    (state,) = (one for one in graph.states.values() if one.dataset == error.dataset)
    if state.work.recorded or register(storage).generation == 1:
        raise error
    present = committed(storage, error.dataset)
    old = [one for k, one in sorted(present.items()) if k >= len(state.plans) or not graph.is_own(state, one)]
    for commit in old:
        forget(storage, error.dataset, commit)
    return f"{len(old)} shards of {state.name}, cut before a takedown changed its inputs, are made anew"


def retired_name(dataset: str) -> str:
    """What stands for the files of a dataset that a takedown retired."""
    return f"{dataset}.retired"


def _make_retired(state: NodeState, storage: Storage) -> str:
    """Forget every retired shard of a step: whoever needs one of them needs the others too."""
    gone = [commit for commit in state.commits.values() if commit.retired]
    for commit in gone:
        forget(storage, state.dataset or "", commit)
    return f"{len(gone)} shards of {state.name}, which a takedown retired, are made anew"


def forget(storage: Storage, dataset: str, commit: Commit) -> None:
    """Delete what a shard committed, then its record, so that the next run makes it anew."""
    # The record last: while it names a file that is gone, whoever opens it ends up here again.
    storage.delete(f"{dataset}/manifest.json")
    for output in commit.outputs:
        storage.delete(output.name)
    storage.delete(commit_name(dataset, commit.index, commit.generation))


def recorded_steps(run: Run) -> set[str]:
    """Datasets whose steps do not give the same bytes twice."""
    return {str(node["dataset"]) for node in run.nodes.values() if node.get("recorded")}


def _owner(graph: Graph, path: str) -> tuple[NodeState, Commit] | None:
    for state in graph.states.values():
        for commit in state.commits.values():
            if any(path.endswith(f"/{output.name}") for output in commit.outputs):
                return state, commit
    return None
