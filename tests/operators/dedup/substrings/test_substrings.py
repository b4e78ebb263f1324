"""The whole step against its slow twin."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from operators.dedup.substrings.verb import DedupSubstrings
from pipeline.documents import ID_TYPE
from tests.operators.dedup.substrings.runner import Outcome, document_id, left, repeated, run, words

# Few letters, so that short texts repeat each other in many overlapping ways; Han characters are words without blanks.
LETTERS = st.sampled_from(["a ", "b ", "c. ", "B\n\n", "漢", "字", "d", "é-"])
TEXT = st.lists(LETTERS, max_size=40).map("".join)
# A piece again and again, in part, behind itself and before another.
PERIODIC = st.builds(
    lambda piece, times, more: piece * times + more, st.text("ab 漢", max_size=8), st.integers(1, 12), TEXT
)
TEXTS = st.lists(st.one_of(TEXT, PERIODIC), max_size=6)


def table(texts: Sequence[str | None], numbers: Sequence[int] | None = None) -> pa.Table:
    return pa.table({
        "id": pa.array([document_id(k) for k in (range(len(texts)) if numbers is None else numbers)], ID_TYPE),
        "text": pa.array(texts, pa.large_string()),
        "source": pa.array(["web"] * len(texts)),
    })  # fmt: skip


def one_shard(texts: Sequence[str | None], **parameters: object) -> Outcome:
    return run(DedupSubstrings(**parameters), [[table(texts)]])


def named(texts: Sequence[str]) -> dict[bytes, str]:
    return {document_id(k): text for k, text in enumerate(texts)}


def numbered(num_words: int, first: int = 0) -> str:
    return " ".join(f"w{k}" for k in range(first, first + num_words))


@settings(deadline=None, max_examples=80)  # the first call may compile
@given(texts=TEXTS, min_tokens=st.integers(2, 9), within=st.booleans(), longest=st.booleans())
@example(["a " * 60, "b " + "a " * 30 + "c ", "漢" * 40], 5, True, True)
@example(["ab ab ab ab ab ab ab", "ab ab ab", "ab ab ab ab"], 2, False, False)
def test_equals_the_slow_twin(texts: list[str], min_tokens: int, within: bool, longest: bool) -> None:
    """What stands earlier goes and nothing else does; two kept places share no window but across a cut."""
    order = ["longest"] if longest else ["id"]
    outcome = one_shard(texts, min_tokens=min_tokens, within_document=within, keep=order)
    marks = repeated(named(texts), min_tokens, within=within, longest=longest)
    found = {key: words(text) for key, text in outcome.texts().items()}
    assert found == left(named(texts), marks)
    assert {row["id"]: row["step.duplicate_tokens"] for row in outcome.kept} == {key: sum(marks[key]) for key in found}
    assert {row["reason"] for row in outcome.dropped} <= {"nothing_left"}
    _no_window_stands_twice(named(texts), marks, min_tokens, within=within)
    before, after = ({word for one in side for word in one} for side in (map(words, texts), found.values()))
    assert before == after  # no word is lost altogether


def _no_window_stands_twice(
    texts: dict[bytes, str], marks: dict[bytes, list[bool]], min_tokens: int, *, within: bool
) -> None:
    """Of the runs of kept words between two cuts; that the texts left hold these runs is checked by ``left``."""
    seen: dict[tuple[object, ...], tuple[bytes, int]] = {}
    for key, text in texts.items():
        own = words(text)
        for start in range(len(own) - min_tokens + 1):
            if not any(marks[key][start : start + min_tokens]):
                window = tuple(own[start : start + min_tokens])
                assert window not in seen or (not within and seen[window][0] == key)
                seen[window] = (key, start)


@settings(deadline=None, max_examples=25)
@given(texts=TEXTS, min_tokens=st.integers(2, 6), seed=st.integers(0, 1000))
def test_the_cut_of_the_input_and_of_the_work_changes_nothing(texts: list[str], min_tokens: int, seed: int) -> None:
    draw = random.Random(seed)
    whole = run(DedupSubstrings(min_tokens=min_tokens, partitions=1), [[table(texts)]])
    numbers = list(range(len(texts)))
    draw.shuffle(numbers)
    shards: list[list[pa.Table]] = [[] for _ in range(3)]
    for number in numbers:
        draw.choice(shards).append(table([texts[number]], [number]))
    verb = DedupSubstrings(min_tokens=min_tokens, partitions=draw.randint(1, 4), memory_gib=draw.choice([1.0, 1e-7]))
    parted = run(verb, shards)
    assert parted.texts() == whole.texts()
    content = ("id", "first_byte", "end_byte", "first_token", "tokens", "rep_id", "rep_token")
    cuts = [sorted(tuple(cut[name] for name in content) for cut in outcome.cuts) for outcome in (parted, whole)]
    assert cuts[0] == cuts[1]


def test_a_second_run_gives_the_same_bytes() -> None:
    texts = [numbered(80), numbered(60, 10), "la " * 300]
    assert one_shard(texts).files == one_shard(texts).files


@pytest.mark.parametrize(("shared", "goes"), [(49, 0), (50, 50), (51, 51), (120, 120)])
@pytest.mark.parametrize("place", ["start", "middle", "end"])
def test_fifty_words_are_a_repeat_and_forty_nine_are_not(shared: int, goes: int, place: str) -> None:
    before = "" if place == "start" else "some words before. "
    after = "" if place == "end" else " Then others behind"
    long = f"{numbered(500, 1000)} {numbered(shared)} {numbered(500, 2000)}"
    outcome = one_shard([long, before + numbered(shared) + after])
    assert outcome.texts()[document_id(0)] == long
    assert sum(cut["tokens"] for cut in outcome.cuts) == goes
    if goes:
        assert outcome.texts()[document_id(1)] == (before + after.lstrip() if after else before.rstrip())
        (cut,) = outcome.cuts
        assert (cut["id"], cut["rep_id"], cut["rep_token"]) == (document_id(1), document_id(0), 500)


def test_three_documents_that_overlap_in_pairs() -> None:
    """What the second shares with the third is not what both share with the first."""
    first, second, third = (
        numbered(200),
        f"{numbered(90, 110)} {numbered(80, 300)}",
        f"{numbered(60, 140)} {numbered(70, 300)} end",
    )
    outcome = one_shard([first, second, third], keep=["longest"])
    texts = outcome.texts()
    assert texts[document_id(0)] == first
    assert texts[document_id(1)] == numbered(80, 300)
    assert texts[document_id(2)] == "end"


def test_chinese_text_and_other_spellings() -> None:
    """Each character is a word; case, accents and width make no difference."""
    sentence = "".join(chr(0x4E00 + 7 * k) for k in range(60)) + "。"
    spelled = " ".join(f"Naïve{k}" for k in range(60))
    texts = [
        "头" + sentence + "尾" * 40,
        "短" + sentence + "句",
        spelled + " and more",
        f"({spelled.upper().replace('Ï', 'I')}) B",
    ]
    outcome = one_shard(texts, within_document=False)
    assert outcome.texts()[document_id(1)] == "短。句"
    assert outcome.texts()[document_id(3)] == "B"


def test_a_text_that_repeats_itself_keeps_one_period() -> None:
    texts = ["buy now, " * 500 + "thanks"]
    assert one_shard(texts).texts()[document_id(0)] == "buy now, thanks"
    assert one_shard(texts, within_document=False).texts()[document_id(0)] == texts[0]


def test_many_pages_with_one_boilerplate_stay_linear() -> None:
    """Each of 3,000 pages asks for no more than the windows around the two borders, 26 each."""
    boilerplate = numbered(200, 5000)
    texts = [f"{numbered(5, 10_000 + 7 * k)} {boilerplate} {numbered(5, 90_000 + 7 * k)}" for k in range(3000)]
    outcome = one_shard(texts)
    assert sum(cut["tokens"] for cut in outcome.cuts) == 2999 * 200
    assert outcome.facts["step.matches"]["windows"] <= 3000 * 52


def test_mark_adds_columns_and_leaves_the_text() -> None:
    outcome = one_shard([numbered(200), numbered(100, 50) + " x y", ""], action="mark")
    assert [row["step.num_tokens"] for row in outcome.kept] == [200, 102, 0]
    assert [row["step.duplicate_tokens"] for row in outcome.kept] == [0, 100, 0]
    assert outcome.kept[1]["text"] == numbered(100, 50) + " x y"
    assert len(outcome.cuts) == 1


@pytest.mark.parametrize(("limit", "dropped"), [(0.5, 1), (0.6, 0)])
def test_drop_takes_whole_documents(limit: float, dropped: int) -> None:
    """60 of 100 words stand in the longer document."""
    texts = [numbered(200), f"{numbered(60)} {numbered(40, 900)}", ""]
    outcome = one_shard(texts, action="drop", max_duplicate_fraction=limit)
    assert [row["id"] for row in outcome.dropped] == [document_id(1)][:dropped]
    assert all(row["text"] == texts[[document_id(k) for k in range(3)].index(row["id"])] for row in outcome.kept)
    for row in outcome.dropped:
        assert (row["operator"], row["reason"], row["value"]) == ("step", "repeated", "0.6")


@pytest.mark.parametrize(
    ("order", "kept"),
    [
        ({"sources": ["b"]}, 1),
        ({"keep": [{"highest": "score"}]}, 2),
        ({"keep": ["oldest"]}, 3),
        ({"keep": ["longest"]}, 0),
    ],
)
def test_who_keeps_its_copy(order: dict[str, object], kept: int) -> None:
    docs = table([f"{numbered(60)}{' more' * (4 - k)}" for k in range(4)])
    docs = docs.set_column(2, "source", pa.array(["a", "b", "a", "a"]))
    docs = docs.append_column("score", pa.array([1, 2, 3, None], pa.float64()))
    docs = docs.append_column("date", pa.array(["2024-01-01", "2023", None, "2019-05"]))
    outcome = run(DedupSubstrings(within_document=False, **order), [[docs]])
    whole = [row["id"] for row in outcome.kept if row["step.duplicate_tokens"] == 0]
    assert whole == [document_id(kept)]


@pytest.mark.parametrize("places", [((0, 1), (2,)), ((2,), (1, 0)), ((0, 2), (1,))])
def test_rows_of_equal_id_are_interchangeable(places: tuple[tuple[int, ...], ...]) -> None:
    """One of them stays, whichever stands first."""
    texts, numbers = [numbered(70), numbered(70), numbered(55, 10)], [7, 7, 8]
    shards = [[table([texts[k] for k in shard], [numbers[k] for k in shard])] for shard in places]
    outcome = run(DedupSubstrings(), shards)
    assert [(row["id"], row["text"]) for row in outcome.kept] == [(document_id(7), texts[0])]
    assert sorted(row["id"] for row in outcome.dropped) == sorted([document_id(7), document_id(8)])


def test_account_and_what_is_dropped() -> None:
    texts = [numbered(200), numbered(100, 50), None, "", "..."]
    outcome = one_shard(texts)
    assert [row["id"] for row in outcome.dropped] == [document_id(1), document_id(2)]
    assert {row["reason"] for row in outcome.dropped} == {"nothing_left"}
    ledger = outcome.ledger
    assert (ledger.into.docs, ledger.kept.docs) == (5, 3)
    assert ledger.kept.bytes == len(texts[0]) + 3
    assert ledger.dropped["step:nothing_left"].docs == 2


def test_shards_without_rows_and_a_run_without_shards() -> None:
    outcome = run(DedupSubstrings(partitions=2), [[], [table([])], [table([numbered(60), numbered(60)])], []])
    assert [row["text"] for row in outcome.kept] == [numbered(60)]
    assert run(DedupSubstrings(), []).kept == []


@pytest.mark.parametrize(
    "wrong", [{"min_tokens": 1}, {"min_tokens": 1001}, {"action": "remove"}, {"max_duplicate_fraction": 2}]
)
def test_wrong_parameters_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        DedupSubstrings(**wrong)


def test_without_documents_it_says_so() -> None:
    with pytest.raises(Exception, match="without documents"):
        DedupSubstrings().nodes("step", None, 0)
