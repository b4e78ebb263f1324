"""What steps need of the tokenizers they name, against the recipe's own training steps and the files there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from operators.tokenize.encoder import Encoder
from operators.tokenize.foreign.files import tokenizer_json
from operators.tokenize.packing.infill import Fim
from operators.tokenize.packing.spelling import spelling
from operators.tokenize.packing.verb import Pack
from operators.tokenize.tokens import Tokenize
from operators.tokenize.training.train import TrainTokenizer
from pipeline.errors import UserError
from pipeline.value import Artifact
from pipeline.work import owner
from pipeline.workflow import Step

Place = tuple[str, ...]
"""Keys below ``steps`` in a recipe."""
Steps = Mapping[str, Step]

_NAMED = 20
"""Special tokens named in a sentence."""


def unfit(steps: Sequence[Step]) -> Iterator[tuple[Place, str]]:
    """Tokenizers that lack what a step needs of them, or are not those of its tokens: place and sentence.

    Files are read; one that is not there is said elsewhere. What a step will train has the special tokens of its recipe.
    """
    by_name = {step.name: step for step in steps}
    for step in steps:
        place: Place = (step.name, "tokenize")
        try:
            if isinstance(step.verb, Tokenize):
                _check_eos(step.verb, by_name)
            elif isinstance(step.verb, Pack) and step.verb.fim is not None:
                place = (step.name, "pack", "fim")
                _check_fim(step.verb.fim, step, by_name)
        except UserError as error:
            yield place, f"step {step.name!r}: {error}"


def _check_eos(verb: Tokenize, by_name: Steps) -> None:
    encoder, trained = _encoder(verb.tokenizer), _trained(verb.tokenizer, by_name)
    if encoder is not None:
        try:
            encoder.token_id(verb.eos)
        except UserError as error:
            msg = f"eos: {error} (tokenizer {verb.tokenizer.file})"
            raise UserError(msg) from error
    elif trained is not None and verb.eos not in trained.special_tokens:
        msg = (
            f"eos: {verb.eos!r} is none of the special_tokens of step {verb.tokenizer.step!r}, which ends documents with "
            f"the first of them; write eos: {trained.special_tokens[0]!r}, or add it to them"
        )
        raise UserError(msg)


def _check_fim(fim: Fim, step: Step, by_name: Steps) -> None:
    encoder, trained = _encoder(fim.tokenizer), _trained(fim.tokenizer, by_name)
    _check_same(fim, step, by_name)
    if encoder is not None:
        spelling(tokenizer_json(fim.tokenizer.file or ""))
        _check_marks(fim, list(encoder.special_tokens), f"tokenizer {fim.tokenizer.file}")
    elif trained is not None:
        if trained.algorithm != "byte_bpe":
            msg = (
                f"fim cuts texts at characters, so it needs a byte-level tokenizer, and step {fim.tokenizer.step!r} trains "
                f"{trained.algorithm}; give that step algorithm: byte_bpe, or leave fim out"
            )
            raise UserError(msg)
        _check_marks(fim, trained.special_tokens, f"step {fim.tokenizer.step!r}")


def _check_same(fim: Fim, step: Step, by_name: Steps) -> None:
    """The tokenizer of ``fim`` is that of the tokens. A file and a step may hold the same: that shows when it is made."""
    tokens = by_name.get(owner(step.source or ""))
    if tokens is None or not isinstance(tokens.verb, Tokenize):
        return
    theirs = tokens.verb.tokenizer
    ours, made = _encoder(fim.tokenizer), _encoder(theirs)
    if ours is not None and made is not None:
        same = ours.sha256 == made.sha256
    else:
        same = not (fim.tokenizer.step and theirs.step) or _alike(fim.tokenizer.step, theirs.step, by_name)
    if not same:
        wanted = f"{{step: {theirs.step}}}" if theirs.step else f"{{file: {theirs.file}}}"
        msg = (
            f"fim.tokenizer is {fim.tokenizer.step or fim.tokenizer.file}, but the tokens of step {tokens.name!r} are made "
            f"by {theirs.step or theirs.file}; write fim: {{tokenizer: {wanted}}}"
        )
        raise UserError(msg)


def _alike(one: str, other: str, by_name: Steps) -> bool:
    """Whether two steps train the same: they are one, or take the same documents with the same parameters."""
    first, second = by_name.get(owner(one)), by_name.get(owner(other))
    if one == other or first is None or second is None:  # one that does not exist is said elsewhere
        return True
    return (first.source, first.verb) == (second.source, second.verb)


def _check_marks(fim: Fim, special_tokens: Sequence[str], of: str) -> None:
    missing = [token for token in (fim.prefix, fim.suffix, fim.middle) if token not in special_tokens]
    if missing:
        more = f" and {len(special_tokens) - _NAMED} more" if len(special_tokens) > _NAMED else ""
        known = f"it has {', '.join(sorted(special_tokens)[:_NAMED])}{more}" if special_tokens else "it has none"
        msg = (
            f"fim: {', '.join(missing)} {'are' if len(missing) > 1 else 'is'} no special token of {of} ({known}); train "
            f"with special_tokens that hold {'them' if len(missing) > 1 else 'it'}, or name others by prefix, suffix and "
            f"middle"
        )
        raise UserError(msg)


def _trained(tokenizer: Artifact, by_name: Steps) -> TrainTokenizer | None:
    step = by_name.get(owner(tokenizer.step or ""))
    return step.verb if step is not None and isinstance(step.verb, TrainTokenizer) else None


def _encoder(tokenizer: Artifact) -> Encoder | None:
    """The tokenizer of a file, with the library itself, which needs no trial of engines.

    Raises:
        UserError: the file holds none.
    """
    if tokenizer.file is None or not Path(tokenizer.file).is_file():
        return None
    return Encoder.of(tokenizer, "tokenizers")
