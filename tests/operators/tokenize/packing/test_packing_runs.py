"""The verb in whole runs: from recipe to sequences, read back, on one worker and on several, killed and gone on with."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packing_fakes import byte_level
from tokenizers import Tokenizer

from operators.tokenize.packing import reader
from operators.tokenize.packing.reader import sequence_shards
from operators.tokenize.packing.verify import verify
from operators.tokenize.shards.reader import TokenShard
from pipeline.dataset import Run
from pipeline.errors import UserError
from pipeline.padding import Padding
from pipeline.session import Settings
from workflows import load, run
from workflows.commands.summary import print_summary

INLINE = Settings(backend="inline", progress="none")
PACKS = {
    "plain": {"sequence_length": 128},
    "cut": {"sequence_length": 128, "policy": "concat"},
    "code": {"sequence_length": 128, "fim": {"tokenizer": {"file": "tokenizer.json"}, "rate": 0.9}},
    "hosts": {"sequence_length": 128, "related": "host", "policy": "concat"},
    "near": {"sequence_length": 4096, "related": {"step": "unique"}},
}


def rows() -> list[dict[str, str]]:
    """Ninety documents on three hosts; of every ten, three are alike in two thirds of their words."""
    found = []
    for k in range(90):
        own = [f"w{hash_of(k * 100 + j) % 5000}" for j in range(20 + hash_of(k) % 160)]
        shared = [f"s{hash_of(k // 10 * 1000 + j) % 5000}" for j in range(80)]
        words = [*shared, *own[:25]] if k % 10 < 3 else own
        found.append({"id": f"d{k}", "text": " ".join(words), "url": f"https://h{k % 3}.org/{k}"})
    return found


def hash_of(number: int) -> int:
    return int.from_bytes(hashlib.sha256(str(number).encode()).digest()[:4], "big")


def recipe(folder: Path, packs: Mapping[str, Any], num_files: int = 4) -> Path:
    folder.mkdir()
    byte_level(folder / "tokenizer.json")
    lines = [json.dumps(row) for row in rows()]
    for k in range(num_files):
        (folder / f"part{k}.jsonl").write_text("\n".join(lines[k::num_files]) + "\n", encoding="utf-8")
    steps = {
        "docs": {"read": {"format": "jsonl", "paths": ["part*.jsonl"], "source": "demo", "group_bytes": 1}},
        "unique": {
            "from": "docs",
            "dedup": {"minhash": {"bands": 20, "rows": 5, "threshold": 0.9}, "alarm": None, "audit": 0},
        },
        "tokens": {"from": "unique", "tokenize": {"tokenizer": {"file": "tokenizer.json"}}},
        **{name: {"from": "tokens", "pack": options} for name, options in packs.items()},
    }
    path = folder / "recipe.yaml"
    path.write_text(json.dumps({"name": "packing", "seed": 11, "steps": steps}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("packing")
    return run(load(recipe(folder / "in", PACKS)), folder / "run", settings=INLINE)


@pytest.mark.parametrize("step", sorted(PACKS))
def test_nothing_is_lost(done: Run, step: str) -> None:
    assert verify(done, step) == []
    ledger = done[step].ledger
    assert (ledger.into.docs, ledger.kept.docs) == (90, 90)
    assert ledger.kept.bytes == sum(len(row["text"].encode()) for row in rows())
    assert done[step].complete


@pytest.mark.parametrize("step", ["plain", "cut", "hosts", "near"])
def test_every_document_can_be_read_back(done: Run, step: str) -> None:
    tokens = {shard.index: TokenShard.of(shard) for shard in done["tokens"].shards()}
    whole = {(k, d): [] for k, shard in tokens.items() for d in range(shard.num_documents)}
    for shard in sequence_shards(done, step):
        batch, lengths = shard.batch(np.arange(len(shard)))
        assert batch.shape == (len(shard), shard.sequence_length + 1)
        for number in range(len(shard)):
            assert batch[number, : lengths[number]].tolist() == shard.sequence(number).tolist()
            assert set(batch[number, lengths[number] :].tolist()) <= {0}
            bounds = shard.bounds(number)
            assert bounds[-1] == lengths[number]
            for piece, a, b in zip(shard.pieces(number), bounds[:-1], bounds[1:], strict=True):
                place = int(piece["start"] - tokens[int(piece["shard"])].offsets[piece["document"]])
                whole[int(piece["shard"]), int(piece["document"])].append((place, batch[number, a:b].tolist()))
    for (k, d), parts in whole.items():
        found: list[int] = []
        for place, ids in sorted(parts, key=lambda part: (part[0], len(part[1]))):
            assert place == max(0, len(found) - 1)  # begins with the last token of the part before
            found[place:] = ids
        assert found == tokens[k].document(d).tolist()


def test_rewritten_documents_are_those_of_the_corpus(done: Run, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(Path(done.storage.uri).parent / "in" / "tokenizer.json"))
    prefix, suffix, middle = (tokenizer.token_to_id(f"<|fim_{name}|>") for name in ("prefix", "suffix", "middle"))
    texts = []
    for shard in sequence_shards(done, "code"):
        ends = np.flatnonzero(shard.rewritten == 0) + 1
        for a, b in zip(np.append(0, ends[:-1]), ends, strict=True):
            ids = shard.rewritten[a : b - 1].tolist()
            at, behind = ids.index(suffix), ids.index(middle)
            assert ids[0] == prefix
            texts.append("".join(tokenizer.decode(p) for p in (ids[1:at], ids[behind + 1 :], ids[at + 1 : behind])))
    assert len(set(texts)) == len(texts) == sum(c.facts["rewritten"] for c in done["code"].commits.values())
    assert 65 < len(texts) < 90
    assert set(texts) <= {row["text"] for row in rows()}


def test_documents_that_share_a_bucket_stand_side_by_side(done: Run) -> None:
    number = {row["url"]: int(row["id"][1:]) for row in rows()}
    order: dict[int, None] = {}
    for shard in sequence_shards(done, "near"):
        for piece in shard.packed.pieces:
            order[number[shard.tokens[int(piece["shard"])].row(int(piece["document"]))["url"]]] = None
    places = {k: place for place, k in enumerate(order)}
    assert len(places) == 90
    groups = [[k, k + 1, k + 2] for k in range(0, 90, 10)]
    apart = [max(places[k] for k in group) - min(places[k] for k in group) for group in groups]
    assert sum(distance == 2 for distance in apart) >= 7  # two at most may be cut where a task's share ends


def files(done: Run, step: str) -> dict[str, str]:
    """Content names and hashes of all files of a step."""
    commits = done[step].commits
    return {f"{k}{output.suffix}": output.sha256 for k in commits for output in commits[k].outputs}


def test_the_same_whatever_runs_it_and_after_a_kill(done: Run, tmp_path: Path) -> None:
    again = tmp_path / "run"
    source = Path(done.storage.uri)
    shutil.copytree(source, again)
    for step in PACKS:
        folder = next(again.glob(f"{step}-*"))
        (folder / "manifest.json").unlink()
        for name in ("00000001.json", "00000002.json"):
            (folder / "commits" / name).unlink()  # as if the driver had been killed between commits
    second = run(load(source.parent / "in" / "recipe.yaml"), again, settings=INLINE)
    for step in PACKS:
        assert files(second, step) == files(done, step)


def test_a_shard_without_documents(tmp_path: Path) -> None:
    path = recipe(tmp_path / "in", {name: PACKS[name] for name in ("plain", "cut", "code")}, num_files=1)
    (tmp_path / "in" / "part1.jsonl").write_text("", encoding="utf-8")
    found = run(load(path), tmp_path / "run", settings=INLINE)
    for step in ("plain", "cut", "code"):
        assert verify(found, step) == []
        assert found[step].ledger.kept.docs == 90


def test_a_step_that_is_not_done_lacks_nothing(done: Run, tmp_path: Path) -> None:
    shutil.copytree(done.storage.uri, tmp_path / "run")
    folder = next((tmp_path / "run").glob("plain-*"))
    (folder / "manifest.json").unlink()
    (folder / "commits" / "00000002.json").unlink()
    assert verify(Run.open(str(tmp_path / "run")), "plain") == []


def test_damage_is_found(done: Run, tmp_path: Path) -> None:
    for change, words in (("start", "is not whole"), ("length", "is not whole"), ("document", "in no sequence")):
        folder = tmp_path / change
        shutil.copytree(done.storage.uri, folder)
        path = next(folder.glob("plain-*/shards/00000000-*.pieces.npy"))
        pieces = np.load(path)
        longest = int(np.argmax(pieces["length"]))
        pieces[change][longest] = pieces[change][longest] - 1 if change != "document" else 10**6
        np.save(path, pieces)
        assert any(words in problem for problem in verify(Run.open(str(folder)), "plain")), change


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sequence_lenght": 4}, "sequence_length"),
        ({"policy": "worst_fit"}, "best_fit"),
        ({"sequence_length": 0}, "greater than or equal to 1"),
        ({"related": "cluster"}, "host"),
        ({"fim": {"rate": 0.5}}, "tokenizer"),
    ],
    ids=str,
)
def test_mistakes_in_a_recipe(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        load(recipe(tmp_path / "in", {"plain": options}))


def test_clusters_of_a_step_without_any(tmp_path: Path) -> None:
    path = recipe(tmp_path / "in", {"near": {"related": {"step": "docs"}}})
    with pytest.raises(UserError, match=r"'near.labels' takes its input from 'docs.\w+', which does not exist"):
        run(load(path), tmp_path / "run", settings=INLINE)


@pytest.mark.parametrize("options", [{}, {"related": "host"}], ids=str)
def test_from_a_step_without_tokens(tmp_path: Path, options: dict[str, Any]) -> None:
    path = recipe(tmp_path / "in", {"plain": options})
    path.write_text(path.read_text(encoding="utf-8").replace('"from": "tokens"', '"from": "docs"'), encoding="utf-8")
    with pytest.raises(UserError, match=r"holds (no tokens|documents)"):
        run(load(path), tmp_path / "run", settings=INLINE)


def test_much_padding_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recipe(tmp_path / "in", {"long": {"sequence_length": 100_000}})
    found = run(load(path), tmp_path / "run", settings=INLINE)
    said = capsys.readouterr()
    tokens = found["long"].ledger.kept.tokens // 4
    share = 1 - tokens / 100_001
    words = f"long: {share:.1%} of its places are padding: sequence_length 100,000, but only {tokens:,} tokens a shard"
    assert words in " ".join((said.out + said.err).split())
    print_summary(found)
    assert f"long: 4 sequences of 100,000 tokens, {share:.2%} padding" in capsys.readouterr().out


def test_little_padding_is_not_warned_of() -> None:
    facts = {"sequences": 100, "sequence_length": 9, "tokens": 979, "padding": 21}
    assert Padding.of([{**facts, "padding": 20}]).warning("packed") is None
    assert "tokens_per_shard of 9,000 or more" in (Padding.of([facts]).warning("packed") or "")
    whole = {**facts, "tokens": 9000}
    assert "no document fills" in (Padding.of([whole]).warning("packed") or "")
    assert Padding.of([]).share == 0


def test_few_token_shards_stay_open(done: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [
        shard.sequence(number).tolist() for shard in sequence_shards(done, "hosts") for number in range(len(shard))
    ]
    monkeypatch.setattr(reader, "_OPEN", 2)
    shards = sequence_shards(done, "hosts")
    assert [shard.sequence(number).tolist() for shard in shards for number in range(len(shard))] == whole
    assert len(shards[0].tokens) == 4
    assert len(vars(shards[0].tokens)["_open"]) == 2


def test_no_other_step_is_packed(done: Run) -> None:
    with pytest.raises(UserError, match="holds tokens, not sequences"):
        sequence_shards(done, "tokens")
