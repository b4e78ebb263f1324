"""The way of one document: found by id and URL, followed through every step."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import pairs
from pipeline.dataset import Run
from pipeline.documents import ID_TYPE
from pipeline.errors import UserError
from pipeline.lookup import find_ids, starts_with
from pipeline.pairs import representative, representative_facts, stands_for, texts
from pipeline.readers.read import Read
from pipeline.report.account import Account
from pipeline.session import Settings
from pipeline.session import run as run_workflow
from pipeline.storage import Storage
from pipeline.trace import about, follow, without_id
from pipeline.workflow import Expect, Step, Workflow
from pipeline.works import ReadWork
from tests.pipeline.report.conftest import run_tiny, workflow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_tiny(tmp_path_factory.mktemp("trace"))


def way(run: Run, url: str) -> list[list[tuple[str, str]]]:
    """(step, outcome) of each document with this URL."""
    account = Account.of(run)
    return [[(fate.step, fate.outcome) for fate in follow(account, identity)] for identity in find_ids(run, url)]


def test_a_kept_document_ends_at_its_tokens(run: Run) -> None:
    (identity,) = find_ids(run, "http://b.example/6")
    fates = follow(Account.of(run), identity)
    assert [(f.step, f.outcome) for f in fates] == [
        ("crawl", "kept"),
        ("pages", "kept"),
        ("clean", "kept"),
        ("unique", "kept"),
        ("tokens", "tokenized"),
    ]
    assert fates[1].facts["measures"] == {"length.chars": 47}
    assert fates[2].facts["measures"] == {}
    # Alone in shard 1 after its two neighbours went as copies.
    assert (fates[-1].shard, fates[-1].facts["start"], fates[-1].facts["num_tokens"]) == (1, 0, 5)
    assert (Path(run.storage.uri) / fates[-1].facts["file"]).is_file()


def test_a_dropped_document_names_operator_value_and_threshold(run: Run) -> None:
    (identity,) = find_ids(run, "http://a.example/2")
    last = follow(Account.of(run), identity)[-1]
    assert (last.step, last.outcome) == ("pages", "dropped")
    facts = {name: last.facts[name] for name in ("operator", "reason", "value", "threshold", "measures")}
    assert facts == {
        "operator": "length",
        "reason": "short",
        "value": "2",
        "threshold": "chars >= 3",
        "measures": {"length.chars": 2},
    }


def test_what_left_without_a_text_and_what_raised(run: Run) -> None:
    assert way(run, "http://a.example/4") == [[("crawl", "kept"), ("pages", "dropped")]]
    hostile = "http://b.example/<script>alert(1)</script>"
    assert way(run, hostile) == [[("crawl", "kept"), ("pages", "quarantined")]]
    (identity,) = find_ids(run, hostile)
    assert follow(Account.of(run), identity)[-1].facts == {"operator": "length", "error": "ValueError: boom"}


def test_every_capture_of_a_url_is_followed(run: Run) -> None:
    ways = way(run, "http://a.example/1")
    assert sorted(one[-1] for one in ways) == [("tokens", "tokenized"), ("unique", "duplicate")]


def test_a_copy_names_what_stays(run: Run) -> None:
    (copy,) = find_ids(run, "http://b.example/5")
    first = next(
        i for i in find_ids(run, "http://a.example/1") if follow(Account.of(run), i)[-1].outcome == "tokenized"
    )
    last = follow(Account.of(run), copy)[-1]
    removed = last.facts["removed"]
    assert {name: value for name, value in last.facts.items() if name != "removed"} == {
        "kind": "exact",
        "of": first.hex(),
        "of_url": "http://a.example/1",
        "of_source": "web",
        "of_date": None,
        "of_run": None,
        "estimate": 1.0,
        "similarity": None,
        "verify": None,
        "cluster_size": 3,
    }
    assert texts(run, "unique", last.shard or 0, removed) == ("four words make tokens", "four words make tokens")


def test_a_kept_document_names_those_it_stands_for(run: Run) -> None:
    (first,) = [i for i in find_ids(run, "http://a.example/1") if follow(Account.of(run), i)[-1].outcome == "tokenized"]
    others = {*find_ids(run, "http://a.example/1"), *find_ids(run, "http://b.example/5")} - {first}
    (kept,) = [fate for fate in follow(Account.of(run), first) if fate.step == "unique"]
    assert kept.facts == {"stands_for": 2, "ids": sorted(one.hex() for one in others)}
    assert stands_for(run, "unique", first)[1] == sorted(others)
    (alone,) = find_ids(run, "http://b.example/6")
    assert stands_for(run, "unique", alone) == (0, [])


def test_no_more_than_twenty_ids_are_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = [i for i in find_ids(run, "http://a.example/1") if follow(Account.of(run), i)[-1].outcome == "tokenized"]
    monkeypatch.setattr(pairs, "MOST_IDS", 1)
    number, ids = stands_for(run, "unique", first)
    assert (number, len(ids)) == (2, 1)


def test_representatives_of_another_run_are_read_there(run: Run, tmp_path: Path) -> None:
    """A run whose recipe goes against this one; its own rows do not matter here."""
    (first,) = [i for i in find_ids(run, "http://a.example/1") if follow(Account.of(run), i)[-1].outcome == "tokenized"]
    against = [
        {"Against": {"run": run.storage.uri, "step": "unique"}},
        {"Against": {"run": str(tmp_path / "no"), "step": "u"}},
    ]
    facts = {**run.facts, "recipe": {"later": {"from": "x", "Dedup": {"against": against}}}}
    later = Run(Storage(str(tmp_path)), facts)
    removed = {"rep_id": first, "rep_level": 1, "rep_shard": 0, "rep_row": 0}
    known = representative_facts(later, "later", removed)
    assert known == {
        "of": first.hex(),
        "of_url": "http://a.example/1",
        "of_source": "web",
        "of_date": None,
        "of_run": run.storage.uri,
    }
    assert representative(later, "later", removed).read(("text",)) == {"text": "four words make tokens"}
    gone = representative_facts(later, "later", {**removed, "rep_level": 2})
    assert (gone["of_run"], gone["of_url"]) == (str(tmp_path / "no"), None)
    with pytest.raises(UserError, match="no run at"):
        representative(later, "later", {**removed, "rep_level": 2})
    # Where another document lies there by now, nothing is said of it.
    assert representative_facts(later, "later", {**removed, "rep_id": b"x" * 16})["of_url"] is None


def test_single_documents_are_taken_by_their_numbers(run: Run) -> None:
    for name in ("crawl", "pages", "unique"):
        for shard in run[name].shards():
            whole = pa.concat_tables(shard.documents())
            for rows in ([0], list(range(whole.num_rows))[::-1], [whole.num_rows - 1, 0, 0]):
                taken = shard.take(rows, ("id", "url", "no such column"))
                assert taken.equals(whole.select(["id", "url"]).take(rows).combine_chunks())
            assert shard.read_again == (name == "crawl")


def test_about_a_document(run: Run) -> None:
    (identity,) = find_ids(run, "http://a.example/2")
    known = about(Account.of(run), identity)
    assert (known["url"], known["source"]) == ("http://a.example/2", "web")
    assert known["origin"].startswith(str(Path(run.storage.uri).parent / "in" / "in-0.jsonl"))


def test_the_beginning_of_an_id_is_enough_where_it_is_unique(run: Run) -> None:
    (identity,) = find_ids(run, "http://b.example/6")
    digits = identity.hex()
    for query in (digits, digits[:9], digits[:8].upper()):
        assert find_ids(run, query) == [identity]


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Records with ids of their own, one cut short; nothing copies what is read."""
    folder = tmp_path_factory.mktemp("named")
    (folder / "in").mkdir()
    ids = ("books-f4bf", "54", "abcdef01", "abcdef01" * 4)
    rows = [{"id": one, "text": f"text {one}", "url": None, "date": "2024-05-06"} for one in ids]
    lines = [*map(json.dumps, rows), '{"id": "lost", "te']
    (folder / "in" / "in-0.jsonl").write_text("\n".join(lines) + "\n")
    read = Step(
        name="crawl",
        verb=ReadWork(read=Read(format="jsonl", paths=("in-*.jsonl",), source="web")),
        expect=Expect(quarantined=1.0),
    )
    flow = Workflow(name="named", base_dir=str(folder / "in"), steps=(read,))
    return run_workflow(flow, str(folder / "out"), Settings(backend="inline", progress="none"))


