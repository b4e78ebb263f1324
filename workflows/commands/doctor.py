"""``sluice doctor``: is this machine, and this installation, fit for a run?"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import typer

from pipeline.errors import RunFailedError, UserError
from pipeline.ownership import check_packages, package_root
from pipeline.report.units import size
from pipeline.session import freeze_inputs, versions
from pipeline.storage import Storage, probe
from workflows.recipe import load

Verdict = Literal["ok", "note", "BAD"]

_MIN_DISK = 2 * 2**30
"""A quickstart needs tens of megabytes, Ray's logs and spilling a gigabyte."""
_MIN_SHM = 256 * 2**20
"""The object store of a Ray that ``run`` starts takes 200 MiB."""
_MIN_FILES = 4096
"""A Ray raylet holds some ten descriptors a worker, and reading keeps a file a shard."""
_PYTHON = (3, 11)


@dataclass(frozen=True)
class Finding:
    """What a check found. A note does no harm to results, only to speed or comfort."""

    check: str
    verdict: Verdict
    text: str


def examine(recipe: Path | None, storage: str | None) -> None:
    """Print every finding.

    Raises:
        RunFailedError: something is BAD.
    """
    findings = []
    for finding in _findings(recipe, storage):
        findings.append(finding)
        typer.echo(f"{finding.verdict:<5}{finding.check:<15}{finding.text}")
    bad = [finding.check for finding in findings if finding.verdict == "BAD"]
    if bad:
        msg = f"not fit for a run: {', '.join(bad)}"
        raise RunFailedError(msg)


def _findings(recipe: Path | None, storage: str | None) -> Iterator[Finding]:
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("packages", _packages),
        ("versions", _versions),
        ("fasttext", _fasttext),
        ("torch", _torch),
        ("ray", _ray),
        ("disk", _disk),
        ("shared memory", _shared_memory),
        ("open files", _open_files),
        ("kernels", _kernels),
    ]
    if storage is not None:
        checks.append(("storage", lambda: _storage(storage)))
    if recipe is not None:
        checks.append(("recipe", lambda: _recipe(recipe)))
    for name, check in checks:
        try:
            yield check()
        except Exception as error:  # noqa: BLE001  # a check that raises has found something
            yield Finding(name, "BAD", f"{type(error).__name__}: {error}")


def _packages() -> Finding:
    check_packages()
    return Finding("packages", "ok", f"pipeline, operators and workflows all come from {package_root()}")


def _versions() -> Finding:
    found = ", ".join(f"{name} {version}" for name, version in versions().items())
    return Finding("versions", "ok" if sys.version_info >= _PYTHON else "BAD", found)


def _fasttext() -> Finding:
    """The official build raises in ``predict`` under numpy 2: only trying tells."""
    import fasttext  # a broken install must be a finding, not the end of doctor

    model = fasttext.load_model(str(package_root() / "operators" / "data" / "lid.176.ftz"))
    labels, scores = model.predict("The quick brown fox jumps over the lazy dog", k=1)
    good = labels[0] == "__label__en" and float(scores[0]) > 0.5  # English beyond doubt
    return Finding("fasttext", "ok" if good else "BAD", f"predicts {labels[0]} for an English sentence")


def _torch() -> Finding:
    import torch  # a broken install must be a finding, not the end of doctor

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    exact = float((torch.ones(2, 2) @ torch.ones(2, 2)).sum()) == 8.0  # four sums of 1 + 1
    where = f"{gpus} GPUs" if gpus else "no GPU: training runs on the CPU"
    return Finding("torch", "ok" if exact else "BAD", f"{torch.__version__}, {where}")


def _ray() -> Finding:
    if importlib.util.find_spec("ray") is None:
        return Finding("ray", "BAD", "not installed; `pip install sluice` brings it, `--backend inline` does without")
    importlib.import_module("pipeline.backends.ray")
    return Finding("ray", "ok", f"imports; a temporary folder for its sockets: {tempfile.gettempdir()}")


def _disk() -> Finding:
    places = {
        str(Path.cwd()): shutil.disk_usage(Path.cwd()).free,
        tempfile.gettempdir(): shutil.disk_usage(tempfile.gettempdir()).free,
    }
    text = ", ".join(f"{size(free)} free at {place}" for place, free in places.items())
    return Finding("disk", "ok" if min(places.values()) >= _MIN_DISK else "BAD", text)


def _shared_memory() -> Finding:
    folder = Path("/dev/shm")  # noqa: S108  # where Ray puts its object store; nothing is written here
    if not folder.is_dir():
        return Finding("shared memory", "note", f"no {folder}: Ray keeps its objects on disk")
    free = shutil.disk_usage(folder).free
    remedy = "" if free >= _MIN_SHM else f", Ray wants {size(_MIN_SHM)}: start the container with --shm-size=1g"
    return Finding("shared memory", "BAD" if remedy else "ok", f"{size(free)} free at {folder}{remedy}")


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    remedy = "" if soft >= _MIN_FILES else f"; raise it with `ulimit -n {_MIN_FILES}` before large runs"
    return Finding("open files", "note" if remedy else "ok", f"{soft:,} allowed (up to {hard:,}){remedy}")


def _kernels() -> Finding:
    from operators.kernels.compiled import (
        cache_root,
        sources_hash,
    )  # a broken install must be a finding, not the end of doctor

    folder = package_root() / "operators" / "kernels"
    sources = [folder / f"{module.name}.py" for module in pkgutil.iter_modules([str(folder)])]
    kernels = [path for path in sources if "\n@kernel\n" in path.read_text(encoding="utf-8")]
    cache = cache_root() / "sluice-kernels"
    cold = [path.stem for path in kernels if not (cache / sources_hash(str(path))).is_dir()]
    if not os.access(_existing(cache), os.W_OK):
        return Finding("kernels", "BAD", f"{cache} cannot be written; set SLUICE_CACHE_DIR to a folder that can")
    if cold:
        return Finding(
            "kernels",
            "note",
            f"{len(cold)} of {len(kernels)} are not compiled yet, the first run will: {', '.join(cold)}",
        )
    return Finding("kernels", "ok", f"{len(kernels)} modules compiled in {cache}")


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def _storage(uri: str) -> Finding:
    report = probe(Storage(uri))
    return Finding("storage", "ok" if report.safe else "BAD", str(report))


def _recipe(path: Path) -> Finding:
    try:
        workflow = load(path)
        with tempfile.TemporaryDirectory() as empty:
            inputs = freeze_inputs(workflow, Storage(empty))
    except UserError as error:
        return Finding("recipe", "BAD", str(error))
    found = ", ".join(
        f"{name} {len(frozen.files):,} files ({size(sum(file.size for file in frozen.files))}) in {len(frozen.shards):,} shards"
        for name, frozen in inputs.items()
    )
    return Finding("recipe", "ok", f"{path}: {len(workflow.steps)} steps; {found}")
