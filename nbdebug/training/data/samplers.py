"""Choice of the sampler for a source."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch.utils.data import TensorDataset, default_collate

from nbdebug.errors import DataError
from nbdebug.model.training_state import Batching
from nbdebug.training.data.batch import Batch, Sampler
from nbdebug.training.data.cached_sampler import CachedPosition, CachedSampler
from nbdebug.training.data.index_sampler import IndexPosition, IndexSampler
from nbdebug.training.data.lazy_index_sampler import LazyIndexSampler, LazyPosition
from nbdebug.training.data.loops.positions import NOT_RESUMED
from nbdebug.training.data.loops.sampler import LoopSampler
from nbdebug.training.data.loops.source import LoopSource
from nbdebug.training.data.order import OWN_BATCHES, READY_BATCHES, Order, length_of, order_of
from nbdebug.training.data.parts import TensorPart
from nbdebug.training.data.passes.held_state import HeldState
from nbdebug.training.data.passes.indexed_state import IndexedState
from nbdebug.training.data.seeding import derived_seed, seeded
from nbdebug.training.data.sources import (
    DatasetSource,
    IndexedSource,
    Source,
    StreamSource,
    TensorSource,
    batch_size_of,
    begin_epoch,
)
from nbdebug.training.data.stream_sampler import StreamPosition, StreamSampler
from nbdebug.training.data.worker_sampler import BatchRequest, WorkerPosition, WorkerSampler

DEFAULT_BATCH_SIZE = 64
Indices = IndexSampler | LazyIndexSampler


class DirectPosition(NamedTuple):
    """Position of the indices, and the state of the dataset there.

    Attributes:
        held: a `HeldState`; in a file, what has changed since the beginning, None for nothing.
    """

    indices: Any
    held: Any = None


class DirectSampler:
    """Sampler that fetches each batch on demand.

    Random transforms are seeded per batch, so a batch is identical whenever it is fetched.
    """

    def __init__(self, source: IndexedSource, indices: Indices) -> None:
        self.source, self.indices = source, indices
        # Seeding takes time and is needed only for user code, which may be random.
        self._random = not _runs_no_user_code(source)
        self._tell_epoch = begin_epoch(getattr(source, "dataset", None))
        self._epoch = -1
        self.state = source.state if isinstance(source, DatasetSource) else None

    def next(self) -> Batch:
        number = self.indices.drawn
        indices, epoch, progress = self.indices.next()
        if epoch != self._epoch:
            self._tell_epoch(epoch)
            self._epoch = epoch
        if self._random:
            with seeded(derived_seed(self.indices.seed, number)):
                data = self.source.fetch(indices)
        else:
            data = self.source.fetch(indices)
        if isinstance(self.source, DatasetSource) and self.source.ready:
            return Batch(data, self.source.count(data), epoch, progress, later=self._later)
        data = self.indices.batching.sample_edits.applied(data, indices)
        return Batch(data, len(indices), epoch, progress, indices, later=self._later)

    @property
    def _later(self) -> Callable[[], float] | None:
        return self.indices.later if isinstance(self.indices, LazyIndexSampler) else None

    def skip(self) -> Batch:
        indices, epoch, progress = self.indices.next()
        return Batch(None, len(indices), epoch, progress, indices)

    def position(self) -> DirectPosition | IndexPosition | LazyPosition:
        position, held = self.indices.position(), self.state and self.state.now(sparing=True)
        return position if held is None else DirectPosition(position, held)

    def seek(self, position: Any) -> None:
        held = None
        if isinstance(position, DirectPosition):
            position, held = position
        self.indices.seek(position)
        if isinstance(held, HeldState):
            held.restore()
        elif held is not None and self.state is not None:
            self.state.write(held)
        # The dataset may be back in another epoch.
        self._epoch = -1

    def portable(self, indices: Any, held: Any) -> Any:
        """Return a position that a new process can seek.

        Raises:
            DataError: the state of the dataset cannot be restored from a file.
        """
        changed = None if self.state is None else self.state.plain(held)
        return indices if changed is None else DirectPosition(indices, changed)

    def keep_everything(self) -> AbstractContextManager[None]:
        return nullcontext()

    def reset(self) -> None:
        self.indices.reset()
        if self.state is not None:
            self.state.first.restore()
        self._epoch = -1

    def close(self) -> None:
        pass


def make_batching(source: Source, data: Any, wanted: int | None) -> Batching:
    """Create the settings of batches; `wanted` is the batch size that the user asked for."""
    order, length = order_of(data, source.ready), source.length
    if not (source.ready or order.batches):
        size = wanted or batch_size_of(data) or DEFAULT_BATCH_SIZE
        return Batching(min(size, length or size), length)
    batching = Batching(batch_size_of(data) or 1, None if source.ready else length)
    batching.fixed = READY_BATCHES if source.ready else OWN_BATCHES
    batching.batches = length if source.ready else length_of(order.own)
    if batching.batches and not source.ready and batch_size_of(data) is None:
        batching.size = max(round((length or 0) / batching.batches), 1)
    return batching


def make_sampler(source: Source, data: Any, batching: Batching, seed: int) -> Sampler:
    """Create the sampler for a source; `data` is the argument of the user."""
    if isinstance(source, LoopSource):
        return source.sampler(batching)
    ready, order = source.ready, order_of(data, source.ready)
    if isinstance(source, StreamSource):
        return StreamSampler(source, batching, seed, order.drop_last and not ready)
    # Each item of ready batches is a batch.
    indices = _indices(source, order, Batching(1, source.length) if ready else batching, seed)
    if _runs_no_user_code(source):
        batching.sample_edits.see(source.fetch(torch.tensor([0])), 1)
    elif isinstance(source, DatasetSource):
        source.state = IndexedState(source.dataset, source.own_collate)
    if isinstance(source, DatasetSource) and source.workers is not None:
        loader = source.workers
        batching.ahead = loader.num_workers * (loader.prefetch_factor or 2)
        return CachedSampler(WorkerSampler(source, loader, indices), batching)
    return DirectSampler(source, indices)


def _indices(source: IndexedSource, order: Order, batching: Batching, seed: int) -> Indices:
    if order.lazy:
        return LazyIndexSampler(
            order.own, source.length, batching, seed, order.begin_epoch,
            batches=order.batches, drop_last=order.drop_last,
        )  # fmt: skip
    return IndexSampler(
        source.length, batching, seed, shuffle=order.shuffle, drop_last=order.drop_last,
        own=order.own, begin_epoch=order.begin_epoch,
    )  # fmt: skip


def indices_of(sampler: Sampler) -> Indices | None:
    """Return the index sampler of a sampler; None for a stream."""
    inner = sampler.inner if isinstance(sampler, CachedSampler) else sampler
    return inner.indices if isinstance(inner, DirectSampler | WorkerSampler) else None


def portable_position(position: Any, sampler: Sampler) -> Any:
    """Return a position that the sampler of a new process can seek.

    Raises:
        DataError: the order of a user-defined sampler cannot be recorded.
    """
    indices = indices_of(sampler)
    if isinstance(position, DirectPosition) and isinstance(sampler, DirectSampler):
        return sampler.portable(portable_position(position.indices, sampler), position.held)
    if isinstance(position, IndexPosition) and isinstance(indices, IndexSampler):
        return indices.portable(position)
    if isinstance(position, LazyPosition) and isinstance(indices, LazyIndexSampler):
        return indices.portable(position)
    if isinstance(position, StreamPosition) and isinstance(sampler, StreamSampler):
        return sampler.portable(position)
    if isinstance(position, CachedPosition):
        return position._replace(inner=portable_position(position.inner, sampler))
    if isinstance(position, WorkerPosition):
        # Only the first request says where a sampler without workers begins.
        waiting = tuple(
            request._replace(before=portable_position(request.before, sampler) if not n else None)
            for n, request in enumerate(position.waiting)
        )
        return WorkerPosition(portable_position(position.indices, sampler), waiting)
    return position


def fitting_position(position: Any, sampler: Sampler) -> Any:
    """Return a position of a file for this sampler, which may have other loader workers.

    Raises:
        DataError: the position is none of this data.
    """
    indices = indices_of(sampler)
    if indices is None:
        return _of_stream(position, sampler)
    number: int | None = None
    waiting: tuple[Any, ...] = ()
    held: Any = None
    if isinstance(position, DirectPosition):
        position, held = position
    if isinstance(position, CachedPosition):
        number, position = position
    if isinstance(position, WorkerPosition):
        position, waiting = position
    _check_indices(position, indices)
    for request in waiting:
        _check_request(request, indices)
    if isinstance(sampler, CachedSampler):
        drawn = position.drawn if number is None else number
        return CachedPosition(drawn, WorkerPosition(position, tuple(waiting)))
    if not waiting:
        return position if held is None else DirectPosition(position, held)
    if waiting[0].before is None:
        raise DataError(
            "The checkpoint was written with loader workers, by an older version of nbdebug, and "
            "holds batches that they had prefetched: resume it with num_workers= as before."
        )
    return waiting[0].before


def _of_stream(position: Any, sampler: Any) -> StreamPosition:
    if not isinstance(position, StreamPosition):
        raise DataError("The checkpoint is of other data, which is no stream.")
    sampler.check(position)
    return position


def _check_indices(position: Any, indices: Indices) -> None:
    """Refuse a position that is none of this order."""
    if isinstance(indices, LazyIndexSampler):
        if isinstance(position, LazyPosition):
            return indices.check(position)
    elif isinstance(position, IndexPosition):
        return indices.check(position)
    raise DataError(
        "The checkpoint is of another order of the data: give the same sampler or batch_sampler."
    )


def prepare_resume(sampler: Sampler) -> str:
    """Keep, from now on, what `portable_position` needs.

    Returns:
        Why a training cannot go on after a restart of the process; "" if it can.
    """
    if isinstance(sampler, LoopSampler):
        return NOT_RESUMED
    indices = indices_of(sampler)
    if isinstance(indices, IndexSampler):
        return "" if indices.own is None else indices.own.unrecordable
    reads = sampler if isinstance(sampler, StreamSampler) else indices
    return "" if reads is None else reads.reader.prepare_resume()


def moved_in_workers(sampler: Sampler) -> str:
    """Place of a value of the dataset that moves in loader workers; "" if none was seen."""
    inner = sampler.inner if isinstance(sampler, CachedSampler) else sampler
    return inner.moved if isinstance(inner, WorkerSampler) else ""


def _check_request(request: Any, indices: Indices) -> None:
    """Refuse a prefetched batch that is none of this data."""
    if not isinstance(request, BatchRequest):
        raise DataError("The checkpoint has a prefetched batch of another form.")
    taken, _, progress, number, before = request
    fits = isinstance(taken, torch.Tensor) and (taken.ndim, taken.dtype) == (1, torch.int64)
    if not (fits and len(taken) and taken.min() >= 0 and taken.max() < indices.length):
        raise DataError("The checkpoint has a prefetched batch of other samples.")
    whole = type(number) is int and type(request.epoch) is int and request.epoch >= 0
    if not whole or number < 0 or type(progress) is not float or not 0 <= progress <= 1:
        raise DataError("The checkpoint has a prefetched batch of another epoch.")
    if before is not None:
        _check_indices(before, indices)


def _runs_no_user_code(source: IndexedSource) -> bool:
    if isinstance(source, TensorSource):
        return all(isinstance(part, TensorPart) for part in source.parts)
    return type(source.dataset) is TensorDataset and source.collate is default_collate
