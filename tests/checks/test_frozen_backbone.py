"""A frozen backbone that was never trained, and those that are meant as they are."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.core.results.checks.check_result import CheckResult
from nbdebug.examples.setups.base import CE, X, y
from tests.checks.result_of import result_of
from tests.checks.test_frozen_layers import trained


def backbone(*, normal: bool = False, width: int = 32) -> nn.Sequential:
    layers = nn.Sequential(
        nn.Linear(12, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
        nn.Linear(width, width), nn.ReLU(),
    )  # fmt: skip
    for layer in layers[::2] if normal else ():
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    return layers


class Classifier(nn.Module):
    def __init__(self, body: nn.Module, width: int = 32) -> None:
        super().__init__()
        self.backbone, self.head = body.requires_grad_(False), nn.Linear(width, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(x))  # type: ignore[no-any-return]


def convolutions() -> nn.Module:
    body = nn.Sequential(
        nn.Unflatten(1, (3, 4)), nn.Conv1d(3, 32, 3, padding=1, bias=False), nn.BatchNorm1d(32),
        nn.ReLU(), nn.Conv1d(32, 32, 3, padding=1, bias=False), nn.BatchNorm1d(32), nn.ReLU(),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(),
    )  # fmt: skip
    for layer in body:
        if isinstance(layer, nn.Conv1d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return Classifier(body)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(4, 32, num_layers=2, batch_first=True).requires_grad_(False)
        self.head = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(x.unflatten(1, (3, 4)))[0][:, -1])  # type: ignore[no-any-return]


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(4, 32).requires_grad_(False)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.body.requires_grad_(False)
        self.head = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.body(self.embed(x.unflatten(1, (3, 4)))).mean(1)
        return self.head(hidden)  # type: ignore[no-any-return]


def partly_loaded() -> nn.Module:
    body = backbone()
    trained(body[0])
    return Classifier(body)


def with_some_blocks_that_learn() -> nn.Module:
    body = backbone()
    model = Classifier(nn.Sequential(body, trained(backbone(width=32)[2:4])))
    model.backbone[1].requires_grad_(True)  # type: ignore[index]
    return model


class Wrapped(nn.Module):
    """A network within another module, as in a LightningModule."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Classifier(backbone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)  # type: ignore[no-any-return]


SICK: dict[str, Callable[[], nn.Module]] = {
    "all_new": lambda: Classifier(backbone()),
    "drawn_from_a_normal_distribution": lambda: Classifier(backbone(normal=True)),
    "convolutions_with_new_norms": convolutions,
    "recurrent": Recurrent,
    "attention": Attending,
    "wrapped": Wrapped,
    "partly_loaded": partly_loaded,
    "some_blocks_learn": with_some_blocks_that_learn,
}


@pytest.mark.parametrize("kind", SICK)
@pytest.mark.parametrize("steps", [0, 3])
def test_a_frozen_backbone_with_its_initial_weights_is_named(kind: str, steps: int) -> None:
    torch.manual_seed(0)
    found = _after(steps, SICK[kind]())
    assert found.status == "warning", found.seen
    assert "strict=False" in found.remedy


def _after(steps: int, model: nn.Module) -> CheckResult:
    with nbd.Debugger(model, (X, y), CE, optimizer="adam", lr=1e-2) as dbg:
        if steps:
            dbg.run(steps=steps)
        return dbg.check("frozen_layers")["frozen_layers"]


class Momentum(nn.Module):
    """A frozen copy that follows the network which learns."""

    def __init__(self, same: bool) -> None:
        super().__init__()
        self.online, self.head = backbone(), nn.Linear(32, 4)
        self.target = (copy.deepcopy(self.online) if same else backbone()).requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.online(x) + 0 * self.target(x))  # type: ignore[no-any-return]


class RandomFeatures(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.random_features = backbone().requires_grad_(False)
        self.readout = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.readout(self.random_features(x))  # type: ignore[no-any-return]


class LowRank(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(32, 32).requires_grad_(False)
        self.down, self.up = nn.Linear(32, 4, bias=False), nn.Linear(4, 32, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + self.up(self.down(x))  # type: ignore[no-any-return]


def with_adapters() -> nn.Module:
    body = backbone()
    model = Classifier(body)
    body[2] = LowRank()
    return model


def extreme_learning_machine() -> nn.Module:
    return Classifier(nn.Sequential(nn.Linear(12, 256), nn.Tanh()), 256)


def scaled_reservoir() -> nn.Module:
    body = backbone()
    for layer in list(body.children())[::2]:
        layer.weight.data.div_(torch.linalg.matrix_norm(layer.weight.data, 2)).mul_(0.9)
    return Classifier(body)


def trained_norms() -> nn.Module:
    model = convolutions()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d):
            nn.init.normal_(layer.weight, 1.0, 0.1)
    return model


HEALTHY: dict[str, Callable[[], nn.Module]] = {
    "trained": lambda: Classifier(trained(backbone())),
    "trained_for_few_steps": lambda: _briefly_trained(),
    "momentum_copy": lambda: Momentum(True),
    "momentum_network_of_its_own": lambda: Momentum(False),
    "named_random": RandomFeatures,
    "one_random_layer": extreme_learning_machine,
    "adapters": with_adapters,
    "scaled_reservoir": scaled_reservoir,
    "trained_norms": trained_norms,
}


def _briefly_trained() -> nn.Module:
    body, head = backbone(), nn.Linear(32, 4)
    optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=1e-3)
    for _ in range(30):
        optimizer.zero_grad()
        CE(head(body(X[:64])), y[:64]).backward()
        optimizer.step()
    return Classifier(body)


@pytest.mark.parametrize("kind", HEALTHY)
@pytest.mark.parametrize("steps", [0, 3])
def test_frozen_layers_that_are_meant_so_pass(kind: str, steps: int) -> None:
    torch.manual_seed(0)
    found = _after(steps, HEALTHY[kind]())
    assert found.status == "pass", found.seen


def test_new_weights_are_known_in_small_and_in_large_layers() -> None:
    torch.manual_seed(1)
    for width in (16, 64, 128):
        for normal in (False, True):
            model = Classifier(backbone(normal=normal, width=width), width)
            assert result_of("frozen_layers", model, (X, y), CE).status == "warning"
