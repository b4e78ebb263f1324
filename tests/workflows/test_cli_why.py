"""A removed document beside the one that stays for it, on the command line and in the report; and the alarm."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline.trace import Fate
from tests.workflows.conftest import Call
from workflows.commands import side_by_side
from workflows.commands.side_by_side import as_data, print_side_by_side
from workflows.commands.why import lines

WORDS = " ".join(f"word{k}" for k in range(120))
CHINESE = "".join(chr(0x4E00 + 7 * k) for k in range(200))
HOSTILE = "\0 \u202e مرحبا بالعالم 👩\u200d👩\u200d👧 \x1b[31m <script> " * 12

ROWS = (
    ("long", "wiki", f"{WORDS} and the end of the page"),
    ("edited", "web", f"{WORDS.replace('word60 ', 'other ')} and the end"),
    ("copy", "web", f"{WORDS} and the end of the page"),
    ("chinese", "web", CHINESE),
    ("chinese/near", "web", CHINESE.replace("\u4e70", "好", 1)[:190]),
    ("hostile", "web", f"{HOSTILE} one"),
    ("hostile/near", "web", HOSTILE),
    ("alone", "web", "nothing like it"),
)

RECIPE = """\
name: copies
steps:
  crawl:
    read: {{format: jsonl, paths: ["in.jsonl"], columns: {{text: text, url: url, source: source, date: date}}}}
{between}  unique:
    from: {source}
    dedup:
      sources: [wiki]
      alarm: {alarm}
      minhash: {{verify: jaccard, threshold: 0.6}}
"""
CLEAN = """\
  clean:
    from: crawl
    apply:
      - use: tests.pipeline.small_operators:Length
        as: length
        max_chars: 100000
