"""Labels of languages as other tools write them get the limits and the rules of the labels used here."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from operators.classify.language import LABELS
from operators.filters.gopher_quality import GopherQuality
from operators.thresholds.language_profile import row_of_label
from pipeline import apply
from pipeline.bounds import broken, threshold
from pipeline.language_labels import place_of, places, short_label, short_labels
from pipeline.operator import Bound
from tests.pipeline.small_operators import Length

SHORT = {
    "en": "en", "EN": "en", "en_US": "en", "en-GB-oxendict": "en", "eng": "en", "eng_Latn": "en", "deu": "de", "ger": "de",
    "zh-CN": "zh", "zh_TW": "zh", "zh-Hant-HK": "zh", "zho_Hans": "zh", "cmn_Hani": "zh", "zh-cmn": "zh", "zh-yue": "yue",
    "arb_Arab": "ar", "arz_Arab": "arz", "ekk_Latn": "et", "lvs_Latn": "lv", "nob_Latn": "no", "nb": "no", "nn": "nn",
    "als": "als", "als_Latn": "sq", "fas_Arab": "fa", "jpn_Jpan": "ja", "kor_Hang": "ko", "swh_Latn": "sw", "iw": "he",
    "zsm_Latn": "ms", "srp_Cyrl": "sr", "srp_Latn": "srp_Latn", "hin_Latn": "hin_Latn", "vie_Latn": "vi", "und": "und",
    "English": "English", "x-default": "x-default", "": "", "es-419": "es", "deu_Hani": "deu_Hani", "swa_Latn": "sw",
}  # fmt: skip


@pytest.mark.parametrize(("label", "expected"), SHORT.items(), ids=[label or "empty" for label in SHORT])
def test_short_labels(label: str, expected: str) -> None:
    assert short_label(label) == expected


def test_labels_used_here_are_short() -> None:
    profile = Path(__file__).parents[2] / "operators" / "data" / "fineweb2"
    used = {*LABELS, *(label for path in profile.glob("*.json") for label in json.loads(path.read_bytes()))}
    assert len(used) > 170
    assert [label for label in used if short_label(label) != label] == []


def test_a_name_counts_as_written_before_its_short_form() -> None:
    assert place_of("zh-TW", ("zh", "zh-TW")) == 1
    assert place_of("zh-CN", ("zh", "zh-TW")) == 0
    assert place_of("zh", ("zh-CN", "zh-TW")) == -1  # either could be meant
    assert place_of("en", ("eng_Latn", "de")) == 0
    assert place_of("fr", ("en",)) == -1


def test_columns_of_labels() -> None:
    labels = pa.chunked_array([["eng_Latn", None], ["de", "xx"]], pa.string())
    assert places(labels, ["de", "en"]).tolist() == [1, -1, 0, -1]
    assert places(labels.slice(0, 0), ["de"]).tolist() == []
    assert short_labels(labels).to_pylist() == ["en", None, "de", "xx"]


def test_limits_by_language_hold_for_long_labels() -> None:
    bound = Bound("chars", reason="short", min=3, by_language=(("zh", 2, None),))
    labels = ["cmn_Hani", "zh-CN", "zho_Latn", "eng"]
    assert broken(bound, pa.array([2, 1, 2, 2]), pa.array(labels)).tolist() == [False, True, True, True]
    assert [threshold(bound, label) for label in labels] == ["chars >= 2"] * 2 + ["chars >= 3"] * 2


def test_only_takes_long_labels_on_both_sides() -> None:
    docs = pa.table({"id": list("abc"), "text": ["x", "x", "x"], "lang": ["en_US", "zh-CN", "de"]})
    for asked in ("en", "eng_Latn", "en_US"):
        dropped = apply(Length(only={"lang": [asked]}), docs).dropped
        assert dropped["id"].to_pylist() == ["a"]


def test_the_shipped_profile_holds_for_long_labels() -> None:
    text = "Der Hund und die Katze gehen mit dem Kind in das Haus, weil es kalt ist. " * 12
    docs = pa.table({"id": ["short", "long"], "text": [text, text], "language": ["de", "deu_Latn"]})
    assert row_of_label(docs, ("de",)).tolist() == [0, 0]
    rows = apply(GopherQuality(by_language="fineweb2"), docs).kept.drop(["id", "language"]).to_pylist()
    assert len(rows) == 2
    assert rows[0] == rows[1]
