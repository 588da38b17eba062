"""The contract of a probe, as a check that its author runs."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from nbdebug.model.state.bits import bitwise_equal
from nbdebug.model.state.model_state import RngState
from nbdebug.probes.base import Probe
from nbdebug.testing.contract import require, require_class, require_name
from nbdebug.testing.problem import CNN, MLP, AnyProblem
from nbdebug.testing.trainer import Trainer
from nbdebug.training.engine.state_guard import HOOK_ATTRIBUTES

STEPS = 20
FAILING_STEP = 3
PARAMETER_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


def check_probe(kind: type[Probe], *problems: AnyProblem) -> None:
    """Check that a probe keeps its contract.

    It is documented, its series too; it measures something; losses and weights are equal to the
    bit with and without it; it draws no random numbers, and leaves no hook behind, also when a
    step fails.

    Args:
        kind: the class.
        problems: what to train; without any, a small MLP and a small CNN.

    Raises:
        PluginError: names the part that is not kept.
    """
    require_class(kind, Probe)
    require_name(kind, "nbdebug.probes", Probe)
    costs = ("cheap", Probe.cost)
    require(kind.cost in costs, f"cost must be one of {costs}, got {kind.cost!r}.")
    require(kind.every >= 1, f"every must be at least 1, got {kind.every!r}.")
    for problem in problems or (MLP, CNN):
        _check_training(kind, problem)
        _check_failing_step(kind, problem)


def _check_training(kind: type[Probe], problem: AnyProblem) -> None:
    with Trainer.of(problem, probes=()) as bare:
        bare.step(STEPS)
    with Trainer.of(problem, probes=[_at_every_step(kind)]) as trainer:
        outside = RngState.capture()
        for _ in range(STEPS):
            trainer.step()
            hooks = count_hooks(trainer.model)
            require(not hooks, f"The probe leaves {hooks} hooks on the model after a step.")
        now = RngState.capture()
        require(
            bitwise_equal(
                [now.python, now.numpy, now.cpu], [outside.python, outside.numpy, outside.cpu]
            ),
            "The probe draws random numbers: seed a generator of its own instead.",
        )
    for notice in trainer.history.notices:
        require(False, f"{notice.title}: {notice.text}")
    losses = [one.history.frame("loss")["loss"].tolist() for one in (bare, trainer)]
    weights = [one.model.state_dict() for one in (bare, trainer)]
    require(
        losses[0] == losses[1] and bitwise_equal(weights[0], weights[1]),
        "Training with the probe ends in other weights than without it.",
    )
    _check_series(kind, bare, trainer)


def _check_series(kind: type[Probe], bare: Trainer, trainer: Trainer) -> None:
    before, snapshot = set(bare.history.series), trainer.history.snapshot()
    measured = {*snapshot.series, *snapshot.histograms} - before
    require(measured, f"The probe measured nothing in {STEPS} steps.")
    for name in sorted(measured):
        group = name.partition("/")[0]
        require(
            f"`{group}" in (kind.__doc__ or ""),
            f"The docstring lacks the series `{group}`.",
        )


def _check_failing_step(kind: type[Probe], problem: AnyProblem) -> None:
    """Hooks are gone after a step whose loss raised."""
    calls = [0]

    def failing(*arguments: Any) -> torch.Tensor:
        calls[0] += 1
        if calls[0] == FAILING_STEP:
            raise _PlannedError
        return problem.loss(*arguments)

    model, data = problem.model(), problem.data()
    probe = _at_every_step(kind)
    with Trainer(model, data, failing, probes=[probe], **problem.settings) as trainer:
        try:
            trainer.step(FAILING_STEP)
        except _PlannedError:
            hooks = count_hooks(model)
            require(not hooks, f"The probe leaves {hooks} hooks after a step that failed.")


class _PlannedError(Exception):
    """Raised on purpose."""


def _at_every_step(kind: type[Probe]) -> Probe:
    probe = kind()
    # On the object alone: the class stays as its author wrote it.
    vars(probe)["every"] = 1
    return probe


def count_hooks(model: nn.Module) -> int:
    """Hooks on modules and parameters, and forwards that were patched."""
    on_modules = sum(
        len(getattr(module, kind)) for module in model.modules() for kind in HOOK_ATTRIBUTES
    )
    on_parameters = sum(
        len(getattr(parameter, kind, None) or ())
        for parameter in model.parameters()
        for kind in PARAMETER_HOOKS
    )
    patched = sum("forward" in vars(module) for module in model.modules())
    return on_modules + on_parameters + patched
