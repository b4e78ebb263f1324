"""The user's own lists: tables worked out by hand, a slow twin, limits, files."""

from __future__ import annotations

import os
import pickle
import re
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from operators.filters.keywords import Keywords
from pipeline import apply
from pipeline.errors import UserError
from pipeline.operator import Bound
from pipeline.value import Artifact
from tests.operators.texts import ONE_MEGABYTE, table

LISTS = {
    "spam": ["free spins", "free", "Viagra", "赌场", "老虎机", "c++", "$$$", "buy now buy now", "มาร"],
    "cook": ["Flour", "egg", "STRASSE", "İzmir", "kelvin", "ΣΊΣΥΦΟΣ", "ガム", "QQ群", "free", "中文　网"],
}


def measured(*texts, lists=LISTS, **options):
    columns = Keywords(lists=lists, **options).measure(table(*texts))
    return [
        dict(zip(columns, row, strict=True)) for row in zip(*(c.to_pylist() for c in columns.values()), strict=True)
    ]


@pytest.mark.parametrize(
    ("text", "spam", "cook"),
    [
        ("", "", ""),
        ("Free spins", "free spins", "free"),  # the longest of a list; another list has its own
        ("free\n\t spins", "free spins", "free"),
        ("free\u3000\u2028spins", "free spins", "free"),
        ("free, spins", "free", "free"),
        ("free spinster", "free", "free"),  # the longer one is cut out of a word
        ("freedom unfree free_spins free2", "", ""),
        ("VIAGRA viagra", "Viagra Viagra", ""),
        ("在赌场里玩老虎机", "赌场 老虎机", ""),
        ("c++ c+++ C++11 c+ xc++", "c++ c++ c++", ""),  # only letters hold on to letters
        ("$$$ $$$$", "$$$ $$$", ""),
        ("buy now buy now buy now buy now", "buy now buy now|buy now buy now", ""),
        ("buy now buy now buy now", "buy now buy now", ""),  # hits that overlap: the leftmost
        ("มารดา", "มาร", ""),  # part of a word: no blanks in Thai
        ("flour Egg eggs eggs' egg's", "", "Flour egg egg"),
        ("egg\u0301 e\u0301gg égg", "", ""),  # a mark belongs to the letter before it
        ("Straße STRASSE straſſe Strase", "", "STRASSE STRASSE STRASSE"),
        ("İzmir i\u0307zmir izmir Izmir", "", "İzmir İzmir"),
        ("\u212aelvin KELVIN", "", "kelvin kelvin"),
        ("σίσυφος ΣΊΣΥΦΟΣ", "", "ΣΊΣΥΦΟΣ ΣΊΣΥΦΟΣ"),
        ("ｶﾞﾑ ガム カ\u3099ム カム", "", "ガム ガム ガム"),
        ("ＱＱ群 qq群 ＦＲＥＥ", "free", "QQ群 QQ群 free"),
        ("中文网 中文 网 中文\n网", "", "中文　网|中文　网"),
        ("中文\u0301", "", ""),
    ],
)
def test_by_hand(text, spam, cook):
    """Hits in order; | between such that hold blanks."""
    (row,) = measured(text, num_found=10)
    for name, expected in (("spam", spam), ("cook", cook)):
        entries = sorted(LISTS[name], key=len, reverse=True)
        hits = re.findall("|".join(map(re.escape, entries)), expected)
        assert row[f"{name}_hits"] == len(hits)
        assert row[f"{name}_distinct_hits"] == len(set(hits))
        assert row[f"{name}_found"] == "; ".join(dict.fromkeys(hits))


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("", None),
        ("... $$$", None),
        ("\u0301", None),
        ("free", 1000.0),
        ("free and easy, free_spins", 250.0),
        ("在赌场里玩", 200.0),  # per 1,000 characters
        ("don't be free!", 250.0),  # the apostrophe parts two words
    ],
)
def test_hits_per_1000_words(text, rate):
    (row,) = measured(text)
    assert row["spam_hits_per_1000_words"] == (None if rate is None else pytest.approx(rate))


def test_a_null_text_has_no_measures():
    for row in measured(None, "free")[:1]:
        assert set(row.values()) == {None}


@pytest.mark.parametrize(
    ("options", "hits"),
    [({}, 4), ({"fold_case": False}, 2), ({"fold_width": False}, 2), ({"fold_case": False, "fold_width": False}, 1)],
)
def test_case_and_width_are_options(options, hits):
    (row,) = measured("Kino kino Ｋｉｎｏ ｋｉｎｏ", lists={"a": ["Kino"]}, **options)
    assert row["a_hits"] == hits


def fold(text):
    def narrow(char):
        kind, _, codes = unicodedata.decomposition(char).partition(" ")
        if kind in ("<wide>", "<narrow>"):
            return "".join(chr(int(code, 16)) for code in codes.split())
        return unicodedata.normalize("NFD", char) if "\u3040" <= char <= "\u30ff" else char

    return re.sub(r"\s+", " ", "".join(narrow(char) for char in text).casefold())


