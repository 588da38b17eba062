"""Base of what watches a trainer of another package."""

from __future__ import annotations

import re
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from os import PathLike
from typing import Any, ClassVar

import torch
from torch import nn

from nbdebug.controls.base import Control
from nbdebug.core.error_text import describe_error
from nbdebug.core.plugins import instances
from nbdebug.core.records import Notice
from nbdebug.debugger.own_loop.cell_magic import cell_runs, offer_magic
from nbdebug.debugger.own_loop.watch import Watch, watched
from nbdebug.errors import ArgumentError, NbdebugError
from nbdebug.integrations.environment import goes_on, processes, show
from nbdebug.integrations.nesting import Trainings
from nbdebug.model.state.wrapped_optimizer import bare_optimizer
from nbdebug.runs.record.location import AUTO
from nbdebug.training.data.loops.positions import Updates
from nbdebug.training.engine.control_set import check_keywords
from nbdebug.training.engine.setup import OVERHEAD
from nbdebug.training.own_loop import messages as say
from nbdebug.training.own_loop.meeting.loop_thread import PassOver
from nbdebug.training.own_loop.trainer_body import TrainerBody

NOT_BEGUN = "{0} has not begun to train: the dashboard is made when it does."
MAX_WAIT_SECONDS = 60.0
NO_PART_OF_A_NAME = re.compile(r"[^\w/.@ -]+")


