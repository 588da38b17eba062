"""Which parameters stand still."""

from __future__ import annotations

import torch
from torch import nn

from nbdebug.model.freezing import Freezing


class Tokens(nn.Module):
    """A parameter beside the layers, as the class token of a vision transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 4))
        self.attention = nn.MultiheadAttention(4, 2)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.cat([self.token, x])
        return self.head(self.attention(x, x, x)[0][0])


def test_every_trainable_parameter_belongs_to_a_layer() -> None:
    model = Tokens()
    model.head.bias.requires_grad_(False)
    made = Freezing(model)
    assert {name: len(held) for name, held in made.members.items()} == {
        "tokens": 1,
        "attention": 4,
        "head": 1,
    }
    made.freeze(dict.fromkeys(made.members, True))
    assert not any(parameter.requires_grad for parameter in model.parameters())
    made.freeze(dict.fromkeys(made.members, False))
    # What stood still when training was set up is left alone.
    still = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert still == ["head.bias"]


def test_a_gradient_that_is_left_over_is_dropped() -> None:
    model = Tokens()
    model(torch.randn(3, 4)).sum().backward()
    made = Freezing(model)
    made.freeze({"head": True})
    assert model.head.weight.grad is None
    assert model.token.grad is not None
    assert made.frozen == {"head"}


def test_names_within_a_block_do_not_catch_longer_names() -> None:
    model = nn.ModuleDict(
        {"block": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), "block2": nn.Linear(2, 2)}
    )
    made = Freezing(model)
    assert made.within("block") == ("block.0", "block.1")
    assert made.within("block2") == ("block2",)
    assert made.within("nowhere") == ()
