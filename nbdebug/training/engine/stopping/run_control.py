"""Run state of training: running or paused, its goal, and the reason of a stop."""

from __future__ import annotations

from dataclasses import replace

from nbdebug.core.error_text import describe_error, kind_of
from nbdebug.core.history.history import History
from nbdebug.core.records import Notice, RunState, Status
from nbdebug.errors import LoopLeft
from nbdebug.training.engine.session import Session
from nbdebug.training.engine.stopping.stop_report import exception_notice

ENDED = "The training thread has ended; make a new Debugger, or resume from a checkpoint on disk."

ENDED_EARLY = (
    "The loop ended after step {:,}: this run made {} that were asked for. Run its cell again to "
    "train on from here; dbg.epochs(n) counts from the first epoch on."
)


class RunControl:
    """Run state that Run, Pause and Close change; `publish` writes it to History.

    Attributes:
        state: paused, running or closed.
        failure: why training stopped, None if it stopped on request.
        error: the exception that stopped training, None without one.
        finished: True if the last run made all its epochs, or its loop came to an end.
    """

    def __init__(self, session: Session, history: History) -> None:
        self._session, self._history = session, history
        self.state: RunState = "paused"
        self.failure: Notice | None = None
        self.error: BaseException | None = None
        self.finished = False
        self._goal: int | None = None
        self._epoch_goal: float | None = None
        # Where this run began, and the epochs that it was to make.
        self._began, self._epochs = 0, 0.0

    def start(self, steps: int | None = None, epochs: float | None = None) -> None:
        """Run for a number of steps or epochs, or until paused if both are None."""
        session = self._session
        self._goal = None if steps is None else session.step + steps
        self._epoch_goal = None if epochs is None else session.epoch + epochs
        self._began, self._epochs = session.step, epochs or 0.0
        self.state = "running"
        self.clear_failure()
        self.announce_goal()

    def pause(self) -> None:
        """Pause and drop the goal of the run."""
        self.state, self._goal, self._epoch_goal = "paused", None, None
        self.finished = False

    def pause_at_goal(self) -> None:
        """Pause because the goal of the run is reached."""
        in_epochs = self._epoch_goal is not None
        self.pause()
        self.finished = in_epochs

    def stop(
        self, failure: Notice, error: BaseException | None = None, finished: bool = False
    ) -> None:
        """Pause with a failure, or because the loop has ended."""
        self.pause()
        self.failure, self.error, self.finished = failure, error, finished

    def stop_without_loop(self, left: LoopLeft, ended: bool) -> None:
        """Pause because there is no loop; `ended` if it may have come to its end in this run."""
        step, told, finished = self._session.step, left, left.__cause__ is None
        made, wanted = step - self._began, self._goal
        if ended and finished and made > 0 and (wanted is not None or self._epoch_goal is not None):
            steps = f"{made:,} step" + "s" * (made != 1)
            if wanted is not None:
                steps = f"{made:,} of the {wanted - self._began:,} steps"
            else:
                steps += f", and not the {self._epochs:g} epochs,"
            told = LoopLeft(ENDED_EARLY.format(step - 1, steps))
        notice = Notice(step, "info", "The loop has ended", str(told))
        self.stop(notice, told, finished)

    def clear_failure(self) -> None:
        """Clear failure and error."""
        self.failure = self.error = None
        self.finished = False

    def close(self) -> None:
        """Close training."""
        self.state = "closed"
        self.release()

    def fail(self, error: BaseException) -> None:
        """Close training because its thread failed."""
        failure = exception_notice(error, self._session.step)
        title = f"Training ended at step {self._session.step}: {kind_of(error)}"
        self.failure = replace(failure, title=title, text=f"{describe_error(error)}. {ENDED}")
        self.state, self.error = "closed", error

    def release(self) -> None:
        """Drop the exception, which would keep its frames alive, and with them the data."""
        self.error = None

    @property
    def goal_reached(self) -> bool:
        """Tell if the goal of the run is reached."""
        session = self._session
        if self._goal is not None and session.step >= self._goal:
            return True
        return self._epoch_goal is not None and session.epoch >= self._epoch_goal

    def announce_goal(self) -> None:
        """Set the length of schedules that begin now to the rest of the run."""
        session = self._session
        if self._goal is not None:
            session.set_schedule_length(max(self._goal - session.step, 0))
        elif self._epoch_goal is not None:
            session.set_schedule_length(None, max(self._epoch_goal - session.epoch, 0.0))
        else:
            session.set_schedule_length(None)

    def publish(self) -> None:
        """Write the status to History."""
        session = self._session
        self._history.set_status(
            Status(
                state=self.state,
                step=session.step,
                samples=session.samples,
                epoch=session.epoch,
                goal=self._goal,
                failure=self.failure,
                finished=self.finished,
            )
        )
