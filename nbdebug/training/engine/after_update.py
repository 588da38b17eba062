"""Schedule and validation, which follow the update of a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from nbdebug.core.contexts import contextmanager
from nbdebug.core.records import Reading, StepRecord
from nbdebug.model.schedule.builders import all_schedulers, set_option
from nbdebug.training.engine.session import Session

NOTHING = nullcontext()
Part = Literal["schedule", "validation"]


class LateFailure(NamedTuple):
    """Part that failed after the update of a step, and its exception."""

    part: Part
    error: BaseException

    @property
    def remedy(self) -> str:
        if self.part == "schedule":
            return "Run tries the schedule again; dbg.set(schedule='constant') ends it."
        return "The step counts. Run tries the validation once more, then goes on without it."


class AfterUpdate:
    """Runs schedule and validation after the update of a step.

    The step counts whatever fails here; a part that failed is tried again before the next step.

    Attributes:
        pending: parts of the last step that are still to be run.
        failure: the last failure, None if nothing failed.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.clear()

    def clear(self) -> None:
        """Forget what is pending."""
        self.pending: tuple[Part, ...] = ()
        self.failure: LateFailure | None = None
        self._seen: tuple[float, int, bool] | None = None
        self._last = False
        self._schedulers: tuple[Any, ...] = ()

    def begin(self, loss: float, samples: int, last: bool, validate: bool) -> None:
        """Set what is to be run for a step.

        Args:
            loss: of the step; samples: in its batch; last: True for the last batch of an epoch.
            validate: False if a validation that is due is left out.
        """
        session, validation = self._session, self._session.validation
        due = validate and validation is not None and validation.due(session.step, last)
        self.pending = ("schedule", "validation") if due else ("schedule",)
        self._seen = (loss, samples, last) if validation is None else None
        self._last = last
        self._schedulers = session.schedule.schedulers

    def end_epoch(self, validate: bool = True) -> None:
        """Set what is to be run since the last batch of an epoch was left out."""
        session, validation = self._session, self._session.validation
        if not self._last and session.schedule.counts_epochs:
            session.schedule.step()
        if validation is None:
            session.schedule.saw(0.0, 0, True)
            return
        # A validation that does not wait for the end of an epoch has been done.
        waits = validation.due(session.step, True) and not validation.due(session.step, False)
        if validate and waits and "validation" not in self.pending:
            self.pending += ("validation",)

    def run(self) -> StepRecord | None:
        """Run what is pending, up to the first failure; return the record of a validation."""
        self.failure, record = None, None
        while self.pending:
            part = self.pending[0]
            try:
                if part == "schedule":
                    self._step_schedule()
                else:
                    record = self._validate()
            except BaseException as error:
                # Raised by the training thread, after the step is logged.
                self.failure = LateFailure(part, error)
                break
            self.pending = self.pending[1:]
        return record

    def drop(self, part: Part) -> None:
        """Leave out a part that is pending."""
        self.pending = tuple(one for one in self.pending if one != part)
        self.failure = None

    def raise_failure(self) -> None:
        """Raise the exception of the last failure, if there is one."""
        if self.failure is not None:
            raise self.failure.error

    def capture(self) -> tuple[Any, ...]:
        """Copy of what is pending, for `restore`."""
        return self.pending, self._seen, self._last, self._schedulers

    def restore(self, saved: tuple[Any, ...]) -> None:
        """Set what is pending, from a copy."""
        self.clear()
        if saved:
            self.pending, self._seen, self._last, self._schedulers = saved

    def _step_schedule(self) -> None:
        schedule = self._session.schedule
        if schedule.schedulers != self._schedulers:
            # The user chose another schedule, which begins here.
            return
        with _undone_on_error(schedule.schedulers):
            schedule.step(self._last)
            if self._seen is not None:
                schedule.saw(*self._seen)

    def _validate(self) -> StepRecord:
        session = self._session
        assert session.validation is not None  # otherwise it would not be pending
        values = session.validation.evaluate(session)
        session.held_out.validated(session.step)
        with _undone_on_error(session.schedule.schedulers):
            session.schedule.measured(values["val_loss"])
        readings = tuple(Reading((name,), np.array([value])) for name, value in values.items())
        return StepRecord(session.step - 1, readings)


def _undone_on_error(schedulers: tuple[Any, ...]) -> AbstractContextManager[None]:
    """Restore schedulers and learning rates if a step of them raises half-way."""
    return _restoring(schedulers) if schedulers else NOTHING


@contextmanager
def _restoring(schedulers: tuple[Any, ...]) -> Iterator[None]:
    found = list(all_schedulers(schedulers))
    kept = [(one, {name: _copied(value) for name, value in vars(one).items()}) for one in found]
    groups = [
        (group, {name: _copied(value) for name, value in group.items() if name != "params"})
        for one in found[:1]
        for group in one.optimizer.param_groups
    ]
    try:
        yield
    except BaseException:
        for one, values in kept:
            vars(one).update(values)
        for group, values in groups:
            for name, value in values.items():
                set_option(group, name, value)
        raise


def _copied(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone()
    return value.copy() if type(value) in (list, dict) else value
