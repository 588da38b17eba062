"""Order of the samples that a DataLoader gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
)

from nbdebug.core.attributes import attribute
from nbdebug.training.data.sources import begin_epoch

MAX_LISTED_INDICES = 8_000_000
OWN_BATCHES = (
    "The DataLoader's batch_sampler decides which samples are in a batch: the batch size is not "
    "adjustable. Give the DataLoader batch_size= and sampler= instead to change it live."
)
READY_BATCHES = (
    "The data comes as ready batches: the batch size is not adjustable. Give a Dataset, or a "
    "plain DataLoader with batch_size=, to change it live."
)


class Order(NamedTuple):
    """Order of samples.

    Attributes:
        own: sampler of the user, None for a shuffled or sequential order.
        batches: True if the sampler yields batches; lazy: True if it is read bit by bit.
        begin_epoch: tells the samplers the number of an epoch, before they are read.
    """

    shuffle: bool
    drop_last: bool
    own: Any
    batches: bool
    lazy: bool
    begin_epoch: Callable[[int], None]


def order_of(data: Any, ready: bool = False) -> Order:
    """Return the order of data; `ready` if its items are ready batches.

    Data without a DataLoader is shuffled and keeps its last batch; a list of ready batches stays
    in its order.
    """
    if not isinstance(data, DataLoader) or isinstance(data.dataset, IterableDataset):
        drop_last = bool(attribute(data, "drop_last", False))
        return Order(not ready, drop_last, None, False, False, begin_epoch())
    batches = data.batch_sampler
    # Not isinstance: a subclass may make other batches.
    plain = batches is None or type(batches) is BatchSampler
    sampler = data.sampler if batches is None else getattr(batches, "sampler", None)
    begin = _beginning(data, [sampler] if plain else [sampler, batches])
    if not plain:
        return Order(False, False, batches, True, True, begin)
    drop_last = bool(getattr(batches, "drop_last", False))
    if type(sampler) is SequentialSampler:
        return Order(False, drop_last, None, False, False, begin)
    if _is_permutation(sampler):
        return Order(True, drop_last, None, False, False, begin)
    return Order(False, drop_last, sampler, False, _is_long(sampler), begin)


def _beginning(loader: DataLoader[Any], samplers: list[Any]) -> Callable[[int], None]:
    begin = begin_epoch(*samplers)

    def begin_and_draw(epoch: int) -> None:
        begin(epoch)
        if loader.generator is not None:
            # As the loader itself, which draws the seed of its workers before the order.
            torch.empty((), dtype=torch.int64).random_(generator=loader.generator)

    return begin_and_draw


def _is_permutation(sampler: Any) -> bool:
    """Tell if each epoch is one permutation of all samples, from the seed of training."""
    return (
        type(sampler) is RandomSampler
        and not sampler.replacement
        and sampler.generator is None
        and sampler.num_samples == len(sampler.data_source)
    )


def _is_long(sampler: Any) -> bool:
    length = length_of(sampler)
    return length is None or length > MAX_LISTED_INDICES


def length_of(sampler: Any) -> int | None:
    """Length of a sampler, None if it has none."""
    try:
        return len(sampler)
    except (TypeError, NotImplementedError):
        return None
