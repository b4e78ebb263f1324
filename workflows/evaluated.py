"""Texts that a model is evaluated on, as its own tokens: held-out documents, a step of a run, files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from operators.tokenize.encoder import Encoder
from operators.tokenize.judging.texts import Part, of_files, of_step
from pipeline.dataset import Dataset, Run
from pipeline.errors import UserError
from pipeline.evaluation.perplexity import CHUNK_TOKENS, Texts
from pipeline.evaluation.token_shards import held_out_texts, shard_texts
from pipeline.pretrain.data.corpus import open_corpus
from pipeline.pretrain.data.inputs import token_data
from pipeline.pretrain.training.evaluate import LABELS, UNKNOWN
from pipeline.pretrain.work import Pretrain
from pipeline.work import owner
from workflows.models import Found

_BYTES_PER_TOKEN = 4
"""Of common text and tokenizers, to cut texts into chunks before they are encoded."""


def held_out_of(found: Found, max_documents: int) -> Iterator[Texts]:
    """Documents that were held out from the training of a run's model.

    Raises:
        UserError: the model comes from no run, or its tokens cannot be opened.
    """
    dataset = found.step
    if dataset is None:
        msg = (
            f"{found.name} is no run, so there are no documents that were held out from its training; say on what: "
            "--texts, --run and --step, --choices or --continuations"
        )
        raise UserError(msg)
    run, inputs = dataset.run, dataset.run.nodes[dataset.name]["inputs"]
    fields = run.facts["recipe"][owner(dataset.name)][Pretrain.__name__]
    seed = run.facts["seed"] if fields["seed"] is None else fields["seed"]
    data = token_data(run[inputs["documents"]].shards())
    corpus = open_corpus(data, held_out_fraction=fields["held_out_fraction"], seed=seed)
    return held_out_texts(corpus, max_documents)


def step_texts(found: Found, run: str, step: str, max_documents: int) -> Iterator[Texts]:
    """What a step of a run holds: tokens as they are, or documents, encoded.

    Raises:
        UserError: it holds something else, or tokens of another tokenizer than the model's.
    """
    dataset = Run.open(run)[step]
    if dataset.kind != "tokens":
        return encoded_texts(of_step(run, step), found.encoder, max_documents)
    _check_tokenizer(found, dataset)
    return shard_texts(token_data(dataset.shards()), max_documents)


def file_texts(found: Found, paths: Sequence[Path], max_documents: int) -> Iterator[Texts]:
    """Files of texts, encoded.

    Raises:
        UserError: a file is not there, or its name does not tell what it is.
    """
    return encoded_texts(of_files(paths), found.encoder, max_documents)


def encoded_texts(parts: Sequence[Part], encoder: Encoder, max_documents: int) -> Iterator[Texts]:
    """Texts by the model's tokenizer, the first ones; those that are null or empty do not count."""
    left = max_documents
    for part in parts:
        for table in part():
            texts = table.filter(pc.greater(pc.fill_null(pc.binary_length(table["text"]), 0), 0)).slice(0, left)
            left -= len(texts)
            yield from _encoded(texts, encoder)
            if not left:
                return


def _encoded(table: pa.Table, encoder: Encoder) -> Iterator[Texts]:
    sizes = pc.binary_length(table["text"]).to_numpy().astype(np.int64)
    turns = (np.cumsum(sizes) - sizes) // (CHUNK_TOKENS * _BYTES_PER_TOKEN)
    for turn in np.unique(turns).tolist():
        first, last = np.searchsorted(turns, [turn, turn + 1]).tolist()
        rows = table.slice(first, last - first)
        column = pa.array(rows["text"].to_pylist(), pa.large_string())
        ids, offsets = encoder.encode(column)
        tokens = [ids[begin:end].astype(np.int64) for begin, end in pairwise(offsets.tolist())]
        yield Texts(
            tokens, sizes[first:last], {name: _label(rows, name) for name in LABELS if name in rows.schema.names}
        )


def _label(rows: pa.Table, name: str) -> list[str]:
    return [value or UNKNOWN for value in rows[name].to_pylist()]


def _check_tokenizer(found: Found, dataset: Dataset) -> None:
    shards = dataset.shards()
    made = shards[0].facts["tokenizer_sha256"] if shards else None
    if found.tokenizer is None or made in (None, found.encoder.sha256):
        return
    msg = (
        f"the tokens of step {dataset.name!r} were made by a tokenizer with sha256 {made}, the model's has "
        f"{found.encoder.sha256}: name the step of documents before it, which is then encoded anew"
    )
    raise UserError(msg)
