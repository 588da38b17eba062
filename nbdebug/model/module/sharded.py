"""Tensors of which each rank holds a part, as FSDP makes them."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist

OPERATIONS = {1.0: "SUM", 2.0: "SUM", float("inf"): "MAX"}


def is_sharded(tensor: torch.Tensor) -> bool:
    """Tell if a tensor is spread over ranks; torch loads the class only where ranks train."""
    kind = type(tensor)
    if kind is torch.Tensor or kind is torch.nn.Parameter:
        return False
    return any(base.__name__ == "DTensor" for base in kind.__mro__)


def local(tensor: torch.Tensor) -> torch.Tensor:
    """The part of a tensor that this rank holds; the tensor itself, if that is all."""
    whole: Any = tensor
    part: torch.Tensor = whole.to_local() if is_sharded(tensor) else tensor
    return part


def is_freed(tensor: torch.Tensor) -> bool:
    """Tell if the memory of a tensor was given back, as FSDP does between two uses of a weight."""
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or tensor.layout != torch.strided:
        return False
    return tensor.device.type != "meta" and tensor.numel() > 0 == tensor.untyped_storage().nbytes()


def whole_norms(found: list[torch.Tensor], p: float) -> tuple[torch.Tensor, ...]:
    """Norm of each whole tensor, [] each; all ranks call this at once.

    Norms of the parts are exchanged together, once for each mesh of ranks.
    """
    parts = torch.stack([_local_norm(tensor, p) for tensor in found])
    if p == 2.0:
        parts = parts.square()
    places: dict[int, tuple[Any, list[int]]] = {}
    for place, tensor in enumerate(found):
        for group in _groups(tensor):
            places.setdefault(id(group), (group, []))[1].append(place)
    for group, where in places.values():
        index = torch.tensor(where, device=parts.device)
        some = parts[index]
        dist.all_reduce(some, getattr(dist.ReduceOp, OPERATIONS[p]), group)
        parts[index] = some
    return tuple((parts.sqrt() if p == 2.0 else parts).unbind())


def _local_norm(tensor: torch.Tensor, p: float) -> torch.Tensor:
    part = local(tensor)
    if not part.numel():
        return torch.zeros((), device=part.device)
    norm: torch.Tensor = torch.linalg.vector_norm(part, p, dtype=torch.float32)
    return norm


def _groups(tensor: Any) -> list[Any]:
    """Groups of ranks over which the parts of a tensor are spread."""
    if not is_sharded(tensor):
        return []
    placed = enumerate(tensor.placements)
    return [tensor.device_mesh.get_group(dim) for dim, one in placed if one.is_shard()]
