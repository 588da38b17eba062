"""Watches a neural net of skorch while it is fitted."""

from __future__ import annotations

import math
import uuid
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn
from torch.utils.data import DataLoader

from nbdebug.integrations.base import TrainerWatch
from nbdebug.integrations.missing import missing_package
from nbdebug.integrations.scaled import ScaledSchedule

try:
    from skorch.callbacks import Callback, LRScheduler
    from skorch.callbacks.lr_scheduler import WarmRestartLR
    from skorch.dataset import unpack_data
except ImportError as error:
    raise missing_package("skorch", "'skorch>=1.0'", error) from error

# Not measured here; the training loss is an average over an epoch in which the weights move.
NO_METRICS = (
    "batches", "epoch", "dur", "train_loss", "train_batch_count", "valid_batch_count", "event_lr",
)  # fmt: skip
SEVERAL_OPTIMIZERS = (
    "The net has {0} optimizers. Steps are counted by, and controls act on, the first: {1}."
)
A_CLONE = (
    "this Watch is a clone, as a search over hyperparameters makes many. Fit the net itself, or "
    "give the clone a Watch() of its own."
)


# Watches whose clones were refused in this process: a search makes many.
_TOLD: set[str] = set()


class Watch(TrainerWatch, Callback):  # type: ignore[misc]
    """Callback of a net: `NeuralNet(..., callbacks=[Watch()])`.

    Every call of `fit` makes a new module, and so a new dashboard; `partial_fit` and
    `warm_start=True` go on in the same one. Clones of the net, such as those of a grid search, are
    not watched.
    """

    trainer = "skorch"
    packages = ("skorch",)
    unavailable: ClassVar[Mapping[str, str]] = {
        "optimizer": "skorch builds the optimizer: choose it by NeuralNet(optimizer=...).",
    }
    _is_clone = _measured = False
    _logged = 0

    def __sklearn_clone__(self) -> Watch:
        made = Watch(show=self._show, **self._settings)
        made._is_clone, made._origin = True, self._origin
        return made

    def _get_param_names(self) -> list[str]:
        # Parameters that a search could vary: none.
        return []

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "is_clone": self._is_clone, "origin": self._origin}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._is_clone = state.get("is_clone", False)
        self._origin = state.get("origin") or uuid.uuid4().hex

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        if self.nests():
            return
        self._logged = len(net.history)
        if self._is_clone:
            self.refuse(A_CLONE, silent=self._origin in _TOLD)
            _TOLD.add(self._origin)
            return
        names = list(net._optimizers)

        self.begin(net.module_, getattr(net, f"{names[0]}_"), loss=_loss_of(net))
        if len(names) > 1:
            text = SEVERAL_OPTIMIZERS.format(len(names), names[0])
            self.tell("One optimizer of several is watched", text)
        # Other callbacks may clip gradients, or step a schedule: they are called after this one.
        net.callbacks_ = sorted(net.callbacks_, key=lambda pair: pair[1] is not self)

    def on_epoch_begin(
        self, net: Any, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        self._log_epochs(net.history[:-1])
        self.begin_epoch(_batches(net, dataset_train))
        self.set_schedulers(_schedulers(net))

    def on_batch_begin(
        self, net: Any, batch: Any = None, training: Any = None, **kwargs: Any
    ) -> None:
        if training:
            self.begin_step()
            self.saw(batch)
            self._measured = False

    def on_grad_computed(
        self,
        net: Any,
        named_parameters: Any,
        X: Any = None,
        y: Any = None,
        training: Any = None,
        **kwargs: Any,
    ) -> None:
        # An optimizer such as LBFGS asks for gradients several times: the first ones count.
        if not self._measured:
            self._measured = True
            self.measure()

    def on_batch_end(
        self, net: Any, batch: Any = None, training: Any = None, **kwargs: Any
    ) -> None:
        if training:
            self.end_step()

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        if not self._trainings.inside:
            self._log_epochs(net.history)
            self.end()

    def _log_epochs(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log what the other callbacks wrote about epochs that are over."""
        for row in rows[self._logged :]:
            self.log(**{
                f"val_{name.removeprefix('valid_')}" if name.startswith("valid_") else name: value
                for name, value in row.items()
                if name not in NO_METRICS and not name.endswith("_best")
            })  # fmt: skip
        self._logged = len(rows)


def _loss_of(net: Any) -> Callable[[nn.Module, Any], torch.Tensor]:
    # Who searches a function for state does not find all of the net here.
    held = weakref.ref(net)

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        net = held()
        assert net is not None
        inputs, targets = unpack_data(batch)
        value: torch.Tensor = net.get_loss(net.infer(inputs), targets, X=inputs, training=True)
        return value

    return loss


def _schedulers(net: Any) -> list[Any]:
    """Schedulers of the callbacks, which make them when training begins."""
    callbacks = [callback for _, callback in net.callbacks_ if isinstance(callback, LRScheduler)]
    found = [callback.lr_scheduler_ for callback in callbacks]
    warm = (ScaledSchedule(one, "min_lr", "max_lr") for one in found if type(one) is WarmRestartLR)
    return [*(one for one in found if type(one) is not WarmRestartLR), *warm]


def _batches(net: Any, dataset: Any) -> int | None:
    """Number of batches of an epoch, None if that is unknown."""
    given = net.get_params_for("iterator_train")
    size = given.get("batch_size", net.batch_size)
    if dataset is None or net.iterator_train is not DataLoader or "batch_sampler" in given:
        return None
    try:
        samples: int = len(given.get("sampler") or dataset)
    except TypeError:
        return None
    if size == -1:
        return 1
    return samples // int(size) if given.get("drop_last") else math.ceil(samples / size)
