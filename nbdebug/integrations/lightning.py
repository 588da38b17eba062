"""Watches Lightning: `Trainer(callbacks=[nbdebug.integrations.lightning.Watch()])`."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from nbdebug.errors import ArgumentError, MissingPackageError
from nbdebug.integrations.base import TrainerWatch
from nbdebug.model.factories import joint
from nbdebug.model.joint_optimizer import members_of
from nbdebug.runs.record.store_packages import installed

# One package under two names, whose objects do not mix.
PACKAGES = {"lightning.pytorch": "lightning", "pytorch_lightning": "pytorch_lightning"}
INSTALL_HINT = "This watches Lightning 2, which is not installed: pip install lightning"
TOO_OLD = "This watches Lightning 2, installed is {0} {1}: pip install --upgrade {0}"
PROCESSES = "it trains in {0} processes. Give Trainer(devices=1) to watch it."
NO_OPTIMIZER = "configure_optimizers returns no optimizer of torch."
SHARED = (
    "{0} optimizers of the module hold the same parameters. The first one is watched; the others "
    "train as always, and are not shown."
)
OWN_SCHEDULER = (
    "{0} sets the learning rate at each step, and is no scheduler of torch: change it there."
)


class Watch(TrainerWatch):
    """Callback of a Lightning Trainer that makes the dashboard when training begins.

    Pause waits before a batch. A step is an update, also with `accumulate_grad_batches` and with
    manual optimization. What the module logs is shown as series.

    Args:
        name, runs, overhead, show, **controls: see `TrainerWatch`.

    Attributes:
        dbg: the dashboard, and all that `nbdebug.watch` returns.

    Raises:
        MissingPackageError: Lightning is missing or too old.
    """

    trainer = "Lightning"
    packages = ("lightning", "pytorch_lightning")

    def __new__(cls, *_: Any, **__: Any) -> Watch:
        return super().__new__(_with_callbacks(cls, _callback_classes()))

    def __reduce__(self) -> Any:
        # The class is made again where the copy is read.
        return _new, (), self.__getstate__()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._logged: dict[str, torch.Tensor] = {}
        self._watched: tuple[torch.optim.Optimizer, ...] = ()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Make the dashboard."""
        if self.nests():
            return
        self._logged = {}
        optimizers = [one for one in trainer.optimizers if _is_torch(one)]
        if trainer.world_size > 1:
            self.refuse(PROCESSES.format(trainer.world_size))
        elif not optimizers:
            self.refuse(NO_OPTIMIZER)
        else:
            self._begin_with(trainer, pl_module, optimizers)

    def _begin_with(
        self, trainer: Any, module: nn.Module, optimizers: list[torch.optim.Optimizer]
    ) -> None:
        chosen = _joined(optimizers, module)
        found = [config.scheduler for config in trainer.lr_scheduler_configs]
        others = [type(one).__name__ for one in found if not isinstance(one, LRScheduler)]
        self.begin(
            module,
            chosen or optimizers[0],
            scaler=getattr(trainer.precision_plugin, "scaler", None),
            schedulers=self._schedulers(trainer, chosen or optimizers[0]),
            unavailable={"lr": OWN_SCHEDULER.format(others[0])} if others else None,
        )
        if chosen is None:
            self.tell("One of several optimizers is watched", SHARED.format(len(optimizers)))

    def _schedulers(
        self, trainer: Any, optimizer: torch.optim.Optimizer | None = None
    ) -> list[LRScheduler]:
        """Schedulers of the watched optimizers that the trainer steps now."""
        if optimizer is not None:
            self._watched = members_of(optimizer)
        found = (config.scheduler for config in trainer.lr_scheduler_configs)
        held = (one for one in found if isinstance(one, LRScheduler))
        return [one for one in held if one.optimizer in self._watched]

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin an epoch."""
        self._log(trainer)
        batches = trainer.num_training_batches
        known = isinstance(batches, int)
        self.begin_epoch(math.ceil(batches / trainer.accumulate_grad_batches) if known else None)

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Wait while training is paused."""
        if getattr(trainer.fit_loop, "_skip_backward", False):
            # StochasticWeightAveraging reads the data once more, for the statistics of BatchNorm.
            return
        if batch_idx == 0:
            # A callback may have set another one.
            self.set_schedulers(self._schedulers(trainer))
        self.begin_step()
        batches = trainer.num_training_batches
        progress = min((batch_idx + 1) / batches, 1.0) if isinstance(batches, int) else None
        self.saw(batch, trainer.current_epoch, progress)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show what the module logged; end the step if an update was made."""
        self._log(trainer)
        self.end_step()

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Show what the validation logged."""
        if not trainer.sanity_checking:
            self._log(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Say that training has ended."""
        self._log(trainer)
        self.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Say that training has failed."""
        self.end(exception)

    def _log(self, trainer: Any) -> None:
        """Log the values that came since the last time."""
        if self._present() is None:
            return
        values: Mapping[str, torch.Tensor] = trainer.logged_metrics
        fresh = {name: v for name, v in values.items() if not _same(v, self._logged.get(name))}
        # They are held, so that no other value comes to the same place in memory.
        self._logged.update(fresh)
        if fresh:
            # Lightning puts the module's own `log` on every callback.
            TrainerWatch.log(self, **fresh)


def _same(value: torch.Tensor, known: torch.Tensor | None) -> bool:
    return known is not None and value.data_ptr() == known.data_ptr()


def _new() -> Watch:
    return Watch.__new__(Watch)


def _is_torch(optimizer: Any) -> bool:
    """False for what Lightning puts where there is no optimizer."""
    return isinstance(optimizer, torch.optim.Optimizer) and bool(optimizer.param_groups)


def _joined(
    optimizers: list[torch.optim.Optimizer], module: nn.Module
) -> torch.optim.Optimizer | None:
    """The optimizers as one, called after what they train; None if they share parameters."""
    if len(optimizers) == 1:
        return optimizers[0]
    named: dict[str, torch.optim.Optimizer] = {}
    for place, one in enumerate(optimizers):
        name = _trained_by(one, module).replace(".", "_")
        named[str(place) if not name or name in named else name] = one
    try:
        return joint(named)
    except ArgumentError:
        return None


def _trained_by(optimizer: torch.optim.Optimizer, module: nn.Module) -> str:
    """Name of the smallest part of a module that has all parameters of an optimizer."""
    wanted = {id(p) for group in optimizer.param_groups for p in group["params"]}
    size, where = math.inf, ""
    for name, part in module.named_modules():
        held = {id(p) for p in part.parameters()}
        if wanted <= held and len(held) <= size:
            size, where = len(held), name
    return where


def _callback_classes() -> tuple[type, ...]:
    """Callback of each Lightning that was imported, or of one that is installed.

    A Trainer takes those of its own package only, and its user has imported it by now.
    """
    wanted = [name for name in PACKAGES if name in sys.modules]
    wanted = wanted or [name for name, package in PACKAGES.items() if installed(package)][:1]
    if not wanted:
        raise MissingPackageError(INSTALL_HINT)
    return tuple(_callback(importlib.import_module(name)) for name in wanted)


def _callback(package: Any) -> type:
    version = str(getattr(package, "__version__", "0"))
    if not version.partition(".")[0].isdigit() or int(version.partition(".")[0]) < 2:
        raise MissingPackageError(TOO_OLD.format(PACKAGES[package.__name__], version))
    found: type = package.Callback
    return found


def _with_callbacks(cls: type[Watch], callbacks: tuple[type, ...]) -> type[Watch]:
    inside = {
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
    }
    missing = tuple(one for one in callbacks if not issubclass(cls, one))
    return type(cls.__name__, (cls, *missing), inside)
