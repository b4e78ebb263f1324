"""Limits and stop words by language: the shipped profile, a user's own, and what they do to rows."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from operators.classify.language import LABELS, Language
from operators.filters.fineweb_quality import FinewebQuality
from operators.filters.gopher_quality import GopherQuality
from operators.filters.gopher_repetition import GopherRepetition
from operators.thresholds.language_profile import PROFILES_SHA256, parameters, profile_sha256
from pipeline import apply
from pipeline.errors import UserError
from pipeline.fingerprint import digest
from pipeline.operator import Bound
from pipeline.value import Artifact
from pipeline.whatif.rejudge import StepJudge

FOLDER = Path(__file__).parents[3] / "operators" / "data" / "fineweb2"
SHIPPED = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}
ASKED_FOR = (
    "en zh ja ko de fr es it pt nl ru uk pl cs sv da fi el tr ar fa he hi bn th vi id ro hu bg ca hr lt no sk sl"
)
OPERATORS = (Language, GopherRepetition, FinewebQuality, GopherQuality)


def table(*rows: tuple[str, str | None]) -> pa.Table:
    texts, languages = zip(*rows, strict=True)
    return pa.table(
        {
            "id": [f"d{k}" for k in range(len(rows))],
            "text": pa.array(texts, pa.large_string()),
            "language": pa.array(languages, pa.string()),
        }
    )


def own(tmp_path: Path, profile: object) -> Artifact:
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(profile), encoding="utf-8")
    return Artifact(file=str(path))


def test_the_shipped_profile_is_the_one_that_was_reviewed() -> None:
    assert profile_sha256("fineweb2") == PROFILES_SHA256["fineweb2"]
    assert set(ASKED_FOR.split()) <= set(SHIPPED) <= set(LABELS)
    assert len(SHIPPED) >= 50


@pytest.mark.parametrize("label", sorted(SHIPPED))
def test_a_shipped_language_is_whole_and_says_where_its_numbers_are_from(label: str) -> None:
    entry = SHIPPED[label][label]
    sources = entry["sources"]
    values = {f"{name}.{key}": value for name in entry if name != "sources" for key, value in entry[name].items()}
    assert {value["source"] for value in values.values()} == set(sources)
    limits = {key: value["value"] for key, value in values.items() if not key.endswith(".stop_words")}
    assert 0.3 <= limits["language.min_score"] <= 0.9
    for key, value in limits.items():
        if not key.startswith("gopher_quality.m") or "alpha" in key:
            assert value is None or 0 <= value <= 1, key
    assert limits["gopher_quality.min_word_chars"] < limits["gopher_quality.max_word_chars"]
    grams = [limits[f"gopher_repetition.max_duplicate_{n}_gram"] for n in range(5, 11)]
    assert grams == sorted(grams, reverse=True)
    words = values.get("gopher_quality.stop_words", {"value": []})["value"]
    assert len(set(words)) == len(words)
    assert len(words) >= 8 or limits["gopher_quality.min_stop_words"] is None
    assert all(word == word.strip() != "" and any(char.isalpha() for char in word) for word in words)


@pytest.mark.parametrize(
    ("operator", "label", "parameter", "expected"),
    [
        (GopherRepetition, "de", "max_duplicate_line_fraction", 0.263),
        (GopherRepetition, "de", "max_top_3_gram", 0.153),
        (GopherRepetition, "de", "max_duplicate_10_gram", 0.098),
        (GopherRepetition, "de", "max_duplicate_line_chars", None),
        (FinewebQuality, "de", "min_punctuated_line_fraction", 0),
        (FinewebQuality, "de", "max_newlines_per_word", 0.152),
        (FinewebQuality, "de", "max_short_line_fraction", None),
        (FinewebQuality, "de", "max_duplicate_char_fraction", 0.1),
        (GopherQuality, "de", "max_word_chars", 15),
        (GopherQuality, "de", "min_alpha_word_fraction", 0.774),
        (GopherRepetition, "zh", "max_duplicate_line_fraction", 0.287),
        (FinewebQuality, "zh", "min_punctuated_line_fraction", 0.106),
        (GopherQuality, "zh", "min_word_chars", 1),
        (GopherQuality, "zh", "max_word_chars", 5),
        (GopherRepetition, "en", "max_duplicate_paragraph_chars", 0.2),
        (FinewebQuality, "en", "max_duplicate_char_fraction", 0.01),
        (GopherQuality, "th", "min_stop_words", None),
    ],
)
def test_published_limits(operator: type, label: str, parameter: str, expected: float | None) -> None:
    assert parameters(operator(by_language="fineweb2"))[label][parameter] == expected


def test_simplified_stop_words_stand_beside_traditional_ones() -> None:
    words = parameters(GopherQuality(by_language="fineweb2"))["zh"]["stop_words"]
    assert {"于", "於", "为", "為", "与", "與", "后", "後", "的"} <= set(words)


def test_bounds_name_the_languages_with_limits_of_their_own(tmp_path: Path) -> None:
    profile = {
        "de": {"fineweb_quality": {"max_newlines_per_word": 0.152, "max_short_line_fraction": None}},
        "fr": {"fineweb_quality": {"max_newlines_per_word": 0.3}},
        "ru": {"gopher_quality": {"min_words": 9}},
    }
    operator = FinewebQuality(by_language=own(tmp_path, profile), max_duplicate_char_fraction=None)
    assert operator.bounds == (
        Bound("punctuated_line_fraction", reason="line_punct_ratio", min=0.12),
        Bound("short_line_fraction", reason="short_line_ratio", max=0.67, by_language=(("de", None, None),)),
        Bound("newlines_per_word", reason="list_ratio", max=0.3, by_language=(("de", None, 0.152), ("fr", None, 0.3))),
    )


def test_a_language_whose_limit_is_off_like_the_general_one(tmp_path: Path) -> None:
    profile = {"de": {"fineweb_quality": {"max_newlines_per_word": None}}}
    off, on = (
        FinewebQuality(by_language=own(tmp_path, profile), max_newlines_per_word=limit).bounds for limit in (None, 0.3)
    )
    assert [bound.reason for bound in off] == ["line_punct_ratio", "short_line_ratio", "char_dup_ratio"]
    assert on[-1] == Bound("newlines_per_word", reason="list_ratio", max=0.3, by_language=(("de", None, None),))


def test_a_limit_that_only_a_language_has(tmp_path: Path) -> None:
    profile = own(tmp_path, {"de": {"gopher_repetition": {"max_duplicate_line_fraction": 0.2}}})
    plain = {f"max_{name}": None for name in GopherRepetition().measure(table(("a", "en")))}
    (bound,) = GopherRepetition(by_language=profile, **plain).bounds
    assert (bound.min, bound.max, bound.by_language) == (None, None, (("de", None, 0.2),))


def test_languages_overwritten_later_are_refused_for_a_limit_like_the_general_one(tmp_path: Path) -> None:
    profile = own(tmp_path, {"en": {"gopher_quality": {"min_words": 50}}})
    was, then = ((GopherQuality(by_language=profile, min_words=least), Language()) for least in (40, 50))
    with pytest.raises(UserError, match="the languages it went by are not stored"):
        StepJudge(was, then)


def test_a_score_for_each_language(tmp_path: Path) -> None:
    profile = own(tmp_path, {"sl": {"language": {"min_score": 0.4}}, "de": {"language": {"min_score": 0.9}}})
    (score,) = Language(by_language=profile).bounds
    assert score == Bound("score", reason="score", min=0.65, by_language=(("sl", 0.4, None), ("de", 0.9, None)))
    keep, score = Language(keep=("de",), by_language=profile, min_score=None).bounds
    assert keep.among == ("de",)
    assert score.by_language == (("sl", 0.4, None), ("de", 0.9, None))
    assert Language().bounds == ()
    with pytest.raises(ValidationError, match="renames"):
        Language(by_language=profile, **{"as": "second"})


def test_stop_words_of_a_rows_own_language() -> None:
    docs = table(
        ("der Hund und the Katze", "de"),
        ("der Hund und the Katze and", "en"),
        ("der Hund und the Katze", "xx"),
        ("der Hund und the Katze", None),
        ("我于昨天与他见面", "zh"),
        ("", "de"),
    )
    found = GopherQuality(by_language="fineweb2").measure(docs)["num_stop_words"].to_pylist()
    assert found == [2, 2, 1, 1, 3, 0]
    assert GopherQuality().measure(docs)["num_stop_words"].to_pylist() == [1, 2, 1, 1, 0, 0]


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(
        st.tuples(
            st.lists(st.sampled_from(["der", "the", "und", "of", "的", "于", "и", "x"]), max_size=6).map(" ".join),
            st.sampled_from(["de", "en", "zh", "ru", "xx", None]),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_stop_words_are_counted_as_for_each_row_alone(rows: list[tuple[str, str | None]]) -> None:
    lists = {
        label: SHIPPED[label][label]["gopher_quality"]["stop_words"]["value"] for label in ("de", "en", "zh", "ru")
    }
    expected = [len(set(text.split()) & set(lists.get(label, lists["en"]))) for text, label in rows]
    found = GopherQuality(by_language="fineweb2").measure(table(*rows))["num_stop_words"]
    assert found.to_pylist() == expected


def test_other_measures_do_not_depend_on_the_language() -> None:
    docs = table(("der Hund und\n- the Katze …", "de"), ("a # b", "zh"))
    plain, profiled = GopherQuality().measure(docs), GopherQuality(by_language="fineweb2").measure(docs)
    assert {name for name in plain if not plain[name].equals(profiled[name])} == {"num_stop_words"}


WORDS = st.sampled_from(
    ["der", "und", "die", "the", "of", "of", "and", "a", "b", ",", ".", "#", "-", "\n", "\n\n", "的", "于", "ab12", "…"]
)


REPEATED = st.builds(
    lambda words, times: " ".join(words * times), st.lists(WORDS, min_size=1, max_size=14), st.integers(1, 30)
)


@settings(deadline=None, max_examples=40)
@given(texts=st.lists(REPEATED, min_size=1, max_size=4))
@pytest.mark.parametrize("label", ["de", "zh", "th"])
@pytest.mark.parametrize("cls", OPERATORS[1:])
def test_a_row_is_judged_as_by_an_operator_with_the_languages_parameters(
    cls: type, label: str, texts: list[str]
) -> None:
    docs = table(*((text, label) for text in texts))
    entry = SHIPPED[label][label]
    name = {GopherRepetition: "gopher_repetition", FinewebQuality: "fineweb_quality", GopherQuality: "gopher_quality"}
    values = {key: value["value"] for key, value in entry[name[cls]].items()}
    profiled = apply(cls(by_language="fineweb2"), docs, keep_dropped_text="none")
    plain = apply(cls(**values), docs, keep_dropped_text="none")
    assert profiled.kept["id"].equals(plain.kept["id"])
    columns = ["id", "reason", "value", "threshold"]
    assert profiled.dropped.select(columns).equals(plain.dropped.select(columns))


def test_rows_outside_the_profile_are_judged_by_the_parameters(tmp_path: Path) -> None:
    profile = own(tmp_path, {"de": {"gopher_quality": {"min_words": 1, "stop_words": ["und"], "min_stop_words": 1}}})
    operator = GopherQuality(by_language=profile, min_words=3, min_stop_words=None)
    outcome = apply(operator, table(("Hunde und Katzen", "de"), ("Hunde", "de"), ("some dogs", "en")))
    assert outcome.kept["id"].to_pylist() == ["d0"]
    found = [(row["id"], row["reason"], row["threshold"]) for row in outcome.dropped.to_pylist()]
    assert found == [("d1", "gopher_enough_stop_words", "num_stop_words >= 1"), ("d2", "gopher_short_doc", "num_words >= 3")]  # fmt: skip


def test_a_profile_that_changed_is_read_again(tmp_path: Path) -> None:
    profile = own(tmp_path, {"de": {"gopher_quality": {"min_words": 1}}})
    operator = GopherQuality(by_language=profile)
    assert operator.bounds[0].by_language == (("de", 1, None),)
    own(tmp_path, {"de": {"gopher_quality": {"min_words": 12}}})
    assert operator.bounds[0].by_language == (("de", 12, None),)


def test_the_hash_of_a_users_profile_enters_the_fingerprint_and_its_path_does_not() -> None:
    one, same, other = (
        GopherQuality(by_language=Artifact(file=file, sha256=sha * 64)) for file, sha in (("a", "1"), ("b", "1"), ("a", "2"))
    )  # fmt: skip
    assert digest(one) == digest(same) != digest(other)
    assert digest(GopherQuality()) != digest(GopherQuality(by_language="fineweb2"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1", "must be JSON"),
        ("[]", "must be JSON"),
        ('{"de": {"gopher_quality": {"min_wrods": 3}}}', "no limit 'min_wrods'; near: min_words"),
        ('{"de": {"gopher_quality": {"words": "split"}}}', "must be a number or null"),
        ('{"de": {"gopher_quality": {"flavour": 1}}}', "no limit 'flavour'"),
        ('{"de": {"gopher_quality": {"min_words": "3"}}}', "de.gopher_quality.min_words must be a number or null"),
        ('{"de": {"gopher_quality": {"min_words": true}}}', "must be a number or null"),
        ('{"de": {"gopher_quality": {"stop_words": "der"}}}', "must be a list of words"),
        ('{"de": {"gopher_quality": {"min_words": {"value": 3, "source": "x"}}}}', "one of the sources"),
    ],
)
def test_mistakes_in_a_profile_are_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "profile.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        GopherQuality(by_language=Artifact(file=str(path))).prepare()


def test_limits_of_a_profile_are_checked_like_parameters(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="min_score"):
        _ = Language(by_language=own(tmp_path, {"de": {"language": {"min_score": 1.5}}})).bounds


def test_a_profile_is_a_shipped_one_or_a_file(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="fineweb2"):
        GopherQuality(by_language="fineweb")
    with pytest.raises(ValidationError, match="not the step"):
        GopherQuality(by_language=Artifact(step="quality"))
    with pytest.raises(UserError, match="cannot read the language profile"):
        _ = GopherQuality(by_language=Artifact(file=str(tmp_path / "none.json"))).bounds


@pytest.mark.parametrize("cls", OPERATORS)
def test_limits_by_language_survive_as_values(cls: type) -> None:
    operator = cls(by_language="fineweb2")
    assert operator == cls(by_language="fineweb2") != cls()
    assert any(bound.by_language for bound in operator.bounds)
    assert not any(bound.by_language for bound in cls().bounds)
