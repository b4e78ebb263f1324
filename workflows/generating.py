"""Commands that use a trained model: ``generate``."""

# As in workflows.cli, each command imports what it runs when it runs.

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

generating = typer.Typer()

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="RUN, RUN:STEP, or a folder with model.safetensors, config.json and tokenizer.json.",
        show_default=False,
    ),
]
Tokenizer = Annotated[
    Path | None,
    typer.Option(help="tokenizer.json or SentencePiece model.", show_default="the run's, or that of the folder"),
]


class Device(StrEnum):
    """What the model runs on."""

    CPU = "cpu"
    CUDA = "cuda"


@generating.command()
def generate(  # noqa: PLR0913  # the options of a command
    model: Model,
    *,
    prompt: Annotated[
        list[str] | None, typer.Option(help="A text to continue; may be given several times.", show_default=False)
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON lines with a field prompt; - is standard input.", show_default=False),
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of a continuation.")] = 128,
    min_new_tokens: Annotated[int, typer.Option(min=0, help="No end before that many.")] = 0,
    temperature: Annotated[
        float | None,
        typer.Option(min=0, help="Divides the logits; 0: greedy.", show_default="1 where drawn, else greedy"),
    ] = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="Draw from the k likeliest tokens.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw from the fewest with this probability.")] = None,
    min_p: Annotated[float | None, typer.Option(help="Draw from those with this share of the best one's.")] = None,
    repetition_penalty: Annotated[float, typer.Option(help="Divides logits of tokens that were there.")] = 1.0,
    presence_penalty: Annotated[float, typer.Option(help="Taken from logits of tokens it wrote.")] = 0.0,
    frequency_penalty: Annotated[float, typer.Option(help="The same for each time it wrote them.")] = 0.0,
    no_repeat_ngram: Annotated[int, typer.Option(min=0, help="No n tokens come twice; 0: they may.")] = 0,
    beams: Annotated[int, typer.Option(min=1, help="Beam search with so many.")] = 1,
    length_penalty: Annotated[float, typer.Option(min=0, help="Alpha of ((5 + length) / 6)^alpha for beams.")] = 1.0,
    all_beams: Annotated[bool, typer.Option("--all-beams", help="All of them, not the best alone.")] = False,
    samples: Annotated[int, typer.Option(min=1, help="Continuations drawn of each prompt.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn.")] = 0,
    stop: Annotated[
        list[str] | None, typer.Option(help="Ends a continuation before this text; may be given several times.")
    ] = None,
    smaller: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A smaller model for contrastive decoding.")
    ] = None,
    alpha: Annotated[float, typer.Option(help="Contrastive: least share of the best token's probability.")] = 0.1,
    smaller_temperature: Annotated[float, typer.Option(help="Contrastive: divides the smaller one's logits.")] = 1.0,
    tokenizer: Tokenizer = None,
    begin: Annotated[bool, typer.Option(help="Put the model's begin mark before a prompt.")] = True,
    prefix: Annotated[
        bool | None,
        typer.Option(
            "--prefix/--causal",
            help="Tokens of a prompt see each other both ways, or only those before.",
            show_default="as a run trained it, else causal",
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Texts that go through the model together.")] = 16,
    device: Annotated[Device, typer.Option(help="What the model runs on.")] = Device.CPU,
    as_json: Annotated[bool, typer.Option("--json", help="One object a continuation, a line each.")] = False,
) -> None:
    """Continue texts with a trained model: greedy, by beams, drawn, or against a smaller model."""
    from workflows.commands.generate import Asked, Contrast, print_continuations

    options = {
        "max_new_tokens": max_new_tokens, "min_new_tokens": min_new_tokens, "temperature": temperature,
        "top_k": top_k, "top_p": top_p, "min_p": min_p, "repetition_penalty": repetition_penalty,
        "presence_penalty": presence_penalty, "frequency_penalty": frequency_penalty,
        "no_repeat_ngram": no_repeat_ngram, "beams": beams, "length_penalty": length_penalty, "samples": samples,
        "seed": seed,
    }  # fmt: skip
    asked = Asked(
        model,
        tuple(prompt or ()),
        prompts,
        options,
        stop=tuple(stop or ()),
        contrast=None if smaller is None else Contrast(smaller, alpha, smaller_temperature),
        tokenizer=tokenizer,
        begin=begin,
        prefix=prefix,
        batch_rows=batch,
        device=device.value,
        all_beams=all_beams,
    )
    print_continuations(asked, as_json=as_json)
