"""A training program and its small data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

import nbdebug as nbd

Made = tuple[torch.nn.Module, Any, dict[str, Any]]


@dataclass(frozen=True)
class Program:
    """A training program.

    Attributes:
        build: returns the model, the data and the keywords of a Debugger.
    """

    name: str
    build: Callable[[], Made]

    def debugger(self, seed: int = 0) -> nbd.Debugger:
        torch.manual_seed(seed)
        model, data, options = self.build()
        return nbd.Debugger(model, data, **{"runs": None, "batch_size": 16, **options})


def collector() -> tuple[list[Program], Callable[[Callable[[], Made]], Callable[[], Made]]]:
    """A list of programs, and the decorator that adds a function to the list."""
    found: list[Program] = []

    def add(build: Callable[[], Made]) -> Callable[[], Made]:
        found.append(Program(build.__name__, build))
        return build

    return found, add


def images(size: int = 32, classes: int = 4, n: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Images [N, 3, size, size] of blurred prototypes with noise, and their classes [N]."""
    y = torch.arange(n) % classes
    coarse = torch.randn(classes, 3, 4, 4)
    prototypes = torch.nn.functional.interpolate(coarse, size, mode="bilinear")
    return prototypes[y] + 0.5 * torch.randn(n, 3, size, size), y


def rows(features: int = 8, n: int = 400) -> torch.Tensor:
    return torch.randn(n, features)


def tokens(n: int = 200, length: int = 12, words: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Sequences [N, L] padded with 0, and two classes [N]: does word 1 or word 2 come first."""
    lengths = torch.randint(4, length + 1, (n,))
    x = torch.randint(3, words, (n, length))
    y = torch.arange(n) % 2
    x[:, 0] = 1 + y
    return x * (torch.arange(length) < lengths[:, None]), y
