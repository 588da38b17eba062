"""Batch, and the protocol of samplers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from nbdebug.model.module.forward import leaves, to_device

MAX_CACHE_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch, its number of samples, and the progress of the epoch after it.

    `epoch` counts whole passes before the batch was drawn; `progress` is the completed share of
    the current pass, 1.0 with its last batch (for a stream: 0.0 before).
    `indices` [B] are the indices of the samples; None for a stream.
    """

    data: Any
    samples: int
    epoch: int
    progress: float
    indices: torch.Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """Return the batch with its data on a device."""
        return self.with_data(to_device(self.data, device))

    def with_data(self, data: Any) -> Batch:
        """Return the batch with other data."""
        return Batch(data, self.samples, self.epoch, self.progress, self.indices)


class Sampler(Protocol):
    """Source of training batches."""

    def next(self) -> Batch: ...

    def position(self) -> Any:
        """Return the position, as plain values and tensors that are never written to."""

    def seek(self, position: Any) -> None:
        """Return to a position, so that the same batches follow, in the batch size now in force.

        Raises:
            DataError: the data cannot be read again from there; nothing was changed.
        """

    def keep_everything(self) -> AbstractContextManager[None]:
        """Keep all batches drawn inside, so that they can be drawn again."""

    def reset(self) -> None:
        """Restart with the first batch of the first epoch."""

    def close(self) -> None:
        """End the worker processes; may be called twice."""


class BoundedBatchCache:
    """Mix-in of samplers that cache drawn data, up to `limit` bytes."""

    limit: float = MAX_CACHE_BYTES

    @contextmanager
    def keep_everything(self) -> Iterator[None]:
        """Keep all batches drawn inside, so that they can be drawn again."""
        limit, self.limit = self.limit, math.inf
        try:
            yield
        finally:
            self.limit = limit


def bytes_in(data: Any) -> int:
    """Bytes of all tensors in nested containers, and 64 for any other part."""
    return sum(
        leaf.numel() * leaf.element_size() if isinstance(leaf, torch.Tensor) else 64
        for leaf in leaves(data)
    )
