"""Reads exports back with the trainers' own readers: ``python readers.py TARGET EXPORT EXPECTED [EXPORT EXPECTED ...]``.

Runs in their environment and imports nothing of ours. EXPECTED has a folder a set, with ``00000.npy`` (the tokens of a shard) and ``00000.offsets.npy``.
Prints a line of JSON for each pair: what was compared, and how much of it differed.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

LENGTH = 256
"""Tokens in a window, one more where a trainer takes its targets from the same window."""


@dataclass
class Shard:
    """What an export must give back: one shard of one set."""

    index: int
    tokens: np.ndarray
    offsets: np.ndarray
    prefix: str
    facts: dict[str, Any]

    def documents(self) -> Iterator[np.ndarray]:
        for start, end in zip(self.offsets[:-1], self.offsets[1:], strict=True):
            yield self.tokens[start:end]

    def windows(self, length: int) -> np.ndarray:
        count = len(self.tokens) // length
        return self.tokens[: count * length].reshape(count, length)


@dataclass
class Tally:
    """What was compared. shards: those that a reader found."""

    documents: int = 0
    windows: int = 0
    tokens: int = 0
    different: int = 0
    first: list[str] = field(default_factory=list)

    def one(self, kind: str, found: Any, expected: Any, where: str) -> None:
        """Compare one document or window."""
        found, expected = np.asarray(found).astype(np.int64).ravel(), np.asarray(expected).astype(np.int64).ravel()
        setattr(self, kind, getattr(self, kind) + 1)
        self.tokens += len(expected)
        if not np.array_equal(found, expected):
            self.wrong(f"{kind} {where}: {found[:8].tolist()} for {expected[:8].tolist()}")

    def same(self, found: object, expected: object, what: str) -> None:
        """Compare a number or a name."""
        if found != expected:
            self.wrong(f"{what}: {found!r} for {expected!r}")

    def wrong(self, message: str) -> None:
        self.different += 1
        self.first = [*self.first, message][:5]

    def every(self, kind: str, found: Any, expected: Any, where: str) -> None:
        """Compare all documents or windows of a shard in order, their number too."""
        theirs = iter(found)
        for number, mine in enumerate(expected):
            one = next(theirs, None)
            if one is None:
                self.wrong(f"{where}: no {kind} after {number}")
                return
            self.one(kind, one, mine, f"{where} {number}")
        if next(theirs, None) is not None:
            self.wrong(f"{where}: more {kind} than there are")


def expected(folder: Path) -> list[list[Shard]]:
    """The shards of each set."""
    facts = json.loads((folder / "facts.json").read_text())
    sets = []
    for name in facts["sets"]:
        files = sorted((folder / name).glob("[0-9]*[0-9].npy"))
        prefix = f"{name}/" if facts["split"] else ""
        sets.append(
            [
                Shard(int(path.stem), np.load(path), np.load(path.with_suffix(".offsets.npy")), prefix, facts)
                for path in files
            ]
        )
    return sets


def megatron(root: Path, shards: Sequence[Shard], tally: Tally) -> None:
    """IndexedDataset by document, GPTDataset (one shuffled epoch) by window."""
    from types import SimpleNamespace

    from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
    from megatron.core.datasets.indexed_dataset import IndexedDataset
    from megatron.core.datasets.utils import Split

    arguments = (root / shards[0].prefix / "data_args.txt").read_text().split()
    tally.same(arguments[0::2], [str(len(shard.tokens)) for shard in shards], "weights of data_args.txt")
    facts = shards[0].facts
    tokenizer = SimpleNamespace(
        eod=facts["eos_id"], pad=-1, vocab_size=facts["vocab_size"], unique_identifiers={"class": "expected"}
    )
    for shard, prefix in zip(shards, arguments[1::2], strict=True):
        data = IndexedDataset(prefix)
        tally.every("documents", (data[k] for k in range(len(data))), shard.documents(), prefix)
        if len(shard.tokens) <= LENGTH:
            continue
        config = GPTDatasetConfig(
            random_seed=1, sequence_length=LENGTH, blend=([prefix], None), split="1,0,0", tokenizer=tokenizer,
            reset_position_ids=False, reset_attention_mask=False, eod_mask_loss=False, create_attention_mask=False,
        )  # fmt: skip
        windows = GPTDataset(data, prefix, np.arange(len(data), dtype=np.int32), None, Split.train, config)
        documents = list(shard.documents())
        stream = np.concatenate([documents[k] for k in windows.document_index])
        tally.same(len(windows), (len(stream) - 1) // LENGTH, f"windows of {prefix}")
        for k in range(len(windows)):
            start = int(windows.shuffle_index[k]) * LENGTH
            found = windows[k]
            tally.one(
                "windows", np.append(found["tokens"], found["labels"][-1]), stream[start : start + LENGTH + 1], prefix
            )


def olmo(root: Path, shards: Sequence[Shard], tally: Tally) -> None:
    """Documents by the index and by end marks; windows of NumpyFSLDataset."""
    from olmo_core.data.numpy_dataset import NumpyFSLDataset
    from olmo_core.data.utils import iter_document_indices, load_array_slice

    facts = shards[0].facts
    dtype = getattr(np, facts["dtype"])
    paths = sorted((root / shards[0].prefix).glob("*.npy"))
    for shard, path in zip(shards, paths, strict=True):
        by_index = list(iter_document_indices(path, use_array_if_local=False))
        by_marks = list(iter_document_indices(path, eos_token_id=facts["eos_id"], dtype=dtype))
        tally.same(by_marks, by_index, f"documents of {path.name} by end marks")
        documents = (load_array_slice(path, int(start), int(end), dtype) for start, end in by_index)
        tally.every("documents", documents, shard.documents(), path.name)
    data = NumpyFSLDataset(
        *paths, sequence_length=LENGTH, pad_token_id=0, eos_token_id=facts["eos_id"], vocab_size=facts["vocab_size"],
        dtype=dtype, include_instance_metadata=False,
    )  # fmt: skip
    data.prepare()
    mine = np.concatenate([shard.windows(LENGTH) for shard in shards])
    tally.every("windows", (data[k]["input_ids"] for k in range(len(data))), mine, "NumpyFSLDataset")


def datatrove(root: Path, shards: Sequence[Shard], tally: Tally) -> None:
    """Documents as datatrove's merger reads them, windows and positions of DatatroveFolderDataset."""
    from datatrove.pipeline.tokens.merger import get_data_reader, load_doc_ends
    from datatrove.utils.dataset import DatatroveFolderDataset

    facts = shards[0].facts
    size = np.dtype(facts["dtype"]).itemsize
    folder = root / shards[0].prefix
    for shard, path in zip(shards, sorted(folder.glob("*.ds")), strict=True):
        ends = load_doc_ends(io.BytesIO(Path(f"{path}.index").read_bytes()))
        found = (np.frombuffer(raw, facts["dtype"]) for raw in get_data_reader(path.open("rb"), ends, size))
        tally.every("documents", found, shard.documents(), path.name)
        name, count, _ = Path(f"{path}.metadata").read_text().split("\n")
        tally.same((name.rpartition("|")[2], int(count)), (str(size), len(shard.tokens)), f"metadata of {path.name}")
    data = DatatroveFolderDataset(str(folder), LENGTH, recursive=False, token_size=size, return_positions=True)
    # Padding is end marks, each a document by its mark and together one by the index.
    marks = None if facts["packed"] else facts["eos_id"]
    by_marks = DatatroveFolderDataset(
        str(folder), LENGTH, recursive=False, token_size=size, return_positions=True, positions_from_eos_token_id=marks
    )
    mine = np.concatenate([shard.windows(LENGTH + 1) for shard in shards])

    def windows() -> Iterator[Any]:
        for k in range(len(data)):
            found = data[k]
            if marks is not None:
                same = bool((found["positions"] == by_marks[k]["positions"]).all())
                tally.same(same, True, f"positions of window {k}")
            yield found["input_ids"]

    tally.every("windows", windows(), mine, "DatatroveFolderDataset")


