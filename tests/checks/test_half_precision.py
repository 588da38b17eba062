"""Updates in half precision that rounding removes, and those that it leaves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from nbdebug.examples.setups.base import CE, X, mlp, y
from tests.checks.result_of import result_of


def half(dtype: torch.dtype) -> nn.Module:
    return mlp().to(dtype)


SICK: dict[str, tuple[nn.Module, dict[str, Any]]] = {
    "bfloat16 with Adam": (half(torch.bfloat16), {"optimizer": "adam", "lr": 1e-5}),
    "bfloat16 with AdamW": (half(torch.bfloat16), {"optimizer": "adamw", "lr": 3e-5}),
    "bfloat16 with SGD": (half(torch.bfloat16), {"optimizer": "sgd", "lr": 1e-3}),
    "float16 with SGD": (half(torch.float16), {"optimizer": "sgd", "lr": 1e-5}),
}
HEALTHY: dict[str, tuple[nn.Module, dict[str, Any]]] = {
    "bfloat16 with large updates": (half(torch.bfloat16), {"optimizer": "adam", "lr": 1e-2}),
    "float16 with usual updates": (half(torch.float16), {"optimizer": "sgd", "lr": 0.1}),
}


def step(model: nn.Module, batch: Any) -> torch.Tensor:
    dtype = next(model.parameters()).dtype
    return F.cross_entropy(model(batch[0].to(dtype)).float(), batch[1])


def lost(model: nn.Module, options: dict[str, Any]) -> float:
    """Share of the weights that plain updates of torch leave as they were."""
    names = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    optimizer = names[options["optimizer"]](model.parameters(), lr=options["lr"])
    weights = [p for p in model.parameters() if p.ndim > 1]
    before = [p.detach().clone() for p in weights]
    for start in range(0, 128, 32):
        optimizer.zero_grad()
        step(model, (X[start : start + 32], y[start : start + 32])).backward()
        optimizer.step()
    same = sum(int((p == old).sum()) for p, old in zip(weights, before, strict=True))
    return same / sum(p.numel() for p in weights)


@pytest.mark.parametrize("name", SICK)
def test_updates_that_are_rounded_away_are_named(name: str) -> None:
    model, options = SICK[name]
    found = result_of("rounded_updates", model, (X, y), step_fn=step, **options)
    assert found.status == "warning", found.seen
    assert "autocast" in found.remedy
    assert lost(model, options) > 0.5


@pytest.mark.parametrize("name", HEALTHY)
def test_updates_that_move_the_weights_pass(name: str) -> None:
    model, options = HEALTHY[name]
    found = result_of("rounded_updates", model, (X, y), step_fn=step, **options)
    assert found.status == "pass", found.seen
    assert lost(model, options) < 0.5


def test_full_precision_is_not_judged() -> None:
    found = result_of("rounded_updates", mlp(), (X, y), CE, lr=1e-12)
    assert found.status == "not_applicable"


class Master(torch.optim.Optimizer):
    """Updates a copy of the weights in float32."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {"lr": 1e-5})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for p in self.param_groups[0]["params"]:
            state = self.state[p]
            state.setdefault("full", p.detach().float().clone()).sub_(1e-5 * p.grad.float())
            p.data.copy_(state["full"])


def test_an_optimizer_with_a_copy_of_its_own_is_not_judged() -> None:
    model = half(torch.bfloat16)
    found = result_of(
        "rounded_updates", model, (X, y), step_fn=step, optimizer=Master(model.parameters())
    )
    assert found.status == "not_applicable"
