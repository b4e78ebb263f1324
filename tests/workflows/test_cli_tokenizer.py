"""What ``sluice tokenizer report`` and ``import`` print and write."""

from __future__ import annotations

import json
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from typer.testing import Result

from tests.workflows.conftest import Call

HOSTILE = "<script>alert(1)</script>&\x1b[31m\u202e"
GOLDEN = Path(__file__).parents[1] / "golden" / "sentencepiece"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tokenizers and texts of three kinds: a token a byte, and a lossy one a word, whose name is hostile."""
    folder = tmp_path_factory.mktemp("tokenizer")
    alphabet = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    letters = Tokenizer(models.BPE(alphabet, []))
    letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters.decoder = decoders.ByteLevel()
    letters.add_special_tokens(["<|endoftext|>"])
    letters.save(str(folder / "bytes.json"))
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "one": 1, "<b>": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.save(str(folder / "words.json"))
    rows = [
        {"text": "one one", "lang": "en", "source": "web"},
        {"text": "今天", "language": "zh", "source": "web"},
        {"text": f"{HOSTILE} " * 4, "lang": "<i>", "source": "<b>"},
        {"text": None},
    ]
    lines = b"\n".join(orjson.dumps(row) for row in rows)
    (folder / "texts.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(lines))
    pq.write_table(pa.table({"text": ["four"], "lang": ["fr"]}), folder / "more.parquet")
    (folder / "book.txt").write_text("eleven byte", encoding="utf-8")
    return folder


def report(sluice: Call, folder: Path, *tokenizers: str, texts: str = "texts.jsonl.zst") -> dict:
    named = [folder / name for name in tokenizers]
    return json.loads(sluice("tokenizer", "report", *named, "--texts", folder / texts, "--json").stdout)


def test_json_of_two_tokenizers(folder: Path, sluice: Call) -> None:
    found = report(sluice, folder, "bytes.json", "words.json")
    assert found["texts"]["docs"] == 3
    first, second = found["tokenizers"]
    assert (first["name"], second["name"]) == ("bytes.json", "words.json")
    assert {name: c["bytes"] for name, c in first["by_language"].items()} == {"en": 7, "zh": 6, "<i>": 4 * 35}
    assert set(first["by_source"]) == {"web", "<b>"}
    assert (first["all"]["bytes_per_token"], first["round_trip"]["lossy"]) == (1.0, 0)
    assert second["by_language"]["en"]["bytes_per_token"] == 3.5
    assert second["by_language"]["zh"]["unknown_fraction"] == 1.0
    assert second["round_trip"]["lossy"] == 2


def test_texts_of_every_kind(folder: Path, sluice: Call) -> None:
    named = [part for name in ("more.parquet", "book.txt") for part in ("--texts", folder / name)]
    found = json.loads(sluice("tokenizer", "report", folder / "bytes.json", *named, "--json").stdout)
    judged = found["tokenizers"][0]
    assert {g["source"]: (g["language"], g["bytes"]) for g in judged["by_group"]} == {
        "more": ("fr", 4), "book": ("und", 11),
    }  # fmt: skip


def test_the_limit_is_shared_by_files(tmp_path: Path, folder: Path, sluice: Call) -> None:
    for name, number in (("a", 50), ("b", 1), ("c", 50)):
        (tmp_path / f"{name}.jsonl").write_text('{"text": "0123456789"}\n' * number, encoding="utf-8")
    named = [part for name in "abc" for part in ("--texts", tmp_path / f"{name}.jsonl")]
    found = json.loads(
        sluice("tokenizer", "report", folder / "bytes.json", *named, "--json", "--limit-mb", "0.0003").stdout
    )
    by_source = found["tokenizers"][0]["by_source"]
    assert {name: counts["docs"] for name, counts in by_source.items()} == {"a": 10, "b": 1, "c": 19}
    assert found["texts"]["limit_bytes"] == 300


def test_the_table_is_safe_for_a_terminal(folder: Path, sluice: Call) -> None:
    result = sluice(
        "tokenizer", "report", folder / "bytes.json", folder / "words.json", "--texts", folder / "texts.jsonl.zst"
    )
    lines = result.stdout.splitlines()
    assert any(line.split() == ["bytes/token", "1.000", "21.857"] for line in lines)
    assert any(line.startswith("documents not given back") and line.endswith("2 (66.7 %)") for line in lines)
    assert "takes them for the marks: <|endoftext|>" in result.stdout
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout


def test_the_page_stands_alone_and_quotes_nothing_as_markup(tmp_path: Path, folder: Path, sluice: Call) -> None:
    page = tmp_path / "page.html"
    named = [folder / "bytes.json", folder / "words.json"]
    sluice("tokenizer", "report", *named, "--texts", folder / "texts.jsonl.zst", "--html", page)
    content = page.read_text(encoding="utf-8")
    assert "<script>alert" not in content
    assert "&lt;script&gt;alert(1)" in content
    assert "<i>" not in content
    assert "<b>" not in content
    assert "http" not in content.replace("http-equiv", "")
    assert {"21.857", "3.500", "1.000"} <= set(content.replace("<", ">").split(">"))


def test_a_step_of_a_run_and_its_tokenizer(finished: tuple[Path, Result], folder: Path, sluice: Call) -> None:
    run = finished[0]
    called = sluice(
        "tokenizer", "report", f"{run}:bpe", folder / "bytes.json", "--run", run, "--step", "unique", "--json"
    )
    found = json.loads(called.stdout)
    assert found["texts"]["docs"] == 2
    assert [one["name"] for one in found["tokenizers"]] == [f"{run.name}:bpe", "bytes.json"]
    tokens = json.loads(sluice("cat", run, "tokens", "--json", "--limit", 1).stdout)
    total = sum(
        json.loads(line)["num_tokens"] - 1 for line in sluice("cat", run, "tokens", "--json").stdout.splitlines()
    )
    assert found["tokenizers"][0]["all"]["tokens"] == total
    assert tokens["num_tokens"] > 1
    refused = sluice("tokenizer", "report", folder / "bytes.json", "--run", run, "--step", "tokens")
    assert refused.exit_code == 2
    assert "holds tokens, not documents" in refused.stderr


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("clean", "step 'clean' of {run} is no train_tokenizer step; those are: bpe"),
        ("bpee", "step 'bpee' of {run} does not exist; name a train_tokenizer step, did you mean 'bpe'?"),
        ("bpe.counts", "step 'bpe.counts' of {run} does not exist; name a train_tokenizer step"),
    ],
)
def test_a_step_that_trains_no_tokenizer_is_named_before_the_texts_are_missed(
    named: str, said: str, finished: tuple[Path, Result], sluice: Call
) -> None:
    run = finished[0]
    result = sluice("tokenizer", "report", f"{run}:{named}")
    assert result.exit_code == 2
    assert said.format(run=run) in " ".join(result.stderr.split())


def test_the_first_difference_can_be_seen_where_it_is_a_blank(tmp_path: Path, folder: Path, sluice: Call) -> None:
    (tmp_path / "blanks.jsonl").write_text(json.dumps({"text": "one  one\n\u3000<b>\u202e"}), encoding="utf-8")
    named = [folder / "words.json", "--texts", tmp_path / "blanks.jsonl"]
    page = tmp_path / "page.html"
    result = sluice("tokenizer", "report", *named, "--html", page)
    lines = result.stdout.splitlines()
    start = next(k for k, line in enumerate(lines) if "does not give" in line)
    assert lines[start].endswith("at character 4, where U+0020 became U+006F:")
    assert lines[start + 1 : start + 3] == ["  text    one␣␣one⏎\\u{3000}<b>\\u{202E}", "  decoded one one [UNK]"]
    assert "one␣␣one⏎\\u{3000}&lt;b&gt;\\u{202E}" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{folder}/bytes.json"], "either --texts FILE"),
        (["{folder}/bytes.json", "--run", "{folder}"], "either --texts FILE"),
        (
            ["{folder}/bytes.json", "--run", "{folder}", "--step", "x", "--texts", "{folder}/book.txt"],
            "either --texts FILE",
        ),
        (["{folder}/bytes.json", "--texts", "{folder}/none.jsonl"], "is not there"),
        (["{folder}/bytes.json", "--texts", "{folder}/bytes.json"], "ends in one of"),
        (["{folder}/none.json", "--texts", "{folder}/book.txt"], "cannot read a tokenizer from"),
        (["{folder}/book.txt", "--texts", "{folder}/book.txt"], "cannot read a tokenizer from"),
        (
            ["{folder}/bytes.json", "--texts", "{folder}/book.txt", "--html", "{folder}/no/page.html"],
            "cannot write the page",
        ),
        (["{folder}:bpe", "--texts", "{folder}/book.txt"], "no run at"),
    ],
    ids=range(9),
)
def test_mistakes_are_said_in_words(arguments: list[str], said: str, folder: Path, sluice: Call) -> None:
    result = sluice("tokenizer", "report", *(part.format(folder=folder) for part in arguments))
    assert result.exit_code == 2
    assert said in result.stderr


def test_texts_without_a_word_are_refused(tmp_path: Path, folder: Path, sluice: Call) -> None:
    (tmp_path / "none.jsonl").write_text('{"text": ""}\n', encoding="utf-8")
    result = sluice("tokenizer", "report", folder / "bytes.json", "--texts", tmp_path / "none.jsonl")
    assert result.exit_code == 2
    assert "nothing to judge" in result.stderr


def test_import_writes_what_the_library_reads(tmp_path: Path, folder: Path, sluice: Call) -> None:
    out = tmp_path / "tokenizer.json"
    result = sluice("tokenizer", "import", GOLDEN / "bpe_bytes.model", "--out", out)
    assert "620 pieces (361 normal, 256 byte, 2 control, 1 unknown)" in result.stdout
    assert Tokenizer.from_file(str(out)).get_vocab_size() == 620
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]
    found = report(sluice, folder, str(GOLDEN / "bpe_bytes.model"), str(out))["tokenizers"]
    assert found[0]["sha256"] == found[1]["sha256"]
    assert found[0]["round_trip"]["lossy"] == 0
    broken = sluice("tokenizer", "import", folder / "book.txt", "--out", tmp_path / "x.json")
    assert broken.exit_code == 2
    assert "cannot import" in broken.stderr
    assert not (tmp_path / "x.json").exists()
    nowhere = sluice("tokenizer", "import", GOLDEN / "bpe_bytes.model", "--out", tmp_path / "no" / "x.json")
    assert nowhere.exit_code == 2
    assert "cannot write" in nowhere.stderr
