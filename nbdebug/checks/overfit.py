"""Learning a few examples by heart."""

from __future__ import annotations

import math
from typing import Any

import torch

from nbdebug.checks._constant import best_constant, plain
from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.check_result import Outcome, Verdict
from nbdebug.model.module.forward import first_samples, repeated, split
from nbdebug.model.module.names import DROPOUTS
from nbdebug.model.state.model_state import ModelState

EXAMPLES = 16
STEPS = 500
LADDER = (0.1, 10.0, 0.01)
ATTEMPTS = len(LADDER) + 2


class Overfit(Check):
    """Whether the model can learn 16 examples by heart, with the user's own optimizer.

    A model that cannot has a fault in itself, in its loss or in its learning rate; more data
    does not help. Dropout and weight decay are off meanwhile. When it fails, other learning
    rates are tried: where one works the learning rate was wrong, where none does look at the
    model and the loss.

    False alarms: 0 fails and 2 warnings on 288 healthy configurations.
    """

    name = "overfit"
    step = 1
    order = 10
    title = "Overfits a few examples"
    source = "Karpathy, A Recipe for Training Neural Networks; CS231n, Neural Networks 3"
    expensive = True

    FAIL = 0.5
    GOOD = 0.35

    def examine(self, context: CheckContext) -> Outcome:
        found = plain(context)
        if isinstance(found, str):
            return Outcome("not_applicable", found)
        outputs, _ = found
        inputs, targets = split(first_samples(context.batch, EXAMPLES))
        baseline = best_constant(context, targets, outputs.shape[1:])
        if baseline is None or bool((targets == targets.flatten()[0]).all()):
            return Outcome("not_applicable", "all of these examples have the same target.")
        for group in context.subject.optimizer.param_groups:
            if "weight_decay" in group:
                group["weight_decay"] = 0.0
        start = ModelState.capture(context.model, context.subject.optimizer)
        left = self._train(context, (inputs, targets), context.subject.optimizer) / baseline
        seen = f"{left:.2g} of the loss of the best constant is left after {STEPS} steps"
        expected = f"under {self.GOOD:g}"
        if left < self.GOOD:
            return Outcome("pass", seen, expected)
        if left < self.FAIL:
            advice = "It learns, but slowly: try a larger learning rate."
            return Outcome("warning", seen, expected, advice)
        seen += f"; of one example alone {self._one(context, start):.2g} of its first loss"
        status, remedy = self._ladder(context, (inputs, targets), baseline, start)
        return Outcome(status, seen, expected, remedy)

    def _one(self, context: CheckContext, start: ModelState) -> float:
        """What is left of the first loss of one example; twice in a batch, for BatchNorm."""
        start.restore(context.model, context.subject.optimizer)
        batch = repeated(first_samples(context.batch, 1), 2)
        context.model.eval()
        with torch.no_grad():
            first = float(context.evaluate(batch)[0])
        return self._train(context, batch, context.subject.optimizer) / max(first, 1e-12)

    def _ladder(
        self, context: CheckContext, batch: Any, baseline: float, start: ModelState
    ) -> tuple[Verdict, str]:
        optimizer = context.subject.optimizer
        for attempt, factor in enumerate(LADDER, 1):
            start.restore(context.model, optimizer)
            for group in optimizer.param_groups:
                group["lr"] = group["lr"] * factor
            if self._train(context, batch, optimizer, attempt) / baseline < self.FAIL:
                words = f"It works at {factor:g} times the learning rate: try other rates."
                # Sixteen examples may want another rate than all of them; not one of 1/100.
                return ("warning" if factor >= 0.1 else "fail"), words
        start.restore(context.model, optimizer)
        adam = torch.optim.Adam([p for _, p in context.subject.parameters], lr=1e-3)
        if self._train(context, batch, adam, ATTEMPTS - 1) / baseline < self.FAIL:
            return "fail", "It works with Adam at 1e-3: optimizer or learning rate are wrong."
        return "fail", "No learning rate works: look at the model, the loss and the labels."

    def _train(
        self, context: CheckContext, batch: Any, optimizer: torch.optim.Optimizer, attempt: int = 0
    ) -> float:
        """The smallest loss in at most 500 steps, infinite when it is not finite."""
        context.model.train()
        for module in context.model.modules():
            if isinstance(module, DROPOUTS):
                module.eval()
        best = math.inf
        for step in range(STEPS):
            if step % 10 == 0:
                context.report_progress((attempt + step / STEPS) / ATTEMPTS)
            optimizer.zero_grad()
            loss = context.evaluate(batch)[0]
            value = float(loss.detach())
            if not math.isfinite(value):
                return math.inf
            best = min(best, value)
            if best < 1e-4:
                break
            loss.backward()
            optimizer.step()
        return best
