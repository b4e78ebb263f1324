"""The whole step over shards: against the slow twin, worked-out cases, laws of position and cut."""

from __future__ import annotations

import hashlib
import itertools
import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from operators.dedup.lines import counts
from operators.dedup.lines.verb import DedupLines
from operators.scrub.pii import ScrubPii
from pipeline.errors import RunFailedError, UserError
from pipeline.fingerprint import digest
from pipeline.workflow import Step, Workflow
from tests.operators.dedup.lines.runner import Outcome, pages_table, run
from tests.operators.dedup.lines.twins import Page, Rule, dedup
from tests.operators.texts import ONE_MEGABYTE, TEXTS

FOOTER = "All rights reserved by the publisher"


def page(number: int, text: str | None, **more: str | None) -> Page:
    return Page(hashlib.md5(b"%d" % number).digest(), text, **more)


def sharded(pages: list[Page], num_shards: int, cuts: list[int] | None = None) -> list[list[pa.Table]]:
    shards = []
    for k in range(num_shards):
        whole = pages_table(pages[k::num_shards])
        bounds = sorted({0, whole.num_rows, *(cut % (whole.num_rows + 1) for cut in cuts or [])})
        shards.append([whole.slice(a, b - a) for a, b in itertools.pairwise(bounds)] or [whole])
    return shards


def texts(verb: DedupLines, shards: list[list[pa.Table]]) -> dict[bytes, str | None]:
    with TemporaryDirectory() as folder:
        return run(verb, shards, Path(folder)).texts()


def expected(pages: list[Page], rule: Rule) -> dict[bytes, str | None]:
    return dedup(pages, rule)


def one(verb: DedupLines, *given: str | None) -> list[str | None]:
    """The texts of documents with ascending ids afterwards."""
    pages = [Page(bytes([k]) * 16, text) for k, text in enumerate(given)]
    found = texts(verb, sharded(pages, 1))
    return [found[one.id] for one in pages]


# A few lines and sentences that repeat, in several spellings, between others that do not.
LINES = [
    FOOTER, FOOTER.upper(), "  all rights — reserved by the publisher.\r", "Share this article", "版权所有未经许可",
    "Chapter One", "Ωμέγα καὶ ἄλφα, καλημέρα", "}", "* * *", "", " ", "Item number 12 of the list", "Item number 13 of the list",
]  # fmt: skip
SENTENCES = ["It rains.", "She said no!", "What now?", "他走了。", "Go on. ", "Mr. Hill went home.", "\n", "\n\n", " "]


def corpus(seed: int, pool: list[str], joint: str, size: int = 24) -> list[Page]:
    draw = random.Random(seed)
    pages = []
    for number in range(size):
        parts = [draw.choice([*pool, f"own words of page {number}."]) for _ in range(draw.randrange(12))]
        text = None if draw.random() < 0.05 else joint.join(parts)
        url = draw.choice(["http://a.org/x", "https://u@B.org:80/y?z", "http://b.org#q", None, "no host"])
        more = {"source": draw.choice(["web", "books"]), "language": draw.choice(["en", "el"]), "url": url}
        pages.append(page(seed * 1000 + number, text, **more))
    return pages


RULES = [
    ({}, Rule()),
    ({"min_documents": 2, "min_chars": 0}, Rule(min_documents=2, min_chars=0)),
    ({"fold": False, "min_documents": 3}, Rule(fold=False, min_documents=3)),
    ({"keep": "first", "min_documents": 2}, Rule(keep="first", min_documents=2, once=True)),
    ({"keep": "first", "within_document": "keep"}, Rule(keep="first")),
    ({"within_document": "first"}, Rule(once=True)),
    ({"unit": "paragraph", "min_documents": 2}, Rule(unit="paragraph", min_documents=2)),
    ({"spans": 2, "min_documents": 2, "keep": "first"}, Rule(spans=2, min_chars=0, min_documents=2, keep="first", once=True)),
    ({"scope": "source"}, Rule(scope="source")),
    ({"scope": "host", "min_documents": 2}, Rule(scope="host", min_documents=2)),
    ({"scope": "language", "keep": "first"}, Rule(scope="language", keep="first", once=True)),
]  # fmt: skip
C4 = {"unit": "sentences", "keep": "first", "min_documents": 2}
C4_RULE = Rule("sentences", 3, 2, "first", once=True, min_chars=0)


@pytest.mark.parametrize("number", range(len(RULES)))
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_twin_on_lines(number: int, seed: int) -> None:
    parameters, rule = RULES[number]
    pages = corpus(seed, LINES, "\n")
    found = texts(DedupLines.model_validate(parameters), sharded(pages, 3))
    assert found == expected(pages, rule)
    assert found != {page.id: page.text for page in pages}


