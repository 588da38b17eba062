"""Inputs are given to a model as its forward takes them: part by part, or whole."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.model.module.forward import call, detached

A, B = torch.randn(8, 3), torch.randn(8, 3)
TARGETS = torch.randint(0, 2, (8,))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.end = nn.Linear(3, 2)


class Whole(Net):
    def forward(self, inputs: Any) -> torch.Tensor:
        first, second = inputs
        return self.end(first + second)  # type: ignore[no-any-return]


class Parts(Net):
    def forward(self, first: Any, second: Any) -> torch.Tensor:
        return self.end(first + second)  # type: ignore[no-any-return]


class SecondMayMiss(Net):
    def forward(self, first: Any, second: Any = None) -> torch.Tensor:
        return self.end(first + second)  # type: ignore[no-any-return]


class AnyNumber(Net):
    def forward(self, *parts: Any) -> torch.Tensor:
        return self.end(parts[0] + parts[1])  # type: ignore[no-any-return]


class WithOptions(Net):
    def forward(self, inputs: Any, *, scale: float = 1.0) -> torch.Tensor:
        return self.end(scale * (inputs[0] + inputs[1]))  # type: ignore[no-any-return]


class ByName(Net):
    def forward(self, first: Any, second: Any) -> torch.Tensor:
        return self.end(first + second)  # type: ignore[no-any-return]


class Mapped(Net):
    def forward(self, batch: Any) -> torch.Tensor:
        return self.end(batch["first"] + batch["second"])  # type: ignore[no-any-return]


class Keywords(Net):
    def forward(self, **batch: Any) -> torch.Tensor:
        return self.end(batch["first"] + batch["second"])  # type: ignore[no-any-return]


class OneOfMany(Net):
    """Of a mapping it takes one part, and ignores the others."""

    def forward(self, first: Any, **others: Any) -> torch.Tensor:
        return self.end(first + others["second"])  # type: ignore[no-any-return]


PAIR: list[Callable[[], nn.Module]] = [
    Whole, Parts, SecondMayMiss, AnyNumber, WithOptions,
    lambda: nn.Sequential(Whole(), nn.Identity()),
    lambda: nn.DataParallel(Whole()),
    lambda: nn.DataParallel(Parts()),
    lambda: torch.compile(Whole(), backend="eager"),  # type: ignore[list-item, return-value]
    lambda: torch.compile(Parts(), backend="eager"),  # type: ignore[list-item, return-value]
]  # fmt: skip
MAPPING: list[Callable[[], nn.Module]] = [ByName, Mapped, Keywords, OneOfMany]


@pytest.mark.parametrize("inputs", [(A, B), [A, B]], ids=["tuple", "list"])
@pytest.mark.parametrize("make", PAIR)
def test_a_pair(make: Callable[[], nn.Module], inputs: Any) -> None:
    assert torch.equal(call(make(), inputs), Parts()(A, B))


@pytest.mark.parametrize("make", MAPPING)
def test_a_mapping(make: Callable[[], nn.Module]) -> None:
    assert torch.equal(call(make(), {"first": A, "second": B}), Parts()(A, B))


@pytest.mark.parametrize("inputs", [(A,), [A]])
def test_a_single_part_is_the_argument(inputs: Any) -> None:
    assert call(nn.Linear(3, 2), inputs).shape == (8, 2)


@pytest.mark.parametrize("make", [Whole, Mapped])
def test_a_training_goes_as_the_bare_loop(make: type[Net]) -> None:
    inputs: Any = (A, B) if make is Whole else {"first": A, "second": B}
    model, bare = make(), make()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    with nbd.Debugger(model, [(inputs, TARGETS)], nn.CrossEntropyLoss(), optimizer=sgd) as dbg:
        assert not [one.name for one in dbg.check() if one.raised]
        dbg.run(steps=3)
    optimizer = torch.optim.SGD(bare.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        nn.CrossEntropyLoss()(bare(inputs), TARGETS).backward()
        optimizer.step()
    assert all(map(torch.equal, model.parameters(), bare.parameters()))


class Outputs(OrderedDict[str, Any]):
    """Outputs by name that refuse `update`, as those of transformers do."""

    def update(self, *_: Any, **__: Any) -> None:
        raise TypeError("Outputs cannot be updated.")


def test_outputs_that_refuse_update_keep_their_kind() -> None:
    given = Outputs(logits=torch.ones(2, requires_grad=True))
    found = detached(given)
    assert type(found) is Outputs
    assert not found["logits"].requires_grad
    assert given["logits"].requires_grad
