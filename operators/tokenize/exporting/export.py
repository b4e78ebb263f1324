"""An export: what a step holds, for another program, in a folder that is there all at once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from operators.dedup.split.draw import Shares
from operators.tokenize.exporting import headers, tables, trainers
from operators.tokenize.exporting.folder import EXPORT_FILE, Exported, ExportFolder
from operators.tokenize.exporting.mixtures import MIXTURES, mixture
from operators.tokenize.exporting.models import MODELS, huggingface
from operators.tokenize.exporting.parts import TRAIN, Part, parts_of
from operators.tokenize.exporting.sequences import SEQUENCES, sequences
from operators.tokenize.trained_with import tokens_of
from pipeline.dataset import Dataset, Run
from pipeline.errors import UserError
from pipeline.fingerprint import FORMAT_VERSION, file_sha256
from pipeline.takedown.generation import PENDING
from pipeline.takedown.suppression import register
from pipeline.value import Value

EXPORTS = "exports"
"""Folder of the run with a record of each export."""

TOKENS: Mapping[str, Callable[[ExportFolder, Sequence[Part], str, str], None]] = {
    "megatron": trainers.megatron, "olmo": trainers.olmo, "nanogpt": trainers.nanogpt, "datatrove": trainers.datatrove,
    "litgpt": headers.litgpt, "llmc": headers.llmc, "titan": trainers.titan, "parquet": tables.token_parquet,
}  # fmt: skip
"""What token shards can be exported to."""

DOCUMENTS = {"parquet": "parquet", "jsonl": "jsonl"}
"""What documents can be exported to, and how their files end."""

_BY_KIND = {
    "tokens": ("tokens", tuple(TOKENS)),
    "sequences": ("packed sequences", SEQUENCES),
    "mixture": ("a mixture", tuple(MIXTURES)),
    "model": ("a trained model", MODELS),
    **dict.fromkeys(("documents", "selection", "source"), ("documents", tuple(DOCUMENTS))),
}
"""Kind of dataset -> what it is called, and what it can be exported to."""
_NOT_EXPORTED = {
    "work": "files internal to its step",
    "artifact": "a tokenizer or a classifier",
}
_OVER = {"sequences": "tokens", "mixture": "documents"}
"""Kind of dataset -> role of the token shards that it points into."""


class Request(Value):
    """What is exported, for whom, and how.

    held_out: sets that documents go to by hash(seed, id), with their shares; the rest is ``train``. links: what stands
    in the export where its bytes are the run's own: a hard link (a copy on another disk), a soft link, or a copy.
    compress: JSON lines as ``.jsonl.zst``.
    """

    step: str
    to: str
    held_out: Shares | None = None
    seed: int = 0
    links: Literal["hard", "soft", "none"] = "hard"
    compress: bool = False


@dataclass(frozen=True)
class Export:
    """What was made. files: of the run's bytes or written. sets: documents and tokens of each. again: it was there."""

    files: tuple[Exported, ...]
    sets: Mapping[str, Mapping[str, int]]
    again: bool


def export(run: Run, request: Request, out: Path, tokenizer: Path | None = None) -> Export:
    """Lay a step out in a folder. The same again finds it there.

    tokenizer: of a model, in place of the one that its tokens were made with.

    Raises:
        UserError: the step is not complete or holds nothing such, the reader cannot take it, the place holds
            something else or lies in the run, or a takedown is under way or came in between.
    """
    out = _outside(run, out.expanduser().absolute())
    generation = register(run.storage).generation
    _check_no_takedown(run, generation)
    dataset = _checked(run, request)
    head = _head(run, dataset, request, tokenizer)
    if (found := _present(out, head)) is not None:
        _record(run, head, out)
        return found
    links = request.links if run.storage.is_local or request.links == "none" else "none"
    with ExportFolder(out, links=links) as folder:
        sets = _fill(folder, dataset, request, tokenizer)
        files = sorted(folder.files, key=lambda file: file.path)
        record = {**head, "sets": sets, "files": [asdict(file) for file in files]}
        # First, so that no export is without its record; one of an export that was killed here does no harm.
        # And before the look at takedowns: one that begins after it finds the record.
        _record(run, head, out)
        _check_no_takedown(run, generation)
        folder.publish(orjson.dumps(record, option=orjson.OPT_INDENT_2))
    return Export(tuple(files), sets, again=False)


def _outside(run: Run, out: Path) -> Path:
    """A takedown does not search exports, but every file in a run's folder, and deletes what no record names."""
    if run.storage.is_local and out.resolve().is_relative_to(Path(run.storage.uri).resolve()):
        msg = f"--out {out} lies in the folder of the run, {run.storage.uri}; give a folder beside it"
        raise UserError(msg)
    return out


def _check_no_takedown(run: Run, generation: int) -> None:
    if run.storage.exists(PENDING):
        msg = (
            f"a takedown of {run.storage.uri} is under way, or did not end; wait for it, or give the same "
            f"`sluice takedown` command again, then export"
        )
        raise UserError(msg)
    if (now := register(run.storage).generation) != generation:
        msg = f"a takedown changed {run.storage.uri} to generation {now} meanwhile; export again"
        raise UserError(msg)