def whole(text, at):
    """Whether no word goes on from before ``at`` to behind it."""
    if at in (0, len(text)):
        return True
    kinds = []
    for char in text[at - 1], text[at]:
        name, letter = unicodedata.name(char, ""), unicodedata.category(char)
        if (
            name.startswith(("CJK UNIFIED", "CJK COMPATIBILITY IDEO", "CJK RADICAL", "KANGXI RADICAL", "HANGZHOU NUM"))
            or char in "々〆〇〻"
            or (letter[0] == "L" and ("HIRAGANA" in name or "KATAKANA" in name))
            or (letter == "Lo" and name.startswith(("THAI ", "LAO ", "KHMER ", "MYANMAR ")))
        ):
            kinds.append("alone")
        else:
            kinds.append("mark" if letter[0] == "M" else char.isalnum() or char == "_")
    before, after = kinds
    return not (before and (after == "mark" or (before != "alone" and after is True)))


def slow(text, entries):
    """Hits in order: each place in turn, the longest entry there that is cut out of no word."""
    text, folded, hits, at = fold(text), sorted({fold(entry) for entry in entries}, key=len, reverse=True), [], 0
    while at < len(text):
        for entry in folded:
            if text.startswith(entry, at) and whole(text, at) and whole(text, at + len(entry)):
                hits.append(entry)
                at += len(entry) - 1
                break
        at += 1
    return hits


PIECES = st.lists(
    st.one_of(
        st.sampled_from([entry for entries in LISTS.values() for entry in entries]),
        st.sampled_from(
            ["FREE", " ", "  ", "\n", "\u3000", "a", "s", "é", "ß", "ſ", "İ", "i\u0307", "\u212a", "ς", "数", "\u0301"]
        ),
        st.sampled_from([".", "ด", "_", "7", "ｶﾞ", "ガ", "カ", "\u3099", "Ｑ", "$", "+", "buy now ", "ab" * 9, "\x00"]),
        st.text(max_size=2),
    ),
    max_size=14,
).map("".join)


@settings(max_examples=250)
@given(text=PIECES)
def test_equals_the_slow_twin(text):
    (row,) = measured(text, num_found=100)
    for name, entries in LISTS.items():
        hits = slow(text, entries)
        assert row[f"{name}_hits"] == len(hits)
        assert [fold(entry) for entry in row[f"{name}_found"].split("; ") if entry] == list(dict.fromkeys(hits))


@settings(max_examples=150)
@given(
    entries=st.lists(st.text("ab 的", min_size=1, max_size=6).filter(str.strip), min_size=1, max_size=6),
    text=st.text("ab 的", max_size=30),
)
def test_any_list_equals_the_slow_twin(entries, text):
    (row,) = measured(text, lists={"a": entries})
    assert row["a_hits"] == len(slow(text, [entry.strip() for entry in entries]))


def test_only_so_many_entries_are_named():
    (row,) = measured("egg flour free kelvin egg", num_found=2)
    assert (row["cook_found"], row["cook_distinct_hits"], row["cook_hits"]) == ("egg; Flour", 4, 5)
    (row,) = measured("egg", num_found=0)
    assert (row["cook_found"], row["cook_hits"]) == ("", 1)


def test_limits_by_list():
    operator = Keywords(
        lists=LISTS, max_hits={"spam": 1}, min_distinct_hits={"cook": 2}, max_hits_per_1000_words={"spam": 20}
    )
    assert operator.bounds == (
        Bound("spam_hits", max=1, reason="spam_max_hits"),
        Bound("spam_hits_per_1000_words", max=20.0, reason="spam_max_hits_per_1000_words"),
        Bound("cook_distinct_hits", min=2, reason="cook_min_distinct_hits"),
    )
    filler = "word " * 60
    texts = [filler + end for end in ("egg flour free", "free spins viagra egg flour", "egg egg", "viagra 1 egg flour")]
    outcome = apply(operator, table(*texts, "free egg flour", "egg flour"))
    assert outcome.kept["id"].to_pylist() == ["0", "3", "5"]
    assert [(row["id"], row["reason"], row["value"]) for row in outcome.dropped.to_pylist()] == [
        ("1", "spam_max_hits", "2"),
        ("2", "cook_min_distinct_hits", "1"),
        ("4", "spam_max_hits_per_1000_words", str(1000 / 3)),
    ]
    assert outcome.dropped["keywords.spam_found"].to_pylist()[0] == "free spins; Viagra"


