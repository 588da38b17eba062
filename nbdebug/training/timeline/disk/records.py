"""Plain form of nested values: numbers, texts, tensors, and records by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from nbdebug.errors import CheckpointError
from nbdebug.model.state.random_numbers.session_rng import RngPosition
from nbdebug.training.data.cached_sampler import CachedPosition
from nbdebug.training.data.index_sampler import IndexPosition
from nbdebug.training.data.lazy_index_sampler import LazyPosition
from nbdebug.training.data.samplers import DirectPosition
from nbdebug.training.data.stream_sampler import StreamPosition
from nbdebug.training.data.worker_sampler import BatchRequest, WorkerPosition

# Names in files of all versions: they stay when a class is renamed.
RECORD_TYPES: dict[str, type] = {
    "IndexPosition": IndexPosition,
    "WorkerPosition": WorkerPosition,
    "CachedPosition": CachedPosition,
    "StreamPosition": StreamPosition,
    "LazyPosition": LazyPosition,
    "DirectPosition": DirectPosition,
    "Drawn": BatchRequest,
    "RngPosition": RngPosition,
}
RECORD_NAMES = {record: name for name, record in RECORD_TYPES.items()}
NUMBERS = "biuf"


def encoded(value: Any) -> Any:
    """Convert nested containers to numbers, texts and tensors, with records by name.

    Raises:
        CheckpointError: a value has no plain form.
    """
    if isinstance(value, torch.Tensor) or type(value) in (int, float, str, bool, bytes, type(None)):
        return value
    if isinstance(value, np.ndarray):
        return {"__array__": value.tolist(), "dtype": str(value.dtype)}
    if type(value) in RECORD_NAMES:
        return {
            "__record__": RECORD_NAMES[type(value)],
            "parts": [encoded(part) for part in value],
        }
    if isinstance(value, Mapping):
        return {key: encoded(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(encoded(part) for part in value)
    if isinstance(value, list):
        return [encoded(part) for part in value]
    if isinstance(value, np.generic):
        return value.item()
    raise CheckpointError(f"A {type(value).__name__} cannot be stored in a checkpoint on disk.")


def decoded(value: Any) -> Any:
    """Convert plain data of a file back."""
    if isinstance(value, Mapping):
        if "__array__" in value:
            return _array(value["__array__"], value["dtype"])
        if "__record__" in value:
            return RECORD_TYPES[value["__record__"]](*(decoded(part) for part in value["parts"]))
        return {key: decoded(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(decoded(part) for part in value)
    if isinstance(value, list):
        return [decoded(part) for part in value]
    return value


def _array(values: Any, dtype: Any) -> np.ndarray[Any, Any]:
    kind = np.dtype(dtype)
    if kind.kind not in NUMBERS:
        raise CheckpointError(f"The checkpoint has an array of {str(kind)[:60]}, not of numbers.")
    return np.array(values, dtype=kind)
