"""Watches a model of Keras on the torch backend while it is fitted."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from nbdebug.errors import MissingPackageError
from nbdebug.integrations.base import TrainerWatch
from nbdebug.integrations.foreign_optimizer import ForeignOptimizer
from nbdebug.integrations.missing import missing_package

NO_TORCH = (
    "Keras runs on {0}: nbdebug watches the torch backend. Restart Python, and set the environment "
    "variable KERAS_BACKEND=torch before `import keras`."
)
try:
    import keras

    if keras.backend.backend() != "torch":
        raise MissingPackageError(NO_TORCH.format(keras.backend.backend()))
    from nbdebug.integrations.keras_layers import ModelView
    from nbdebug.integrations.keras_optimizer import (
        ScaledFunction,
        Updates,
        rate_is_plain,
        schedule_of,
        stand_in,
    )
except ImportError as error:
    if isinstance(error, MissingPackageError):
        raise
    raise missing_package("Keras", "'keras>=3.15'", error) from error

COMPILED = (
    "it was compiled with jit_compile=True, by which no step can be looked into. Call "
    "compile(jit_compile=False)."
)
SEVERAL_STEPS = "steps_per_execution is {0}: call compile(steps_per_execution=1)."
NO_OPTIMIZER = "it has no single optimizer of compile(): steps are seen by its update alone."
SCALED_LOSS = "its optimizer scales the loss (float16). Train in float32 or bfloat16."
NO_HOOK = "{0} has no {1}, by which its updates are seen. Install keras 3.15."
OWN_SCHEDULE = "the schedule is your own class: it computes the learning rate, whatever is set."
NOT_TORCH = "Keras calls its layers itself, in the order of the model."
HOOKS = ("apply", "_clip_gradients")


class Watch(TrainerWatch, keras.callbacks.Callback):  # type: ignore[misc]
    """Callback of a model: `model.fit(..., callbacks=[Watch()])`.

    Another call of `fit` goes on in the same dashboard, unless the model was compiled again.
    """

    trainer = "Keras"
    packages = ("keras",)
    unavailable: ClassVar[Mapping[str, str]] = {
        "optimizer": "Keras updates the weights by the optimizer of compile().",
        "layer_order": NOT_TORCH,
        "activation": NOT_TORCH,
        "mode": "Keras tells each call whether it trains.",
        "bn_momentum": NOT_TORCH,
        "bn_statistics": NOT_TORCH,
    }

    def __init__(self, **settings: Any) -> None:
        keras.callbacks.Callback.__init__(self)
        super().__init__(**settings)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.params: dict[str, Any] | None = None
        self._model: Any = None
        self._stands: tuple[ModelView, ForeignOptimizer] | None = None
        self._held: Any = None
        self._undo: list[Callable[[], Any]] = []
        self._epoch = self._epochs = self._shift = 0
        self._first = True

    def on_train_begin(self, logs: Any = None) -> None:
        if self.nests():
            return
        model, self._first = self.model, True
        if reason := why_not(model):
            self.refuse(reason)
            return
        try:
            view, optimizer = self._stand_ins(model)
        except Exception as error:
            # A layer or an optimizer of another kind than those of Keras.
            self.refuse(f"{type(error).__name__}: {error}")
            return
        # Keras calls its callbacks from the list that holds all of them.
        beside = getattr(sys._getframe(1).f_locals.get("self"), "callbacks", [])
        functions = [one for one in beside if type(one) is keras.callbacks.LearningRateScheduler]
        schedulers = [*schedule_of(model.optimizer), *map(ScaledFunction, functions)]
        self.begin(
            view, optimizer, schedulers=schedulers, loss=_loss_of(model),
            unavailable=_unavailable(model.optimizer),
        )  # fmt: skip
        share = model.optimizer.gradient_accumulation_steps or 1
        self.set_batches_per_step(share)

    def _stand_ins(self, model: Any) -> tuple[ModelView, ForeignOptimizer]:
        trained = [variable.value for variable in model.trainable_variables]
        held = model, model.optimizer, [id(value) for value in trained]
        if self._stands is None or self._held != held:
            view = type(type(model).__name__, (ModelView,), {})(model)
            self._stands = view, stand_in(model.optimizer, trained)
            self._held, self._epochs = held, 0
        return self._stands

    @property
    def _steps(self) -> int | None:
        return None if self.params is None else self.params.get("steps")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._first:
            # Another fit counts from 0 again.
            self._shift, self._first = max(0, self._epochs - epoch), False
        self._epoch = epoch + self._shift
        self.begin_epoch(self._steps)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._stands is None or not self.watches:
            return
        view, optimizer = self._stands
        model, steps = self.model, self._steps
        train_step = model.train_step

        def seen(data: Any) -> Any:
            self.saw(data, self._epoch, None if not steps else (batch + 1) / steps)
            try:
                return train_step(data)
            except BaseException:
                self._detach()
                raise

        self._detach()
        optimizer.sync()
        undo = [view.attach(), Updates(model.optimizer, optimizer).detach]
        own: dict[str, Any] = model.__dict__
        if "train_step" not in own:
            own["train_step"] = seen
            undo.append(lambda: own.pop("train_step", None))
        self._undo = undo
        try:
            self.begin_step()
        except BaseException:
            self._detach()
            raise
        optimizer.sync()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._detach()
        if self._stands is not None and self.watches:
            # The schedule is at the next step.
            self._stands[1].sync()
        self.end_step()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._epochs = self._epoch + 1
        values = {**(logs or {})}
        values.pop("learning_rate", None)
        self.log(**values)

    def on_train_end(self, logs: Any = None) -> None:
        if not self._trainings.inside:
            self._detach()
            self.end()

    def close(self) -> None:
        self._detach()
        super().close()

    def _detach(self) -> None:
        while self._undo:
            self._undo.pop()()


def why_not(model: Any) -> str:
    """Reason why the training of a model cannot be watched; "" if it can."""
    optimizer = model.optimizer
    if optimizer is None or hasattr(optimizer, "optimizers"):
        return NO_OPTIMIZER
    if model.jit_compile:
        return COMPILED
    if model.steps_per_execution > 1:
        return SEVERAL_STEPS.format(model.steps_per_execution)
    scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if scales or optimizer.loss_scale_factor is not None:
        return SCALED_LOSS
    missing = [name for name in HOOKS if not hasattr(optimizer, name)]
    return NO_HOOK.format(type(optimizer).__name__, missing[0]) if missing else ""


def _unavailable(optimizer: Any) -> Mapping[str, str]:
    computed = not rate_is_plain(optimizer) and not schedule_of(optimizer)
    return {"lr": OWN_SCHEDULE} if computed else {}


def _loss_of(model: Any) -> Callable[[nn.Module, Any], torch.Tensor] | None:
    """Loss of a batch, for checks; None if computing it would count in metrics."""
    own = type(model).compute_loss is not keras.Model.compute_loss or "compute_loss" in vars(model)
    if own or getattr(model._compile_loss, "metrics", True):
        return None

    # Who searches a function for state does not find all of Keras here.
    held = weakref.ref(model)

    def loss(view: nn.Module, batch: Any) -> torch.Tensor:
        model = held()
        assert model is not None
        x, y, weights = keras.utils.unpack_x_y_sample_weight(batch)
        outputs = model(x, training=view.training)
        value: torch.Tensor = model._compute_loss(x, y, outputs, weights, training=view.training)
        return value

    return loss
