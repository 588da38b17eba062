"""Passes over the loaders of a loop, of which the batch size may change."""

from __future__ import annotations

from typing import Any

from nbdebug.model.state.model_state import RngState
from nbdebug.model.training_state import Batching
from nbdebug.training.data.loops.batches import (
    LoaderPass,
    SizedPass,
    counters_of,
    length_of,
    why_fixed,
)
from nbdebug.training.data.loops.positions import PassStart
from nbdebug.training.data.passes.indexed_state import IndexedState
from nbdebug.training.data.passes.loader_state import order_of, state_of


class PassMaker:
    """Makes passes over the last loader that it was told of.

    Attributes:
        state: of the dataset of the loader, where batches are read in this process.
    """

    def __init__(self, batching: Batching) -> None:
        self._batching = batching
        self.state: IndexedState | None = None
        # Batch size of the loader.
        self._given: int | None = None

    def take(self, loader: Any, last: Any) -> None:
        """Describe a loader, and take its batch size if it is another one than before.

        Args:
            last: the loader of the last pass; None before the first.
        """
        if loader is last:
            return
        given = self._given
        self.describe(loader)
        # A loop may make the same loader again for each epoch.
        if self._given not in (None, given):
            self._batching.size = loader.batch_sampler.batch_size

    def describe(self, loader: Any) -> None:
        """Take the dataset of a loader, and what its batch size can be."""
        batching = self._batching
        batching.fixed = why_fixed(loader)
        self.state = state_of(loader)
        if not batching.fixed:
            self._given, batching.limit = loader.batch_sampler.batch_size, len(loader.dataset)
        batching.batches = length_of(loader) if batching.fixed else None

    def start(self, loader: Any, rng: RngState | None) -> PassStart:
        """Beginning of a pass, with the random numbers there."""
        held = None if self.state is None else self.state.now()
        return PassStart(loader, rng, order_of(loader), held, counters_of(loader))

    def made(self, loader: Any) -> LoaderPass | SizedPass:
        """Begin a pass."""
        return LoaderPass(loader) if self._batching.fixed else SizedPass(loader, self._batching)

    def progress(self, read: int) -> float:
        """Share of a pass that is read, 0 if its length is unknown."""
        batching = self._batching
        length = batching.batches if batching.fixed else batching.limit
        return min(read / length, 1.0) if length else 0.0
