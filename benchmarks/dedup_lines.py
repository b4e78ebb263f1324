r"""Line and sentence dedup beside datatrove's sentence dedup and beside a Python dict of line hashes.

    python benchmarks/dedup_lines.py throughput/base.jsonl.zst --peer .peers/datatrove/bin/python \
        --differences dedup/natural_docs.jsonl.zst dedup/versions_docs.jsonl.zst

The path is a .jsonl.zst with ``text``. Times are CPU seconds of one thread; each round is a first pass over new Arrow
tables or a new process; kernels and tokenizers are loaded before.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
import zstandard

from operators.dedup.lines.verb import DedupLines
from operators.kernels.segmentation import forget, segments
from pipeline.documents import ID_TYPE
from pipeline.work import Extent, Result, ShardWork, StreamWork, Task

_BATCH = 2000
_PEER = Path(__file__).parent / "peers" / "datatrove_sentences.py"

_PYTHON = "Python: Counter of xxh3-64 of lines"

C4 = DedupLines(unit="sentences", keep="first", min_documents=2)
STEPS = {
    "lines": DedupLines(),
    "paragraphs": DedupLines(unit="paragraph"),
    "C4's sentences": C4,
}


def read(path: Path) -> list[str]:
    """The texts."""
    with path.open("rb") as raw:
        stream = zstandard.ZstdDecompressor().stream_reader(raw)
        return [json.loads(line)["text"] for line in io.TextIOWrapper(stream, encoding="utf-8")]


def tables(texts: Sequence[str]) -> list[pa.Table]:
    """New tables; ids ascend, so that the first document is the one that keeps a unit, as in datatrove."""
    made = []
    for first in range(0, len(texts), _BATCH):
        part = texts[first : first + _BATCH]
        ids = pa.array([(first + k).to_bytes(16, "big") for k in range(len(part))], ID_TYPE)
        made.append(pa.table({"id": ids, "text": pa.array(part, pa.large_string())}))
    return made


class Shard:
    """Documents in memory, or the files of a task."""

    def __init__(self, docs: Sequence[pa.Table], result: Result | None = None) -> None:
        self.index = 0
        self._docs = docs
        self.facts = result.facts if result else {}
        self._files = {o.suffix: o.path for o in result.outputs if o.folder == "shards"} if result else {}

    def documents(self) -> Sequence[pa.Table]:
        """The batches."""
        return self._docs

    def file(self, suffix: str) -> Path:
        """A file of the task."""
        return self._files[suffix]


def run_step(verb: DedupLines, docs: Sequence[pa.Table], folder: Path) -> tuple[dict[str, float], list[Result]]:
    """CPU seconds of each node over one shard, and what they made."""
    done, spent, results = {"docs": Shard(docs)}, {}, []
    for node in verb.nodes("step", "docs", 0):
        (folder / node.name).mkdir(parents=True)
        inputs = {role: [done[name]] for role, name in node.inputs.items()}
        task = Task(node.name, 0, inputs, folder / node.name)
        node.work.tasks({role: Extent(1) for role in inputs})
        sink = node.work.open(task) if isinstance(node.work, StreamWork) else None  # loads the kernels
        start = time.thread_time()
        if sink is not None:
            for batch in docs:
                sink.add(batch)
            results.append(sink.close())
        elif isinstance(node.work, ShardWork):
            results.append(node.work.run(task))
        spent[node.name.partition(".")[2] or "removal"] = time.thread_time() - start
        done[node.name] = Shard((), results[-1])
    return spent, results


def python_dict(texts: Sequence[str]) -> int:
    """How many documents hold each line, as one would write it: stripped, lower case, xxh3-64."""
    documents: Counter[int] = Counter()
    for text in texts:
        stripped = (line.strip() for line in text.split("\n"))
        documents.update({xxhash.xxh3_64_intdigest(line.lower().encode()) for line in stripped if len(line) >= 12})
    return len(documents)


def borders(text: str) -> list[tuple[int, int]]:
    """Our sentences, in characters."""
    spans = segments(pa.table({"text": pa.array([text], pa.large_string())})).spans("sentences")
    raw, found, chars, position = text.encode(), [], 0, 0
    for first, size in zip(spans.start.tolist(), spans.size.tolist(), strict=True):
        chars += len(raw[position:first].decode())
        length = len(raw[first : first + size].decode())
        found.append((chars, chars + length))
        chars, position = chars + length, first + size
    return found


def peer(python: str, texts: Sequence[str], folder: Path, *options: str) -> tuple[dict[str, float], list[str | None]]:
    """CPU seconds of datatrove's stages in a process of its own, and the texts it leaves."""
    folder.mkdir()
    with (folder / "docs.jsonl").open("w", encoding="utf-8") as file:
        for text in texts:
            file.write(json.dumps({"text": text, "borders": borders(text)}) + "\n")
    environment = {**os.environ, "NLTK_DATA": str(Path(python).parents[2] / "nltk_data")}
    out = subprocess.run(
        [python, str(_PEER), str(folder), *options], check=True, capture_output=True, env=environment, text=True
    )
    kept = [json.loads(line) for line in (folder / "kept.jsonl").open(encoding="utf-8")]
    return json.loads(out.stdout.splitlines()[-1]), kept


