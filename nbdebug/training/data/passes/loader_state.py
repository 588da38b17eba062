"""States of loaders that decide what a pass gives: order, and the dataset behind it."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from nbdebug.model.source_code import is_of_library
from nbdebug.training.data.passes.held_state import HeldState
from nbdebug.training.data.passes.indexed_state import IndexedState, state_of_dataset


def order_of(loader: Any) -> HeldState | None:
    """State of what decides the order of a loader; None for data that is read in its own order."""
    if isinstance(loader, DataLoader):
        if isinstance(loader.dataset, IterableDataset):
            return HeldState.capture(loader.dataset)
        return HeldState.capture([loader.generator, loader.batch_sampler or loader.sampler])
    plain = isinstance(loader, list | tuple | range | torch.Tensor)
    return None if plain or _is_made_once(loader) else HeldState.capture(loader)


def is_read_once(loader: Any, order: HeldState | None) -> bool:
    """True for an iterator that cannot begin a pass again, even from the state before it."""
    return isinstance(loader, Iterator) and (order is None or bool(order.moving))


def _is_made_once(loader: Any) -> bool:
    """True for an iterator whose state no attribute holds, such as a generator."""
    written = isinstance(getattr(type(loader), "__next__", None), types.FunctionType)
    return isinstance(loader, Iterator) and (not written or is_of_library(type(loader)))


def state_of(loader: Any) -> IndexedState | None:
    """State of the dataset of a loader, where batches are read in this process by index."""
    if not isinstance(loader, DataLoader) or loader.num_workers:
        return None
    if isinstance(loader.dataset, IterableDataset):
        return None
    return state_of_dataset(loader.dataset, loader.collate_fn)
