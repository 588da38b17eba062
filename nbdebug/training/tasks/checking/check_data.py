"""Batches for checks; reading them does not advance the training sampler."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    WeightedRandomSampler,
)

from nbdebug.checks._context import Evaluate
from nbdebug.checks._samples import Samples, limited_by_time
from nbdebug.core.contexts import contextmanager
from nbdebug.core.error_text import raise_interrupt
from nbdebug.model.module.forward import call, split, to_device
from nbdebug.model.origin.found_loss import OwnLoss
from nbdebug.training.data.batch import count_samples
from nbdebug.training.data.lazy_index_sampler import LazyIndexSampler
from nbdebug.training.data.loops.sampler import LoopSampler
from nbdebug.training.data.passes.indexed_state import IndexedState
from nbdebug.training.data.samplers import indices_of
from nbdebug.training.data.seeding import seeded
from nbdebug.training.data.sources import (
    DatasetSource,
    IndexedSource,
    Source,
    StreamSource,
    as_source,
)
from nbdebug.training.data.validation import Validation
from nbdebug.training.engine.session import Session
from nbdebug.training.own_loop.seen_calls import SeenStep

MAX_SAMPLES = 1024
MAX_BATCHES = 32
MAX_SECONDS = 2.0
MAX_INDICES = 100_000


def some_batches(session: Session) -> Iterator[Any]:
    """Yield some training batches, full ones if possible, without changing the data order.

    A stream cannot be read twice: its batch here is also the next one of training. Of a loop that
    reads its data itself it is the last one.
    """
    body = session.body
    if body is not None and not body.repeats:
        yield to_device(body.passing()[0], session.device)
        return
    if body is not None and body.loop.batch is not None and body.sampler.reads_once:
        yield to_device(body.loop.batch.data, session.device)
        return
    source = session.source
    if source.ready or isinstance(source, StreamSource):
        sampler = session.sampler
        position = sampler.position()
        batch = sampler.next()
        sampler.seek(position)
        session.ready.look(batch.data)
        yield to_device(batch.data, session.device)
        return
    sample_edits = session.batching.sample_edits
    batches = (
        to_device(sample_edits.applied(source.fetch(part), part), session.device)
        for part in _random_parts(session, source.length)
    )
    yield from limited_by_time(batches, MAX_SECONDS)


def read_ahead(session: Session) -> BaseException | None:
    """Read the next batch of a loop if it is read once; called before the state is copied.

    What reading has moved, such as a place that the source keeps elsewhere, is then part of the
    state that looks put back. A loop at the end of its pass begins the next one.

    Returns:
        What reading raised.
    """
    body = session.body
    if body is None or not body.repeats or not body.sampler.reads_once:
        return None
    try:
        while not body.is_ready():
            body.next_loader()
    except BaseException as error:
        raise_interrupt(error)
        return error
    return None


def _random_parts(session: Session, length: int) -> list[torch.Tensor]:
    """Indices of samples for some batches in a random order, whole ones if possible."""
    order = torch.randperm(length, generator=torch.Generator().manual_seed(session.step))
    batching, size = session.batching, session.batching.size
    if batching.sample_edits.excluded:
        order = order[batching.sample_edits.kept(order)]
    parts = order[: max(MAX_SAMPLES, size)].split(size)
    whole = [part for part in parts if len(part) == size] or list(parts)
    return whole[:MAX_BATCHES]


def seen_steps(session: Session) -> list[SeenStep]:
    """Steps of a loop of the user's own that can be computed again without it."""
    if session.body is None:
        return []
    return [step for step in session.body.updates.seen.calls.steps if step.is_as_it_was]


def take_modes(session: Session, seen: Sequence[SeenStep]) -> None:
    """Put modules into the modes of some steps; the loop may have validated since."""
    modes = seen[0].modes if seen else ()
    for module, training in zip(session.model.modules(), modes, strict=False):
        module.training = training


def loss_of_steps(session: Session, seen: Sequence[SeenStep]) -> tuple[Any, Evaluate]:
    """Loss function of steps of a loop, and what returns loss, outputs and targets of a batch."""
    loss_fn, dtype, kind = seen[0].loss_fn, seen[0].autocast, session.device.type

    def evaluate(batch: Any) -> tuple[Any, Any, Any]:
        as_seen = nullcontext() if dtype is None else torch.autocast(kind, dtype)
        with session.batch_norms.measuring_once(), as_seen:
            if isinstance(loss_fn, OwnLoss):
                return loss_fn.chosen(call(session.model, batch)), None, None
            inputs, targets = split(batch)
            outputs = call(session.model, inputs)
            return loss_fn(outputs, targets), outputs, targets

    return None if isinstance(loss_fn, OwnLoss) else loss_fn, evaluate


