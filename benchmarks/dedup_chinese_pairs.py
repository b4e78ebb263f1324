"""Removed Chinese documents and what stayed for them, side by side, for reading.

    python -m benchmarks.dedup_chinese_pairs DATA [--pairs 200] [--out pairs.txt]

Runs our step over the Chinese documents of ``dedup/natural`` and ``throughput`` base + planted and, through HTML
extraction, of the WARC of a book in several languages, each for itself. Exact copies are left out: they need no
reading. Natural pairs come first, then planted ones evenly over the estimate. A pair is shown by its beginning and by what differs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from benchmarks.dedup_sets import load_set, word_shingles
from benchmarks.dedup_systems import write_shards
from pipeline.dataset import Run
from pipeline.session import Settings
from workflows import load, run

HAN = ("\u3400", "\u9fff")
SHOWN_CHARS, BEGINNING_CHARS = 60, 70
MOST_DIFFERENCES = 8


class Pair(NamedTuple):
    """A removed document and its survivor."""

    origin: str
    names: tuple[str, str]
    estimate: float
    jaccard: float
    removed: str
    stays: str


def is_chinese(text: str) -> bool:
    """Three in ten characters are Han and none in twenty is kana."""
    han = sum(HAN[0] <= char <= HAN[1] for char in text)
    kana = sum("\u3040" <= char <= "\u30ff" for char in text)
    return han >= 0.3 * max(1, len(text)) and kana < 0.05 * len(text)


def removed_pairs(origin: str, done: Run, step: str) -> Iterator[Pair]:
    """Chinese near removals of a run."""
    documents = {}
    for table in done[step].documents():
        name = "record_id" if "record_id" in table.column_names else "url"
        rows = zip(*(table[column].to_pylist() for column in ("id", "text", name)), strict=True)
        documents.update({key: (text, label) for key, text, label in rows})
    for shard in done["unique"].shards():
        for row in pq.read_table(shard.file(".removed.parquet")).to_pylist():
            (left, left_name), (right, right_name) = documents[row["id"]], documents[row["rep_id"]]
            if row["kind"] != "exact" and is_chinese(left):
                yield Pair(origin, (left_name, right_name), row["estimate"], jaccard(left, right), left, right)


def jaccard(left: str, right: str) -> float:
    """Exact, over word 5-grams."""
    a, b = (set(word_shingles(text).tolist()) for text in (left, right))
    return len(a & b) / len(a | b)


def run_recipe(folder: Path, steps: dict[str, Any]) -> Run:
    """Run steps inline."""
    path = folder / "recipe.yaml"
    path.write_text(json.dumps({"name": "pairs", "seed": 0, "steps": steps}))  # JSON is YAML
    return run(load(path), folder / "run", settings=Settings(backend="inline", progress="none"))


def from_jsonl(data: Path, name: str) -> list[Pair]:
    """Pairs of a set of documents."""
    rows = [doc for doc in load_set(data, name).docs.values() if is_chinese(doc["text"])]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_shards(folder, rows, 2)
        columns = {"id": "id", "text": "text"}
        read = {"format": "jsonl", "paths": [str(folder / "docs" / "*.jsonl")], "columns": columns}
        steps = {"docs": {"read": read}, "unique": {"from": "docs", "dedup": {}}}
        return list(removed_pairs(name, run_recipe(folder, steps), "docs"))


def from_warc(path: Path) -> list[Pair]:
    """Pairs among the pages of a WARC file."""
    with tempfile.TemporaryDirectory() as place:
        steps = {
            "crawl": {"read": {"format": "warc", "paths": [str(path)]}},
            "pages": {"from": "crawl", "apply": ["extract_html"]},
            "unique": {"from": "pages", "dedup": {}},
        }
        return list(removed_pairs(path.name, run_recipe(Path(place), steps), "pages"))


def chosen(pairs: Sequence[Pair], planted: Sequence[Pair], count: int) -> list[Pair]:
    """Natural ones first, then planted ones evenly over the estimate."""
    wanted = max(0, min(count - len(pairs), len(planted)))
    ordered = sorted(planted, key=lambda pair: (pair.estimate, pair.names))
    return [*pairs[:count], *(ordered[k * len(ordered) // wanted] for k in range(wanted))]


def differences(left: str, right: str) -> Iterator[str]:
    """What was taken from the survivor and put in instead, to make the removed text."""
    matcher = SequenceMatcher(None, right[:20_000], left[:20_000], autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind != "equal":
            yield f"[-{short(right[a:b])}-]{{+{short(left[c:d])}+}}"


def short(text: str) -> str:
    """One line, the middle left out."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARS else f"{line[: SHOWN_CHARS // 2]}…({len(line)})…{line[-SHOWN_CHARS // 2 :]}"


def show(number: int, pair: Pair) -> str:
    """One pair: names, similarity, lengths, the beginning of each, what differs."""
    found = list(differences(pair.removed, pair.stays))
    left = f" … and {len(found) - MOST_DIFFERENCES} more" if len(found) > MOST_DIFFERENCES else ""
    return (
        f"[{number}] {pair.origin}: {pair.names[0]} went for {pair.names[1]}; estimate {pair.estimate:.3f}, "
        f"true {pair.jaccard:.3f}; {len(pair.removed)} and {len(pair.stays)} characters\n"
        f"  removed: {' '.join(pair.removed[:BEGINNING_CHARS].split())}\n"
        f"  stays:   {' '.join(pair.stays[:BEGINNING_CHARS].split())}\n"
        f"  differs: {' '.join(found[:MOST_DIFFERENCES])}{left}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    warc = options.data / "warc" / "debian_handbook_8lang.warc.gz"
    natural = [*from_jsonl(options.data, "natural"), *(from_warc(warc) if warc.exists() else [])]
    planted = from_jsonl(options.data, "throughput")
    pairs = chosen(natural, planted, options.pairs)
    text = "\n".join(show(number, pair) for number, pair in enumerate(pairs, 1))
    total = (
        f"{len(natural)} natural and {len(planted)} planted near removals of Chinese documents; {len(pairs)} shown\n"
    )
    if options.out:
        options.out.write_text(f"{total}\n{text}")
    print(total if options.out else f"{total}\n{text}")


if __name__ == "__main__":
    main()
