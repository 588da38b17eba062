"""Networks of the examples."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from nbdebug.examples.data import CLASSES


def stack(
    features: int, out: int, widths: tuple[int, ...], layer: Callable[[int], list[nn.Module]]
) -> nn.Sequential:
    """Linear layers with `layer(width)` behind each but the last."""
    made: list[nn.Module] = []
    for width in widths:
        made += [nn.Linear(features, width), *layer(width)]
        features = width
    return nn.Sequential(*made, nn.Linear(features, out))


def mlp(seed: int, depth: int = 2, layer: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """A network for digits: `depth` hidden layers of 32 units, each with an activation."""
    torch.manual_seed(seed)
    return stack(64, 10, (32,) * depth, lambda width: [layer()])


def batchnorm_mlp(seed: int, dropout: float = 0.0, momentum: float = 0.1) -> nn.Sequential:
    """A network for digits with BatchNorm, and dropout before it where there is any."""
    torch.manual_seed(seed)
    drop = [nn.Dropout(dropout)] if dropout else []
    return stack(
        64, 10, (48, 48), lambda w: [*drop, nn.BatchNorm1d(w, momentum=momentum), nn.ReLU()]
    )


def tiny_cnn(seed: int = 0) -> nn.Sequential:
    """A network for images [N, 1, 8, 8] of four classes."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout2d(0.2),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, CLASSES),
    )


class Wrapped(nn.Module):
    """A body that subclasses feed in their own way."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body


class Image(Wrapped):
    """A small convolution network for rows of 64 numbers."""

    def __init__(self, out: int) -> None:
        super().__init__(nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, out),
        ))  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body(x.unflatten(1, (1, 8, 8)))
        return result


class Recurrent(nn.Module):
    """A GRU that reads the features one after the other."""

    def __init__(self, out: int) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(1, 24, batch_first=True), nn.Linear(24, out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(self.rnn(x.unsqueeze(-1))[0][:, -1])
        return result


class Attending(nn.Module):
    """A transformer layer over the features."""

    def __init__(self, features: int, out: int) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(features, 16) * 0.1)
        self.embed = nn.Linear(1, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.head = nn.Linear(16, out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        read = self.layer(self.embed(x.unsqueeze(-1)) + self.place)
        result: torch.Tensor = self.head(read.mean(1))
        return result
