"""One layer in several places: by mistake in a list, or by intention."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from nbdebug.examples.setups.base import CE, X, y
from tests.checks.result_of import result_of
from tests.problems import CLASSES, FEATURES


def chain(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, 16), *layers, nn.Linear(16, CLASSES))


def block() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 16), nn.LayerNorm(16), nn.ReLU())


class Heads(nn.Module):
    """Means over heads that all read the same."""

    def __init__(self, heads: nn.ModuleList) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([head(x) for head in self.heads]).mean(0)


class Named(nn.Module):
    """Two names of one layer, called once for each half of the inputs or twice for the first."""

    def __init__(self, alike: bool) -> None:
        super().__init__()
        self.alike = alike
        self.left = self.right = nn.Linear(6, 8)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = x.chunk(2, 1)
        right = self.right(left if self.alike else right)
        return self.head(torch.cat([self.left(left), right], 1).relu())


def in_dict() -> nn.Module:
    layer = nn.Linear(FEATURES, CLASSES)
    model = Heads(nn.ModuleList())
    model.heads = nn.ModuleDict(dict.fromkeys(["one", "two"], layer))  # type: ignore[assignment]
    model.forward = lambda x: model.heads["one"](x) + model.heads["two"](x)  # type: ignore
    return model


SICK: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "blocks by *": (lambda: chain(*[block()] * 3), "warning"),
    "one norm for all": (lambda: chain(norm := nn.LayerNorm(16), nn.ReLU(), norm), "warning"),
    "heads by *": (lambda: Heads(nn.ModuleList([nn.Linear(FEATURES, CLASSES)] * 4)), "fail"),
    "heads in a dict": (in_dict, "fail"),
    "two names and the same input": (lambda: Named(True), "fail"),
}
HEALTHY: dict[str, Callable[[], nn.Module]] = {
    "blocks of their own": lambda: chain(*(block() for _ in range(3))),
    "copies": lambda: chain(*(copy.deepcopy(block()) for _ in range(3))),
    "one activation": lambda: chain(act := nn.ReLU(), nn.Linear(16, 16), act),
    "one learnt slope": lambda: chain(act := nn.PReLU(), nn.Linear(16, 16), act),
    "twins": lambda: Named(False),
    "heads of their own": lambda: Heads(
        nn.ModuleList(nn.Linear(FEATURES, CLASSES) for _ in range(4))
    ),
}


@pytest.mark.parametrize("name", SICK)
def test_it_names_the_places(name: str) -> None:
    model, status = SICK[name]
    found = result_of("shared_layers", model(), (X, y), CE)
    assert found.status == status
    assert "are the same layer" in found.seen
    assert "deepcopy" in found.remedy


@pytest.mark.parametrize("name", HEALTHY)
def test_it_passes(name: str) -> None:
    assert result_of("shared_layers", HEALTHY[name](), (X, y), CE).status == "pass"