"""


def recipe(folder: Path, *, source: str = "crawl", alarm: str = "null") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"url": f"http://x.example/{name}", "source": of, "date": f"2024-01-0{k + 1}", "text": text}
        for k, (name, of, text) in enumerate(ROWS)
    ]
    (folder / "in.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    path = folder / "recipe.yaml"
    between = CLEAN if source == "clean" else ""
    path.write_text(RECIPE.format(source=source, alarm=alarm, between=between), encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=["crawl", "clean"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sluice: Call) -> Path:
    """Deduplicated straight from what was read, and from copies on disk."""
    folder = tmp_path_factory.mktemp("why")
    done = sluice("run", recipe(folder, source=request.param), "--out", folder / "out", "--backend", "inline")
    assert done.exit_code == 0, done.stderr
    return folder / "out"


def test_a_removed_document_is_shown_beside_its_representative(run: Path, sluice: Call) -> None:
    shown = sluice("why", run, "http://x.example/edited").stdout
    assert "DUPLICATE (near) of " in shown
    assert " http://x.example/long wiki 2024-01-01, Jaccard similarity 0." in shown
    assert re.search(r"Jaccard similarity 0\.\d{4} \(estimated 0\.\d\d\), cluster of 3\n", shown)
    assert "[-other-]" in shown
    assert "{+ of the page+}" in shown
    assert " differences; " in shown


def test_an_exact_copy_is_the_same(run: Path, sluice: Call) -> None:
    shown = sluice("why", run, "http://x.example/copy").stdout
    assert "DUPLICATE (exact) of " in shown
    assert f"equal texts of {len(ROWS[2][2]):,} characters" in shown
    assert "similarity" not in shown
    assert "word60" not in shown


def test_the_header_tells_of_the_document_wherever_it_lies(run: Path, sluice: Call) -> None:
    header = sluice("why", run, "http://x.example/copy").stdout.splitlines()[0]
    assert re.fullmatch(r"[0-9a-f]{32}  http://x\.example/copy  web  2024-01-03  /.*/in\.jsonl#\d+", header)
    found = json.loads(sluice("why", run, "http://x.example/copy", "--json").stdout)
    assert (found["url"], found["source"], found["date"]) == ("http://x.example/copy", "web", "2024-01-03")


def test_a_sample_of_what_went_as_copies(run: Path, sluice: Call) -> None:
    rows = [json.loads(line) for line in sluice("sample", run, "unique", "--dropped", "--json").stdout.splitlines()]
    kinds = {"edited": "near", "copy": "exact", "chinese/near": "near", "hostile/near": "near"}
    assert {row["url"].removeprefix("http://x.example/"): row["reason"] for row in rows} == kinds
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    texts = {f"http://x.example/{name}": text for name, _, text in ROWS}
    assert all(row["text"] == texts[row["url"]] for row in rows)
    stays = {
        json.loads(sluice("why", run, f"http://x.example/{name}", "--json").stdout)["id"]
        for name in ("long", "chinese", "hostile")
    }
    assert {row["of"] for row in rows} == stays
    only = sluice("sample", run, "unique", "exact").stdout
    assert "DUPLICATE (exact) of " in only
    assert "(near)" not in only
    first = json.loads(sluice("sample", run, "unique", "--dropped", "near", "-n", "1", "--json").stdout)
    assert first["id"] == min(row["id"] for row in rows if row["reason"] == "near")
    nothing = sluice("sample", run, "unique", "--dropped", "--language", "xx")
    assert "dropped nothing in 'xx'" in nothing.stderr
    assert "did you mean 'exact'?" in sluice("sample", run, "unique", "exat").stderr


@pytest.mark.parametrize(
    ("similar", "shown"),
    [
        (("near", 0.521, None, None), "of ab, similarity about 0.52, cluster of 2"),
        (
            ("near", 0.521, 1.0, "containment"),
            "of ab, containment 1.0000 (Jaccard similarity about 0.52), cluster of 2",
        ),
        (("near", 0.521, 0.5, "jaccard"), "of ab, Jaccard similarity 0.5000 (estimated 0.52), cluster of 2"),
        (("exact", 1.0, None, None), "of ab, cluster of 2"),
        (("exact", 1.0, 1.0, "jaccard"), "of ab, cluster of 2"),
        # An exact copy of a text that itself went as a near copy.
        (("exact", 0.9, 0.875, "jaccard"), "of ab, Jaccard similarity 0.8750 (estimated 0.90), cluster of 2"),
    ],
)
def test_what_was_counted_stands_first(similar: tuple[str, float, float | None, str | None], shown: str) -> None:
    facts = dict(zip(("kind", "estimate", "similarity", "verify"), similar, strict=True))
    (line,) = lines(Fate("unique", "dedup", "duplicate", 0, {"of": "ab", "cluster_size": 2, **facts}))
    assert line == f"{'unique':<14} DUPLICATE ({similar[0]}) {shown}"


def test_measured_values_are_rounded() -> None:
    facts = {"operator": "prose", "reason": "noisy", "value": "0.6641975308641975", "threshold": "fraction <= 0.5"}
    (line,) = lines(Fate("clean", "apply", "dropped", 0, facts))
    assert line.endswith("DROPPED by prose: noisy: measured 0.6642, wanted fraction <= 0.5")


def test_chinese_is_marked_by_characters(run: Path, sluice: Call) -> None:
    shown = sluice("why", run, "http://x.example/chinese/near").stdout
    assert "[-好-]" in shown
    assert "{+\u4e70+}" in shown


def test_hostile_texts_change_no_terminal(run: Path, sluice: Call) -> None:
    shown = sluice("why", run, "http://x.example/hostile/near").stdout
    assert "{+ one+}" in shown
    assert not {"\0", "\x1b", "\u202e"} & set(shown)


def test_a_kept_document_names_those_it_stands_for(run: Path, sluice: Call) -> None:
    rows = {
        name: json.loads(sluice("why", run, f"http://x.example/{name}", "--json").stdout)
        for name in ("edited", "copy", "long")
    }
    shown = sluice("why", run, "http://x.example/long").stdout
    ids = sorted(rows[name]["id"] for name in ("edited", "copy"))
    assert f"kept, and stands for 2 more: {' '.join(ids)}" in shown
    assert "stands for" not in sluice("why", run, "http://x.example/alone").stdout
    kept = rows["long"]["steps"][-1]["facts"]
    assert (kept["stands_for"], kept["ids"]) == (2, ids)


def test_json_gives_the_segments(run: Path, sluice: Call) -> None:
    found = json.loads(sluice("why", run, "http://x.example/edited", "--json").stdout)
    facts: dict[str, Any] = found["steps"][-1]["facts"]
    assert (facts["of_url"], facts["of_source"], facts["of_run"]) == ("http://x.example/long", "wiki", None)
    assert 0.6 <= facts["similarity"] < 1.0
    parts = facts["difference"]["segments"]
    changed = [(one["removed"], one["kept"]) for one in parts if not one["same"]]
    assert changed == [("other", "word60"), ("", " of the page")]
    assert [sum(one["chars"][side] for one in parts) for side in (0, 1)] == facts["difference"]["chars"]


def test_the_report_shows_sources_audit_and_largest_clusters(run: Path) -> None:
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<td>wiki</td>" in page
    assert "removed near copies were read again" in page
    assert "0.0 % have a true Jaccard similarity below 0.5" in page
    assert "<del>other</del>" in page
    assert "<ins>" in page
    assert "&lt;script&gt;" in page
    assert "\u202e" not in page
    # Nothing copied what was read: the page does not read a source again for an excerpt.
    copied = "clean" in json.loads((run / "run.json").read_bytes())["datasets"]
    assert ("http://x.example/long<blockquote>" in page) == copied


def test_the_alarm_ends_the_run_in_words_and_a_raised_limit_goes_on(tmp_path: Path, sluice: Call) -> None:
    out = tmp_path / "out"
    stopped = sluice("run", recipe(tmp_path, alarm="{min_docs: 5, removed: 0.3}"), "--out", out, "--backend", "inline")
    assert stopped.exit_code == 1
    assert "would remove 4 of the 7 documents of source 'web': 57.1 %" in stopped.stderr
    assert "sources: {web: 0.58}" in stopped.stderr
    raised = recipe(tmp_path, alarm="{min_docs: 5, removed: 0.3, sources: {web: 0.58}}")
    before = sorted((out).glob("unique.signatures-*/commits/*"))
    times = [path.stat().st_mtime_ns for path in before]
    failed = sluice("run", raised, "--out", out, "--backend", "inline")
    assert "of all sources" in failed.stderr
    done = sluice("run", recipe(tmp_path, alarm="{min_docs: 5, removed: 0.6}"), "--out", out, "--backend", "inline")
    assert done.exit_code == 0, done.stderr
    assert [path.stat().st_mtime_ns for path in sorted(out.glob("unique.signatures-*/commits/*"))] == times


def test_a_policy_without_its_column_is_a_users_mistake(tmp_path: Path, sluice: Call) -> None:
    path = recipe(tmp_path)
    path.write_text(path.read_text().replace("sources: [wiki]", "keep: [{highest: scor}]"))
    failed = sluice("run", path, "--out", tmp_path / "out", "--backend", "inline")
    assert failed.exit_code == 2
    assert "no column 'scor' to choose by" in failed.stderr


def drawn(left: str, right: str, width: int, *, colour: bool) -> str:
    console = Console(width=width, highlight=False, color_system="truecolor" if colour else None, force_terminal=colour)
    with console.capture() as capture:
        print_side_by_side(console, left, right)
    return capture.get()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_both_sides_fit_the_terminal(width: int) -> None:
    shown = drawn(f"{CHINESE} left {WORDS}", f"{CHINESE} right {WORDS}", width, colour=False)
    # A Chinese character takes two columns.
    assert max(sum(2 if ord(c) > 0x2E80 else 1 for c in line) for line in shown.splitlines()) <= width


def test_colours_stand_for_brackets() -> None:
    shown = drawn("a left b", "a right b", 80, colour=True)
    assert "[-" not in shown
    assert "\x1b[1;31mleft" in shown
    assert "\x1b[1;32mright" in shown


def test_many_and_long_differences_are_cut() -> None:
    left, right = (" ".join(f"same{k} {side}{k}" for k in range(50)) for side in ("left", "right"))
    shown = drawn(left, right, 120, colour=False)
    assert "50 differences, 42 more than are shown" in shown
    assert "characters …" in drawn("x " * 2000, "y " * 2000, 120, colour=False)


def test_plain_data_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "_MOST_SEGMENTS", 3)
    left, right = (" ".join(f"same{k} {side}{k}" for k in range(50)) for side in ("left", "right"))
    found = as_data(left, right)
    assert len(found["segments"]) == 4
    assert found["num_segments"] == 100
    assert sum(one["chars"][0] for one in found["segments"]) == len(left)
    (only,) = as_data("x" * 10_000, "x" * 10_000)["segments"]
    assert only["chars"] == [10_000, 10_000]
    assert len(only["removed"]) == 2003
