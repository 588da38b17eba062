"""Access to all data of a training, for checks that need more than some batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader


def limited_by_time(batches: Iterable[Any], seconds: float = 1.0) -> Iterator[Any]:
    """Yield batches until a time limit, at least one batch, since data can be slow to read."""
    end = time.monotonic() + seconds
    for batch in batches:
        yield batch
        if time.monotonic() > end:
            return


@dataclass(frozen=True)
class Samples:
    """Access to the data; samples that are read here are not lost for training.

    Attributes:
        length: number of samples, None for a stream.
        shuffled: True if every epoch has another order; None if a stream or the user's own
            sampler determines the order.
        drop_last: True if a short last batch is dropped.
        seed: seed of the order.
        batch_size: samples per step.
        fetch: loads the batch with sample indices [B] to the device; None for a stream.
        unseeded: True if the dataset draws from a generator of its own that has no seed.
        held_out: yields the batches of validation data on the device; None without such data.
        loader: the user's DataLoader if it has worker processes.
        drawn: indices [N] of an epoch in the order of the user's own sampler, None without one.
        seeded: context in which all generators are seeded with a number.
        held: the dataset, or the list of batches, that holds the data; None where it is not known.
        others: yields batches in a random order, of a loop that was given its next one only.
        moving: context in which `fetch` leaves what reading writes into the dataset until it ends.
    """

    length: int | None
    shuffled: bool | None
    drop_last: bool
    seed: int
    batch_size: int
    fetch: Callable[[torch.Tensor], Any] | None
    unseeded: bool
    held_out: Callable[[], Iterator[Any]] | None
    loader: DataLoader[Any] | None
    drawn: Callable[[], torch.Tensor] | None = None
    seeded: Callable[[int], AbstractContextManager[None]] = lambda seed: nullcontext()
    held: Any = None
    others: Callable[[], Iterator[Any]] | None = None
    moving: Callable[[], AbstractContextManager[None]] = nullcontext

    def read(self, places: Sequence[int], seed: int) -> Any:
        """Load the batch of some samples, with random transforms from `seed`.

        Raises:
            ValueError: the data is a stream, which can be read only once.
        """
        if self.fetch is None:
            raise ValueError("The data is a stream and can be read only once.")
        with self.seeded(seed):
            return self.fetch(torch.tensor(places))

    def epoch(self, seed: int = 0) -> Iterator[Any]:
        """Yield every sample once, in batches of the current size, in an order from `seed`.

        A short last batch is dropped if training drops it.

        Raises:
            ValueError: the data is a stream, which can be read only once.
        """
        if self.length is None or self.fetch is None:
            raise ValueError("The data is a stream and can be read only once.")
        order = torch.randperm(self.length, generator=torch.Generator().manual_seed(seed))
        for indices in order.split(self.batch_size):
            if not (self.drop_last and len(indices) < self.batch_size):
                yield self.fetch(indices)
