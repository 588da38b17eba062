"""A batch, and what gives batches."""

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
    """A batch, how many samples it holds, and where the epoch stands after it.

    `epoch` counts whole passes before the batch was drawn; `progress` is the share of
    the current pass that is done, 1.0 with its last batch (a stream: 0.0 until then).
    `indices` [B] say which samples those are; a stream has none.
    """

    data: Any
    samples: int
    epoch: int
    progress: float
    indices: torch.Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch with its data on a device."""
        return self.with_data(to_device(self.data, device))

    def with_data(self, data: Any) -> Batch:
        """The same batch with other data."""
        return Batch(data, self.samples, self.epoch, self.progress, self.indices)


class Sampler(Protocol):
    """Where training gets its batches from."""

    def next(self) -> Batch: ...

    def position(self) -> Any:
        """Where it stands, as plain values and tensors that nobody writes to."""

    def seek(self, position: Any) -> None:
        """Stand there again, so that the same batches come; new sizes come into force.

        Raises:
            DataError: the data cannot be read again from there; nothing was changed.
        """

    def keep_everything(self) -> AbstractContextManager[None]:
        """Whatever is drawn inside can come again afterwards."""

    def reset(self) -> None:
        """Begin again with the first batch of the first epoch."""

    def close(self) -> None:
        """End the processes that fetch; may be called twice."""


class BoundedBatchCache:
    """Keeps what it gave, so that it can come again, up to `limit` bytes."""

    limit: float = MAX_CACHE_BYTES

    @contextmanager
    def keep_everything(self) -> Iterator[None]:
        """Whatever is drawn inside can come again afterwards."""
        limit, self.limit = self.limit, math.inf
        try:
            yield
        finally:
            self.limit = limit


def bytes_in(data: Any) -> int:
    """Bytes of all tensors in nested containers, and 64 for each part that is none."""
    return sum(
        leaf.numel() * leaf.element_size() if isinstance(leaf, torch.Tensor) else 64
        for leaf in leaves(data)
    )