@pytest.mark.parametrize("keep", ["first", "none"])
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_twin_on_sentences(seed: int, keep: str) -> None:
    pages = corpus(seed, SENTENCES, " ", 60)
    rule = C4_RULE if keep == "first" else Rule("sentences", 3, 2, min_chars=0)
    found = texts(DedupLines.model_validate({**C4, "keep": keep}), sharded(pages, 2))
    assert found == expected(pages, rule)
    assert found != {page.id: page.text for page in pages}


@settings(max_examples=15)
@given(
    given=st.lists(st.one_of(st.none(), TEXTS), min_size=1, max_size=8),
    unit=st.sampled_from(["line", "paragraph", "sentences"]),
    spans=st.integers(1, 3),
    keep=st.sampled_from(["none", "first"]),
    fold=st.booleans(),
)
def test_equals_the_twin_on_texts_that_break_text_code(given, unit, spans, keep, fold) -> None:
    pages = [page(k, text) for k, text in enumerate([*given, *given[::2]])]
    verb = DedupLines(unit=unit, spans=spans, keep=keep, fold=fold, min_documents=2, min_chars=1)
    rule = Rule(unit, spans, 2, keep, once=keep == "first", fold=fold, min_chars=1)
    assert texts(verb, sharded(pages, 2)) == expected(pages, rule)


@settings(max_examples=12)
@given(
    seed=st.integers(0, 10**6),
    order=st.randoms(use_true_random=False),
    num_shards=st.integers(1, 6),
    partitions=st.integers(1, 5),
    cuts=st.lists(st.integers(0, 30), max_size=3),
    keep=st.sampled_from(["none", "first"]),
)
def test_position_and_partition_change_no_text(seed, order, num_shards, partitions, cuts, keep) -> None:
    pages = corpus(seed, LINES, "\n")
    plain = texts(DedupLines(keep=keep, min_documents=3), sharded(pages, 1))
    order.shuffle(pages)
    # A millionth of a GiB: 16 records at a time.
    verb = DedupLines(keep=keep, min_documents=3, partitions=partitions, memory_gib=1e-6)
    assert texts(verb, sharded(pages, num_shards, cuts)) == plain


@pytest.mark.parametrize("keep", ["none", "first"])
def test_sorted_runs_in_scratch_give_the_same_bytes(keep, tmp_path: Path, monkeypatch) -> None:
    pages = corpus(4, LINES, "\n", 60)
    shards = sharded(pages, 2, list(range(0, 30, 2)))
    plain = run(DedupLines(keep=keep), shards, tmp_path / "a")
    monkeypatch.setattr(counts, "RUN_KEYS", 5)
    cut = run(DedupLines(keep=keep), shards, tmp_path / "b")
    assert sum(1 for path in (tmp_path / "b").rglob("run*")) > 10
    for node in ("units", "frequent"):
        assert cut.files(node) == plain.files(node)
    assert cut.texts() == plain.texts()


def test_lines_that_enough_documents_hold_go() -> None:
    pages = [f"Text of page {k} and more.\n\n{FOOTER}.\n" for k in "abcd"]
    assert one(DedupLines(), *pages) == [f"Text of page {k} and more.\n" for k in "abcd"]
    assert one(DedupLines(), *pages[:3]) == pages[:3]
    assert one(DedupLines(min_documents=3), *pages[:3]) == [f"Text of page {k} and more.\n" for k in "abc"]


def test_documents_count_and_not_occurrences() -> None:
    text = f"{FOOTER}\n" * 9
    assert one(DedupLines(), text, text, text) == [text] * 3
    assert one(DedupLines(), text, text, text, text) == [None] * 4
    assert one(DedupLines(within_document="first"), text) == [f"{FOOTER}\n"]


def test_spelling_is_folded_and_numbers_are_not() -> None:
    same = [
        "Café  au lait, 12 times",
        "CAFE\tAU LAIT – １２ times!",
        "café (au) lait 12 times\r",
        "Cafe\u0301 au lait 12 times",
    ]
    other = "cafe au lait 13 times"
    assert one(DedupLines(), *same, other) == [None] * 4 + [other]
    assert one(DedupLines(fold_digits=True, min_documents=5), *same, other) == [None] * 5
    assert one(DedupLines(fold=False, min_documents=2), *same, other) == [*same, other]
    assert one(DedupLines(fold=False, min_documents=2), other, f"  {other} \r\nx") == [None, "x"]


def test_short_lines_and_those_without_a_word_stay() -> None:
    text = "short line\n* * * * * * * * *\n}\n\n{\nlonger lines go\n四个汉字\n三个字"
    assert one(DedupLines(), *[text] * 4) == ["short line\n* * * * * * * * *\n}\n\n{\n三个字"] * 4


