"""What a person sees while a run goes on: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table

from pipeline.commit import Commit
from pipeline.eventlog import EventLog

Mode = Literal["rich", "plain", "none"]

PLAIN_EVERY_S = 10.0


@dataclass
class NodeProgress:
    """Counters of one node. ``reused`` shards were committed before this command began."""

    shards: int = 0
    reused: int = 0
    done: int = 0
    docs: int = 0
    kept: int = 0
    bytes: int = 0
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None

    @property
    def seconds(self) -> float:
        """Since the first of its shards was planned, until the last was done."""
        return max((self.ended or time.monotonic()) - self.started, 1e-3)

    @property
    def eta_s(self) -> float | None:
        """Seconds to go at the pace so far; None before the first shard."""
        left = self.shards - self.reused - self.done
        if left <= 0:
            return 0.0
        return None if not self.done else left * self.seconds / self.done


class Progress:
    """Takes notes from the driver and shows them."""

    def __init__(self, mode: Mode = "plain", stream: TextIO | None = None, log: EventLog | None = None) -> None:
        self._mode = mode
        self._log = log
        self._stream = stream or sys.stderr
        self._nodes: dict[str, NodeProgress] = {}
        self._last_plain = time.monotonic()
        self._in_flight = 0
        self._live: Live | None = None
        if mode == "rich":
            console = Console(file=self._stream)
            self._live = Live(console=console, refresh_per_second=4, get_renderable=self.table)
            self._live.start()

    def plan(self, name: str, shards: int, present: Iterable[Commit]) -> None:
        """A node's shards are known; some may be there already."""
        self._nodes[name] = NodeProgress(shards, len(list(present)))
        self._event("planned", step=name, shards=shards, done=self._nodes[name].reused)

    def committed(self, name: str, commit: Commit) -> None:
        """A shard was committed."""
        node = self._nodes[name]
        if node.done == 0:
            node.started = time.monotonic() - float(commit.run.get("seconds", 0.0))
        node.done += 1
        node.docs += commit.ledger.into.docs
        node.kept += commit.ledger.kept.docs
        node.bytes += commit.ledger.into.bytes
        self._event(
            "committed",
            step=name,
            shard=commit.index,
            docs=commit.ledger.into.docs,
            kept=commit.ledger.kept.docs,
            seconds=commit.run.get("seconds"),
            host=commit.run.get("host"),
        )
        if node.reused + node.done >= node.shards:
            node.ended = time.monotonic()
            if self._mode == "plain":
                self._line(self._describe(name, node))

    def note(self, text: str) -> None:
        """A line for the person."""
        self._event("note", text=text)
        if self._mode == "rich" and self._live is not None:
            self._live.console.print(text)
        elif self._mode == "plain":
            self._line(text)

    def warn(self, text: str) -> None:
        """A line that is shown whatever is said to be shown."""
        self.note(f"warning: {text}")
        if self._mode == "none":
            self._line(f"warning: {text}")

    def tick(self, in_flight: int, *, last: bool = False) -> None:
        """Called by the driver's loop."""
        self._in_flight = in_flight
        if self._mode == "plain" and not last and time.monotonic() - self._last_plain > PLAIN_EVERY_S:
            self._last_plain = time.monotonic()
            running = [(n, p) for n, p in self._nodes.items() if p.reused + p.done < p.shards and p.done]
            for name, node in running:
                self._line(self._describe(name, node))

    def close(self) -> None:
        """Leave the last state on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def table(self) -> Table:
        """The live table: per node shards, documents/s, MB/s and what is left."""
        table = Table(box=None, pad_edge=False)
        for title in ("step", "shards", "documents", "kept", "docs/s", "MB/s", "ETA"):
            table.add_column(title, justify="left" if title == "step" else "right")
        for name, node in self._nodes.items():
            done = node.reused + node.done
            rate = (
                (f"{node.docs / node.seconds:,.0f}", f"{node.bytes / node.seconds / 1e6:.1f}")
                if node.docs
                else ("", "")
            )
            table.add_row(
                name,
                f"{done}/{node.shards}",
                f"{node.docs:,}" if node.docs else "",
                f"{node.kept:,}" if node.docs else "",
                *rate,
                _eta(node),
            )
        return table

    def _describe(self, name: str, node: NodeProgress) -> str:
        done = node.reused + node.done
        again = f" ({node.reused} from before)" if node.reused else ""
        rates = ""
        if node.docs:
            rates = (
                f", {node.docs:,} documents in, {node.kept:,} kept, {node.docs / node.seconds:,.0f} documents/s, "
                f"{node.bytes / node.seconds / 1e6:.1f} MB/s"
            )
        return f"{name}: {done}/{node.shards} shards{again}{rates}, ETA {_eta(node) or '?'}"

    def _event(self, event: str, **facts: object) -> None:
        if self._log is not None:
            self._log.write(event, **facts)

    def _line(self, text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {text}", file=self._stream, flush=True)


def _eta(node: NodeProgress) -> str:
    eta = node.eta_s
    if eta is None:
        return ""
    return "done" if eta == 0 else f"{int(eta // 60)}:{int(eta % 60):02d}"
