"""Hashes that identify data and weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from nbdebug.model.module.forward import leaves
from nbdebug.model.module.sharded import is_sharded, local

MAX_HASHED_BYTES = 2**24
WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
PRIME, BITS = 1_000_003, 2**61
BLOCK_BYTES = 2**16


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
    """SHA-256 of tensors; of more than 16 MB only of blocks of 64 kB, in every tensor.

    The blocks are evenly spaced and reach from the first bytes of a tensor to its last ones, so
    that neither a large model nor a file that is mapped to memory is read as a whole.
    """
    found, several = hashlib.sha256(), [local(tensor) for tensor in tensors]
    share = MAX_HASHED_BYTES // max(len(several), 1)
    if sum(map(_bytes_of, several)) <= MAX_HASHED_BYTES:
        share = MAX_HASHED_BYTES
    for tensor in several:
        if _bytes_of(tensor) > max(share, BLOCK_BYTES):
            found.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            for block in _blocks(tensor.detach(), max(share // BLOCK_BYTES, 2)):
                _add(found, block)
        else:
            _add(found, tensor)
    return found.hexdigest()


def _bytes_of(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _blocks(tensor: torch.Tensor, count: int) -> Iterator[torch.Tensor]:
    """Evenly spaced parts of a tensor, the first and the last one included."""
    # Rows of a tensor that is not contiguous: flattening would copy all of it.
    flat = tensor.reshape(-1) if tensor.is_contiguous() else tensor
    size = max(BLOCK_BYTES * len(flat) // _bytes_of(tensor), 1)
    last = max(len(flat) - size, 0)
    for start in dict.fromkeys(number * last // (count - 1) for number in range(count)):
        yield flat[start : start + size]


def _add(found: Any, tensor: torch.Tensor) -> None:
    found.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    found.update(flat.view(torch.uint8).numpy())


def bits_of(tensors: Iterable[torch.Tensor]) -> int | None:
    """Number below 2**61 of the bits of tensors, in one transfer; None if one is sharded.

    Equal tensors have equal numbers, on every device; an exchange of two values in one tensor is
    not seen.
    """
    several = list(tensors)
    if not several or any(map(is_sharded, several)):
        return None
    sums = [_sum_of_bits(tensor.detach()) for tensor in several]
    found = 0
    for number in torch.stack([one.to(sums[0].device) for one in sums]).tolist():
        found = (found * PRIME + int(number)) % BITS
    return found


def _sum_of_bits(tensor: torch.Tensor) -> torch.Tensor:
    real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return real.contiguous().view(WHOLE[real.element_size()]).sum(dtype=torch.int64)
