"""The data of a training, for checks that need more of it than some batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader


def for_a_while(batches: Iterable[Any], seconds: float = 1.0) -> Iterator[Any]:
    """The batches that come within some seconds, one at least: data may be slow to read."""
    end = time.monotonic() + seconds
    for batch in batches:
        yield batch
        if time.monotonic() > end:
            return


@dataclass(frozen=True)
class Samples:
    """Where batches come from; nothing read here is missing from training.

    Attributes:
        length: samples there are, None for a stream.
        shuffled: whether every epoch has an order of its own; None where the order is a
            stream's or a sampler's of the user's own.
        drop_last: whether a short last batch is left out.
        seed: of the order.
        batch_size: samples a step.
        fetch: the batch of sample indices [B], on the device; None for a stream.
        held_out: the batches of validation data, on the device, None without such data.
        loader: the user's DataLoader when it has worker processes.
    """

    length: int | None
    shuffled: bool | None
    drop_last: bool
    seed: int
    batch_size: int
    fetch: Callable[[torch.Tensor], Any] | None
    held_out: Callable[[], Iterator[Any]] | None
    loader: DataLoader[Any] | None

    def epoch(self, seed: int = 0) -> Iterator[Any]:
        """Every sample once, in batches of the size in force, in an order from `seed`.

        A short last batch is left out where training leaves it out.

        Raises:
            ValueError: the data is a stream, which cannot be read twice.
        """
        if self.length is None or self.fetch is None:
            raise ValueError("The data is a stream: it cannot be read twice.")
        order = torch.randperm(self.length, generator=torch.Generator().manual_seed(seed))
        for indices in order.split(self.batch_size):
            if not (self.drop_last and len(indices) < self.batch_size):
                yield self.fetch(indices)
