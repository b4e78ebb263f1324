"""The alarm: stops before a source is wiped out, in words, and only then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from pydantic import ValidationError

from operators.dedup.checks.alarm import Alarm, LossAlarm
from operators.dedup.signatures import Signatures
from operators.dedup.verb import Dedup
from pipeline.errors import RunFailedError
from pipeline.fingerprint import digest
from pipeline.work import Epochs, Extent
from tests.operators.dedup.runner import Outcome, documents, run

WORDS = [f"w{k}" for k in range(200)]
PAGE = " ".join(WORDS[:120])


def corpus() -> pa.Table:
    """20 pages of source spam that are all alike, 10 of source web of which one is a copy, 5 of small that are one."""
    texts = [f"{PAGE} tail {k}" for k in range(20)]
    texts += [" ".join(f"d{k}w{j}" for j in range(60)) for k in range(9)]
    texts += [texts[20], *["tiny text"] * 5]
    sources = ["spam"] * 20 + ["web"] * 10 + ["small"] * 5
    docs = documents(texts, sources=sources)
    return docs.append_column("url", pa.array([f"http://x.example/{k}" for k in range(len(texts))]))


def ring(folder: Path, **alarm: Any) -> Outcome:
    docs = corpus()
    dedup = Dedup.model_validate({"alarm": {"min_docs": 10, **alarm}, "keep": ["shortest"]})
    return run(dedup, [[docs.slice(0, 15)], [docs.slice(15)]], folder)


def test_a_source_that_would_be_wiped_out_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(RunFailedError) as failed:
        ring(tmp_path, removed=0.9)
    said = str(failed.value)
    assert said.startswith("step 'unique' would remove 19 of the 20 documents of source 'spam': 95.0 %, ")
    assert "the alarm is set to 90 %" in said
    # Tails 0 to 9 are shortest; of these the smallest id stays, for all 19.
    assert "19, would go for " in said
    assert "(http://x.example/" in said
    assert "add sources: {spam: 0.95} to the step's alarm" in said


def test_what_it_says_helps(tmp_path: Path) -> None:
    found = ring(tmp_path, removed=0.9, sources={"spam": 0.95})
    assert found.results["unique.alarm"][0].facts == {
        "docs": 35,
        "removed": 24,
        "sources": {"spam": [20, 19], "small": [5, 4], "web": [10, 1]},
    }


def test_small_sources_are_left_alone_and_all_together_are_a_source(tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match=r"remove 4 of the 5 documents of source 'small': 80.0 %"):
        ring(tmp_path / "a", removed=0.75, min_docs=5, sources={"spam": 1.0})
    ring(tmp_path / "b", removed=0.75, min_docs=6, sources={"spam": 1.0})
    with pytest.raises(
        RunFailedError, match=r"remove 24 of the 35 documents of all sources: 68.6 %.*add removed: 0.69"
    ):
        ring(tmp_path / "c", removed=0.68, min_docs=30)


def test_exact_copies_alone_can_ring(tmp_path: Path) -> None:
    dedup = Dedup.model_validate({"minhash": None, "alarm": {"min_docs": 2, "removed": 0.5}})
    docs = documents(["same"] * 3)
    with pytest.raises(RunFailedError, match=r"Most of them, 2, would go for [0-9a-f]{32}\. "):
        run(dedup, [[docs]], tmp_path)


def test_null_switches_it_off_but_still_counts(tmp_path: Path) -> None:
    dedup = Dedup.model_validate({"alarm": None})
    found = run(dedup, [[documents(["same"] * 3000)]], tmp_path)
    assert found.results["unique.alarm"][0].facts["removed"] == 2999
    with pytest.raises(RunFailedError, match=r"2,999 of the 3,000"):
        run(Dedup(), [[documents(["same"] * 3000)]], tmp_path / "on")


def test_nothing_at_all_rings_nothing(tmp_path: Path) -> None:
    assert run(Dedup(), [[]], tmp_path).results["unique.alarm"][0].facts == {"docs": 0, "removed": 0, "sources": {}}


def test_limits_are_no_part_of_a_fingerprint() -> None:
    """Whoever raises one goes on with everything that is done."""

    def digests(alarm: dict[str, Any] | None) -> list[str]:
        return [digest(node.work) for node in Dedup.model_validate({"alarm": alarm}).nodes("u", "docs", 0)]

    assert digests({"removed": 0.5, "sources": {"a": 0.1}}) == digests(None) == digests({})


def test_an_epoch_waits_for_its_own_shards() -> None:
    epochs = Dedup().model_copy(update={"epochs": ("a", "b")})
    nodes = {node.name: node for node in epochs.nodes("u", "docs", 0)}
    extent = Extent(3, {"a": (0, 2), "b": (1,)})
    (plan,) = nodes["u.b.alarm"].work.tasks({"documents": extent, "signatures": extent, "exact": Extent(1)})
    assert plan.needs == {"documents": Epochs(("b",)), "signatures": Epochs(("b",)), "exact": None}
    assert nodes["u"].inputs["alarm:a"] == "u.a.alarm"


@pytest.mark.parametrize("alarm", [{"removed": 1.5}, {"min_docs": 0}, {"sources": {"a": 2.0}}, {"remove": 0.5}])
def test_limits_that_are_refused(alarm: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Alarm.model_validate(alarm)


def test_a_limit_of_its_own() -> None:
    alarm = Alarm.model_validate({"removed": 0.5, "sources": {"forum": 0.99}})
    assert (alarm.limit("forum"), alarm.limit("web")) == (0.99, 0.5)
    assert hash(alarm) == hash(Alarm(removed=0.5, sources=(("forum", 0.99),)))


def test_all_sources_beyond_their_limits_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(RunFailedError) as failed:
        ring(tmp_path, removed=0.5, min_docs=5)
    said = str(failed.value)
    assert said.startswith(
        "step 'unique' would remove 19 of the 20 documents of source 'spam': 95.0 %, and the alarm is set to 50 %; "
        "4 of the 5 documents of source 'small': 80.0 %, and the alarm is set to 50 %; "
        "24 of the 35 documents of all sources: 68.6 %, and the alarm is set to 50 %. Most of them, 19, would go for "
    )
    assert "add sources: {spam: 0.95, small: 0.8} and removed: 0.69 to the step's alarm" in said


def test_names_that_yaml_reads_otherwise_are_quoted() -> None:
    alarm = LossAlarm(signatures=Signatures(), limits=Alarm(min_docs=1, removed=0.5))
    names = ["yes", "a: b", "12", "null", "{x}", "Bücher"]
    with pytest.raises(RunFailedError) as failed:
        alarm.recheck({"sources": {name: [3, 2] for name in names}})
    written = str(failed.value).partition("add sources: ")[2].partition(" and removed: ")[0]
    assert yaml.safe_load(written) == dict.fromkeys(names, 0.67)
    assert "\n" not in written


def test_a_lower_limit_stops_what_is_already_counted() -> None:
    facts = {"docs": 1500, "removed": 900, "sources": {"spam": [1000, 850], "web": [500, 50]}}
    signatures = Signatures()
    LossAlarm(signatures=signatures, limits=Alarm(removed=0.85)).recheck(facts)
    LossAlarm(signatures=signatures, limits=None).recheck(facts)
    with pytest.raises(
        RunFailedError, match=r"^this dedup step would remove in epoch 'may' 850 of the 1,000 .* \{spam: 0.85\}"
    ):
        LossAlarm(signatures=signatures, limits=Alarm(removed=0.84), epoch="may").recheck(facts)


def test_more_sources_than_a_message_tells_of_are_all_in_the_remedy() -> None:
    alarm = LossAlarm(signatures=Signatures(), limits=Alarm(removed=0.5, min_docs=10))
    sources = {f"s{k}": [10, 8] for k in range(30)}
    with pytest.raises(RunFailedError, match=r"source 's\d+': 80.0 %.*; and 21 more\. ") as failed:
        alarm.recheck({"sources": sources})
    assert all(f"{name}: 0.8" in str(failed.value) for name in sources)
