"""Metrics that compare an output with the targets of other samples; other misread setups."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from nbdebug import Debugger

X = torch.randn(96, 5, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).float()
BCE = nn.BCEWithLogitsLoss()


def column_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return BCE(outputs.squeeze(1), targets)


SICK = {
    "compared": lambda o, t: ((o > 0).float() == t).float().mean(),
    "subtracted": lambda o, t: 1 - (torch.sigmoid(o) - t).abs().mean(),
    "both in one": lambda o, t: (
        ((o > 0) & (t > 0)).float().sum() / (t > 0).sum() + (o.gt(0) == t.bool()).float().mean()
    ),
}
WELL = {
    "squeezed": lambda o, t: ((o.squeeze(1) > 0) == t.bool()).float().mean(),
    "a column": lambda o, t: ((o > 0) == t[:, None].bool()).float().mean(),
    "pairs on purpose": lambda o, t: (
        ((o[:, 0, None] > o[None, :, 0]) == (t[:, None] > t[None, :])).float().mean()
    ),
    "a number": lambda o, t: float(o.mean()) - float(t.mean()),
    "that raises": lambda o, t: {}[0],
}


def report(metric: Any, loss: Any = column_loss, data: Any = (X, Y)) -> Any:
    with Debugger(nn.Linear(5, 1), data, loss, metrics={"acc": metric}, runs=None) as debugger:
        return debugger.check("broadcast")["broadcast"]


@pytest.mark.parametrize("name", SICK)
def test_a_metric_that_meets_targets_of_others_is_named(name: str) -> None:
    found = report(SICK[name])
    assert found.status == "warning"
    assert found.seen.startswith("the metric acc: ")
    assert "(64, 64)" in found.seen
    assert "in acc" in found.remedy


@pytest.mark.parametrize("name", WELL)
def test_other_metrics_are_not(name: str) -> None:
    assert report(WELL[name]).status == "pass"


def test_a_loss_that_does_so_goes_first() -> None:
    assert "the metric" not in report(SICK["compared"], nn.MSELoss()).seen


def test_several_classes_at_a_time_are_told_from_probabilities() -> None:
    several = (X[:, :3] > 0).float()
    with Debugger(nn.Linear(5, 3), (X, several), nn.CrossEntropyLoss(), runs=None) as debugger:
        found = debugger.check("label_range")["label_range"]
    assert found.status == "fail"
    assert "BCEWithLogitsLoss" in found.remedy


def test_a_step_that_converts_its_inputs_is_no_fault() -> None:
    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        inputs, targets = batch
        return nn.functional.cross_entropy(model(inputs.bfloat16()).float(), targets.long())

    model = nn.Linear(5, 2).bfloat16()
    with Debugger(model, (X, Y), step_fn=step, runs=None) as debugger:
        assert debugger.check("dtype_layout")["dtype_layout"].status == "pass"


def margin(sign: int) -> Any:
    """Contrastive loss of pairs (Hadsell et al. 2006); with the sign -1 the wrong way round."""

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        apart = (outputs[:, 0] - outputs[:, 1]).norm(dim=-1)
        far = (sign * (1 - apart)).clamp(min=0).square()
        return torch.where(targets > 0, apart.square(), far).mean()

    return loss


class Twins(nn.Module):
    """The same layer for both of a pair [N, 2, 5]."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(5, 3)

    def forward(self, pairs: torch.Tensor) -> torch.Tensor:
        return self.embed(pairs)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_loss_that_a_constant_brings_to_0_is_named(sign: int) -> None:
    torch.manual_seed(0)
    pairs = torch.stack([X, X.flip(0)], 1)
    with Debugger(Twins(), (pairs, Y), margin(sign), runs=None) as debugger:
        found = debugger.check("initial_loss")["initial_loss"]
    if sign > 0:
        assert "samples apart" not in found.remedy
    else:
        assert found.status == "fail"
        assert "samples apart" in found.remedy
