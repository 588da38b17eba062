"""Sources of samples, from the kinds of data that users give."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, default_collate

from nbdebug.core.attributes import attribute, has
from nbdebug.errors import DataError
from nbdebug.training.data.batch import CountSamples, count_samples
from nbdebug.training.data.parts import Part, TensorPart, make_part
from nbdebug.training.data.passes.indexed_state import IndexedState


class TensorSource:
    """Data in parts, each [N, ...]; a batch holds rows of each part."""

    workers: DataLoader[Any] | None = None
    ready, state, kept = False, None, False

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = tuple(parts)
        self.length = self.parts[0].length

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """The tensors, without parts that are read from elsewhere."""
        return tuple(part.tensor for part in self.parts if isinstance(part, TensorPart))

    def fetch(self, indices: torch.Tensor) -> Any:
        return tuple(part.rows(indices) for part in self.parts)


class DatasetSource:
    """A map-style dataset and its collate function.

    Attributes:
        ready: True if each item is a whole batch; `collate` then takes the item.
        count: returns the number of samples in a ready batch.
        state: of dataset and collate function, set by the sampler of a training.
        kept: True for batches that are objects which somebody keeps and hands out again.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        collate: Callable[[Any], Any],
        workers: DataLoader[Any] | None = None,
        count: CountSamples | None = None,
    ) -> None:
        self.dataset = dataset
        self.own_collate = collate
        self.collate = collate if count is None else _OneItem(collate)
        self.state: IndexedState | None = None
        self.workers = workers
        self.ready, self.count = count is not None, count or count_samples
        self.length = _length(dataset)
        self.kept = self.ready or workers is not None

    def fetch(self, indices: torch.Tensor) -> Any:
        samples = samples_of(self.dataset, indices.tolist())
        batch = self.collate(samples)
        # A collate_fn may take the one sample that it is given.
        self.kept = self.kept or any(batch is one for one in samples)
        return batch


def _length(dataset: Any) -> int:
    try:
        return len(dataset)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"The length of the {type(dataset).__name__} cannot be read: {error}. Its __len__ must "
            "return the number of samples."
        ) from error


class StreamSource:
    """Stream of samples, or with `count` of ready batches; an epoch is one pass.

    Args:
        begin_pass: called with the number of each pass before it begins.
    """

    length = state = workers = None

    def __init__(
        self,
        samples: Iterable[Any],
        collate: Callable[[list[Any]], Any],
        count: CountSamples | None = None,
        begin_pass: Callable[[int], None] = lambda number: None,
    ) -> None:
        self.samples = samples
        self.collate = collate
        self.ready, self.count = count is not None, count or count_samples
        self.begin_pass = begin_pass
        self.kept = self.ready

    def __iter__(self) -> Iterator[Any]:
        return iter(self.samples)


class _OneItem:
    """collate_fn of a dataset whose items are ready batches."""

    def __init__(self, convert: Callable[[Any], Any]) -> None:
        self._convert = convert

    def __call__(self, items: list[Any]) -> Any:
        return self._convert(items[0])


def samples_of(dataset: Any, indices: list[int]) -> list[Any]:
    """Samples of a dataset, read together if it can."""
    together = attribute(dataset, "__getitems__", None)
    if callable(together):
        return list(together(indices))
    return [dataset[index] for index in indices]


IndexedSource = TensorSource | DatasetSource
Source = IndexedSource | StreamSource


def as_source(
    data: Any,
    dtype: torch.dtype,
    name: str = "train_data",
    count: CountSamples = count_samples,
) -> Source:
    """Create a source of samples.

    Args:
        data: a tuple (X, y) of tensors, arrays or DataFrames; a Dataset; a DataLoader,
            whose dataset, collate_fn and workers are used; or an iterable of ready batches.
        dtype: dtype for floating arrays and DataFrames; tensors stay as they are.
        name: name of the data in error messages.
        count: returns the number of samples in a ready batch.

    Raises:
        DataError: the data is None or empty, or lengths differ.
    """
    if data is None:
        raise DataError(f"{name} is None: expected (X, y), a Dataset or a DataLoader.")
    source = _source(data, dtype, name, count)
    if source.length == 0:
        raise DataError(f"{name} is empty: expected at least one sample.")
    return source


