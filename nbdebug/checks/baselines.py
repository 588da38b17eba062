"""Simpler models on the same data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

import torch
from torch import nn

from nbdebug.checks._constant import best_constant, output_tensors
from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import split

BASELINE_STEPS = 200
HIDDEN_UNITS = 64
BASELINE_LR = 1e-2


class Baselines(Check):
    """Compares the model after 200 steps with a constant, a linear model and small networks.

    A linear model and networks with one and two hidden layers are trained on the same batches
    with Adam. Each additional layer should lower the loss, and the model should have the lowest
    loss. If a linear model beats the best constant output and the model does not, the model or
    its optimizer has a fault.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "baselines"
    step = 1
    order = 20
    title = "Better than simple models"
    source = "Karpathy, A Recipe for Training Neural Networks; Zinkevich, Rules of Machine Learning"
    expensive = True

    MAX_CONSTANT_RATIO = 0.98
    MAX_LINEAR_RATIO = 0.8
    MAX_REMAINING_LOSS = 0.99

    def examine(self, context: CheckContext) -> Outcome:
        found = output_tensors(context)
        if isinstance(found, Outcome):
            return found
        outputs, targets = found
        inputs = [split(batch)[0] for batch in context.batches]
        if not all(isinstance(part, torch.Tensor) and part.is_floating_point() for part in inputs):
            return Outcome("not_applicable", "the inputs are not a tensor of real numbers.")
        if len({part.shape[1:] for part in inputs}) > 1 or outputs.shape[0] != len(inputs[0]):
            return Outcome("not_applicable", "the samples differ in shape.")
        constant = best_constant(context, targets, outputs.shape[1:])
        if constant is None:
            return Outcome("not_applicable", "no best constant output was found for this loss.")
        begin, own = self._train(context, context.model, context.subject.optimizer, 0.0)
        losses = {"constant": constant}
        torch.manual_seed(0)
        for number, (name, model) in enumerate(_models(inputs[0], outputs).items(), 1):
            model = model.to(context.subject.device, inputs[0].dtype)
            adam = torch.optim.Adam(model.parameters(), lr=BASELINE_LR)
            losses[name] = self._train(context, model, adam, number / 4)[1]
        said = ", ".join(f"{name} {loss:.3g}" for name, loss in losses.items())
        seen = f"loss from {begin:.3g} to {own:.3g}; baselines: {said}"
        expected = f"below {self.MAX_CONSTANT_RATIO:g} of the loss of the constant"
        # A model that learns slowly only needs more steps.
        stuck = not own < self.MAX_REMAINING_LOSS * begin
        worse = (
            not own < self.MAX_CONSTANT_RATIO * constant
            and losses["linear"] < self.MAX_LINEAR_RATIO * constant
        )
        if stuck and worse:
            remedy = (
                "Check the learning rate, the initial weights and the forward method of the model."
            )
            return Outcome("warning", f"{seen}: no better than a constant", expected, remedy)
        return Outcome("pass", seen, expected)

    def _train(
        self,
        context: CheckContext,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        begun: float,
    ) -> tuple[float, float]:
        """Mean loss of the second and of the last fifth of the steps; inf after NaN or Inf."""
        own, losses = model is context.model, []
        model.train()
        for step, batch in enumerate(_steps(context)):
            context.report_progress(begun + step / BASELINE_STEPS / 4)
            optimizer.zero_grad()
            inputs, targets = split(batch)
            loss = context.evaluate(batch)[0] if own else context.loss_of(model(inputs), targets)
            losses.append(float(loss.detach()))
            if not math.isfinite(losses[-1]):
                return losses[0], math.inf
            loss.backward()
            optimizer.step()
        part = BASELINE_STEPS // 5
        return sum(losses[part : 2 * part]) / part, sum(losses[-part:]) / part


def _steps(context: CheckContext) -> Iterator[Any]:
    return islice(cycle(context.batches), BASELINE_STEPS)


def _models(inputs: torch.Tensor, outputs: torch.Tensor) -> dict[str, nn.Module]:
    """A linear model and networks with one and two hidden layers, with the same output shape."""
    features, shape = inputs[0].numel(), outputs.shape[1:]
    last = math.prod(shape)

    def stack(*widths: int) -> nn.Module:
        made: list[nn.Module] = [nn.Flatten()]
        before = features
        for width in widths:
            made += [nn.Linear(before, width), nn.ReLU()]
            before = width
        return nn.Sequential(*made, nn.Linear(before, last), Reshape(shape))

    return {
        "linear": stack(),
        "one hidden layer": stack(HIDDEN_UNITS),
        "two hidden layers": stack(HIDDEN_UNITS, HIDDEN_UNITS),
    }


class Reshape(nn.Module):
    """Reshapes rows [N, P] to [N, ...]."""

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(len(x), *self.shape)
