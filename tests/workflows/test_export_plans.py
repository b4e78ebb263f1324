"""``sluice export`` of packed sequences and of mixtures."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import orjson
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from operators.tokenize.packing.reader import sequence_shards
from pipeline.dataset import Run
from pipeline.session import Settings
from workflows import load, run

from .conftest import Call

RECIPE = """\
name: plans
steps:
  crawl:
    read: {format: jsonl, paths: ["in-*.jsonl"], columns: {id: id, text: text, source: source}, group_bytes: 0}
  tokens:
    from: crawl
    tokenize: {tokenizer: {file: words.json}}
  packed:
    from: tokens
    pack: {sequence_length: 7}
  mixed:
    from: tokens
    mix: {by: [source], weights: {books: 0.75, "we/b": 0.25}, tokens: 100}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards: the first of books and of the web, the second of books alone. A document has its number twice."""
    folder = tmp_path_factory.mktemp("plans")
    for shard in (0, 1):
        rows = [
            {"id": str(k), "source": "we/b" if shard == 0 and k % 3 == 0 else "books", "text": f"w{k} w{k}"}
            for k in range(20 * shard, 20 * shard + 20)
        ]
        (folder / f"in-{shard}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tokenizer = Tokenizer(models.WordLevel({**{f"w{k}": k for k in range(50)}, "<|endoftext|>": 50}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save(str(folder / "words.json"))
    (folder / "plans.yaml").write_text(RECIPE)
    run(load(folder / "plans.yaml"), folder / "run", settings=Settings(backend="inline", progress="none"))
    return folder / "run"


def exported(sluice: Call, source: Path, step: str, to: str, out: Path) -> dict[str, Path]:
    done = sluice("export", source, step, "--to", to, "--out", out)
    assert done.exit_code == 0, done.output
    return {str(path.relative_to(out)): path for path in sorted(out.rglob("*")) if path.is_file()}


def test_sequences_are_the_windows_of_litdata_and_datatrove(tmp_path: Path, sluice: Call, made: Path) -> None:
    shards = sequence_shards(Run.open(str(made)), "packed")
    chunks = exported(sluice, made, "packed", "litgpt", tmp_path / "litgpt")
    files = exported(sluice, made, "packed", "datatrove", tmp_path / "datatrove")
    index = orjson.loads(chunks["index.json"].read_bytes())["chunks"]
    for number, shard in enumerate(shards):
        rows, _ = shard.batch(np.arange(len(shard)))
        assert index[number]["dim"] == rows.size
        chunk = chunks[f"chunk-{number}-0.bin"].read_bytes()
        assert chunk == struct.pack("<3I", 1, 12, 12 + rows.nbytes) + rows.tobytes()
        assert files[f"{number:05d}_sequences.ds"].read_bytes() == rows.tobytes()
        ends = np.fromfile(files[f"{number:05d}_sequences.ds.index"], "<u8")
        assert ends[-1] == rows.size
        assert set(range(8, rows.size + 1, 8)) <= set(ends.tolist())  # each row ends a document, be it in padding
    record = orjson.loads(files["sluice_export.json"].read_bytes())
    assert record["over"] == Run.open(str(made))["tokens"].folder
    assert record["sets"]["train"]["sequences"] == sum(len(shard) for shard in shards)


def documents(index: bytes, payload: bytes) -> list[tuple[int, ...]]:
    count = struct.unpack_from("<Q", index, 18)[0]
    lengths = struct.unpack_from(f"<{count}i", index, 34)
    pointers = struct.unpack_from(f"<{count}q", index, 34 + 4 * count)
    return [struct.unpack_from(f"<{n}H", payload, at) for n, at in zip(lengths, pointers, strict=True)]


def test_a_mixture_for_megatron(tmp_path: Path, sluice: Call, made: Path) -> None:
    files = exported(sluice, made, "mixed", "megatron", tmp_path / "out")
    assert files["000-books/00000.bin"].samefile(files["001-we_b/00000.bin"])
    found = {
        name: documents(path.read_bytes(), path.with_suffix(".bin").read_bytes())
        for name, path in files.items()
        if name.endswith(".idx")
    }
    assert found == {
        "000-books/00000.idx": [(k, k, 50) for k in range(20) if k % 3],
        "000-books/00001.idx": [(k, k, 50) for k in range(20, 40)],
        "001-we_b/00000.idx": [(k, k, 50) for k in range(20) if k % 3 == 0],
    }
    lines = [line.split(" ") for line in files["data_args.txt"].read_text().splitlines()]
    weights = {str(Path(prefix).relative_to(tmp_path / "out")): float(weight) for weight, prefix in lines}
    expected = {"000-books/00000": 0.75 * 13 / 33, "000-books/00001": 0.75 * 20 / 33, "001-we_b/00000": 0.25}
    assert weights == pytest.approx(expected, rel=1e-6)


def test_a_mixture_for_olmo(tmp_path: Path, sluice: Call, made: Path) -> None:
    files = exported(sluice, made, "mixed", "olmo", tmp_path / "out")
    web = [token for k in range(20) if k % 3 == 0 for token in (k, k, 50)]
    assert np.fromfile(files["001-we_b/part-00000.npy"], "<u2").tolist() == web
    how = {file["path"]: file["how"] for file in orjson.loads(files["sluice_export.json"].read_bytes())["files"]}
    assert (how["000-books/part-00000.npy"], how["000-books/part-00001.npy"]) == ("written", "linked")
    text = files["source_mixture.yaml"].read_text()
    assert f'- "{tmp_path}/out/001-we_b/part-00000.npy"' in text
    assert "target_ratio: 0.25" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["packed", "--to", "megatron"], "exported to litgpt, datatrove, parquet"),
        (["mixed", "--to", "litgpt"], "exported to megatron, olmo"),
        (["mixed", "--to", "olmo", "--split", "val=0.1"], "--split is for documents and tokens"),
    ],
)
def test_what_is_refused(tmp_path: Path, sluice: Call, made: Path, arguments: list[str], words: str) -> None:
    done = sluice("export", made, *arguments, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert words in done.stderr
    assert list(tmp_path.iterdir()) == []
