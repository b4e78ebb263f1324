"""What a cluster is given: shapes, names and the rules that no schema knows."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from workflows.cli import app

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def options_of(command: str) -> set[str]:
    """Every option a command of ours takes."""
    found = get_command(app).commands[command]  # ty: ignore[unresolved-attribute]
    return {name for parameter in found.params for name in parameter.opts}


def check_run_line(line: str) -> list[str]:
    """A `sluice run` line uses a command and options that exist; returns its words."""
    words = shlex.split(line)
    assert words[:2] == ["sluice", "run"]
    assert {word for word in words if word.startswith("--")} <= options_of("run")
    return words


@pytest.fixture(scope="module")
def manifests() -> dict[str, Any]:
    documents = list(yaml.safe_load_all((INFRA / "kuberay" / "rayjob.yaml").read_text()))
    return {document["kind"]: document for document in documents}


def test_rayjob_runs_our_command_on_its_own_cluster(manifests: dict[str, Any]) -> None:
    job = manifests["RayJob"]
    assert job["apiVersion"] == "ray.io/v1"
    spec = job["spec"]
    words = check_run_line(spec["entrypoint"])
    assert words[words.index("--address") + 1] == "auto"
    # Kueue refuses a job that keeps its cluster; a job without deadlines can wait for ever.
    assert spec["shutdownAfterJobFinishes"] is True
    assert 0 < spec["preRunningDeadlineSeconds"] < spec["activeDeadlineSeconds"]
    assert spec["backoffLimit"] >= 1
    assert len(spec["rayClusterSpec"]["workerGroupSpecs"]) <= 7


def test_head_does_no_work_and_the_driver_does_not_land_there(manifests: dict[str, Any]) -> None:
    spec = manifests["RayJob"]["spec"]
    assert spec["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert spec["entrypointNumCpus"] >= 1


def test_ray_versions_agree(manifests: dict[str, Any]) -> None:
    version = manifests["RayJob"]["spec"]["rayClusterSpec"]["rayVersion"]
    pinned = next(d for d in PROJECT["dependencies"] if d.startswith("ray["))
    assert pinned.endswith(f"~={version}")


def groups(manifests: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = manifests["RayJob"]["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def test_every_pod_sees_recipe_and_run(manifests: dict[str, Any]) -> None:
    words = check_run_line(manifests["RayJob"]["spec"]["entrypoint"])
    recipe, out = Path(words[2]), Path(words[words.index("--out") + 1])
    for group in groups(manifests):
        pod = group["template"]["spec"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        (container,) = pod["containers"]
        mounts = {Path(mount["mountPath"]): mount["name"] for mount in container["volumeMounts"]}
        assert set(mounts.values()) == set(volumes)
        config_map = volumes[mounts[recipe.parent]]["configMap"]["name"]
        assert config_map == manifests["ConfigMap"]["metadata"]["name"]
        claim = next(volumes[name] for path, name in mounts.items() if out.is_relative_to(path))
        assert claim["persistentVolumeClaim"]["claimName"] == manifests["PersistentVolumeClaim"]["metadata"]["name"]
    assert recipe.name in manifests["ConfigMap"]["data"]
    assert manifests["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]


def test_pods_share_one_image_of_this_version_and_no_privileges(manifests: dict[str, Any]) -> None:
    images = {
        container["image"] for group in groups(manifests) for container in group["template"]["spec"]["containers"]
    }
    (image,) = images
    assert image.rpartition(":")[2] == PROJECT["version"]
    uid = re.search(r"useradd --uid (\d+)", (INFRA / "containers" / "Dockerfile").read_text())
    assert uid
    for group in groups(manifests):
        context = group["template"]["spec"]["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] == int(uid[1])


def test_memory_is_limited_to_what_is_requested(manifests: dict[str, Any]) -> None:
    for group in groups(manifests):
        for container in group["template"]["spec"]["containers"]:
            resources = container["resources"]
            assert resources["limits"]["memory"] == resources["requests"]["memory"]
            assert "cpu" not in resources["limits"]


def test_worker_groups_scale_within_their_bounds(manifests: dict[str, Any]) -> None:
    for group in groups(manifests)[1:]:
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", group["groupName"])
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_recipe_of_the_rayjob_loads(manifests: dict[str, Any], tmp_path: Path) -> None:
    from workflows.recipe import load

    path = tmp_path / "recipe.yaml"
    path.write_text(manifests["ConfigMap"]["data"]["recipe.yaml"])
    assert [step.name for step in load(path).steps] == ["crawl", "pages"]


def sbatch() -> str:
    return (INFRA / "slurm" / "sluice.sbatch").read_text()


def test_sbatch_is_sound_bash() -> None:
    subprocess.run(["bash", "-n", str(INFRA / "slurm" / "sluice.sbatch")], check=True)


def test_sbatch_comes_back_before_its_time_is_up() -> None:
    directives = {
        line.removeprefix("#SBATCH --").partition("=")[0]: line.partition("=")[2]
        for line in sbatch().splitlines()
        if line.startswith("#SBATCH --")
    }
    assert {"requeue", "exclusive"} <= set(directives)
    assert directives["ntasks-per-node"] == "1"
    assert directives["open-mode"] == "append"
    signal = re.fullmatch(r"B:(\w+)@(\d+)", directives["signal"])
    assert signal
    assert int(signal[2]) >= 60
    # The signal goes to the batch shell alone, so that shell must trap it, and wait in a way that a trap interrupts.
    assert re.search(rf"^trap requeue {signal[1]}$", sbatch(), re.MULTILINE)
    assert sbatch().rstrip().endswith('wait "$!"')


def test_sbatch_runs_our_command() -> None:
    line = re.search(r"^\s*(sluice run .*) &$", sbatch(), re.MULTILINE)
    assert line
    words = check_run_line(line[1])
    assert words[words.index("--address") + 1] == "auto"


def test_sbatch_trap_requeues_and_refuses_missing_arguments(tmp_path: Path) -> None:
    """The script itself, with Slurm's commands replaced by ones that write down how they were called.

    The node list is longer than a pipe holds, so whoever leaves it unread breaks the pipe.
    """
    for name in ("scontrol", "srun"):
        stub = tmp_path / name
        stub.write_text(
            f'#!/bin/bash\necho "{name} $*" >> {tmp_path}/calls\n'
            '[ "$1" = show ] && exec seq -f node%g 20000\n'
            '[[ "$*" == *"hostname -I"* ]] && echo "10.0.0.7 172.17.0.1"\n'
            '[[ "$*" == *symmetric-run* ]] && { touch ' + f"{tmp_path}/up; exec sleep 2 >/dev/null 2>&1; }}\nexit 0\n"
        )
        stub.chmod(0o755)
    env = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "4",
    }
    script = str(INFRA / "slurm" / "sluice.sbatch")
    assert subprocess.run(["bash", script], env=env, check=False, capture_output=True).returncode == 2
    until_up = f"while [ ! -e {tmp_path}/up ] && kill -0 $pid; do sleep 0.05; done"
    waiter = f"bash {script} r.yaml /shared/out --limit 3 & pid=$!; {until_up}; kill -USR1 $pid; wait $pid"
    done = subprocess.run(
        ["bash", "-c", waiter], env=env, check=False, capture_output=True, text=True, timeout=30, start_new_session=True
    )
    assert done.returncode == 0, done.stderr
    calls = (tmp_path / "calls").read_text()
    assert (
        "ray symmetric-run --address 10.0.0.7:6390 --min-nodes 2 --num-cpus 4 -- sluice run r.yaml --out /shared/out"
        in calls
    )
    assert "--progress plain --limit 3" in calls
    assert "--nodelist=node1 hostname -I" in calls
    assert calls.rstrip().endswith("scontrol requeue 7")


def dockerfile() -> list[list[str]]:
    """Instructions of the Dockerfile as words, continued lines joined."""
    text = (INFRA / "containers" / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return [line.split() for line in "\n".join(lines).replace("\\\n", " ").splitlines()]


def test_image_is_the_python_we_ask_for_and_ends_without_privileges() -> None:
    lines = dockerfile()
    bases = [line[1] for line in lines if line[0] == "FROM"]
    assert bases == ["python:3.11-slim"] * 2
    assert PROJECT["requires-python"] == ">=3.11"
    users = [line[1] for line in lines if line[0] == "USER"]
    assert users
    assert users[-1] not in ("root", "0")


def test_image_gets_what_the_packages_need() -> None:
    """Everything copied exists and passes the ignore file, and every file pyproject.toml names is copied."""
    copied = {
        name for line in dockerfile() if line[0] == "COPY" and not line[1].startswith("--") for name in line[1:-1]
    }
    ignore = (INFRA / "containers" / "Dockerfile.dockerignore").read_text().split()
    assert "*" in ignore
    for name in copied:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in ignore, name
    assert {
        "pyproject.toml",
        PROJECT["readme"],
        *PROJECT["license-files"],
        "pipeline",
        "operators",
        "workflows",
    } == copied


def test_image_has_the_console_script_and_warm_kernels() -> None:
    assert PROJECT["scripts"]["sluice"] == "workflows.cli:main"
    runs = [" ".join(line) for line in dockerfile() if line[0] == "RUN"]
    assert any("pip install" in run and '".[s3,fast,evaluation]"' in run for run in runs)
    assert "s3" in PROJECT["optional-dependencies"]
    # Each is tried while the image is built, after it stopped being root.
    last = runs[-1]
    assert "from operators.kernels.compiled import warm" in last
    assert "sluice --help" in last
    from operators.kernels.compiled import warm

    assert callable(warm)


@pytest.mark.parametrize("folder", ["kuberay", "slurm", "containers"])
def test_runbooks_use_commands_that_exist(folder: str) -> None:
    text = (INFRA / folder / "README.md").read_text()
    commands = set(re.findall(r"\bsluice (\w+)", text))
    known = set(get_command(app).commands)  # ty: ignore[unresolved-attribute]
    assert commands
    assert commands <= known, commands - known
