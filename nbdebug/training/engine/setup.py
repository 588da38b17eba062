"""Arguments of a training, as the user gave them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from os import PathLike
from typing import Any, Literal

import torch
from torch import nn

from nbdebug.controls.base import number, whole_number
from nbdebug.core.commands.loops import is_readable
from nbdebug.errors import ArgumentError, ModelError
from nbdebug.model.factories import OptimizerLike as OptimizerLike
from nbdebug.model.factories import check_function
from nbdebug.model.joint_optimizer import OWN_SCHEDULES
from nbdebug.model.metrics import Metric
from nbdebug.model.module.forward import LossFn, StepFn
from nbdebug.model.module.names import trainable
from nbdebug.model.schedule.builders import USER_SCHEDULE
from nbdebug.model.schedule.unit import ScheduleLike
from nbdebug.runs.record.location import AUTO
from nbdebug.training.data.batch import CountSamples
from nbdebug.training.data.val_function import ValFn

# Share of time for expensive probes.
OVERHEAD = 0.02


@dataclass(frozen=True)
class Setup:
    """Arguments of `Debugger`, as the user gave them."""

    model: nn.Module
    train_data: Any
    loss_fn: LossFn | None = None
    step_fn: StepFn | None = None
    val_data: Any = None
    val_fn: ValFn | None = None
    val_every: int | None = None
    metrics: Mapping[str, Metric] | None = None
    optimizer: OptimizerLike = "adam"
    lr: float | None = None
    batch_size: int | None = None
    accumulate: int | None = None
    schedule: ScheduleLike = None
    schedule_every: Literal["step", "epoch"] | None = None
    scaler: torch.amp.GradScaler | None = None
    state: Mapping[str, Any] | None = None
    batch_size_of: CountSamples | None = None
    val_grad: bool = False
    seed: int = 0
    device: str | torch.device | None = None
    name: str | None = None
    runs: str | PathLike[str] | None = AUTO
    overhead: float = OVERHEAD
    checkpoint_memory: int | None = None
    serve: bool | int | None = None
    resumed: Mapping[str, Any] | None = None
    # To the other ranks of this training, or why this one is watched alone; None for one process.
    link: Any = None

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Setup:
        """Create a Setup from those arguments that are fields of it."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in arguments.items() if name in names})

    def controls(self) -> dict[str, Any]:
        """Return the values of controls with their own argument, in the order of application."""
        values: dict[str, Any] = {}
        if self.lr is not None and not isinstance(self.optimizer, str):
            values["lr"] = self.lr
        if self.batch_size is not None:
            values["batch_size"] = self.batch_size
        if self.accumulate is not None:
            values["accumulate"] = self.accumulate
        if self.schedule is not None:
            # Last: it begins at the learning rate that the others put in force.
            values["schedule"] = self.schedule if isinstance(self.schedule, str) else USER_SCHEDULE
        return values


def check_setup(setup: Setup) -> None:
    """Raise ArgumentError, ControlValueError or ModelError for what cannot be trained."""
    if not (isinstance(setup.overhead, int | float) and 0.0 <= setup.overhead <= 1.0):
        raise ArgumentError(f"overhead must be a share in [0, 1], got {setup.overhead!r}.")
    memory = setup.checkpoint_memory
    if memory is not None and (type(memory) is not int or memory < 0):
        raise ArgumentError(f"checkpoint_memory must be a number of bytes, got {memory!r}.")
    if setup.name is not None and (not isinstance(setup.name, str) or not setup.name):
        raise ArgumentError(
            f"name must be a text of at least one character; got {setup.name!r:.80}."
        )
    if not isinstance(setup.model, nn.Module):
        raise ModelError(f"model is a {type(setup.model).__name__}: expected a torch.nn.Module.")
    if (setup.loss_fn is None) == (setup.step_fn is None):
        raise ArgumentError(
            "Give exactly one of loss_fn(outputs, targets) and step_fn(model, batch)."
        )
    seed = setup.seed
    if isinstance(seed, bool) or not isinstance(seed, int) or not -(2**63) <= seed < 2**63:
        raise ArgumentError(f"seed must be a whole number of at most 63 bits, got {seed!r:.80}.")
    if setup.lr is not None:
        number("lr", setup.lr, 0.0, math.inf, low_open=True)
    if setup.schedule is not None and isinstance(setup.optimizer, Mapping):
        raise ArgumentError(f"schedule: {OWN_SCHEDULES}")
    for name in ("batch_size", "accumulate"):
        if (value := getattr(setup, name)) is not None:
            whole_number(name, value, 1)
    if setup.scaler is not None and not isinstance(setup.scaler, torch.amp.GradScaler):
        raise ArgumentError(
            f"scaler is a {type(setup.scaler).__name__}: expected a torch.amp.GradScaler."
        )
    check_function("loss_fn", setup.loss_fn)
    check_function("step_fn", setup.step_fn)
    if not isinstance(setup.state, Mapping | None):
        raise ArgumentError(f"state is a {type(setup.state).__name__}: expected {{name: object}}.")
    _check_validation(setup)
    _check_model(setup.model)


def _check_validation(setup: Setup) -> None:
    check_function("val_fn", setup.val_fn)
    if setup.val_fn is not None and setup.val_data is not None:
        raise ArgumentError("Give val_data, or val_fn(model), which reads its data itself.")
    every = setup.val_every
    if every is not None and (isinstance(every, bool) or not isinstance(every, int) or every < 1):
        raise ArgumentError(f"val_every must be a whole number of at least 1 step, got {every!r}.")
    if not isinstance(setup.val_grad, bool):
        raise ArgumentError(f"val_grad must be True or False, got {setup.val_grad!r:.80}.")
    for name in setup.metrics or {}:
        if not is_readable(name):
            raise ArgumentError(
                f"A metric cannot be called {name!r:.80}: expected letters and signs that can be "
                "seen, without spaces at the ends."
            )
    if "loss" in (setup.metrics or {}):
        raise ArgumentError("A metric cannot be called 'loss': give it another name.")


def _check_model(model: nn.Module) -> None:
    if any(isinstance(p, nn.UninitializedParameter) for p in model.parameters()):
        raise ModelError("The model has lazy layers: run one batch through it first.")
    if not trainable(model):
        raise ModelError("The model has no trainable parameter (requires_grad is False, or none).")
