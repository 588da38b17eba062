"""Weights that are computed when they are read are read by the user's forward alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.functional import linear
from torch.nn.utils import parametrizations, parametrize

import nbdebug as nbd
from tests.problems import PlainLoop, same_weights

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
DATA = torch.Generator().manual_seed(5)
X = torch.randn(96, 6, generator=DATA)
Y = torch.randint(0, 3, (96,), generator=DATA)


class WithChildren(nn.Module):
    """A module with a weight of its own and children."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(8, 6) * 0.3), nn.Parameter(torch.zeros(8))
        self.norm, self.drop, self.head = nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.norm(linear(x, self.weight, self.bias)).relu()
        return self.head(self.drop(hidden))  # type: ignore[no-any-return]


class Counting(nn.Module):
    """A parametrization that counts how often the weight is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: torch.Tensor
        self.register_buffer("reads", torch.zeros(()))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        self.reads += 1
        return weight * (1.0 + 0.01 * self.reads)


def sequence(first: nn.Module) -> nn.Module:
    return nn.Sequential(first, nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def counted(*names: str) -> nn.Module:
    model = sequence(nn.Linear(6, 8))
    for name in names:
        parametrize.register_parametrization(model.get_submodule("0"), name, Counting())
    return model


def counted_convolution() -> nn.Module:
    model = convolution()
    parametrize.register_parametrization(model.get_submodule("1"), "bias", Counting())
    return model


def convolution() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 6)), parametrizations.spectral_norm(nn.Conv1d(1, 4, 3)), nn.ReLU(),
        nn.Flatten(), parametrizations.weight_norm(nn.Linear(16, 8)), nn.ReLU(), nn.Linear(8, 3),
    )  # fmt: skip


MODELS: dict[str, Callable[[], nn.Module]] = {
    "spectral_norm": lambda: sequence(parametrizations.spectral_norm(nn.Linear(6, 8))),
    "weight_norm": lambda: sequence(parametrizations.weight_norm(nn.Linear(6, 8))),
    "orthogonal": lambda: nn.Sequential(
        parametrizations.orthogonal(nn.Linear(6, 6)), nn.ReLU(), nn.Linear(6, 3)
    ),
    "spectral_norm by a hook": lambda: sequence(nn.utils.spectral_norm(nn.Linear(6, 8))),
    "weight_norm by a hook": lambda: sequence(nn.utils.weight_norm(nn.Linear(6, 8))),
    "a module with children": lambda: parametrizations.spectral_norm(WithChildren()),
    "one that counts reads": lambda: counted("weight"),
    "a bias that counts reads": lambda: counted("bias"),
    "both count reads": lambda: counted("weight", "bias"),
    "bias of a convolution": counted_convolution,
    "convolution": convolution,
}


def built(kind: str) -> nn.Module:
    torch.manual_seed(0)
    return MODELS[kind]()


@pytest.mark.parametrize("kind", MODELS)
def test_a_training_equals_a_plain_loop(kind: str) -> None:
    plain = built(kind)
    PlainLoop(plain, (X, Y), torch.optim.Adam(plain.parameters(), 1e-3), 16).run(9)
    model = built(kind)
    with nbd.Debugger(model, (X, Y), nn.CrossEntropyLoss(), batch_size=16) as dbg:
        assert same_weights(model, built(kind))
        dbg.run(steps=3)
        dbg.check()
        dbg.summary()
        dbg.timeline.fork(2, lr=[1e-2])
        dbg.run(steps=6)
        dbg.timeline.rewind(5)
        dbg.run(steps=4)
        assert same_weights(model, plain)
        assert dbg.timeline.replay().equal


@pytest.mark.parametrize("kind", MODELS)
def test_every_parameter_is_trained(kind: str) -> None:
    model = built(kind)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    with nbd.Debugger(model, (X, Y), nn.CrossEntropyLoss(), batch_size=16) as dbg:
        dbg.run(steps=3)
    assert not [n for n, value in model.named_parameters() if torch.equal(value, before[n])]
