"""Choice of the sampler for a source."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.utils.data import TensorDataset, default_collate

from nbdebug.model.training_state import Batching
from nbdebug.training.data.batch import Batch, Sampler
from nbdebug.training.data.cached_sampler import CachedSampler
from nbdebug.training.data.index_sampler import IndexPosition, IndexSampler
from nbdebug.training.data.seeding import derived_seed, seeded
from nbdebug.training.data.sources import (
    DatasetSource,
    IndexedSource,
    Source,
    StreamSource,
    TensorSource,
    order_of,
)
from nbdebug.training.data.stream_sampler import StreamSampler
from nbdebug.training.data.worker_sampler import WorkerSampler


class DirectSampler:
    """Sampler that fetches each batch on demand.

    Random transforms are seeded per batch, so a batch is identical whenever it is fetched.
    """

    def __init__(self, source: IndexedSource, indices: IndexSampler) -> None:
        self.source, self.indices = source, indices
        # Seeding takes time and is needed only for user code, which may be random.
        self._random = not _runs_no_user_code(source)

    def next(self) -> Batch:
        number = self.indices.drawn
        indices, epoch, progress = self.indices.next()
        if self._random:
            with seeded(derived_seed(self.indices.seed, number)):
                data = self.source.fetch(indices)
        else:
            data = self.source.fetch(indices)
        data = self.indices.batching.sample_edits.applied(data, indices)
        return Batch(data, len(indices), epoch, progress, indices)

    def position(self) -> IndexPosition:
        return self.indices.position()

    def seek(self, position: IndexPosition) -> None:
        self.indices.seek(position)

    def keep_everything(self) -> AbstractContextManager[None]:
        return nullcontext()

    def reset(self) -> None:
        self.indices.reset()

    def close(self) -> None:
        pass


def make_sampler(source: Source, data: Any, batching: Batching, seed: int) -> Sampler:
    """Create the sampler for a source; `data` is the argument of the user."""
    shuffle, drop_last, own = order_of(data)
    if isinstance(source, StreamSource):
        return StreamSampler(source, batching, seed, drop_last)
    indices = IndexSampler(
        source.length, batching, seed, shuffle=shuffle, drop_last=drop_last, own=own
    )
    if _runs_no_user_code(source):
        batching.sample_edits.see(source.fetch(torch.tensor([0])), 1)
    if isinstance(source, DatasetSource) and source.workers is not None:
        loader = source.workers
        batching.ahead = loader.num_workers * (loader.prefetch_factor or 2)
        return CachedSampler(WorkerSampler(source, loader, indices), batching)
    return DirectSampler(source, indices)


def indices_of(sampler: Sampler) -> IndexSampler | None:
    """Return the index sampler of a sampler; None for a stream."""
    inner = sampler.inner if isinstance(sampler, CachedSampler) else sampler
    return inner.indices if isinstance(inner, DirectSampler | WorkerSampler) else None


def _runs_no_user_code(source: IndexedSource) -> bool:
    if isinstance(source, TensorSource):
        return True
    return type(source.dataset) is TensorDataset and source.collate is default_collate