class TrainerWatch:
    """Watches the training of a trainer, and makes the dashboard when it begins.

    A subclass is what the trainer calls back: it calls `begin` once model and optimizer are
    there, then `begin_epoch`, `begin_step`, `saw`, `end_step` and `end`. In between, backward
    passes, clipping and updates are seen by themselves. Nothing here changes a number of the
    training unless a control is set, and nothing here ends it: what cannot be watched trains on
    without.

    A trainer copies or saves what it calls back: a copy has the settings, and watches nothing yet.

    Args:
        name, runs, overhead: as for `nbdebug.watch`.
        show: display the dashboard in the cell that trains.
        controls: initial values of controls, such as `clip_mode="norm"`.

    Attributes:
        trainer: name of the trainer in messages; packages: whose functions are the trainer.
        unavailable: controls that this trainer cannot take, with the reason.

    Raises:
        ArgumentError: a keyword is misspelt.
    """

    trainer: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    unavailable: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        *,
        name: str | None = None,
        runs: str | PathLike[str] | None = AUTO,
        overhead: float = OVERHEAD,
        show: bool = True,
        **controls: Any,
    ) -> None:
        known = instances("nbdebug.controls", Control, lambda *_: None)
        check_keywords(controls, known, ("name", "runs", "overhead", "show"))
        settings = {"name": name, "runs": runs, "overhead": overhead, **controls}
        self.__setstate__({"settings": settings, "show": show})
        # The cell that trains begins with %%nbd, before there is a dashboard.
        offer_magic()

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self._settings, "show": self._show}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._settings, self._show = dict(state["settings"]), state["show"]
        self._dbg: Watch | None = None
        self._body: TrainerBody | None = None
        self._pass: Updates | None = None
        self._in_step, self._refused = False, ""
        self._thread: int | None = None
        self._trainings = Trainings(self.packages)

    @property
    def dbg(self) -> Watch:
        """The dashboard, and all that `nbdebug.watch` returns.

        Right after a cell with `%%nbd` it waits until training has begun there.

        Raises:
            ArgumentError: training has not begun, or is not watched; the message says why.
        """
        end = time.monotonic() + MAX_WAIT_SECONDS
        while not (self._refused or (self._dbg is not None and self._dbg.has_started)) and (
            cell_runs() and time.monotonic() < end
        ):
            time.sleep(0.02)
        if self._dbg is None:
            raise ArgumentError(self._refused or NOT_BEGUN.format(self.trainer))
        return self._dbg

    def begin(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        scaler: torch.amp.GradScaler | None = None,
        schedulers: Sequence[Any] = (),
        loss: Callable[[nn.Module, Any], torch.Tensor] | None = None,
        unavailable: Mapping[str, str] | None = None,
    ) -> None:
        """Make the dashboard, or go on with it where model and optimizer are the same.

        Args:
            schedulers: those that the trainer steps, scaled with the lr; loss: for checks.
            unavailable: more controls that cannot be taken, with the reason.
        """
        if self.nests():
            return
        self._thread = threading.get_ident()
        self._in_step, self._pass, self._refused = False, None, ""
        if processes() > 1:
            self.refuse(say.SEVERAL_PROCESSES)
            return
        if self._dbg is None or not goes_on(self._dbg, model, optimizer):
            self.close()
            body = TrainerBody(bare_optimizer(optimizer), self.packages)
            body.unavailable = {**say.UNAVAILABLE, **self.unavailable, **(unavailable or {})}
            body.schedulers = list(schedulers)
            self._make(body, model, optimizer, scaler=scaler, loss=loss)
        elif self._body is not None:
            self._body.leave()
            self._body.schedulers = list(schedulers)
        if self._body is not None:
            self._trainings.begin()

    def _make(self, body: TrainerBody, model: nn.Module, given: Any, **arguments: Any) -> None:
        bare = bare_optimizer(given)
        try:
            made = watched(body, model, bare, [given], **arguments, **self._settings)
        except Exception as error:
            self.refuse(str(error) if isinstance(error, NbdebugError) else describe_error(error))
            return
        self._dbg, self._body = made, body
        if self._show:
            show(made)

    def nests(self, silent: bool = False) -> bool:
        """Tell if a training begins inside of the watched one, which is then left alone."""
        if not (self._body is not None and self._body.runs and self._trainings.begins_inside()):
            return False
        if not (silent or self._trainings.told):
            self._trainings.told = True
            warnings.warn(say.NESTED_TRAINING.format(self.trainer), stacklevel=2)
        return True

    def set_schedulers(self, schedulers: Sequence[Any]) -> None:
        """Take the schedulers that the trainer made after `begin`."""
        body = self._present()
        if body is not None:
            body.schedulers = list(schedulers)

    def set_batches_per_step(self, count: int) -> None:
        """Say that the trainer divides the gradients of a step by its number of batches."""
        body = self._present()
        if body is not None:
            body.updates.divided_by = count

    def refuse(self, reason: str, silent: bool = False) -> None:
        """Let this training go on without nbdebug, and warn why unless `silent`."""
        self.close()
        self._dbg = self._body = None
        self._refused = say.UNWATCHED.format(self.trainer, reason)
        if not silent:
            warnings.warn(self._refused, stacklevel=2)

    def tell(self, title: str, text: str) -> None:
        """Show a warning in the dashboard."""
        if self._dbg is not None:
            history = self._dbg.history
            history.add_notice(Notice(history.status.step, "warning", title, text))

    def _present(self) -> TrainerBody | None:
        """The body of the training that calls back; None if it is not watched, or not any more."""
        body = self._body
        here = threading.get_ident() == self._thread and not self._trainings.inside
        return body if here and body is not None and not body.closed else None

    @property
    def watches(self) -> bool:
        """True if the training that calls back is watched."""
        return self._present() is not None

    def begin_epoch(self, steps: int | None) -> None:
        """Begin an epoch of a number of steps, None if that is unknown."""
        body = self._present()
        if body is None:
            return
        self._trainings.step()
        body.cut_pass()
        self._in_step = False
        back, fixed = say.NOTHING_GOES_BACK.format(self.trainer), say.FIXED.format(self.trainer)
        self._pass = Updates(steps, back, fixed)

    def begin_step(self) -> None:
        """Wait while training is paused; what follows until the next update is one step.

        Called before each batch: in a step that has no update yet it does nothing.
        """
        body = self._present()
        if body is None or self._in_step:
            return
        self._trainings.step()
        if self._pass is None and not body.runs:
            # A pass whose beginning was not told, as after a restart in the middle of an epoch.
            self.begin_epoch(None)
        try:
            if self._pass is not None:
                # Only now: until its first step the trainer draws random numbers on its own.
                body.begin_pass(self._pass)
                self._pass = None
            body.begin_step()
        except (PassOver, NbdebugError):
            return  # It was closed while it waited, or another training is watched by it.
        self._in_step = True

    def saw(self, batch: Any, epoch: int | None = None, progress: float | None = None) -> None:
        """Count the samples of a batch of this step.

        Args:
            epoch: number of epochs before this one; progress: completed share of this one after
                the batch. Both are counted by the steps where they are not given.
        """
        body = self._present()
        if self._in_step and body is not None:
            body.saw(batch, epoch, progress)

    def measure(self) -> None:
        """Measure the gradients now: the trainer clips them next, in a way that is not seen."""
        body = self._present()
        if self._in_step and body is not None:
            body.measure()

    def log(self, **values: Any) -> None:
        """Write named values of this step that the trainer logs.

        What nbdebug measures itself, and what is no number, is left out.
        """
        dbg = self._dbg
        if dbg is None or self._present() is None:
            return
        named = {NO_PART_OF_A_NAME.sub("_", name): value for name, value in values.items()}
        named.pop("loss", None)  # Trainers average or filter theirs.
        try:
            dbg.log(**named)
        except ArgumentError:
            for name, value in named.items():
                with suppress(NbdebugError):
                    dbg.log(**{name: value})
        except NbdebugError:
            return  # It was closed meanwhile.

    def end_step(self) -> None:
        """Say that a batch is done; its step is, if an update was made or left out."""
        body = self._present()
        if self._in_step and body is not None and (body.updates.updated or body.updates.skipped):
            self._in_step = False
            body.rest()

    def end(self, error: BaseException | None = None) -> None:
        """Say that training has ended, or failed."""
        if self._trainings.inside:
            return
        self._trainings.forget()
        self._in_step, self._pass = False, None
        if self._dbg is not None and self._present() is not None:
            self._dbg.leave(error)

    def close(self) -> None:
        """End watching; training goes on without."""
        self._trainings.forget()
        if self._dbg is not None:
            self._dbg.close()