def litgpt(root: Path, shards: Sequence[Shard], tally: Tally) -> None:
    """Windows of litdata's StreamingDataset in order, and of litgpt's own LitData, shuffled for training."""
    from litdata import StreamingDataset, TokensLoader
    from litgpt.data import LitData

    folder = root / shards[0].prefix
    mine = np.concatenate([shard.windows(LENGTH + 1) for shard in shards])
    data = StreamingDataset(str(folder), item_loader=TokensLoader(block_size=LENGTH + 1), shuffle=False)
    tally.every("windows", (data[k] for k in range(len(data))), mine, "StreamingDataset")
    module = LitData(data_path=str(folder), num_workers=0)
    module.connect(batch_size=1, max_seq_length=LENGTH)
    wanted = Counter(row.astype(np.int64).tobytes() for row in mine)
    found = Counter(np.asarray(batch).astype(np.int64).tobytes() for batch in module.train_dataloader())
    tally.same(found == wanted, True, "windows of LitData, in any order")
    tally.windows += sum(found.values())


def nanogpt(root: Path, shards: Sequence[Shard], tally: Tally) -> None:
    """As nanoGPT's train.py: a memmap of 16 bits, windows as int64, the vocabulary from meta.pkl."""
    name = shards[0].prefix.rstrip("/") or "train"
    data = np.memmap(root / f"{name}.bin", dtype=np.uint16, mode="r")
    tokens = np.concatenate([shard.tokens for shard in shards])
    tally.same(len(data), len(tokens), "tokens")
    with (root / "meta.pkl").open("rb") as file:
        tally.same(pickle.load(file), {"vocab_size": shards[0].facts["vocab_size"]}, "meta.pkl")
    for start in range(0, len(data) - LENGTH, LENGTH):
        found = data[start : start + LENGTH + 1].astype(np.int64)
        tally.one("windows", found, tokens[start : start + LENGTH + 1], str(start))
    ends = np.flatnonzero(data == shards[0].facts["eos_id"]) + 1
    documents = (document for shard in shards for document in shard.documents())
    tally.every("documents", np.split(data, ends[:-1]), documents, "by end marks")


