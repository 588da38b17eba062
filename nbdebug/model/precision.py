"""Values of tensors of any layout and dtype."""

from __future__ import annotations

import torch

NO_FLOAT64 = frozenset({"mps"})


def widest(device: torch.device) -> torch.dtype:
    """float64, or float32 where the device has none, as Apple's MPS."""
    return torch.float32 if device.type in NO_FLOAT64 else torch.float64


def wide(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in the widest floating dtype of its device."""
    return tensor.to(widest(tensor.device))


def dense(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor with all its values: sparse, quantized and nested ones are unpacked."""
    if tensor.is_nested:
        padded: torch.Tensor = torch.nested.to_padded_tensor(tensor, 0.0)
        return padded
    if tensor.layout is not torch.strided:
        return tensor.to_dense()
    return tensor.dequantize() if tensor.is_quantized else tensor


def sizes_of(tensor: torch.Tensor) -> tuple[int, ...]:
    """Shape of a tensor; of a nested one, whose rows differ, the number of rows alone."""
    return (tensor.size(0),) if tensor.is_nested else tuple(tensor.shape)