def test_c4_keeps_one_copy_of_three_sentences() -> None:
    """The spans of both are (1 2 3), (2 3 4), (3 4 5); the second page shares (2 3 4) only, and lies apart."""
    first = "One came. Two went. Three stayed. Four slept. Five woke."
    second = "Six ran. Two went. Three stayed.\n\nFour slept. Seven hid."
    assert one(DedupLines.model_validate(C4), first, second) == [first, "Six ran.\n\nSeven hid."]
    assert one(DedupLines.model_validate(C4), second, first) == [second, "One came. Five woke."]
    two = "Two went. Three stayed. Only two are shared."
    assert one(DedupLines.model_validate(C4), first, two) == [first, two]


def test_c4_counts_repeats_inside_a_document_and_leaves_one_whole() -> None:
    assert one(DedupLines.model_validate(C4), "Go on! " * 5) == ["Go on! Go on! Go on! "]
    assert one(DedupLines.model_validate({**C4, "within_document": "keep"}), "Go on! " * 5) == ["Go on! " * 5]


def test_the_one_copy_of_a_span_is_not_cut_by_another_span() -> None:
    """The first page keeps (2 3 4), the second (3 4 5): 3 and 4 stay there too, and 2 goes."""
    first, second = "Two went. Three stayed. Four slept.", "Three stayed. Four slept. Five woke."
    third = "Two went. Three stayed. Four slept. Five woke."
    pages = [first, third, second]
    found = one(DedupLines.model_validate(C4), *pages)
    assert found == [first, second, None]


def test_paragraphs_end_at_blank_lines_however_they_are_written() -> None:
    pages = ["Some words here\nand there\n\nend", "own\r\n \t\r\nSome words here\r\nand there\r\n\r\nmore\r\n"]
    assert one(DedupLines(unit="paragraph", min_documents=2), *pages) == ["end", "own\r\n \t\r\nmore\r\n"]


def test_scopes_are_apart() -> None:
    pages = [page(k, f"own {k}\n{FOOTER}", url=f"https://{'ab'[k % 2]}.org/{k}") for k in range(6)]
    shards = sharded(pages, 2)
    assert texts(DedupLines(scope="host"), shards) == {p.id: p.text for p in pages}
    gone = {p.id: f"own {k}" for k, p in enumerate(pages)}
    assert texts(DedupLines(scope="host", min_documents=3), shards) == gone
    assert texts(DedupLines(), shards) == gone


def test_records_alike_in_everything_are_interchangeable() -> None:
    """The same id twice: one of them keeps the line, wherever it lies."""
    both = [Page(b"i" * 16, f"{FOOTER}\nown")] * 2
    with TemporaryDirectory() as folder:
        found = run(
            DedupLines(keep="first", min_documents=2), [[pages_table(both[:1])], [pages_table(both[1:])]], Path(folder)
        )
        assert [row["text"] for row in found.table()] == [f"{FOOTER}\nown", "own"]


def account(found: Outcome) -> dict[str, object]:
    made = found.ledger.to_json()
    return {name: made[name] for name in ("in", "kept", "dropped", "quarantined", "groups_in", "groups_kept")}


def test_what_is_emptied_or_too_little_is_dropped_and_accounted_for(tmp_path: Path) -> None:
    long = "Words of the first page, which are quite a few."
    given = [f"{long}\n{FOOTER}", FOOTER, f"tiny\n{FOOTER}", f"{FOOTER}\n", "small and untouched", "", None]
    pages = [page(k, text) for k, text in enumerate(given)]
    found = run(DedupLines(min_left_chars=10, min_left_fraction=0.5), sharded(pages, 1), tmp_path)
    kept = {row["id"]: row for row in found.table()}
    assert {row["text"] for row in kept.values()} == {long, "small and untouched", ""}
    first = kept[pages[0].id]
    assert (first["lines.units"], first["lines.units_removed"], first["lines.bytes_removed"]) == (2, 1, 37)
    assert [kept[pages[k].id]["lines.units"] for k in (4, 5)] == [1, 0]
    dropped = {row["id"]: row for row in found.table("dropped")}
    fates = [(dropped[pages[k].id]["operator"], dropped[pages[k].id]["reason"]) for k in (1, 2, 3, 6)]
    emptied = ("lines", "nothing_left")
    assert fates == [emptied, ("lines_left", "few_chars_left"), emptied, emptied]
    assert [dropped[pages[k].id]["value"] for k in (1, 2, 3)] == [None, "4", None]
    assert [dropped[pages[k].id]["excerpt"] for k in (1, 2, 3)] == [FOOTER, "tiny", f"{FOOTER}\n"]
    # FOOTER has 36 bytes; what the text lost without the document is in neither account.
    assert account(found) == {
        "in": [7, 47 + 37 + 36 + 41 + 37 + 19, 0],
        "kept": [3, 47 + 19, 0],
        "dropped": {"lines:nothing_left": [3, 36 + 37, 0], "lines_left:few_chars_left": [1, 4, 0]},
        "quarantined": {},
        "groups_in": {"web|en": [7, 47 + 19 + 36 + 37 + 4, 0]},
        "groups_kept": {"web|en": [3, 47 + 19, 0]},
    }


