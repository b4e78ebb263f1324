"""Which encoded documents go into which token shard: cut by tokens, in the order of their shards or in windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from pipeline.work import TaskPlan

ROLE = "encoded"


def planned(tokens: Sequence[int], *, tokens_per_shard: int, window_tokens: int | None) -> list[TaskPlan]:
    """A task a token shard, given the tokens of each encoded shard.

    Documents of a window are put in an order, and cut where a document starts at or behind an even share of its tokens:
    into as few shards as make that share ``tokens_per_shard`` at most. One document more may hang over.

    window_tokens: about how many tokens of neighbouring encoded shards are permuted together; None: the order stays,
    and all of them are one window, of which each task sees the shards that its share lies in.
    """
    windows = [range(len(tokens))] if window_tokens is None else list(_windows(tokens, window_tokens))
    plans: list[TaskPlan] = []
    for window in windows:
        ends = list(accumulate(tokens[k] for k in window))
        total = ends[-1] if ends else 0
        count = -(-total // tokens_per_shard) or min(len(window), 1)
        for part in range(count):
            start, end = total * part // count, total * (part + 1) // count
            needs = list(window)
            if window_tokens is None:
                starts = [stop - tokens[k] for k, stop in zip(window, ends, strict=True)]
                needs = [k for k in window if _overlaps(starts[k], ends[k], (start, end, total))]
            before = ends[needs[0] - window[0]] - tokens[needs[0]]
            share = {"first": before, "start": start, "end": end, "total": total}
            plans.append(TaskPlan(len(plans), {ROLE: tuple(needs)}, share))
    return plans


def owns(position: int, part: Mapping[str, int]) -> bool:
    """Whether an encoded shard that starts at a token of its window belongs to a share of it: one does, in each window."""
    return part["start"] <= position < part["end"] or position == part["end"] == part["total"]


def _overlaps(first: int, stop: int, share: tuple[int, int, int]) -> bool:
    start, end, total = share
    return (first < end and stop > start) or owns(first, {"start": start, "end": end, "total": total})


def _windows(tokens: Sequence[int], window_tokens: int) -> list[range]:
    """Runs of neighbouring shards: another one is taken in where that brings the sum nearer to ``window_tokens``."""
    windows = []
    first = held = 0
    for k, more in enumerate(tokens):
        if k > first and held + more - window_tokens > window_tokens - held:
            windows.append(range(first, k))
            first, held = k, 0
        held += more
    return [*windows, range(first, len(tokens))] if tokens else []
