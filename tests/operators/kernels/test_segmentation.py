"""Words, lines, paragraphs and sentences against Python's own methods and obvious twins."""

from __future__ import annotations

import re
import threading
import unicodedata
from typing import get_args

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.kernels import unicode_table as flag
from operators.kernels.segmentation import WordRule, forget, segments
from operators.kernels.spans import count_sentences
from tests.operators.texts import ONE_MEGABYTE, TEXTS, table

JOINERS = "·‐‑…‧"
CLOSERS = ")]}>\"'»’”」』》〉】）"
ABBREVIATIONS = {
    "mr", "mrs", "ms", "dr", "st", "vs", "inc", "ltd", "co", "corp", "jr", "sr", "no", "gen", "rep", "sen", "gov",
    "capt", "lt", "col", "sgt", "rev", "hon", "prof", "mt", "ft", "pp", "cf", "al", "fig", "vol", "etc", "jan",
    "feb", "aug", "sep", "sept", "oct", "nov", "dec", "ave", "bros", "dept", "est",
}  # fmt: skip


def found(text: str, kind: str, rule: str) -> list[str]:
    """The words or spans of one text."""
    rows = getattr(segments(table("before", text, None, "after")), kind)(rule)
    data = segments(table("before", text, None, "after")).texts.data.tobytes()
    return [data[rows.start[k] : rows.start[k] + rows.size[k]].decode() for k in range(rows.bounds[1], rows.bounds[2])]


def is_flag(char: str, bits: int) -> bool:
    return bool(flag.unicode_flags()[ord(char)] & bits)


def final_dot(text: str, word: int, dot: int) -> bool:
    rest = text[dot + 1 :].lstrip(CLOSERS)
    before = text[word:dot]
    if not rest.strip():
        return True
    if not rest[0].isspace():
        return False
    lone = len(before) == 1 and before.isascii() and before.isalpha()
    # a folded byte may also be one that is no letter; the list knows letters only
    return not (lone or "." in before or (before.isascii() and before.lower() in ABBREVIATIONS))


def slow_words(text: str) -> list[str]:
    """The ``unicode`` rule, one character at a time."""
    words, word, position = [], 0, 0

    def cut(begin: int, end: int) -> None:
        words.extend([text[word:begin]] if begin > word else [])
        words.append(text[begin:end])

    while position < len(text):
        char, rest = text[position], text[position + 1 :]
        end = position
        if char.isspace():
            words.extend([text[word:position]] if position > word else [])
            word = position = position + 1
            continue
        if is_flag(char, flag.ALONE):
            end = position + 1
            while end < len(text) and is_flag(text[end], flag.MARK):
                end += 1
        elif char in ",:":
            end += not re.match("[0-9]", rest)
        elif char in ';?!*()[]{}<>@#$%&"`':
            end += 1
        elif char == "-":
            end += 2 * rest.startswith("-")
        elif char == "'":
            clitic = re.match(r"(?i:(s|m|d|t|ll|re|ve))(?![A-Za-z0-9'\-]|[^\x00-\x7f])", rest, re.ASCII)
            if position > word and clitic:
                begin = position
                if clitic.group().lower() == "t":
                    begin = position - 1 if position - word > 1 and text[position - 1] in "nN" else None
                if begin is not None:
                    words.extend([text[word:begin], text[begin : position + 1 + clitic.end()]])
                    word = position = position + 1 + clitic.end()
                    continue
            end += not (position > word and re.match("[A-Za-z0-9]", rest))
        elif char == ".":
            run = len(text) - position - len(text[position:].lstrip("."))
            if run > 1 or final_dot(text, word, position):
                end += run
        elif ord(char) >= 128 and unicodedata.category(char).startswith("P") and is_flag(char, flag.PUNCTUATION):
            end += char not in JOINERS
        if end > position:
            cut(position, end)
            word = position = end
        else:
            position += 1
    return words + ([text[word:]] if word < len(text) else [])


@given(text=TEXTS)
def test_split_is_str_split(text):
    assert found(text, "words", "split") == text.split()


