"""Hashes that identify data and weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
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
        if tensor.numel() * tensor.element_size() > MAX_HASHED_BYTES:
            found.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            for chunk in _chunks(tensor.detach()):
                _add(found, chunk)
        else:
            _add(found, tensor)
    return found.hexdigest()


def _chunks(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    # Rows of a tensor that is not contiguous: flattening would copy all of it.
    flat = tensor.reshape(-1) if tensor.is_contiguous() else tensor
    size = max(CHUNK_BYTES * len(flat) // (tensor.numel() * tensor.element_size()), 1)
    step = max(len(flat) // (MAX_HASHED_BYTES // CHUNK_BYTES), 1)
    for start in range(0, len(flat) - size + 1, step):
        yield flat[start : start + size]


def _add(found: Any, tensor: torch.Tensor) -> None:
    found.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    found.update(flat.view(torch.uint8).numpy())