def llmc(root: Path, shards: Sequence[Shard], tally: Tally) -> None:
    """As llm.c and modded-nanogpt: the header, the size of the file, documents by the mark before them."""
    facts = shards[0].facts
    name = shards[0].prefix.rstrip("/") or "train"
    wide = facts["dtype"] == "uint32"
    for shard, path in zip(shards, sorted(root.glob(f"tokens_{name}_*.bin")), strict=True):
        header = np.fromfile(path, np.int32, 256)
        tally.same(
            header[:3].tolist(), [20240801 if wide else 20240520, 7 if wide else 1, len(shard.tokens)], path.name
        )
        data = np.fromfile(path, facts["dtype"], offset=1024)
        tally.same(len(data), len(shard.tokens), f"tokens of {path.name}")
        starts = np.flatnonzero(data == facts["eos_id"])
        marks = (np.append(document[1:], document[0]) for document in np.split(data, starts[1:]))
        tally.every("documents", marks, shard.documents(), path.name)


def titan(root: Path, shards: Sequence[Shard], tally: Tally) -> None:
    """As the source for pretokenized data in torchtitan's guide."""
    folder = root / shards[0].prefix
    tokens = np.memmap(folder / "tokens.bin", dtype=np.uint32, mode="r")
    offsets = np.load(folder / "document_offsets.npy")
    found = (np.asarray(tokens[offsets[k] : offsets[k + 1]], dtype=np.int64) for k in range(len(offsets) - 1))
    tally.every("documents", found, (document for shard in shards for document in shard.documents()), "tokens.bin")


