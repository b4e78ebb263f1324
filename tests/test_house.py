"""The house itself: the map of files, generic package names, file lengths, samples' size."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("pipeline", "operators", "workflows")


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [Path(line) for line in listed.stdout.splitlines()]


def test_the_map_in_the_readme_is_true() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## Where things lie")[2].partition("A run's folder")[0]
    named = set(re.findall(r"^\| `([^`]+)/` \|", section, re.MULTILINE))
    there = {path.parts[0] for path in tracked() if len(path.parts) > 1}
    assert named == there
    for row in re.findall(r"^\| `([^`]+/)` \|(.*)\|$", section, re.MULTILINE):
        for inner in re.findall(r"`([a-z_]+/)`", row[1]):
            assert (ROOT / row[0] / inner).is_dir(), f"{row[0]}{inner}"


def test_the_targets_in_the_readme_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`?make ([a-z]+)", readme)) - {"and"}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def limit(path: Path) -> int:
    """300 lines a file; operators 150, kernels aside, where a rule and its sums stand together."""
    if path.parts[0] == "operators" and path.parts[1] in ("extract", "filters", "classify", "scrub"):
        return 200
    return 450 if path.parts[0] == "tests" else 300


def test_files_stay_short() -> None:
    long = [
        f"{path}: {lines} lines"
        for path in tracked()
        if path.suffix == ".py" and (lines := (ROOT / path).read_text(encoding="utf-8").count("\n")) > limit(path)
    ]
    assert not long


def test_only_the_backends_import_ray() -> None:
    allowed = {"pipeline/backends/ray.py", "pipeline/backends/ray_jobs.py", "pipeline/pretrain/ray_entry.py"}
    found = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                if any(name.partition(".")[0] == "ray" for name in names):
                    found.add(str(path.relative_to(ROOT)))
    assert found <= allowed


def test_importing_does_no_work() -> None:
    code = (
        "import sys, threading; import pipeline, operators, workflows.cli; "
        "assert threading.active_count() == 1; "
        "heavy = {'ray', 'torch', 'fasttext', 'tokenizers'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_folder_that_shadows_a_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "operators").mkdir()
    (tmp_path / "operators" / "__init__.py").write_text("")
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import pipeline; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from pipeline.errors import UserError\nfrom pipeline.ownership import check_packages\n"
        "try: check_packages()\nexcept UserError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert str(tmp_path / "operators") in done.stdout or str(tmp_path) in done.stdout
    assert "shadows" in done.stdout


def test_the_samples_are_small_and_licensed() -> None:
    size = sum(path.stat().st_size for path in (ROOT / "samples").rglob("*") if path.is_file())
    assert size <= 5_000_000
