"""A stock architecture with data and loss, and data that several of them share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import nn

import nbdebug as nbd

CE = nn.CrossEntropyLoss()
MSE = nn.MSELoss()
TOKENS = 12


@dataclass(frozen=True)
class Architecture:
    """A network as it stands in textbooks, healthy by intention.

    Attributes:
        model, data: make the model and the training data.
        loss: `loss(outputs, targets)`, None with a `step_fn`.
        settings: keywords of the Debugger.
    """

    model: Callable[[], nn.Module]
    data: Callable[[], Any]
    loss: Callable[..., Any] | None = CE
    settings: Mapping[str, Any] = field(default_factory=dict)

    def debugger(self) -> nbd.Debugger:
        """Build a Debugger; weights are drawn from the same seed each time."""
        torch.manual_seed(0)
        return nbd.Debugger(self.model(), self.data(), self.loss, **self.settings)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@cache
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Images [N, 1, 8, 8] of mean 0 and standard deviation 1, and their labels [N]."""
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32)[:600, None]
    return (images - images.mean()) / images.std(), torch.tensor(data.target)[:600]


def flat_digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Images as rows [N, 64], and their labels."""
    images, labels = digits()
    return images.flatten(1), labels


def pixels() -> tuple[torch.Tensor, torch.Tensor]:
    """Images between 0 and 1 as rows [N, 64], twice: input and target of an autoencoder."""
    images, _ = flat_digits()
    low, high = images.min(), images.max()
    scaled = (images - low) / (high - low)
    return images, scaled


@cache
def masks() -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy images [N, 1, 16, 16] of a disc, and its mask."""
    draw = generator()
    centre = torch.rand(160, 2, 1, 1, generator=draw) * 8 + 4
    radius = torch.rand(160, 1, 1, generator=draw) * 3 + 3
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    apart = ((rows - centre[:, 0]) ** 2 + (columns - centre[:, 1]) ** 2).sqrt()
    mask = (apart < radius).float()[:, None]
    return mask * 2 - 1 + 0.5 * torch.randn(mask.shape, generator=draw), mask


@cache
def text(length: int = 12) -> torch.Tensor:
    """Tokens [N, T] of a random Markov chain."""
    draw = generator(3)
    follow = torch.softmax(3 * torch.randn(TOKENS, TOKENS, generator=draw), 1)
    tokens = [torch.randint(0, TOKENS, (400,), generator=draw)]
    for _ in range(length):
        tokens.append(torch.multinomial(follow[tokens[-1]], 1, generator=draw)[:, 0])
    return torch.stack(tokens, 1)


def next_tokens() -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens [N, T], and those that follow."""
    tokens = text()
    return tokens[:, :-1], tokens[:, 1:]


def token_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of logits [N, T, C]; targets of -100 count for nothing."""
    return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)


@cache
def sentences() -> tuple[torch.Tensor, torch.Tensor]:
    """Sequences of tokens [N, T], and one of three labels: the most frequent kind of token."""
    tokens = text()
    counts = torch.stack([(tokens % 3 == kind).sum(1) for kind in range(3)], 1)
    return tokens, counts.argmax(1)


@cache
def points(outputs: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs [N, 8], and standardised targets [N, outputs] that depend on them smoothly."""
    draw = generator(5)
    inputs = torch.randn(400, 8, generator=draw)
    mix = torch.randn(8, outputs, generator=draw) / 3
    targets = torch.sin(inputs @ mix * 2) + (inputs[:, :1] * inputs[:, 1:2]) / 2
    targets = targets + 0.1 * torch.randn(targets.shape, generator=draw)
    return inputs, (targets - targets.mean(0)) / targets.std(0)