def test_excerpts_of_dropped_rows_are_scrubbed_by_later_steps() -> None:
    scrub = ScrubPii()
    steps = (
        Step(name="clean", source="raw", verb=DedupLines()),
        Step(name="scrub", source="clean", verb=_apply(scrub)),
    )
    nodes = {node.name: node for node in Workflow(name="w", steps=steps).nodes_by_step()["clean"]}
    assert nodes["clean"].work.scrubbers == (scrub,)
    pages = [page(k, "Write to jane.roe@mail.org for more") for k in range(4)]
    with TemporaryDirectory() as folder:
        found = run(DedupLines(keep_dropped_text="all"), sharded(pages, 1), Path(folder), scrubbers=(scrub,))
        rows = found.table("dropped")
        assert len(rows) == 4
        assert not any("jane" in row["excerpt"] or "jane" in row["text"] for row in rows)


def _apply(operator):
    from pipeline.works import Apply

    return Apply(operators=(operator,))


def test_how_often_units_repeat_is_told(tmp_path: Path) -> None:
    """One line in 5 documents, one in 3, one in 2, and 7 in one each."""
    pages = [page(k, f"own line of page {k} alone") for k in range(7)]
    for name, number in (("in five documents", 5), ("in three documents", 3), ("in two documents", 2)):
        pages[:number] = [page(k, f"{pages[k].text}\n{name}") for k in range(number)]
    found = run(DedupLines(partitions=1), sharded(pages, 3), tmp_path)
    facts = found.results["lines.frequent"][0].facts
    assert facts == {"distinct": 10, "frequent": 1, "by_documents": [7, 2, 1]}
    assert [result.facts["rows"] for result in found.results["lines.units"]] == [3, 2, 2]


@pytest.mark.parametrize("name", ONE_MEGABYTE)
def test_hostile_texts(name: str, tmp_path: Path) -> None:
    text = ONE_MEGABYTE[name]
    pages = [page(k, value) for k, value in enumerate([text, "", None, f"\0{text[:1000]}\0"])]
    for number, parameters in enumerate(({"unit": "line"}, {"unit": "paragraph"}, C4)):
        found = run(DedupLines.model_validate(parameters), sharded(pages, 2), tmp_path / str(number))
        assert found.ledger.into.docs == 4


def test_no_documents_and_no_shards(tmp_path: Path) -> None:
    for keep in ("none", "first"):
        empty = run(DedupLines(keep=keep), [[], [pages_table([])]], tmp_path / keep / "a")
        assert empty.table() == []
        none = run(DedupLines(keep=keep), [], tmp_path / keep / "b")
        assert none.results == {"lines.units": [], "lines.frequent": [], "lines": []}


def test_what_is_refused(tmp_path: Path) -> None:
    for wrong in ({"min_documents": 1}, {"fold": False, "fold_digits": True}, {"spans": 0}, {"unit": "word"}):
        with pytest.raises(ValidationError):
            DedupLines.model_validate(wrong)
    with pytest.raises(UserError, match="from"):
        DedupLines().nodes("lines", None, 0)
    docs = pages_table([page(0, "a")])
    for scope, column in (("language", "language.label"), ("host", "url")):
        with pytest.raises(UserError, match=scope):
            run(DedupLines(scope=scope), [[docs.drop_columns(column)]], tmp_path / scope)
    text_ids = docs.set_column(0, "id", pa.array(["x"]))
    with pytest.raises(UserError, match="16-byte"):
        run(DedupLines(keep="first"), [[text_ids]], tmp_path / "ids")


def test_counts_of_other_parameters_do_not_mix(tmp_path: Path) -> None:
    shards = sharded(corpus(1, LINES, "\n"), 1)
    counted = run(DedupLines(), shards, tmp_path)
    path = next(o.path for o in counted.results["lines.units"][0].outputs)
    other = DedupLines(fold_digits=True).nodes("lines", "docs", 0)[0].work
    with pytest.raises(RunFailedError, match="fold_digits"):
        counts.open_columns(path, counts.KIND, other.parameters)


def test_min_documents_reads_no_text_again() -> None:
    """Equal works have equal fingerprints."""

    def works(**parameters: object) -> list[object]:
        return [node.work for node in DedupLines.model_validate(parameters).nodes("lines", "docs", 0)]

    plain = works()
    assert works(min_documents=9)[0] == plain[0]
    assert works(min_documents=9)[1] != plain[1]
    assert works(min_left_chars=9)[:2] == plain[:2]
    assert works(min_chars=9)[0] != plain[0]
    assert digest(works(memory_gib=0.5)[1]) == digest(plain[1])
