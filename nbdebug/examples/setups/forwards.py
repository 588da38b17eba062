"""Faults of forward and backward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from nbdebug.examples.data import CLASSES, FEATURES
from nbdebug.examples.setups.base import SickSetup, mlp


class Square(torch.autograd.Function):
    """A backward without the factor of 2."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        result: torch.Tensor = gradient * x
        return result


class WrongBackward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(FEATURES, 16), nn.Linear(16, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.last(Square.apply(self.first(x)))  # type: ignore[no-untyped-call]
        return result


class OverTime(nn.Module):
    """A cell over the features as a series, whose state is detached at each time."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cell, self.head = nn.GRUCell(2, 16), nn.Linear(16, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x.new_zeros(len(x), 16)
        for at in range(0, FEATURES, 2):
            h = self.cell(x[:, at : at + 2], h.detach())
        result: torch.Tensor = self.head(h)
        return result


class Reader(nn.Module):
    """Attention over a text, with or without a mask."""

    def __init__(self, masked: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.masked, self.embed = masked, nn.Embedding(9, 16)
        self.place = nn.Parameter(torch.randn(6, 16) * 0.1)
        self.attend = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        read = self.attend(self.embed(x) + self.place, mask if self.masked else None)
        result: torch.Tensor = self.head(read).transpose(1, 2)
        return result


def text() -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.randint(0, 9, (64, 7), generator=torch.Generator().manual_seed(1))
    return tokens[:, :-1], tokens[:, 1:]


class Averaging(nn.Module):
    """The mean of the words of a text, and of what it is filled up with."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head = nn.Embedding(9, 16), nn.Linear(16, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(self.embed(x).mean(1))
        return result


def short_texts() -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, 9, (96, 8), generator=draws)
    length = torch.randint(2, 9, (96, 1), generator=draws)
    return tokens * (torch.arange(8) < length), (tokens[:, 0] > 4).long()


class Squeezing(nn.Module):
    """A squeeze() that takes the batch dimension away from a single sample."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body[4](self.body[:4](x).squeeze())[:, :]
        return result


def in_eval_mode() -> nn.Module:
    return nn.Sequential(mlp(), nn.Dropout(0.5)).eval()


def dropout_first(p: float) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(FEATURES, 32), nn.Dropout(p), nn.BatchNorm1d(32), nn.ReLU(),
        nn.Linear(32, CLASSES),
    )  # fmt: skip


class Halving(nn.Module):
    """A gradient that is halved on its way back."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(FEATURES, 16), nn.Linear(16, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x).tanh()
        if hidden.requires_grad:
            hidden.register_hook(lambda gradient: 0.5 * gradient)
        result: torch.Tensor = self.last(hidden)
        return result


class Exchanged(nn.Module):
    """Three times of four channels, read as four of three."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.filter, self.head = nn.Conv1d(4, 8, 3), nn.Linear(8, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        series = x.view(-1, FEATURES // 4, 4).view(-1, 4, FEATURES // 4)
        result: torch.Tensor = self.head(self.filter(series).relu().flatten(1))
        return result


class OfHours(nn.Module):
    """Waves of the hour of a year, the angle of which is computed in bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.waves, self.net = torch.tensor([[8760.0, 168, 24, 12]]), mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hours = 4380 + 1000 * x[:, :1]
        with torch.autocast(x.device.type, torch.bfloat16):
            angle = hours @ (6.2832 / self.waves).to(x.device)
            waves = torch.cat([angle.sin(), angle.cos()], 1).float()
        result: torch.Tensor = self.net(torch.cat([waves, x[:, 8:]], 1))
        return result


FORWARDS: Mapping[str, SickSetup] = {
    "a state that is detached at each time": SickSetup("detached_state", OverTime),
    "a backward that is wrong": SickSetup("custom_backward", WrongBackward),
    "hours in bfloat16": SickSetup("autocast_rounding", OfHours),
    "a hook that halves a gradient": SickSetup("gradient_check", Halving),
    "attention without a mask": SickSetup("causality", lambda: Reader(False), text),
    "padding in a mean": SickSetup("padded_mean", Averaging, short_texts),
    "time and channels exchanged by view": SickSetup("scrambled_axes", Exchanged),
    "squeezed to a single sample": SickSetup("train_eval", Squeezing),
    "handed over in eval mode": SickSetup("train_eval", in_eval_mode),
    "dropout before BatchNorm": SickSetup("dropout_before_batchnorm", lambda: dropout_first(0.6)),
}  # fmt: skip
