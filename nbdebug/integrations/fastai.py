"""Watches a Learner of fastai."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import nn

from nbdebug.integrations.base import TrainerWatch
from nbdebug.integrations.foreign_optimizer import ForeignOptimizer
from nbdebug.integrations.missing import missing_package

try:
    from fastai.callback.core import Callback
    from fastai.callback.schedule import ParamScheduler
    from fastai.optimizer import OptimWrapper
except ImportError as error:
    raise missing_package("fastai", "'fastai>=2.8'", error) from error

SCHEDULED = "a schedule of this fit writes it at each batch, such as that of fit_one_cycle."
# Callbacks by which a Learner searches, or predicts, and does not train.
NO_TRAINING = ("lr_finder", "gather_preds")


class Watch(TrainerWatch, Callback):  # type: ignore[misc]
    """Callback of a Learner: `Learner(..., cbs=Watch())` or `learn.fit(..., cbs=Watch())`.

    Another fit goes on in the same dashboard. A search for a learning rate is not watched.
    """

    trainer = "fastai"
    packages = ("fastai", "fastcore")
    # After the schedules, which write the learning rate before each batch.
    order = 61
    run_valid = False
    unavailable: ClassVar[Mapping[str, str]] = {
        "optimizer": "fastai builds the optimizer: choose it by Learner(opt_func=...).",
    }

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._stand: tuple[Any, torch.optim.Optimizer] | None = None
        self._undo: list[Callable[[], Any]] = []
        self._begun = False

    def before_fit(self) -> None:
        if self.nests(silent=True):
            return
        # Called for a validation, too: whether it trains is known with its first epoch.
        self._begun = False

    def _begin(self) -> None:
        learn, self._begun = self.learn, True
        schedules = [one for one in learn.cbs if isinstance(one, ParamScheduler)]
        scheduled = {"mom": "momentum", "wd": "weight_decay"}
        taken = {scheduled[key]: SCHEDULED for one in schedules for key in one.scheds
                 if key in scheduled}  # fmt: skip
        scaler = getattr(learn, "scaler", None)
        scaler = scaler if scaler is not None and scaler.is_enabled() else None
        self.begin(
            learn.model, self._stand_in(learn.opt), scaler=scaler, unavailable=taken,
            schedulers=[_ScaledScheds(one) for one in schedules if "lr" in one.scheds],
            loss=None if scaler is not None else _loss_of(learn),
        )  # fmt: skip

    def _stand_in(self, opt: Any) -> torch.optim.Optimizer:
        if isinstance(opt, OptimWrapper):
            inner: torch.optim.Optimizer = opt.opt
            return inner
        if self._stand is None or self._stand[0] is not opt:
            self._stand = opt, stand_in(opt)
        return self._stand[1]

    def before_train(self) -> None:
        if self._trainings.inside and self.nests():
            return
        if any(hasattr(self.learn, name) for name in NO_TRAINING):
            return
        if not self._begun:
            self._begin()
        self.begin_epoch(len(self.learn.dls.train))

    def before_batch(self) -> None:
        if not (self._begun and self.watches):
            return
        learn, stand = self.learn, self._stand_in(self.learn.opt)
        if isinstance(stand, ForeignOptimizer):
            self._detach()
            stand.sync()
            self._undo = [_attach(learn.opt, stand)]
        self.begin_step()
        if isinstance(stand, ForeignOptimizer):
            stand.sync()
        self.saw((*learn.xb, *learn.yb), None, (learn.iter + 1) / learn.n_iter)

    def after_batch(self) -> None:
        self._detach()
        self.end_step()

    def after_epoch(self) -> None:
        recorder: Any = getattr(self.learn, "recorder", None)
        values = getattr(recorder, "values", None)
        if not (self._begun and values):
            return
        # The first name is that of the epoch.
        named = dict(zip(recorder.metric_names[1:], values[-1], strict=False))
        named.pop("train_loss", None)
        if "valid_loss" in named:
            named["val_loss"] = named.pop("valid_loss")
        self.log(**named)

    def after_fit(self) -> None:
        if self._trainings.inside:
            return
        self._detach()
        if self._begun:
            self.end()
        self._begun = False

    def close(self) -> None:
        self._detach()
        super().close()

    def _detach(self) -> None:
        while self._undo:
            self._undo.pop()()


class _ScaledScheds:
    """The learning rates of a ParamScheduler, which a change of the learning rate scales."""

    def __init__(self, callback: Any) -> None:
        self._scheds, self._function, self._factor = callback.scheds, callback.scheds["lr"], 1.0

    @property
    def base_lrs(self) -> list[float]:
        return [self._factor]

    @base_lrs.setter
    def base_lrs(self, values: list[float]) -> None:
        self._factor = values[0]
        self._scheds["lr"] = self._scaled

    def _scaled(self, position: float) -> Any:
        value = self._function(position)
        many = isinstance(value, list | tuple)
        return [one * self._factor for one in value] if many else value * self._factor


def stand_in(opt: Any) -> ForeignOptimizer:
    """Make what stands for an optimizer of fastai, which is none of torch's."""
    groups = [
        (list(parameters), _options(hyper))
        for parameters, hyper in zip(opt.param_lists, opt.hypers, strict=True)
    ]
    made: ForeignOptimizer = type(type(opt).__name__, (ForeignOptimizer,), {})(groups)
    return made


def _options(hyper: dict[str, Any]) -> dict[str, Any]:
    def one(name: str) -> tuple[Callable[[], float], Callable[[float], None]]:
        return lambda: float(hyper[name]), partial(hyper.__setitem__, name)

    options: dict[str, Any] = {"lr": one("lr")}
    if "sqr_mom" in hyper and "mom" in hyper:
        options["betas"] = (
            lambda: (float(hyper["mom"]), float(hyper["sqr_mom"])),
            lambda betas: hyper.update(mom=betas[0], sqr_mom=betas[1]),
        )
    elif "mom" in hyper:
        options["momentum"] = one("mom")
    if "wd" in hyper:
        options["weight_decay"] = one("wd")
    return options


def _attach(opt: Any, stand: ForeignOptimizer) -> Callable[[], None]:
    """Let each update of an optimizer of fastai be one of what stands for it."""
    held, original = vars(opt), opt.step

    def step(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs) if stand.may_update() else None

    held["step"] = step

    def detach() -> None:
        if held.get("step") is step:
            del held["step"]

    return detach


def _loss_of(learn: Any) -> Callable[[nn.Module, Any], torch.Tensor]:
    # Who searches a function for state does not find all of the Learner here.
    held = weakref.ref(learn)

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        learn = held()
        assert learn is not None
        inputs = getattr(learn.dls, "n_inp", max(len(batch) - 1, 1))
        value: torch.Tensor = learn.loss_func(model(*batch[:inputs]), *batch[inputs:])
        return value

    return loss
