"""The training section of the report."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

from pipeline.report.training import Training, model_part


def page(*steps: dict[str, Any], evaluations: tuple[dict[str, Any], ...] = ()) -> ET.Element:
    return ET.fromstring(model_part(Training("model", steps, evaluations)).join(("<x>", "</x>")))


def titles(found: ET.Element) -> list[str]:
    return [caption.text or "" for caption in found.findall(".//figcaption")]


def points(found: ET.Element, title: str) -> list[tuple[float, float]]:
    """Of the first curve of the picture with that title."""
    (figure,) = (one for one in found.findall(".//figure") if one.findtext("figcaption") == title)
    way = figure.find(".//path").get("d", "")
    return [tuple(map(float, point.split())) for point in way.removeprefix("M").split(" L")]


def evaluation(step: int, **parts: dict[str, float]) -> dict[str, Any]:
    kinds = {
        label: {name: {"bits_per_byte": bits, "documents": 2, "bytes": 1000} for name, bits in values.items()}
        for label, values in parts.items()
    }
    whole = {"bits_per_byte": 2.0, "unigram_bits_per_byte": 4.0, "loss": 3.0, "documents": 4, "bytes": 2000}
    return {"evaluation": "held_out", "step": step, "tokens": 500, **whole, **kinds}


def test_only_what_was_measured_is_drawn() -> None:
    assert titles(page({"step": 1, "loss": 5.0})) == ["Loss, nats per token, by step"]
    step = {"step": 1, "loss": 5.0, "lr": 0.1, "grad_norm": 1.0, "tokens_per_s": 9.0, "mfu": 0.4, "mfu_measured": 0.5}
    assert titles(page(step))[1:] == [
        "Learning rate, by step", "Length of the gradient, by step", "Tokens per second, by step",
        "Model FLOP utilization, by step",
    ]  # fmt: skip


def test_a_step_without_a_loss_leaves_a_gap() -> None:
    """A batch that was left out after a loss that was no number."""
    found = page({"step": 1, "loss": 5.0}, {"step": 2, "skipped": True, "documents": ["ab"]}, {"step": 3, "loss": 4.0})
    assert len(points(found, "Loss, nats per token, by step")) == 2
    assert "1 of 3 steps left the weights alone (2)." in (found.findtext("p") or "")


def test_starts_and_skipped_steps_are_told() -> None:
    steps = [{"step": k, "loss": 1.0} for k in range(1, 31)]
    for k in range(10, 25):
        steps[k]["skipped"] = True
    steps[0]["seconds_to_first_step"], steps[20]["seconds_to_first_step"] = 12.34, 3.0
    assert page(*steps).findtext("p") == (
        "first step after 12.3 s; started 2 times, again at work after 3.0 s; 15 of 30 steps left the weights alone "
        "(11, 12, 13, 14, 15, 16, 17, 18, 19, 20, ...)."
    )


def test_a_spike_stays_where_a_curve_is_thinned() -> None:
    """Of 10,000 steps one has a gradient of 100, its neighbours 1 and one of them 0: both stay."""
    steps = [{"step": k, "loss": 1.0, "grad_norm": 1.0} for k in range(1, 10_001)]
    steps[5_432]["grad_norm"], steps[7_001]["grad_norm"] = 100.0, 0.0
    drawn = points(page(*steps), "Length of the gradient, by step")
    assert 400 < len(drawn) <= 1000
    heights = sorted({y for _, y in drawn})
    assert len(heights) == 3  # the picture counts from above: 100 is the first, 0 the last
    assert [y for _, y in drawn].count(heights[0]) == [y for _, y in drawn].count(heights[2]) == 1
    assert drawn == sorted(drawn, key=lambda point: point[0])


def test_bits_per_byte_by_source_and_language() -> None:
    lines = (
        evaluation(10, sources={"web": 3.0, "<b>": 2.0}, languages={"en": 3.0}),
        evaluation(20, sources={"web": 2.5, "<b>": 1.5}, languages={"en": 2.0}),
    )
    found = page({"step": 1, "loss": 5.0}, evaluations=lines)
    assert "Bits per byte by source, by step" in titles(found)
    assert "Bits per byte by language, by step" not in titles(found)  # one language: the same as all
    assert len(points(found, "Bits per byte by source, by step")) == 2
    cells = [[cell.text for cell in row] for row in found.findall(".//tbody")[1]]
    assert cells == [["web", "2.5000", "2", "1,000"], ["<b>", "1.5000", "2", "1,000"]]


def test_curves_of_the_four_largest_sources() -> None:
    lines = tuple(evaluation(step, sources={f"s{k}": 1.0 for k in range(9)}) for step in (1, 2))
    found = page({"step": 1, "loss": 5.0}, evaluations=lines)
    (figure,) = (one for one in found.findall(".//figure") if "source" in (one.findtext("figcaption") or ""))
    assert len(figure.findall(".//path")) == 4


def test_bits_per_byte_of_a_model_that_fills_in_masks_are_said_to_be_no_aim_of_it() -> None:
    causal, mlm = (Training("m", (), (evaluation(10),), objective=kind).summary or "" for kind in ("span", "mlm"))
    assert causal == "m: 2.000 bits per byte on 4 held-out documents after step 10 (unigram model: 4.000)"
    assert mlm == causal[:-1] + "; each token from those before it, which the objective mlm does not train)"