@pytest.mark.parametrize("query", ["books-f4bf", "54", "abcdef01", "abcdef01" * 4])
def test_a_sources_own_id_finds_its_document(named: Run, query: str) -> None:
    (identity,) = find_ids(named, query)
    assert about(Account.of(named), identity)["record_id"] == query


def test_an_origin_finds_its_document(named: Run) -> None:
    (identity,) = find_ids(named, "54")
    known = about(Account.of(named), identity)
    first = len(json.dumps({"id": "books-f4bf", "text": "text books-f4bf", "url": None, "date": "2024-05-06"})) + 1
    path = str(Path(named.storage.uri).parent / "in" / "in-0.jsonl")
    assert known == {
        "url": None,
        "record_id": "54",
        "source": "web",
        "date": "2024-05-06",
        "origin": f"{path}#{first}",
    }
    for query in (f"{path}#{first}", f"in-0.jsonl#{first}", f"in/in-0.jsonl#{first}"):
        assert find_ids(named, query) == [identity]
    with pytest.raises(UserError, match="nor an origin"):
        find_ids(named, f"n-0.jsonl#{first}")


def test_what_could_not_be_read_is_found_by_its_origin(named: Run) -> None:
    account = Account.of(named)
    ((row,),) = [table.to_pylist() for table in named["crawl"].rejected("quarantine")]
    for origin in (row["origin"], Path(row["origin"]).name):
        ((known, fate),) = without_id(account, origin)
        assert (known["origin"], fate.step, fate.outcome) == (row["origin"], "crawl", "quarantined")
        assert fate.facts["excerpt"] == '{"id": "lost", "te'
    assert without_id(account, "in-0.jsonl#0") == []


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("55", "no document has the record_id 55 in .*; of an id give at least 6 of its 32 hex digits"),
        ("zzzzzzzz", "'zzzzzzzz' is neither an id, a URL, a record_id nor an origin"),
        ("123456", "id begins with 123456 in .*, and none whose record_id it is"),
        ("http://x.example/", "no document with the URL http://x.example/"),
        ("lost", "quarantined rows keep no record_id, look for their origin"),
    ],
)
def test_what_is_not_there_is_told_by_its_kind(named: Run, query: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_ids(named, query)


def test_what_is_not_there_names_the_nearest(run: Run) -> None:
    with pytest.raises(UserError, match=r"nearest: .*http://b\.example/6"):
        find_ids(run, "http://b.example/66")
    with pytest.raises(UserError, match=r"nearest URLs: .*http://b\.example/6"):
        find_ids(run, "b.example/6")
    with pytest.raises(UserError, match="no URL of that host"):
        find_ids(run, "http://elsewhere.example/")
    with pytest.raises(UserError, match="begins with 000000000000"):
        find_ids(run, "000000000000")


def test_identical_records_are_counted_and_unfinished_steps_wait(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    run = run_tiny(tmp_path, out_steps=3)
    line = '{"text": "<p>twice told tale</p>", "url": "http://c.example/"}\n'
    (tmp_path / "in" / "in-2.jsonl").write_text(2 * line)
    run = run_again(tmp_path)
    (identity,) = find_ids(run, "http://c.example/")
    fates = follow(Account.of(run), identity)
    assert [(f.step, f.outcome, f.rows) for f in fates] == [
        ("crawl", "kept", 2),
        ("pages", "kept", 1),
        ("pages", "kept", 1),
        ("clean", "kept", 1),
        ("clean", "kept", 1),
        ("unique", "kept", 1),
        ("unique", "duplicate", 1),
        ("tokens", "tokenized", 1),
    ]
    for path in (tmp_path / "out" / run.facts["datasets"]["clean"]).rglob("*.json"):
        path.unlink()
    fates = follow(Account.of(Run.open(str(tmp_path / "out"))), identity)
    assert [(f.step, f.outcome, f.rows) for f in fates[3:]] == [("clean", "waiting", 2)]


def run_again(root: Path) -> Run:
    return run_workflow(workflow(root / "in"), str(root / "out"), Settings(backend="inline", progress="none"))


def test_a_source_that_nothing_copied_is_read_again(tmp_path: Path) -> None:
    run = run_tiny(tmp_path, out_steps=1)
    (identity,) = find_ids(run, "http://a.example/3")
    assert [(f.step, f.outcome) for f in follow(Account.of(run), identity)] == [("crawl", "kept")]


@given(
    st.lists(st.one_of(st.none(), st.binary(min_size=16, max_size=16))),
    st.text("0123456789abcdef", min_size=1, max_size=32),
)
def test_prefixes_match_as_hex_digits_do(ids: list[bytes | None], digits: str) -> None:
    ids = [*ids, bytes.fromhex(digits.ljust(32, "0"))]
    mask = starts_with(pa.chunked_array([pa.array(ids, ID_TYPE)]), digits)
    assert mask.tolist() == [one is not None and one.hex().startswith(digits) for one in ids]
