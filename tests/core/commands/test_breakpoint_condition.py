"""Conditions are parsed; an invalid one is refused with a reason."""

from __future__ import annotations

import math

import pytest

from nbdebug.core.commands.breakpoint_condition import parse
from nbdebug.errors import ArgumentError

VALUES = {"loss": 2.0, "grad_norm": 12.0, "step": 500.0, "lr": 1e-3, "dead/fc1.0": 0.5}


def holds(text: str) -> bool:
    runs = {("val_loss", "rises"): 5, ("val_loss", "falls"): 0}
    value = lambda name: VALUES.get(name, math.nan)  # noqa: E731
    return parse(text).holds(value, lambda name, way: runs[name, way])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("grad_norm > 10", True),
        ("grad_norm>12", False),
        ("grad_norm >= 12", True),
        ("10 < grad_norm", True),
        ("loss < grad_norm", True),
        ("step == 500", True),
        ("step != 500", False),
        ("lr <= 1e-3", True),
        ("lr > -1.5E+2", True),
        ("dead/fc1.0 > .25", True),
        ("unknown > 0", False),
        ("unknown < 0", False),
        ("val_loss rises 5", True),
        ("val_loss rises 6", False),
        ("val_loss falls 1", False),
        ("loss > 3 and step == 500", False),
        ("loss > 3 or step == 500", True),
        ("step == 500 or loss > 3 and loss > 4", True),
        ("(step == 500 or loss > 3) and loss > 4", False),
        ("  step==500  ", True),
    ],
)
def test_what_a_condition_says(text: str, expected: bool) -> None:
    assert holds(text) is expected


@pytest.mark.parametrize(
    "text",
    [
        "", "loss", "loss >", "> 3", "loss > 3 and", "loss 3", "(loss > 3", "loss > 3)",
        "loss > 3 step > 4", "loss rises", "loss rises 0", "loss rises 1.5", "3 rises 4",
        "__import__('os').system('true') > 0", "loss > 3; step", "loss = 3", "and > 3",
        "loss > 'a'", "lambda: 1", "loss > 1e",
    ],
)  # fmt: skip
def test_what_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ArgumentError, match="grad_norm > 10"):
        parse(text)


def test_the_refusal_says_where() -> None:
    with pytest.raises(ArgumentError, match="cannot be read at '; step'"):
        parse("loss > 3; step")


def test_a_condition_knows_its_series() -> None:
    condition = parse("val_loss rises 2 and loss > grad_norm or loss < 1")
    assert condition.names == ("val_loss", "loss", "grad_norm")
    assert condition.trends == ("val_loss",)
