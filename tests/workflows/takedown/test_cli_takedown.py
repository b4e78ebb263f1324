"""``sluice takedown``: what it finds, what it leaves, what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.dataset import Run
from pipeline.pairs import representative
from pipeline.takedown.rewriting import NOBODY
from tests.workflows.conftest import Call
from tests.workflows.takedown.conftest import (
    BAD,
    COPY,
    MIDDLE,
    NEAR,
    RECIPE,
    SHORT,
    again,
    files,
    made,
    state,
    urls,
    write_list,
)  # fmt: skip

Take = Callable[..., dict]


@pytest.fixture
def take(sluice: Call, tmp_path: Path) -> Take:
    """Takes URLs (or domains, or ids) out of a run; returns what --json says."""

    def do(run: Path, *lines: str, kind: str = "--urls", more: tuple[str, ...] = ("--yes",)) -> dict:
        done = sluice("takedown", run, kind, write_list(tmp_path, *lines), *more, "--json")
        assert done.exit_code == 0, done.stderr + done.stdout
        return json.loads(done.stdout)

    return do


def id_of(run: Path, url: str) -> str:
    for table in Run.open(str(run))["clean"].documents():
        for row in table.filter(np.array([one == url for one in table["url"].to_pylist()])).to_pylist():
            return row["id"].hex()
    raise AssertionError(url)


@pytest.mark.parametrize("url", [MIDDLE, NEAR, BAD, SHORT])
def test_every_step_is_as_if_it_had_run_without_the_page(
    original: Path, run: Path, take: Take, sluice: Call, tmp_path: Path, url: str
) -> None:
    told = take(run, url)
    assert told["proof"]["absent"]
    assert [page["url"] for page in told["documents"]] == [url]
    listed = RECIPE.replace("source: web}", f"source: web, suppress: {run}/suppressed.json}}")
    fresh = made(sluice, original.parent, tmp_path / "fresh", recipe=listed)
    # Documents, byte for byte; what is decided about the others by deduplication may differ without the page.
    assert files(run, "clean", ".parquet") == files(fresh, "clean", ".parquet")
    if url == MIDDLE:
        for step, suffix in [("unique", ".keep"), *(("tokens", s) for s in (".bin", ".idx", ".ds.index", ".csv.gz"))]:
            assert files(run, step, suffix) == files(fresh, step, suffix)
        assert files(run, "tokens", ".docs.parquet") == files(fresh, "tokens", ".docs.parquet")
        assert files(run, "tokens", ".ds.metadata") == files(fresh, "tokens", ".ds.metadata")
    for step in ("clean", "unique"):
        assert [one for one in urls(original, step) if one != url] == urls(run, step)


def test_accounts_balance_and_bitmaps_fit(original: Path, run: Path, take: Take) -> None:
    take(run, MIDDLE, BAD, SHORT)
    before, after = Run.open(str(original)), Run.open(str(run))
    for step in after.steps:
        for commit in after[step].commits.values():
            commit.ledger.check(step)
        assert after[step].ledger.into.docs == before[step].ledger.into.docs
    assert [after[step].ledger.taken_down.docs for step in ("clean", "unique", "tokens")] == [3, 2, 1]
    for step in ("clean", "unique", "tokens"):
        held = sum(len(t) for t in after[step].documents()) if step != "tokens" else after[step].ledger.kept.docs
        assert after[step].ledger.kept.docs == held
    for shard in after["unique"].shards():
        assert sum(table.num_rows for _, table in shard.rows()) == len(shard._keep())
    facts = [commit.facts for commit in after["tokens"].commits.values()]
    assert sum(one["tokens"] for one in facts) == after["tokens"].ledger.kept.tokens


def test_status_and_report_tell_what_was_taken_down(run: Path, take: Take, sluice: Call) -> None:
    assert "taken down" not in sluice("status", run).stdout
    take(run, MIDDLE, BAD, SHORT)
    shown = [line.split() for line in sluice("status", run).stdout.splitlines()]
    assert [*shown[0][-2:], *(line[-1] for line in shown[1:5])] == ["taken", "down", "0", "3", "2", "1"]
    assert sluice("report", run).exit_code == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "DOES NOT BALANCE" not in page
    assert "42 in = 39 kept + 0 dropped + 0 duplicates + 0 quarantined + 3 taken down" in page
    for fate, number in (("clean", 3), ("unique", 2), ("tokens", 1)):
        account = page.partition(f"<h3>{fate}</h3>")[2].partition("</table>")[0]
        assert f'<td>taken down</td><td></td><td class="n">{number}</td>' in account, fate


def removed(run: Path) -> list[dict]:
    return [
        {**row, "shard": shard.index}
        for shard in Run.open(str(run))["unique"].shards()
        for row in pq.read_table(shard.file(".removed.parquet")).to_pylist()
    ]


def test_numbers_of_rows_move_up_in_every_shard(run: Path, take: Take) -> None:
    first = next(iter(urls(run, "clean")))
    in_shard_2 = next(url for url in urls(run, "clean") if "/2/0" in url)
    before = removed(run)
    take(run, first, in_shard_2)
    rows, opened = removed(run), Run.open(str(run))
    assert [row["id"] for row in rows] == [row["id"] for row in before]
    assert [row["rep_row"] for row in rows] == [row["rep_row"] - 1 for row in before]
    for row in rows:
        place = representative(opened, "unique", row).read(("id",))
        assert place is not None
        assert place["id"] == row["rep_id"]
        own = opened["clean"].shards()[row["shard"]].take([row["row"]], ["id"])
        assert own["id"].to_pylist() == [row["id"]]


def test_where_the_representative_goes_nobody_is_named(run: Path, take: Take, sluice: Call) -> None:
    told = take(run, NEAR)
    assert {(one["url"], one["is"]) for one in told["related"]} == {
        (BAD, "a copy, or nearly one, that was removed"), (COPY, "a copy, or nearly one, that was removed")
    }  # fmt: skip
    assert {(row["rep_id"], row["rep_row"], row["rep_shard"]) for row in removed(run)} == {(NOBODY, -1, -1)}
    assert "of a document that was taken down" in sluice("why", run, COPY).stdout
    assert sluice("sample", run, "unique", "--dropped").exit_code == 0
    assert sluice("report", run).exit_code == 0


def test_duplicates_are_offered_and_taken(run: Path, take: Take, sluice: Call) -> None:
    told = take(run, BAD, more=("--dry-run",))
    assert {(one["url"], one["is"]) for one in told["related"]} == {
        (NEAR, "the document that stayed for it"), (COPY, "a copy, or nearly one, that was removed")
    }  # fmt: skip
    told = take(run, BAD, more=("--yes", "--with-duplicates"))
    assert sorted(page["url"] for page in told["documents"]) == sorted([BAD, COPY, NEAR])
    assert told["proof"]["same_words_elsewhere"] == {}
    assert removed(run) == []
    assert "taken down on" in sluice("why", run, id_of_listed(run)).stdout


def id_of_listed(run: Path) -> str:
    return next(iter(json.loads((run / "suppressed.json").read_text())["ids"]))


def test_a_dry_run_writes_nothing_and_tells_the_same(run: Path, take: Take, sluice: Call, tmp_path: Path) -> None:
    before = state(run)
    dry = take(run, MIDDLE, more=("--dry-run",))
    assert state(run) == before
    assert (dry["done"], dry["proof"]) == (False, None)
    wet = take(run, MIDDLE)
    same = ("documents", "shards", "models", "exports", "learned_from_them", "asked", "request", "related")
    assert {name: dry[name] for name in same} == {name: wet[name] for name in same}
    words = sluice("takedown", run, "--urls", write_list(tmp_path, MIDDLE), "--dry-run").stdout
    assert "0 documents and 0 unreadable records would be taken down" in words


def test_a_resume_makes_nothing_and_a_changed_threshold_does_not_bring_it_back(
    original: Path, run: Path, take: Take, sluice: Call
) -> None:
    take(run, MIDDLE, SHORT)
    before = state(run, "report.html", "run.json")
    again(sluice, original, run)
    assert state(run, "report.html", "run.json") == before
    noted = again(sluice, original, run, "--set", "unique.dedup.minhash.threshold=0.9")
    assert "shards of unique.runs, which a takedown retired, are made anew" in noted
    assert MIDDLE not in urls(run, "unique")
    assert NEAR in urls(run, "unique")
    again(sluice, original, run, "--set", "clean.length.min_chars=2")
    assert MIDDLE not in urls(run, "clean")
    assert SHORT not in urls(run, "clean")
    assert Run.open(str(run))["crawl"].ledger.into.docs == 42
    # What earlier settings left is cleared by the next takedown, and the page is in none of it.
    told = take(run, COPY)
    assert told["unused_files_deleted"] > 0
    assert told["proof"]["absent"]
    folders = {path.name for path in run.glob("*-????????????????") if any(path.rglob("*.*"))}
    assert folders == {str(node["dataset"]) for node in Run.open(str(run)).nodes.values()}


def test_a_damaged_file_is_made_anew_without_the_page(original: Path, run: Path, take: Take, sluice: Call) -> None:
    take(run, MIDDLE)
    expected = urls(run, "clean")
    (path,) = (
        run / output.name for output in Run.open(str(run))["clean"].commits[0].outputs if output.folder == "shards"
    )
    path.write_bytes(path.read_bytes()[:-7])
    assert sluice("verify", run, "--repair").exit_code == 0
    again(sluice, original, run)
    assert urls(run, "clean") == expected
    assert sluice("verify", run).exit_code == 0


def test_the_next_run_makes_the_index_for_later_crawls(
    original: Path, take: Take, sluice: Call, tmp_path: Path
) -> None:
    recipe = RECIPE.replace("audit: 10", "index: true, audit: 10")
    run = made(sluice, original.parent, tmp_path / "run", recipe=recipe)
    told = take(run, MIDDLE)
    assert told["shards"]["made_by_the_next_run"] == {"unique.index": 1}
    assert not files(run, "unique.index", ".kept")
    kept = urls(run, "unique")
    made(sluice, original.parent, run, recipe=recipe)
    (index,) = files(run, "unique.index", ".kept")
    key = bytes.fromhex(told["documents"][0]["id"])
    assert key[:8][::-1] + key[8:][::-1] not in index
    assert urls(run, "unique") == kept
    assert take(run, MIDDLE)["proof"]["absent"]


def test_by_domain_and_by_id(run: Path, take: Take) -> None:
    key = id_of(run, MIDDLE)
    told = take(run, key, kind="--ids")
    assert [page["id"] for page in told["documents"]] == [key]
    told = take(run, "worse.example", kind="--domains")
    assert [(page["url"], page["places"][0]["as"]) for page in told["documents"]] == [(SHORT, "dropped")]
    assert told["request"] == 2
    assert (Run.open(str(run))["clean"].manifest or {})["generation"] == 3


def test_a_list_of_which_nothing_is_there_is_refused_by_name(run: Path, sluice: Call, tmp_path: Path) -> None:
    before = state(run)
    done = sluice("takedown", run, "--urls", write_list(tmp_path, "http://nowhere.example/"), "--yes")
    assert (done.exit_code, "1 entries (http://nowhere.example/)" in done.stderr) == (2, True)
    assert state(run) == before


def test_entries_that_match_nothing_are_named_and_listed(run: Path, take: Take, sluice: Call, tmp_path: Path) -> None:
    told = take(run, MIDDLE, "http://nowhere.example/x")
    assert told["not_found"] == [{"kind": "url", "entry": "http://nowhere.example/x", "listed_by": None}]
    listed = write_list(tmp_path, MIDDLE, "http://nowhere.example/x")
    words = sluice("takedown", run, "--urls", listed, "--yes").stdout
    assert "nothing in this run has the URL http://nowhere.example/x; request 1 of 2" in words
    told = take(run, "worse.example", "nothing.example", kind="--domains")
    assert [one["entry"] for one in told["not_found"]] == ["nothing.example"]


def test_the_same_again_says_so_and_proves_again(run: Path, take: Take, sluice: Call, tmp_path: Path) -> None:
    first, second = take(run, MIDDLE), take(run, MIDDLE)
    assert (first["request"], second["request"]) == (1, 1)
    assert second["documents"] == []
    assert second["not_found"] == [{"kind": "url", "entry": MIDDLE, "listed_by": 1}]
    searched = second["proof"]["searched_for"]
    assert (searched["ids"], searched["urls"], searched["texts"]) == (1, 2, 0)
    assert len(json.loads((run / "suppressed.json").read_text())["requests"]) == 1
    (run / "seen.json").write_text(json.dumps({"seen": MIDDLE}), encoding="utf-8")
    done = sluice("takedown", run, "--urls", write_list(tmp_path, MIDDLE), "--yes")
    assert (done.exit_code, "seen.json: url" in done.stdout) == (1, True)


def test_copies_can_still_be_taken_after_the_one_that_stayed(run: Path, take: Take) -> None:
    take(run, NEAR)
    told = take(run, NEAR, more=("--dry-run",))
    assert {one["url"] for one in told["related"]} == {BAD, COPY}
    told = take(run, NEAR, more=("--yes", "--with-duplicates"))
    assert {page["url"] for page in told["documents"]} == {BAD, COPY}
    assert (told["request"], told["proof"]["absent"], told["related"]) == (2, True, [])
    assert not {BAD, COPY, NEAR} & set(urls(run, "clean"))
    assert "http" not in (run / "suppressed.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["--urls", "--ids", "--domains"])
def test_copies_of_copies_are_known_after_the_one_that_stayed(run: Path, take: Take, kind: str) -> None:
    asked = {"--urls": BAD, "--ids": id_of(run, BAD), "--domains": "bad.example"}[kind]
    take(run, NEAR)
    assert {one["url"] for one in take(run, asked, kind=kind)["related"]} == {COPY}
    told = take(run, asked, kind=kind, more=("--yes", "--with-duplicates"))
    assert {page["url"] for page in told["documents"]} == {COPY}


def test_what_is_still_there_is_told_and_the_run_refused(run: Path, sluice: Call, tmp_path: Path) -> None:
    key = id_of(run, MIDDLE)
    (run / "notes.txt").write_text(f"about {MIDDLE} and {key}", encoding="utf-8")
    done = sluice("takedown", run, "--urls", write_list(tmp_path, MIDDLE), "--yes")
    assert done.exit_code == 1
    assert "STILL PRESENT" in done.stdout
    assert "notes.txt: id" in done.stdout
    (run / "notes.txt").unlink()
    done = sluice("takedown", run, "--urls", write_list(tmp_path, MIDDLE), "--yes")
    assert done.exit_code == 0
    assert "Absent: searched" in done.stdout


def test_mistakes_are_told(run: Path, sluice: Call, tmp_path: Path) -> None:
    assert "give --urls, --domains or --ids" in sluice("takedown", run, "--yes").stderr
    bad = sluice("takedown", run, "--urls", write_list(tmp_path, "no url"), "--yes")
    assert (bad.exit_code, "'no url': not a URL" in bad.stderr) == (2, True)
    empty = write_list(tmp_path, "# nothing")
    assert "the files name nothing" in sluice("takedown", run, "--ids", empty, "--yes").stderr
    before = state(run)
    asked = sluice("takedown", run, "--urls", write_list(tmp_path, MIDDLE))
    assert (asked.exit_code, state(run) == before) == (1, True)
