"""A rank that kills itself after the step that DIE_AT names as ``rank:step``."""

from __future__ import annotations

import os
import sys

from pipeline.pretrain.torchrun import main


def die_at(rank: int, step: int) -> None:
    victim, last = map(int, os.environ["DIE_AT"].split(":"))
    if (rank, step) == (victim, last):
        os._exit(7)


if __name__ == "__main__":
    my_rank = int(sys.argv[sys.argv.index("--rank") + 1])
    sys.exit(main(observe=lambda step, _saved: die_at(my_rank, step)))
