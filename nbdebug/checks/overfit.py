"""Overfitting of a few examples."""

from __future__ import annotations

import math
from typing import Any

import torch

from nbdebug.checks._constant import best_constant, output_tensors
from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome, Verdict
from nbdebug.model.module.forward import first_samples, repeated, split
from nbdebug.model.module.names import DROPOUTS
from nbdebug.model.state.model_state import ModelState

EXAMPLES = 16
MAX_STEPS = 500
LR_FACTORS = (0.1, 10.0, 0.01)
ATTEMPTS = len(LR_FACTORS) + 2


class Overfit(Check):
    """Checks that the model can overfit 16 examples with your optimizer.

    A failure means a fault of the model, the loss or the learning rate; more data does not help.
    Dropout and weight decay are off during this check. If the check fails, other learning rates
    are tried: if one works, the learning rate was wrong; if none works, look at the model and the
    loss.

    False alarms: 0 fails and 2 warnings on 288 healthy configurations.
    """

    name = "overfit"
    step = 1
    order = 10
    title = "Overfits a few examples"
    source = "Karpathy, A Recipe for Training Neural Networks; CS231n, Neural Networks 3"
    expensive = True
    moves_far = True

    FAIL_LOSS_RATIO = 0.5
    PASS_LOSS_RATIO = 0.35

    def examine(self, context: CheckContext) -> Outcome:
        found = output_tensors(context)
        if isinstance(found, Outcome):
            return found
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
        seen = f"the loss is {left:.2g} times that of the best constant after {MAX_STEPS} steps"
        expected = f"below {self.PASS_LOSS_RATIO:g}"
        if left < self.PASS_LOSS_RATIO:
            return Outcome("pass", seen, expected)
        if left < self.FAIL_LOSS_RATIO:
            advice = "The model learns, but slowly: try a larger learning rate."
            return Outcome("warning", seen, expected, advice)
        seen += f"; of a single example, {self._one(context, start):.2g} times the initial loss"
        status, remedy = self._ladder(context, (inputs, targets), baseline, start)
        return Outcome(status, seen, expected, remedy)

    def _one(self, context: CheckContext, start: ModelState) -> float:
        """Final over initial loss of one example, which is twice in the batch for BatchNorm."""
        start.restore(context.model, context.subject.optimizer)
        batch = repeated(first_samples(context.batch, 1), 2)
        context.model.eval()
        first = float(context.look(batch)[0])
        return self._train(context, batch, context.subject.optimizer) / max(first, 1e-12)

    def _ladder(
        self, context: CheckContext, batch: Any, baseline: float, start: ModelState
    ) -> tuple[Verdict, str]:
        optimizer = context.subject.optimizer
        for attempt, factor in enumerate(LR_FACTORS, 1):
            start.restore(context.model, optimizer)
            for group in optimizer.param_groups:
                group["lr"] = group["lr"] * factor
            if self._train(context, batch, optimizer, attempt) / baseline < self.FAIL_LOSS_RATIO:
                words = f"The model learns at {factor:g} times the learning rate: change it."
                # Few examples may need another learning rate than all data, but not 1/100 of it.
                return ("warning" if factor >= 0.1 else "fail"), words
        start.restore(context.model, optimizer)
        adam = torch.optim.Adam([p for _, p in context.subject.parameters], lr=1e-3)
        if self._train(context, batch, adam, ATTEMPTS - 1) / baseline < self.FAIL_LOSS_RATIO:
            return (
                "fail",
                "The model learns with Adam at 1e-3: the optimizer or learning rate is wrong.",
            )
        return "fail", "No learning rate works: check the model, the loss and the labels."

    def _train(
        self, context: CheckContext, batch: Any, optimizer: torch.optim.Optimizer, attempt: int = 0
    ) -> float:
        """The smallest loss in at most 500 steps; inf after NaN or Inf."""
        context.model.train()
        for module in context.model.modules():
            if isinstance(module, DROPOUTS):
                module.eval()
        best = math.inf
        for step in range(MAX_STEPS):
            if step % 10 == 0:
                context.report_progress((attempt + step / MAX_STEPS) / ATTEMPTS)
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
