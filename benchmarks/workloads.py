"""The models and data that the cost of measuring is taken on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

VOCABULARY = 65
Data = tuple[torch.Tensor, torch.Tensor]
LossFn = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Workload:
    """A training job.

    Attributes:
        block: steps in one timed block, enough for several measurements of each probe.
        pairs: blocks of each kind; bar: the largest ratio that is good enough.
    """

    name: str
    model: Callable[[], nn.Module]
    data: Callable[[], Data]
    loss_fn: LossFn
    batch: int
    block: int
    pairs: int
    bar: float


class CharGru(nn.Module):
    """Next character from the ones before: tokens [N, T] to scores [N, T, V]."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 64)
        self.gru = nn.GRU(64, width, batch_first=True)
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden, _ = self.gru(self.embedding(tokens))
        return self.head(hidden)


class Transformer(nn.Module):
    """Six layers of width 368, 9.9 million parameters: tokens [N, T] to scores [N, T, V]."""

    def __init__(self, width: int = 368, length: int = 32) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.position = nn.Parameter(torch.zeros(length, width))
        layer = nn.TransformerEncoderLayer(
            width, nhead=8, dim_feedforward=4 * width, dropout=0.1, batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, num_layers=6, enable_nested_tensor=False)
        self.head = nn.Linear(width, VOCABULARY)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.layers(self.embedding(tokens) + self.position, mask=self.mask)
        return self.head(hidden)


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for left, right in pairwise(widths):
        layers += [nn.Linear(left, right), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def cnn() -> nn.Sequential:
    """Two convolutions and a classifier for images [N, 1, 28, 28]."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 10),
    )


def digits() -> Data:
    """The 1,797 digits that come with scikit-learn, X [N, 64]."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y)


def noise(*shape: int) -> Callable[[], Data]:
    """2,048 samples of noise of a shape, in ten classes: only the time counts."""

    def make() -> Data:
        generator = torch.Generator().manual_seed(0)
        X = torch.randn(2048, *shape, generator=generator)
        return X, torch.randint(0, 10, (2048,), generator=generator)

    return make


def characters(length: int) -> Callable[[], Data]:
    """Random texts [N, T] with the next character as target."""

    def make() -> Data:
        generator = torch.Generator().manual_seed(0)
        text = torch.randint(0, VOCABULARY, (2048, length + 1), generator=generator)
        return text[:, :-1].contiguous(), text[:, 1:].contiguous()

    return make


def sequence_loss(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross entropy over all places of all sequences."""
    return nn.functional.cross_entropy(scores.flatten(0, 1), targets.flatten())


cross_entropy = nn.functional.cross_entropy

WORKLOADS = (
    Workload("digits MLP", lambda: mlp(64, 256, 256, 10), digits, cross_entropy, 64, 300, 40, 1.10),
    Workload(
        "100-layer MLP",
        lambda: mlp(*[128] * 100, 10),
        noise(128),
        cross_entropy,
        64,
        60,
        30,
        1.10,
    ),
    Workload("CNN 28x28", cnn, noise(1, 28, 28), cross_entropy, 64, 40, 30, 1.05),
    Workload("character GRU", CharGru, characters(64), sequence_loss, 32, 40, 30, 1.05),
    Workload("transformer 10M", Transformer, characters(32), sequence_loss, 4, 10, 30, 1.05),
)
