"""Optimizer of a Keras model, as one of torch's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import keras
from torch import nn

from nbdebug.integrations.foreign_optimizer import ForeignOptimizer
from nbdebug.integrations.scaled import ScaledSchedule

schedules = keras.optimizers.schedules
# What the schedules of Keras compute in proportion to.
RATES = {
    schedules.ExponentialDecay: ("initial_learning_rate",),
    schedules.InverseTimeDecay: ("initial_learning_rate",),
    schedules.PiecewiseConstantDecay: ("values",),
    schedules.PolynomialDecay: ("initial_learning_rate", "end_learning_rate"),
    schedules.CosineDecay: ("initial_learning_rate", "warmup_target"),
    schedules.CosineDecayRestarts: ("initial_learning_rate",),
}


class UpdateLeftOut(Exception):  # noqa: N818
    """Ends `apply` of an optimizer before its update."""


def stand_in(optimizer: Any, parameters: Iterable[nn.Parameter]) -> ForeignOptimizer:
    """Make what stands for an optimizer of Keras, with the options that it can change live."""

    def attribute(name: str) -> tuple[Callable[[], Any], Callable[[Any], None]]:
        return partial(getattr, optimizer, name), partial(setattr, optimizer, name)

    def set_rate(value: float) -> None:
        if rate_is_plain(optimizer):
            optimizer.learning_rate = value

    def set_betas(values: Sequence[float]) -> None:
        optimizer.beta_1, optimizer.beta_2 = values

    options: dict[str, Any] = {"lr": (lambda: float(optimizer.learning_rate), set_rate)}
    if hasattr(optimizer, "beta_1") and hasattr(optimizer, "beta_2"):
        options["betas"] = (lambda: (optimizer.beta_1, optimizer.beta_2), set_betas)
    # Keras makes buffers of momentum only where it is above 0 from the beginning.
    elif getattr(optimizer, "momentum", 0):
        options["momentum"] = attribute("momentum")
    if optimizer.weight_decay is not None:
        options["weight_decay"] = attribute("weight_decay")
    if getattr(optimizer, "nesterov", False):
        options["nesterov"] = attribute("nesterov")
    made: ForeignOptimizer = type(type(optimizer).__name__, (ForeignOptimizer,), {})(
        [(parameters, options)]
    )
    return made


def rate_is_plain(optimizer: Any) -> bool:
    """True if the learning rate is a number, and not computed."""
    rate = optimizer._learning_rate
    return not isinstance(rate, schedules.LearningRateSchedule) and not (
        callable(rate) and not isinstance(rate, keras.Variable)
    )


def schedule_of(optimizer: Any) -> list[ScaledSchedule]:
    """The schedule of an optimizer, where it is one of Keras."""
    schedule = optimizer._learning_rate
    names = RATES.get(type(schedule), ())
    there = [name for name in names if getattr(schedule, name) is not None]
    return [ScaledSchedule(schedule, *there)] if there else []


class ScaledFunction:
    """The function of a LearningRateScheduler, which a change of the learning rate scales.

    It may compute from the epoch alone, or from the learning rate: that is given to it as it would
    be without the change.
    """

    def __init__(self, callback: Any) -> None:
        self._callback, self._function, self._factor = callback, callback.schedule, 1.0

    @property
    def base_lrs(self) -> list[float]:
        return [self._factor]

    @base_lrs.setter
    def base_lrs(self, values: list[float]) -> None:
        self._factor = values[0]
        self._callback.schedule = self._scaled

    def _scaled(self, epoch: int, *rates: float) -> float:
        value: float = self._function(epoch, *(rate / self._factor for rate in rates))
        return value * self._factor


class Updates:
    """Updates of an optimizer of Keras, each of which is one of what stands for it.

    Gradients are those that Keras is about to clip: with accumulation the mean of all batches.
    """

    def __init__(self, optimizer: Any, stand: ForeignOptimizer) -> None:
        self._optimizer, self._stand = optimizer, stand
        self._apply, self._clip = optimizer.apply, optimizer._clip_gradients
        self._used: list[Any] = []
        held = vars(optimizer)
        held["apply"], held["_clip_gradients"] = self.apply, self.clip

    def detach(self) -> None:
        """Put the optimizer back as it was."""
        held = vars(self._optimizer)
        if held.get("apply") == self.apply:
            del held["apply"], held["_clip_gradients"]

    def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
        optimizer = self._optimizer
        variables = trainable_variables or optimizer._trainable_variables
        # Of frozen layers Keras would warn.
        pairs = [(g, v) for g, v in zip(grads, variables, strict=True) if _trains(g, v)]
        self._used = [v for g, v in pairs if g is not None and not _overwritten(v)]
        try:
            return self._apply([g for g, _ in pairs], [v for _, v in pairs])
        except UpdateLeftOut:
            if optimizer.gradient_accumulation_steps:
                self._begin_accumulation()
            return None

    def _begin_accumulation(self) -> None:
        """Let the next update begin with the next batch, as it would have."""
        # Keras multiplies what it gathered by 0, which leaves NaN as it is.
        for kept in self._optimizer._accumulated_gradients:
            if kept is not None:
                kept.value.data.zero_()
        self._optimizer._iterations.assign_add(1)

    def clip(self, grads: Any) -> Any:
        grads = list(grads)
        if len(grads) == len(self._used):
            for gradient, variable in zip(grads, self._used, strict=True):
                variable.value.grad = gradient
        if not self._stand.may_update():
            raise UpdateLeftOut
        return self._clip(grads)


def _trains(gradient: Any, variable: Any) -> bool:
    return gradient is not None or variable.value.requires_grad


def _overwritten(variable: Any) -> bool:
    return bool(getattr(variable, "overwrite_with_gradient", False))
