"""The page: well formed, self-contained, everything quoted is escaped, the numbers are the run's."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dataset import Run
from pipeline.report import svg
from pipeline.report.account import Account
from pipeline.report.duplicates import Clusters, clusters
from pipeline.report.markup import Markup, element, table
from pipeline.report.measures import bins, counts, step_measures
from pipeline.report.page import render, write_report
from pipeline.report.training import Training, model_part
from pipeline.report.units import count, number, seconds, share, size
from tests.pipeline.report.conftest import run_tiny


@pytest.fixture(scope="module")
def page(tiny: Run) -> str:
    return render(tiny)


def tree(page: str) -> ET.Element:
    """The page as XML: what we write is well formed, so any unescaped quotation would break it or show as an element."""
    return ET.fromstring(page.removeprefix("<!doctype html>\n"))


def words(node: ET.Element) -> str:
    return " ".join("".join(node.itertext()).split())


def section(page: str, name: str) -> ET.Element:
    found = tree(page).find(f".//section[@id='{name}']")
    assert found is not None
    return found


def test_nothing_is_fetched_and_only_our_script_runs(page: str) -> None:
    root = tree(page)
    scripts = root.findall(".//script")
    assert len(scripts) == 1
    assert "sortable" in (scripts[0].text or "")
    for node in root.iter():
        for name in ("src", "href", "action", "srcset", "data"):
            value = node.get(name)
            assert value is None or (node.tag == "a" and value.startswith("#")), (node.tag, value)
        assert not any(name.startswith("on") for name in node.attrib)
    assert not re.search(r"url\(|@import", page)
    assert "default-src 'none'" in page.replace("&#x27;", "'")


def test_hostile_names_and_texts_are_shown_as_text(page: str) -> None:
    assert words(tree(page).find(".//h1")) == "tiny <b>web</b>"
    assert "http://b.example/<script>alert(1)</script>" in words(section(page, "quarantine"))
    assert "<script>alert(#)</script>" in words(section(page, "examples"))


def test_kept_examples_are_scrubbed_and_dropped_ones_too(page: str) -> None:
    shown = words(section(page, "examples"))
    assert "one more ####### text" in shown
    assert "1234567" not in page
    # The text that raised was not seen by a scrubber that raised on it; its excerpt went through the step's scrubbers.
    assert "boom ####" in words(section(page, "quarantine"))


def test_every_step_balances_in_words(page: str) -> None:
    shown = words(section(page, "accounts"))
    assert "8 in = 5 kept + 2 dropped + 0 duplicates + 1 quarantined balances" in shown
    assert "5 in = 3 kept + 0 dropped + 2 duplicates + 0 quarantined balances" in shown
    assert "DOES NOT BALANCE" not in shown


def test_groups_thresholds_clusters_and_recipe_are_there(page: str) -> None:
    rows = [[words(cell) for cell in row] for row in section(page, "sources-and-languages").iter("tr")]
    assert ["web", "zh", "1", "1", "100.0 %"] in [row[:5] for row in rows]
    assert ["web", "en", "7", "4", "57.1 %"] in [row[:5] for row in rows]
    assert "length.chars" in words(section(page, "measures"))
    assert ">= 3" in words(section(page, "measures"))
    rows = [[words(cell) for cell in row] for row in section(page, "duplicates").iter("tr")]
    assert ["exact", "2", "40.0 %", "44"] in rows
    assert ["3", "1", ""] in rows  # one cluster of three
    recipe = json.loads(section(page, "reproduce").find(".//pre").text or "")
    assert recipe["pages"]["Apply"]["operators"][1]["Length"]["max_chars"] == 60


def test_unfinished_runs_have_a_report(tmp_path: Path) -> None:
    run = run_tiny(tmp_path)
    for step in ("unique", "tokens"):
        for path in (tmp_path / "out" / run.facts["datasets"][step]).rglob("*.json"):
            path.unlink()
    again = Run.open(str(tmp_path / "out"))
    page = render(again)
    assert "not finished: unique, tokens" in words(tree(page))
    assert Path(write_report(again)).read_text(encoding="utf-8") == page


def test_clusters_of_a_step(tiny: Run) -> None:
    step = next(step for step in Account.of(tiny).steps if step.name == "unique")
    found = clusters(step)
    assert list(found.sizes.values()) == [3]
    assert (found.kinds, found.estimates) == ({"exact": 2}, [])


def test_clusters_are_counted_in_classes() -> None:
    found = Clusters(sizes={bytes([k]): size for k, size in enumerate((2, 2, 3, 5, 7, 8, 300))})
    assert found.by_size() == [("2", 2), ("3", 1), ("4 to 7", 2), ("8 to 15", 1), ("256 and more", 1)]


def test_measures_of_kept_and_dropped_rows_are_apart(tiny: Run) -> None:
    step = next(step for step in Account.of(tiny).steps if step.name == "pages")
    (chars,) = [one for one in step_measures(step) if one.column == "length.chars"]
    assert sorted(chars.kept.tolist()) == [5, 22, 22, 22, 47]
    assert chars.dropped.tolist() == [2]
    assert chars.limits == ((3.0, ">= 3"),)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1), st.lists(st.floats(-1e9, 1e9), max_size=2))
def test_every_value_falls_into_a_bin(values: list[float], limits: list[float]) -> None:
    array = np.array(values)
    edges = bins(array, tuple((at, "") for at in limits))
    assert sum(counts(array, edges)) == len(values)
    assert all(edges[0] <= at <= edges[-1] for at in limits)


@given(st.text(), st.text())
def test_any_text_survives_as_text(text: str, attribute: str) -> None:
    node = ET.fromstring(element("p", text, title=attribute).encode("utf-8", "replace"))
    unwanted = {*range(9), 11, 12, *range(14, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
    kept = "".join("\N{REPLACEMENT CHARACTER}" if ord(c) in unwanted else c for c in text)
    assert (node.text or "") == kept.encode("utf-8", "replace").decode().replace("\r\n", "\n").replace("\r", "\n")


def test_markup_is_taken_as_it_is_and_nothing_else() -> None:
    assert element("td", "<b>", Markup("<i>x</i>"), None, 3) == "<td>&lt;b&gt;<i>x</i>3</td>"
    assert "&lt;b&gt;" in table(("<b>",), [("<b>",)])


def test_histogram_has_a_bar_a_bin_and_a_line_a_threshold() -> None:
    picture = ET.fromstring(
        svg.histogram([0, 1, 2], [("kept", [4, 0]), ("dropped", [0, 2])], [(1.5, "<= 1.5")], "x < y")
    )
    bars = picture.findall(".//rect")
    assert [(bar.get("class"), float(bar.get("height", "0"))) for bar in bars] == [("kept", 116.0), ("dropped", 58.0)]
    assert [line.get("class") for line in picture.findall(".//line")] == ["axis", "limit"]


def test_curves_leave_out_what_is_not_a_number() -> None:
    picture = ET.fromstring(svg.curves([svg.Curve("a", [1, 2, 3], [1.0, float("nan"), 2.0])], "t"))
    assert len(picture.find(".//path").get("d", "").split("L")) == 2
    assert "nothing measured" in svg.curves([], "t")


def test_a_training_is_told_in_one_line() -> None:
    line = {
        "step": 200,
        "bits_per_byte": 2.1234,
        "unigram_bits_per_byte": 4.5,
        "documents": 1200,
        "evaluation": "held_out",
    }
    assert Training("model", (), (line,)).summary == (
        "model: 2.123 bits per byte on 1,200 held-out documents after step 200 (unigram model: 4.500)"
    )
    assert Training("model", (), ()).summary is None


def test_a_training_from_a_mixture_tells_its_strata() -> None:
    steps = (
        {"step": 1, "loss": 5.0, "strata": {"web": 512, "wiki": 0}},
        {"step": 2, "loss": 4.0, "strata": {"web": 768, "wiki": 256}},
    )
    done = ET.fromstring(model_part(Training("model", steps, (), {"web": 0.5, "wiki": 2.25})).join(("<x>", "</x>")))
    cells = [[cell.text for cell in row] for row in done.find(".//tbody")]
    assert cells == [["web", "768", "75.0 %", "0.50"], ["wiki", "256", "25.0 %", "2.25"]]
    under_way = ET.fromstring(model_part(Training("model", steps[:1], ())).join(("<x>", "</x>")))
    assert [[cell.text for cell in row][3] for row in under_way.find(".//tbody")] == ["-", "-"]
    assert "stratum" not in model_part(Training("model", ({"step": 1, "loss": 5.0},), ()))


def test_numbers_read_well() -> None:
    assert (count(1234567), count(None), size(999), size(1_230_000), size(None)) == (
        "1,234,567",
        "-",
        "999 B",
        "1.23 MB",
        "-",
    )
    assert (share(1, 8), share(0, 0)) == ("12.5 %", "-")
    assert [seconds(s) for s in (0.85, 12.34, 245, 12000)] == ["850 ms", "12.3 s", "4:05 min", "3:20 h"]
    assert [number(v) for v in (0.123456, 50.0, 1234567.5)] == ["0.1235", "50", "1.235e+06"]
