"""One run that has something of everything, worked out by hand in ``ROWS``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.dataset import Run
from pipeline.readers.read import Read
from pipeline.session import Settings, run
from pipeline.workflow import Expect, Step, Workflow
from pipeline.works import Apply, ReadWork
from tests.pipeline.report.small_works import ExtractBody, FirstOfEachText, Words
from tests.pipeline.small_operators import HideDigits, Length

ROWS = (
    # shard 0: url, language, html; what becomes of it
    (0, "http://a.example/1", "en", "<html><p>four words make tokens</p>"),  # kept, stands for three, 4 tokens
    (0, "http://a.example/2", "en", "<html><p>no</p>"),  # dropped: 2 characters, at least 3 wanted
    (0, "http://a.example/3", "zh", "<html><p>甲乙丙 丁</p>"),  # kept, 13 bytes, 2 tokens
    (0, "http://a.example/4", "en", "<html>empty"),  # nothing left
    # shard 1
    (1, "http://a.example/1", "en", "<html> <p>four words make tokens</p>"),  # another capture: a copy of the first
    (1, "http://b.example/<script>alert(1)</script>", "en", "<html><p>boom 1234 <b>x</b> & y</p>"),  # raises
    (1, "http://b.example/5", "en", "<html><p>four words make tokens</p><i>"),  # a copy, too
    (1, "http://b.example/6", "en", "<html><p>one more 1234567 text <script>alert(2)</script></p>"),  # kept, 5 tokens
)


def workflow(folder: Path, out_steps: int = 5, max_quarantined: float = 1.0) -> Workflow:
    """Read, extract, filter, take copies out, count words."""
    steps = (
        Step(name="crawl", verb=ReadWork(read=Read(format="jsonl", paths=("in-*.jsonl",), source="web"))),
        Step(
            name="pages",
            source="crawl",
            verb=Apply(operators=(ExtractBody(), Length(max_chars=60))),
            expect=Expect(quarantined=max_quarantined, min_docs=1),
        ),
        Step(name="clean", source="pages", verb=Apply(operators=(HideDigits(),))),
        Step(name="unique", source="clean", verb=FirstOfEachText()),
        Step(name="tokens", source="unique", verb=Words()),
    )
    return Workflow(name="tiny <b>web</b>", base_dir=str(folder), steps=steps[:out_steps])


def write_inputs(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for shard in (0, 1):
        lines = [json.dumps({"text": html, "url": url, "language": lang}) for s, url, lang, html in ROWS if s == shard]
        (folder / f"in-{shard}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def run_tiny(root: Path, out_steps: int = 5) -> Run:
    write_inputs(root / "in")
    return run(workflow(root / "in", out_steps), str(root / "out"), Settings(backend="inline", progress="none"))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_tiny(tmp_path_factory.mktemp("tiny"))
