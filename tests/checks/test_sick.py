"""Sick problems: the fault is among the first two things the report shows."""

from __future__ import annotations

import warnings

import pytest

from nbdebug.checks.base import Check
from nbdebug.core.plugins import discover
from nbdebug.examples.catalogue import SICK_SETUPS

EXPENSIVE = {check.name: check.expensive for check in discover("nbdebug.checks", Check)}


@pytest.mark.parametrize("name", SICK_SETUPS)
def test_the_planted_fault_is_named_among_the_first_two(name: str) -> None:
    sick = SICK_SETUPS[name]
    names = (sick.check,) if EXPENSIVE[sick.check] else ()
    # PyTorch itself warns of some of these faults.
    with (
        warnings.catch_warnings(action="ignore"),
        sick.debugger() as dbg,
    ):
        report = dbg.check(*names)
    shown = [result.name for result in report.causes]
    assert sick.check in shown[:2], report
    assert report[sick.check].remedy


@pytest.mark.slow
def test_consequences_are_folded_under_their_cause() -> None:
    sick = SICK_SETUPS["softmax over one unit"]
    with sick.debugger() as dbg:
        report = dbg.check("output_activation", "zero_gradient", "overfit")
    assert [result.name for result in report.causes] == ["output_activation"]
    assert report["zero_gradient"].because == report["output_activation"].title
    assert report["overfit"].because == report["output_activation"].title


@pytest.mark.slow
def test_a_failed_overfit_tells_the_learning_rate_from_the_model() -> None:
    for name in ("a vanishing learning rate", "an exploding learning rate"):
        sick = SICK_SETUPS[name]
        with sick.debugger() as dbg:
            assert "learning rate" in dbg.check("overfit")["overfit"].remedy