def _source(data: Any, dtype: torch.dtype, name: str, count: CountSamples) -> Source:
    if isinstance(data, StreamSource):
        return data
    if isinstance(data, type):
        raise DataError(f"{name} is the class {data.__name__}: make one, {data.__name__}(...).")
    if isinstance(data, DataLoader):
        return _from_loader(data, name, count)
    if isinstance(data, IterableDataset):
        return StreamSource(data, default_collate, begin_pass=begin_epoch(data))
    if isinstance(data, list | deque) and data and all(map(_is_ready_batch, data)):
        return _from_batches(data if isinstance(data, list) else list(data), name, count)
    if isinstance(data, tuple | list):
        return _from_arrays(data, dtype, name)
    if not (_is_array(data) or isinstance(data, str | bytes | Mapping | Set)):
        if has(data, "__getitem__") and has(data, "__len__"):
            return DatasetSource(data, default_collate)
        if has(data, "__iter__"):
            return StreamSource(data, default_collate, count, begin_epoch(data))
    raise DataError(
        f"{name} is a {type(data).__name__}: expected (X, y) of tensors, arrays or DataFrames, "
        "a Dataset, a DataLoader, or a list or generator of ready batches."
    )


def _from_loader(loader: DataLoader[Any], name: str, count: CountSamples) -> Source:
    collate, stream = loader.collate_fn, isinstance(loader.dataset, IterableDataset)
    own = _overridden(loader, "__iter__") or _overridden(loader, "_get_iterator")
    if own or (stream and (loader.num_workers or loader.batch_sampler is None)):
        return StreamSource(loader, collate, count, begin_epoch(loader, loader.dataset))
    if stream:
        samples: Any = loader.dataset
        return StreamSource(samples, collate, begin_pass=begin_epoch(loader.dataset))
    workers = loader if loader.num_workers else None
    if loader.batch_sampler is not None:
        return DatasetSource(loader.dataset, collate, workers)
    # Other datasets are not read before training: that may be slow or draw random numbers.
    if isinstance(loader.dataset, TensorDataset | list) and _is_sample(loader.dataset[0]):
        raise DataError(
            f"{name} yields ready-made batches (batch_size=None), and these look like single "
            "samples: give the DataLoader a batch_size."
        )
    return DatasetSource(loader.dataset, collate, workers, count)


def _overridden(loader: DataLoader[Any], method: str) -> bool:
    return getattr(type(loader), method) is not getattr(DataLoader, method)


def _from_batches(batches: list[Any], name: str, count: CountSamples) -> DatasetSource:
    if _is_sample(batches[0]):
        raise DataError(
            f"{name} is a list whose items look like single samples: give "
            "DataLoader(the list, batch_size=...) for samples, or (X, y) with one row a sample."
        )
    return DatasetSource(batches, _as_it_is, count=count)  # type: ignore[arg-type]


def _is_sample(item: Any) -> bool:
    """Tell if an item is one sample: a part of it is a number."""
    parts = item if isinstance(item, tuple | list) else ()
    return any(isinstance(part, int | float) or attribute(part, "ndim", 1) == 0 for part in parts)


def _as_it_is(batch: Any) -> Any:
    return batch


def _is_ready_batch(item: Any) -> bool:
    """Tell if an item of a list is a batch: a container of tensors or arrays, or an object."""
    if isinstance(item, tuple | list):
        return any(_is_array(part) or isinstance(part, Mapping) for part in item)
    if isinstance(item, Mapping):
        return True
    plain = isinstance(item, int | float | complex | str | bytes | np.generic)
    if plain or _is_array(item) or item is None:
        return False
    return callable(attribute(item, "to", None)) or not has(item, "__getitem__")


def begin_epoch(*objects: Any) -> Callable[[int], None]:
    """Return a function that tells samplers and datasets the number of an epoch."""
    told = [one.set_epoch for one in objects if callable(attribute(one, "set_epoch", None))]

    def begin(epoch: int) -> None:
        for set_epoch in told:
            set_epoch(epoch)

    return begin


def _from_arrays(arrays: Sequence[Any], dtype: torch.dtype, name: str) -> TensorSource:
    if not arrays:
        raise DataError(f"{name} is empty: expected (X, y).")
    names = ["X", "y"] if len(arrays) == 2 else [f"part {i}" for i in range(len(arrays))]
    parts = [
        make_part(array, dtype, f"{name}: {part}")
        for array, part in zip(arrays, names, strict=True)
    ]
    lengths = {name: part.length for name, part in zip(names, parts, strict=True)}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{part} has {length}" for part, length in lengths.items())
        raise DataError(f"{name}: all parts must have the same number of samples; {said}.")
    return TensorSource(parts)


def _is_array(value: Any) -> bool:
    return isinstance(value, torch.Tensor | np.ndarray) or has(value, "to_numpy")


def batch_size_of(data: Any) -> int | None:
    """Batch size of a DataLoader, None without one."""
    if not isinstance(data, DataLoader):
        return None
    size = getattr(data.batch_sampler, "batch_size", data.batch_size)
    return size if isinstance(size, int) else None
