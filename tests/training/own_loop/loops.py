"""Loops of many kinds, each written as one writes it without nbdebug."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

X = torch.randn(96, 8, generator=torch.Generator().manual_seed(1))
Y = X.sum(1, keepdim=True).sin()
LABELS = (Y[:, 0] > 0).long()
Epochs = Callable[[int], Iterable[int]]
Batches = Callable[[Iterable[Any]], Iterable[Any]]


def mlp(inputs: int = 8, outputs: int = 1, dropout: float = 0.1) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, outputs)
    )


class OwnLoop:
    """A model, its optimizer, and a loop over `batches` in `epochs`.

    Attributes:
        registered: keywords for `nbdebug.watch`.
        extra: what else is compared, by name.
    """

    epochs = 3

    def __init__(self) -> None:
        torch.manual_seed(0)
        np.random.seed(0)
        self.registered: dict[str, Any] = {}
        self.losses: list[float] = []
        self.make()

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loader: Any

    def make(self) -> None:
        self.model = mlp()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-2)
        self.loader = DataLoader(TensorDataset(X, Y), batch_size=16, shuffle=True)

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for x, y in batches(self.loader):
                self.optimizer.zero_grad()
                loss = functional.mse_loss(self.model(x), y)
                loss.backward()
                self.optimizer.step()
                self.losses.append(loss.item())

    def extra(self) -> dict[str, Any]:
        return {}

    def state(self) -> dict[str, Any]:
        """All that the loop has moved."""
        return copy.deepcopy(
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                **{name: _state(one) for name, one in self.extra().items()},
            }
        )


def _state(one: Any) -> Any:
    return one.state_dict() if hasattr(one, "state_dict") else one


class ZeroAtTheEnd(OwnLoop):
    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for x, y in batches(self.loader):
                loss = functional.mse_loss(self.model(x), y)
                loss.backward()
                self.optimizer.step()
                self.optimizer.zero_grad()
                self.losses.append(loss.item())


class OwnClippingAndSchedule(OwnLoop):
    """Clips by itself; a schedule a step and one an epoch."""

    def make(self) -> None:
        super().make()
        self.warmup = torch.optim.lr_scheduler.LinearLR(self.optimizer, 0.1, total_iters=10)
        self.decay = torch.optim.lr_scheduler.StepLR(self.optimizer, 1, gamma=0.7)

    def extra(self) -> dict[str, Any]:
        return {"warmup": self.warmup, "decay": self.decay}

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for x, y in batches(self.loader):
                self.optimizer.zero_grad()
                loss = functional.mse_loss(self.model(x), y)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 0.5)
                self.optimizer.step()
                self.warmup.step()
                self.losses.append(loss.item())
            self.decay.step()


class AccumulationWithAverage(OwnLoop):
    """Three batches an update, bfloat16, and an average of the weights."""

    def make(self) -> None:
        super().make()
        self.ema = copy.deepcopy(self.model)

    def extra(self) -> dict[str, Any]:
        return {"ema": self.ema}

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for number, (x, y) in enumerate(batches(self.loader)):
                with torch.autocast("cpu", torch.bfloat16):
                    loss = functional.mse_loss(self.model(x), y) / 3
                loss.backward()
                if number % 3 < 2:
                    continue
                self.optimizer.step()
                self.optimizer.zero_grad()
                with torch.no_grad():
                    for mean, now in zip(
                        self.ema.parameters(), self.model.parameters(), strict=True
                    ):
                        mean.lerp_(now, 0.1)
                self.losses.append(loss.item())


class TwoOptimizers(OwnLoop):
    """A generator is watched; its discriminator has an optimizer of its own."""

    def make(self) -> None:
        self.model, self.judge = mlp(4, 8), mlp(8, 1)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        self.other = torch.optim.Adam(self.judge.parameters(), lr=1e-3)
        self.loader = DataLoader(TensorDataset(X), batch_size=16, shuffle=True)

    def extra(self) -> dict[str, Any]:
        return {"judge": self.judge, "other": self.other}

    def run(self, epochs: Epochs, batches: Batches) -> None:
        bce = functional.binary_cross_entropy_with_logits
        for _ in epochs(self.epochs):
            for (real,) in batches(self.loader):
                one, zero = torch.ones(len(real), 1), torch.zeros(len(real), 1)
                fake = self.model(torch.randn(len(real), 4))
                self.other.zero_grad()
                bce(self.judge(real), one).backward()
                bce(self.judge(fake.detach()), zero).backward()
                self.other.step()
                self.optimizer.zero_grad()
                loss = bce(self.judge(fake), one)
                loss.backward()
                self.optimizer.step()
                self.losses.append(loss.item())


class ByClosure(OwnLoop):
    """LBFGS calls the model several times a step."""

    def make(self) -> None:
        super().make()
        self.model = mlp(dropout=0.0)
        self.optimizer = torch.optim.LBFGS(self.model.parameters(), lr=0.1, max_iter=4)
        self.loader = DataLoader(TensorDataset(X, Y), batch_size=48)

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for x, y in batches(self.loader):

                def closure(x: torch.Tensor = x, y: torch.Tensor = y) -> torch.Tensor:
                    self.optimizer.zero_grad()
                    loss = functional.mse_loss(self.model(x), y)
                    loss.backward()
                    return loss

                loss: Any = self.optimizer.step(closure)
                self.losses.append(loss.item())


class SharpnessAware(OwnLoop):
    """Two backward passes an update, the second one at other weights."""

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for x, y in batches(self.loader):
                self.optimizer.zero_grad()
                functional.mse_loss(self.model(x), y).backward()
                moves = [0.05 * p.grad for p in self.model.parameters() if p.grad is not None]
                with torch.no_grad():
                    for p, move in zip(self.model.parameters(), moves, strict=True):
                        p.add_(move)
                self.optimizer.zero_grad()
                loss = functional.mse_loss(self.model(x), y)
                loss.backward()
                with torch.no_grad():
                    for p, move in zip(self.model.parameters(), moves, strict=True):
                        p.sub_(move)
                self.optimizer.step()
                self.losses.append(loss.item())


class Carried(OwnLoop):
    """The hidden state of an LSTM goes on from batch to batch."""

    def make(self) -> None:
        self.model = nn.LSTM(8, 6, batch_first=True)
        self.head = nn.Linear(6, 1)
        both = [*self.model.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.SGD(both, lr=0.1)
        self.loader = [
            (X.view(24, 4, 8)[i : i + 4], Y.view(24, 4, 1)[i : i + 4]) for i in range(0, 24, 4)
        ]
        self.hidden: Any = (torch.zeros(1, 4, 6), torch.zeros(1, 4, 6))

    def extra(self) -> dict[str, Any]:
        return {"head": self.head, "hidden": self.hidden}

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for x, y in batches(self.loader):
                out, hidden = self.model(x, self.hidden)
                self.hidden = tuple(h.detach() for h in hidden)
                loss = functional.mse_loss(self.head(out), y)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.losses.append(loss.item())


class ScaledLoss(OwnLoop):
    """A GradScaler, whose scale grows."""

    def make(self) -> None:
        super().make()
        self.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=4)
        self.registered = {"scaler": self.scaler}

    def extra(self) -> dict[str, Any]:
        return {"scaler": self.scaler}

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for x, y in batches(self.loader):
                self.optimizer.zero_grad()
                loss = functional.mse_loss(self.model(x), y)
                self.scaler.scale(loss).backward()
                self.scaler.unscale_(self.optimizer)
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                self.scaler.step(self.optimizer)
                self.scaler.update()
                self.losses.append(loss.item())


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        for x, y in zip(X, Y, strict=True):
            yield x + 0.1 * torch.randn(8), y


class FromAStream(OwnLoop):
    def make(self) -> None:
        super().make()
        self.loader = DataLoader(Stream(), batch_size=16)


class WithWorkers(OwnLoop):
    epochs = 2

    def make(self) -> None:
        super().make()
        self.loader = DataLoader(
            TensorDataset(X, Y),
            batch_size=16,
            shuffle=True,
            num_workers=1,
            multiprocessing_context="fork",
        )


class OwnGenerator(OwnLoop):
    """The loader and the noise have generators of their own."""

    def make(self) -> None:
        super().make()
        order = torch.Generator().manual_seed(5)
        self.noise = torch.Generator().manual_seed(6)
        self.loader = DataLoader(TensorDataset(X, Y), batch_size=16, shuffle=True, generator=order)

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for x, y in batches(self.loader):
                self.optimizer.zero_grad()
                noise = torch.randn(x.shape, generator=self.noise)
                loss = functional.mse_loss(self.model(x + 0.1 * noise), y)
                loss.backward()
                self.optimizer.step()
                self.losses.append(loss.item())


class Validates(OwnLoop):
    """Validation at the end of each epoch, with draws of its own, and numpy in the body."""

    def make(self) -> None:
        super().make()
        self.seen: list[float] = []

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            self.model.train()
            for x, y in batches(self.loader):
                self.optimizer.zero_grad()
                loss = functional.mse_loss(self.model(x) * float(np.random.rand()), y)
                loss.backward()
                self.optimizer.step()
                self.losses.append(loss.item())
            self.model.eval()
            with torch.no_grad():
                chosen = torch.randperm(len(X))[:20]
                self.seen.append(float(functional.mse_loss(self.model(X[chosen]), Y[chosen])))


class EarlyBreak(OwnLoop):
    """Leaves each pass after four batches."""

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for number, (x, y) in enumerate(batches(self.loader)):
                self.optimizer.zero_grad()
                loss = functional.mse_loss(self.model(x), y)
                loss.backward()
                self.optimizer.step()
                self.losses.append(loss.item())
                if number == 3:
                    break


class TwoUpdates(OwnLoop):
    """Two updates for each batch."""

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for x, y in batches(self.loader):
                for _ in range(2):
                    self.optimizer.zero_grad()
                    loss = functional.mse_loss(self.model(x), y)
                    loss.backward()
                    self.optimizer.step()
                self.losses.append(loss.item())


LOOPS = [
    OwnLoop, ZeroAtTheEnd, OwnClippingAndSchedule, AccumulationWithAverage, TwoOptimizers,
    ByClosure, SharpnessAware, Carried, ScaledLoss, FromAStream, WithWorkers, OwnGenerator,
    Validates, TwoUpdates,
]  # fmt: skip
