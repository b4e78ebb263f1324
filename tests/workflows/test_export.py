"""``sluice export``, byte by byte, against layouts written out by hand."""

from __future__ import annotations

import gzip
import json
import pickle
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from tokenizers import Tokenizer, models, pre_tokenizers

from operators.tokenize.exporting import export as exporting
from pipeline.dataset import Run
from pipeline.errors import UserError
from pipeline.session import Settings
from pipeline.takedown.suppression import Register
from workflows import load, run

from .conftest import Call

RECIPE = """\
name: words
steps:
  crawl:
    read: {format: jsonl, paths: ["in-*.jsonl"], source: web, group_bytes: 0}
  clean:
    from: crawl
    apply:
      - {use: "tests.pipeline.small_operators:Length", as: length, min_chars: 2, max_chars: 400}
  unique:
    from: clean
    dedup: {exact: true, minhash: null}
  tokens:
    from: unique
    tokenize: {tokenizer: {file: words.json}}
"""

FILES = (("w5 w6", "w7", "w7"), ("w8",), ("w",), ("w8 w9 w5",))
"""One copy of w7, and what is too short, do not reach the tokens: the third shard is empty."""


def made(folder: Path, size: int = 50, files: tuple[tuple[str, ...], ...] = FILES) -> Path:
    """A run over documents of the words w0 to w9, whose ids are those numbers; the end mark is ``size - 1``."""
    folder.mkdir(parents=True)
    for number, texts in enumerate(files):
        rows = [{"id": t, "url": f"http://a.example/{number}/{k}", "text": t} for k, t in enumerate(texts)]
        (folder / f"in-{number}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = {f"w{number}": number for number in range(size - 1)}
    tokenizer = Tokenizer(models.WordLevel({**words, "<|endoftext|>": size - 1}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save(str(folder / "words.json"))
    (folder / "words.yaml").write_text(RECIPE)
    run(load(folder / "words.yaml"), folder / "run", settings=Settings(backend="inline", progress="none"))
    return folder / "run"


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokens of 16 bits: 5 6 E 7 E | 8 E | | 8 9 5 E with E = 49."""
    return made(tmp_path_factory.mktemp("narrow") / "in")


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in 32 bits, with E = 69,999."""
    return made(tmp_path_factory.mktemp("wide") / "in", size=70_000)


def exported(sluice: Call, source: Path, to: str, out: Path, *more: object, step: str = "tokens") -> dict[str, Path]:
    done = sluice("export", source, step, "--to", to, "--out", out, *more)
    assert done.exit_code == 0, done.output
    return {str(path.relative_to(out)): path for path in sorted(out.rglob("*")) if path.is_file()}


def payloads(source: Path) -> list[Path]:
    commits = Run.open(str(source))["tokens"].commits
    return [source / next(o.name for o in commits[k].outputs if o.suffix == ".bin") for k in sorted(commits)]


def ids(source: Path) -> list[list[str]]:
    tables = [pq.read_table(path.with_suffix(".docs.parquet")) for path in payloads(source)]
    return [[key.hex() for key in table["id"].to_pylist()] for table in tables]


def test_megatron(tmp_path: Path, sluice: Call, narrow: Path) -> None:
    files = exported(sluice, narrow, "megatron", tmp_path / "out")
    shards = ["00000", "00001", "00003"]
    assert list(files) == [*(f"{s}.{x}" for s in shards for x in ("bin", "idx")), "data_args.txt", "sluice_export.json"]
    for number, shard in zip((0, 1, 3), shards, strict=True):
        assert files[f"{shard}.bin"].samefile(payloads(narrow)[number])
    assert files["00000.bin"].read_bytes() == struct.pack("<5H", 5, 6, 49, 7, 49)
    index = b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, 8, 2, 3) + struct.pack("<2i2q3q", 3, 2, 0, 6, 0, 1, 2)
    assert files["00000.idx"].read_bytes() == index
    lines = [f"{tokens} {tmp_path}/out/{shard}\n" for tokens, shard in zip((5, 2, 4), shards, strict=True)]
    assert files["data_args.txt"].read_text() == "".join(lines)


def test_olmo(tmp_path: Path, sluice: Call, narrow: Path) -> None:
    files = exported(sluice, narrow, "olmo", tmp_path / "out")
    stems = ["part-00000", "part-00001", "part-00003"]
    assert list(files) == [*(f"{s}.{x}" for s in stems for x in ("csv.gz", "npy")), "sluice_export.json"]
    assert files["part-00003.npy"].read_bytes() == struct.pack("<4H", 8, 9, 5, 49)
    first, second = ids(narrow)[0]
    assert gzip.decompress(files["part-00000.csv.gz"].read_bytes()).decode() == f"0,3,{first}\n3,5,{second}\n"


def test_datatrove(tmp_path: Path, sluice: Call, narrow: Path) -> None:
    files = exported(sluice, narrow, "datatrove", tmp_path / "out")
    stems = ["00000_tokens", "00001_tokens", "00003_tokens"]
    assert list(files) == [*(f"{s}.ds{x}" for s in stems for x in ("", ".index", ".metadata")), "sluice_export.json"]
    assert files["00000_tokens.ds"].samefile(payloads(narrow)[0])
    assert files["00000_tokens.ds.index"].read_bytes() == struct.pack("<2Q", 3, 5)
    assert files["00000_tokens.ds.metadata"].read_text().endswith("|2\n5\n5.00 T")


def test_nanogpt(tmp_path: Path, sluice: Call, narrow: Path) -> None:
    files = exported(sluice, narrow, "nanogpt", tmp_path / "out")
    assert list(files) == ["meta.pkl", "sluice_export.json", "train.bin"]
    assert files["train.bin"].read_bytes() == struct.pack("<11H", 5, 6, 49, 7, 49, 8, 49, 8, 9, 5, 49)
    assert pickle.loads(files["meta.pkl"].read_bytes()) == {"vocab_size": 50}


def test_llmc(tmp_path: Path, sluice: Call, narrow: Path, wide: Path) -> None:
    files = exported(sluice, narrow, "llmc", tmp_path / "out")
    assert list(files) == ["sluice_export.json", *(f"tokens_train_00000{k}.bin" for k in (0, 1, 3))]
    header = struct.pack("<3i", 20240520, 1, 5) + bytes(253 * 4)
    assert files["tokens_train_000000.bin"].read_bytes() == header + struct.pack("<5H", 49, 5, 6, 49, 7)
    files = exported(sluice, wide, "llmc", tmp_path / "wide")
    header = struct.pack("<3i", 20240801, 7, 5) + bytes(253 * 4)
    assert files["tokens_train_000000.bin"].read_bytes() == header + struct.pack("<5I", 69_999, 5, 6, 69_999, 7)


def test_litgpt(tmp_path: Path, sluice: Call, narrow: Path, wide: Path) -> None:
    files = exported(sluice, narrow, "litgpt", tmp_path / "out")
    names = ["chunk-0-0.bin", "chunk-1-0.bin", "chunk-3-0.bin"]
    assert list(files) == [*names, "index.json", "sluice_export.json"]
    assert files[names[0]].read_bytes() == struct.pack("<3I5H", 1, 12, 22, 5, 6, 49, 7, 49)
    index = orjson.loads(files["index.json"].read_bytes())
    assert index["chunks"] == [
        {"chunk_bytes": 22, "chunk_size": 1, "dim": 5, "filename": names[0]},
        {"chunk_bytes": 16, "chunk_size": 1, "dim": 2, "filename": names[1]},
        {"chunk_bytes": 20, "chunk_size": 1, "dim": 4, "filename": names[2]},
    ]
    assert (index["config"]["data_format"], index["config"]["item_loader"]) == (["no_header_tensor:20"], "TokensLoader")
    files = exported(sluice, wide, "litgpt", tmp_path / "wide")
    assert orjson.loads(files["index.json"].read_bytes())["config"]["data_format"] == ["no_header_tensor:16"]


def test_litgpt_cuts_a_large_shard_between_documents(
    tmp_path: Path, sluice: Call, narrow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operators.tokenize.exporting.headers.CHUNK_BYTES", 8)
    files = exported(sluice, narrow, "litgpt", tmp_path / "out")
    assert files["chunk-0-0.bin"].read_bytes() == struct.pack("<3I3H", 1, 12, 18, 5, 6, 49)
    assert files["chunk-0-1.bin"].read_bytes() == struct.pack("<3I2H", 1, 12, 16, 7, 49)


def test_titan(tmp_path: Path, sluice: Call, narrow: Path, wide: Path) -> None:
    for source, mark in ((narrow, 49), (wide, 69_999)):
        files = exported(sluice, source, "titan", tmp_path / str(mark))
        assert list(files) == ["document_offsets.npy", "sluice_export.json", "tokens.bin"]
        words = struct.pack("<11I", 5, 6, mark, 7, mark, 8, mark, 8, 9, 5, mark)
        assert files["tokens.bin"].read_bytes() == words
        offsets = np.load(files["document_offsets.npy"])
        assert (offsets.dtype, offsets.tolist()) == (np.int64, [0, 3, 5, 7, 11])


def test_tokens_as_parquet(tmp_path: Path, sluice: Call, narrow: Path, wide: Path) -> None:
    for source, kind, mark in ((narrow, pa.uint16(), 49), (wide, pa.uint32(), 69_999)):
        files = exported(sluice, source, "parquet", tmp_path / str(mark))
        table = pq.read_table(files["tokens-00000.parquet"])
        assert table.schema.field("tokens").type.value_type == kind
        assert table.schema.field("id").type == pa.binary(16)
        rows = table.select(["id", "num_tokens", "tokens"]).to_pylist()
        first, second = (bytes.fromhex(key) for key in ids(source)[0])
        assert rows == [
            {"id": first, "num_tokens": 3, "tokens": [5, 6, mark]}, {"id": second, "num_tokens": 2, "tokens": [7, mark]},
        ]  # fmt: skip
        assert table["url"][0].as_py() == "http://a.example/0/0"


@pytest.mark.parametrize("step", ["crawl", "clean", "unique"])
def test_documents_with_their_bitmaps_applied(tmp_path: Path, sluice: Call, narrow: Path, step: str) -> None:
    texts = ["w5 w6", "w7", "w7", "w8", "w", "w8 w9 w5"]
    kept = {"crawl": texts, "clean": [t for t in texts if t != "w"], "unique": ["w5 w6", "w7", "w8", "w8 w9 w5"]}[step]
    files = exported(sluice, narrow, "parquet", tmp_path / "p", step=step)
    tables = [pq.read_table(path) for name, path in files.items() if name.endswith(".parquet")]
    assert [t for table in tables for t in table["text"].to_pylist()] == kept
    linked = {file["how"] for file in orjson.loads(files["sluice_export.json"].read_bytes())["files"]}
    assert linked == ({"linked"} if step == "clean" else {"written"})
    plain = exported(sluice, narrow, "jsonl", tmp_path / "j", step=step)
    packed = exported(sluice, narrow, "jsonl", tmp_path / "z", "--compress", step=step)
    lines = b"".join(path.read_bytes() for name, path in plain.items() if name.endswith(".jsonl"))
    rows = [orjson.loads(line) for line in lines.splitlines()]
    assert [row["text"] for row in rows] == kept
    assert (rows[0]["url"], rows[0]["license"]) == ("http://a.example/0/0", None)
    assert len(bytes.fromhex(rows[0]["id"])) == 16
    zipped = [path for name, path in packed.items() if name.endswith(".jsonl.zst")]
    unpacked = [zstandard.ZstdDecompressor().stream_reader(path.open("rb")).read() for path in zipped]
    assert b"".join(unpacked) == lines


def test_16_bits_are_nanogpts_limit(tmp_path: Path, sluice: Call, wide: Path) -> None:
    done = sluice("export", wide, "tokens", "--to", "nanogpt", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "vocabulary 70,000" in done.stderr
    assert "below 65,500" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_set_hangs_on_the_ids_and_not_on_the_shards(tmp_path: Path, sluice: Call) -> None:
    rows = [f"w{k % 10} w{k // 10} w1" for k in range(100)]
    one = made(tmp_path / "one", files=(tuple(rows),))
    many = made(tmp_path / "many", files=tuple(tuple(rows[k : k + 30]) for k in range(0, 100, 30)))
    found = []
    for name, source in (("one", one), ("many", many)):
        files = exported(
            sluice, source, "nanogpt", tmp_path / f"{name}-out", "--split", "val=0.2", "--split", "test=0.1"
        )
        assert list(files) == ["meta.pkl", "sluice_export.json", "test.bin", "train.bin", "val.bin"]
        sets = {k: np.fromfile(files[f"{k}.bin"], "<u2").reshape(-1, 4).tolist() for k in ("train", "val", "test")}
        assert sorted(row for rows in sets.values() for row in rows) == sorted(
            [k % 10, k // 10, 1, 49] for k in range(100)
        )
        found.append(sets)
    one_set, many_sets = ({k: sorted(rows) for k, rows in sets.items()} for sets in found)
    assert one_set == many_sets
    assert (8 <= len(one_set["val"]) <= 34, 2 <= len(one_set["test"]) <= 22) == (True, True)
    other = exported(
        sluice, one, "nanogpt", tmp_path / "seed", "--split", "val=0.2", "--split", "test=0.1", "--seed", "1"
    )
    assert np.fromfile(other["val.bin"], "<u2").reshape(-1, 4).tolist() != found[0]["val"]


def test_megatrons_sets_share_one_payload(tmp_path: Path, sluice: Call) -> None:
    source = made(tmp_path / "in", files=(tuple(f"w{k % 10} w{k // 10}" for k in range(50)),))
    files = exported(sluice, source, "megatron", tmp_path / "out", "--split", "val=0.3")
    assert files["train/00000.bin"].samefile(files["val/00000.bin"])
    payload, seen = files["val/00000.bin"].read_bytes(), []
    for name in ("train", "val"):
        index = files[f"{name}/00000.idx"].read_bytes()
        count = struct.unpack_from("<Q", index, 18)[0]
        lengths = struct.unpack_from(f"<{count}i", index, 34)
        pointers = struct.unpack_from(f"<{count}q", index, 34 + 4 * count)
        documents = [struct.unpack_from(f"<{n}H", payload, at) for n, at in zip(lengths, pointers, strict=True)]
        assert documents == sorted(documents, key=lambda one: (one[1], one[0]))  # the shard's order
        assert files[f"{name}/data_args.txt"].read_text().startswith(f"{3 * count} ")
        seen += documents
    assert sorted(seen) == sorted((k % 10, k // 10, 49) for k in range(50))


def test_the_records_of_an_export(tmp_path: Path, sluice: Call, narrow: Path) -> None:
    files = exported(sluice, narrow, "olmo", tmp_path / "out", "--split", "val=0.5", "--seed", "1")
    record = orjson.loads(files["sluice_export.json"].read_bytes())
    dataset = Run.open(str(narrow))["tokens"].folder
    told = {"run": str(narrow), "step": "tokens", "dataset": dataset, "generation": 1, "to": "olmo"}
    assert {key: record[key] for key in told} == told
    assert {file["path"] for file in record["files"]} == files.keys() - {"sluice_export.json"}
    for file in record["files"]:
        assert files[file["path"]].stat().st_size == file["bytes"]
    assert sum(counts["documents"] for counts in record["sets"].values()) == 4
    records = [orjson.loads(path.read_bytes()) for path in (narrow / "exports").iterdir()]
    mine = [one for one in records if one["out"] == str(tmp_path / "out")]
    assert [{key: one[key] for key in told} for one in mine] == [told]
    assert mine[0]["options"]["held_out"] == {"val": 0.5}
    assert mine[0]["time"] > 1e9


def test_again_is_the_same_and_another_is_refused(tmp_path: Path, sluice: Call, narrow: Path) -> None:
    out = tmp_path / "out"
    files = exported(sluice, narrow, "megatron", out)
    before = {name: (path.stat().st_ino, path.stat().st_mtime_ns) for name, path in files.items()}
    done = sluice("export", narrow, "tokens", "--to", "megatron", "--out", out)
    assert (done.exit_code, "exported before" in done.stdout) == (0, True)
    assert {name: (path.stat().st_ino, path.stat().st_mtime_ns) for name, path in files.items()} == before
    done = sluice("export", narrow, "tokens", "--to", "olmo", "--out", out)
    assert done.exit_code == 2
    assert "to 'megatron', asked for 'olmo'" in done.stderr
    manifest = next(narrow.glob("tokens-*/manifest.json"))
    before_takedown = manifest.read_bytes()
    manifest.write_bytes(orjson.dumps({**orjson.loads(before_takedown), "generation": 2}))
    done = sluice("export", narrow, "tokens", "--to", "megatron", "--out", out)
    manifest.write_bytes(before_takedown)
    assert done.exit_code == 2
    assert "generation 1, asked for 2" in done.stderr
    (out / "00000.idx").unlink()
    done = sluice("export", narrow, "tokens", "--to", "megatron", "--out", out)
    assert done.exit_code == 2
    assert "00000.idx is missing" in done.stderr


KILLED = """
import os, signal, sys
from operators.tokenize.exporting import folder
from pathlib import Path
from workflows.commands.export import Asked, export_step
count = 0
write = folder.ExportFolder.write
def dying(self, name, parts):
    def half():
        for part in parts:
            yield memoryview(part).cast("B")[:4]
            os.kill(os.getpid(), signal.SIGKILL)
    write(self, name, half() if name.startswith("chunk-1") else parts)
folder.ExportFolder.write = dying
export_step(sys.argv[1], "tokens", Path(sys.argv[2]), Asked("litgpt", (), 0, "hard", False))
"""


def test_a_killed_export_leaves_no_half_and_the_same_command_ends_it(
    tmp_path: Path, sluice: Call, narrow: Path
) -> None:
    whole = exported(sluice, narrow, "litgpt", tmp_path / "whole" / "out")
    out = tmp_path / "killed" / "out"
    done = subprocess.run([sys.executable, "-c", KILLED, narrow, out], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [path.name for path in out.parent.iterdir()] == [".out.partial"]
    assert (out.parent / ".out.partial" / "chunk-1-0.bin").exists()
    files = exported(sluice, narrow, "litgpt", out)
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert {name: path.read_bytes() for name, path in files.items()} == {
        name: path.read_bytes() for name, path in whole.items()
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tokens", "--to", "jsonl"], "for jsonl another step: crawl, clean, unique"),
        (["unique", "--to", "megatron"], "for megatron another step: tokens"),
        (["unique.signatures", "--to", "jsonl"], "holds files internal to its step, which is not exported"),
        (["token", "--to", "megatron"], "did you mean 'tokens'"),
        (["tokens", "--to", "olmo", "--split", "val"], "NAME=SHARE"),
        (["tokens", "--to", "olmo", "--split", "val=x"], "NAME=SHARE"),
        (["tokens", "--to", "olmo", "--split", "val=1.5"], "above 0 and below 1"),
        (["tokens", "--to", "olmo", "--split", "train=0.1"], "'train'"),
        (["tokens", "--to", "olmo", "--split", "val=0.6", "--split", "test=0.4"], "nothing would be left"),
        (["tokens", "--to", "olmo", "--split", "val=0.000001"], "'val' is empty"),
        (["tokens", "--to", "olmo", "--compress"], "--to jsonl"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, sluice: Call, narrow: Path, arguments: list[str], words: str) -> None:
    done = sluice("export", narrow, *arguments, "--out", tmp_path / "out")
    assert done.exit_code == 2, done.output
    assert words in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_is_not_complete_is_refused(tmp_path: Path, sluice: Call) -> None:
    source = made(tmp_path / "in")
    manifest = next(source.glob("tokens-*/manifest.json"))
    manifest.unlink()
    done = sluice("export", source, "tokens", "--to", "olmo", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "not complete" in done.stderr


def test_copies_where_links_are_not_wanted(tmp_path: Path, sluice: Call, narrow: Path) -> None:
    files = exported(sluice, narrow, "megatron", tmp_path / "none", "--links", "none")
    assert not files["00000.bin"].samefile(payloads(narrow)[0])
    assert files["00000.bin"].read_bytes() == payloads(narrow)[0].read_bytes()
    files = exported(sluice, narrow, "megatron", tmp_path / "soft", "--links", "soft")
    assert files["00000.bin"].readlink() == payloads(narrow)[0]


def test_a_place_inside_the_run_is_refused(tmp_path: Path, sluice: Call) -> None:
    source = made(tmp_path / "in")
    before = sorted(source.rglob("*"))
    (tmp_path / "link").symlink_to(source)
    for out in (source / "mine", source, tmp_path / "link" / "a" / "b"):
        done = sluice("export", source, "tokens", "--to", "olmo", "--out", out)
        assert done.exit_code == 2, done.output
        assert "lies in the folder of the run" in done.stderr
        assert "give a folder beside it" in done.stderr
    assert sorted(source.rglob("*")) == before


def test_while_a_takedown_is_under_way_nothing_is_exported(tmp_path: Path, sluice: Call) -> None:
    source = made(tmp_path / "in")
    (source / "takedown.pending").write_text("{}")
    done = sluice("export", source, "tokens", "--to", "olmo", "--out", tmp_path / "out")
    assert (done.exit_code, "a takedown of" in done.stderr, "is under way" in done.stderr) == (2, True, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [("takedown.pending", b"{}", "is under way"), ("suppressed.json", Register(2).to_bytes(), "to generation 2 meanwhile")],
    ids=["begun", "done"],
)  # fmt: skip
def test_a_takedown_meanwhile_leaves_no_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, words: str
) -> None:
    source = made(tmp_path / "in")
    real = exporting._record

    def meddled(*arguments: Any) -> None:
        real(*arguments)
        (source / name).write_bytes(content)

    monkeypatch.setattr(exporting, "_record", meddled)
    request = exporting.Request(step="tokens", to="olmo")
    with pytest.raises(UserError, match=words):
        exporting.export(Run.open(str(source)), request, tmp_path / "out")
    assert not (tmp_path / "out").exists()
