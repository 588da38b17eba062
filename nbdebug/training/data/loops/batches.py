"""One pass over a loader of the user's own loop, which can begin anywhere in the pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, cast

import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from nbdebug.core.attributes import attribute
from nbdebug.model.training_state import Batching
from nbdebug.training.data.loops.positions import Updates

# Numbers of torch's own DataLoader.
MAX_FORMS = 10_000
LOADER_SETTINGS = frozenset({"num_workers", "prefetch_factor", "timeout", "batch_size"})
NO_LOADER = "The data is no DataLoader: the loop decides how large a batch is."
WITH_WORKERS = (
    "The DataLoader has workers, which fetch ahead: give num_workers=0 to change it live."
)
OWN_LOADER = (
    "The DataLoader makes its batches in its own way: give batch_size= and sampler= to change it "
    "live."
)


def why_fixed(loader: Any) -> str:
    """Explain why the batch size of a loader cannot change during a pass; "" if it can."""
    if isinstance(loader, Updates):
        return loader.fixed
    if not isinstance(loader, DataLoader):
        return NO_LOADER
    if loader.num_workers:
        return WITH_WORKERS
    plain = type(loader).__iter__ is DataLoader.__iter__ and type(loader) is DataLoader
    sampled = type(loader.batch_sampler) is BatchSampler
    stream = isinstance(loader.dataset, IterableDataset)
    return "" if plain and sampled and not stream else OWN_LOADER


def counters_of(loader: Any) -> dict[str, int]:
    """Numbers that a DataLoader of another package keeps, such as that of its epoch."""
    if not isinstance(loader, DataLoader) or type(loader) is DataLoader:
        return {}
    names = vars(loader).keys() - LOADER_SETTINGS
    return {name: vars(loader)[name] for name in names if type(vars(loader)[name]) is int}


def form(batch: Any) -> Any:
    """Containers, shapes and types of a batch, without its values."""
    if isinstance(batch, Mapping):
        return type(batch), tuple((key, form(part)) for key, part in batch.items())
    if isinstance(batch, list | tuple):
        return type(batch), tuple(form(part) for part in batch)
    shape = attribute(batch, "shape", None)
    return type(batch), None if shape is None else str(shape), str(getattr(batch, "dtype", ""))


def add_form(forms: set[Any], batch: Any) -> None:
    """Remember the form of a batch; all are forgotten where they are too many."""
    if len(forms) >= MAX_FORMS:
        forms.clear()
    forms.add(form(batch))


def length_of(loader: Any) -> int | None:
    """Number of batches of a pass, None if it is unknown."""
    if isinstance(loader, Updates):
        return loader.steps
    try:
        return len(loader)
    except TypeError:
        return None


class LoaderPass:
    """A pass over any loader, batch by batch, as the loader gives them.

    Attributes:
        read: batches that were read.
    """

    def __init__(self, loader: Iterable[Any]) -> None:
        self._batches: Iterator[Any] = iter(loader)
        self._by_index = (
            isinstance(loader, DataLoader)
            and not (loader.num_workers or isinstance(loader.dataset, IterableDataset))
            and type(loader).__iter__ is DataLoader.__iter__
        )
        self.read = 0

    def next(self) -> Any:
        """Return the next batch, or raise StopIteration."""
        found = next(self._batches)
        self.read += 1
        return found

    def skip(self, count: int) -> None:
        """Leave out batches; of a dataset only the indices are drawn."""
        draw = getattr(self._batches, "_next_index", None) if self._by_index else None
        for _ in range(count):
            (draw or self._batches.__next__)()
        self.read += count


class SizedPass:
    """A pass over a DataLoader whose batch size may change at every batch.

    It draws what the iterator of the DataLoader draws, in the same order: a seed for workers, then
    the order of the sampler with the first batch.

    Attributes:
        read: samples that were read, and one more where the end was met with them.
    """

    def __init__(self, loader: DataLoader[Any], batching: Batching) -> None:
        self._loader, self._batching = loader, batching
        # The loader itself knows no other sampler than the one it was given.
        self._batches = given = cast(BatchSampler, loader.batch_sampler)
        torch.empty((), dtype=torch.int64).random_(generator=loader.generator)
        self._indices = iter(given.sampler)
        self.read = 0

    def next(self) -> Any:
        """Return the next batch, or raise StopIteration."""
        size, loader = self._batching.size, self._loader
        indices = list(islice(self._indices, size))
        if not indices or (self._batches.drop_last and len(indices) < size):
            raise StopIteration
        together = attribute(loader.dataset, "__getitems__", None)
        samples = together(indices) if together else [loader.dataset[i] for i in indices]
        # A sampler that met its end may have drawn there.
        self.read += min(len(indices) + 1, size)
        return loader.collate_fn(samples)

    def skip(self, count: int) -> None:
        """Leave out samples."""
        for _ in islice(self._indices, count):
            pass
        self.read += count
