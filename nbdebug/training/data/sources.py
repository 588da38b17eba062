"""Sources of samples, from the kinds of data that users give."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
)

from nbdebug.errors import DataError


class TensorSource:
    """Tensors in memory, each [N, ...]; a batch is one gather per tensor."""

    workers: DataLoader[Any] | None = None

    def __init__(self, tensors: tuple[torch.Tensor, ...]) -> None:
        self.tensors = tensors
        self.length = len(tensors[0])

    def fetch(self, indices: torch.Tensor) -> Any:
        # Equal to tensor[indices], in half the time.
        return tuple(tensor.index_select(0, indices.to(tensor.device)) for tensor in self.tensors)


class DatasetSource:
    """A map-style dataset and its collate function."""

    def __init__(
        self,
        dataset: Dataset[Any],
        collate: Callable[[list[Any]], Any],
        workers: DataLoader[Any] | None = None,
    ) -> None:
        self.dataset = dataset
        self.collate = collate
        self.workers = workers
        self.length = len(dataset)  # type: ignore[arg-type]

    def fetch(self, indices: torch.Tensor) -> Any:
        return self.collate([self.dataset[index] for index in indices.tolist()])


class StreamSource:
    """Stream of samples; an epoch is one pass."""

    length = None

    def __init__(self, samples: Iterable[Any], collate: Callable[[list[Any]], Any]) -> None:
        self.samples = samples
        self.collate = collate

    def __iter__(self) -> Iterator[Any]:
        return iter(self.samples)


IndexedSource = TensorSource | DatasetSource
Source = IndexedSource | StreamSource


def as_source(data: Any, dtype: torch.dtype, name: str = "train_data") -> Source:
    """Create a source of samples.

    Args:
        data: a tuple (X, y) of tensors, arrays or DataFrames; a Dataset; a DataLoader,
            whose dataset, collate_fn and workers are used.
        dtype: dtype for floating arrays and DataFrames; tensors stay as they are.
        name: name of the data in error messages.

    Raises:
        DataError: the data is None or empty, or lengths differ.
    """
    if data is None:
        raise DataError(f"{name} is None: expected (X, y), a Dataset or a DataLoader.")
    source = _source(data, dtype, name)
    if source.length == 0:
        raise DataError(f"{name} is empty: expected at least one sample.")
    return source


def is_stream(data: Any) -> bool:
    """Tell if data of a user can only be read in sequence."""
    inner = data.dataset if isinstance(data, DataLoader) else data
    return isinstance(inner, IterableDataset)


def _source(data: Any, dtype: torch.dtype, name: str) -> Source:
    if isinstance(data, DataLoader):
        return _from_loader(data, name)
    if isinstance(data, IterableDataset):
        return StreamSource(data, default_collate)
    if isinstance(data, tuple | list):
        return _from_arrays(data, dtype, name)
    indexed = hasattr(data, "__getitem__") and hasattr(data, "__len__")
    if indexed and not (_is_array(data) or isinstance(data, str | bytes | Mapping)):
        return DatasetSource(data, default_collate)
    raise DataError(
        f"{name} is a {type(data).__name__}: expected (X, y) of tensors, arrays or DataFrames, "
        "a Dataset or a DataLoader."
    )


def _from_loader(loader: DataLoader[Any], name: str) -> Source:
    collate = loader.collate_fn
    if loader.batch_sampler is None:
        raise DataError(
            f"{name} yields ready-made batches (batch_size=None), so their size cannot be "
            "changed: give a dataset that yields samples."
        )
    if isinstance(loader.dataset, IterableDataset):
        samples: Iterable[Any] = loader.dataset
        if loader.num_workers:
            samples = DataLoader(loader.dataset, batch_size=None, num_workers=loader.num_workers)
        return StreamSource(samples, collate)
    return DatasetSource(loader.dataset, collate, loader if loader.num_workers else None)


def _from_arrays(arrays: Sequence[Any], dtype: torch.dtype, name: str) -> TensorSource:
    if not arrays:
        raise DataError(f"{name} is empty: expected (X, y).")
    parts = ["X", "y"] if len(arrays) == 2 else [f"part {i}" for i in range(len(arrays))]
    tensors = tuple(
        _tensor(array, dtype, f"{name}: {part}") for array, part in zip(arrays, parts, strict=True)
    )
    lengths = {part: len(tensor) for part, tensor in zip(parts, tensors, strict=True)}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{part} has {length}" for part, length in lengths.items())
        raise DataError(f"{name}: all parts must have the same number of samples; {said}.")
    return TensorSource(tensors)


def _is_array(value: Any) -> bool:
    return isinstance(value, torch.Tensor | np.ndarray) or hasattr(value, "to_numpy")


def _tensor(value: Any, dtype: torch.dtype, name: str) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        if not value.ndim:
            raise DataError(f"{name} is a single number: expected one row per sample.")
        return value.detach()
    if hasattr(value, "to_numpy"):
        value = value.to_numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise DataError(
            f"{name} has dtype {array.dtype}: expected numbers. Encode text and categories first."
        )
    if not array.ndim:
        raise DataError(f"{name} is a single number: expected one row per sample.")
    # The values of a DataFrame may be read-only, for which torch would warn.
    tensor = torch.from_numpy(np.array(array) if not array.flags.writeable else array)
    if tensor.is_floating_point():
        return tensor.to(dtype)
    return tensor if tensor.dtype == torch.bool else tensor.to(torch.int64)


class _FlattenedBatchSampler:
    """Flattened indices of a batch sampler."""

    def __init__(self, batches: Any) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[int]:
        return itertools.chain.from_iterable(self._batches)


def batch_size_of(data: Any) -> int | None:
    """Batch size of a DataLoader, None without one."""
    if not isinstance(data, DataLoader):
        return None
    size = getattr(data.batch_sampler, "batch_size", data.batch_size)
    return size if isinstance(size, int) else None


def order_of(data: Any) -> tuple[bool, bool, Any]:
    """Return the order of a DataLoader: shuffle, drop_last, user-defined sampler.

    Data without a DataLoader is shuffled and keeps its last batch.
    """
    if not isinstance(data, DataLoader) or isinstance(data.dataset, IterableDataset):
        return True, bool(getattr(data, "drop_last", False)), None
    batches = data.batch_sampler
    # User-defined batches: their indices in sequence.
    sampler = (
        batches.sampler if isinstance(batches, BatchSampler) else _FlattenedBatchSampler(batches)
    )
    drop_last = bool(getattr(batches, "drop_last", False))
    # Not isinstance: a subclass may have another order.
    if type(sampler) is RandomSampler and not sampler.replacement:
        whole = sampler.num_samples == len(sampler.data_source)
        return (True, drop_last, None) if whole else (False, drop_last, sampler)
    if type(sampler) is SequentialSampler:
        return False, drop_last, None
    return False, drop_last, sampler
