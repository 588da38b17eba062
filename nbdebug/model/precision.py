"""The widest floating dtype of a device."""

from __future__ import annotations

import torch

NO_FLOAT64 = frozenset({"mps"})


def widest(device: torch.device) -> torch.dtype:
    """float64, or float32 where the device has none, as Apple's MPS."""
    return torch.float32 if device.type in NO_FLOAT64 else torch.float64


def wide(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in the widest floating dtype of its device."""
    return tensor.to(widest(tensor.device))
