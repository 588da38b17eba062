"""Faults of what is connected: parameters, terms, layers, inputs and targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset, WeightedRandomSampler

from nbdebug.examples.data import CLASSES, FEATURES, images
from nbdebug.examples.setups.base import CE, SickSetup, X, binary, mlp, regression, y

TOKENS = 9


class Converted(nn.Module):
    """A matrix that was a parameter before it was converted."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()
        self.scale = nn.Parameter(torch.ones(CLASSES, CLASSES, dtype=torch.float64)).float()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body(x) @ self.scale
        return result


def rounded(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Share of wrong answers, which has no slope."""
    return (outputs.argmax(1) != targets).float().mean().requires_grad_(True)


def uneven(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Two targets, of which one is thousands of times as large."""
    first = nn.functional.mse_loss(outputs[:, 0], targets[:, 0])
    return first + nn.functional.mse_loss(outputs[:, 1], targets[:, 1])


def hinge(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The hinge loss, whose targets are -1 and 1."""
    return (1 - targets * outputs).clamp(min=0).mean()


def two_numbers() -> tuple[torch.Tensor, torch.Tensor]:
    inputs, target = regression()
    return inputs, torch.cat([target, 3000 * target.flip(0)], 1)


def repeated_layer() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Linear(16, 16), nn.ReLU()] * 3
    return nn.Sequential(nn.Linear(FEATURES, 16), nn.ReLU(), *layers, nn.Linear(16, CLASSES))


def last_batch_only() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(FEATURES, 16), nn.BatchNorm1d(16, momentum=0.99), nn.ReLU(),
        nn.Linear(16, CLASSES),
    )  # fmt: skip


def weights_by_class() -> DataLoader[Any]:
    count = torch.bincount(y)
    sampler = WeightedRandomSampler((1 / count).tolist(), len(y))
    return DataLoader(TensorDataset(X, y), batch_size=16, sampler=sampler)


class Flipped(Dataset[Any]):
    """Pictures and masks, each flipped by its own random number."""

    pictures = images()[0]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Any:
        picture = self.pictures[index]
        return self._flip(picture), self._flip((picture > picture.mean()).float())

    def _flip(self, picture: torch.Tensor) -> torch.Tensor:
        return picture.flip(-1) if bool(torch.rand(()) < 0.5) else picture


def segmenter() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))


class Reader(nn.Module):
    """Logits [N, C, T] of the next token."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.rnn = nn.Embedding(TOKENS, 8), nn.GRU(8, 8, batch_first=True)
        self.head = nn.Linear(8, TOKENS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(self.rnn(self.embed(x))[0]).transpose(1, 2)
        return result


def unmoved() -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.randint(0, TOKENS, (80, 7), generator=torch.Generator().manual_seed(1))
    return tokens, tokens


class MakesDropout(nn.Module):
    """Dropout that is made in forward, and stays on in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body(nn.Dropout(0.2)(x))
        return result


class CutsOff(nn.Module):
    """A slice that takes the first third of the features."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(FEATURES // 3, 16), nn.ReLU(), nn.Linear(16, CLASSES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body(x[:, : FEATURES // 3])
        return result


def labels_at_random() -> tuple[torch.Tensor, torch.Tensor]:
    """Six groups of samples, half of them with a label drawn at random."""
    draws = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 6, (600,), generator=draws)
    centres = 3 * torch.randn(6, FEATURES, generator=draws)
    inputs = centres[labels] + torch.randn(600, FEATURES, generator=draws)
    others = torch.randint(0, 6, (600,), generator=draws)
    return inputs, torch.where(torch.rand(600, generator=draws) < 0.5, others, labels)


CONNECTIONS: Mapping[str, SickSetup] = {
    "a parameter that was converted": SickSetup("loss_graph", Converted),
    "a loss without a slope": SickSetup("loss_graph", mlp, loss=rounded),
    "a term that drowns another": SickSetup("loss_terms", lambda: mlp(out=2), two_numbers, uneven),
    "a hinge loss of 0 and 1": SickSetup("loss_optimum", lambda: mlp(out=1), binary, hinge),
    "masks of 0 and 255": SickSetup(
        "loss_inputs", segmenter, lambda: (images()[0], (images()[0] > 1.5).float() * 255),
        nn.BCEWithLogitsLoss(),
    ),
    "a layer repeated by *": SickSetup("shared_layers", repeated_layer, loss=CE),
    "a momentum of the other kind": SickSetup("batchnorm_momentum", last_batch_only),
    "weights of classes in a sampler": SickSetup("sampler_coverage", mlp, weights_by_class),
    "inputs and targets flipped apart": SickSetup(
        "paired_transforms", segmenter, Flipped, nn.BCEWithLogitsLoss()
    ),
    "a layer made in forward": SickSetup("made_in_forward", MakesDropout),
    "features cut off": SickSetup("ignored_inputs", CutsOff),
    "labels drawn at random": SickSetup("label_noise", lambda: mlp(out=6), labels_at_random),
    "targets that are not moved": SickSetup("copied_targets", Reader, unmoved),
}  # fmt: skip
