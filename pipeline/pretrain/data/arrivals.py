"""The file by which a driver tells a training which token shards are committed: ``arrivals.jsonl`` in the training's home.

The first line says how many shards are planned. Then comes a line a shard, in plan order and never before the shard is
committed: its number, its files by suffix, relative to the run's folder, and what its task noted. It is also the record
of what the training was given: a shard that has other content later, as after a takedown, is refused. What earlier drivers
told stands in lines ``{"before": ...}`` behind the first; a training does not take it for committed.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.errors import StoppedError, UserError
from pipeline.pretrain.config import Arriving, Job
from pipeline.pretrain.stopping import ASKED
from pipeline.synced import sync

ARRIVALS = "arrivals.jsonl"
FORMAT_VERSION = 1
_LOOK_EVERY_S = 0.2


@dataclass(frozen=True)
class Arrived:
    """A committed shard: its number, its files by suffix, and what its task noted."""

    shard: int
    files: Mapping[str, str]
    facts: Mapping[str, Any]


class ArrivalsFile:
    """The driver's side. Made anew by every driver, since only this one knows what is committed now.

    What was told before is kept, whatever becomes of this driver: it is compared with what this one tells.
    """

    def __init__(self, path: Path, *, planned: int) -> None:
        self._path = path
        self._before = _record(path)
        self._next = 0
        fresh = path.with_name(path.name + ".new")
        lines = [_line({"format_version": FORMAT_VERSION, "planned": planned})]
        lines += [_line({"before": _fields(one)}) for one in self._before.values()]
        fresh.write_text("".join(lines), encoding="utf-8")
        sync(fresh)
        fresh.replace(path)

    @property
    def next(self) -> int:
        """The shard to tell of next."""
        return self._next

    def tell(self, files: Mapping[str, str], facts: Mapping[str, Any]) -> None:
        """The next shard is committed.

        Raises:
            UserError: the training was given another content of it before.
        """
        before = self._before.get(self._next)
        if before is not None and dict(before.files) != dict(files) and (self._path.parent / "checkpoints").exists():
            msg = (
                f"shard {self._next} was {', '.join(before.files.values())} when the training in {self._path.parent} "
                f"began, and is {', '.join(files.values())} now (other documents, as after a takedown): remove its "
                f"checkpoints and {self._path.name} to start over"
            )
            raise UserError(msg)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_line(_fields(Arrived(self._next, files, facts))))
        self._next += 1


class Arrivals:
    """The training's side: waits for shards. Any thread may ask, wait and close.

    wait: False for who looks at a training from outside: it goes by all that was told, now or by earlier drivers, and
    what was not is an error, since there may be no driver that will.
    """

    def __init__(self, path: Path, *, wait: bool = True) -> None:
        self._path, self._wait = path, wait
        self._root = path.parent.parent  # the run's folder: the home is that of a dataset
        self._offset = 0
        self._shards: list[Arrived] = []
        self._closed = threading.Event()
        self._reading = threading.Lock()

    def wait_for(self, count: int) -> Sequence[Arrived]:
        """The first ``count`` shards, their files as absolute paths, once they are committed.

        Raises:
            StoppedError: the driver asked to stop, or ``close`` was called meanwhile.
            UserError: without waiting: a shard was not told of.
        """
        self._closed.clear()
        while self.count < count:
            if not self._wait:
                msg = (
                    f"token shard {len(self._shards)} is not committed, as far as {self._path} tells: let the command that "
                    f"makes the run come to it first"
                )
                raise UserError(msg)
            if ASKED.is_set() or self._closed.wait(_LOOK_EVERY_S):
                msg = f"stopped while waiting for token shard {len(self._shards)}"
                raise StoppedError(msg)
        return self._shards[:count]

    @property
    def count(self) -> int:
        """How many are committed, as far as was told by now."""
        with self._reading:
            self._look()
            return len(self._shards)

    def close(self) -> None:
        """Who waits gets an error."""
        self._closed.set()

    def _look(self) -> None:
        """Read what was told since; a line that is still being written waits."""
        if not self._path.exists():
            return
        if not self._wait:
            told = _record(self._path)
            self._shards = [self._here(told[k]) for k in range(len(told)) if k in told]
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for one in map(json.loads, whole.splitlines()):
            if "shard" in one:
                self._shards.append(self._here(Arrived(**one)))

    def _here(self, one: Arrived) -> Arrived:
        return replace(one, files={suffix: str(self._root / name) for suffix, name in one.files.items()})


def streaming(job: Job, window: int) -> Job:
    """A job that takes its shards as they come, as its home's file tells of them."""
    path = Path(job.home) / ARRIVALS
    with path.open("rb") as file:
        header = json.loads(file.readline())
    arriving = Arriving(planned=header["planned"], file=str(path))
    return job.model_copy(
        update={
            "config": job.config.model_copy(update={"stream_window": window}),
            "data": job.data.model_copy(update={"arriving": arriving}),
        }
    )


def wait_for_all(job: Job) -> None:
    """Return when every shard of a streaming job is committed: only then may its model be.

    Raises:
        StoppedError: the driver asked to stop.
    """
    if job.data.arriving is not None:
        Arrivals(Path(job.data.arriving.file)).wait_for(job.data.arriving.planned)


def _record(path: Path) -> dict[int, Arrived]:
    """By number, what drivers told last of each shard, in plan order; a line that a crash cut off is left out."""
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_bytes().rpartition(b"\n")[0].splitlines()]
    told = [Arrived(**one.get("before", one)) for one in lines if "before" in one or "shard" in one]
    return dict(sorted({one.shard: one for one in told}.items()))


def _fields(one: Arrived) -> dict[str, Any]:
    return {"shard": one.shard, "files": dict(one.files), "facts": dict(one.facts)}


def _line(data: Mapping[str, Any]) -> str:
    return json.dumps(data) + "\n"