def parquet(root: Path, shards: Sequence[Shard], tally: Tally) -> None:
    """Lists of a Parquet column."""
    import pyarrow.parquet as pq

    for shard, path in zip(shards, sorted((root / shards[0].prefix).glob("*.parquet")), strict=True):
        column = pq.read_table(path)["tokens"]
        tally.every("documents", (row.values.to_numpy() for row in column), shard.documents(), path.name)


READERS: dict[str, Callable[[Path, Sequence[Shard], Tally], None]] = {
    "megatron": megatron, "olmo": olmo, "datatrove": datatrove, "litgpt": litgpt, "nanogpt": nanogpt, "llmc": llmc,
    "titan": titan, "parquet": parquet,
}  # fmt: skip


def megatron_blend(root: Path, facts: dict[str, Any], tally: Tally) -> None:
    """The strata in the windows that BlendedDataset draws by data_args.txt: as weighted, up to one a file."""
    from types import SimpleNamespace

    from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
    from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
    from megatron.core.datasets.utils import get_blend_from_list

    prefixes, weights = get_blend_from_list((root / "data_args.txt").read_text().split())
    tokenizer = SimpleNamespace(
        eod=facts["eos_id"], pad=-1, vocab_size=facts["vocab_size"], unique_identifiers={"class": "expected"}
    )
    config = GPTDatasetConfig(
        random_seed=1, sequence_length=LENGTH, blend_per_split=[(prefixes, weights), None, None], tokenizer=tokenizer,
        reset_position_ids=False, reset_attention_mask=False, eod_mask_loss=False, create_attention_mask=False,
    )  # fmt: skip
    windows = facts["drawn"] // LENGTH
    blended, _, _ = BlendedMegatronDatasetBuilder(GPTDataset, [windows, 0, 0], lambda: True, config).build()
    drawn = np.bincount(blended.dataset_index[:windows], minlength=len(prefixes))
    of_set = np.array([facts["sets"].index(Path(prefix).parent.name) for prefix in prefixes])
    for number, (name, weight) in enumerate(zip(facts["sets"], facts["weights"], strict=True)):
        found = int(drawn[of_set == number].sum())
        tally.same(abs(found - weight * windows) <= (of_set == number).sum(), True, f"{found} windows of {name}")


def olmo_mixture(root: Path, facts: dict[str, Any], tally: Tally) -> None:
    """The strata in what SourceMixtureDatasetConfig takes by source_mixture.yaml: as weighted, up to a window a file."""
    import yaml
    from olmo_core.data.source_mixture import SourceMixtureDatasetConfig, SourceMixtureList

    sources = SourceMixtureList.from_dict(yaml.safe_load((root / "source_mixture.yaml").read_text()))
    config = SourceMixtureDatasetConfig(
        source_list=sources, requested_tokens=facts["drawn"], global_batch_size=LENGTH, render_tables=False, quiet=True
    )
    built = config.build(npdtype=getattr(np, facts["dtype"]), sequence_length=LENGTH)
    for source, weight in zip(built.sources, facts["weights"], strict=True):
        found = sum(one.tokens for one in source.path_tokens)
        most = LENGTH * (len(source.path_tokens) + 1)
        tally.same(abs(found - weight * facts["drawn"]) <= most, True, f"{found} tokens of {source.name}")


WHOLE = {"megatron": megatron_blend, "olmo": olmo_mixture}


def main() -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not come between
    target, *places = sys.argv[1:]
    for root, wanted in zip(places[::2], places[1::2], strict=True):
        tally, begun = Tally(), time.process_time()
        try:
            for shards in expected(Path(wanted)):
                READERS[target](Path(root), shards, tally)
            facts = json.loads((Path(wanted) / "facts.json").read_text())
            if facts["weights"]:
                WHOLE[target](Path(root), facts, tally)
        except Exception:
            tally.wrong(traceback.format_exc())
        replies.write(json.dumps({**asdict(tally), "cpu_s": time.process_time() - begun}) + "\n")


if __name__ == "__main__":
    main()
