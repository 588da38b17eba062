"""Faults of what belongs together: rows, parts of the data, a model and its copies."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from nbdebug.examples.data import CLASSES, FEATURES
from nbdebug.examples.setups.base import CE, SickSetup, X, mlp, y
from nbdebug.examples.setups.connections import TOKENS, Reader

CHOSEN = torch.randperm(len(X), generator=torch.Generator().manual_seed(1))[: len(X) // 2]


def moved() -> tuple[torch.Tensor, torch.Tensor]:
    """Sentences and the same, moved by one place."""
    tokens = torch.randint(0, TOKENS, (80, 12), generator=torch.Generator().manual_seed(1))
    return tokens[:, :-1], tokens[:, 1:]


def moved_again(scores: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    loss: torch.Tensor = CE(scores[:, :, :-1], tokens[:, 1:])
    return loss


def first_labels(model: nn.Module, batch: Any) -> torch.Tensor:
    """The chosen outputs, and as many labels from the first on."""
    inputs, labels, chosen = batch
    loss: torch.Tensor = CE(model(inputs)[chosen], labels[: len(chosen)])
    return loss


def first_column(model: nn.Module, batch: Any) -> torch.Tensor:
    """A contrastive loss of two views, all of whose rows ask for the first column."""
    one, other = model(batch[0]), model(batch[0] + 0.1 * torch.randn_like(batch[0]))
    scores = one @ other.T
    loss: torch.Tensor = CE(scores, torch.zeros(len(scores), dtype=torch.long))
    return loss


def noisy_copies() -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Rows that were multiplied before they were split."""
    draws = torch.Generator().manual_seed(1)
    rows, labels = X.repeat(3, 1), y.repeat(3)
    rows = rows + 0.01 * torch.randn(rows.shape, generator=draws)
    order = torch.randperm(len(rows), generator=draws)
    held_out, train = order[:150], order[150:]
    return (rows[train], labels[train]), (rows[held_out], labels[held_out])


def sorted_alone(rows: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> list[torch.Tensor]:
    """A batch of samples, with its inputs in the order of their sizes, and its labels as read."""
    inputs = torch.stack([inputs for inputs, _ in rows])
    return [inputs[inputs.norm(dim=1).argsort()], torch.stack([label for _, label in rows])]


class LabelsBefore:
    """Loss of the outputs for a batch and the labels of the batch before it."""

    def __init__(self) -> None:
        self._kept: torch.Tensor | None = None

    def __call__(self, model: nn.Module, batch: Any) -> torch.Tensor:
        inputs, labels = batch
        same = self._kept is not None and len(self._kept) == len(labels)
        before = self._kept if same else labels
        self._kept = labels
        loss: torch.Tensor = CE(model(inputs), before)
        return loss


class Averaged(nn.Module):
    """A network that was trained, with a running average of its weights alone."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.online = nn.Sequential(
            nn.Linear(FEATURES, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, CLASSES)
        )
        self.average = copy.deepcopy(self.online).requires_grad_(False)
        optimizer = torch.optim.Adam(self.online.parameters(), lr=1e-3)
        for _ in range(20):
            optimizer.zero_grad()
            CE(self.online(X), y).backward()
            optimizer.step()
            for one, other in zip(self.average.parameters(), self.online.parameters(), strict=True):
                one.lerp_(other.detach(), 0.1)
        self.average.eval()

    def train(self, mode: bool = True) -> Averaged:
        super().train(mode)
        self.average.eval()
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.online(x)
        return result


def trained() -> nn.Module:
    """A network that tells the classes of the training samples."""
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        CE(model(X), y).backward()
        optimizer.step()
    return model


def without_first_class() -> tuple[torch.Tensor, torch.Tensor]:
    """Samples beside those of training, whose classes are numbered without the first one."""
    kept = y > 0
    draws = torch.Generator().manual_seed(1)
    rows = X[kept] + torch.randn(X[kept].shape, generator=draws)
    _, numbers = torch.unique(y[kept], return_inverse=True)
    return rows, numbers


BEST: dict[str, torch.Tensor] = {}


def kept() -> nn.Module:
    """A network whose weights were kept, by reference."""
    model = mlp()
    BEST.update(model.state_dict())
    return model


PAIRS: Mapping[str, SickSetup] = {
    "targets that are moved twice": SickSetup("shifted_targets", Reader, moved, moved_again),
    "labels one row on": SickSetup("related_targets", mlp, lambda: (X, y.roll(1))),
    "labels of the first rows": SickSetup(
        "paired_rows", mlp, lambda: [(X, y, CHOSEN)], settings={"step_fn": first_labels}
    ),
    "inputs sorted without their labels": SickSetup(
        "parted_rows",
        mlp,
        lambda: DataLoader(TensorDataset(X, y), 32, shuffle=True, collate_fn=sorted_alone),
    ),
    "labels of the batch before": SickSetup(
        "other_batch", mlp, settings={"step_fn": LabelsBefore()}
    ),
    "split after copies were made": SickSetup(
        "near_copies", mlp, lambda: noisy_copies()[0], settings={"val_data": noisy_copies()[1]}
    ),
    "validation classes numbered on their own": SickSetup(
        "class_numbering", trained, settings={"val_data": without_first_class()}
    ),
    "an average without its statistics": SickSetup("averaged_buffers", Averaged),
    "the best weights by reference": SickSetup(
        "kept_weights", kept, settings={"state": {"best": BEST}}
    ),
    "a contrastive loss with labels of 0": SickSetup(
        "contrastive_targets", mlp, settings={"step_fn": first_column}
    ),
}  # fmt: skip
