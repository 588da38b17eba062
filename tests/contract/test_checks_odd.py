"""Odd trainings in which nothing is wrong: no check may break, none may cry wolf."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

import nbdebug as nbd
from nbdebug.checks.base import Check
from nbdebug.core.plugins import discover
from tests.draw import some
from tests.problems import CLASSES, FEATURES, blobs, tiny_mlp

pytestmark = pytest.mark.slow
CHECKS = discover("nbdebug.checks", Check)
X, y = blobs()


class Two(nn.Module):
    """Two inputs, a dict of outputs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.left, self.right = nn.Linear(4, 8), nn.Linear(FEATURES - 4, 8)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.head((self.left(left) + self.right(right)).relu())}


class Named(Dataset[Any]):
    """Inputs by name."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> Any:
        return {"left": X[index, :4], "right": X[index, 4:]}, y[index]


class Tokens(nn.Module):
    """An output for every token."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.rnn = nn.Embedding(9, 8), nn.GRU(8, 8, batch_first=True)
        self.head = nn.Linear(8, 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(self.embed(x))[0]).transpose(1, 2)


def text() -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.randint(0, 9, (60, 7), generator=torch.Generator().manual_seed(1))
    return tokens[:, :-1], tokens[:, 1:]


class Lengths(Dataset[Any]):
    """Texts of different length, each with a target for every token."""

    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int) -> Any:
        tokens = (torch.arange(4 + index // 6) * 7 + index) % 9
        return tokens[:-1], tokens[1:]


def padded(samples: list[Any]) -> Any:
    inputs, targets = zip(*samples, strict=True)
    pad = nn.utils.rnn.pad_sequence
    return pad(inputs, True), pad(targets, True, padding_value=-100)


def pixels(outputs: torch.Tensor, targets: dict[str, torch.Tensor]) -> torch.Tensor:
    return nn.functional.cross_entropy(outputs, targets["label"])


class TargetsByName(Dataset[Any]):
    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> Any:
        return X[index], {"label": y[index]}


class Several(nn.Module):
    """A tuple of outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.body = tiny_mlp()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.body(x), x.mean(1)


class Complex(nn.Module):
    """Complex numbers on the way."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(FEATURES // 2 + 1, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.fft.rfft(x).abs().relu() / FEATURES)


def first_of(outputs: Any, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(outputs[0], targets)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(zip(X, y, strict=True))


class Bare(nn.Module):
    """Neither layers nor activations, only a parameter; outputs without a class dimension."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weight = nn.Parameter(torch.randn(FEATURES) * 0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight


def partly_frozen() -> nn.Module:
    model = tiny_mlp()
    model[0].requires_grad_(False)
    return model


def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def dict_loss(outputs: Any, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(outputs["logits"], targets)


CE = nn.CrossEntropyLoss()
Make = Callable[[], dict[str, Any]]
ODD: dict[str, Make] = {
    "step_fn": lambda: {"model": tiny_mlp(), "train_data": (X, y), "step_fn": step_fn},
    "named inputs": lambda: {"model": Two(), "train_data": Named(), "loss_fn": dict_loss},
    "two inputs": lambda: {"model": Two(), "train_data": (X[:, :4], X[:, 4:], y),
                           "loss_fn": dict_loss},
    "tokens": lambda: {"model": Tokens(), "train_data": text(), "loss_fn": CE},
    "stream": lambda: {"model": tiny_mlp(), "train_data": DataLoader(Stream(), batch_size=16),
                       "loss_fn": CE},
    "a bare parameter": lambda: {"model": Bare(), "train_data": (X, X.sum(1) / 12),
                                 "loss_fn": nn.MSELoss()},
    "partly frozen": lambda: {"model": partly_frozen(), "train_data": (X, y), "loss_fn": CE},
    "double precision": lambda: {"model": tiny_mlp().double(), "train_data": (X.double(), y),
                                 "loss_fn": CE},
    "three samples": lambda: {"model": nn.Linear(FEATURES, CLASSES),
                              "train_data": (X[:3], y[:3]), "loss_fn": CE},
    "own optimizer": lambda: {"model": tiny_mlp(), "train_data": (X, y), "loss_fn": CE,
                              "optimizer": lambda p: torch.optim.Adagrad(p, lr=0.01)},
    "validated": lambda: {"model": tiny_mlp(), "train_data": (X[:150], y[:150]), "loss_fn": CE,
                          "val_data": (X[150:], y[150:])},
    "padded batches": lambda: {
        "model": Tokens(), "loss_fn": CE,
        "train_data": DataLoader(Lengths(), batch_size=8, collate_fn=padded, shuffle=True),
    },
    "padded and in order": lambda: {
        "model": Tokens(), "loss_fn": CE,
        "train_data": DataLoader(Lengths(), batch_size=8, collate_fn=padded),
        "val_data": DataLoader(Lengths(), batch_size=8, collate_fn=padded),
    },
    "targets by name": lambda: {"model": tiny_mlp(), "train_data": TargetsByName(),
                                "loss_fn": pixels},
    "several outputs": lambda: {"model": Several(), "train_data": (X, y), "loss_fn": first_of},
    "complex numbers": lambda: {"model": Complex(), "train_data": (X, y), "loss_fn": CE},
    "two classes": lambda: {"model": nn.Sequential(tiny_mlp(), nn.Linear(CLASSES, 1)),
                            "train_data": (X, (y > 1).float()[:, None]),
                            "loss_fn": nn.BCEWithLogitsLoss()},
    "class weights": lambda: {"model": tiny_mlp(), "train_data": (X, y),
                              "loss_fn": nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 3.0, 4.0]))},
}  # fmt: skip


@pytest.mark.soak
@pytest.mark.parametrize("odd", some(ODD, share=2))
def test_no_check_breaks_or_fails(odd: str) -> None:
    with nbd.Debugger(**ODD[odd]()) as dbg:
        report = dbg.check(*(check.name for check in CHECKS))
    assert [r.name for r in report if r.raised or "does not fit" in r.seen] == [], report
    assert [result.name for result in report if result.status == "fail"] == [], report
