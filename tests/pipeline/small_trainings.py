"""A gang step that takes its input's shards as they come, and slow steps above it, small enough to foresee."""

from __future__ import annotations

import glob
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UserError
from pipeline.operator import Map
from pipeline.pretrain.config import Streaming
from pipeline.pretrain.data.arrivals import ARRIVALS, Arrivals
from pipeline.readers.read import Read
from pipeline.work import Beside, Kind, Output, Result, Task
from pipeline.workflow import Step, Workflow
from pipeline.works import Apply, ReadWork
from tests.pipeline.small_files import OverAll

PATIENCE_S = 300.0


class Late(Map):
    """Passes documents on; those of a text that starts with ``late`` only once the file ``sign`` is there."""

    sign: str

    def map(self, docs: pa.Table) -> pa.Table:
        if pc.any(pc.starts_with(docs["text"], "late")).as_py():
            wait_for_file(Path(self.sign))
        if pc.any(pc.starts_with(docs["text"], "wrong")).as_py():
            raise MemoryError  # no verdict on a document, but on the task
        return docs


def wait_for_file(path: Path) -> None:
    """Return when it is there, or one that fits the pattern; fail when it does not come (with Ray, on busy cores, minutes)."""
    deadline = time.monotonic() + PATIENCE_S
    while not glob.glob(str(path)):  # noqa: PTH207  # the pattern is a whole path
        if time.monotonic() > deadline:
            msg = f"nobody wrote {path}"
            raise UserError(msg)
        time.sleep(0.02)


class Learn(OverAll):
    """Notes each shard that it is told of, and the hash in its name, in ``seen.jsonl``; writes ``sign`` after the first window.

    fails: raises after the first window.
    """

    kind: ClassVar[Kind] = "model"
    recorded: ClassVar[bool] = True
    gang: ClassVar[bool] = True
    runtime: ClassVar[tuple[str, ...]] = ("fails", "sign")

    sign: str
    streaming: Streaming = Streaming(window=2)
    fails: bool = False
    seed: int = 1

    @property
    def beside(self) -> Beside | None:
        """One core."""
        return Beside("documents", self.streaming.window, 1)

    def run(self, task: Task) -> Result:
        """Wait for each shard, look whether it is committed, note it."""
        assert task.home is not None
        assert [shard.index for shard in task.inputs["documents"]] == list(range(self.streaming.window))
        path = task.home / ARRIVALS
        planned = orjson.loads(path.read_bytes().splitlines()[0])["planned"]
        arrivals = Arrivals(path)
        for number in range(planned):
            shard = arrivals.wait_for(number + 1)[number]
            files = [Path(name) for name in shard.files.values()]
            records = files[0].parents[1] / "commits" if files else None
            assert records is None or (records / f"{number:08d}.json").exists(), f"shard {number} is not committed"
            with (task.home / "seen.jsonl").open("ab") as file:
                file.write(orjson.dumps([shard.shard, [path.name for path in files], dict(shard.facts)]) + b"\n")
            if number + 1 == self.streaming.window:
                if self.fails:
                    msg = "learning has failed"
                    raise UserError(msg)
                Path(self.sign).touch()
        learned = task.scratch / "learned"
        learned.write_bytes((task.home / "seen.jsonl").read_bytes())
        return Result([Output(learned, ".jsonl")])


def write_texts(folder: Path, starts: Sequence[str]) -> None:
    """A file of three documents for each start, which their texts begin with."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard, start in enumerate(starts):
        lines = [orjson.dumps({"id": f"{shard}-{k}", "text": f"{start} text {shard} {k}"}) for k in range(3)]
        (folder / f"in-{shard}.jsonl").write_bytes(b"\n".join(lines) + b"\n")


def learning(folder: Path, sign: Path, *, fails: bool = False, window: int = 2) -> Workflow:
    """Read, pass on, learn as it comes."""
    read = Read(format="jsonl", paths=("in-*.jsonl",), source="small")
    return Workflow(
        name="learning",
        base_dir=str(folder),
        steps=(
            Step(name="crawl", verb=ReadWork(read=read)),
            Step(name="docs", source="crawl", verb=Apply(operators=(Late(sign=str(sign)),))),
            Step(
                name="model",
                source="docs",
                verb=Learn(sign=str(sign), fails=fails, streaming=Streaming(window=window)),
            ),
        ),
    )
