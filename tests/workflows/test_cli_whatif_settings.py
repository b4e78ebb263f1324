"""whatif: limits by list and by language, operators without thresholds, measures that cannot be drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.workflows.conftest import Call, run_here

SAMPLES = Path(__file__).parents[2] / "samples"

RECIPE = f"""\
name: limits
steps:
  read:
    read: {{format: jsonl, paths: ["{SAMPLES}/quality.jsonl"], source: labelled}}
  clean:
    from: read
    apply:
      - language: {{keep: [zh, en], min_score: 0.3}}
      - gopher_quality: {{by_language: {{file: PROFILE}}, min_stop_words: null}}
      - gopher_quality: {{by_language: {{file: PROFILE}}, as: chinese, only: {{language: [zh]}}, min_stop_words: null}}
      - fineweb_quality: {{only: {{language: [en]}}}}
      - keywords:
          lists: {{spam: [the], zh: [的], never: [xyzzyplugh]}}
          max_hits: {{spam: 3, zh: 9}}
          max_hits_per_1000_words: {{spam: 50}}
      - redpajama_signals: {{language: fi}}
"""

PROFILE = {
    label: {"gopher_quality": {"min_words": low, "max_word_chars": None, "min_word_chars": None}}
    for label, low in (("en", 20), ("zh", 5))
}
# Bullets are the general limit's own number for both languages, ellipses for one of them alone.
PROFILE["en"]["gopher_quality"] |= {"max_bullet_line_fraction": 0.9, "max_ellipsis_line_fraction": 0.3}
PROFILE["zh"]["gopher_quality"] |= {"max_bullet_line_fraction": 0.9}


@pytest.fixture(scope="module")
def limits(tmp_path_factory: pytest.TempPathFactory, sluice: Call) -> Path:
    root = tmp_path_factory.mktemp("limits")
    (root / "profile.json").write_text(json.dumps(PROFILE))
    (root / "limits.yaml").write_text(RECIPE.replace("PROFILE", str(root / "profile.json")))
    run(sluice, root, "run")
    return root


def run(sluice: Call, root: Path, out: str, *sets: str) -> int:
    """Run, with settings; how many documents are kept."""
    options = [part for text in sets for part in ("--set", text)]
    run_here(sluice, root / "limits.yaml", root / out, *options)
    return len(sluice("cat", root / out, "clean", "--json").stdout.splitlines())


def asked(sluice: Call, root: Path, *arguments: str) -> dict[str, Any]:
    result = sluice("whatif", root / "run", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def shown(sluice: Call, root: Path, *arguments: str) -> str:
    result = sluice("whatif", root / "run", *arguments, "--samples", "0")
    assert result.exit_code == 0, result.stderr
    return result.stdout


# -- limits by list ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("max_hits=null", "max_hits: {spam: 3, zh: 9} -> null"),
        ("max_hits_per_1000_words=null", "max_hits_per_1000_words: {spam: 50.0} -> null"),
        ("max_hits.zh=0", "max_hits: {spam: 3, zh: 9} -> {spam: 3, zh: 0}"),
        ("max_hits.spam=null", "max_hits: {spam: 3, zh: 9} -> {zh: 9}"),
        ("min_hits.spam=1", "min_hits: null -> {spam: 1}"),
        ("max_hits={spam: 1}", "max_hits: {spam: 3, zh: 9} -> {spam: 1}"),
        ("min_hits=null", "min_hits: as it is"),
    ],
)
def test_limits_by_list_are_set_alone_or_together_as_in_a_rerun(
    limits: Path, sluice: Call, setting: str, line: str
) -> None:
    name = f"clean.keywords.{setting}"
    out = shown(sluice, limits, name)
    assert out.startswith(f"clean.keywords.{line}\n")
    (step,) = asked(sluice, limits, name)["steps"]
    kept = run(sluice, limits, f"again-{setting.replace(' ', '')}", name)
    assert step["then"] == kept
    assert (kept == step["kept"]) == (setting == "min_hits=null")


def test_limits_by_list_are_plain_data(limits: Path, sluice: Call) -> None:
    (setting,) = asked(sluice, limits, "clean.keywords.max_hits.spam=null")["settings"]
    assert (setting["was"], setting["then"]) == ({"spam": 3, "zh": 9}, {"zh": 9})
    assert set(setting) == {"step", "operator", "parameter", "was", "then"}


@pytest.mark.parametrize("command", ["whatif", "run"])
def test_a_limit_that_is_not_there_is_not_taken_away(limits: Path, sluice: Call, command: str) -> None:
    setting = "clean.keywords.max_hits.spma=null"
    if command == "whatif":
        result = sluice("whatif", limits / "run", setting)
    else:
        result = sluice("run", limits / "limits.yaml", "--out", limits / "none", "--set", setting)
    assert result.exit_code == 2
    assert "max_hits has no limit for 'spma', did you mean 'spam'?" in result.stderr


def test_an_old_value_that_a_flavour_chose_shows_the_number(limits: Path, sluice: Call) -> None:
    out = shown(sluice, limits, "clean.fineweb_quality.max_newlines_per_word=0.5")
    assert out.startswith("clean.fineweb_quality.max_newlines_per_word: 0.3 (flavour) -> 0.5\n")


# -- limits by language -----------------------------------------------------------------------------------------------


def test_a_setting_that_judges_no_document_is_noted(limits: Path, sluice: Call) -> None:
    answer = asked(sluice, limits, "clean.gopher_quality.min_words=90")
    (note,) = answer["notes"]
    assert note.startswith("gopher_quality's profile has limits of its own for en zh; min_words judges 0 of ")
    assert note in shown(sluice, limits, "clean.gopher_quality.min_words=90")
    assert answer["steps"][0]["go"]["docs"] == 0
    (note,) = asked(sluice, limits, "clean.chinese.min_words=90")["notes"]
    assert note.startswith("chinese's profile has limits of its own for zh; ")


@pytest.mark.parametrize("setting", ["min_alpha_word_fraction=0.95", "min_words=50"])
def test_a_setting_that_judges_some_or_changes_nothing_is_not_noted(limits: Path, sluice: Call, setting: str) -> None:
    assert asked(sluice, limits, f"clean.gopher_quality.{setting}")["notes"] == []


def test_a_histogram_draws_no_threshold_that_judges_no_row(limits: Path, sluice: Call) -> None:
    lines = shown(sluice, limits, "--histogram", "clean.gopher_quality.num_words").splitlines()
    assert not any("gopher_short_doc" in line for line in lines)
    assert any("gopher_long_doc" in line for line in lines)
    assert "languages have limits of their own: --by-language" in lines
    lines = shown(sluice, limits, "--histogram", "clean.gopher_quality.num_words", "--by-language").splitlines()
    marks = {line.split("--")[1].strip() for line in lines if "gopher_short_doc" in line}
    assert marks >= {">= 20  gopher_short_doc, en's own", ">= 5  gopher_short_doc, zh's own"}
    first = next(k for k, line in enumerate(lines) if "  language " in line)
    assert not any("gopher_short_doc" in line for line in lines[:first])
    assert "languages have limits of their own: --by-language" not in lines


def test_a_limit_of_a_languages_own_that_equals_the_general_one(limits: Path, sluice: Call) -> None:
    name = "clean.gopher_quality.bullet_line_fraction"
    lines = shown(sluice, limits, "--histogram", name).splitlines()
    assert not any("gopher_too_many_bullets" in line for line in lines)
    assert "languages have limits of their own: --by-language" in lines
    lines = shown(
        sluice, limits, "clean.gopher_quality.max_bullet_line_fraction=0.5", "--histogram", name, "--by-language"
    ).splitlines()
    marks = {line.split("--")[1].strip() for line in lines if "gopher_too_many_bullets, " in line}
    assert marks == {f"<= 0.9  gopher_too_many_bullets, {label}'s own" for label in ("en", "zh")}


@pytest.mark.parametrize(
    ("parameter", "reached"),
    [("max_bullet_line_fraction", False), ("max_ellipsis_line_fraction", True)],
    ids=["no language", "one language"],
)
def test_a_general_limit_reaches_no_language_with_the_same_limit_of_its_own(
    limits: Path, sluice: Call, parameter: str, reached: bool
) -> None:
    # Below 0, every document goes that the general limit judges.
    setting = f"clean.gopher_quality.{parameter}=-1"
    answer = asked(sluice, limits, setting)
    (step,) = answer["steps"]
    going = {name for name, line in step["by_language"].items() if line["go"]["docs"]}
    assert going == ({"zh"} if reached else set())
    assert len(answer["notes"]) == (not reached)
    assert step["then"] == run(sluice, limits, f"again-{parameter}", setting)


# -- what cannot be judged or drawn -----------------------------------------------------------------------------------


def test_an_operator_without_thresholds(limits: Path, sluice: Call) -> None:
    result = sluice("whatif", limits / "run", "clean.redpajama_signals.min_words=3")
    assert result.exit_code == 2
    assert "redpajama_signals has no thresholds: it stores, and drops nothing" in result.stderr
    assert "--histogram clean.redpajama_signals.MEASURE" in result.stderr


def test_a_list_of_values_is_not_drawn(limits: Path, sluice: Call) -> None:
    result = sluice("whatif", limits / "run", "--histogram", "clean.redpajama_signals.rps_lines_num_words")
    assert result.exit_code == 2
    assert "is a list of values per document; try rps_lines_num_words_mean" in result.stderr
    result = sluice("whatif", limits / "run", "--histogram", "clean.redpajama_signals.rps_lines_num_word")
    assert result.exit_code == 2
    assert "did you mean 'redpajama_signals.rps_lines_num_words_mean'?" in result.stderr
    result = sluice("whatif", limits / "run", "--histogram", "clean.nothing")
    assert "rps_lines_num_words," not in result.stderr


def test_a_measure_that_no_document_has(limits: Path, sluice: Call) -> None:
    out = shown(sluice, limits, "--histogram", "clean.redpajama_signals.rps_doc_stop_word_fraction")
    lines = out.strip().splitlines()
    assert lines[:2] == ["clean.redpajama_signals.rps_doc_stop_word_fraction: 0 documents",
                         "no document has this measure"]  # fmt: skip
    assert lines[2].startswith("undefined: ")
