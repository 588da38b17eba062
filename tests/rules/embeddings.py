"""Trainings that pull the outputs for two views of each sample together."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import nbdebug as nbd
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Findings

N, FEATURES, WIDTH = 256, 16, 8
DRAW = torch.Generator().manual_seed(0)
CENTRES = 2 * torch.randn(8, FEATURES, generator=DRAW)
LABELS = torch.randint(8, (N,), generator=DRAW)
X = CENTRES[LABELS] + torch.randn(N, FEATURES, generator=DRAW)
Views = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Loss = Callable[[nn.Module, Views], torch.Tensor]


class Encoder(nn.Module):
    """Embeddings, and what a predictor makes of them."""

    def __init__(self, norm: bool = True) -> None:
        super().__init__()
        middle = nn.BatchNorm1d(32) if norm else nn.Identity()
        self.body = nn.Sequential(nn.Linear(FEATURES, 32), middle, nn.ReLU(), nn.Linear(32, WIDTH))
        self.predictor = nn.Sequential(nn.Linear(WIDTH, 16), nn.ReLU(), nn.Linear(16, WIDTH))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        embedding = self.body(x)
        return embedding, self.predictor(embedding)


class Plain(nn.Module):
    """Embeddings alone."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(FEATURES, 32), nn.ReLU(), nn.Linear(32, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        embedding: torch.Tensor = self.body(x)
        return embedding


