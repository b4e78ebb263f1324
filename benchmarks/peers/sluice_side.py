"""Our side: ``pipeline.apply``, which also accounts for every row and moves dropped ones aside."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pyarrow as pa
from job import Job

from operators import C4Lines, CodeQuality, FinewebQuality, GopherQuality, GopherRepetition
from pipeline import apply
from pipeline.operator import Filter

ZH_STOP_WORDS = tuple("的年在月是和日了於·為有被人中为他與後也而由")


def english_chain() -> list[Any]:
    """FineWeb's filters in its order, C4 without the rule on end marks."""
    return [GopherRepetition(), GopherQuality(), C4Lines(require_end_mark=False), FinewebQuality()]


def short_chain() -> list[Any]:
    """The operators that hold Data-Juicer's six measures; each also has measures that it cannot leave out.

    Letters: ``alpha_word_fraction``. Line lengths: ``short_line_fraction``. Repetition of words and characters: the n-grams
    of ``GopherRepetition``. Special characters: ``hash_per_word``, ``ellipsis_per_word``. Length and words: ``num_words``.
    """
    return [GopherRepetition(), GopherQuality(), FinewebQuality()]


def chinese_chain() -> list[Any]:
    """FineWeb2's filters in its order, with its limits for cmn_Hani."""
    top = {f"max_top_{n}_gram": limit for n, limit in zip((2, 3, 4), (0.256, 0.201, 0.171), strict=True)}
    limits = (0.198, 0.182, 0.167, 0.154, 0.14, 0.127)
    duplicates = {f"max_duplicate_{n}_gram": limit for n, limit in zip(range(5, 11), limits, strict=True)}
    off = dict.fromkeys(("paragraph_fraction", "paragraph_chars", "line_chars"))
    return [
        GopherRepetition(
            max_duplicate_line_fraction=0.287, **{f"max_duplicate_{name}": None for name in off}, **top, **duplicates
        ),
        FinewebQuality(
            min_punctuated_line_fraction=0.106,
            max_short_line_fraction=None,
            max_duplicate_char_fraction=0.1,
            max_newlines_per_word=0.178,
        ),
        GopherQuality(min_word_chars=1, max_word_chars=5, min_alpha_word_fraction=0.735, stop_words=ZH_STOP_WORDS),
    ]


def code_chain() -> list[Any]:
    """NeMo's filters of Python code."""
    return [CodeQuality(flavour="nemo", language="python")]


def _chain(make: Callable[[], list[Any]]) -> Job:
    chain = make()
    for operator in chain:
        operator.prepare()

    def load(texts: list[str]) -> pa.Table:
        ids = pa.array([str(k) for k in range(len(texts))], pa.string())
        return pa.table({"id": ids, "text": pa.array(texts, pa.large_string())})

    def run(docs: pa.Table) -> tuple[int, pa.Table]:
        return docs.num_rows, apply(chain, docs).kept

    def report(result: tuple[int, pa.Table]) -> dict[str, Any]:
        kept = set(result[1]["id"].to_pylist())
        return {"kept": [str(k) in kept for k in range(result[0])]}

    return Job(load, run, report)


def _operators(make: Callable[[], list[Any]]) -> Job:
    """The operators alone, each over all rows, those behind a map over what it left: no verdicts, excerpts or account."""
    chain = make()
    whole = _chain(make)

    def run(docs: pa.Table) -> pa.Table:
        first = docs
        for operator in chain:
            if isinstance(operator, Filter):
                operator.measure(docs)
            else:
                docs = operator.map(docs)
        return first

    def report(docs: pa.Table) -> dict[str, Any]:
        return whole.report((docs.num_rows, apply(chain, docs).kept))

    return Job(whole.load, run, report)


JOBS: dict[str, Callable[[], Job]] = {
    "chain english": partial(_chain, english_chain),
    "operators english": partial(_operators, english_chain),
    "chain short": partial(_chain, short_chain),
    "operators short": partial(_operators, short_chain),
    "chain chinese": partial(_chain, chinese_chain),
    "operators chinese": partial(_operators, chinese_chain),
    "chain code": partial(_chain, code_chain),
    "operators code": partial(_operators, code_chain),
}
