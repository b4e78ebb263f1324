"""Steps that stream from what only is there when everything is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from operators.tokenize.mixing.mix import Mix
from operators.tokenize.packing.verb import Pack
from operators.tokenize.tokens import Tokenize
from pipeline.pretrain.work import Pretrain
from pipeline.work import owner
from pipeline.workflow import Step

Place = tuple[str, ...]
"""Keys below ``steps`` in a recipe."""


def not_streamed(steps: Sequence[Step]) -> Iterator[tuple[Place, str]]:
    """Trainings whose input cannot come shard by shard, as far as the recipe alone says it: place and sentence."""
    by_name = {step.name: step for step in steps}
    for step in steps:
        above = by_name.get(owner(step.source or ""))
        if not isinstance(step.verb, Pretrain) or step.verb.streaming is None or above is None:
            continue
        why = _why_not(above)
        if why is not None:
            text = f"step {step.name!r}: {why}; leave `streaming` out, or {_remedy(above)}"
            yield (step.name, "pretrain", "streaming"), text


def _why_not(above: Step) -> str | None:
    match above.verb:
        case Mix():
            return f"{above.name!r} plans what to draw once all tokens are counted, so nothing could be streamed"
        case Pack():
            return f"{above.name!r} packs sequences once all tokens are there, so nothing could be streamed"
        case Tokenize(tokens_per_shard=None, shuffle=None):
            return None
        case Tokenize():
            return f"{above.name!r} puts token shards together once all documents are encoded, so nothing could be streamed"
        case _:
            return None  # what holds no tokens is said elsewhere


def _remedy(above: Step) -> str:
    if isinstance(above.verb, Tokenize):
        return f"leave tokens_per_shard and shuffle out of step {above.name!r}"
    return f"write `from: {above.source}`"