def all_samples(session: Session, seen: Sequence[SeenStep] = (), of_loader: bool = True) -> Samples:
    """Describe the data source for checks; `seen` steps of a loop show its batch size.

    Args:
        of_loader: True to read the dataset of the loader of a loop.
    """
    validation, indices = session.validation, indices_of(session.sampler)
    source, shuffled, drop_last, whole, of_loop = _reading(session, of_loader)
    stream = source.ready or isinstance(source, StreamSource) or not whole
    # A sampler of the user's own may leave samples out, or repeat them.
    others = partial(_others, session, source) if of_loop and shuffled is not None else None

    def held_out() -> Iterator[Any]:
        assert isinstance(validation, Validation)
        return (to_device(batch, session.device) for batch in validation.batches())

    return Samples(
        length=None if stream else source.length,
        shuffled=shuffled,
        drop_last=drop_last,
        seed=session.seed,
        batch_size=max((count_samples(s.batch) for s in seen), default=session.batching.size),
        fetch=None
        if stream or isinstance(source, StreamSource)
        else partial(_fetched, source, session.device),
        unseeded=source.state is not None and source.state.has_unseeded_generator(),
        held_out=held_out if isinstance(validation, Validation) else None,
        loader=source.workers if isinstance(source, DatasetSource) else None,
        drawn=None if indices is None or indices.own is None else partial(_drawn, indices),
        seeded=seeded,
        held=source.dataset if isinstance(source, DatasetSource) else _kept_batches(session),
        others=others,
        moving=partial(_moving, getattr(source, "state", None)),
    )


def _kept_batches(session: Session) -> Any:
    """The list of batches that a loop goes through again and again; None without one."""
    loader = session.sampler.loader if isinstance(session.sampler, LoopSampler) else None
    return loader if isinstance(loader, list | torch.Tensor) else None


class _Reading(NamedTuple):
    """Data of a training, and how they are read.

    Attributes:
        shuffled: None for an order of the user's own.
        whole: False if samples may be left out. The loop is not made for those, and what it raised
            for one would end it.
        of_loop: True for the loader of a loop.
    """

    source: Source
    shuffled: bool | None = None
    drop_last: bool = False
    whole: bool = True
    of_loop: bool = False


def _reading(session: Session, of_loader: bool) -> _Reading:
    indices, sampler = indices_of(session.sampler), session.sampler
    if indices is not None:
        shuffled = None if indices.own is not None else indices.shuffle
        return _Reading(session.source, shuffled, indices.drop_last)
    found = _of_loader(sampler) if of_loader and isinstance(sampler, LoopSampler) else None
    return found or _Reading(session.source)


def _others(session: Session, source: Any) -> Iterator[Any]:
    """Some batches of the data of a loop, of samples in a random order."""
    parts = _random_parts(session, source.length)
    batches = (_fetched(source, session.device, part) for part in parts)
    return limited_by_time(batches, MAX_SECONDS)


def _fetched(source: IndexedSource, device: torch.device, chosen: torch.Tensor) -> Any:
    """Batch of some samples on the device."""
    # What the dataset holds goes back with the training, so it does here.
    state = source.state
    held = None if state is None or state.is_moving else state.now()
    try:
        return to_device(source.fetch(chosen), device)
    finally:
        if held is not None:
            held.restore()


@contextmanager
def _moving(state: IndexedState | None) -> Iterator[None]:
    """Context in which reading samples moves the dataset, which goes back at its end."""
    if state is None:
        yield
        return
    held, state.is_moving = state.now(), True
    try:
        yield
    finally:
        state.is_moving = False
        held.restore()


def _of_loader(sampler: LoopSampler) -> _Reading | None:
    """A loader of a loop that reads samples by index."""
    loader = sampler.loader
    if not isinstance(loader, DataLoader) or loader.batch_size is None:
        return None
    if isinstance(loader.dataset, IterableDataset):
        return None
    source = as_source(loader, torch.get_default_dtype())
    if isinstance(source, StreamSource) or source.ready:
        return None
    if isinstance(source, DatasetSource):
        # Workers read copies; here the dataset itself is read, and must stay as it is.
        source.state = sampler.state or IndexedState(source.dataset, source.own_collate)
    orders = {RandomSampler: True, SequentialSampler: False}
    shuffled, whole = orders.get(type(loader.sampler)), _gives_all(loader.sampler)
    return _Reading(source, shuffled, loader.drop_last, whole, of_loop=True)


def _gives_all(sampler: Any) -> bool:
    """True for a sampler that may give every sample."""
    if isinstance(sampler, WeightedRandomSampler):
        return bool((sampler.weights > 0).all())
    return isinstance(sampler, RandomSampler | SequentialSampler)


def _drawn(indices: Any) -> torch.Tensor:
    """Order of the current epoch, or of the first one; of a long one what comes next."""
    if isinstance(indices, LazyIndexSampler):
        return indices.ahead(min(indices.length, MAX_INDICES))
    order: torch.Tensor = indices.own.of(max(indices.epoch, 0))
    return order
