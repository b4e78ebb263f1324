"""Which steps are left out because their loss or gradient is out of the ordinary. Nothing here waits for the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

NUM_STEPS = 128
"""Steps whose losses and gradients say what is ordinary."""
_LEAST_STEPS = NUM_STEPS // 2
"""Before that many are known every step counts as ordinary."""


class Spikes:
    """Losses and gradient lengths of the last steps, on the device, and a verdict on the next.

    A value counts with at most the limit that it was held against: one spike does not widen the limits so that the next
    goes through, and when a loss has really risen to another level the limits follow it within some steps.
    Source: the rule, mean + 6 sigma of the last 128, is OLMo-core's ``SkipStepOptimizer``; the cap is ours.
    """

    def __init__(self, sigmas: float | None, device: torch.device) -> None:
        """sigmas: how many standard deviations above the mean a value may lie; None: any, if it is a number."""
        self._sigmas = sigmas
        self._last = torch.zeros(2, NUM_STEPS, device=device)
        self._num_seen = 0

    def look(self, loss: Tensor, grad_norm: Tensor) -> Tensor:
        """1.0 where the step is to be left out, else 0.0. All are float32 () on the device."""
        values = torch.stack([loss, grad_norm]).float()
        ordinary = torch.isfinite(values)
        if self._sigmas is not None:
            if self._num_seen >= _LEAST_STEPS:
                deviation, mean = torch.std_mean(self._last[:, : self._num_seen], dim=1)
                limits = mean + self._sigmas * deviation
                ordinary &= values <= limits
                values = torch.minimum(values, limits)
            self._last[:, self._num_seen % NUM_STEPS] = values
            self._num_seen += 1
        return 1.0 - ordinary.all().float()

    def state(self) -> dict[str, object]:
        """JSON values from which ``restore`` goes on exactly."""
        return {"seen": self._num_seen, "last": self._last.tolist()} if self._sigmas is not None else {}

    def restore(self, seen: int = 0, last: Sequence[Sequence[float]] = ()) -> None:
        """Go on from a ``state``; from nothing, begin anew."""
        self._num_seen = seen
        self._last.zero_()
        if last:
            self._last.copy_(torch.tensor(last))
