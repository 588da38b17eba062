"""Buffers that a forward pass moves, kept so that a step that fails leaves them as they were."""

from __future__ import annotations

import torch
from torch import nn


class BufferGuard:
    """Copies of running statistics and the like, taken before each forward pass.

    Which buffers move is learnt from the first step: masks and tables that never change
    are not copied again.
    """

    def __init__(self, model: nn.Module) -> None:
        self._buffers = list(model.buffers())
        self._copies = [torch.empty_like(buffer) for buffer in self._buffers]
        self._settled = not self._buffers

    def capture(self) -> None:
        """Before the forward pass."""
        if self._buffers:
            with torch.no_grad():
                torch._foreach_copy_(self._copies, self._buffers)

    def settle(self) -> None:
        """After a step that came to its end; the first one shows what moves."""
        if self._settled:
            return
        # By value: batch normalisation does not count up the version of its statistics.
        pairs = zip(self._buffers, self._copies, strict=True)
        moved = [(live, copy) for live, copy in pairs if not torch.equal(live, copy)]
        self._buffers, self._copies = [live for live, _ in moved], [copy for _, copy in moved]
        self._settled = True

    def restore(self) -> None:
        """After a step that failed."""
        if self._buffers:
            with torch.no_grad():
                torch._foreach_copy_(self._buffers, self._copies)
