"""Trainings for tests of rewind, one for each thing that could break it."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import nbdebug as nbd
from tests.inside import optimizer_of, session_of

N = 96
DATA = torch.Generator().manual_seed(5)
X = torch.randn(N, 6, generator=DATA)
Y = torch.randint(0, 3, (N,), generator=DATA)


class Augmented(Dataset[Any]):
    """Samples with noise from every global generator."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        noise = torch.randn(6) + np.random.rand() + random.random()
        return X[index] + 0.1 * noise.float(), Y[index]


class Stream(IterableDataset[Any]):
    """A stream of samples."""

    def __init__(self) -> None:
        self.drawn = torch.Generator().manual_seed(9)

    def __iter__(self) -> Any:
        while True:
            i = int(torch.randint(0, N, (), generator=self.drawn))
            yield X[i] + 0.1 * torch.randn(6, generator=self.drawn), Y[i]


class Counting(nn.Module):
    """A layer that counts its forward passes in a plain attribute and uses the count."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.calls = net(), 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.calls += 1
        return self.layers(x) * (1.0 + 0.01 * (self.calls % 7))


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3),
    )  # fmt: skip


def mixup(model: nn.Module, batch: Any) -> torch.Tensor:
    """A step function that draws from NumPy and Python."""
    x, y = batch
    share = float(np.random.beta(0.4, 0.4)) * random.random()
    other = torch.randperm(len(x))
    outputs = model(share * x + (1 - share) * x[other])
    loss = nn.functional.cross_entropy
    return share * loss(outputs, y) + (1 - share) * loss(outputs, y[other])


def workers() -> DataLoader[Any]:
    return DataLoader(Augmented(), batch_size=16, shuffle=True, num_workers=2)


def pairs() -> DataLoader[Any]:
    """Samples without noise, fetched by workers."""
    return DataLoader(TensorDataset(X, Y), batch_size=16, shuffle=True, num_workers=2)


Make = Callable[..., nbd.Debugger]


def make(
    model: nn.Module | type[nn.Module] | None = None, data: Any = None, **options: Any
) -> nbd.Debugger:
    torch.manual_seed(1)
    model = model() if isinstance(model, type) else model or net()
    if "step_fn" not in options:
        options["loss_fn"] = nn.CrossEntropyLoss()
    options = {"batch_size": 16, "val_data": (X[:20], Y[:20]), **options}
    return nbd.Debugger(model, (X, Y) if data is None else data, **options)


KINDS: dict[str, Make] = {
    "sgd": lambda **o: make(optimizer="sgd", momentum=0.9, lr=0.05, **o),
    "adam": lambda **o: make(optimizer="adam", **o),
    "adamw": lambda **o: make(optimizer="adamw", **o),
    "rmsprop": lambda **o: make(optimizer="rmsprop", **o),
    "adaptive clipping": lambda **o: make(clip_mode="adaptive", **o),
    "cosine": lambda **o: make(schedule="cosine", warmup_steps=5, **o),
    "plateau": lambda **o: make(schedule="plateau", **o),
    "own schedule": lambda **o: make(
        schedule=lambda opt: torch.optim.lr_scheduler.OneCycleLR(opt, 0.01, total_steps=500), **o
    ),
    "augmented": lambda **o: make(data=Augmented(), **o),
    "workers": lambda **o: make(data=workers(), **o),
    "stream": lambda **o: make(data=Stream(), **o),
    "step_fn": lambda **o: make(step_fn=mixup, **o),
    "counting": lambda **o: make(model=Counting, **o),
}


def change_everything(dbg: nbd.Debugger) -> None:
    """Apply eleven changes of different kinds, some at one step."""
    dbg.run(steps=7)
    dbg.set(lr=3e-3)
    dbg.run(steps=6)
    dbg.set(batch_size=8, clip_mode="norm")
    dbg.set(clip_threshold=0.5)
    dbg.run(steps=9)
    # A schedule of one's own may move betas, which SGD does not have: then it is refused.
    with contextlib.suppress(nbd.ControlValueError):
        dbg.set(optimizer="nesterov" if dbg.controls["optimizer"] == "sgd" else "sgd")
    dbg.set(dropout=0.1, weight_decay=1e-3)
    dbg.run(steps=5)
    first = next(iter(dbg.model.named_parameters()))[0].rpartition(".")[0]
    dbg.set(frozen={first: "frozen"})
    dbg.set(reinit="he")
    dbg.run(steps=4)
    if "dropout_norm" in session_of(dbg).layer_order.available:
        dbg.set(layer_order="dropout_norm")
    dbg.set(optimizer="adam")
    dbg.run(steps=8)


def state(dbg: nbd.Debugger) -> dict[str, torch.Tensor]:
    """Copies of weights, buffers and optimizer state."""
    found = {name: tensor.clone() for name, tensor in dbg.model.state_dict().items()}
    optimizer = optimizer_of(dbg)
    for name, parameter in dbg.model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, torch.Tensor):
                found[f"{name}/{key}"] = value.clone()
    return found


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def go_on_to(dbg: nbd.Debugger, step: int) -> None:
    """Train to a step, past batches with NaN or Inf."""
    while dbg.history.status.step < step:
        with contextlib.suppress(nbd.NonFiniteError):
            dbg.run(steps=step - dbg.history.status.step)


class Items(Dataset[Any]):
    """Items that a transform may change."""

    def __init__(self, change: Callable[[torch.Tensor], torch.Tensor] = lambda x: x) -> None:
        self.change = change

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        return self.change(X[index]), Y[index]
