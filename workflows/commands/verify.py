"""``sluice verify``: every file a run committed, against its commit record, and tokens against what readers need."""

from __future__ import annotations

from collections.abc import Iterator

import typer

from operators.tokenize.packing.verify import verify as verify_sequences
from operators.tokenize.shards.verify import verify_dataset
from pipeline.commit import Commit, Published
from pipeline.dataset import Dataset, Run
from pipeline.errors import DamagedFileError, RunFailedError
from pipeline.fingerprint import file_sha256
from pipeline.redo import forget, recorded_steps
from pipeline.report.units import size

_SHOWN = 20


def verify(uri: str, *, repair: bool) -> None:
    """Read every committed file and say which are not what was committed.

    repair: forget the shards they belong to, so that the next run makes them anew; not those of recorded steps, which
    would come out otherwise.

    Raises:
        UserError: no such run.
        RunFailedError: a file is damaged or missing, and was not repaired.
    """
    run = Run.open(uri)
    files = num_bytes = 0
    damaged: list[tuple[Dataset, Commit, str]] = []
    for dataset, commit, output in _outputs(run):
        files, num_bytes = files + 1, num_bytes + output.bytes
        if wrong := _wrong(run, output):
            damaged.append((dataset, commit, f"{output.name} {wrong}"))
    typer.echo(f"{uri}: {files:,} files, {size(num_bytes)}, {len(damaged):,} of them damaged")
    for _, _, what in damaged[:_SHOWN]:
        typer.echo(f"  {what}")
    fixed = [one for one in damaged if one[0].folder not in recorded_steps(run)] if repair else []
    for dataset, commit, _ in fixed:
        forget(run.storage, dataset.folder, commit)
    if fixed:
        typer.echo(f"{len(fixed):,} forgotten: the same `sluice run` makes them anew")
    if len(fixed) < len(damaged):
        left = next(dataset.folder for dataset, commit, what in damaged if (dataset, commit, what) not in fixed)
        remedy = (
            f"{left} would come out otherwise a second time: remove that folder, and what was made from it is made anew too"
            if repair
            else f"`sluice verify {uri} --repair` forgets them, then the same `sluice run` makes them anew"
        )
        msg = f"{len(damaged) - len(fixed):,} files are not what was committed; {remedy}"
        raise RunFailedError(msg)
    if not damaged:
        _check_contents(run)


def _check_contents(run: Run) -> None:
    """Say what is wrong with token shards and packed sequences that are as they were committed.

    Raises:
        RunFailedError: something is.
    """
    problems = 0
    for name in run.steps:
        if run.nodes[name]["dataset"] is None or run.nodes[name]["kind"] not in ("tokens", "sequences"):
            continue
        dataset = run[name]
        if dataset.kind == "sequences" and not dataset.complete:
            continue  # a document may be in a shard that is still to come
        found = verify_dataset(dataset) if dataset.kind == "tokens" else verify_sequences(run, name)
        state = f"{len(found):,} problems" if found else "as every reader expects"
        typer.echo(f"{name}: {_held(dataset)}, {state}")
        for what in found[:_SHOWN]:
            typer.echo(f"  {what}")
        problems += len(found)
    if problems:
        msg = (
            f"{problems:,} problems in shards that are as they were committed: trainers would misread them; please "
            f"report this, and do not train on them"
        )
        raise RunFailedError(msg)


def _held(dataset: Dataset) -> str:
    """What shards of tokens or sequences hold, in words."""
    commits = dataset.commits.values()
    what = "token shards" if dataset.kind == "tokens" else "shards of sequences"
    docs, tokens = (sum(commit.facts[fact] for commit in commits) for fact in ("docs", "tokens"))
    return f"{len(commits):,} {what}, {docs:,} documents, {tokens:,} tokens"


def _outputs(run: Run) -> Iterator[tuple[Dataset, Commit, Published]]:
    for name, node in run.nodes.items():
        if node["dataset"] is None:
            continue
        dataset = run[name]
        for index in sorted(dataset.commits):
            for output in dataset.commits[index].outputs:
                yield dataset, dataset.commits[index], output


def _wrong(run: Run, output: Published) -> str | None:
    """What is wrong with a file; None where it is as committed."""
    try:
        path = run.storage.local_path(output.name)
        found = path.stat().st_size
    except (FileNotFoundError, DamagedFileError) as error:
        return "is missing" if isinstance(error, FileNotFoundError) else f"is damaged: {error}"
    if found != output.bytes:
        return f"has {found:,} bytes, its commit says {output.bytes:,}"
    return None if file_sha256(path) == output.sha256 else "has other content than was committed"
