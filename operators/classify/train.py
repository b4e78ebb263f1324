"""Trains a classifier of texts from labelled documents."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from pydantic import Field

from operators.classify.fasttext_model import PREFIX, label_scores, open_model
from operators.classify.fasttext_process import train
from operators.classify.prepare import one_line
from operators.classify.report_card import HeldOut, card
from pipeline.documents import text_bytes
from pipeline.errors import UserError
from pipeline.fingerprint import file_sha256
from pipeline.ledger import Count, Ledger
from pipeline.rejects import languages, sources
from pipeline.work import EVERY, Extent, Node, Output, Result, Shard, ShardWork, Task, TaskPlan


class _Example(NamedTuple):
    """A training text; sorted by its draw, so that neither shards nor their order show."""

    draw: int
    id: str
    label: str
    line: str


class TrainClassifier(ShardWork):
    """Trains a fastText classifier on the documents that have a text and a label; others are counted as dropped.

    A share of the documents, chosen by a hash of their id, is held out; the card (``.card.json``) says how well the
    model (``.bin``) does on them. ``bucket`` and ``dim`` bound the model's size: (words + bucket) x dim x 4 bytes, 6 MB
    and up with the defaults, where fastText's own take 800 MB.

    Source: fastText (Joulin et al. 2016, arXiv:1607.01759); the recipe follows DataComp-LM (arXiv:2406.11794).
    """

    kind: ClassVar[Literal["artifact"]] = "artifact"
    recorded: ClassVar[bool] = True  # fastText's threads write over each other: no two trainings give the same bytes
    barrier: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("fasttext-numpy2-wheel",)

    engine: Literal["fasttext"] = "fasttext"
    label: str = "label"
    """The column that holds the label, a string or an integer."""
    word_ngrams: int = Field(default=2, ge=1)
    dim: int = Field(default=32, ge=1)
    bucket: int = Field(default=50_000, ge=1)
    epochs: int = Field(default=5, ge=1)
    lr: float = Field(default=0.1, gt=0)
    min_count: int = Field(default=3, ge=1)
    # fastText fills its matrix in 10 blocks but starts only `thread` fillers: below 10, training dies of NaN more
    # often than not (issues 935 and 1061 of its archived repository).
    threads: int = Field(default=12, ge=10)
    max_chars: int = Field(default=10_000, ge=0)
    """Characters read of each text, 0 for all; as in ``quality_classifier``."""
    held_out_fraction: float = Field(default=0.1, ge=0, lt=1)
    cut: float = Field(default=0.5, ge=0, le=1)
    """The score at which the card takes precision and recall."""
    seed: int | None = None
    """Chooses who is held out, and the order of training; null: the recipe's."""

    def nodes(self, step: str, source: str | None, seed: int) -> tuple[Node, ...]:
        """One node: the model.

        Raises:
            UserError: the step has no ``from``.
        """
        if source is None:
            msg = f"step {step!r}: train_classifier needs labelled documents; add `from: <step>`"
            raise UserError(msg)
        work = self.model_copy(update={"seed": seed}) if self.seed is None else self
        return (Node(step, work, {"documents": source}),)

    def tasks(self, shards: Mapping[str, Extent]) -> Sequence[TaskPlan]:  # noqa: ARG002  # one task however many there are
        """One task."""
        return [TaskPlan(0, {"documents": EVERY})]

    def run(self, task: Task) -> Result:
        """Train, and examine on the texts held out.

        Raises:
            UserError: the label column is missing, or fewer than two labels are left to train on.
            RunFailedError: fastText failed.
        """
        ledger = Ledger()
        examples = sorted(self._examples(task.inputs["documents"], ledger))
        limit = int(self.held_out_fraction * 2**64)
        held_out = [HeldOut(row.id, row.label, row.line) for row in examples if row.draw < limit]
        training = [row for row in examples if row.draw >= limit]
        counts = Counter(row.label for row in training)
        if len(counts) < 2:
            msg = f"a classifier needs at least two labels in column {self.label!r}, got {dict(counts)} in {len(training)} documents"
            raise UserError(msg)
        lines = task.scratch / "training.txt"
        with lines.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{PREFIX}{row.label} {row.line}\n" for row in training)
        model = task.scratch / "model.bin"
        train(self._arguments(lines), model, task.scratch)
        facts: dict[str, Any] = {"training": dict(sorted(counts.items())), "held_out": len(held_out), "cut": self.cut}
        facts["training_sha256"] = file_sha256(lines)
        scores = label_scores(open_model(str(model)), [row.line for row in held_out])
        report = {**facts, "parameters": self.model_dump(mode="json"), "labels": card(held_out, scores, self.cut)}
        path = task.scratch / "card.json"
        path.write_text(json.dumps(report, ensure_ascii=False, indent=1, sort_keys=True), encoding="utf-8")
        return Result([Output(model, ".bin"), Output(path, ".card.json")], ledger, facts)

    def _examples(self, shards: Sequence[Shard], ledger: Ledger) -> list[_Example]:
        return [row for shard in shards for docs in shard.documents() for row in self._usable(docs, ledger)]

    def _usable(self, docs: pa.Table, ledger: Ledger) -> list[_Example]:
        if self.label not in docs.column_names:
            msg = (
                f"train_classifier reads labels from column {self.label!r}, but the documents have {docs.column_names}"
            )
            raise UserError(msg)
        lines = one_line(docs["text"].combine_chunks(), self.max_chars).to_pylist()
        marks = pc.utf8_trim_whitespace(docs[self.label].combine_chunks().cast(pa.string())).to_pylist()
        ids: list[Any] = docs["id"].combine_chunks().cast(pa.binary()).to_pylist()
        sizes: list[Any] = text_bytes(docs).to_pylist()
        examples: list[_Example] = []
        groups: list[Any] = pc.binary_join_element_wise(sources(docs), languages(docs), pa.scalar("|")).to_pylist()
        for key, line, mark, size, group in zip(ids, lines, marks, sizes, groups, strict=True):
            ledger.into.add(1, size)
            ledger.group_into.setdefault(group, Count()).add(1, size)
            if not line or not mark:
                reason = "no_label" if line else "no_text"
                ledger.dropped.setdefault(f"train_classifier:{reason}", Count()).add(1, size)
                continue
            if len(mark.split()) > 1:
                msg = f"label {mark!r} in column {self.label!r} holds a blank, which fastText cannot take; write it as one word"
                raise UserError(msg)
            ledger.kept.add(1, size)
            ledger.group_kept.setdefault(group, Count()).add(1, size)
            draw = xxhash.xxh3_64_intdigest(key, seed=self.seed or 0)
            examples.append(_Example(draw, key.hex(), mark, line))
        return examples

    def _arguments(self, lines: Path) -> dict[str, Any]:
        return {
            "input": str(lines), "wordNgrams": self.word_ngrams, "dim": self.dim, "bucket": self.bucket, "minn": 0, "maxn": 0,
            "epoch": self.epochs, "lr": self.lr, "minCount": self.min_count, "thread": self.threads, "verbose": 0,
        }  # fmt: skip
