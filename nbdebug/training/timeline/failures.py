"""Failures of the user's code around a step: what is tried again, and what is left out."""

from __future__ import annotations

from nbdebug.core.error_text import describe_error, message_of
from nbdebug.core.history.history import History
from nbdebug.core.records import Notice
from nbdebug.errors import DataError
from nbdebug.training.data.batch import Batch
from nbdebug.training.engine.loop import Loop
from nbdebug.training.timeline.edit_log import EditLog
from nbdebug.training.timeline.replay_events import Event
from nbdebug.training.timeline.step_log import StepLog

MAX_TRIES = 4
MAX_NAMED_SAMPLES = 10


class Failures:
    """Decides how training goes on after a failure in data, schedule or validation.

    The first failure always stops training, and the next Run tries again. A batch is then read
    up to three times and left out if that fails; a validation is tried once. Replays leave out
    the same.
    """

    def __init__(self, loop: Loop, edits: EditLog, log: StepLog, history: History) -> None:
        self._loop, self._edits, self._log, self._history = loop, edits, log, history
        self._place, self._tries = (-1, -1), 0
        self._told_alone = False

    def unread_batch(self, error: BaseException) -> bool:
        """Count a failure to read a batch; True if training goes on, False if it stops."""
        place = self._loop.session.step, len(self._edits.events)
        self._tries = self._tries + 1 if place == self._place else 1
        self._place = place
        if self._tries == 1:
            return False
        return self._tries < MAX_TRIES or self._left_out(error)

    def lone_batch(self, error: BaseException, batch: Batch | None) -> bool:
        """Leave out the last batch of an epoch if BatchNorm cannot take its one sample.

        Args:
            batch: of the step that failed.

        Returns:
            True if training goes on.
        """
        session = self._loop.session
        again = any(e.alone for e in self._edits.events[-1:] if e.step == session.step)
        if batch is None or not is_alone(self._loop, error, batch) or (again and not batch.parts):
            return False
        if not again:
            event = Event(session.step, None, session.schedule.fallback, alone=True)
            self._edits.events.append(event)
        # Of several batches the others are drawn again with it where a fork came in between.
        leave_out_batch(self._loop, self._history)
        if not self._told_alone:
            self._told_alone = True
            self._tell(
                "A batch of one sample was left out",
                "The last batch of the epoch holds a single sample, of which BatchNorm cannot "
                "compute statistics. Such batches are left out, as with drop_last=True; another "
                f"batch size than {session.batching.size} may leave none.",
            )
        return True

    def clear(self) -> None:
        """Forget failed reads, after a step that was made."""
        self._tries = 0

    def _left_out(self, error: BaseException) -> bool:
        session = self._loop.session
        try:
            left = self._loop.skip_batch()
        except DataError:
            return False
        indices = [] if left.indices is None else left.indices.tolist()
        event = Event(session.step, None, session.schedule.fallback, unread=True)
        self._edits.events.append(event)
        tries, self._tries = self._tries, 0
        named = ", ".join(map(str, indices[:MAX_NAMED_SAMPLES]))
        more = ", ..." if len(indices) > MAX_NAMED_SAMPLES else ""
        self._tell(
            "A batch was left out",
            f"{_these(left)}index in the data: {named}{more}) could not be read, {tries} "
            f"times in a row: {describe_error(error)} Training goes on with the next "
            "batch; a replay leaves this one out too.",
        )
        return True

    def finish_step(self) -> None:
        """Try again what failed after the update of the last step.

        Raises:
            Exception: the schedule failed again.
        """
        after_update = self._loop.after_update
        if self._loop.finish_step() or after_update.failure is None:
            return
        part, error = after_update.failure
        if part == "schedule":
            raise error
        step = self._loop.session.step - 1
        after_update.drop(part)
        self._log.unvalidated.add(step)
        self._tell(
            f"The validation after step {step} is missing",
            f"It failed again: {describe_error(error)} Training goes on without it.",
        )

    def _tell(self, title: str, text: str) -> None:
        self._history.add_notice(Notice(self._loop.session.step, "warning", title, text))


def _these(left: Batch) -> str:
    """Begin a sentence about samples that were left out."""
    if not left.parts:
        return "Its samples ("
    return f"One of the {len(left.parts)} batches of a step, which were all left out (samples with "


def is_alone(loop: Loop, error: BaseException, batch: Batch | None) -> bool:
    """Tell if a step failed since its batch is what an epoch left over: one sample.

    Args:
        batch: of the step.
    """
    return (
        isinstance(error, ValueError)
        and "more than 1 value per channel" in message_of(error)
        and batch is not None
        and batch.each[-1].samples == 1 < loop.session.batching.size
        and not loop.session.batching.fixed
    )


def leave_out_batch(loop: Loop, history: History, validate: bool = True) -> None:
    """Leave out the last batch of the step that failed, or else of the next one.

    Args:
        validate: False to leave out the validation at the end of an epoch.
    """
    if loop.leave_out_last() == 1.0:
        loop.after_update.end_epoch(validate)
        loop.finish_step(history)
