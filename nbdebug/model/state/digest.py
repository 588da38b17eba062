"""Numbers by which data and weights are known again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import torch

from nbdebug.model.module.forward import leaves

LARGEST = 2**28
PART = 2**20


def digest(batch: Any) -> str:
    """SHA-256 of everything in a batch: dtype, shape and bytes of tensors, text of the rest."""
    found = hashlib.sha256()
    for part in leaves(batch):
        if isinstance(part, torch.Tensor):
            _add(found, part)
        else:
            found.update(repr(part).encode())
    return found.hexdigest()


def digest_of(tensors: Iterable[torch.Tensor]) -> str:
    """SHA-256 of tensors; of one beyond 256 MB, of 256 parts of 1 MB, evenly spaced."""
    found = hashlib.sha256()
    for tensor in tensors:
        flat = tensor.detach().reshape(-1)
        if flat.nbytes > LARGEST:
            found.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            size = PART // tensor.element_size()
            step = len(flat) // (LARGEST // PART)
            for start in range(0, len(flat) - size + 1, step):
                _add(found, flat[start : start + size])
        else:
            _add(found, tensor)
    return found.hexdigest()


def _add(found: Any, tensor: torch.Tensor) -> None:
    found.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    found.update(flat.view(torch.uint8).numpy().tobytes())
