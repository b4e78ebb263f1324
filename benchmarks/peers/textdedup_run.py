"""text-dedup's own command ``python -m text_dedup.minhash``: ``textdedup_run.py FOLDER PROCESSES``.

FOLDER/docs.jsonl are the documents, with ``key`` and ``text``. Leaves FOLDER/roots.json: the key of the document that
stands for each one that shares a bucket with another, and FOLDER/kept.json: the keys that are left. Prints a line of
JSON: wall and CPU seconds of the command, the largest resident set of a process, documents removed.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import subprocess
import sys
import time
from pathlib import Path

from datasets import load_from_disk


def command(folder: Path, processes: str) -> list[str]:
    """14 bands of 8 over word 5-grams; texts of fewer than five words are left out by min_length, its default."""
    options = {
        "path": "json", "data_files": folder / "docs.jsonl", "split": "train", "cache_dir": folder / "cache",
        "output": folder / "out", "column": "text", "idx_column": "key", "ngram": 5, "num_perm": 112, "b": 14, "r": 8,
        "threshold": 0.7, "min_length": 5, "num_proc": processes,
    }  # fmt: skip
    pairs = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
    return [sys.executable, "-m", "text_dedup.minhash", *pairs, "--debug"]


def main() -> None:
    folder, processes = Path(sys.argv[1]), sys.argv[2]
    wall = time.perf_counter()
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "home")}
    done = subprocess.run(command(folder, processes), capture_output=True, text=True, env={**os.environ, **offline})  # noqa: PLW1510  # its output is shown below
    if done.returncode:
        sys.exit(done.stdout[-3000:] + done.stderr[-3000:])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    with (folder / "out" / "uf.pkl").open("rb") as file:
        forest = pickle.load(file)
    (folder / "roots.json").write_text(json.dumps({key: forest.find(key) for key in list(forest.parent)}))
    (folder / "kept.json").write_text(json.dumps(list(load_from_disk(str(folder / "out"))["key"])))
    report = {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_mib": used.ru_maxrss / 1024,
        "removed": sum(1 for _ in (folder / "docs.jsonl").open()) - len(json.loads((folder / "kept.json").read_text())),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
