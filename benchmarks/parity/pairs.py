"""Which of a peer's rules is held against which of our operators, and under which names its numbers go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from operators import (
    C4BadWords,
    C4Lines,
    C4Paragraphs,
    CodeQuality,
    FinewebQuality,
    GopherQuality,
    GopherRepetition,
    SymbolLines,
)
from operators.kernels.segmentation import WordRule
from pipeline.operator import Filter, Operator

REPETITION = {
    "dup_para_frac": "duplicate_paragraph_fraction",
    "dup_para_char_frac": "duplicate_paragraph_chars",
    "dup_line_frac": "duplicate_line_fraction",
    "dup_line_char_frac": "duplicate_line_chars",
    **{f"top_{n}_gram": f"top_{n}_gram" for n in (2, 3, 4)},
    **{f"duplicate_{n}_gram": f"duplicate_{n}_gram" for n in range(5, 11)},
}
QUALITY = {
    "min_doc_words": "num_words",
    "min_avg_word_length": "chars_per_word",
    "max_symbol_word_ratio": "hash_per_word",
    "max_symbol_word_ratio.2": "ellipsis_per_word",
    "max_bullet_lines_ratio": "bullet_line_fraction",
    "max_ellipsis_lines_ratio": "ellipsis_line_fraction",
    "max_non_alpha_words_ratio": "alpha_word_fraction",
    "min_stop_words": "num_stop_words",
}
C4 = {
    "line-total": "lines",
    "line-kept": "kept_lines",
    "line-filter-too_long_word": "long_word_lines",
    "line-filter-no_terminal_punc": "unfinished_lines",
    "line-filter-too_few_words": "short_lines",
    "line-filter-javascript": "javascript_lines",
    "line-filter-policy": "policy_lines",
    "sentences": "sentences",
}
FINEWEB = {
    "line_punct_thr": "punctuated_line_fraction",
    "short_line_thr": "short_line_fraction",
    "char_duplicates_ratio": "duplicate_char_fraction",
    "new_line_ratio": "newlines_per_word",
}
DOLMA_REPETITION = {
    "fraction_of_duplicate_lines": "duplicate_line_fraction",
    "fraction_of_characters_in_duplicate_lines": "duplicate_line_chars",
    **{f"fraction_of_characters_in_most_common_{n}grams": f"top_{n}_gram" for n in (2, 3, 4)},
    **{f"fraction_of_characters_in_duplicate_{n}grams": f"duplicate_{n}_gram" for n in range(5, 11)},
}
DOLMA_QUALITY = {
    "word_count": "dolma_num_words",
    "median_word_length": "dolma_median_word_chars",
    "symbol_to_word_ratio": "dolma_symbol_word_fraction",
    "fraction_of_words_with_alpha_character": "dolma_alpha_word_fraction",
    "required_word_count": "dolma_num_stop_words",
    "fraction_of_lines_starting_with_bullet_point": "dolma_bullet_line_fraction",
    "fraction_of_lines_ending_with_ellipsis": "dolma_ellipsis_line_fraction",
}


CHAINS: tuple[tuple[str, str, WordRule], ...] = (
    ("datatrove", "chain english nltk", "unicode"),
    ("datatrove", "chain english", "spacy"),
    ("nemo", "chain english", "unicode"),
)
"""Tool, job, and the words that ours goes by."""


def chain(words: WordRule) -> tuple[Operator, ...]:
    """FineWeb's filters in its order, C4 without the rule on end marks."""
    judging = (GopherRepetition(words=words), GopherQuality(words=words))
    return (*judging, C4Lines(require_end_mark=False), FinewebQuality(words=words))


TOP_LIMITS = {2: 0.20, 3: 0.18, 4: 0.16}
DUPLICATE_LIMITS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}


class Pair(NamedTuple):
    """One comparison."""

    peer: str
    job: str
    ours: Operator
    numbers: Mapping[str, str]
    """Their name to our measure."""
    documents: Literal["all", "en", "zh", "code"] = "all"
    """Which of them: in a language, or Python sources."""
    words: str = ""
    """Their tokenizer, where it differs from ours: a document whose words are found otherwise is explained by that."""
    convert: Callable[[float], float] = float
    """Their number in our terms."""
    definition: str = ""
    """How the definitions differ, where they do."""


def _datatrove(kind: str, operators: Callable[[str], Operator], numbers: Mapping[str, str]) -> list[Pair]:
    return [
        Pair("datatrove", f"{kind} split", operators("split"), numbers),
        Pair("datatrove", f"{kind} nltk", operators("unicode"), numbers, documents="en", words="nltk"),
        Pair("datatrove", f"{kind} spacy", operators("spacy"), numbers, documents="en"),
    ]


def _complement(share: float) -> float:
    return 1.0 - share


def _only(kind: type[Filter], limits: Mapping[str, float], **options: object) -> Filter:
    """A filter with these limits and no others."""
    names = [name for name in kind.model_fields if name.startswith(("min_", "max_"))]
    return kind(**{**dict.fromkeys(names), **limits, **options})


def _nemo(job: str, ours: Filter, measure: str, definition: str = "", *, complement: bool = False) -> Pair:
    return Pair("nemo", job, ours, {job: measure}, definition=definition, convert=_complement if complement else float)


