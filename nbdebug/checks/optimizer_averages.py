"""Coefficients by which an optimizer averages gradients over steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome, Proposal

MAX_MOMENTUM = 0.995
MIN_SQUARES = 0.8
EXPECTED = "averages over 1 to 200 steps of gradients, and over more steps of their squares"


class Fault(NamedTuple):
    """An unusual coefficient, what to do about it, and the control that does it."""

    seen: str
    remedy: str
    proposal: Proposal | None = None
    fails: bool = False


class OptimizerAverages(Check):
    """Checks that the optimizer averages gradients and their squares over usual numbers of steps.

    An average with the coefficient b is over about 1 / (1 - b) steps. Betas of Adam in the wrong
    order, or a coefficient in the place of another argument, such as `alpha=0.01` of RMSprop,
    train: slowly, and with steps of any size. With `dampening=1`, SGD with momentum uses the
    gradient of the first step alone.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "optimizer_averages"
    step = 4
    order = 41
    title = "Averages of the optimizer"
    source = "Kingma and Ba (2015), Adam; PyTorch, torch.optim; over 200 steps, under 5"
    explains = ("overfit", "update_direction", "lr_range", "baselines")

    def examine(self, context: CheckContext) -> Outcome:
        optimizer = context.subject.optimizer
        groups = optimizer.param_groups
        if not any({"betas", "momentum", "alpha"} & set(group) for group in groups):
            return Outcome("not_applicable", f"{type(optimizer).__name__} averages nothing.")
        found = next((fault for group in groups for fault in _faults(group)), None)
        if found is None:
            return Outcome("pass", _told(groups[0]), EXPECTED)
        return Outcome(
            "fail" if found.fails else "warning", found.seen, EXPECTED, found.remedy, found.proposal
        )


def _faults(group: dict[str, Any]) -> Iterator[Fault]:
    betas, momentum = group.get("betas"), group.get("momentum")
    # Optimizers with three betas have another order.
    if isinstance(betas, tuple | list) and len(betas) == 2:
        yield from _of_betas(*map(float, betas))
    if isinstance(momentum, int | float) and momentum > 0:
        yield from _of_momentum(momentum, float(group.get("dampening", 0)))
    alpha = group.get("alpha")
    if "centered" in group and isinstance(alpha, int | float) and alpha < MIN_SQUARES:
        yield Fault(
            f"alpha={alpha:g}: squares of gradients are averaged over {_steps(alpha)}, so "
            "that the steps are of nearly the same size whatever the gradient",
            "Use alpha=0.99. The learning rate is the argument lr.",
        )


def _of_betas(first: float, second: float) -> Iterator[Fault]:
    if first > second and first > MAX_MOMENTUM:
        yield Fault(
            f"betas=({first:g}, {second:g}): gradients are averaged over {_steps(first)}, their "
            f"squares over {_steps(second)}; the order is that of the gradients first",
            f"Exchange them: betas=({second:g}, {first:g}).",
        )
    elif first > MAX_MOMENTUM:
        yield Fault(
            f"betas=({first:g}, {second:g}): gradients are averaged over {_steps(first)}, so that "
            "an update follows gradients of weights that are long gone", "Use betas=(0.9, 0.999).",
            Proposal("momentum", 0.9),
        )  # fmt: skip
    elif second < MIN_SQUARES:
        yield Fault(
            f"betas=({first:g}, {second:g}): squares of gradients are averaged over "
            f"{_steps(second)}, so that each weight moves by about the learning rate in each step, "
            "whatever its gradient", "Use betas=(0.9, 0.999).", Proposal("beta2", 0.999),
        )  # fmt: skip


def _of_momentum(momentum: float, dampening: float) -> Iterator[Fault]:
    if dampening >= 1:
        yield Fault(
            f"momentum={momentum:g} with dampening={dampening:g}: gradients after the first step "
            "have no effect", "Use dampening=0, its default.", fails=True,
        )  # fmt: skip
    elif momentum > MAX_MOMENTUM:
        yield Fault(
            f"momentum={momentum:g}: gradients are summed over {_steps(momentum)}, so that the "
            "steps become that many times larger than lr times the gradient, and turn too late",
            "Use momentum=0.9.", Proposal("momentum", 0.9),
        )  # fmt: skip


def _steps(coefficient: float) -> str:
    """Text with the number of steps that an average reaches back."""
    if coefficient >= 1:
        return "all steps"
    steps = 1 / (1 - coefficient)
    return f"{steps:.3g} step{'' if steps == 1 else 's'}"


def _told(group: dict[str, Any]) -> str:
    """Coefficients of a group as text."""
    named = {name: group[name] for name in ("betas", "momentum", "alpha") if name in group}
    return ", ".join(f"{name}={value}" for name, value in named.items())
