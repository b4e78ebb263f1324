"""A trained model as a folder that transformers, and ``sluice generate`` and ``sluice evaluate``, load."""

from __future__ import annotations

import json
import struct
from math import prod
from pathlib import Path
from typing import Any

import orjson
from tokenizers import Tokenizer

from operators.tokenize.exporting.folder import ExportFolder
from operators.tokenize.foreign.files import tokenizer_json
from operators.tokenize.trained_with import tokenizer_of
from pipeline.dataset import Dataset
from pipeline.errors import UserError
from pipeline.pretrain.config import recorded_objective

MODELS = ("huggingface",)
"""What a trained model can be exported to."""


def huggingface(folder: ExportFolder, model: Dataset, tokenizer: Path | None) -> dict[str, int]:
    """``model.safetensors`` and ``config.json``, the run's own, with a tokenizer and settings for greedy search.

    tokenizer: in place of the one that the model's tokens were made with.

    Returns:
        parameters (numbers in the file, a tied head once) and steps.

    Raises:
        UserError: a model that predicts no next token, or no tokenizer, or not the model's.
    """
    _check_objective(model)
    (shard,) = model.shards()
    described = orjson.loads(shard.file(".config.json").read_bytes())
    content = _tokenizer(model, tokenizer, described)
    for suffix, name in ((".safetensors", "model.safetensors"), (".config.json", "config.json")):
        sha256 = next(o.sha256 for o in shard.spec.outputs if o.suffix == suffix and o.folder == "shards")
        folder.link(shard.file(suffix), sha256, name)
    reads = Tokenizer.from_str(content)
    folder.write("tokenizer.json", [content.encode()])
    folder.write("tokenizer_config.json", [_json(_tokenizer_config(reads, described))])
    folder.write("generation_config.json", [_json(_generation_config(reads, described))])
    return {"parameters": _parameters(shard.file(".safetensors")), "steps": int(shard.facts["steps"])}


def _check_objective(model: Dataset) -> None:
    if recorded_objective(model.run.facts, model.name) == "mlm":
        msg = (
            f"step {model.name!r} was trained to fill in masks (objective mlm) and sees both ways; transformers has no such "
            "class of this architecture, and as a causal model it would predict nothing. In Python: "
            "pipeline.pretrain.model.load.load_files"
        )
        raise UserError(msg)


def _tokenizer(model: Dataset, given: Path | None, described: dict[str, Any]) -> str:
    """The content of ``tokenizer.json``, byte by byte that of the file unless it is a SentencePiece model."""
    path = given if given is not None else tokenizer_of(model)
    try:
        content = tokenizer_json(path)
        ids = Tokenizer.from_str(content).get_vocab(with_added_tokens=True).values()
    except Exception as error:  # tokenizers raises that
        msg = f"cannot read a tokenizer from {path}: {error}"
        raise UserError(msg) from error
    eos_id = described["eos_token_id"]
    if max(ids, default=-1) >= described["vocab_size"] or eos_id not in ids:
        msg = (
            f"step {model.name!r} has {described['vocab_size']:,} ids and ends a text by id {eos_id}, which does not go with "
            f"the tokenizer {path}; give the one it was trained with by --tokenizer"
        )
        raise UserError(msg)
    return content


def _tokenizer_config(tokenizer: Tokenizer, described: dict[str, Any]) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokenizer.id_to_token(described["bos_token_id"]),
        "eos_token": tokenizer.id_to_token(described["eos_token_id"]),
        "model_max_length": described["max_position_embeddings"],
        "clean_up_tokenization_spaces": False,
    }


def _generation_config(tokenizer: Tokenizer, described: dict[str, Any]) -> dict[str, Any]:
    """Ids that no text is encoded with, the rows that the embedding is padded by, are never written."""
    texts = set(tokenizer.get_vocab(with_added_tokens=True).values())
    spare = [number for number in range(described["vocab_size"]) if number not in texts]
    return {
        "bos_token_id": described["bos_token_id"],
        "eos_token_id": described["eos_token_id"],
        "pad_token_id": described["eos_token_id"],
        "do_sample": False,
        **({"suppress_tokens": spare} if spare else {}),
    }


def _parameters(weights: Path) -> int:
    """Counted from the header: its length in 8 bytes, then JSON (safetensors' format)."""
    with weights.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = orjson.loads(file.read(size))
    return sum(prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
