"""The tokenizer of a trained model: the one that the tokens it read were made with."""

from __future__ import annotations

from pathlib import Path

from operators.tokenize.encoder import Encoder
from operators.tokenize.tokens import Tokenize
from pipeline.dataset import Dataset, Run
from pipeline.errors import UserError
from pipeline.work import owner


def tokenizer_of(model: Dataset) -> Path:
    """The tokenizer that the tokens a model was trained on were made with.

    Raises:
        UserError: it is gone, or another one now.
    """
    run = model.run
    tokens = tokens_of(run, model.name)
    of = run.facts["recipe"][owner(tokens)][Tokenize.__name__]["tokenizer"]["Artifact"]
    if of["step"] is not None:
        made = run[of["step"]].shards()
        path = made[0].file(".json") if made else None
    else:
        path = Path(of["file"])
    if path is None or not path.is_file():
        msg = f"{run.storage.uri}: the tokenizer of step {tokens!r}, {path or of['step']}, is gone; give it by --tokenizer"
        raise UserError(msg)
    shards = run[tokens].shards()
    wanted = shards[0].facts.get("tokenizer_sha256") if shards else None
    found = Encoder.load(path, "tokenizers").sha256
    if wanted is not None and found != wanted:
        msg = (
            f"the tokenizer {path} has sha256 {found}, and the tokens of step {tokens!r} were made with {wanted}; put it "
            "back, or give that one by --tokenizer"
        )
        raise UserError(msg)
    return path


def tokens_of(run: Run, name: str) -> str:
    """The step of the tokens that a model's inputs come from.

    Raises:
        UserError: there is none.
    """
    ahead = [name]
    while ahead:
        node = ahead.pop(0)
        if Tokenize.__name__ in run.facts["recipe"].get(owner(node), {}):
            return owner(node)
        ahead += run.nodes[node]["inputs"].values()
    msg = f"no tokens step before {name!r} in {run.storage.uri}; give the tokenizer by --tokenizer"
    raise UserError(msg)
