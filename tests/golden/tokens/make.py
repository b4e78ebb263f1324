"""Write index files with the readers' own writers; see README.md."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
NUM_DOCUMENTS = 60


def documents(dtype: str) -> list[np.ndarray]:
    """Tokens of each document, end mark 0 last: lengths 2 to 301, ids up to the largest that each width stores."""
    largest = 65_499 if dtype == "uint16" else 131_071
    lengths = [2 + (37 * k * k) % 300 for k in range(NUM_DOCUMENTS)]
    return [
        np.array([*(1 + (7919 * (k + 1) * (j + 1)) % largest for j in range(n - 1)), 0], dtype)
        for k, n in enumerate(lengths)
    ]


def document_ids() -> list[bytes]:
    """16 bytes a document."""
    return [bytes((k * 31 + j * 17) % 256 for j in range(16)) for k in range(NUM_DOCUMENTS)]


def payload(dtype: str, path: Path) -> None:
    """Note the hash of the payload that a writer made, which is the same for all of them, and delete it."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    noted = HERE / f"payload.{dtype}.sha256"
    assert not noted.exists() or noted.read_text() == f"{found}\n"
    noted.write_text(f"{found}\n")
    path.unlink()


def megatron(dtype: str) -> None:
    """By ``megatron.core.datasets.indexed_dataset.IndexedDatasetBuilder``."""
    import torch
    from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

    builder = IndexedDatasetBuilder(str(HERE / "scratch.bin"), dtype=np.uint16 if dtype == "uint16" else np.int32)
    for tokens in documents(dtype):
        builder.add_document(torch.from_numpy(tokens.astype(np.int64)), [len(tokens)])
    builder.finalize(str(HERE / f"megatron.{dtype}.idx"))
    payload(dtype, HERE / "scratch.bin")


def datatrove(dtype: str) -> None:
    """By ``datatrove.pipeline.tokens.tokenizer.TokenizedFile``."""
    from datatrove.io import get_datafolder
    from datatrove.pipeline.tokens.tokenizer import TokenizedFile

    folder = HERE / "scratch"
    file = TokenizedFile(
        get_datafolder(str(folder)), "tokens.ds", save_index=True, upload_block_size=None,
        tokenizer_name_or_path="sluice-abc", token_size=2 if dtype == "uint16" else 4,
    )  # fmt: skip
    for tokens in documents(dtype):
        file.write(tokens.tolist(), None)
    file.write_final_metadata()
    file.close()
    (folder / "tokens.ds.index").rename(HERE / f"datatrove.{dtype}.ds.index")
    (folder / "tokens.ds.metadata").rename(HERE / f"datatrove.{dtype}.ds.metadata")
    payload(dtype, folder / "tokens.ds")
    folder.rmdir()


def olmo(dtype: str) -> None:
    """By ``dolma.tokenizer.memmap_writer.MemmapWriter``, which makes what OLMo-core trains on."""
    from dolma.tokenizer.data_types import TokenizerOutput
    from dolma.tokenizer.memmap_writer import MemmapWriter

    size = sum(len(tokens) for tokens in documents(dtype))  # the writer takes fewer than max_tokens
    with MemmapWriter(str(HERE / f"olmo.{dtype}"), dtype=np.dtype(dtype), max_tokens=size + 1) as writer:
        for key, tokens in zip(document_ids(), documents(dtype), strict=True):
            assert writer.write(TokenizerOutput(key.hex(), "file", 0, tokens.tolist(), 0, len(tokens)))
    payload(dtype, HERE / f"olmo.{dtype}.npy")


if __name__ == "__main__":
    for width in ("uint16", "uint32"):
        {"megatron": megatron, "datatrove": datatrove, "olmo": olmo}[sys.argv[1]](width)
