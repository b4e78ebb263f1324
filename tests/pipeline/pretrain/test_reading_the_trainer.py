"""The guide to reading the trainer names what a plain run enters, and leaves out nothing of it."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from pipeline.pretrain.config import Job
from pipeline.pretrain.ranks import Place
from pipeline.pretrain.training.loop import train

ROOT = Path(__file__).parents[3]
TRAINER = ROOT / "pipeline" / "pretrain"


def entered(run: Callable[[], None]) -> set[str]:
    """Files of the trainer with a function that is called."""
    files: set[str] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            files.add(frame.f_code.co_filename)

    threading.setprofile(note)  # the loader and the writer of checkpoints have threads of their own
    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # pyrefly: ignore[bad-argument-type]  # takes it away
    return {str(Path(file).relative_to(TRAINER)) for file in files if Path(file).is_relative_to(TRAINER)}


def test_the_lists_are_what_a_plain_run_enters(make_job: Callable[..., Job]) -> None:
    page = (ROOT / "docs" / "guide" / "reading-the-trainer.md").read_text(encoding="utf-8")
    read, left_out = page.split("## May be left out")
    job = make_job("plain", steps=4, evaluate_every=2, checkpoint_every=2)
    assert entered(lambda: train(job, Place())) <= set(re.findall(r"`([\w/]+\.py)`", read))
    named = set(re.findall(r"`([\w/]+\.py)`", read + left_out))
    assert {name for name in named if not (TRAINER / name).is_file()} == set()
