"""The verbs of a recipe's steps."""

from __future__ import annotations

from operators.classify.train import TrainClassifier
from operators.dedup.lines.verb import DedupLines
from operators.dedup.split.verb import Split
from operators.dedup.substrings.verb import DedupSubstrings
from operators.dedup.verb import Dedup
from operators.tokenize.mixing.mix import Mix
from operators.tokenize.packing.verb import Pack
from operators.tokenize.tokens import Tokenize
from operators.tokenize.training.train import TrainTokenizer
from pipeline.pretrain.work import Pretrain
from pipeline.readers.read import Read
from pipeline.value import Value

VERBS: dict[str, type[Value]] = {
    "read": Read,
    "dedup": Dedup,
    "split": Split,
    "dedup_lines": DedupLines,
    "dedup_substrings": DedupSubstrings,
    "train_tokenizer": TrainTokenizer,
    "train_classifier": TrainClassifier,
    "tokenize": Tokenize,
    "pack": Pack,
    "mix": Mix,
    "pretrain": Pretrain,
}
"""Verb -> the value its parameters make; ``apply`` takes a list of operators instead."""
