"""Coefficients of averages in an optimizer: usual ones pass, exchanged and mistaken ones do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import optim

from nbdebug.core.results.checks.check_result import CheckResult
from nbdebug.examples.setups.base import CE, X, mlp, y
from tests.checks.result_of import result_of

Make = Callable[[Any], torch.optim.Optimizer]


def averages(make: Make) -> CheckResult:
    return result_of("optimizer_averages", mlp(), (X, y), CE, optimizer=make)


def last_group_alone(parameters: Any) -> torch.optim.Optimizer:
    """A group with betas of its own, which are in the wrong order."""
    first, *others = parameters
    return optim.AdamW([{"params": [first]}, {"params": others, "betas": (0.999, 0.9)}])


WRONG: dict[str, tuple[Make, str, str]] = {
    "exchanged": (lambda p: optim.Adam(p, betas=(0.999, 0.9)), "warning", "betas=(0.9, 0.999)"),
    "exchanged in a group": (last_group_alone, "warning", "betas=(0.9, 0.999)"),
    "long average": (lambda p: optim.Adam(p, betas=(0.999, 0.999)), "warning", "0.9"),
    "no squares": (lambda p: optim.AdamW(p, betas=(0.9, 0.1)), "warning", "0.999"),
    "lr as alpha": (lambda p: optim.RMSprop(p, alpha=0.01), "warning", "alpha=0.99"),
    "momentum of 0.999": (lambda p: optim.SGD(p, lr=0.01, momentum=0.999), "warning", "0.9"),
    "all is dampened": (
        lambda p: optim.SGD(p, lr=0.01, momentum=0.9, dampening=1.0), "fail", "dampening=0",
    ),
}  # fmt: skip
USUAL: dict[str, Make] = {
    "Adam": optim.Adam,
    "Adam of transformers": lambda p: optim.AdamW(p, betas=(0.9, 0.95)),
    "Adam of GANs": lambda p: optim.Adam(p, betas=(0.0, 0.9)),
    "Adam of WGANs": lambda p: optim.Adam(p, betas=(0.5, 0.9)),
    "equal betas": lambda p: optim.Adam(p, betas=(0.95, 0.95)),
    "Adamax": optim.Adamax,
    "NAdam": optim.NAdam,
    "RMSprop": lambda p: optim.RMSprop(p, alpha=0.9, momentum=0.9),
    "SGD": lambda p: optim.SGD(p, lr=0.01, momentum=0.99, nesterov=True),
    "dampened SGD": lambda p: optim.SGD(p, lr=0.01, momentum=0.9, dampening=0.9),
    "averaged SGD": lambda p: optim.ASGD(p, alpha=0.75),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_unusual_average_is_named_with_the_usual_one(name: str) -> None:
    make, status, remedy = WRONG[name]
    row = averages(make)
    assert row.status == status
    assert remedy in (row.remedy or "")


@pytest.mark.parametrize("name", USUAL)
def test_usual_averages_pass(name: str) -> None:
    assert averages(USUAL[name]).status == "pass"


def test_without_an_average_it_does_not_apply() -> None:
    assert averages(optim.Adagrad).status == "not_applicable"
