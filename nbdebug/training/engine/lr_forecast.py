"""Forecast of the learning rate."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from nbdebug.core.error_text import raise_interrupt
from nbdebug.core.history.history import History
from nbdebug.core.records import Array, Forecast
from nbdebug.model.schedule.forecast import forecast
from nbdebug.training.engine.session import Session

MAX_FORECAST_STEPS = 20_000
NO_STEPS = np.empty(0, np.int64)
NO_RATES = np.empty(0)


class LrForecast:
    """Up-to-date forecast in History.

    A forecast is made when a control changes and when training has passed the end of the last
    one; it reaches to the end of the run or of the schedule, at most 20,000 steps ahead. Where a
    loop of the user's own steps a scheduler there is none.
    """

    def __init__(self, session: Session, history: History) -> None:
        self._session, self._history = session, history
        self._last: Forecast | None = None
        self._ends = 0
        self._rate, self._edits = math.nan, 0

    def publish(self) -> None:
        """Publish the forecast from here on; the one before an edit stays as its ghost."""
        session, last = self._session, self._last
        ghost_step, ghost_lr = NO_STEPS, NO_RATES
        if last is not None and session.schedule.edits != self._edits:
            coming = last.step >= session.step
            ghost_step, ghost_lr = last.step[coming], last.lr[coming]
        elif last is not None:
            ghost_step, ghost_lr = last.ghost_step, last.ghost_lr
        step, lr = self._predict()
        for array in (step, lr, ghost_step, ghost_lr):
            array.setflags(write=False)
        self._last = Forecast(step, lr, ghost_step, ghost_lr)
        self._rate, self._edits = self._session.lr, session.schedule.edits
        self._history.set_result(self._last)

    def refresh(self) -> None:
        """Publish a new forecast after a step, if the last one has ended or was wrong."""
        if self._session.step >= self._ends or (
            self._session.schedule.course.waits and self._session.lr != self._rate
        ):
            self.publish()

    def restart(self) -> None:
        """Publish a new forecast without a ghost."""
        self._last = None
        self.publish()

    def _predict(self) -> tuple[NDArray[np.int64], Array]:
        session = self._session
        course = session.schedule.course
        if session.stepped_by_loop:
            # The loop decides when they are stepped.
            return NO_STEPS, NO_RATES
        ahead = max(session.schedule.fallback, (course.left or 0) + session.schedule.plan.warmup)
        steps = min(max(ahead, 2), MAX_FORECAST_STEPS)
        try:
            offsets, lr = forecast(
                course, session.optimizer, session.lr_leader, steps, session.schedule_epoch
            )
        except BaseException as error:
            raise_interrupt(error)
            # A user-defined scheduler that cannot be copied has no forecast.
            offsets, lr = NO_STEPS, NO_RATES
        self._ends = session.step + steps
        return offsets + session.step, lr