def speed(texts: Sequence[str], python: str | None, share: int, rounds: int) -> None:
    """Print CPU seconds and MB/s of both sides; datatrove gets every ``share``-th text."""
    fewer = texts[::share]
    size, fewer_size = (sum(len(text.encode()) for text in some) / 1e6 for some in (texts, fewer))
    print(f"{len(texts)} documents, {size:.1f} MB; datatrove gets {len(fewer)}, {fewer_size:.1f} MB")
    rates: dict[str, float] = {}

    def note(name: str, megabytes: float, seconds: float) -> None:
        rates[name] = max(rates.get(name, 0.0), megabytes / seconds)

    for number in range(rounds):
        with TemporaryDirectory() as temporary:
            for name, verb in STEPS.items():
                forget()
                spent, results = run_step(verb, tables(texts), Path(temporary) / name)
                for node, seconds in spent.items():
                    note(f"{name}: {node}", size, seconds)
                if number == 0:
                    counts, frequent = results[0], results[1]
                    stored = counts.outputs[0].path.stat().st_size
                    print(f"  {name}: {counts.facts}, {stored / len(texts):.0f} bytes a document, {frequent.facts}")
            start = time.thread_time()
            python_dict(texts)
            note(_PYTHON, size, time.thread_time() - start)
            for label, options in (("our borders", ()), ("its splitter", ("--own-borders",))) if python else ():
                spent, _ = peer(python or "", fewer, Path(temporary) / label, *options, "--own-folding")
                for stage, seconds in spent.items():
                    note(f"datatrove, {label}: {stage}", fewer_size, seconds)
    print(f"  MB/s of CPU time, one thread, best of {rounds}")
    for name, rate in rates.items():
        print(f"  {name:45} {rate:8.1f}")
    print(f"  lines, ours / Python: {rates['lines: units'] / rates[_PYTHON]:.1f}")
    if python:
        ratios = [
            rates["C4's sentences: units"] / rates[f"datatrove, {of}: signatures"]
            for of in ("its splitter", "our borders")
        ]
        print(
            f"  signatures of sentences, ours / datatrove: {ratios[0]:.0f}, with our borders given to it {ratios[1]:.0f}"
        )


def solid(text: str | None) -> str:
    """What is no blank."""
    return "".join((text or "").split())


def differences(texts: Sequence[str], python: str) -> None:
    """Print how the texts that both leave differ, sentences and their comparison being the same."""
    exact = DedupLines(unit="sentences", keep="first", min_documents=2, fold=False)
    with TemporaryDirectory() as temporary:
        _, results = run_step(exact, tables(texts), Path(temporary) / "ours")
        _, theirs = peer(python, texts, Path(temporary) / "theirs")
        ours: list[str | None] = [None] * len(texts)
        for output in results[-1].outputs:
            if output.folder == "shards":
                for row in pq.read_table(output.path).to_pylist():
                    ours[int.from_bytes(row["id"], "big")] = row["text"]
    changed = [k for k, text in enumerate(texts) if solid(ours[k]) != solid(text)]
    changed_theirs = [k for k, text in enumerate(texts) if solid(theirs[k]) != solid(text)]
    unlike = [k for k in range(len(texts)) if solid(ours[k]) != solid(theirs[k])]
    fewer = [k for k in unlike if len(solid(theirs[k])) < len(solid(ours[k]))]
    print(f"  {len(texts)} documents: {len(changed)} changed by us, {len(changed_theirs)} by datatrove")
    print(f"  {len(unlike)} end unlike; in {len(fewer)} of them datatrove leaves less")
    for name, left in (("input", texts), ("ours", ours), ("datatrove", theirs)):
        print(f"    {name}: {lost(texts, left)}")
    for k in unlike[:5]:
        digest = hashlib.sha256(texts[k].encode()).hexdigest()[:8]
        print(
            f"    document {k} ({digest}): {len(texts[k])} characters, ours {len(ours[k] or '')}, theirs {len(theirs[k] or '')}"
        )


def lost(texts: Sequence[str], left: Sequence[str | None]) -> str:
    """How many distinct three-sentence spans there were, and how many of those are nowhere whole any more."""

    def spans(some: Sequence[str | None]) -> Counter[tuple[str, ...]]:
        found: Counter[tuple[str, ...]] = Counter()
        for text in some:
            cut = [(text or "")[first:last].strip() for first, last in borders(text or "")]
            found.update(tuple(cut[k : k + 3]) for k in range(len(cut) - 2))
        return found

    before, after = spans(texts), spans(left)
    repeated = sum(number > 1 for number in after.values())
    again = {span for span, number in before.items() if number > 1}
    return f"{repeated} distinct spans occur more than once, {len(again - after.keys())} repeated ones of the input are gone"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", type=Path, nargs="?", help="for speed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", type=int, default=20, help="datatrove gets every SHAREth document (default 20)")
    parser.add_argument("--peer", help="Python of an environment with datatrove")
    parser.add_argument("--differences", nargs="*", type=Path, default=[], help="sets to compare the texts left of")
    arguments = parser.parse_args()
    if arguments.path:
        speed(read(arguments.path), arguments.peer, arguments.share, arguments.rounds)
    for path in arguments.differences:
        print(path.name)
        differences(read(path), arguments.peer)


if __name__ == "__main__":
    main()
