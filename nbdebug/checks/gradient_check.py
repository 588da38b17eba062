"""Gradients compared with finite differences of the loss."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from nbdebug.checks._context import CheckContext
from nbdebug.checks._named import first_names
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import call, first_samples, split

CHECKED_SAMPLES = 3
MAX_PARAMETERS, ENTRIES_PER_PARAMETER = 40, 3
DIFFERENCE_STEP = 1e-6
SMALLEST_SCALE = 1e-5
KINK_TOLERANCE = 1e-3


@dataclass
class Compared:
    """Relative errors by parameter, and the number of entries at a kink."""

    errors: dict[str, float] = field(default_factory=dict)
    entries: int = 0
    kinks: int = 0


class GradientCheck(Check):
    """Checks that the gradients of backward agree with central finite differences of the loss.

    The check uses double precision and a copy of the model in eval mode, without weight decay,
    so that neither dropout nor weight decay hides an error. PyTorch's own operations pass; a
    custom backward can be wrong. Entries at a kink, such as that of ReLU, are excluded and
    counted.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "gradient_check"
    step = 3
    order = 80
    title = "Gradients are correct"
    source = "CS231n, Neural Networks 3 (gradient checks); torch.autograd.gradcheck"
    expensive = True
    explains = ("overfit", "baselines")

    FAIL_ERROR = 1e-2
    WARNING_ERROR = 1e-4

    def examine(self, context: CheckContext) -> Outcome:
        if context.loss_fn is None:
            return Outcome("not_applicable", "a step_fn, or a loop of its own, hides the loss.")
        try:
            model, loss = _double(context)
            loss(model)
        except (RuntimeError, TypeError, ValueError) as error:
            return Outcome("not_applicable", f"the model does not run in double precision: {error}")
        found = _compare(context, model, loss)
        if not found.errors:
            return Outcome("not_applicable", "every gradient is at a kink or missing.")
        worst = max(found.errors.values())
        seen = (
            f"largest relative error {worst:.1e} in {found.entries} entries, {found.kinks} at kinks"
        )
        expected = f"about 1e-7, below {self.WARNING_ERROR:g}"
        if worst <= self.WARNING_ERROR:
            return Outcome("pass", seen, expected)
        wrong = [name for name, error in found.errors.items() if error > self.WARNING_ERROR]
        status = "fail" if worst > self.FAIL_ERROR else "warning"
        remedy = "Check every autograd.Function, gradient hook and use of .data after these layers."
        return Outcome(status, f"{seen}; wrong for {first_names(wrong)}", expected, remedy)  # type: ignore[arg-type]


def _double(context: CheckContext) -> tuple[nn.Module, Callable[[nn.Module], torch.Tensor]]:
    """A copy of the model in double precision, and its loss on a few samples."""
    model = copy.deepcopy(context.model).double().eval()
    own = context.loss_fn
    assert own is not None  # examine() asked
    loss_fn = copy.deepcopy(own).double() if isinstance(own, nn.Module) else own
    inputs, targets = (
        _double_numbers(part) for part in split(first_samples(context.batch, CHECKED_SAMPLES))
    )
    return model, lambda copied: loss_fn(call(copied, inputs), targets)


def _compare(
    context: CheckContext, model: nn.Module, loss: Callable[[nn.Module], torch.Tensor]
) -> Compared:
    loss(model).backward()
    generator = torch.Generator().manual_seed(0)
    named = [(name, p) for name, p in model.named_parameters() if p.grad is not None]
    chosen = named[:: max(len(named) // MAX_PARAMETERS, 1)]
    found = Compared()
    with torch.no_grad():
        middle = float(loss(model))
        for number, (name, parameter) in enumerate(chosen):
            context.report_progress(number / len(chosen))
            for place in torch.randint(
                parameter.numel(), (ENTRIES_PER_PARAMETER,), generator=generator
            ).tolist():
                _entry(found, name, parameter, place, lambda: float(loss(model)), middle)
    return found


def _entry(
    found: Compared,
    name: str,
    parameter: nn.Parameter,
    place: int,
    loss: Callable[[], float],
    middle: float,
) -> None:
    assert parameter.grad is not None  # chosen so
    flat, gradient = parameter.view(-1), float(parameter.grad.reshape(-1)[place])
    kept = float(flat[place])
    step = DIFFERENCE_STEP * max(1.0, abs(kept))
    flat[place] = kept + step
    above = loss()
    flat[place] = kept - step
    below = loss()
    flat[place] = kept
    slope = (above - below) / (2 * step)
    scale = max(abs(slope), abs(gradient), SMALLEST_SCALE)
    found.entries += 1
    if abs((above - middle) - (middle - below)) / step > KINK_TOLERANCE * scale:
        found.kinks += 1
        return
    found.errors[name] = max(found.errors.get(name, 0.0), abs(slope - gradient) / scale)


def _double_numbers(part: Any) -> Any:
    """Convert real numbers to double precision; integers are not converted."""
    if isinstance(part, torch.Tensor):
        return part.double() if part.is_floating_point() else part
    if isinstance(part, tuple | list):
        return type(part)(_double_numbers(each) for each in part)
    if isinstance(part, dict):
        return {key: _double_numbers(each) for key, each in part.items()}
    return part
