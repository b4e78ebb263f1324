"""Hashes that differ from process to process: nothing can be crafted against them, and nothing of them gets out."""

from __future__ import annotations

from collections.abc import Iterator

import numba
import numpy as np
import numpy.typing as npt
import pytest

from operators.filters.chinese_quality import ChineseQuality
from operators.filters.fineweb_quality import FinewebQuality
from operators.filters.gopher_repetition import GopherRepetition
from operators.kernels import secret as secrets_of_process
from operators.kernels.bytewise import hash_bytes, hash_word, slot_of
from operators.kernels.secret import fold, secret
from operators.kernels.segmentation import forget
from tests.operators.texts import table

SECRETS = secrets_of_process._SECRETS
ONE = (0x243F6A8885A308D3, -0x5CF76B1F8B1F4D3E)
OTHER = (-0x61C8864680B583EB, 0x13198A2E03707344)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Word lists are hashed once a process, so that the others' tests need the process's own secrets."""
    own = SECRETS.copy()
    yield
    SECRETS[:] = own
    forget()


@numba.njit
def _read(number):
    return secret(number)


@numba.njit
def _fold(left, right):
    return fold(left, right)


@numba.njit
def _slots(keys, mask):
    found = np.empty(len(keys), np.int64)
    for k in range(len(keys)):
        found[k] = slot_of(keys[k], mask)
    return found


@numba.njit
def _hashes(data, size, bytewise):
    found = np.empty(len(data) // size, np.int64)
    for k in range(len(found)):
        first = k * size
        found[k] = hash_bytes(data, first, first + size) if bytewise else hash_word(data, first, first + size)
    return found


def _most(slots: npt.NDArray[np.int64]) -> int:
    return int(np.bincount(slots).max())


def test_a_secret_is_read_when_it_is_asked_for() -> None:
    SECRETS[:] = (7, -9)
    assert (_read(0), _read(1)) == (7, -9)
    SECRETS[1] = 5
    assert _read(1) == 5


@pytest.mark.parametrize("left", [0, 1, -1, 2**63 - 1, -(2**63), ONE[0]])
def test_fold_is_both_halves_of_a_product(left: int) -> None:
    product = (left % 2**64) * (ONE[1] % 2**64)
    assert _fold(left, ONE[1]) % 2**64 == (product ^ product >> 64) % 2**64


def test_keys_crafted_for_one_process_lie_apart_in_another() -> None:
    keys = np.arange(1_000_000)
    SECRETS[:] = ONE
    crafted = keys[_slots(keys, 2047) == 3]
    assert len(crafted) > 300
    assert _most(_slots(crafted, 2047)) == len(crafted)
    SECRETS[:] = OTHER
    assert _most(_slots(crafted, 2047)) < 10


@pytest.mark.parametrize(("size", "bytewise"), [(8, False), (16, False), (24, False), (24, True), (5, True)])
def test_hashes_differ_from_process_to_process(size: int, bytewise: bool) -> None:
    data = np.random.default_rng(0).integers(97, 123, 2000 * size, np.uint8)
    SECRETS[:] = ONE
    one = _hashes(data, size, bytewise)
    SECRETS[:] = OTHER
    other = _hashes(data, size, bytewise)
    assert (
        len(np.unique(one))
        == len(np.unique(other))
        == len({data[k : k + size].tobytes() for k in range(0, len(data), size)})
    )
    assert not np.isin(one, other).any()


@pytest.mark.parametrize(
    "operator",
    [
        GopherRepetition(),
        GopherRepetition(flavour="dclm"),
        GopherRepetition(flavour="rpv2"),
        FinewebQuality(),
        ChineseQuality(),
    ],
    ids=["datatrove", "dclm", "rpv2", "fineweb", "chinese"],
)  # fmt: skip
def test_no_measure_depends_on_the_secrets(operator) -> None:
    rng = np.random.default_rng(3)
    words = [*"abcdefg", "considerable", "extraordinarily long words", "数据", "管道", "\n", "\n\n"]
    docs = table(*(" ".join(rng.choice(words, 400)) for _ in range(20)))
    found = []
    for secrets in (ONE, OTHER):
        SECRETS[:] = secrets
        forget()
        found.append({name: column.to_pylist() for name, column in operator.measure(docs).items()})
    assert found[0] == found[1]
