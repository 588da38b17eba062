"""Source of data whose loader is known when a loop of the user's own begins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nbdebug.model.training_state import Batching
from nbdebug.training.data.batch import count_samples
from nbdebug.training.data.loops.rng import LoopRng
from nbdebug.training.data.loops.sampler import LoopSampler
from nbdebug.training.data.sources import StreamSource


class LoopSource(StreamSource):
    """Data of a loop of the user's own, which gives ready batches.

    Attributes:
        body: makes the update of a step; sampler, rng: of the loop.
    """

    def __init__(self, body: Any, rng: LoopRng) -> None:
        super().__init__((), _as_it_is, count_samples)
        self.body, self.rng = body, rng

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def sampler(self, batching: Batching) -> LoopSampler:
        """Make the sampler of the loop."""
        return LoopSampler(self.body, self.rng, batching)


def _as_it_is(batch: Any) -> Any:
    return batch
