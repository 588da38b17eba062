"""Kinds of values in a dataset: small state, large parts that may be written into, and data."""

from __future__ import annotations

import argparse
import array
import collections
import io
import types
from collections import deque
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

from nbdebug.model.source_code import is_of_library
from nbdebug.model.state.copying import SIMPLE_TYPES
from nbdebug.model.state.values.kept_data import is_frame, may_be_written
from nbdebug.model.state.values.records import BUFFER_TYPES

MAX_STATE_BYTES, MAX_STATE_NUMBERS, MAX_STATE_PARTS = 1024, 1024, 64
MAX_BUFFER_BYTES = 2**16
DATA_TYPES = (Dataset, DataLoader, Sampler)
CONTAINER_TYPES = (list, tuple, dict, set, deque, bytearray)
# Of the standard library, and no more than what the user puts into them.
NAMESPACES = (
    types.SimpleNamespace, argparse.Namespace, collections.UserDict, collections.UserList,
    collections.ChainMap,
)  # fmt: skip


def is_data(value: Any) -> bool:
    """True for a value that is too large to be copied with each batch, or no state."""
    if isinstance(value, BaseException):
        # Kept to look at what happened.
        return True
    if isinstance(value, torch.Tensor | np.ndarray):
        if value.nbytes > MAX_STATE_BYTES or isinstance(value, np.memmap):
            return True
        return isinstance(value, torch.Tensor) and not is_writable(value)
    if isinstance(value, CONTAINER_TYPES):
        # Of a list of numbers only the list is copied.
        simple = type(next(iter(value), None)) in SIMPLE_TYPES
        return len(value) > (MAX_STATE_NUMBERS if simple else MAX_STATE_PARTS)
    if isinstance(value, array.array):
        return len(value) * value.itemsize > MAX_STATE_BYTES
    if isinstance(value, BUFFER_TYPES):
        return value.closed or _length(value) > MAX_BUFFER_BYTES
    if isinstance(value, (*DATA_TYPES, nn.Module, types.FunctionType, types.MethodType)):
        return False
    if isinstance(value, NAMESPACES):
        return False
    kind = type(value)
    return kind not in SIMPLE_TYPES and is_of_library(kind) and not callable(value)


def _length(buffer: io.StringIO | io.BytesIO) -> int:
    place = buffer.tell()
    try:
        return buffer.seek(0, io.SEEK_END)
    finally:
        buffer.seek(place)


def may_be_part(value: Any) -> bool:
    """True for an array, a tensor, a container or a table that reading may write into."""
    if isinstance(value, np.ndarray):
        return value.flags.writeable and not isinstance(value, np.memmap)
    if isinstance(value, torch.Tensor):
        return is_writable(value)
    return isinstance(value, (*CONTAINER_TYPES, array.array)) or is_frame(value)


def is_writable(tensor: torch.Tensor) -> bool:
    """True for a tensor in memory that no gradient belongs to."""
    plain = may_be_written(tensor) and tensor.device.type == "cpu"
    return plain and not tensor.requires_grad
