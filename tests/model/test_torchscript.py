"""A model of TorchScript, or one with a part of it, trains as in a plain loop."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
import torch
from torch import nn

import nbdebug as nbd
from tests.problems import same_weights

pytestmark = pytest.mark.filterwarnings(
    "ignore:`torch.jit:DeprecationWarning", "ignore::torch.jit.TracerWarning"
)

DATA = torch.Generator().manual_seed(5)
X = torch.randn(48, 6, generator=DATA)
Y = torch.randint(0, 3, (48,), generator=DATA)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "scripted": lambda: torch.jit.script(net()),
    "traced": lambda: torch.jit.trace(net(), X[:8]),
    "a scripted part": lambda: nn.Sequential(torch.jit.script(net()), nn.Tanh()),
    "a traced part": lambda: nn.Sequential(torch.jit.trace(net(), X[:8]), nn.Tanh()),
    "compiled": lambda: torch.compile(net(), backend="eager"),  # type: ignore[dict-item, return-value]
    "a compiled layer": lambda: nn.Sequential(  # type: ignore[call-overload]
        torch.compile(nn.Linear(6, 3), backend="eager"),  # type: ignore[list-item]
        nn.Tanh(),
    ),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_without_hooks_trains_and_is_looked_at(kind: str) -> None:
    torch.manual_seed(0)
    plain = MODELS[kind]()
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
    for _ in range(6):
        optimizer.zero_grad()
        nn.functional.cross_entropy(plain(X), Y).backward()
        optimizer.step()
    torch.manual_seed(0)
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), batch_size=48)
    with nbd.Debugger(
        MODELS[kind](), data, nn.CrossEntropyLoss(), optimizer="sgd", lr=0.1, runs=None
    ) as dbg:
        dbg.run(steps=4)
        assert dbg.rewind(2).equal
        dbg.run(steps=4)
        assert same_weights(dbg.model, plain)
        # What has no summary is refused in words.
        with contextlib.suppress(nbd.errors.ModelError):
            dbg.summary()
        assert not [n for n in dbg.history.notices if "switched off" in n.title]
