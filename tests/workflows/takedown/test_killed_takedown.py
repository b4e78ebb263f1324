"""A takedown that is killed anywhere leaves the old generation or the new one, and is gone on with by the same command."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.session import Settings
from pipeline.session import run as run_workflow
from pipeline.stores import Folder
from pipeline.takedown.generation import PENDING
from tests.workflows.conftest import Call
from tests.workflows.takedown.conftest import MIDDLE, NEAR, SHORT, state, urls, write_list
from workflows.commands.takedown import Asked, take_down
from workflows.recipe import load

CHANGING = ("suppressed.json", "report.html")  # the first has a time


class Killed(BaseException):
    """Like the end of the process: nothing catches it."""


class Counter:
    """Lets so many writes and deletions pass, then ends the process, before or after the last one took place."""

    def __init__(self, limit: int, *, after: bool) -> None:
        self.done, self.limit, self.after = 0, limit, after

    def __call__(self, real, *arguments):
        self.done += 1
        if self.done == self.limit and not self.after:
            raise Killed
        result = real(*arguments)
        if self.done == self.limit:
            raise Killed
        return result


def asked(folder: Path, *urls: str) -> Asked:
    listed = write_list(folder, *urls)
    return Asked(listed, None, None, dry_run=False, yes=True, with_duplicates=False, as_json=True)


def taken(run: Path, folder: Path) -> None:
    take_down(str(run), asked(folder, MIDDLE, NEAR, SHORT))


def killed(run: Path, folder: Path, counter: Counter) -> bool:
    """True where it was killed."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("write_bytes", "write_file", "delete"):
            real = getattr(Folder, name)
            patch.setattr(Folder, name, lambda *arguments, _real=real: counter(_real, *arguments))
        try:
            taken(run, folder)
        except Killed:
            return True
    return False


@pytest.fixture(scope="module")
def undisturbed(original: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The run after the takedown, and how many writes and deletions it took."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run = Path(shutil.copytree(original, folder / "run"))
    counter = Counter(0, after=False)
    assert not killed(run, folder, counter)
    return run, counter.done


@pytest.mark.parametrize(
    "part", [pytest.param(k, marks=() if k in (2, 6, 9) else pytest.mark.sweep) for k in range(12)]
)
def test_wherever_it_is_killed(
    original: Path, undisturbed: tuple[Path, int], tmp_path: Path, part: int, sluice: Call
) -> None:
    whole, operations = undisturbed
    assert operations > 60
    run = Path(shutil.copytree(original, tmp_path / "run"))
    for k in (0, 1):  # killed twice, then left alone
        counter = Counter(1 + (part * operations) // 12 + k * 3, after=bool((part + k) % 2))
        assert killed(run, tmp_path, counter) or k
        for step in ("clean", "unique"):  # all of the old or all of the new
            assert urls(run, step) in (urls(original, step), urls(whole, step))
        seen = [urls(run, step) == urls(original, step) for step in ("clean", "unique")]
        assert seen[0] == seen[1]
        if (run / PENDING).exists():
            with pytest.raises(UserError, match="did not end; give the same"):
                run_workflow(
                    load(original.parent / "recipe.yaml"), str(run), Settings(backend="inline", progress="none")
                )
    taken(run, tmp_path)
    assert state(run, *CHANGING) == state(whole, *CHANGING)
    assert sluice("verify", run).exit_code == 0


def test_another_request_after_one_killed_before_the_switch(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the killed one wrote for a generation that never came must not come with the next."""
    run = Path(shutil.copytree(original, tmp_path / "run"))

    def end(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.takedown.takedown.switch", end)
        with pytest.raises(Killed):
            taken(run, tmp_path)
    assert list(run.glob("*/commits/*.g2.json"))
    take_down(str(run), asked(tmp_path, SHORT))
    for step in ("clean", "unique"):
        assert urls(run, step) == urls(original, step)
    assert not (run / PENDING).exists()