def cosine(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return -F.cosine_similarity(one, other).mean()


def without_stop(model: nn.Module, views: Views) -> torch.Tensor:
    """SimSiam without stop-gradient."""
    (z1, p1), (z2, p2) = model(views[0]), model(views[1])
    return (cosine(p1, z2) + cosine(p2, z1)) / 2


def with_stop(model: nn.Module, views: Views) -> torch.Tensor:
    (z1, p1), (z2, p2) = model(views[0]), model(views[1])
    return (cosine(p1, z2.detach()) + cosine(p2, z1.detach())) / 2


def only_alike(model: nn.Module, views: Views) -> torch.Tensor:
    """A squared distance of two views, and no negatives."""
    return (model(views[0]) - model(views[1])).square().sum(1).mean()


def same_labels_only(model: nn.Module, views: Views) -> torch.Tensor:
    """A contrastive loss that is given pairs of the same class alone."""
    z, labels = F.normalize(model(views[0]), dim=1), views[2]
    same = labels[:, None] == labels[None]
    return (1 - z @ z.T)[same].mean() + 0 * z.sum()


def all_alike(model: nn.Module, views: Views) -> torch.Tensor:
    """A contrastive loss whose mask of pairs is all true."""
    z = F.normalize(model(torch.cat(views[:2])), dim=1)
    return (1 - z @ z.T).mean()


def without_variance(model: nn.Module, views: Views) -> torch.Tensor:
    """VICReg without the term that holds the variance up."""
    one, other = model(views[0]), model(views[1])
    centred = one - one.mean(0)
    covariance = centred.T @ centred / (len(one) - 1)
    off = covariance - covariance.diagonal().diag()
    return 25 * (one - other).square().mean() + off.square().sum() / WIDTH


def weightless_negatives(model: nn.Module, views: Views) -> torch.Tensor:
    """A triplet loss whose negatives have a weight of 0: all come to the margin."""
    one, other = model(views[0]), model(views[1])
    far = 0.0 * (one - other.roll(1, 0)).square().sum(1)
    return ((one - other).square().sum(1) - far + 0.2).clamp_min(0).mean()


def info_nce(model: nn.Module, views: Views) -> torch.Tensor:
    one, other = (F.normalize(model(view), dim=1) for view in views[:2])
    scores = one @ other.T / 0.2
    return -scores.log_softmax(1).diagonal().mean()


def triplet(model: nn.Module, views: Views) -> torch.Tensor:
    one, other = model(views[0]), model(views[1])
    far = (one - other.roll(1, 0)).square().sum(1)
    return ((one - other).square().sum(1) - far + 1).clamp_min(0).mean()


def with_variance(model: nn.Module, views: Views) -> torch.Tensor:
    one, other = model(views[0]), model(views[1])
    held = sum((1 - (z.var(0) + 1e-4).sqrt()).clamp_min(0).mean() for z in (one, other))
    return 25 * (one - other).square().mean() + 25 * held + 0 * one.sum()


def barlow(model: nn.Module, views: Views) -> torch.Tensor:
    one, other = ((z - z.mean(0)) / (z.std(0) + 1e-5) for z in map(model, views[:2]))
    both = one.T @ other / len(one)
    on = (both.diagonal() - 1).square().sum()
    return on + 0.01 * (both - both.diagonal().diag()).square().sum()


def classes_by_hand(model: nn.Module, views: Views) -> torch.Tensor:
    scores = model(views[0]).log_softmax(1)
    return -scores.gather(1, views[2][:, None]).mean()


def numbers_by_hand(model: nn.Module, views: Views) -> torch.Tensor:
    return (model(views[0]) - views[0][:, :WIDTH]).abs().mean()


def distant_numbers(model: nn.Module, views: Views) -> torch.Tensor:
    """Numbers that differ little from each other: all rows have almost the same direction."""
    return (model(views[0]) - (5 + 0.5 * views[0][:, :WIDTH])).square().sum(1).mean()


def uneven_contrastive(model: nn.Module, views: Views) -> torch.Tensor:
    """Cosines of pairs of two classes, one of which has one sample in eight."""
    z, few = F.normalize(model(views[0]), dim=1), views[2] == 0
    cosines, same = z @ z.T, few[:, None] == few[None]
    return (1 - cosines)[same].mean() + (cosines - 0.2)[~same].clamp_min(0).mean()


class Averaged:
    """BYOL: the target is a running average of the network."""

    def __init__(self) -> None:
        self.target: Any = None

    def __call__(self, model: nn.Module, views: Views) -> torch.Tensor:
        if self.target is None:
            self.target = copy.deepcopy(model).requires_grad_(False)
        for one, mine in zip(self.target.parameters(), model.parameters(), strict=True):
            one.data.lerp_(mine.detach(), 0.02)
        _, p1 = model(views[0])
        z2, _ = self.target(views[1])
        return cosine(p1, z2)


def batches(number: int) -> Iterator[Views]:
    """The batches of an epoch."""
    draw = torch.Generator().manual_seed(number)
    for rows in torch.randperm(N, generator=draw).split(64):
        noise = [0.3 * torch.randn(len(rows), FEATURES, generator=draw) for _ in range(2)]
        yield X[rows] + noise[0], X[rows] + noise[1], LABELS[rows]


class Step:
    """The body of a loop."""

    def __init__(self, model: nn.Module, loss: Loss, lr: float) -> None:
        torch.manual_seed(0)
        self.model, self.loss = model, loss
        self.optimizer = torch.optim.Adam(model.parameters(), lr)

    def __call__(self, views: Views) -> None:
        self.optimizer.zero_grad()
        self.loss(self.model, views).backward()
        self.optimizer.step()


def trained(model: nn.Module, loss: Loss, steps: int, lr: float = 3e-3) -> None:
    """Train without nbdebug."""
    step = Step(model, loss, lr)
    for epoch in range(steps // 4):
        for views in batches(epoch):
            step(views)


def findings(
    model: nn.Module, loss: Loss, steps: int = 400, lr: float = 3e-3, in_steps: bool = False
) -> tuple[Findings, Snapshot]:
    """Findings of a loop of its own, and what was measured."""
    step = Step(model, loss, lr)
    with nbd.watch(model, step.optimizer, runs=None) as dbg:
        if in_steps:
            for number in range(steps // 4):
                for views in batches(number):
                    with dbg.step():
                        step(views)
            dbg.leave()
        else:
            for epoch in dbg.epochs(steps // 4):
                for views in dbg.batches(list(batches(epoch))):
                    step(views)
        return dbg.findings, dbg.history.snapshot()
