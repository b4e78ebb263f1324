"""The benchmark of the training step runs anywhere, with torch alone; its shapes are the presets."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.pretrain.config import PRESETS

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "benchmarks" / "gpu" / "mfu.py"

# A host that has nothing but torch and numpy: everything else of this project's dependencies cannot be imported.
BARE = """
import runpy, sys
for name in ("pydantic", "pyarrow", "numba", "xxhash", "ray", "tokenizers", "orjson", "scipy", "safetensors"):
    sys.modules[name] = None
"""
RUN = (
    BARE
    + """
import dataclasses, json, pathlib
out, *sys.argv = sys.argv[1:]
found = runpy.run_path(sys.argv[0], run_name="__main__")["SHAPES"]
pathlib.Path(out).write_text(json.dumps({name: dataclasses.asdict(shape) for name, (shape, _) in found.items()}))
"""
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run printed and wrote, and the shapes it has: one process, since torch takes seconds to import."""
    folder = tmp_path_factory.mktemp("mfu")
    options = "--models tiny --attention auto cudnn --optimizers adamw muon --tokens 256 --steps 2"
    options += " --vocabulary 256 --no-compile --profile --gemm-size 128"
    command = [
        sys.executable,
        "-c",
        RUN,
        folder / "shapes.json",
        SCRIPT,
        *options.split(),
        "--out",
        folder / "mfu.json",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    (folder / "printed").write_text(done.stdout)
    return folder


def test_it_runs_on_a_cpu_without_the_other_dependencies(folder: Path) -> None:
    printed = (folder / "printed").read_text()
    report = json.loads((folder / "mfu.json").read_text())
    assert report["date"]
    assert report["device"]
    adamw, muon, cudnn = report["cases"]
    for row, optimizer in ((adamw, "adamw"), (muon, "muon")):
        assert row["optimizer"] == optimizer
        assert row["micro_batch_tokens"] == 256
        assert row["tokens_per_s"] == pytest.approx(256 / row["step_s"])
        # Two blocks, and 256 ids: 6 (2 (128 x 32 x 12 + 3 x 128 x 384) + 128 x 256) + 12 x 2 x 128 x 256.
        assert row["flops_per_token"] == 6 * (2 * (49_152 + 147_456) + 32_768) + 786_432
        assert row["mfu"] is None
        gemm = report["measured_gemm_tflops"] * 1e12
        assert row["mfu_of_measured_gemm"] == pytest.approx(row["tokens_per_s"] * row["flops_per_token"] / gemm)
        assert row["last_loss"] < row["first_loss"]  # the same batch again and again is learned
        assert row["profile"][0]["share"] >= row["profile"][1]["share"] > 0
    assert "needs a CUDA device" in cudnn["error"]
    assert "tiny   cudnn" in printed


def test_its_shapes_are_the_presets(folder: Path) -> None:
    told = json.loads((folder / "shapes.json").read_text())
    for name, fields in told.items():
        preset = PRESETS[name].model_dump()
        assert fields == {key: preset[key] for key in fields}, name
        assert preset.keys() - fields.keys() == {"learning_rate"}
