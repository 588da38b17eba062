"""Copies of the buffers that a forward pass changes, to undo a failed step."""

from __future__ import annotations

import torch
from torch import nn


class BufferGuard:
    """Copies of running statistics and other buffers, taken before each forward pass.

    The first step shows which buffers change; masks and tables that stay constant are not
    copied any more.
    """

    def __init__(self, model: nn.Module) -> None:
        self._buffers = list(model.buffers())
        self._copies = [torch.empty_like(buffer) for buffer in self._buffers]
        self._settled = not self._buffers

    def capture(self) -> None:
        """Copy the buffers, before the forward pass."""
        if self._buffers:
            with torch.no_grad():
                torch._foreach_copy_(self._copies, self._buffers)

    def settle(self) -> None:
        """Keep track of changing buffers only, after the first complete step."""
        if self._settled:
            return
        # By value: BatchNorm does not increment the version counter of its statistics.
        pairs = zip(self._buffers, self._copies, strict=True)
        moved = [(live, copy) for live, copy in pairs if not torch.equal(live, copy)]
        self._buffers, self._copies = [live for live, _ in moved], [copy for _, copy in moved]
        self._settled = True

    def restore(self) -> None:
        """Restore the buffers, after a failed step."""
        if self._buffers:
            with torch.no_grad():
                torch._foreach_copy_(self._buffers, self._copies)
