"""Several controls set in one call: what one of them rules out for another is refused in words."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

import nbdebug as nbd
from nbdebug.errors import ControlValueError
from tests.problems import blobs, tiny_mlp

NO_BETA2 = {"lr": 0.2, "optimizer": "sgd", "beta2": 0.9, "dropout": 0.1}
CASES: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "momentum": ("sgd", {"optimizer": "nesterov", "momentum": 0.0}, "momentum=0.0", "optimizer"),
    "beta2": ("adam", {"optimizer": "sgd", "beta2": 0.9}, "beta2=0.9", "optimizer"),
    "beta2 among others": ("adam", NO_BETA2, "beta2=0.9", "lr, optimizer, dropout"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_refused_and_what_was_set_is_said(case: str) -> None:
    before, values, refused, applied = CASES[case]
    with nbd.Debugger(
        tiny_mlp(), blobs(), nn.CrossEntropyLoss(), optimizer=before, runs=None
    ) as dbg:
        dbg.run(steps=1)
        with pytest.raises(ControlValueError) as caught:
            dbg.set(**values)
        said = str(caught.value)
        assert said.startswith(f"Not set: {refused} (")
        assert said.endswith(f" Set all the same: {applied}.")
        assert dbg.controls["optimizer"] == values["optimizer"]
        dbg.run(steps=1)
        assert dbg.replay().equal


def test_what_fits_together_is_set_together() -> None:
    with nbd.Debugger(
        tiny_mlp(), blobs(), nn.CrossEntropyLoss(), optimizer="sgd", runs=None
    ) as dbg:
        dbg.set(optimizer="nesterov", momentum=0.5, lr=0.1)
        assert dbg.changes["status"].tolist() == ["applied"] * 3
