"""Batch, the protocol of samplers, and the batches of a step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence

from nbdebug.core.attributes import attribute
from nbdebug.core.contexts import contextmanager
from nbdebug.errors import ArgumentError
from nbdebug.model.module.forward import leaves, to_device
from nbdebug.model.training_state import Batching

MAX_CACHE_BYTES = 256 * 2**20
CountSamples = Callable[[Any], int]
COUNT_ATTRIBUTES = ("num_graphs", "batch_size")


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch, or all batches of a step, its number of samples, and the progress after it.

    `epoch` counts whole passes before the batch was drawn; `progress` is the completed share of
    the current pass, 1.0 with its last batch (for a stream: 0.0 before).
    `indices` [B] are the indices of the samples; None for a stream.
    `parts` are the batches of a step of several, and `data` is then a tuple of their data.
    `later` tells the progress once the step is made, where reading on before would change it.
    """

    data: Any
    samples: int
    epoch: int
    progress: float
    indices: torch.Tensor | None = None
    parts: tuple[Batch, ...] = ()
    later: Callable[[], float] | None = None

    def completed(self) -> Batch:
        """The batch with its progress, behind its step."""
        if self.later is None:
            return self
        progress = 0.0
        # What reading on raises the next step shows.
        with suppress(Exception):
            progress = self.later()
        return replace(self, progress=progress, later=None)

    @classmethod
    def of(cls, parts: Sequence[Batch]) -> Batch:
        """Return the batches of a step as one; a single one as it is."""
        last = parts[-1]
        if len(parts) == 1:
            return last
        known = [part.indices for part in parts if part.indices is not None]
        return cls(
            tuple(part.data for part in parts),
            sum(part.samples for part in parts),
            last.epoch,
            last.progress,
            torch.cat(known) if len(known) == len(parts) else None,
            tuple(parts),
        )

    @property
    def each(self) -> tuple[Batch, ...]:
        """The batches that the step is made of, in their order."""
        return self.parts or (self,)

    def without_last(self) -> Batch | None:
        """Return the step without its last batch, whose progress it keeps; None if it had one."""
        if not self.parts:
            return None
        *others, last, _ = self.parts
        return Batch.of([*others, replace(last, progress=self.progress)])

    def to(self, device: torch.device) -> Batch:
        """Return the batch with its data on a device; those of several are moved one by one."""
        if self.parts:
            return self
        moved = to_device(self.data, device)
        return self if moved is self.data else self.with_data(moved)

    def with_data(self, data: Any) -> Batch:
        """Return the batch with other data."""
        return replace(self, data=data, parts=())


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

    def skip(self) -> Batch:
        """Leave out the next batch without reading it; return it without data.

        Raises:
            DataError: the samples of the next batch are not known without reading them.
        """

    def keep_everything(self) -> AbstractContextManager[None]:
        """Keep all batches drawn inside, so that they can be drawn again."""

    def reset(self) -> None:
        """Restart with the first batch of the first epoch."""

    def close(self) -> None:
        """End the worker processes; may be called twice."""


def draw_step(sampler: Sampler, batching: Batching) -> Batch:
    """Draw the batches of the next step, as one; a step ends with its epoch.

    Raises:
        Exception: whatever reading raised; the sampler can seek the position from before.
    """
    first = sampler.next()
    if batching.accumulate == 1:
        return first
    # A step is read again as a whole if one of its batches fails.
    with sampler.keep_everything():
        return _step_from(first, sampler.next, sampler, batching)


def skip_step(sampler: Sampler, batching: Batching) -> Batch:
    """Leave out the batches of the next step without reading them; return them without data.

    Raises:
        DataError: its samples are not known without reading them.
    """
    return _step_from(sampler.skip(), sampler.skip, sampler, batching)


def _step_from(
    first: Batch, take: Callable[[], Batch], sampler: Sampler, batching: Batching
) -> Batch:
    parts = [first]
    while len(parts) < batching.accumulate and parts[-1].progress < 1.0:
        before = sampler.position() if batching.ahead else None
        part = take()
        if part.epoch != first.epoch:
            # Prefetched with another batch size, the last one does not know of its end.
            sampler.seek(before)
            break
        parts.append(part)
    return Batch.of(parts)


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
    """Bytes of all tensors, arrays and texts in nested containers, and 64 for any other part."""
    return sum(map(_size, leaves(data)))


def _size(leaf: Any) -> int:
    if isinstance(leaf, torch.Tensor):
        return leaf.numel() * leaf.element_size()
    if isinstance(leaf, np.ndarray):
        return leaf.nbytes
    return 64 + (len(leaf) if isinstance(leaf, bytes | bytearray | str) else 0)


def count_samples(batch: Any) -> int:
    """Number of samples in a batch: the length that its tensors have in common, else 1."""
    lengths = set(_lengths(batch))
    return lengths.pop() if len(lengths) == 1 else 1


def _lengths(batch: Any) -> list[int]:
    if isinstance(batch, torch.Tensor):
        return [len(batch)] if batch.ndim else []
    if isinstance(batch, PackedSequence):
        return [int(batch.batch_sizes[0])]
    if isinstance(batch, Mapping):
        return [length for part in batch.values() for length in _lengths(part)]
    if isinstance(batch, tuple | list):
        return [length for part in batch for length in _lengths(part)]
    found = (attribute(batch, name, None) for name in COUNT_ATTRIBUTES)
    return [value for value in found if type(value) is int][:1]


def declared(batch_size_of: Any) -> CountSamples:
    """Return the user's count of samples, with its results checked.

    Raises:
        ArgumentError: it is no function, or gave no whole number of at least 1.
    """
    if not callable(batch_size_of):
        raise ArgumentError(
            f"batch_size_of is a {type(batch_size_of).__name__}: expected a function that takes a "
            "batch and returns its number of samples."
        )

    def count(batch: Any) -> int:
        size = batch_size_of(batch)
        size = size.item() if isinstance(size, torch.Tensor) and size.numel() == 1 else size
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ArgumentError(
                f"batch_size_of gave {size!r:.80}: expected a whole number of at least 1."
            )
        return size

    return count
