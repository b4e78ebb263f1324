"""A chain over documents that kill their process: run in processes of its own, under limits, until the culprits are known."""

from __future__ import annotations

import math
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline.apply import Chain, Outcome
from pipeline.documents import text_bytes, with_text
from pipeline.errors import RunFailedError
from pipeline.ledger import Count, Ledger
from pipeline.rejects import languages, quarantined_rows, sources
from pipeline.value import Value

ATTEMPTS = 3
"""Fresh processes that a document must kill, each time alone, before it is held to be the cause."""

_WHOLE_ATTEMPTS = 2


class Limits(Value):
    """What a batch of documents may use before its process is ended.

    cpu_s, cpu_s_per_document: CPU seconds of a batch of n documents: ``cpu_s + n * cpu_s_per_document``. memory_gib: beyond
    what the process held before its first document; kept only where documents are treated in isolation.
    """

    cpu_s: float = Field(default=60.0, gt=0)
    cpu_s_per_document: float = Field(default=0.5, gt=0)
    memory_gib: float = Field(default=4.0, gt=0)

    def cpu_s_of(self, num_documents: int) -> float:
        """CPU seconds that so many documents may take."""
        return self.cpu_s + num_documents * self.cpu_s_per_document


@dataclass(frozen=True)
class Death:
    """How a process ended that did not end by itself, and the operator that was at work (empty: none yet)."""

    cause: str
    operator: str


def limit_cpu(seconds: float | None) -> None:
    """Let this process use so many CPU seconds from now on (None: any number); then SIGXCPU ends it."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = resource.RLIM_INFINITY if seconds is None else math.ceil(time.process_time() + seconds) + 1
    if hard != resource.RLIM_INFINITY and (soft == resource.RLIM_INFINITY or soft > hard):
        soft = hard
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def limit_memory(gib: float) -> None:
    """Let this process map so much more address space from now on; what asks for more gets a MemoryError or dies."""
    mapped = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + int(gib * 2**30), hard))


def run_isolated(chain: Chain, docs: pa.Table, scratch: Path, limits: Limits) -> Outcome:
    """What ``chain.run(docs)`` gives, with the documents that kill their process in quarantine.

    A process that dies is tried again; then the batch is halved until a document stands alone that kills three fresh
    processes one after another. The others go through together, so that the outcome does not show where it was halved.
    A quarantined row has no excerpt: what killed one process might kill the one that scrubs it.

    scratch: a folder for what goes to the processes and comes back.

    Raises:
        UserError, RunFailedError, OSError: as the chain does; or a document died with others and never alone.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    runner = _Runner(chain, scratch, limits)
    for _ in range(_WHOLE_ATTEMPTS):
        outcome = runner.attempt(docs)
        if isinstance(outcome, Outcome):
            return outcome
    culprits = dict(runner.culprits(docs, 0))
    innocent = np.setdiff1d(np.arange(docs.num_rows), list(culprits))
    outcomes = list(runner.in_parts(docs.take(pa.array(innocent, pa.int64())).combine_chunks()))
    quarantined, ledger = _culprits(docs, culprits)
    for outcome in outcomes:
        ledger.merge(outcome.ledger)
    ledger.check("documents treated in isolation")
    tables = {
        name: pa.concat_tables([getattr(outcome, name) for outcome in outcomes], promote_options="default")
        for name in ("kept", "dropped", "quarantined")
    }
    return Outcome(
        tables["kept"].combine_chunks(),
        tables["dropped"],
        pa.concat_tables([tables["quarantined"], quarantined], promote_options="default"),
        ledger,
    )


def _culprits(docs: pa.Table, culprits: dict[int, Death]) -> tuple[pa.Table, Ledger]:
    """The rows that killed their processes as quarantined rows, and their account."""
    rows, ledger = [], Ledger()
    sizes = text_bytes(docs).to_numpy()
    groups = [f"{s}|{n}" for s, n in zip(sources(docs).to_pylist(), languages(docs).to_pylist(), strict=True)]
    for row, death in sorted(culprits.items()):
        culprit, size = docs.slice(row, 1).combine_chunks(), int(sizes[row])
        blank = with_text(culprit, pa.nulls(1, pa.large_string()))
        error = f"killed its process {ATTEMPTS} times of {ATTEMPTS}: {death.cause}"
        rows.append(quarantined_rows(blank, death.operator, [error], np.array([size]), ()))
        ledger.into.add(1, size)
        ledger.quarantined.setdefault(death.operator, Count()).add(1, size)
        ledger.group_into.setdefault(groups[row], Count()).add(1, size)
    return pa.concat_tables(rows) if rows else quarantined_rows(docs.slice(0, 0), "", [], sizes[:0], ()), ledger


