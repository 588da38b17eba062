"""Hashes that identify data and weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import torch

from nbdebug.model.module.forward import leaves

MAX_HASHED_BYTES = 2**28
CHUNK_BYTES = 2**20


def batch_digest(batch: Any) -> str:
    """SHA-256 of a batch: dtype, shape and bytes of tensors, repr of other values."""
    found = hashlib.sha256()
    for part in leaves(batch):
        if isinstance(part, torch.Tensor):
            _add(found, part)
        else:
            found.update(repr(part).encode())
    return found.hexdigest()


def tensors_digest(tensors: Iterable[torch.Tensor]) -> str:
    """SHA-256 of tensors; of a tensor over 256 MB, of 256 evenly spaced chunks of 1 MB."""
    found = hashlib.sha256()
    for tensor in tensors:
        flat = tensor.detach().reshape(-1)
        if flat.nbytes > MAX_HASHED_BYTES:
            found.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            size = CHUNK_BYTES // tensor.element_size()
            step = len(flat) // (MAX_HASHED_BYTES // CHUNK_BYTES)
            for start in range(0, len(flat) - size + 1, step):
                _add(found, flat[start : start + size])
        else:
            _add(found, tensor)
    return found.hexdigest()


def _add(found: Any, tensor: torch.Tensor) -> None:
    found.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    found.update(flat.view(torch.uint8).numpy().tobytes())
