"""What the loop does with gradients, however they lie on ranks."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from torch import Tensor


class Gradients(Protocol):
    """The gradients of one step: cleared, filled by one or more backward passes, added up over ranks, then measured.

    They are sums: whoever makes the loss divides it by the number of targets of all ranks, so that any number of ranks
    and of passes gives the same gradient. Every rank calls every method, in the same order.
    """

    def clear(self) -> None:
        """Set all gradients to zero; a step begins with it."""
        ...

    def part(self, *, last: bool) -> AbstractContextManager[None]:
        """Around the forward and backward pass of one micro-batch. last: the step's last one on this rank."""
        ...

    def add_up(self, sums: Tensor) -> Tensor:
        """Finish the gradients after the last part, and add a small tensor up over all ranks; returns it.

        sums: floating, any shape, on the ranks' device; changed in place.
        """
        ...

    def norm(self) -> Tensor:
        """Length of the whole gradient, float32 (), the same on every rank. The host does not wait for it."""
        ...

    def scale_(self, factor: Tensor | float) -> None:
        """Multiply all gradients. factor: () on the ranks' device, or a number."""
        ...
