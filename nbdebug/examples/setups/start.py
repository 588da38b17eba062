"""Training that does not start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from nbdebug.examples.data import FEATURES
from nbdebug.examples.setups.base import CE, SickSetup, X, mlp, y


def one_broken_sample() -> tuple[torch.Tensor, torch.Tensor]:
    broken = X.clone()
    broken[150] = torch.inf
    return broken, y


class TwoBits(nn.Module):
    """Sees two bits of a sample: too little to tell a few examples apart."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()
        draws = torch.Generator().manual_seed(0)
        self.register_buffer("planes", torch.randn(FEATURES, 2, generator=draws))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bits = (x @ self.get_buffer("planes")).sign()
        result: torch.Tensor = self.body(bits.repeat(1, FEATURES // 2))
        return result


class Parity(nn.Module):
    """Looks at nothing of a sample but whether its numbers multiply to more than 0."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body(x.sign().prod(1, keepdim=True).expand_as(x))
        return result


# A layer beside the model.
BESIDE = nn.Linear(FEATURES, FEATURES)


def renews_an_optimizer(model: nn.Module, batch: Any) -> torch.Tensor:
    """Train the layer beside the model by a new optimizer in each step."""
    optimizer = torch.optim.Adam(BESIDE.parameters())
    optimizer.zero_grad()
    (BESIDE(batch[0]) - batch[0]).square().mean().backward()
    optimizer.step()
    loss: torch.Tensor = CE(model(batch[0] + BESIDE(batch[0]).detach()), batch[1])
    return loss


# Gives the same batch whenever it is asked for its first.
IN_ORDER = DataLoader(TensorDataset(X, y), batch_size=32)


def first_batch_again(model: nn.Module, batch: Any) -> torch.Tensor:
    """Loss of a batch that each step draws for itself, and not of the one that it is given."""
    inputs, targets = next(iter(IN_ORDER))
    loss: torch.Tensor = CE(model(inputs), targets)
    return loss


START: Mapping[str, SickSetup] = {
    "a vanishing learning rate": SickSetup(
        "lr_sanity", mlp, settings={"optimizer": "sgd", "lr": 1e-7}
    ),
    "an exploding learning rate": SickSetup(
        "lr_sanity", mlp, settings={"optimizer": "sgd", "lr": 1e3}
    ),
    "updates below the rounding of bfloat16": SickSetup(
        "rounded_updates",
        lambda: mlp().bfloat16(),
        lambda: (X.bfloat16(), y),
        settings={"lr": 1e-5},
    ),
    "betas in the wrong order": SickSetup(
        "optimizer_averages",
        mlp,
        settings={"optimizer": lambda p: torch.optim.Adam(p, betas=(0.999, 0.9))},
    ),
    "an eps of 1": SickSetup(
        "eps_size", mlp, settings={"optimizer": lambda p: torch.optim.Adam(p, eps=1.0)}
    ),
    "the same batch in each step": SickSetup(
        "unused_batch", mlp, settings={"step_fn": first_batch_again}
    ),
    "an optimizer for each step": SickSetup(
        "step_optimizer", mlp, settings={"step_fn": renews_an_optimizer}
    ),
    "a learning rate of 8": SickSetup("lr_range", mlp, settings={"optimizer": "sgd", "lr": 8.0}),
    "a learning rate of 1e-5": SickSetup(
        "lr_range", mlp, settings={"optimizer": "sgd", "lr": 1e-5}
    ),
    "inputs reduced to a sign": SickSetup("baselines", Parity),
    "two bits of each sample": SickSetup("overfit", TwoBits),
    "one sample with NaN or Inf": SickSetup("one_epoch", mlp, one_broken_sample),
}
