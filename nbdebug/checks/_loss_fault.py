"""A fault of what a loss function is given."""

from __future__ import annotations

from typing import NamedTuple

import torch

from nbdebug.core.results.checks.check_result import Verdict

PROBABILITIES = ("Softmax", "Sigmoid")
CUTS = ("Clamp", "ClampMin", "ClampMax", "Relu", "Hardtanh", "Hardsigmoid", "Threshold")
UNIT = 1e-3


class Fault(NamedTuple):
    """An argument that its loss function forbids."""

    seen: str
    expected: str
    remedy: str
    status: Verdict = "fail"


def range_of(what: str, values: torch.Tensor) -> str:
    """Smallest and largest of some numbers, in words."""
    return f"the {what} lies between {float(values.min()):.4g} and {float(values.max()):.4g}"