def _nemo_words() -> list[Pair]:
    dolma, dclm = {"flavour": "dolma"}, {"flavour": "dclm", "words": "split"}
    return [
        _nemo("word_count", _only(GopherQuality, {"min_words": 50, "max_words": 100_000}, **dolma), "dolma_num_words"),
        _nemo("mean_word_length", _only(GopherQuality, {"min_word_chars": 3.0, "max_word_chars": 10.0}, **dclm),
              "dclm_chars_per_word"),
        _nemo("words_with_letters", _only(GopherQuality, {"min_alpha_word_fraction": 0.8}, **dolma),
              "dolma_alpha_word_fraction", "[[:alpha:]] of the package regex takes combining marks for letters"),
        _nemo("common_words", _only(GopherQuality, {"min_stop_words": 2}, **dolma), "dolma_num_stop_words"),
    ]  # fmt: skip


def _nemo_repetition() -> list[Pair]:
    split = {"words": "split"}
    result = [
        _nemo("repeated_lines", _only(GopherRepetition, {"max_duplicate_line_fraction": 0.3}, **split),
              "duplicate_line_fraction", "lines of white space do not count, nor an empty one at the end",
              complement=True),
        _nemo("repeated_lines_char", _only(FinewebQuality, {"max_duplicate_char_fraction": 0.2}, **split),
              "duplicate_char_fraction", "lines of white space are not in the denominator", complement=True),
        _nemo("repeated_paragraphs", _only(GopherRepetition, {"max_duplicate_paragraph_fraction": 0.3}, **split),
              "duplicate_paragraph_fraction", "split at exactly two line feeds, text not stripped", complement=True),
        _nemo("repeated_paragraphs_char", _only(GopherRepetition, {"max_duplicate_paragraph_chars": 0.2}, **split),
              "duplicate_paragraph_chars", "line feeds between paragraphs are not in the denominator", complement=True),
    ]  # fmt: skip
    top = "characters that str.replace of the n-gram removes; ties by hash order; 1 if fewer than n words"
    copies = "later copies, each character once, with the blanks; 1 if fewer than n words"
    for kind, limits, definition in (("top", TOP_LIMITS, top), ("duplicate", DUPLICATE_LIMITS, copies)):
        for n, limit in limits.items():
            name = f"{kind}_{n}_gram"
            result.append(_nemo(name, _only(GopherRepetition, {f"max_{name}": limit}, **split), name, definition))
    return result


def _dolma_lines() -> list[Pair]:
    """Dolma's C4 tagger counts lines that break a rule, each rule for itself; ours stops at the first."""
    off = {name: False for name in C4Lines.model_fields if name.startswith("drop_")}
    rules = {**off, "flavour": "c4", "max_word_chars": None, "min_sentences": None, "remove_citations": False}
    ends = C4Lines(**{**rules, "min_words_per_line": None})
    short = C4Lines(**{**rules, "min_words_per_line": 3, "require_end_mark": False})
    return [
        Pair("dolma", "c4_v2", ends, {"line_count": "lines", "lines_with_no_ending_punctuation": "unfinished_lines"},
             definition='lines end at line feeds only; "..." ends a line well'),
        Pair("dolma", "c4_v2", short, {"lines_with_too_few_words": "short_lines"},
             definition="lines end at line feeds only"),
    ]  # fmt: skip


def _nemo_code() -> list[Pair]:
    python = {"flavour": "nemo", "language": "python", "keep": None}
    comments = {"min_comment_fraction": 0.01, "max_comment_fraction": 0.85}
    docstrings = "doc strings of the syntax tree, without their quotes and indents; 0 for what does not compile"
    return [
        pair._replace(documents="code")
        for pair in (
            _nemo("code_lines", _only(CodeQuality, {"min_lines": 10, "max_lines": 20_000}, **python), "num_lines"),
            _nemo("code_letters", _only(CodeQuality, {"min_alpha_fraction": 0.25}, **python), "alpha_fraction"),
            _nemo("code_xml", _only(CodeQuality, {"max_xml_headers": 0}, **python), "xml_headers"),
            _nemo("code_comments", _only(CodeQuality, comments, **python), "comment_fraction", docstrings),
        )
    ]


def pairs() -> list[Pair]:
    """All comparisons."""
    return [
        *_datatrove("repetition", lambda words: GopherRepetition(words=words), REPETITION),
        *_datatrove("quality", lambda words: GopherQuality(words=words), QUALITY),
        *_datatrove("fineweb", lambda words: FinewebQuality(words=words), FINEWEB),
        Pair("datatrove", "c4 nltk", C4Lines(), C4, documents="en", words="nltk"),
        Pair("datatrove", "c4 spacy", C4Lines(), C4, documents="en", words="spacy"),
        Pair("datatrove lines", "symbol_lines |", SymbolLines(), {}),
        Pair("datatrove lines", "symbol_lines", SymbolLines(symbols="punctuation"), {}),
        Pair("datatrove lines", "c4_paragraphs", C4Paragraphs(), {}),
        Pair("datatrove lines", "bad_words en", C4BadWords(language="en"), {}, documents="en"),
        Pair("datatrove lines", "bad_words zh", C4BadWords(language="zh"), {}, documents="zh"),
        Pair("dolma", "gopher_v1", GopherRepetition(flavour="dolma"), DOLMA_REPETITION),
        Pair("dolma", "gopher_v2", GopherRepetition(flavour="dolma_v2"), DOLMA_REPETITION),
        Pair("dolma", "gopher_v1", GopherQuality(flavour="dolma"), DOLMA_QUALITY),
        *_dolma_lines(),
        *_nemo_words(),
        *_nemo_repetition(),
        *_nemo_code(),
    ]
