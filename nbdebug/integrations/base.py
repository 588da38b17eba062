"""Base of what watches a trainer of another package."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, ClassVar

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from nbdebug.debugger.own_loop.watch import Watch, watched
from nbdebug.errors import ArgumentError
from nbdebug.runs.record.location import AUTO
from nbdebug.training.data.loops.positions import Updates
from nbdebug.training.own_loop.messages import UNAVAILABLE
from nbdebug.training.own_loop.trainer_body import TrainerBody

NOT_BEGUN = "{0} has not begun to train: the dashboard is made when it does."
NOTHING_GOES_BACK = (
    "{0} reads its batches itself and keeps counters that do not go back: nothing is rewound, "
    "forked or replayed. Everything else works."
)
FIXED = "{0} reads its batches itself: set the batch size of its loader before training."


class TrainerWatch:
    """Watches the training of a trainer, and makes the dashboard when it begins.

    A subclass is what the trainer calls back: it calls `begin` once model and optimizer are
    there, then `begin_epoch`, `begin_step`, `saw`, `end_step` and `end`. In between, backward
    passes, clipping and updates are seen by themselves. Nothing here changes a number of the
    training unless a control is set.

    Args:
        name, runs, overhead: as for `nbdebug.watch`.
        show: display the dashboard in the cell that trains.
        controls: initial values of controls, such as `clip_mode="norm"`.

    Attributes:
        trainer: name of the trainer in messages; packages: whose functions are the trainer.
        unavailable: controls that this trainer cannot take, with the reason.
    """

    trainer: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    unavailable: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        *,
        name: str | None = None,
        runs: str | PathLike[str] | None = AUTO,
        overhead: float = 0.05,
        show: bool = True,
        **controls: Any,
    ) -> None:
        self._settings = {"name": name, "runs": runs, "overhead": overhead, **controls}
        self._show = show
        self._dbg: Watch | None = None
        self._body: TrainerBody | None = None
        self._pass: Updates | None = None
        self._in_step = False

    @property
    def dbg(self) -> Watch:
        """The dashboard, and all that `nbdebug.watch` returns.

        Raises:
            ArgumentError: training has not begun.
        """
        if self._dbg is None:
            raise ArgumentError(NOT_BEGUN.format(self.trainer))
        return self._dbg

    def begin(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        scaler: torch.amp.GradScaler | None = None,
        schedulers: Sequence[LRScheduler] = (),
        loss: Callable[[nn.Module, Any], torch.Tensor] | None = None,
    ) -> None:
        """Make the dashboard, or go on with it where model and optimizer are the same.

        Args:
            schedulers: those that the trainer steps.
            loss: `loss(model, batch)`, for checks.
        """
        if self._dbg is not None and self._goes_on(model, optimizer):
            return
        self.close()
        body = TrainerBody(optimizer, self.packages)
        body.unavailable = {**UNAVAILABLE, **self.unavailable}
        body.schedulers = list(schedulers)
        self._dbg = watched(body, model, optimizer, scaler=scaler, loss=loss, **self._settings)
        self._body = body
        if self._show:
            _display(self._dbg)

    def _goes_on(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> bool:
        assert self._dbg is not None
        session = self._dbg.session
        same = session.model is model and session.optimizer is optimizer
        return same and self._dbg.state != "closed"

    def begin_epoch(self, steps: int | None) -> None:
        """Begin an epoch of a number of steps, None if that is unknown."""
        if self._body is None or self._body.closed:
            return
        self._body.cut_pass()
        back, fixed = NOTHING_GOES_BACK.format(self.trainer), FIXED.format(self.trainer)
        self._pass = Updates(steps, back, fixed)

    def begin_step(self) -> None:
        """Wait while training is paused; what follows until `end_step` is one step."""
        if self._body is None or self._body.closed:
            return
        if self._pass is not None:
            # Only now: until its first step the trainer draws random numbers on its own.
            self._body.begin_pass(self._pass)
            self._pass = None
        self._body.begin_step()
        self._in_step = True

    def saw(self, batch: Any) -> None:
        """Count the samples of a batch of this step."""
        if self._in_step and self._body is not None:
            self._body.saw(batch)

    def log(self, **values: Any) -> None:
        """Write named values of this step; see `Watch.log`."""
        if self._dbg is not None and values:
            self._dbg.log(**values)

    def end_step(self) -> None:
        """Say that the step is done."""
        if self._in_step and self._body is not None:
            self._in_step = False
            self._body.rest()

    def end(self, error: BaseException | None = None) -> None:
        """Say that training has ended, or failed."""
        self._in_step = False
        if self._dbg is not None and self._body is not None and not self._body.closed:
            self._dbg.leave(error)

    def close(self) -> None:
        """End watching; training goes on without."""
        if self._dbg is not None:
            self._dbg.close()


def _display(dbg: Watch) -> None:
    """Display the dashboard; does nothing outside of a notebook."""
    try:
        from IPython.core.getipython import get_ipython
        from IPython.display import display
    except ImportError:
        return
    if get_ipython() is not None:
        display(dbg)  # type: ignore[no-untyped-call]
