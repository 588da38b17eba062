"""A compiled model trains as in a plain loop: no hook becomes a part of its program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

import nbdebug as nbd
from tests.problems import PlainLoop, same_weights

DATA = torch.Generator().manual_seed(5)
X = torch.randn(96, 6, generator=DATA)
Y = torch.randint(0, 3, (96,), generator=DATA)
Backend = Any


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.norm(self.first(x)).relu())  # type: ignore[no-any-return]


class PartlyCompiled(nn.Module):
    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.body, self.head = torch.compile(Net(), backend=backend), nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))  # type: ignore[no-any-return]


def in_place(backend: Backend) -> nn.Module:
    model = Net()
    model.compile(backend=backend)
    return model


WAYS: dict[str, Callable[[Backend], Any]] = {
    "torch.compile(model)": lambda backend: torch.compile(Net(), backend=backend),
    "model.compile()": in_place,
    "a part": PartlyCompiled,
}


def built(way: str, backend: Backend) -> nn.Module:
    torch.compiler.reset()
    torch.manual_seed(0)
    return WAYS[way](backend)


def both(way: str, backend: str) -> tuple[nn.Module, int, nn.Module, int, bool]:
    """Model and number of compilations of a plain loop, and of a Debugger."""
    counter = CompileCounterWithBackend(backend)
    plain = built(way, counter)
    PlainLoop(plain, (X, Y), torch.optim.Adam(plain.parameters(), 1e-3), 16).run(9)
    again = CompileCounterWithBackend(backend)
    model = built(way, again)
    with nbd.Debugger(model, (X, Y), nn.CrossEntropyLoss(), batch_size=16) as dbg:
        dbg.run(steps=3)
        dbg.check()
        dbg.timeline.fork(2, lr=[1e-2])
        dbg.run(steps=6)
        equal = dbg.timeline.replay().equal
    return plain, counter.frame_count, model, again.frame_count, equal


@pytest.mark.parametrize("way", WAYS)
def test_a_compiled_model_equals_its_plain_loop_and_is_compiled_once(way: str) -> None:
    plain, compilations, model, ours, equal = both(way, "eager")
    assert same_weights(plain, model)
    assert ours == compilations
    assert equal


# Inductor imports modules of torch that warn of their own use of torch.jit.
@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_so_does_one_that_inductor_compiled(way: str) -> None:
    plain, compilations, model, ours, equal = both(way, "inductor")
    assert same_weights(plain, model)
    assert ours == compilations
    assert equal


def test_layers_outside_of_the_compiled_part_are_measured() -> None:
    model = built("a part", "eager")
    with nbd.Debugger(model, (X, Y), nn.CrossEntropyLoss(), batch_size=16) as dbg:
        dbg.run(steps=3)
        measured = {name for name in dbg.history.series if name.startswith("activation_std/")}
        assert measured == {"activation_std/head"}
        assert any("compiled" in notice.title for notice in dbg.history.notices)