class _Runner:
    """Starts a process a batch."""

    def __init__(self, chain: Chain, scratch: Path, limits: Limits) -> None:
        self._chain, self._limits = chain, limits
        self._job, self._outcome, self._at = scratch / "job", scratch / "outcome", scratch / "operator"

    def attempt(self, docs: pa.Table) -> Outcome | Death:
        """Run the chain over documents in a fresh process."""
        self._job.write_bytes(pickle.dumps((self._chain, docs, self._limits)))
        self._outcome.unlink(missing_ok=True)
        self._at.unlink(missing_ok=True)
        done = subprocess.run(  # this very module
            [sys.executable, "-m", "pipeline.isolation", str(self._job), str(self._outcome), str(self._at)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        ended = pickle.loads(self._outcome.read_bytes()) if self._outcome.exists() else None  # noqa: S301  # our child wrote it
        if done.returncode == 0 and isinstance(ended, Outcome):
            return ended
        if isinstance(ended, Exception) and not isinstance(ended, MemoryError):
            raise ended
        return Death(self._cause(done.returncode, docs.num_rows), self._where())

    def _where(self) -> str:
        return self._at.read_text(encoding="utf-8") if self._at.exists() else self._chain.operators[0].name

    def _cause(self, returncode: int, num_documents: int) -> str:
        if returncode == -signal.SIGXCPU:
            return f"more than {self._limits.cpu_s_of(num_documents):g} s of CPU"
        if returncode < 0:
            return f"ended by {signal.Signals(-returncode).name}"
        if returncode == _OUT_OF_MEMORY:
            return f"asked for more than {self._limits.memory_gib:g} GiB of memory"
        return f"exit status {returncode}"

    def culprits(self, docs: pa.Table, first_row: int) -> Iterator[tuple[int, Death]]:
        """(row, its death) of documents that kill three processes, each time alone; ``docs`` is known to have killed some."""
        if docs.num_rows == 1:
            deaths = []
            while len(deaths) < ATTEMPTS and isinstance(death := self.attempt(docs), Death):
                deaths.append(death)
            if len(deaths) == ATTEMPTS:
                yield first_row, deaths[-1]
            return
        middle = docs.num_rows // 2
        for start, stop in ((0, middle), (middle, docs.num_rows)):
            part = docs.slice(start, stop - start).combine_chunks()
            if part.num_rows == 1 or isinstance(self.attempt(part), Death):
                yield from self.culprits(part, first_row + start)

    def in_parts(self, docs: pa.Table) -> Iterator[Outcome]:
        """Outcomes of documents without culprits: one, or of halves where they die together and not apart."""
        death = None
        for _ in range(_WHOLE_ATTEMPTS):
            outcome = self.attempt(docs)
            if isinstance(outcome, Outcome):
                yield outcome
                return
            death = outcome
        if docs.num_rows <= 1:
            msg = f"a process of {death.operator if death else ''} died without a document to blame: {death}"
            raise RunFailedError(msg)
        middle = docs.num_rows // 2
        yield from self.in_parts(docs.slice(0, middle).combine_chunks())
        yield from self.in_parts(docs.slice(middle).combine_chunks())


_OUT_OF_MEMORY = 3


def main(job: Path, outcome: Path, at: Path) -> int:
    """Run the chain of a job; leaves its outcome or its exception. Returns the exit status."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    chain, docs, limits = pickle.loads(job.read_bytes())  # noqa: S301  # our parent wrote it
    status, ended = 0, None
    try:
        for operator in chain.operators:
            operator.prepare()
        limit_cpu(limits.cpu_s_of(docs.num_rows))
        limit_memory(limits.memory_gib)
        ended = chain.run(docs, lambda name: at.write_text(name, encoding="utf-8"))
    except MemoryError:
        return _OUT_OF_MEMORY
    except Exception as error:  # noqa: BLE001  # raised again by the parent
        status, ended = 1, _portable(error)
    limit_cpu(None)
    outcome.write_bytes(pickle.dumps(ended))
    return status


def _portable(error: Exception) -> Any:
    """The exception, or one with its words where it cannot be pickled."""
    try:
        return pickle.loads(pickle.dumps(error))  # noqa: S301  # written on the same line
    except Exception:  # noqa: BLE001  # any class may refuse
        return RunFailedError(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
