"""An exception costs one document: a failing batch is halved until the culprit stands alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa

from pipeline.errors import RunFailedError, UserError

T = TypeVar("T")

_MAX_ERROR_CHARS = 500


@dataclass(frozen=True)
class Failure:
    """One row an operator raised on."""

    row: int
    error: str


def survive(
    work: Callable[[pa.Table], T], docs: pa.Table, first_row: int = 0
) -> tuple[list[tuple[int, T]], list[Failure]]:
    """Results for the parts that went through, as (first row, result), and the rows that did not.

    What is not about a document passes through: ``UserError``, ``RunFailedError``, and ``MemoryError`` and ``OSError``,
    since a verdict must not hang on the machine; the driver then tries the shard again.
    """
    try:
        return [(first_row, work(docs))], []
    except (UserError, RunFailedError, MemoryError, OSError):
        raise  # about the recipe, the code, or this machine, not about a document
    except Exception as error:  # recorded in quarantine with the row's origin
        if docs.num_rows <= 1:
            if docs.num_rows == 0:
                raise
            return [], [Failure(first_row, f"{type(error).__name__}: {error}"[:_MAX_ERROR_CHARS])]
    middle = docs.num_rows // 2
    left, failed_left = survive(work, docs.slice(0, middle).combine_chunks(), first_row)
    right, failed_right = survive(work, docs.slice(middle).combine_chunks(), first_row + middle)
    return left + right, failed_left + failed_right
