"""Optimizers that a step_fn makes anew, and those that it keeps or is to make."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from nbdebug.examples.setups.base import CE, X, mlp, y
from tests.checks.result_of import result_of

HELPER = nn.Linear(12, 12)
KEPT = torch.optim.Adam(HELPER.parameters())


def helped(optimizer: Any, batch: Any) -> None:
    loss = (HELPER(batch[0]) - batch[0]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def renewed(model: nn.Module, batch: Any) -> torch.Tensor:
    helped(torch.optim.Adam(HELPER.parameters()), batch)
    return F.cross_entropy(model(HELPER(batch[0]).detach()), batch[1])


def renewed_momentum(model: nn.Module, batch: Any) -> torch.Tensor:
    helped(torch.optim.SGD(HELPER.parameters(), lr=0.1, momentum=0.9), batch)
    return F.cross_entropy(model(HELPER(batch[0]).detach()), batch[1])


def whole_update(model: nn.Module, batch: Any) -> torch.Tensor:
    optimizer = torch.optim.AdamW(model.parameters())
    F.cross_entropy(model(batch[0]), batch[1]).backward()
    optimizer.step()
    return F.cross_entropy(model(batch[0]), batch[1])


def kept(model: nn.Module, batch: Any) -> torch.Tensor:
    helped(KEPT, batch)
    return F.cross_entropy(model(HELPER(batch[0]).detach()), batch[1])


def without_memory(model: nn.Module, batch: Any) -> torch.Tensor:
    helped(torch.optim.SGD(HELPER.parameters(), lr=0.1), batch)
    return F.cross_entropy(model(HELPER(batch[0]).detach()), batch[1])


def inner_loop(model: nn.Module, batch: Any) -> torch.Tensor:
    """Numbers that are found anew for each batch."""
    shift = torch.zeros(12, requires_grad=True)
    optimizer = torch.optim.Adam([shift])
    for _ in range(2):
        optimizer.zero_grad()
        (batch[0] + shift).square().mean().backward()
        optimizer.step()
    return F.cross_entropy(model(batch[0] + shift.detach()), batch[1])


@pytest.mark.parametrize("step", [renewed, renewed_momentum, whole_update])
def test_an_optimizer_that_is_made_in_each_step_is_named(step: Any) -> None:
    found = result_of("step_optimizer", mlp(), (X, y), step_fn=step)
    assert found.status == "fail", found.seen
    assert "outside of step_fn" in found.remedy


@pytest.mark.parametrize("step", [kept, without_memory, inner_loop])
def test_an_optimizer_that_loses_nothing_passes(step: Any) -> None:
    found = result_of("step_optimizer", mlp(), (X, y), step_fn=step)
    assert found.status == "pass", found.seen


def test_a_step_without_one_is_not_judged() -> None:
    plain = result_of("step_optimizer", mlp(), (X, y), CE)
    assert plain.status == "not_applicable"
