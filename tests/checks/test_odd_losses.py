"""Losses, models and data of unusual form, all healthy: no check fails, warns or breaks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils import data as torch_data

import nbdebug as nbd
from nbdebug.core.results.checks.check_result import BAD_STATUSES
from nbdebug.examples.setups.base import CE, X, mlp, y
from tests.problems import CLASSES, FEATURES, images

SET = torch_data.TensorDataset(X, y)


@dataclass
class Answer:
    logits: torch.Tensor
    hidden: torch.Tensor


class Answering(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = mlp()[:4], nn.Linear(16, CLASSES)

    def forward(self, x: torch.Tensor) -> Answer:
        hidden = self.first(x)
        return Answer(self.last(hidden), hidden)


class Own(nn.Module):
    """Computes its loss itself."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, x: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.body(x)
        penalty = 1e-4 * sum(p.pow(2).sum() for p in self.parameters())
        return {"loss": functional.cross_entropy(logits, targets) + penalty, "logits": logits}


class Counting(nn.Module):
    """A loss with buffers, which it changes in each call."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("mean", torch.ones(()))

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss = functional.cross_entropy(outputs, targets)
        self.calls += 1
        self.mean.mul_(0.9).add_(0.1 * loss.detach())
        return loss


def accumulated(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    loss = torch.zeros(())
    for logits, target in zip(outputs.chunk(4), targets.chunk(4), strict=True):
        loss += functional.cross_entropy(logits, target) / 4
    return loss


def summed(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    parts = zip(outputs.chunk(4), targets.chunk(4), strict=True)
    return sum(functional.cross_entropy(*part) for part in parts) / 4  # type: ignore[return-value]


LOG: list[float] = []


def logging(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    right = (outputs.argmax(1) == targets).float().mean()
    loss = functional.cross_entropy(outputs, targets)
    LOG[:] = [loss.item(), right.item(), float(outputs.detach().std())]
    return loss


def straight_through(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    loss, other = functional.cross_entropy(outputs, targets), (outputs**2).mean()
    return loss + (other - other.detach())


def small_part(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    wanted = functional.one_hot(targets, CLASSES).float()
    return functional.cross_entropy(outputs, targets) + 1e-3 * functional.mse_loss(outputs, wanted)


def switched_off(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """A weight that grows from 0 during training."""
    wanted = functional.one_hot(targets, CLASSES).float()
    return functional.cross_entropy(outputs, targets) + 0.0 * functional.mse_loss(outputs, wanted)


def weighed_at_random(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    each = functional.cross_entropy(outputs, targets, reduction="none")
    return (each * torch.rand(len(each))).mean()


def flooded(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (functional.cross_entropy(outputs, targets) - 0.1).abs() + 0.1


class Uncertain(nn.Module):
    """Terms with weights that are learnt (Kendall et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.log_variance = nn.Parameter(torch.zeros(2))

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        terms = functional.cross_entropy(outputs, targets), outputs.square().mean()
        first, second = self.log_variance
        return (-first).exp() * terms[0] + first + (-second).exp() * terms[1] + second


def angular(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (1 - (outputs - targets).cos()).mean()


def ranked(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.softplus(-(outputs - outputs.T) * (targets - targets.T).sign()).mean()


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return 3 * x**2 * slope


def own_function(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(outputs, targets) + Cube.apply(0.1 * outputs.std())


def autocast(model: nn.Module, batch: Any) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return functional.cross_entropy(model(batch[0]), batch[1])


def several(model: nn.Module, batch: Any) -> dict[str, torch.Tensor]:
    loss = functional.cross_entropy(model(batch[0]), batch[1])
    return {"loss": loss, "half": loss.detach() / 2}


def perturbed(model: nn.Module, batch: Any) -> torch.Tensor:
    """Adversarial training: the inputs move along their gradient."""
    moved = torch.zeros_like(batch[0], requires_grad=True)
    loss = functional.cross_entropy(model(batch[0] + moved), batch[1])
    (slope,) = torch.autograd.grad(loss, moved)
    return functional.cross_entropy(model(batch[0] + 0.05 * slope.sign()), batch[1])


class Complex(nn.Module):
    """Layers of complex weights."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mix = nn.Linear(FEATURES // 2 + 1, 16, dtype=torch.complex64)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.mix(torch.fft.rfft(x)).abs())


class Taught(nn.Module):
    """Keeps a teacher in a list on purpose, without freezing it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()
        self.teacher = [copy.deepcopy(self.body).eval()]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0.9 * self.body(x) + 0.1 * self.teacher[0](x)


def hooked() -> nn.Module:
    model = mlp()
    model[1].register_forward_hook(lambda module, inputs, output: output * 1.0)
    model[0].weight.register_hook(lambda slope: slope.clamp(-1, 1))
    return model


class Running(nn.Module):
    """Counts its calls and keeps a running mean in buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()
        self.register_buffer("mean", torch.zeros(FEATURES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.mean.lerp_(x.detach().mean(0), 0.1)
        return self.body(x - self.mean)


class Paired(torch_data.Dataset[Any]):
    """Pictures and masks that are flipped together, with the same noise of the picture."""

    pictures = images()[0]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Any:
        picture = self.pictures[index]
        mask = (picture > picture.mean()).float()
        if bool(torch.rand(()) < 0.5):
            picture, mask = picture.flip(-1), mask.flip(-1)
        return picture, mask


class Stream(torch_data.IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(SET)


class Batches(torch_data.Sampler[list[int]]):
    """Batches of a sampler of the user's own."""

    def __iter__(self) -> Iterator[list[int]]:
        yield from torch.randperm(len(X)).view(-1, 20).tolist()

    def __len__(self) -> int:
        return len(X) // 20


def loader(**more: Any) -> torch_data.DataLoader[Any]:
    return torch_data.DataLoader(
        SET, **({} if "batch_sampler" in more else {"batch_size": 32}), **more
    )


def critic() -> dict[str, Any]:
    """The generator's turn: the critic has an optimizer of its own."""
    torch.manual_seed(0)
    judge = nn.Sequential(nn.Linear(CLASSES, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(judge.parameters())

    def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        assert optimizer.param_groups
        return functional.softplus(-judge(model(batch[0]))).mean()

    return {"model": mlp(), "step_fn": step_fn}


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))


def last(outputs: Any, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(outputs.logits, targets)


def heteroscedastic(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    mean, width = outputs.unbind(1)
    return (0.5 * width + 0.5 * (targets - mean) ** 2 * (-width).exp()).mean()


def critic_score(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (outputs * (1 - 2 * targets)).mean()


NUMBER = (X[:, 0] - X[:, 0].mean()) / X[:, 0].std()
TWO = (y > 1).float()[:, None]
weights = 1 / torch.bincount(y).double()
ODD: dict[str, Callable[[], dict[str, Any]]] = {
    "outputs in a dataclass": lambda: {"model": Answering(), "loss_fn": last},
    "loss in the model": lambda: {
        "model": Own(), "step_fn": lambda model, batch: model(*batch)["loss"]
    },
    "loss with buffers": lambda: {"loss_fn": Counting()},
    "loss accumulated in place": lambda: {"loss_fn": accumulated},
    "loss by sum()": lambda: {"loss_fn": summed},
    "loss that logs": lambda: {"loss_fn": logging},
    "straight-through term": lambda: {"loss_fn": straight_through},
    "term of a small weight": lambda: {"loss_fn": small_part},
    "term of an own function": lambda: {"loss_fn": own_function},
    "term that is off": lambda: {"loss_fn": switched_off},
    "weights at random": lambda: {"loss_fn": weighed_at_random},
    "flooding": lambda: {"loss_fn": flooded},
    "learnt weights of terms": lambda: {"loss_fn": Uncertain()},
    "a class that is left out": lambda: {
        "train_data": (X, y.masked_fill(torch.arange(len(y)) % 12 > 0, 0)),
        "loss_fn": nn.CrossEntropyLoss(ignore_index=0),
    },
    "a class of small weight": lambda: {
        "train_data": (X, y.masked_fill(torch.arange(len(y)) % 12 > 0, 0)),
        "loss_fn": nn.CrossEntropyLoss(torch.tensor([0.03, 1.0, 1.0, 1.0])),
    },
    "angles": lambda: {
        "model": mlp(out=1), "train_data": (X, 3 * NUMBER[:, None]), "loss_fn": angular
    },
    "ranks": lambda: {
        "model": mlp(out=1), "train_data": (X, NUMBER[:, None]), "loss_fn": ranked
    },
    "compiled": lambda: {"model": torch.compile(mlp(), backend="eager")},
    "loss in a dict": lambda: {"step_fn": several},
    "autocast": lambda: {"step_fn": autocast},
    "adversarial": lambda: {"step_fn": perturbed},
    "double precision": lambda: {"model": mlp().double(), "train_data": (X.double(), y)},
    "complex layers": lambda: {"model": Complex(), "train_data": (X / 4, y)},
    "teacher in a list": lambda: {"model": Taught()},
    "hooks": lambda: {"model": hooked()},
    "buffers": lambda: {"model": Running()},
    "critic of its own": critic,
    "mean and log-variance in one": lambda: {
        "model": mlp(out=2), "train_data": (X, NUMBER), "loss_fn": heteroscedastic
    },
    "score of a critic": lambda: {
        "model": mlp(out=1), "train_data": (X, TWO), "loss_fn": critic_score
    },
    "score of a critic by signs": lambda: {
        "model": mlp(out=1), "train_data": (X, 2 * TWO - 1),
        "loss_fn": lambda outputs, targets: -(outputs * targets).mean(),
    },
    "soft margin of signs": lambda: {
        "model": mlp(out=1), "train_data": (X, 2 * TWO - 1), "loss_fn": nn.SoftMarginLoss()
    },
    "random sampler": lambda: {"train_data": loader(sampler=torch_data.RandomSampler(SET))},
    "drawn again": lambda: {
        "train_data": loader(sampler=torch_data.RandomSampler(SET, True, 100))
    },
    "weighted sampler": lambda: {
        "train_data": loader(sampler=torch_data.WeightedRandomSampler(weights[y].tolist(), 200))
    },
    "subset sampler": lambda: {
        "train_data": loader(sampler=torch_data.SubsetRandomSampler(range(0, 200, 2)))
    },
    "batch sampler": lambda: {"train_data": loader(batch_sampler=Batches())},
    "subset": lambda: {
        "train_data": torch_data.DataLoader(
            torch_data.Subset(SET, range(50)), batch_size=10, shuffle=True
        )
    },
    "stream": lambda: {"train_data": torch_data.DataLoader(Stream(), batch_size=32)},
    "paired transforms": lambda: {
        "model": convolutional(), "train_data": Paired(), "loss_fn": nn.BCEWithLogitsLoss(),
        "batch_size": 16,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
# Two of these warn of themselves.
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_check_alarms_or_breaks_on(name: str) -> None:
    setup = {"model": mlp(), "train_data": (X, y), **ODD[name]()}
    if "step_fn" not in setup:
        setup.setdefault("loss_fn", CE)
    with nbd.Debugger(**setup) as dbg:
        report = dbg.check()
    bad = [(r.name, r.seen) for r in report if r.status in BAD_STATUSES]
    assert bad == []
    if "step_fn" not in setup:
        assert [(r.name, r.seen) for r in report if "does not fit" in r.seen] == []
