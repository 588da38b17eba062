"""Training that does not start."""

from __future__ import annotations

from tests.sick.base import Sick, mlp

START: dict[str, Sick] = {
    "a vanishing learning rate": Sick("overfit", mlp, settings={"optimizer": "sgd", "lr": 1e-7}),
    "an exploding learning rate": Sick("overfit", mlp, settings={"optimizer": "sgd", "lr": 1e3}),
}  # fmt: skip
