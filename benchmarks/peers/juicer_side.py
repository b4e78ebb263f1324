"""Data-Juicer's nearest operators; those that read words share them, as it does itself where it fuses operators."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from data_juicer.ops.filter.alphanumeric_filter import AlphanumericFilter
from data_juicer.ops.filter.average_line_length_filter import AverageLineLengthFilter
from data_juicer.ops.filter.character_repetition_filter import CharacterRepetitionFilter
from data_juicer.ops.filter.maximum_line_length_filter import MaximumLineLengthFilter
from data_juicer.ops.filter.special_characters_filter import SpecialCharactersFilter
from data_juicer.ops.filter.stopwords_filter import StopWordsFilter
from data_juicer.ops.filter.text_length_filter import TextLengthFilter
from data_juicer.ops.filter.word_repetition_filter import WordRepetitionFilter
from data_juicer.ops.filter.words_num_filter import WordsNumFilter
from data_juicer.ops.mapper.remove_long_words_mapper import RemoveLongWordsMapper
from data_juicer.ops.mapper.remove_words_with_incorrect_substrings_mapper import (
    RemoveWordsWithIncorrectSubstringsMapper,
)
from data_juicer.ops.op_fusion import FusedFilter
from data_juicer.utils.constant import Fields, StatsKeys
from job import Job

Samples = dict[str, list[Any]]
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
"""Gopher's; Data-Juicer's own list is a download."""


def _stop_words(lang: str) -> StopWordsFilter:
    """Gopher wants two of its eight words in a text of 50 words or more; this filter knows shares alone."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "stopwords.json").write_text(json.dumps({lang: STOP_WORDS}))
        return StopWordsFilter(lang=lang, min_ratio=2 / 50, stopwords_dir=folder)


def _alone(step: Any) -> Callable[[Samples], list[bool]]:
    return lambda samples: list(step.process_batched(step.compute_stats_batched(samples)))


def _sharing_words(filters: Sequence[Any]) -> Callable[[Samples], list[bool]]:
    """Filters over the same words.

    Not a ``FusedFilter``: word repetition of every n writes the same statistic and skips a text that has it, so that there
    only the first n would be measured.
    """

    def keep(samples: Samples) -> list[bool]:
        samples[Fields.context] = [{} for _ in samples[Fields.stats]]
        kept = [True] * len(samples[Fields.stats])
        for one in filters:
            for stats in samples[Fields.stats]:
                stats.pop(StatsKeys.word_rep_ratio, None)
            measured = one.compute_stats_batched(samples, context=True)
            kept = [a and bool(b) for a, b in zip(kept, one.process_batched(measured), strict=True)]
        samples.pop(Fields.context)
        return kept

    return keep


def six(lang: str, sizes: Sequence[int]) -> list[Callable[[Samples], list[bool]]]:
    """Those that need no download, with its own limits unless Gopher has some; ``sizes``: n of word repetition."""
    return [
        _alone(AlphanumericFilter(tokenization=False)),
        _alone(FusedFilter("lines", [AverageLineLengthFilter(), MaximumLineLengthFilter()])),
        _alone(CharacterRepetitionFilter()),
        _alone(SpecialCharactersFilter()),
        _alone(TextLengthFilter()),
        _sharing_words(_word_filters(lang, sizes)),
    ]


def _word_filters(lang: str, sizes: Sequence[int]) -> list[Any]:
    filters = [WordRepetitionFilter(lang=lang, rep_len=n) for n in sizes]
    return [*filters, WordsNumFilter(lang=lang, min_num=50, max_num=100_000)]


def nearest_to_fineweb(lang: str) -> list[Callable[[Samples], list[bool]]]:
    """What comes nearest to Gopher repetition and quality, C4 and FineWeb: those, n = 2 to 10, stop words, C4's phrases.

    C4's long words, "javascript" and "{" go word by word here, not by line or page.
    """

    def edit(samples: Samples) -> list[bool]:
        for mapper in mappers:
            mapper.process_batched(samples)
        return [True] * len(samples["row"])

    mappers = [
        RemoveLongWordsMapper(max_len=1000),
        RemoveWordsWithIncorrectSubstringsMapper(lang=lang, substrings=["javascript", "{"]),
    ]
    *chars, _ = six(lang, ())
    return [*chars, _sharing_words([*_word_filters(lang, range(2, 11)), _stop_words(lang)]), edit]


def _chain(make: Callable[[], list[Callable[[Samples], list[bool]]]]) -> Job:
    steps = make()

    def load(texts: list[str]) -> Samples:
        return {"text": list(texts), "row": list(range(len(texts))), Fields.stats: [{} for _ in texts]}

    def run(samples: Samples) -> tuple[int, list[int]]:
        """Each step measures what the step before has left."""
        num_rows = len(samples["row"])
        for step in steps:
            keep = step(samples)
            samples = {
                name: [value for value, kept in zip(column, keep, strict=True) if kept]
                for name, column in samples.items()
            }
        return num_rows, samples["row"]

    def report(result: tuple[int, list[int]]) -> dict[str, Any]:
        kept = set(result[1])
        return {"kept": [k in kept for k in range(result[0])]}

    return Job(load, run, report)


JOBS: dict[str, Callable[[], Job]] = {
    "chain english": partial(_chain, partial(six, "en", (10,))),
    "chain english n-grams": partial(_chain, partial(six, "en", range(2, 11))),
    "chain english nearest": partial(_chain, partial(nearest_to_fineweb, "en")),
    "chain chinese": partial(_chain, partial(six, "zh", (10,))),
}
