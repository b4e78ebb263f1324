"""whatif, sample and operators as they are called."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from operators.catalogue import NAMES
from pipeline.dataset import Run
from pipeline.report.units import size
from pipeline.whatif.text_bytes import bytes_that_go
from tests.workflows.conftest import LONG, Call, run_here
from workflows.cli import app

SAMPLES = Path(__file__).parents[2] / "samples"

REAL = f"""\
name: real
steps:
  read:
    read: {{format: jsonl, paths: ["{SAMPLES}/quality.jsonl"], source: labelled}}
  told:
    from: read
    apply:
      - language: {{keep: [en, zh], min_score: 0.5}}
  clean:
    from: told
    apply:
      - gopher_repetition: {{only: {{language: [en]}}}}
      - gopher_quality: {{only: {{language: [en]}}, as: prose, max_word_chars: null}}
      - chinese_quality: {{only: {{language: [zh]}}, min_chars: 150}}
"""

OTHER = ("clean.prose.min_words=90", "clean.prose.max_word_chars=5.5", "clean.gopher_repetition.max_top_2_gram=null",
         "clean.chinese_quality.min_chars=200", "clean.chinese_quality.min_finished_line_fraction=null")  # fmt: skip


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, sluice: Call) -> Path:
    """A run of shipped operators over the shipped paragraphs."""
    root = tmp_path_factory.mktemp("real")
    (root / "real.yaml").write_text(REAL)
    run_here(sluice, root / "real.yaml", root / "run")
    return root


def asked(sluice: Call, run: Path, *arguments: str) -> dict[str, Any]:
    result = sluice("whatif", run, *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def step(answer: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in answer["steps"] if one["step"] == name)


def fates(run: Path, name: str) -> dict[str, str]:
    dataset = Run.open(str(run))[name]
    found = {i.hex(): "kept" for docs in dataset.documents() for i in docs["id"].to_pylist()}
    for dropped in dataset.rejected("dropped"):
        for row in dropped.select(["id", "operator", "reason"]).to_pylist():
            found[row["id"].hex()] = f"{row['operator']}:{row['reason']}"
    return found


# -- whatif -----------------------------------------------------------------------------------------------------------


def test_equals_a_rerun_with_the_same_settings(real: Path, sluice: Call) -> None:
    said = step(asked(sluice, real / "run", *OTHER, "--samples", "1000"), "clean")
    sets = [part for text in OTHER for part in ("--set", text)]
    again = real / "again"
    run_here(sluice, real / "real.yaml", again, *sets)
    was, then = fates(real / "run", "clean"), fates(again, "clean")
    for kind, gone in (("go", True), ("return", False)):
        expected = {i for i in was if (was[i] == "kept") == gone and (then[i] == "kept") != gone}
        assert {one["id"] for one in said["samples"][kind]} == expected
        assert said[kind]["docs"] == len(expected) > 0
        assert all((one["was"], one["then"]) == (was[one["id"]], then[one["id"]]) for one in said["samples"][kind])
    moves: dict[tuple[str, str], int] = {}
    for identity, fate in was.items():
        if fate != then[identity]:
            moves[fate, then[identity]] = moves.get((fate, then[identity]), 0) + 1
    assert {(one["from"], one["to"]): one["docs"] for one in said["moves"]} == moves
    ledgers = [Run.open(str(run))["clean"].ledger for run in (real / "run", again)]
    assert said["then"] == ledgers[1].kept.docs
    bytes_then = ledgers[0].kept.bytes - said["go"]["bytes"] + said["return"]["bytes"]
    assert bytes_then == ledgers[1].kept.bytes
    for language, line in said["by_language"].items():
        assert line["then"] == ledgers[1].group_kept[f"labelled|{language}"].docs


def test_the_step_behind_loses_what_goes_and_cannot_judge_what_returns(real: Path, sluice: Call) -> None:
    answer = asked(sluice, real / "run", "told.language.keep=[en]", "told.language.min_score=0.3")
    told, clean = step(answer, "told"), step(answer, "clean")
    kept = [row for docs in Run.open(str(real / "run"))["clean"].documents() for row in docs.to_pylist()]
    assert told["go"]["docs"] == told["by_language"]["zh"]["go"]["docs"] > 0
    assert clean["go"]["docs"] == sum(row["language.label"] == "zh" for row in kept) > 0
    assert clean["undecided"] == told["return"]["docs"]


def test_words_for_people(real: Path, sluice: Call) -> None:
    out = sluice("whatif", real / "run", "clean.prose.min_words=90", "--samples", "2").stdout
    assert out.startswith("clean.prose.min_words: 50 -> 90\n")
    said = step(asked(sluice, real / "run", "clean.prose.min_words=90"), "clean")
    assert (
        f"kept -> prose:gopher_short_doc, measured {said['samples']['go'][0]['value']}, wanted num_words >= 90" in out
    )
    lines = [line.split() for line in out.splitlines()]
    assert ["kept", str(said["go"]["docs"]), "prose:gopher_short_doc"] in lines
    assert any(line[:2] == ["clean", str(said["kept"])] for line in lines)


def test_bytes_that_are_estimated_are_marked(real: Path, sluice: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for = ("clean.prose.min_words=90", "--samples", "0")
    assert "~" not in sluice("whatif", real / "run", *asked_for).stdout
    monkeypatch.setattr("pipeline.whatif.answer.bytes_that_go", lambda *given: (bytes_that_go(*given)[0], False))
    out = sluice("whatif", real / "run", *asked_for).stdout
    go = step(asked(sluice, real / "run", *asked_for), "clean")["go"]
    assert f"~{size(go['bytes'])}" in out
    assert "~: estimated from the lengths of some of the texts" in out.splitlines()
    assert (go["bytes"] > 0, go["bytes_exact"]) == (True, False)


def test_a_setting_as_it_is_changes_nothing(real: Path, sluice: Call) -> None:
    said = step(asked(sluice, real / "run", "clean.prose.min_words=50"), "clean")
    assert (said["go"]["docs"], said["return"]["docs"], said["undecided"], said["moves"]) == (0, 0, 0, [])
    assert "as it is" in sluice("whatif", real / "run", "clean.prose.min_words=50").stdout


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("clan.prose.min_words=1", "no step 'clan', did you mean 'clean'?"),
        ("clean.prosa.min_words=1", "has no 'prosa', did you mean 'prose'?"),
        ("clean.gopher_quality.min_words=1", "has no 'gopher_quality'"),
        ("clean.prose.min_word=1", "unknown parameter 'min_word', did you mean 'min_words'?"),
        ("clean.prose.min_words=many", "min_words: input should be a valid integer"),
        ("clean.prose.min_words", "write STEP.OPERATOR.PARAM=VALUE"),
        ("clean.prose.words=split", "words changes what is measured; needs a rerun: sluice run RECIPE --out"),
        ("clean.prose.only.language=[zh]", "only changes whom it applies to"),
        ("clean.prose.as=verse", "as changes its name"),
        ("told.language.max_chars=100", "max_chars changes what is measured"),
        ("told.language.keep=[xx]", "keep names 'xx', which the model does not know"),
        ("read.read.format=text", "is no threshold of a filter"),
        ("clean.keep_dropped_text.x=all", "is no threshold of a filter"),
        ("seed=2", "is no threshold of a filter"),
    ],
)
def test_what_needs_a_rerun_or_is_misspelt(real: Path, sluice: Call, setting: str, message: str) -> None:
    result = sluice("whatif", real / "run", setting)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not result.stdout


def test_a_parameter_of_a_map_needs_a_rerun(real: Path, sluice: Call, finished: tuple[Path, Result]) -> None:
    result = sluice("whatif", finished[0], "clean.hide_digits.only.language=[en]")
    assert (result.exit_code, "hide_digits changes the texts themselves" in result.stderr) == (2, True)


def test_nothing_asked(finished: tuple[Path, Result], sluice: Call) -> None:
    assert sluice("whatif", finished[0]).exit_code == 2


def test_documents_that_go_take_their_tokens_along(finished: tuple[Path, Result], sluice: Call) -> None:
    """Operators of another package, dedup, a tokenizer trained on what is left, and its tokens."""
    run, _ = finished
    answer = asked(sluice, run, "clean.length.max_chars=40")
    tokens = step(answer, "tokens")
    counted = [json.loads(line) for line in sluice("cat", run, "tokens", "--json").stdout.splitlines()]
    assert step(answer, "clean")["go"]["docs"] == 3
    assert step(answer, "unique")["go"]["docs"] == 2
    assert tokens["go"] == {
        "docs": 2,
        "bytes": 2 * len(LONG) + 8,
        "bytes_exact": True,
        "tokens": sum(row["num_tokens"] for row in counted),
        "tokens_exact": True,
    }
    assert (tokens["model_trained_anew"], tokens["behind_barrier"]) == ("bpe", "unique")
    assert any(note.startswith("bpe would be made anew") for note in answer["notes"])
    out = sluice("whatif", run, "clean.length.min_chars=1").stdout
    assert "undecided from hide_digits" in out


def test_a_run_whose_operators_were_not_named_by_place(
    finished: tuple[Path, Result], sluice: Call, tmp_path: Path
) -> None:
    """As runs before this version were recorded: the class alone, which the catalogue may not have."""
    run = tmp_path / "run"
    run.mkdir()
    facts = json.loads((finished[0] / "run.json").read_bytes())
    del facts["operators"]
    (run / "run.json").write_text(json.dumps(facts))
    result = sluice("whatif", run, "clean.length.min_chars=1")
    assert result.exit_code == 2
    assert "cannot import length, an operator of this run" in result.stderr


# -- histograms -------------------------------------------------------------------------------------------------------


def drawn(sluice: Call, run: Path, *arguments: str) -> list[str]:
    result = sluice("whatif", run, *arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout.splitlines()


def test_a_histogram_adds_up_and_marks_the_threshold(real: Path, sluice: Call) -> None:
    name = "clean.prose.num_words"
    lines = drawn(sluice, real / "run", "--histogram", name)
    mark = next(k for k, line in enumerate(lines) if line.startswith("-- >= 50  gopher_short_doc"))
    assert lines[mark + 1].split()[0] == "50"
    (json_one,) = asked(sluice, real / "run", "--histogram", name)["histograms"]
    numbers = [line.split()[-2:] for line in lines[3:-3] if not line.startswith("-- ")]
    kept, dropped = (sum(int(n[k].replace(",", "")) for n in numbers if n[k].isdigit()) for k in (0, 1))
    bins = json_one["bins"]
    assert (kept, dropped) == (sum(bins["kept"]), sum(bins["dropped"]))
    below = [k for k, edge in enumerate(json_one["bins_begin"]) if edge["at"] < 50]
    assert sum(bins["kept"][k] for k in below) == 0
    assert sum(bins["dropped"][k] for k in below) > 0


def test_a_histogram_with_a_setting_shows_both_thresholds(real: Path, sluice: Call) -> None:
    name = "clean.prose.num_words"
    lines = drawn(sluice, real / "run", "clean.prose.min_words=90", "--histogram", name, "--samples", "0")
    heads = [line.split("--")[1].strip() for line in lines if line.startswith("-- ")]
    assert heads[:2] == ["was >= 50  gopher_short_doc", "then >= 90  gopher_short_doc"]
    between = lines[next(k for k, line in enumerate(lines) if line.startswith("-- was")) + 1]
    assert "▒" in between
    assert "█" not in between


def test_a_histogram_by_language_and_of_texts(real: Path, sluice: Call) -> None:
    lines = drawn(sluice, real / "run", "--histogram", "told.language.score", "--by-language")
    assert {line.split()[2].rstrip(":") for line in lines if "  language " in line} >= {"en", "zh"}
    lines = drawn(sluice, real / "run", "--histogram", "told.language.label")
    assert any(line.lstrip().startswith("* en ") for line in lines)


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        ("clean.prose.num_word", "measures no 'prose.num_word', did you mean 'prose.num_words'?"),
        ("clan.prose.num_words", "no step 'clan' that applies operators, did you mean 'clean'?"),
        ("read.x.y", "no step 'read' that applies operators"),
    ],
)
def test_a_measure_that_is_not_there(real: Path, sluice: Call, measure: str, message: str) -> None:
    result = sluice("whatif", real / "run", "--histogram", measure)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_terminal_that_knows_ascii_only(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Narrow(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    held = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", Narrow(held, encoding="ascii"))
    monkeypatch.setenv("COLUMNS", "40")
    arguments = ["whatif", str(real / "run"), "clean.chinese_quality.min_chars=250", "--histogram",
                 "clean.chinese_quality.num_chars", "--samples", "1"]  # fmt: skip
    app(arguments, standalone_mode=False)
    sys.stdout.flush()
    shown = held.getvalue().decode("ascii")
    histogram = shown[shown.index("clean.chinese_quality.num_chars:") :].splitlines()
    last = next(k for k, line in enumerate(histogram) if line.startswith("-- <= 100,000"))
    assert any("##" in line for line in histogram[1:last])
    assert any("--." in line for line in histogram[1:last])
    assert max(len(line) for line in histogram[1 : last + 1]) == 40


# -- sample -----------------------------------------------------------------------------------------------------------


def test_a_sample_is_fixed_and_of_what_was_asked(real: Path, sluice: Call) -> None:
    first = sluice("sample", real / "run", "clean", "-n", "3", "--json").stdout
    assert first == sluice("sample", real / "run", "clean", "-n", "3", "--json").stdout
    rows = [json.loads(line) for line in first.splitlines()]
    was = fates(real / "run", "clean")
    assert [row["id"] for row in rows] == sorted(i for i, fate in was.items() if fate == "kept")[:3]
    dropped = sluice("sample", real / "run", "clean", "--dropped", "prose:gopher_short_doc", "--json").stdout
    ids = [json.loads(line)["id"] for line in dropped.splitlines()]
    assert ids == sorted(i for i, fate in was.items() if fate == "prose:gopher_short_doc")[:10]
    by_reason = sluice("sample", real / "run", "clean", "gopher_short_doc", "--dropped", "--json").stdout
    assert by_reason == dropped
    out = sluice("sample", real / "run", "clean", "--dropped", "prose", "-n", "1").stdout
    assert "wanted" in out


def test_a_sample_in_words_is_safe_for_a_terminal(finished: tuple[Path, Result], sluice: Call) -> None:
    lines = sluice("sample", finished[0], "crawl").stdout.splitlines()
    assert len(lines) == 10
    assert "\x1b" not in "".join(lines)
    whole = sluice("sample", finished[0], "unique", "--text", "-n", "1").stdout
    assert LONG.strip() in whole


def test_what_was_quarantined_is_shown_with_its_origin(finished: tuple[Path, Result], sluice: Call) -> None:
    (row,) = map(json.loads, sluice("sample", finished[0], "clean", "--quarantined", "--json").stdout.splitlines())
    assert (row["operator"], row["error"]) == ("length", "ValueError: boom")
    shown = sluice("sample", finished[0], "clean", "length", "--quarantined").stdout
    assert "QUARANTINED by length: ValueError: boom" in shown
    assert row["origin"] in shown
    assert "\x1b" not in shown
    way = json.loads(sluice("why", finished[0], row["origin"], "--json").stdout)
    assert (way["id"], way["steps"][-1]["outcome"]) == (row["id"], "quarantined")
    none = sluice("sample", finished[0], "unique", "--quarantined")
    assert (none.exit_code, none.stdout) == (0, "")
    assert "step 'unique' quarantined nothing" in none.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("clean", "--dropped", "shrt"), "dropped nothing for 'shrt', did you mean 'short'?"),
        (("unique", "--dropped", "x"), "dropped nothing for 'x'; there are: exact"),
        (("clean", "--quarantined", "x"), "quarantined nothing for 'x'"),
        (("unique", "--quarantined", "x"), "quarantined nothing at all"),
        (("clean", "--quarantined", "--dropped"), "not both"),
        (("clean", "--language", "xx"), "kept nothing in 'xx'"),
        (("tokens",), "holds tokens, not documents"),
        (("cleen",), "no step 'cleen'"),
    ],
)
def test_a_sample_of_what_is_not_there(
    finished: tuple[Path, Result], sluice: Call, arguments: tuple[str, ...], message: str
) -> None:
    result = sluice("sample", finished[0], *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


# -- operators --------------------------------------------------------------------------------------------------------


def test_every_operator_is_listed_and_described(sluice: Call) -> None:
    listed = json.loads(sluice("operators", "--json").stdout)
    assert [one["operator"] for one in listed] == list(NAMES)
    assert all(one["summary"] for one in listed)
    for name in NAMES:
        result = sluice("operators", name)
        assert result.exit_code == 0, result.stderr
        assert "Source:" in result.stdout


def test_an_operator_is_told_from_its_class(sluice: Call) -> None:
    told = json.loads(sluice("operators", "language", "--json").stdout)
    parameters = {one["name"]: one for one in told["parameters"]}
    assert parameters["min_score"] == {
        "name": "min_score",
        "kind": "number or null",
        "default": "0.65",
        "role": "threshold",
    }
    assert parameters["max_chars"]["role"] == ""
    assert parameters["keep"]["kind"] == "list of text"
    assert told["shape"] == "filter"
    own = sluice("operators", "tests.pipeline.small_operators:Length").stdout
    assert "min_chars" in own
    verb = sluice("operators", "dedup").stdout
    assert "dedup, a verb" in verb
    for told in ("sources", "min_docs: 1000", "minhash: Near duplicates", "num_perm"):
        assert told in verb
    assert "\nepochs" not in verb  # the workflow fills it in
    wrong = sluice("operators", "gopher_qualty")
    assert (wrong.exit_code, "did you mean 'gopher_quality'?" in wrong.stderr) == (2, True)
    gone = sluice("operators", "no.such.module:Class")
    assert (gone.exit_code, "cannot import" in gone.stderr) == (2, True)
