"""Where training sequences come from, whatever they are cut from: the stream of documents, packed rows, shards to come."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]


class RowSource(Protocol):
    """The rows of every step, and their tokens. A row is a number that only its source understands.

    Which rows a step has follows from (seed, step) and the plan alone: never from timing, ranks, or what was read before.
    A loader's thread asks, and not the one that made it; ``drawn`` and ``epochs`` may be asked by another meanwhile.
    """

    def rows(self, step: int) -> Int64s:
        """(batch_size,) The rows of a step's global batch, in order; steps count from 1. May wait for data to come."""
        ...

    def tokens(self, rows: Int64s) -> tuple[Int64s, Int64s | None]:
        """Tokens of rows, int64 (N, sequence_length + 1), and how many each has, int64 (N,); behind them are EOS.

        None for the lengths: all are full. May wait for data to come.

        Raises:
            UserError: an id the tokenizer does not have.
        """
        ...

    def lengths(self, rows: Int64s) -> Int64s | None:
        """The lengths that ``tokens`` gives, without reading a token."""
        ...

    def breaks(self, rows: Int64s) -> NDArray[np.bool_] | None:
        """(N, sequence_length + 1) True for a token that follows the one before it in no document, so is no target.

        A document's first token after the EOS of another is none. None: there are none in any row.
        """
        ...

    def num_targets(self, rows: Int64s) -> int:
        """Tokens of rows that are predicted from the ones before them: no padding, no break. Reads no token."""
        ...

    def documents_of(self, rows: Int64s) -> list[str]:
        """Hex ids of the documents that rows touch, in order, each once."""
        ...

    def drawn(self, step: int) -> dict[str, int] | None:
        """Tokens of each stratum up to and with a step; None without a mixture."""
        ...

    def epochs(self, step: int) -> dict[str, float] | None:
        """How many times each stratum was read up to and with a step; None without a mixture."""
        ...

    def close(self) -> None:
        """A call that waits for data, in another thread, ends with an error; later calls wait anew."""
        ...