def _checked(run: Run, request: Request) -> Dataset:
    dataset = run[request.step]
    if dataset.kind not in _BY_KIND:
        fit = [name for name in run.steps if run.nodes[name]["kind"] in _BY_KIND]
        holds = _NOT_EXPORTED[dataset.kind]
        msg = f"step {request.step!r} holds {holds}, which is not exported; steps that are: {', '.join(fit)}"
        raise UserError(msg)
    holds, takes = _BY_KIND[dataset.kind]
    if request.to not in takes:
        fit = [name for name in run.steps if request.to in _BY_KIND.get(run.nodes[name]["kind"], ("", ()))[1]]
        instead = f", or for {request.to} another step: {', '.join(fit)}" if fit else ""
        msg = f"step {request.step!r} holds {holds}, exported to {', '.join(takes)}; give one of them{instead}"
        raise UserError(msg)
    if not dataset.complete:
        msg = f"step {request.step!r} is not complete; run the recipe to its end, then export"
        raise UserError(msg)
    if request.held_out and dataset.kind == "model":
        msg = f"--split is for documents and tokens, step {request.step!r} holds {holds}; leave it out"
        raise UserError(msg)
    if request.held_out and dataset.kind in _OVER:
        msg = f"--split is for documents and tokens, step {request.step!r} holds {holds}; a `split` step before it holds out"
        raise UserError(msg)
    return dataset


def _over(dataset: Dataset) -> Dataset | None:
    """The token shards that a step points into, or that a model was trained on."""
    if dataset.kind == "model":
        try:
            return dataset.run[tokens_of(dataset.run, dataset.name)]
        except UserError:  # none in this run
            return None
    role = _OVER.get(dataset.kind)
    return None if role is None else dataset.run[dataset.run.nodes[dataset.name]["inputs"][role]]


def _head(run: Run, dataset: Dataset, request: Request, tokenizer: Path | None) -> dict[str, Any]:
    """What tells one export from another.

    over: the dataset whose tokens are exported, or were trained on, where it is not the step's own.
    """
    over = _over(dataset)
    of_model = dataset.kind == "model"  # its tokens may change later, it stays as it is
    folders = [one.folder for one in (dataset, None if of_model else over) if one is not None]
    manifests = b"".join(run.storage.read_bytes(f"{folder}/manifest.json") for folder in folders)
    options = {**request.model_dump(mode="json", exclude={"step", "to"}), "held_out": dict(request.held_out or ())}
    if tokenizer is not None:
        options["tokenizer_sha256"] = file_sha256(tokenizer)
    return {
        "format_version": FORMAT_VERSION,
        "run": run.storage.uri,
        "step": request.step,
        "dataset": dataset.folder,
        "over": None if over is None else over.folder,
        "manifest_sha256": hashlib.sha256(manifests).hexdigest(),
        "generation": int(((dataset if of_model else over or dataset).manifest or {}).get("generation", 1)),
        "to": request.to,
        "options": options,
    }


def _present(out: Path, head: Mapping[str, Any]) -> Export | None:
    """The export that stands there already, whole; None where none of a step's stands there."""
    path = out / EXPORT_FILE
    if not path.is_file():
        return None
    there = orjson.loads(path.read_bytes())
    other = [key for key, value in head.items() if there.get(key) != value]
    if other:
        other = [key for key in other if key != "manifest_sha256"] or other
        told = "; ".join(f"{key} {there.get(key)!r}, asked for {head[key]!r}" for key in other)
        msg = f"{out} holds another export: {told}; remove it, or give another --out"
        raise UserError(msg)
    files = tuple(Exported(**file) for file in there["files"])
    damaged = [f.path for f in files if not (out / f.path).is_file() or (out / f.path).stat().st_size != f.bytes]
    if damaged:
        msg = f"{out} is not whole: {', '.join(damaged[:3])} is missing or cut off; remove it and export again"
        raise UserError(msg)
    return Export(files, there["sets"], again=True)


def _fill(
    folder: ExportFolder, dataset: Dataset, request: Request, tokenizer: Path | None
) -> dict[str, dict[str, int]]:
    """Write every set; returns what each holds."""
    if dataset.kind == "model":
        return {"model": huggingface(folder, dataset, tokenizer)}
    if _BY_KIND[dataset.kind][1] == tuple(DOCUMENTS):
        form = DOCUMENTS[request.to] + (".zst" if request.compress and request.to == "jsonl" else "")
        counts = tables.documents(folder, dataset.shards(), form, request.held_out, request.seed)
        return {name: {"documents": count} for name, count in counts.items()}
    if dataset.kind == "sequences":
        return {TRAIN: sequences(folder, dataset, request.to)}
    if (source := _over(dataset)) is not None:
        return _counts(mixture(folder, dataset, source, request.to))
    sets = parts_of(dataset.shards(), request.held_out, request.seed)
    for name, parts in sets.items():
        if not parts:
            remedy = "give a larger share" if request.held_out else "there is nothing to export"
            msg = f"set {name!r} is empty: step {request.step!r} has {dataset.ledger.kept.docs:,} documents; {remedy}"
            raise UserError(msg)
        prefix = f"{name}/" if request.held_out else ""
        TOKENS[request.to](folder, parts, prefix, f"sluice-{parts[0].facts['tokenizer_sha256'][:16]}")
    return _counts(sets)


def _counts(sets: Mapping[str, Sequence[Part]]) -> dict[str, dict[str, int]]:
    return {
        name: {"documents": sum(part.num_documents for part in parts), "tokens": sum(part.num_tokens for part in parts)}
        for name, parts in sets.items()
    }


def _record(run: Run, head: Mapping[str, Any], out: Path) -> None:
    """Note the export in the run, so that a takedown can tell who has copies."""
    keyed = {**head, "out": str(out)}
    name = hashlib.sha256(orjson.dumps(keyed, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
    path = f"{EXPORTS}/{name}.json"
    if run.storage.exists(path):
        return
    data = orjson.dumps({**keyed, "time": time.time()}, option=orjson.OPT_INDENT_2)
    try:
        run.storage.write_bytes(path, data)
    except PermissionError as error:
        msg = f"{run.storage.uri}/{path} cannot be written ({error.strerror}); a run keeps a record of each export, so that a takedown finds it"
        raise UserError(msg) from error
