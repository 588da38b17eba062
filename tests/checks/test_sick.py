"""Sick problems: the fault is among the first two things the report shows."""

from __future__ import annotations

import warnings

import pytest

import nbdebug as nbd
from nbdebug.checks.base import Check
from nbdebug.core.plugins import discover
from tests.sick import SICK

EXPENSIVE = {check.name: check.expensive for check in discover("nbdebug.checks", Check)}


@pytest.mark.parametrize("name", SICK)
def test_the_planted_fault_is_named_among_the_first_two(name: str) -> None:
    sick = SICK[name]
    names = (sick.fault,) if EXPENSIVE[sick.fault] else ()
    # PyTorch itself warns of some of these faults.
    with (
        warnings.catch_warnings(action="ignore"),
        nbd.Debugger(sick.model(), sick.data(), sick.loss, **sick.settings) as dbg,
    ):
        report = dbg.check(*names)
    shown = [result.name for result in report.causes]
    assert sick.fault in shown[:2], report
    assert report[sick.fault].remedy


def test_consequences_are_folded_under_their_cause() -> None:
    sick = SICK["softmax over one unit"]
    with nbd.Debugger(sick.model(), sick.data(), sick.loss) as dbg:
        report = dbg.check("output_activation", "zero_gradient", "overfit")
    assert [result.name for result in report.causes] == ["output_activation"]
    assert report["zero_gradient"].because == report["output_activation"].title
    assert report["overfit"].because == report["output_activation"].title


def test_a_failed_overfit_tells_the_learning_rate_from_the_model() -> None:
    for name in ("a vanishing learning rate", "an exploding learning rate"):
        sick = SICK[name]
        with nbd.Debugger(sick.model(), sick.data(), sick.loss, **sick.settings) as dbg:
            assert "learning rate" in dbg.check("overfit")["overfit"].remedy
