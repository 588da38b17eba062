"""Batches that somebody keeps, and what code writes into them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch

Made = Callable[[torch.Tensor], Any]


@dataclasses.dataclass
class Record:
    x: torch.Tensor
    seen: int = 0
    log: list[int] = dataclasses.field(default_factory=list)


def bump(batch: dict[str, Any]) -> None:
    batch["n"] = batch.get("n", 0) + 1


def attribute(name: str) -> Callable[[Any], None]:
    return lambda batch: setattr(batch, name, getattr(batch, name) + 1)
