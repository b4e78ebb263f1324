"""RedPajama-V2's signals that need a file from the user: hosts, classifiers, importance weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from operators.classify.fasttext_model import load_artifact, top_label
from operators.filters.importance_weights import read_importance
from operators.filters.redpajama_lists import domain_ids, read_domains
from operators.filters.redpajama_measures import Columns, Floats, numbers
from operators.kernels.rpv2_importance import importance, length_terms
from operators.kernels.segmentation import Segments
from pipeline.named_files import file_state
from pipeline.value import Artifact

_BREAKS = r"\r\n|[\n\r\x0b\x0c\x1c-\x1e\x{85}\x{2028}\x{2029}]"
"""Where ``str.splitlines`` breaks."""


def domains(docs: pa.Table, listed_hosts: Artifact | None) -> Columns:
    """The categories of each URL's host."""
    if listed_hosts is None:
        return {}
    hosts = read_domains(file_state(listed_hosts))
    urls = docs["url"].combine_chunks() if "url" in docs.column_names else pa.nulls(docs.num_rows, pa.string())
    return {"rps_doc_ut1_blacklist": domain_ids(urls, hosts)}


def model_scores(docs: pa.Table, models: Mapping[str, Artifact | None]) -> Columns:
    """How sure each classifier is that a text is not ordinary crawl."""
    if not any(models.values()):
        return {}
    text: Any = docs["text"].combine_chunks()
    lengths = pc.fill_null(pc.binary_length(text), 0).to_numpy(zero_copy_only=False)
    flat = pc.utf8_trim_whitespace(pc.replace_substring_regex(pc.fill_null(text, ""), _BREAKS, " "))
    columns: Columns = {}
    lines = flat.to_pylist()
    for name, model in models.items():
        if model is not None:
            found, scores = top_label(load_artifact(model), lines)
            crawl = np.array([label == "cc" for label in found], np.bool_)
            scores = np.where(lengths > 0, np.where(crawl, 1.0 - scores, scores), np.nan)
            columns[f"rps_doc_ml_{name}_score"] = numbers(scores)
    return columns


def importances(found: Segments, raw: Mapping[str, Floats], targets: Mapping[str, Artifact | None]) -> Columns:
    """How much likelier each text is in a target than in the source it is chosen from."""
    columns: Columns = {}
    for name, target in targets.items():
        if target is not None:
            weights = read_importance(file_state(target))
            scores = np.where(raw["num_chars"] > 0, importance(found, weights.ratios), np.nan)
            terms = length_terms(raw["num_chars"], weights.target_words, weights.source_words)
            columns[f"rps_doc_{name}_importance"] = numbers(scores)
            columns[f"rps_doc_{name}_importance_length_correction"] = numbers(scores + terms)
    return columns
