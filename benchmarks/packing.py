"""Packing of a run's token shards: padding, documents cut, and documents and tokens a CPU second, by sequence length.

python benchmarks/packing.py RUN STEP [--lengths 512 2048 8192] [--times 5] [--copies 100]

STEP holds tokens. The shards are packed one by one, as the verb does, and then again with their documents' lengths drawn
``copies`` times as often, for the speed at the size of a shard of 2**31 tokens. No timing here is of reading or writing files
but ``read``, which builds every batch of 64 sequences in a drawn order.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from operators.tokenize.packing.layout import Documents, Packed, facts_of
from operators.tokenize.packing.pack import POLICIES, all_documents
from operators.tokenize.packing.reader import SequenceShard
from operators.tokenize.shards.reader import TokenShard
from pipeline.dataset import Run

BATCH = 64


def best(times: int, work: Callable[[], Packed]) -> tuple[float, Packed]:
    """CPU seconds of the quickest of some runs, and what it made."""
    seconds, made = [], work()
    for _ in range(times):
        start = time.process_time()
        made = work()
        seconds.append(time.process_time() - start)
    return min(seconds), made


def cut(documents: Documents, packed: Packed, length: int) -> tuple[int, int]:
    """How many documents would fit a row, and how many of these are cut."""
    fits = documents.length <= length + 1
    # A document that ends a row, or begins one, has a piece of its last token alone in the next.
    pieces = np.bincount(packed.pieces["document"][packed.pieces["length"] > 1], minlength=len(fits))
    return int(fits.sum()), int((fits & (pieces > 1)).sum())


def drawn_again(documents: Documents, copies: int) -> Documents:
    """Documents with the same distribution of lengths, ``copies`` times as many."""
    chance = np.random.default_rng(0)
    length = chance.choice(documents.length, copies * len(documents.length))
    number = np.arange(len(length), dtype=np.int32)
    order = chance.integers(0, 1 << 63, len(length)).astype(np.uint64)
    nothing = np.zeros(len(length), np.int32)
    return Documents(nothing, number, np.cumsum(length) - length, length, length, nothing.astype(np.bool_), order)


def read_seconds(packed: Packed, tokens: TokenShard, number: int, length: int) -> float:
    """CPU seconds to build all batches."""
    eos = 0 if tokens.eos is None else tokens.eos
    shard = SequenceShard(packed, {number: tokens}, None, length, tokens.dtype, eos)
    order = np.random.default_rng(0).permutation(len(shard))
    start = time.process_time()
    for first in range(0, len(order), BATCH):
        shard.batch(order[first : first + BATCH])
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("step")
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 1024, 2048, 4096, 8192, 32768])
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--copies", type=int, default=100)
    asked = parser.parse_args()
    shards = [(shard.index, TokenShard.of(shard)) for shard in Run.open(asked.run)[asked.step].shards()]
    packed_in = [(all_documents(tokens, number, 0), number, tokens) for number, tokens in shards]
    num_docs, num_tokens = (sum(n) for n in zip(*((len(d.length), d.tokens) for d, *_ in packed_in), strict=True))
    print(
        f"{len(shards)} shards, {num_docs:,} documents, {num_tokens:,} tokens; CPU seconds, the quickest of {asked.times}"
    )
    print(
        "policy    length  sequences   padding   cut although they fit   documents/s      tokens/s   batches tokens/s"
    )
    for policy, pack in POLICIES.items():
        for length in asked.lengths:
            rows = padding = fit = cuts = 0
            seconds = reading = 0.0
            for documents, number, tokens in packed_in:
                spent, made = best(asked.times, lambda d=documents, n=length, p=pack: p(d, n))
                facts = facts_of(made, documents, length)
                rows, padding, seconds = rows + facts["sequences"], padding + facts["padding"], seconds + spent
                one = cut(documents, made, length)
                fit, cuts = fit + one[0], cuts + one[1]
                reading += read_seconds(made, tokens, number, length)
            print(
                f"{policy:9} {length:6} {rows:10,} {padding / (rows * (length + 1)):9.4%} {cuts:10,} of {fit:7,}"
                f" {num_docs / seconds:13,.0f} {num_tokens / seconds:13,.0f} {num_tokens / reading:18,.0f}"
            )
    large = drawn_again(packed_in[0][0], asked.copies)
    for policy, pack in POLICIES.items():
        spent, made = best(2, lambda p=pack: p(large, 2048))
        padding = facts_of(made, large, 2048)["padding"] / (made.num_rows * 2049)
        print(
            f"{policy}: {len(large.length):,} documents, {large.tokens:,} tokens: {spent:.2f} s, padding {padding:.4%}"
        )


if __name__ == "__main__":
    main()
