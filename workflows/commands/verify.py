"""``sluice verify``: every file a run committed, against the size and hash in its commit record."""

from __future__ import annotations

from collections.abc import Iterator

import typer

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
