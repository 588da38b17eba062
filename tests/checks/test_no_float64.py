"""Checks on a device without float64, as Apple's MPS: they find what they find with it."""

from __future__ import annotations

import pytest
import torch

from nbdebug.examples.catalogue import SICK_SETUPS
from nbdebug.model import precision

NAMES = sorted(SICK_SETUPS)[::6]
# It needs float64, and says so.
LEFT_OUT = {"gradient_check", "custom_backward"}


def statuses(name: str) -> dict[str, str]:
    with SICK_SETUPS[name].debugger() as dbg:
        found = dbg.check().to_dict()["checks"]
    return {one["name"]: one["status"] for one in found if one["name"] not in LEFT_OUT}


@pytest.mark.parametrize("name", NAMES)
def test_checks_find_the_same_without_float64(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = statuses(name)

    def refused(tensor: torch.Tensor) -> torch.Tensor:
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype")

    monkeypatch.setattr(precision, "NO_FLOAT64", frozenset({"cpu"}))
    monkeypatch.setattr(torch.Tensor, "double", refused)
    assert statuses(name) == expected
