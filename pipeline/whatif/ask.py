"""Other bounds applied to what a run has measured: which documents would go, which would return, what stays open."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dataset import Dataset, Run
from pipeline.operator import Operator
from pipeline.rejects import LANGUAGE_COLUMNS
from pipeline.report.reading import files
from pipeline.whatif.rejudge import KEPT, Judged, StepJudge
from pipeline.whatif.selected import keep_bitmap
from pipeline.whatif.stored_rows import Part, RowFile
from pipeline.whatif.tally import Changed, Tally
from pipeline.work import ARTIFACT_ROLE

BEFORE = -1
"""Code of the fate of a row that goes since an earlier step no longer keeps it."""

_HOLD_DOCUMENTS = ("documents", "selection", "tokens")
_NO_ROWS = np.zeros(0, np.int64)
_MAX_THREADS = 8

Operators = tuple[Sequence[Operator], Sequence[Operator]]
"""Those of a step as they were, and as they would be."""


@dataclass
class StepFound:
    """What was found of a step that the changed bounds reach.

    judge: None where its own bounds stay. model: a model it uses that would be trained on other documents, so that
    nothing can be said of what it measures. behind: the step that chooses among all documents before it, itself included.
    """

    name: str
    parent: str | None
    dataset: Dataset
    judge: StepJudge | None
    model: str | None
    behind: str | None
    tally: Tally
    children: list[StepFound] = field(default_factory=list)

    @property
    def put_together(self) -> bool:
        """True for token shards of planned sizes: they are not, one for one, those of the step before."""
        return "encoded" in self.dataset.run.nodes[self.name]["inputs"]


@dataclass(frozen=True)
class _Gone:
    """Rows of a shard that a step no longer gives on: a mask over the rows it gives on, and id, source, language."""

    mask: npt.NDArray[np.bool_]
    rows: pa.Table


def what_if(
    run: Run, changes: Mapping[str, Operators], *, num_samples: int = 0, threads: int | None = None
) -> dict[str, StepFound]:
    """Judge the stored measures by other bounds: every step that has such bounds, and those behind it.

    changes: by step, its operators as recorded and with the other bounds. Reads committed shards only.

    Raises:
        UserError: a step has not begun, or a measure that a bound needs is not stored.
        RunFailedError: stored verdicts do not follow from the stored measures.
    """
    found = _reached(run, changes, num_samples)
    roots = [step for step in found.values() if step.parent not in found]
    shards = sorted({shard for step in roots for shard in step.dataset.commits})
    threads = threads or min(_MAX_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        for tallies in pool.map(lambda shard: _walk(roots, shard, num_samples), shards):
            for name, tally in tallies.items():
                found[name].tally.merge(tally)
    return found


def _reached(run: Run, changes: Mapping[str, Operators], num_samples: int) -> dict[str, StepFound]:
    """The steps that documents go through on from a changed one; inputs come before what is made of them."""
    found: dict[str, StepFound] = {}
    touched: set[str] = set()
    for name, node in run.nodes.items():
        inputs: Mapping[str, str] = node["inputs"]
        if name not in changes and touched.isdisjoint(inputs.values()):
            continue
        touched.add(name)
        if node["kind"] not in _HOLD_DOCUMENTS or name not in run.steps:
            continue
        if name not in changes and node["dataset"] is None:
            continue
        parent = found.get(inputs["documents"])
        trained = [step for role, step in inputs.items() if role.startswith(ARTIFACT_ROLE) and step in touched]
        behind = name if node["kind"] == "selection" else None
        found[name] = StepFound(
            name,
            inputs["documents"],
            run[name],
            StepJudge(*changes[name]) if name in changes else None,
            trained[0] if trained else parent.model if parent else None,
            behind or (parent.behind if parent else None),
            Tally(num_samples),
        )
        if parent is not None:
            parent.children.append(found[name])
    return found


def _walk(roots: Sequence[StepFound], shard: int, num_samples: int) -> dict[str, Tally]:
    """One shard through all steps: the shard of a step comes from the shard of that number of the step before."""
    tallies: dict[str, Tally] = {}

    def visit(step: StepFound, gone: _Gone | None) -> None:
        if shard not in step.dataset.commits and not step.put_together:
            return
        tally = tallies[step.name] = Tally(num_samples, {shard})
        match step.dataset.kind:
            case "documents":
                passed = _documents(step, shard, gone, tally)
            case "selection":
                passed = _selection(step, shard, gone, tally) if gone else None
            case _:
                passed = None
                if gone:
                    _tokens(step, shard, gone, tally)
        for child in step.children:
            visit(child, passed)

    for root in roots:
        visit(root, None)
    return tallies


# -- documents --------------------------------------------------------------------------------------------------------


def _documents(step: StepFound, shard: int, gone: _Gone | None, tally: Tally) -> _Gone | None:
    masks, rows = [], []
    for part, judged, mask in _changes(step, shard, "shards", gone):
        masks.append(mask)
        if mask.any():
            changed = _changed(part, shard, "shards", judged, mask)
            taken = part.rows(np.flatnonzero(mask), ("id", "source", *LANGUAGE_COLUMNS))
            tally.count("go", taken)
            tally.sample("go", taken["id"], changed)
            tally.move(changed)
            rows.append(taken)
    for part, judged, mask in _changes(step, shard, "dropped", gone):
        if mask.any():
            changed = _changed(part, shard, "dropped", judged, mask)
            taken = part.rows(np.flatnonzero(mask), ("id", "source", "language", "bytes"))
            tally.move(changed)
            _returns(step, changed, taken, tally)
    if not rows:
        return None
    mask = np.concatenate(masks)
    tally.going[shard] = np.packbits(mask)
    return _Gone(mask, pa.concat_tables(rows))


def _returns(step: StepFound, changed: Changed, taken: pa.Table, tally: Tally) -> None:
    """Count the dropped rows that come back, and those of which nobody knows."""
    fates = step.judge.fates if step.judge else ()
    open_ = np.array([fate.outcome == "undecided" for fate in fates], np.bool_)[changed.then]
    for kind, mask in (("return", changed.then == KEPT), ("undecided", open_)):
        if mask.any():
            some = taken.filter(pa.array(mask))
            tally.count(kind, some)
            tally.sample(kind, some["id"], changed.only(mask))


def _changes(
    step: StepFound, shard: int, folder: str, gone: _Gone | None
) -> Iterator[tuple[Part, Judged | None, npt.NDArray[np.bool_]]]:
    """Parts of a folder of a shard, each with its fates and a mask of the rows that change.

    Kept rows change where they go, here or in an earlier step; dropped ones where their fate here differs and they
    still come here.
    """
    kept, judge = folder == "shards", step.judge
    columns: frozenset[str] = frozenset()
    if judge is not None and judge.changed:
        columns = judge.kept_columns if kept else judge.dropped_columns
    if not columns and (gone is None or not kept):
        return
    for _, file in files(step.dataset, folder, ".parquet", [shard]):
        with RowFile(step.dataset.run.storage, file.name) as opened:
            for part in opened.parts():
                table = part.read(columns | {"id"} if gone else columns)
                judged = None
                mask = np.zeros(part.num_rows, np.bool_)
                if columns and judge is not None:
                    judged = judge.kept(table) if kept else judge.dropped(table)
                    mask = judged.was != judged.then
                if gone:
                    before = _is_in(table["id"], gone)
                    mask = mask | before if kept else mask & ~before
                    judged = _gone_before(judged, before) if kept else judged
                yield part, judged, mask


def _gone_before(judged: Judged | None, before: npt.NDArray[np.bool_]) -> Judged:
    """The fates, with those of rows that an earlier step no longer keeps."""
    if judged is None:
        none = np.zeros(len(before), np.int32)
        judged = Judged(none + KEPT, none + KEPT, none - 1)
    return Judged(judged.was, np.where(before, np.int32(BEFORE), judged.then), np.where(before, -1, judged.rule))


def _changed(
    part: Part, shard: int, folder: str, judged: Judged | None, mask: npt.NDArray[np.bool_]
) -> Changed:  # fmt: skip
    assert judged is not None, "rows change only where they were judged, or an earlier step lets them go"
    rows = np.flatnonzero(mask) + part.first_row
    return Changed(shard, folder, rows, judged.was[mask], judged.then[mask], judged.rule[mask])


def _is_in(ids: pa.ChunkedArray, gone: _Gone) -> npt.NDArray[np.bool_]:
    return pc.is_in(ids, value_set=gone.rows["id"].combine_chunks()).to_numpy()


# -- what lies behind -------------------------------------------------------------------------------------------------


def _selection(step: StepFound, shard: int, gone: _Gone, tally: Tally) -> _Gone | None:
    """Of the rows that go, those that the selection keeps."""
    keep = keep_bitmap(step.dataset, shard)
    rows = gone.rows.filter(pa.array(keep[gone.mask]))
    if not rows.num_rows:
        return None
    tally.count("go", rows)
    none = np.zeros(rows.num_rows, np.int32)
    tally.move(Changed(shard, "shards", _NO_ROWS, none + KEPT, none + BEFORE, none - 1))
    return _Gone(gone.mask[keep], rows)


def _tokens(step: StepFound, shard: int, gone: _Gone, tally: Tally) -> None:
    """The tokens of rows that go, as they were counted.

    They lie in the token shard of the same number, or in any where documents were put together anew.
    """
    for _, file in files(step.dataset, "shards", "docs.parquet", None if step.put_together else [shard]):
        with RowFile(step.dataset.run.storage, file.name) as opened:
            for part in opened.parts():
                mask = _is_in(part.read(["id"])["id"], gone)
                if mask.any():
                    names = ("source", "language", "num_bytes", "num_tokens")
                    rows = part.rows(np.flatnonzero(mask), names)
                    tally.count("go", rows.rename_columns(["source", "language", "bytes", "tokens"]))
                    none = np.zeros(rows.num_rows, np.int32)
                    tally.move(Changed(shard, "shards", _NO_ROWS, none + KEPT, none + BEFORE, none - 1))