@given(text=TEXTS)
def test_unicode_words_equal_the_slow_twin(text):
    assert found(text, "words", "unicode") == slow_words(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop; it's U.S. policy.", ["Do", "n't", "stop", ";", "it", "'s", "U.S.", "policy", "."]),
        ("and/or http://a.b/c?d=e #tag 50%", ["and/or", "http", ":", "//a.b/c", "?", "d=e", "#", "tag", "50", "%"]),
        ("$3.50, 1,000 word... well-known --", ["$", "3.50", ",", "1,000", "word", "...", "well-known", "--"]),
        (
            "(e.g. 'quoted') Mr. Smith said so. Go",
            ["(", "e.g.", "'", "quoted", "'", ")", "Mr.", "Smith", "said", "so", ".", "Go"],
        ),
        ("我们去。ไป e\u0301t\u0301", ["我", "们", "去", "。", "ไ", "ป", "e\u0301t\u0301"]),
        ("O'Neil's I'LL CAN'T 'tis", ["O'Neil", "'s", "I", "'LL", "CA", "N'T", "'", "tis"]),
        ("", []),
    ],
)
def test_unicode_words_by_hand(text, expected):
    """The first four are what NLTK's word_tokenize gives (with its `` and '' written as ")."""
    assert found(text, "words", "unicode") == expected


def test_every_character_divides_words_as_its_flags_say():
    """Which first bytes of UTF-8 need no look is written into the kernel; the twin looks up every character."""
    codes = [code for code in range(0x80, 0x10000) if not 0xD800 <= code < 0xE000]
    texts = [f"ab{chr(code)}cd中{chr(code)}文{chr(code)}中" for code in codes]
    batch = segments(table(*texts))
    words, data = batch.words("unicode"), batch.texts.data.tobytes()
    for row, text in enumerate(texts):
        rows = range(words.bounds[row], words.bounds[row + 1])
        assert [data[words.start[k] : words.start[k] + words.size[k]].decode() for k in rows] == slow_words(text)


@given(text=TEXTS)
def test_lengths_and_flags_of_words(text):
    for rule in ("split", "unicode"):
        rows = segments(table(text)).words(rule)
        words = found(text, "words", rule)
        assert rows.chars.tolist() == [len(word) for word in words]
        assert [bool(union & flag.ALPHA) for union in rows.flags] == [
            any(char.isalpha() for char in word) for word in words
        ]
        by_hash = {}
        for word, digest in zip(words, rows.hash.tolist(), strict=True):
            assert by_hash.setdefault(digest, word) == word
        assert len(by_hash) == len(set(words))


@given(text=TEXTS)
def test_lines_are_pythons(text):
    assert found(text, "spans", "lines") == text.split("\n")
    assert found(text, "spans", "splitlines") == text.splitlines()
    assert found(text, "spans", "paragraphs") == re.split("\n{2,}", text.strip())


@given(text=TEXTS)
def test_lengths_of_lines(text):
    rows = segments(table(text)).spans("lines")
    lines = text.split("\n")
    assert rows.chars.tolist() == [len(line) for line in lines]
    assert rows.trim_chars.tolist() == [len(line.strip()) for line in lines]
    assert rows.trim_size.tolist() == [len(line.strip().encode()) for line in lines]
    assert len(set(rows.hash.tolist())) == len(set(lines))
    assert len(set(rows.trim_hash.tolist())) == len({line.strip() for line in lines})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Mr. Smith of the U.S. army paid 3.50 dollars. Yes", ["Mr. Smith of the U.S. army paid 3.50 dollars.", "Yes"]),
        ("“Go!” he said. (Really.) Well... maybe", ["“Go!”", "he said.", "(Really.)", "Well... maybe"]),
        (
            "It ended... Then it began. and on, etc. and so on",
            ["It ended...", "Then it began.", "and on, etc. and so on"],
        ),
        ("第一句。第二句！“好。”完", ["第一句。", "第二句！", "“好。”", "完"]),
        ("  \n ", []),
        ("no end", ["no end"]),
        ("?! what", ["?!", "what"]),
    ],
)
def test_sentences_by_hand(text, expected):
    assert found(text, "spans", "sentences") == expected


@given(text=TEXTS)
def test_sentences_leave_out_nothing_but_white_space(text):
    assert "".join("".join(found(text, "spans", "sentences")).split()) == "".join(text.split())


SENTENCES = st.lists(
    st.sampled_from(
        ["A ", "longer", "word", ". ", ".", "?", "! ", ".\n", "Mr", " e.g", "...", '." ', "。", " ", "é", "\u061f "]
    ),
    max_size=60,
).map("".join)


@given(text=st.one_of(SENTENCES, TEXTS))
def test_sentences_are_counted_as_they_are_found(text):
    """Counting looks at 64 bytes at a time and at the bytes next to a mark, finding at every character."""
    batch = segments(table("before it. ", text, "after"))
    first, last = (int(place) for place in batch.texts.offsets[1:3])
    counted = count_sentences(batch.texts.data, flag.unicode_flags(), first, last)
    bounds = batch.spans("sentences").bounds
    assert counted == bounds[2] - bounds[1]


