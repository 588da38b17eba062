"""Watches an engine of PyTorch-Ignite that trains a model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler as TorchScheduler

from nbdebug.errors import ArgumentError
from nbdebug.integrations.base import TrainerWatch
from nbdebug.integrations.missing import missing_package
from nbdebug.integrations.scaled import ScaledSchedule
from nbdebug.runs.record.location import AUTO
from nbdebug.training.engine.setup import OVERHEAD
from nbdebug.training.own_loop.loop_body import MAX_BATCHES

try:
    from ignite.engine import Engine, Events
    from ignite.handlers.param_scheduler import (
        ConcatScheduler,
        CyclicalScheduler,
        LRScheduler,
        ParamGroupScheduler,
        PiecewiseLinear,
    )
except ImportError as error:
    raise missing_package("Ignite", "'pytorch-ignite>=0.5'", error) from error

NO_ENGINE = "attach() takes the Engine that trains; got a {0}."
ATTACHED = "This Watch watches another engine already: make a Watch() for each."
NO_PROCESS_FUNCTION = (
    "this version of Ignite has no Engine._process_function, by which steps are seen. Install "
    "pytorch-ignite 0.5."
)
NO_UPDATE = (
    "{0:,} iterations went by without an update of the optimizer that it was given: is it another "
    "one?"
)


class Watch(TrainerWatch):
    """Watches an engine: `Watch(model, optimizer).attach(trainer)`.

    Args:
        model: the module that the engine trains; optimizer: whose `step` makes an update.
        scaler: the engine's GradScaler; norms are of unscaled gradients.
        schedulers: torch's own that your handlers step; those of Ignite are found.
        loss: `loss(model, batch)`, for checks.
        name, runs, overhead, show, **controls: as for every watch of a trainer.
    """

    trainer = "Ignite"
    packages = ("ignite",)

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        scaler: torch.amp.GradScaler | None = None,
        schedulers: Sequence[TorchScheduler] = (),
        loss: Callable[[nn.Module, Any], torch.Tensor] | None = None,
        name: str | None = None,
        runs: str | PathLike[str] | None = AUTO,
        overhead: float = OVERHEAD,
        show: bool = True,
        **controls: Any,
    ) -> None:
        super().__init__(name=name, runs=runs, overhead=overhead, show=show, **controls)
        self._given: Any = model, optimizer, scaler, list(schedulers), loss

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._given = None
        self._engine: Engine | None = None
        self._batches = 0

    def attach(self, engine: Engine) -> None:
        """Watch an engine, from its next `run` on.

        Raises:
            ArgumentError: it is no engine, or another one is watched already.
        """
        if not isinstance(engine, Engine):
            raise ArgumentError(NO_ENGINE.format(type(engine).__name__))
        if self._engine is engine:
            return
        if self._engine is not None:
            raise ArgumentError(ATTACHED)
        self._engine = engine
        if not hasattr(engine, "_process_function"):
            self.refuse(NO_PROCESS_FUNCTION)
            return
        # Around the function itself, so that handlers of an iteration, such as schedulers and
        # validation, are outside of its step in any order of attaching.
        engine._process_function = self._watched(engine._process_function)
        engine.add_event_handler(Events.STARTED, self._started)
        engine.add_event_handler(Events.EPOCH_STARTED, self._epoch_started)
        for event in (Events.COMPLETED, Events.TERMINATE, Events.INTERRUPT):
            engine.add_event_handler(event, self._ended)

    def attach_metrics(self, evaluator: Engine, prefix: str = "val_") -> None:
        """Plot the metrics of an evaluator, each time that it has run; called once."""
        evaluator.add_event_handler(Events.COMPLETED, self._log_metrics, prefix)

    def _watched(self, process: Callable[..., Any]) -> Callable[..., Any]:
        def step(engine: Engine, batch: Any) -> Any:
            # An engine that was interrupted may go on in another thread.
            self._thread = threading.get_ident()
            self.begin_step()
            self._saw(engine, batch)
            try:
                found = process(engine, batch)
            except BaseException as error:
                self.end(error)
                raise
            self.end_step()
            return found

        return step

    def _saw(self, engine: Engine, batch: Any) -> None:
        state = engine.state
        length = state.epoch_length
        progress = None if not length else ((state.iteration - 1) % length + 1) / length
        self.saw(batch, state.epoch - 1, progress)
        self._batches += 1
        unseen = self._dbg is not None and self._dbg.history.status.step == 0
        if self._batches > MAX_BATCHES and unseen:
            self.refuse(NO_UPDATE.format(self._batches - 1))

    def _started(self, engine: Engine) -> None:
        if self.nests():
            return
        model, optimizer, scaler, schedulers, loss = self._given
        self._batches = 0
        schedulers = [*schedulers, *_schedulers(engine, optimizer)]
        self.begin(model, optimizer, scaler=scaler, schedulers=schedulers, loss=loss)

    def _epoch_started(self, engine: Engine) -> None:
        # Handlers of the end of an epoch may have been called after ours.
        self._log_metrics(engine)
        self.begin_epoch(engine.state.epoch_length)

    def _ended(self, engine: Engine) -> None:
        self._log_metrics(engine)
        self.end()

    def _log_metrics(self, engine: Engine, prefix: str = "") -> None:
        self.log(**{f"{prefix}{name}": value for name, value in engine.state.metrics.items()})


def _schedulers(engine: Engine, optimizer: torch.optim.Optimizer) -> Iterator[Any]:
    """Schedulers of this optimizer among the handlers of an engine."""
    for handlers in engine._event_handlers.values():
        for handler, _, _ in handlers:
            yield from _inside(handler, optimizer)


def _inside(handler: Any, optimizer: torch.optim.Optimizer) -> Iterator[Any]:
    if isinstance(handler, ConcatScheduler | ParamGroupScheduler):
        for one in handler.schedulers:
            yield from _inside(one, optimizer)
        return
    if (filtered := getattr(handler, "_parent", None)) is not None:
        # A handler of some of the events only.
        yield from _inside(filtered(), optimizer)
        return
    of_lr = getattr(handler, "param_name", "") == "lr"
    if not of_lr or getattr(handler, "optimizer", None) is not optimizer:
        return
    if isinstance(handler, LRScheduler):
        yield getattr(handler.lr_scheduler, "_lr_scheduler", handler.lr_scheduler)
    elif isinstance(handler, CyclicalScheduler):
        yield ScaledSchedule(handler, "start_value", "end_value")
    elif isinstance(handler, PiecewiseLinear):
        yield ScaledSchedule(handler, "values")