def test_a_text_without_words_breaks_a_limit_on_rates_only():
    assert apply(Keywords(lists=LISTS, max_hits={"spam": 0}), table("...")).kept.num_rows == 1
    outcome = apply(Keywords(lists=LISTS, max_hits_per_1000_words={"spam": 9}), table("..."))
    assert outcome.dropped["reason"].to_pylist() == ["undefined"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lists": {}}, "at least 1 item"),
        ({"lists": {"a": []}}, "'a' has no entry"),
        ({"lists": {"a": ["b", " "]}}, "'a' has no entry, or an empty one"),
        ({"lists": {"a": ["b" * 1001]}}, "more than 1000 characters"),
        ({"lists": {"A b": ["c"]}}, "should match pattern"),
        ({"lists": (("a", ("b",)), ("a", ("c",)))}, "names a more than once"),
        ({"lists": {"casino": ["a"]}, "max_hits": {"casinos": 1}}, "near: casino"),
        ({"lists": {"a": ["b"]}, "max_hits": {"a": -1}}, "greater than or equal to 0"),
        ({"lists": {"a": ["b"]}, "max_hits": 3}, "valid tuple"),
        ({"lists": {"a": {"file": "x", "step": "y"}}}, "exactly one of step and file"),
    ],
)
def test_mistakes(options, message):
    with pytest.raises(ValidationError, match=message):
        Keywords(**options)


def test_files(tmp_path):
    path = tmp_path / "words.txt"
    path.write_bytes("\ufeffdarn\r\n\r\n  What the  heck \n坏蛋\nDARN".encode())
    operator = Keywords(lists={"own": {"file": str(path)}, "other": ["heck"]}, max_hits={"own": 0})
    assert pickle.loads(pickle.dumps(operator)) == operator
    assert hash(operator) == hash(Keywords(**{name: getattr(operator, name) for name in Keywords.model_fields}))
    columns = operator.measure(table("darn, what\nthe heck, 坏蛋坏蛋"))
    assert columns["own_hits"].to_pylist() == [4]
    assert columns["own_found"].to_pylist() == ["darn; What the  heck; 坏蛋"]
    assert columns["other_hits"].to_pylist() == [1]
    path.write_text("heck", encoding="utf-8")
    os.utime(path, ns=(1, 1))
    assert operator.measure(table("darn heck"))["own_hits"].to_pylist() == [1]
    path.write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="has no entry"):
        operator.measure(table("darn heck"))
    for wrong in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(UserError, match="cannot read the word list"):
            Keywords(lists={"own": Artifact(file=str(wrong))}).prepare()
    with pytest.raises(UserError, match="not made yet"):
        Keywords(lists={"own": Artifact(step="words")}).prepare()


def test_a_long_list_and_entries_alike_in_their_beginnings():
    entries = [f"word{k} tail{k % 7}" for k in range(20_000)] + ["的" * k for k in range(1, 300)]
    texts = ["word19999 tail0 word3 tail4 word3 tail3 word5  tail5", "的" * 1000, "x"]
    rows = measured(*texts, lists={"a": entries})
    assert [row["a_hits"] for row in rows] == [(19999 % 7 == 0 and 3) or 2, 4, 0]  # 299 three times, and 103
    assert [row["a_distinct_hits"] for row in rows][1:] == [2, 0]


def test_batches_and_slices_do_not_matter():
    texts = ["free egg", None, "", "在赌场", "Straße", "free spins free"]
    operator, docs = Keywords(lists=LISTS), table(*texts)
    whole_batch = pa.table(operator.measure(docs))
    halves = [pa.table(operator.measure(docs.slice(*cut).combine_chunks())) for cut in ((0, 2), (2, 1), (3, 3))]
    assert whole_batch.equals(pa.concat_tables(halves).combine_chunks())
    assert operator.measure(docs.slice(3))["spam_hits"].to_pylist() == [1, 0, 2]


@pytest.mark.parametrize("name", ONE_MEGABYTE)
def test_long_texts_take_linear_time(name):
    lists = {"a": ["a", "a-a", "word word word", "中" * 50, "中文中", ".", ". " * 20, "\u0301", "some words of"]}
    assert measured(ONE_MEGABYTE[name], lists=lists)[0]["a_hits"] is not None


@pytest.mark.parametrize("others", [1, 70], ids=["two lists", "many lists"])
def test_entries_that_begin_like_each_other_are_not_walked_inside_a_hit(others):
    # Walked to their ends at every place, 4 million places times 1,000 characters would take minutes.
    lists = {"nested": ["的" * k for k in range(1, 1001)]} | {f"other{k}": [f"x{k}"] for k in range(others)}
    (row,) = measured("的" * 4_000_200, lists=lists, num_found=3)
    assert (row["nested_hits"], row["nested_distinct_hits"]) == (4001, 2)  # 4,000 of 1,000 characters, one of 200
    assert row["nested_found"] == "; ".join(["的" * 1000, "的" * 200])
    assert {row[f"other{k}_hits"] for k in range(others)} == {0}


@settings(max_examples=60)
@given(
    entries=st.lists(st.text("ab 的", min_size=1, max_size=6).filter(str.strip), min_size=1, max_size=9),
    num_lists=st.sampled_from([2, 3, 66]),
    text=st.text("ab 的", max_size=30),
)
def test_lists_do_not_hide_each_others_entries(entries, num_lists, text):
    lists = {f"l{k}": entries[k % len(entries) :: num_lists] or entries[:1] for k in range(num_lists)}
    (row,) = measured(text, lists=lists)
    for name, own in lists.items():
        assert row[f"{name}_hits"] == len(slow(text, [entry.strip() for entry in own]))
