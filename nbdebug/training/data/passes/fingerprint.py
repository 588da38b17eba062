"""Fingerprint of a sequence of items, to find out if it is read again as before."""

from __future__ import annotations

import struct
import zlib
from array import array
from typing import Any

import numpy as np
import torch

from nbdebug.model.module.forward import leaves

MAX_BYTES = 2**14
NUMBER_TYPES = (int, float, complex, bool, type(None), np.generic)


def fingerprint(item: Any, before: int = 0) -> int:
    """CRC-32 of an item and of those before it.

    Of a tensor or array over 16 kB only rows at its edges count, of objects of other types only the
    type.
    """
    if type(item) is int and -(2**63) <= item < 2**63:
        return zlib.crc32(struct.pack("<q", item), before)
    if type(item) is list:
        try:
            return zlib.crc32(array("q", item), before)
        except (TypeError, OverflowError):
            pass
    for leaf in leaves(item):
        before = zlib.crc32(_bytes(leaf), before)
    return before


def _bytes(leaf: Any) -> Any:
    if isinstance(leaf, torch.Tensor):
        return _tensor_bytes(leaf)
    if isinstance(leaf, np.ndarray):
        return b"objects" if leaf.dtype.hasobject else np.ascontiguousarray(_edges(leaf)).data
    if isinstance(leaf, bytes | bytearray):
        return leaf[:MAX_BYTES]
    if isinstance(leaf, str):
        return leaf[:MAX_BYTES].encode(errors="surrogatepass")
    if isinstance(leaf, NUMBER_TYPES):
        return repr(leaf).encode()
    return type(leaf).__qualname__.encode()


def _tensor_bytes(tensor: torch.Tensor) -> Any:
    # Reading from another device would wait for it.
    if tensor.device.type != "cpu" or tensor.layout is not torch.strided or tensor.is_quantized:
        return repr(tuple(tensor.shape)).encode()
    edges = _edges(tensor.detach())
    try:
        return np.ascontiguousarray(edges.numpy()).data
    except (TypeError, RuntimeError):
        # Such as bfloat16, which NumPy does not know.
        flat = edges.resolve_conj().resolve_neg().contiguous().reshape(-1)
        return flat.view(torch.uint8).numpy().data


def _edges(values: Any) -> Any:
    """First and last entries along as many axes of a tensor or array as it takes to be small."""
    if values.nbytes <= MAX_BYTES:
        return values
    for axis, size in enumerate(values.shape):
        if values.nbytes <= MAX_BYTES:
            break
        if size > 2:
            step = size - 1 if axis < values.ndim - 1 else max(size * 8 // MAX_BYTES, 1)
            values = values[(slice(None),) * axis + (slice(None, None, step),)]
    return values
