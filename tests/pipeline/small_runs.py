"""Small real runs: JSONL in, two applying steps, inline."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pipeline.operator import Map
from pipeline.readers.read import Read
from pipeline.session import Settings, run
from pipeline.workflow import Expect, Step, Workflow
from pipeline.works import Apply, ReadWork
from tests.pipeline.small_operators import Length, Upper, Vowels

INLINE = Settings(backend="inline", progress="none")


def write_inputs(folder: Path, shards: int = 3, rows: int = 20) -> None:
    """Files in-0.jsonl …, each with texts of growing length."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        lines = [json.dumps({"id": f"{shard}-{row}", "text": f"text {shard} " + "ae " * row}) for row in range(rows)]
        (folder / f"in-{shard}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def workflow(
    folder: Path, *, max_chars: int = 40, expect: Expect | None = None, last: tuple[Map, ...] = (Upper(),)
) -> Workflow:
    """Read, filter, map."""
    return Workflow(
        name="small",
        base_dir=str(folder),
        steps=(
            Step(name="crawl", verb=ReadWork(read=Read(format="jsonl", paths=("in-*.jsonl",), source="small"))),
            Step(
                name="long",
                source="crawl",
                verb=Apply(operators=(Length(max_chars=max_chars), Vowels())),
                expect=expect or Expect(),
            ),
            Step(name="upper", source="long", verb=Apply(operators=last)),
        ),
    )


def payloads(out: Path, prefix: str = "") -> dict[str, str]:
    """Every published file of every dataset, manifests included, with its hash; the commits' run section is a record
    of times and is left out."""
    found = {}
    for path in sorted(out.glob(f"{prefix}*-*/**/*")):
        if path.is_file() and path.parent.name != "commits":
            found[str(path.relative_to(out))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def texts(out_run, step: str) -> list[str]:
    """All texts of a step."""
    return [text for table in out_run[step].documents() for text in table["text"].to_pylist()]


def go(flow: Workflow, out: Path, settings: Settings = INLINE):
    """Run it."""
    return run(flow, str(out), settings)
