"""Fingerprint of a sequence of items, to find out if it is read again as before."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import torch

from nbdebug.model.module.forward import leaves

MAX_BYTES = 2**16
NUMBER_TYPES = (int, float, complex, bool, type(None), np.generic)


def fingerprint(item: Any, before: int = 0) -> int:
    """CRC-32 of an item and of those before it.

    Of a tensor or array over 64 kB only the first and the last row count, of objects of other types
    only the type.
    """
    if type(item) is int and -(2**63) <= item < 2**63:
        return zlib.crc32(struct.pack("<q", item), before)
    for leaf in leaves(item):
        before = zlib.crc32(_bytes(leaf), before)
    return before


def _bytes(leaf: Any) -> bytes:
    if isinstance(leaf, torch.Tensor):
        return f"{leaf.dtype}{tuple(leaf.shape)}".encode() + _tensor_bytes(leaf)
    if isinstance(leaf, np.ndarray):
        head = f"{leaf.dtype}{leaf.shape}".encode()
        return head if leaf.dtype.hasobject else head + _array_bytes(leaf)
    if isinstance(leaf, bytes | bytearray):
        return bytes(leaf[:MAX_BYTES])
    if isinstance(leaf, str):
        return leaf[:MAX_BYTES].encode(errors="surrogatepass")
    if isinstance(leaf, NUMBER_TYPES):
        return repr(leaf).encode()
    return type(leaf).__qualname__.encode()


def _tensor_bytes(tensor: torch.Tensor) -> bytes:
    # Reading from another device would wait for it.
    if tensor.device.type != "cpu" or tensor.layout is not torch.strided or tensor.is_quantized:
        return b""
    tensor = tensor.detach()
    if tensor.nbytes > MAX_BYTES and len(tensor) > 2:
        tensor = torch.stack((tensor[0], tensor[-1]))
    flat = tensor.resolve_conj().resolve_neg().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()


def _array_bytes(array: np.ndarray[Any, Any]) -> bytes:
    if array.nbytes > MAX_BYTES and len(array) > 2:
        array = np.stack((array[0], array[-1]))
    return array.tobytes()