def test_every_character_ends_sentences_as_its_flags_say():
    codes = [code for code in range(0x80, 0x10000) if not 0xD800 <= code < 0xE000]
    batch = segments(table(*(f"A sentence of words{chr(code)} Another one" for code in codes)))
    found_rows = batch.spans("sentences").bounds
    offsets, flags = batch.texts.offsets, flag.unicode_flags()
    for row, code in enumerate(codes):
        counted = count_sentences(batch.texts.data, flags, int(offsets[row]), int(offsets[row + 1]))
        assert counted == found_rows[row + 1] - found_rows[row], hex(code)


@given(texts=st.lists(st.one_of(st.none(), TEXTS), max_size=6), cut=st.integers(0, 6))
@settings(max_examples=50)
def test_a_slice_of_a_table_has_its_own_segments(texts, cut):
    whole = table(*texts)
    for rule in ("split", "unicode"):
        for part in (whole.slice(cut), whole.slice(0, cut), pa.concat_tables([whole.slice(0, cut), whole.slice(cut)])):
            rows = segments(part).words(rule)
            alone = [segments(table(text)).words(rule).hash.tolist() for text in part["text"].to_pylist()]
            assert rows.hash.tolist() == [digest for one in alone for digest in one]


@given(texts=st.lists(st.one_of(st.none(), TEXTS), max_size=6))
@settings(max_examples=50)
def test_words_that_are_only_counted_are_as_many(texts):
    for rule in get_args(WordRule):
        forget()
        counted = segments(table(*texts)).word_bounds(rule).tolist()
        found = segments(table(*texts))
        assert counted == found.words(rule).bounds.tolist()
        assert counted == found.word_bounds(rule).tolist()


def test_empty_batches_of_different_buffers_follow_each_other():
    """A column without rows has buffers that are missing, empty, or hold an offset, as Arrow made it."""
    data = pa.py_buffer(b"")
    starts = pa.py_buffer(b"\0" * 8)
    made = [pa.LargeStringArray.from_buffers(0, starts, data, valid) for valid in (None, data, pa.py_buffer(b"\0"))]
    columns = (*made, pa.array([], pa.large_string()), table("a b")["text"].chunk(0).slice(0, 0))
    for one in columns:
        for other in columns:
            for column in (one, other):
                assert segments(pa.table({"text": column})).words("split").bounds.tolist() == [0]


def test_memo_is_of_the_batch_and_of_the_thread():
    one, same, other = table("a b"), table("a b"), table("c d e")
    first = segments(one)
    assert segments(one) is first
    assert segments(one.append_column("x", pa.array([1]))) is first
    assert segments(same) is not first
    assert segments(other).words("split").bounds.tolist() == [0, 3]
    assert segments(one) is not first
    elsewhere = []
    thread = threading.Thread(target=lambda: elsewhere.append(segments(other)))
    thread.start()
    thread.join()
    assert elsewhere[0] is not segments(other)


def test_memo_survives_buffers_that_come_and_go():
    """Freed addresses are given to new texts at once; the memo holds on to its own, so none is taken for another."""
    for k in range(200):
        text = f"{k} " * (k % 7 + 1)
        assert segments(table(text)).words("split").bounds.tolist() == [0, k % 7 + 1]
    forget()


def test_null_with_bytes_behind_it_is_no_text():
    """Arrow allows bytes under a null; ``if_else`` and masks leave them there."""
    values = pa.array(["hidden words", "seen"], pa.large_string())
    masked = pa.LargeStringArray.from_buffers(2, values.buffers()[1], values.buffers()[2], pa.py_buffer(b"\x02"))
    found_segments = segments(pa.table({"text": masked}))
    assert found_segments.words("unicode").bounds.tolist() == [0, 0, 1]
    assert found_segments.spans("lines").bounds.tolist() == [0, 0, 1]


@pytest.mark.parametrize("name", ONE_MEGABYTE)
def test_long_texts_take_linear_time(name):
    """Would not come back within the suite's time limit if any rule looked again at what it has seen."""
    found_segments = segments(table(ONE_MEGABYTE[name]))
    assert found_segments.words("split").bounds[1] == len(ONE_MEGABYTE[name].split())
    assert found_segments.words("unicode").size.sum() == len("".join(ONE_MEGABYTE[name].split()).encode())
    assert found_segments.spans("splitlines").bounds[1] == len(ONE_MEGABYTE[name].splitlines())
    found_segments.spans("paragraphs")
    found_segments.spans("sentences")
