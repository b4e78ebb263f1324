"""Who saw a document before it was taken down: models, at which steps, and exports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.dataset import Dataset, Run
from pipeline.pretrain.data.batches import checked_batches
from pipeline.pretrain.data.corpus import Corpus
from pipeline.pretrain.data.documents import Int64s
from pipeline.pretrain.data.mixture import read_mixture
from pipeline.pretrain.data.packed import PackedRows
from pipeline.pretrain.data.source import RowSource
from pipeline.pretrain.data.streamed import StreamedRows
from pipeline.pretrain.work import Pretrain
from pipeline.takedown.finding import Found
from workflows.takedown.lineage import bases, last_step, plain, start_of, trained_models, upstream

_STEPS_TOLD = 1000


@dataclass
class Model:
    """A training that read a tokens step with the documents in it.

    steps: by hex id, at which steps a window held tokens of it (none: held out for evaluation, or not drawn yet).
    trained_to: its last step so far. checkpoints: those that came after the first of these steps. began_with: the model
    whose weights came first, which may have seen them too. learned_before: those models of this run, the last one first, that
    did see them, or may have; then every checkpoint has what they learned. unknown: why the steps could not be told; then all
    of them may have.
    """

    step: str
    folder: str
    trained_to: int = 0
    steps: dict[str, list[int]] = field(default_factory=dict)
    checkpoints: list[str] = field(default_factory=list)
    began_with: str | None = None
    learned_before: list[str] = field(default_factory=list)
    unknown: str | None = None


def models(run: Run, found: Found) -> list[Model]:
    """The models of a run that were trained, or are being trained, on token shards that hold the documents."""
    holding = {step for step, _ in found.hits if run.nodes[step]["kind"] == "tokens"}
    seen = [_model(run, name, found) for name in trained_models(run) if not holding.isdisjoint(upstream(run, name))]
    _inherit(run, seen)
    return seen


def _inherit(run: Run, seen: Sequence[Model]) -> None:
    """What a model learned, those have that began with its weights."""
    learned = {one.step for one in seen if one.unknown or any(one.steps.values())}
    for model in seen:
        model.learned_before = [base for base in bases(run, model.step) if base in learned]
        if model.learned_before:
            model.checkpoints = [name for name, _ in _checkpoints(run[model.step])]


def _model(run: Run, name: str, found: Found) -> Model:
    dataset = run[name]
    model = Model(name, dataset.folder, last_step(dataset))
    if not model.trained_to:
        return model
    inputs = run.nodes[name]["inputs"]
    tokens = inputs.get("documents")
    if tokens is None or run.nodes[tokens]["kind"] != "tokens" or "Pretrain" not in run.facts["recipe"].get(name, {}):
        model.unknown = "it does not train on token shards in the order of `pretrain`"
        return model
    model.began_with = _began_with(start_of(run, name))
    try:
        data = _data(run, name, inputs)
        model.steps = _steps(data, _spans(run[tokens], found), model.trained_to)
    except Exception as error:  # noqa: BLE001  # whatever it is, the model saw them and must be told of
        model.unknown = f"its data cannot be opened as it was: {type(error).__name__}: {error}"
        return model
    first = min((steps[0] for steps in model.steps.values() if steps), default=None)
    model.checkpoints = [name for name, step in _checkpoints(dataset) if first is not None and step >= first]
    return model


def _began_with(start: Mapping[str, Any]) -> str | None:
    """start: what the recipe recorded of ``start_from``."""
    if not start:
        return None
    return start["model"] or f"step {start['step']['step']}"


def _checkpoints(dataset: Dataset) -> Iterator[tuple[str, int]]:
    folders = {"/".join(name.split("/")[:3]) for name in dataset.run.storage.list(f"{dataset.folder}/checkpoints")}
    for folder in sorted(folders):
        digits = folder.rpartition("step-")[2]
        if digits.isdigit():
            yield folder, int(digits)


def _data(run: Run, name: str, inputs: Mapping[str, str]) -> tuple[Corpus, RowSource, int]:
    """What a model trains on, its order, and the tokens of a window."""
    fields = plain(run.facts["recipe"][name]["Pretrain"])
    fields["start_from"] = None  # which weights came first decides nothing of what was read
    work = Pretrain.model_validate({**fields, "seed": run.facts["seed"] if fields["seed"] is None else fields["seed"]})
    planned = None
    if "mixture" in inputs:
        planned = read_mixture(run[inputs["mixture"]].shards()[0].file(".json").read_text(encoding="utf-8"))
    sequences = run[inputs["sequences"]].shards() if "sequences" in inputs else ()
    home = Path(run.storage.uri) / run[name].folder
    job = work.job(run[inputs["documents"]].shards(), home, planned, sequences)
    return *checked_batches(job, 1, wait=False), job.config.sequence_length + 1


class _Span(NamedTuple):
    """Where the tokens of a document lie: position of the shard in the corpus, row of the document there."""

    identity: str
    shard: int
    row: int
    start: int
    count: int


def _spans(dataset: Dataset, found: Found) -> list[_Span]:
    spans = []
    for position, shard in enumerate(dataset.shards()):
        if (dataset.name, shard.index) in found.hits:
            table = pq.read_table(shard.file(".docs.parquet"), columns=["id", "url", "start", "num_tokens"])
            numbers = np.flatnonzero(found.forbidden.rows(table))
            for number, row in zip(numbers.tolist(), table.take(pa.array(numbers)).to_pylist(), strict=True):
                spans.append(_Span(row["id"].hex(), position, number, row["start"], row["num_tokens"]))
    return spans


def _steps(data: tuple[Corpus, RowSource, int], spans: Sequence[_Span], trained_to: int) -> dict[str, list[int]]:
    """The steps, up to some number of them, whose rows held tokens of each span."""
    corpus, source, window = data
    result: dict[str, list[int]] = {span.identity: [] for span in spans}
    if isinstance(source, PackedRows | StreamedRows):
        held = [(span.identity, partial(_one_of, source.rows_with(span.shard, span.row))) for span in spans]
    else:
        held = [(span.identity, partial(_overlap, at, span.count, window)) for span, at in _placed(corpus, spans)]
    for step in range(1, trained_to + 1) if held else ():
        rows = source.rows(step)
        for identity, holds in held:
            if len(result[identity]) < _STEPS_TOLD and holds(rows):
                result[identity].append(step)
    return result


def _placed(corpus: Corpus, spans: Sequence[_Span]) -> Iterator[tuple[_Span, int]]:
    """Where in the stream of windows each span begins, if it is there."""
    begins = np.concatenate([np.zeros(1, np.int64), corpus.segment_end[:-1]])[: len(corpus.segment_end)]
    ends = corpus.segment_start + corpus.segment_end - begins
    for span in spans:
        inside = (corpus.segment_shard == span.shard) & (corpus.segment_start <= span.start) & (span.start < ends)
        for k in np.flatnonzero(inside).tolist():
            yield span, int(begins[k]) + span.start - int(corpus.segment_start[k])


def _one_of(wanted: Int64s, rows: Int64s) -> bool:
    return bool(np.isin(rows, wanted).any())


def _overlap(at: int, count: int, window: int, rows: Int64s) -> bool:
    return bool(((rows < at + count) & (rows + window > at)).any())


def exports(run: Run, found: Found) -> list[Mapping[str, Any]]:
    """Records of exports of datasets that hold the documents, by their folders.

    Packed sequences and mixtures hold none: their exports are of the token shards that they are ``over``. certain: False
    for exports of what the run no longer has, which may hold them.
    """
    holding = _holding(run, found)
    folders = {run.nodes[step]["dataset"] for step in holding}
    current = {node["dataset"] for node in run.nodes.values()}
    records: list[Mapping[str, Any]] = []
    for name in run.storage.list("exports") if holding else ():
        if not name.endswith(".json"):
            continue
        record = orjson.loads(run.storage.read_bytes(name))
        dataset, over = record["dataset"], record.get("over")
        certain = not folders.isdisjoint({dataset, over})
        if certain or (over or dataset) not in current:
            kept = {key: record.get(key) for key in ("step", "to", "out", "time", "generation", "dataset", "over")}
            records.append({**kept, "certain": certain})
    return records


def _holding(run: Run, found: Found) -> set[str]:
    """Steps whose documents or tokens have one of the pages; one that dropped or removed it has not."""
    pages = [*found.pages.values(), *found.nameless]
    holding = {step for page in pages for step, what, _ in page.places if what in ("kept", "tokenized", "read")}
    for step, _ in found.hits:
        base = run.nodes[step]["inputs"].get("documents")
        if base is not None and run.nodes[base]["kind"] == "source":
            holding.add(base)
    return holding
