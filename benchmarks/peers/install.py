"""Puts each peer into an environment of its own, ``.peers/<peer>``: ``python benchmarks/peers/install.py [peer ...]``.

Their requirements contradict ours and one another, so every version is pinned (``requirements/<peer>.txt``) and installed
without the resolver; what the rules compared here do not import (torch, transformers, streamlit, ...) is left out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
ENVIRONMENTS = Path(os.environ.get("SLUICE_PEERS", HERE.parents[1] / ".peers"))
PEERS = ("datatrove", "dolma", "nemo", "juicer", "rensa", "textdedup")
"""Installed where none is named; ``readers``, the trainers' readers of tokens for ``make test-peers``, is by name alone."""

WITH_TORCH = ("readers",)
"""Environments that get torch as well, with what it requires: what TORCH says, as in the Makefile."""

PUNKT = "llama-index-core==0.14.25"
"""The only package on PyPI, as far as we know, that carries NLTK's punkt_tab data (Apache-2.0); nothing else of it is used."""


def install(peer: str) -> None:
    """One peer, unless it is there with these requirements."""
    place, requirements = ENVIRONMENTS / peer, HERE / "requirements" / f"{peer}.txt"
    stamp = place / "installed"
    if stamp.exists() and stamp.read_text() == requirements.read_text():
        return
    print(f"{place}: installing", flush=True)
    venv.create(place, with_pip=True, clear=True)
    pip = [str(place / "bin" / "pip"), "install", "-q", "--disable-pip-version-check"]
    if peer in WITH_TORCH:
        subprocess.run([*pip, os.environ.get("TORCH", "torch==2.13.0")], check=True)
    subprocess.run([*pip, "--no-deps", "-r", str(requirements)], check=True)
    stamp.write_text(requirements.read_text())


def install_punkt() -> None:
    """NLTK's English sentence data, unless NLTK_DATA says where it is."""
    target = ENVIRONMENTS / "nltk_data" / "tokenizers"
    if "NLTK_DATA" in os.environ or (target / "punkt_tab").exists():
        return
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, PUNKT], check=True)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            for name in wheel.namelist():
                inside = name.partition("/nltk_cache/tokenizers/")[2]
                if inside.startswith("punkt_tab/english/") and not name.endswith("/"):
                    path = target / inside
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(wheel.read(name))


def main() -> None:
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    (ENVIRONMENTS / ".gitignore").write_text("*\n")
    failed = []
    peers = sys.argv[1:] or PEERS
    for task in [*peers, *["punkt"][: any(peer not in WITH_TORCH for peer in peers)]]:
        try:
            install_punkt() if task == "punkt" else install(task)
        except subprocess.CalledProcessError:
            failed.append(task)
    if failed:
        print(f"not installed, so their comparisons will be skipped: {', '.join(failed)}")


if __name__ == "__main__":
    main()
