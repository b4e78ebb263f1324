"""The quality signals of RedPajama-V2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pyarrow as pa

from operators.filters import redpajama_files as files
from operators.filters import redpajama_measures as measures
from operators.kernels.normalised import normalised
from operators.kernels.rpv2_lines import measured_lines
from operators.kernels.rpv2_words import RAW_MEASURES, WORD_MEASURES, raw_measures, word_measures
from operators.kernels.segmentation import Segments, segments
from pipeline.language_labels import short_labels
from pipeline.operator import Filter
from pipeline.rejects import languages
from pipeline.value import Artifact, Value


class Models(Value):
    """fastText models of which ``__label__cc`` is the class of ordinary crawl."""

    wikiref: Artifact | None = None
    palm: Artifact | None = None
    wikipedia: Artifact | None = None


class Targets(Value):
    """Files of ``operators.filters.importance_weights``, one a target."""

    books: Artifact | None = None
    openwebtext: Artifact | None = None
    wikipedia: Artifact | None = None


class RedpajamaSignals(Filter):
    r"""Stores every quality signal of RedPajama-V2 under the name it has there, and drops nothing.

    Raw words are ``\w+|[^\w\s]+`` (NLTK's WordPunctTokenizer). Words are those of the normalised text: ASCII punctuation
    deleted ("a-b" becomes "ab"), lower case, NFD, split at white space. Lines end with their line feed. Numbers are
    rounded to 8 decimals. The reference wraps each in ``[[0, length, score]]``, those of lines in the offsets of each
    line; both follow from the text and are not stored. ``language`` (else the documents' language column) chooses the
    word lists. Not here: ``ccnet_perplexity`` and ``ccnet_bucket``, which need a KenLM model.

    Measures: null for a null text; int64 where a number is counted, else float64.
    ``rps_doc_word_count``, ``rps_doc_num_sentences`` (stretches between runs of . ! ? with a letter or digit; Chinese
    marks do not divide), ``rps_doc_ldnoobw_words`` (n-grams of words on LDNOOBW's list, byte by byte, so that entries
    with capitals, accents or punctuation are never found: all but 7 of 68 in Spanish; de en es fr it, 0 elsewhere): >= 0,
    0 for an empty text.
    ``rps_doc_mean_word_length`` (code points), ``rps_doc_frac_unique_words``, ``rps_doc_unigram_entropy`` (nats): null
    without words.
    ``rps_doc_symbol_to_word_ratio`` ("#", "..." and "…"), ``rps_doc_frac_no_alph_words`` (without an ASCII letter: 1 for
    Chinese), ``rps_doc_frac_all_caps_words``: per raw word; null without one.
    ``rps_doc_stop_word_fraction``: raw words on the list of stopwords-json, case-sensitive, [0, 1]; 0 without words, null
    for languages other than de en es fr it (and zh, which the reference lacks: a run of Han is one word).
    ``rps_doc_lorem_ipsum`` per character of the normalised text, ``rps_doc_curly_bracket`` per character: 0 where empty.
    ``rps_doc_frac_chars_top_{2,3,4}gram`` (can pass 1), ``rps_doc_frac_chars_dupe_{5..10}grams``: as of
    ``gopher_repetition`` with flavour rpv2; 0 for too few words.
    ``rps_doc_frac_lines_end_with_ellipsis``: null without lines, that is for an empty text.
    ``rps_lines_*``: one list<double> a text with a value a line, [] for an empty text (``line_values: false`` leaves them
    out); and ``rps_lines_*_mean``, null for an empty text: of 0 and 1 for ``ending_with_terminal_punctution_mark`` (sic;
    . ! ? ”) and ``start_with_bulletpoint`` (not - or *); counts for ``javascript_counts`` and ``num_words``; shares for
    ``numerical_chars_fraction`` (of the normalised line; 三 counts) and ``uppercase_letter_fraction``.
    ``rps_lines_total``: how many there are.
    ``rps_doc_ut1_blacklist``: where ``domains`` names a file (host, tab or blank, category on a line): the number of the
    set of categories of the URL's host (``redpajama_lists.read_domains``), null where it is not listed.
    ``rps_doc_ml_{wikiref,palm,wikipedia}_score``: for each of ``models``: 1 - probability of ``cc``, or the probability of
    the label above it, [0, 1]; null for an empty text.
    ``rps_doc_{books,openwebtext,wikipedia}_importance``: for each of ``importance``: log-likelihood ratio of raw words and
    their pairs, target to source, nats; null for an empty text. The hash that counts them is FNV-1a, where the reference
    has Python's, salted anew by each process: its counts cannot be used. ``..._length_correction``: plus that of the
    length under Poisson laws; as there, the length is in characters and the mean in words, so the term is nearly always 0.
    ``ccnet_length`` (characters), ``ccnet_nlines`` (split at line feeds; 0 for an empty text); ``ccnet_original_length``,
    ``ccnet_original_nlines``: of the documents' columns ``original_length``, ``original_nlines``, else the same;
    ``ccnet_language_score``: of ``language.score`` or ``language_score``, absent without.

    Source: RedPajama-V2 (Weber et al. 2024), arXiv:2411.12372, appendix; code of togethercomputer/RedPajama-Data.
    """

    libraries: ClassVar[tuple[str, ...]] = ("fasttext-numpy2-wheel",)
    reads: ClassVar[tuple[str, ...]] = (
        "text", "url", "language.label", "language", "lang", "language.score", "language_score",
        "original_length", "original_nlines",
    )  # fmt: skip

    language: str | None = None
    line_values: bool = True
    domains: Artifact | None = None
    models: Models = Models()
    importance: Targets = Targets()

    def prepare(self) -> None:
        """Load the files and compile the kernels."""
        self.measure(pa.table({"text": pa.array(["A word."], pa.large_string()), "url": ["https://example.org"]}))

    def measure(self, docs: pa.Table) -> Mapping[str, pa.Array]:
        """All signals, in the reference's groups."""
        found = segments(docs)
        flat, valid = Segments(normalised(found.texts)), found.texts.valid
        raw = dict(zip(RAW_MEASURES, raw_measures(found), strict=True))
        words = dict(zip(WORD_MEASURES, word_measures(flat), strict=True))
        codes = pa.repeat(self.language, docs.num_rows) if self.language else short_labels(languages(docs))
        with np.errstate(divide="ignore", invalid="ignore"):  # nothing divided by nothing is undefined
            return (
                measures.ccnet(docs, raw)
                | measures.listed(codes, found, flat, words, raw)
                | files.domains(docs, self.domains)
                | measures.words(raw, words)
                | measures.repeated(flat)
                | measures.lines(measured_lines(found.texts, keep=self.line_values), valid, keep=self.line_values)
                | files.model_scores(docs, {name: getattr(self.models, name) for name in Models.model_fields})
                | files.importances(found, raw, {name: getattr(self.importance, name) for name in Targets.model_fields})
            )
