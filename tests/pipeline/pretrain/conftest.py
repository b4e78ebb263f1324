"""Small token shards made of an invented language, and the smallest model."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.pretrain.config import Job, Shape, TokenData, TokenFiles, TrainConfig

EOS = 0
VOCABULARY = 48
SMALL = Shape(layers=2, dim=32, heads=4, kv_heads=2, ffn_dim=64)


def token_bytes(token: int) -> int:
    """Every id of the invented language stands for 1 to 4 bytes, the EOS for none."""
    return 0 if token == EOS else 1 + token % 4


def sentences(count: int, *, seed: int = 3, length: int = 60) -> list[list[int]]:
    """Documents in which each word is followed by one of three: 1.6 bits a word to one who knows, 5.5 to others."""
    random = np.random.default_rng(seed)
    documents = []
    for _ in range(count):
        words = [int(random.integers(1, VOCABULARY))]
        while len(words) < length:
            words.append(1 + (words[-1] * 5 + int(random.integers(0, 3)) * 7) % (VOCABULARY - 1))
        documents.append(words)
    return documents


def document_id(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()[:16]


def write_shard(
    stem: Path,
    documents: Sequence[Sequence[int]],
    *,
    ids: Sequence[bytes] | None = None,
    dtype: str = "uint16",
    columns: Mapping[str, Sequence[object]] | None = None,
) -> TokenFiles:
    """A token shard as the tokenizer writes it; ``columns`` come in addition, or in place of its own."""
    ids = ids if ids is not None else [document_id(number) for number in range(len(documents))]
    lengths = [len(document) + 1 for document in documents]
    table = {
        "id": pa.array(ids, pa.binary(16)),
        "source": pa.array(["made up"] * len(documents)),
        "language": pa.array(["und"] * len(documents)),
        "num_tokens": pa.array(lengths, pa.int64()),
        "num_bytes": pa.array([sum(map(token_bytes, document)) for document in documents], pa.int64()),
        "start": pa.array(np.cumsum([0, *lengths])[:-1], pa.int64()),
        **{name: pa.array(values) for name, values in (columns or {}).items()},
    }
    payload = [token for document in documents for token in (*document, EOS)]
    np.array(payload, np.dtype(dtype).newbyteorder("<")).tofile(f"{stem}.bin")
    pq.write_table(pa.table(table), f"{stem}.docs.parquet")
    return TokenFiles(tokens=f"{stem}.bin", documents=f"{stem}.docs.parquet")


def token_data(*shards: TokenFiles, dtype: str = "uint16") -> TokenData:
    return TokenData(shards=shards, dtype=dtype, vocab_size=VOCABULARY, eos_id=EOS, tokenizer_sha256="ab" * 32)


def run_ranks(*runs: tuple[Job, int, tuple[int, int] | tuple[int, int, str] | None]) -> str:
    """Runs, one after the other: a job, its number of ranks, and which rank dies after which step, if one does.

    With a third entry it is told to stop instead, by SIGINT where that is "ctrl-c"; where it is "nan", the step's loss on
    that rank is no number, and where it is "hang", the rank does nothing more. Returns what the ranks said.
    """
    given = []
    for job, world, die in runs:
        path = Path(job.home).with_suffix(".json")
        path.write_text(job.model_dump_json())
        given.append({"job": str(path), "world": world, "die": list(die or ())})
    told = Path(runs[0][0].home).with_suffix(".told")
    ranks = _ranks()
    assert ranks.stdin is not None
    assert ranks.stdout is not None
    ranks.stdin.write(json.dumps({"told": str(told), "runs": given}) + "\n")
    ranks.stdin.flush()
    well = json.loads(ranks.stdout.readline() or "null")
    said = told.read_text()
    assert well, said
    return said


@cache
def _ranks() -> subprocess.Popen[str]:
    """The process that forks ranks; it ends when this one does, since its input does."""
    command = [sys.executable, "-m", "tests.pipeline.pretrain.forked_ranks"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=Path(__file__).parents[3], stdin=pipe, stdout=pipe, text=True)


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., Job]:
    """A job over 80 documents in two shards; keyword arguments go to its ``TrainConfig``, or to itself."""
    documents = sentences(80)
    ids = [document_id(number) for number in range(80)]
    data = token_data(
        write_shard(tmp_path / "a", documents[:50], ids=ids[:50]),
        write_shard(tmp_path / "b", documents[50:], ids=ids[50:]),
    )

    def make(home: str, **changes: object) -> Job:
        own = {name: changes.pop(name) for name in [*changes] if name in Job.model_fields}
        fields = {"shape": SMALL, "sequence_length": 16, "steps": 30, "batch_size": 4, "learning_rate": 1e-2}
        config = TrainConfig(**{**fields, "warmup_steps": 3, "evaluate_every": 10, **changes})
        fields = {"config": config, "data": data, "home": str(tmp_path / home), "checkpoint_every": 5}
        # 16 tokens at a time: a rank with more than one sequence adds gradients up.
        return Job(**{**fields, "micro_batch_tokens": 16, **own})

    return make
