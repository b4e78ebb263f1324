"""Rows of token shards that are still being made: windows of shards in plan order, permuted inside.

``stream_window`` neighbouring shards of the plan are a window. Its training documents are one stream, cut into sequences
as ever; what is left at its end, less than a sequence, is not used. An epoch takes the windows one after the other, and
the sequences of each in an order that is a keyed permutation by (seed, epoch, window). So the rows of a step follow from
the seed, the step and the shards alone: not from when these came, how many ranks ask, or where a training was resumed.

Held out is what the first window says: its documents below the limit of ``open_corpus`` are the ones that are scored, and
documents of later windows below the same limit are not trained on either.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import xxhash

from pipeline.errors import UserError
from pipeline.pretrain.config import Arriving, Job, TokenData, TokenFiles
from pipeline.pretrain.data.arrivals import ARRIVALS, Arrivals, Arrived
from pipeline.pretrain.data.corpus import Corpus, open_corpus
from pipeline.pretrain.data.documents import Int64s, read_documents
from pipeline.pretrain.data.order import mix, permute

_OPEN_WINDOWS = 4
"""Windows kept open: a batch touches one or two, unless windows are tiny."""
_OF_ONE_TOKENIZER = ("dtype", "vocab_size", "eos_id", "tokenizer_sha256")


def open_streamed(job: Job, *, wait: bool = True) -> tuple[Corpus, StreamedRows]:
    """The corpus of the first window, for all that is not training, and the rows of all windows.

    wait: whether a shard that is not committed is waited for; else it is an error.

    Raises:
        UserError: the first window has no text to hold out, or the configuration does not go with streaming.
    """
    arriving, window = job.data.arriving, job.config.stream_window
    assert arriving is not None
    assert window is not None, "arriving shards need a stream_window"
    if job.config.mixture is not None or job.data.packed:
        msg = "streaming takes tokens as they come: a mixture, or packed sequences, need all of them first"
        raise UserError(msg)
    rows = StreamedRows(job, arriving, window, wait=wait)
    first = rows.window(0)
    digest = xxhash.xxh3_128(f"{first.digest} {window} {arriving.planned}".encode()).hexdigest()
    return replace(first, digest=digest), rows


class StreamedRows:
    """A ``RowSource``. A row is the number of a sequence in its epoch's windows, joined in plan order. Any thread may ask."""

    def __init__(self, job: Job, arriving: Arriving, window: int, *, wait: bool = True) -> None:
        self._config, self._data = job.config, job.data.model_copy(update={"arriving": None})
        self._planned, self._size = arriving.planned, window
        self._num_windows = -(-arriving.planned // window)
        self._arrivals = Arrivals(Path(arriving.file), wait=wait)
        self._ends: list[int] = []
        """Rows up to the end of each window that has been looked at."""
        self._digests: list[str] = []
        """Of the documents of each."""
        self._held_out_below: int | None = None
        self._open: OrderedDict[int, Corpus] = OrderedDict()
        self._changing = threading.Lock()

    def rows(self, step: int) -> Int64s:
        """(batch_size,) The rows of a step; waits for the shards of their windows.

        Raises:
            UserError: all windows together do not fill one batch, or a shard is not as it should be.
            StoppedError: the driver asked to stop, or ``close`` was called.
        """
        config = self._config
        sample = np.arange((step - 1) * config.batch_size, step * config.batch_size, dtype=np.int64)
        while len(self._ends) < self._num_windows and (not self._ends or self._ends[-1] <= sample[-1]):
            self.window(len(self._ends))
        total = self._ends[-1] if self._ends else 0
        if total < config.batch_size:
            msg = (
                f"the {self._planned} token shards make {total} sequences of {config.sequence_length} in windows of "
                f"{self._size} shards, fewer than one batch of {config.batch_size}: add documents, or lower "
                f"sequence_length or batch_size"
            )
            raise UserError(msg)
        # While windows are still to come, the samples lie below the total so far, hence in the first epoch.
        epoch, index = np.divmod(sample, total)
        return self._permuted(epoch, index)

    def tokens(self, rows: Int64s) -> tuple[Int64s, None]:
        """Tokens (N, sequence_length + 1); all are full."""
        length = self._config.sequence_length
        out = np.empty((len(rows), length + 1), np.int64)
        of = self._window_of(rows)
        for number in np.unique(of):
            mine = of == number
            out[mine] = self.window(int(number)).read((rows[mine] - self._start(int(number))) * length, length + 1)
        return out, None

    def lengths(self, rows: Int64s) -> None:
        """None: all are full."""

    def breaks(self, rows: Int64s) -> None:
        """None: a document's first token follows the EOS before it."""

    def num_targets(self, rows: Int64s) -> int:
        """All but the first token of each."""
        return len(rows) * self._config.sequence_length

    def documents_of(self, rows: Int64s) -> list[str]:
        """Hex ids of the documents that rows touch, window by window in the rows' order, each once."""
        length = self._config.sequence_length
        found: dict[str, None] = {}
        of = self._window_of(rows)
        for number in dict.fromkeys(of.tolist()):
            positions = (rows[of == number] - self._start(number)) * length
            found.update(dict.fromkeys(self.window(number).documents_of(positions, length + 1)))
        return list(found)

    def rows_with(self, shard: int, row: int) -> Int64s:
        """The rows that hold tokens of a document, ascending; none of a held-out one, or where its window is not all there.

        shard: its number in the plan. row: of the document in the shard's table.
        """
        number, length = shard // self._size, self._config.sequence_length
        if self._arrivals.count < min((number + 1) * self._size, self._planned):
            return np.empty(0, np.int64)
        corpus, local = self.window(number), shard - number * self._size
        table = read_documents(corpus.data.shards[local])
        begins = corpus.segment_end - np.diff(corpus.segment_end, prepend=0)
        after = corpus.segment_start + corpus.segment_end - begins
        start, count = int(table.start[row]), int(table.num_tokens[row])
        inside = (corpus.segment_shard == local) & (corpus.segment_start <= start) & (start < after)
        found = []
        for position in (begins + start - corpus.segment_start)[inside].tolist():
            first, last = max(0, -(-(position - length) // length)), (position + count - 1) // length
            found.append(
                np.arange(self._start(number) + first, min(self._start(number) + last + 1, self._ends[number]))
            )
        return np.concatenate([np.empty(0, np.int64), *found])

    def drawn(self, step: int) -> None:
        """None: there is no mixture."""

    def epochs(self, step: int) -> None:
        """None: there is no mixture."""

    def given(self, step: int) -> list[str]:
        """Digests of the windows that steps up to this one, whose rows were asked for, have drawn from."""
        samples = step * self._config.batch_size
        return self._digests[: int(np.searchsorted(np.array(self._ends[:-1]), samples)) + 1] if step else []

    def check_given(self, digests: Sequence[str]) -> None:
        """Compare the first windows with what ``given`` said of them in an earlier process; waits for their shards.

        Raises:
            UserError: one of them holds something else.
            StoppedError: see ``rows``.
        """
        for number, digest in enumerate(digests):
            if self.window(number).digest != digest:
                first, last = number * self._size, min((number + 1) * self._size, self._planned) - 1
                msg = (
                    f"token shards {first} to {last} hold other documents than the training was given (as after a "
                    f"takedown): remove its checkpoints and {ARRIVALS} to start over"
                )
                raise UserError(msg)

    def close(self) -> None:
        """A call that waits, in another thread, ends with an error; later calls wait anew."""
        self._arrivals.close()

    def window(self, number: int) -> Corpus:
        """The documents of a window; waits for its shards, and for those of the windows before it."""
        for earlier in range(len(self._ends), number):  # where its rows begin follows from how many those have
            self._look_at(earlier)
        return self._look_at(number)

    def _look_at(self, number: int) -> Corpus:
        corpus = self._open.get(number)
        if corpus is None:
            corpus = self._opened(number)
        with self._changing:  # not held while waiting: a thread that reads ahead must not keep out one that looks back
            if number == len(self._ends):
                rows = max(0, corpus.tokens - 1) // self._config.sequence_length
                self._held_out_below = corpus.held_out_below if number == 0 else self._held_out_below
                self._digests.append(corpus.digest)
                self._ends.append(self._start(number) + rows)
            self._open[number] = corpus
            self._open.move_to_end(number)
            if len(self._open) > _OPEN_WINDOWS:
                self._open.popitem(last=False)
        return corpus

    def _opened(self, number: int) -> Corpus:
        last = min((number + 1) * self._size, self._planned)
        shards = self._arrivals.wait_for(last)[number * self._size :]
        config = self._config
        try:
            return open_corpus(
                _data_of(shards, self._data),
                held_out_fraction=config.held_out_fraction,
                seed=config.seed,
                held_out_below=self._held_out_below,
            )
        except UserError as error:
            if number:
                raise
            msg = f"{error} (with streaming, of the first window of {self._size} token shards; or raise `window`)"
            raise UserError(msg) from error

    def _start(self, number: int) -> int:
        return self._ends[number - 1] if number else 0

    def _window_of(self, rows: Int64s) -> Int64s:
        return np.searchsorted(np.array(self._ends), rows, side="right")

    def _permuted(self, epoch: Int64s, index: Int64s) -> Int64s:
        """Where each window's permutation of an epoch sends its rows."""
        of = self._window_of(index)
        key = mix(mix(np.array([self._config.seed], np.uint64)) + epoch.astype(np.uint64))
        key = mix(key + of.astype(np.uint64))
        out = np.empty_like(index)
        for number in np.unique(of).tolist():
            mine, start = of == number, self._start(number)
            within = (index[mine] - start).astype(np.uint64)
            out[mine] = start + permute(within, self._ends[number] - start, key[mine]).astype(np.int64)
        return out


def _data_of(shards: Sequence[Arrived], data: TokenData) -> TokenData:
    """The token data of some shards, as those of the first window were given.

    Raises:
        UserError: a shard was made by another tokenizer.
    """
    for one in shards:
        for name in _OF_ONE_TOKENIZER:
            if one.facts[name] != getattr(data, name):
                msg = f"token shard {one.shard} has {name}={one.facts[name]!r}, the first {getattr(data, name)!r}"
                raise UserError(msg)
    files = tuple(TokenFiles(tokens=one.files[".bin"], documents=one.files[".docs.parquet"]) for one in shards)
    return data.model_copy(update={"shards": files})
