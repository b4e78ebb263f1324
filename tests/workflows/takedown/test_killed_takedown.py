"""A takedown that is killed anywhere leaves the old generation or the new one, and is gone on with by the same command."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path

import pytest

from operators.tokenize.shards.reader import TokenShard
from pipeline.errors import RunFailedError, UserError
from pipeline.session import Settings
from pipeline.session import run as run_workflow
from pipeline.shards import CommittedShard
from pipeline.stores import Folder
from pipeline.takedown.finding import Rows
from pipeline.takedown.generation import PENDING
from tests.workflows.conftest import Call
from tests.workflows.takedown.conftest import MIDDLE, NEAR, SHORT, state, urls, write_list
from workflows.commands.takedown import Asked, take_down
from workflows.recipe import load
from workflows.takedown.tokens import needles, without

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


def taken(run: Path, folder: Path, *lines: str) -> dict:
    """What --json says."""
    with io.TextIOWrapper(io.BytesIO(), encoding="utf-8") as out:
        with contextlib.redirect_stdout(out):
            take_down(str(run), asked(folder, *(lines or (MIDDLE, NEAR, SHORT))))
        out.seek(0)
        return json.loads(out.read())


def comparable(told: dict) -> dict:
    """Without what depends on when and where."""
    proof = {name: told["proof"][name] for name in ("absent", "present", "searched_for", "same_words_elsewhere")}
    return {**{name: told[name] for name in told if name not in ("run", "log_lines", "notes")}, "proof": proof}


def killed(run: Path, folder: Path, counter: Counter, *lines: str) -> bool:
    """True where it was killed."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("write_bytes", "write_file", "delete"):
            real = getattr(Folder, name)
            patch.setattr(Folder, name, lambda *arguments, _real=real: counter(_real, *arguments))
        try:
            taken(run, folder, *lines)
        except Killed:
            return True
    return False


@pytest.fixture(scope="module")
def exported(original: Path, tmp_path_factory: pytest.TempPathFactory, sluice: Call) -> Path:
    """A copy of the run of which tokens were exported."""
    folder = tmp_path_factory.mktemp("exported")
    run = Path(shutil.copytree(original, folder / "run"))
    done = sluice("export", run, "tokens", "--to", "nanogpt", "--out", folder / "out")
    assert done.exit_code == 0, done.stderr
    return run


@pytest.fixture(scope="module")
def undisturbed(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, dict]:
    """The run after the takedown, how many writes and deletions it took, and what it told."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run = Path(shutil.copytree(exported, folder / "run"))
    counter = Counter(0, after=False)
    assert not killed(run, folder, counter)
    told = taken(Path(shutil.copytree(exported, folder / "told")), folder)
    assert len(told["documents"]) == 3
    assert [one["step"] for one in told["exports"]] == ["tokens"]
    return run, counter.done, comparable(told)


@pytest.mark.parametrize(
    "part", [pytest.param(k, marks=() if k in (2, 6, 9) else pytest.mark.sweep) for k in range(12)]
)
def test_wherever_it_is_killed(
    original: Path, exported: Path, undisturbed: tuple[Path, int, dict], tmp_path: Path, part: int, sluice: Call
) -> None:
    whole, operations, told = undisturbed
    assert operations > 60
    run = Path(shutil.copytree(exported, tmp_path / "run"))
    for k in (0, 1):  # killed twice, then left alone
        counter = Counter(2 + part // 3 if k else 1 + (part * operations) // 12, after=bool((part + k) % 2))
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
    began = (run / PENDING).exists()  # the last kills come when all is done
    last = comparable(taken(run, tmp_path))
    assert last == told if began or not part else part > 9
    assert state(run, *CHANGING) == state(whole, *CHANGING)
    assert sluice("verify", run).exit_code == 0


def test_another_request_after_one_killed_before_the_switch(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the killed one wrote for a generation that never came must not come with the next."""
    run = Path(shutil.copytree(original, tmp_path / "run"))

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.takedown.takedown.switch", ends)
        with pytest.raises(Killed):
            taken(run, tmp_path)
    assert list(run.glob("*/commits/*.g2.json"))
    take_down(str(run), asked(tmp_path, SHORT))
    for step in ("clean", "unique"):
        assert urls(run, step) == urls(original, step)
    assert not (run / PENDING).exists()


def ends(*_: object) -> None:
    raise Killed


def test_a_repeat_after_a_failed_proof_tells_all_again(
    exported: Path, undisturbed: tuple[Path, int, dict], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(exported, tmp_path / "run"))
    (run / "seen.json").write_text(json.dumps({"seen": MIDDLE}), encoding="utf-8")
    for _ in range(2):
        with pytest.raises(RunFailedError, match="1 files of"):
            taken(run, tmp_path)
    (run / "seen.json").unlink()
    assert comparable(taken(run, tmp_path)) == undisturbed[2]


@pytest.mark.parametrize("is_left", [False, True])
def test_all_that_came_into_force_is_proven_whatever_was_begun_after_it(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_left: bool
) -> None:
    """One is killed after its switch, another before its, a third ends: the first is proven and told, too."""
    run = Path(shutil.copytree(original, tmp_path / "run"))
    for place, listed in (("settle", MIDDLE), ("switch", NEAR)):
        with monkeypatch.context() as patch:
            patch.setattr(f"pipeline.takedown.takedown.{place}", ends)
            with pytest.raises(Killed):
                taken(run, tmp_path, listed)
    if is_left:
        (run / "seen.json").write_text(json.dumps({"seen": MIDDLE}), encoding="utf-8")
        with pytest.raises(RunFailedError, match="1 files of"):
            taken(run, tmp_path, SHORT)
        return
    told = taken(run, tmp_path, SHORT)
    assert {page["url"] for page in told["documents"]} == {MIDDLE, SHORT}
    assert (told["proof"]["searched_for"]["ids"], told["request"]) == (2, 2)
    assert NEAR in urls(run, "clean")
    assert not (run / PENDING).exists()


def test_tokens_that_a_rewrite_left_in_another_document_fail_the_proof(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    run = Path(shutil.copytree(original, tmp_path / "run"))

    def leaking(shard: CommittedShard, rows: Rows, scratch: Path):
        outputs, facts = without(shard, rows, scratch)
        (payload,) = (output.path for output in outputs if output.suffix == ".bin")
        (left,) = needles(TokenShard.of(shard), rows)
        payload.write_bytes(left + payload.read_bytes()[len(left) :])
        return outputs, facts

    monkeypatch.setattr("workflows.commands.takedown.without", leaking)
    with pytest.raises(RunFailedError, match="1 files of"):
        take_down(str(run), asked(tmp_path, MIDDLE))
    assert b'"what": "tokens"' in capfdbinary.readouterr().out
    assert (run / PENDING).exists()
