"""Numbers of several tensors in one transfer."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

import torch

from nbdebug.model.precision import widest

ON_CPU = attrgetter("is_cpu")


def to_floats(tensors: Iterable[torch.Tensor]) -> list[float]:
    """Return all numbers of several tensors, in order, in one transfer to the host."""
    found = list(tensors)
    if all(map(ON_CPU, found)):
        # On the CPU nothing is transferred: concatenation would only cost time.
        numbers: list[float] = []
        for tensor in found:
            numbers += tensor.detach().flatten().tolist() if tensor.ndim else (tensor.item(),)
        return numbers
    flat = [tensor.detach().flatten() for tensor in found]
    first = flat[0]
    if any(t.dtype != first.dtype or t.device != first.device for t in flat):
        dtype = widest(first.device)
        flat = [tensor.to(first.device, dtype, non_blocking=True) for tensor in flat]
    return list(torch.cat(flat).tolist())
