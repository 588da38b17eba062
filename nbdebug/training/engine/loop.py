"""Training loop: the order of everything that happens in one step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from nbdebug.core.contexts import contextmanager
from nbdebug.core.history.history import History
from nbdebug.core.records import Notice, StepRecord
from nbdebug.errors import LoopLeft, NbdebugError
from nbdebug.model.state.step_guard import StepGuard
from nbdebug.training.data.batch import Batch, skip_step
from nbdebug.training.data.passes.retried_reads import RetriedReads
from nbdebug.training.engine.after_update import AfterUpdate
from nbdebug.training.engine.own_update import OwnUpdate
from nbdebug.training.engine.probe_runner import ProbeRunner
from nbdebug.training.engine.probing.logged import logged_readings, note_metrics
from nbdebug.training.engine.session import Session
from nbdebug.training.engine.step_recorder import StepRecorder
from nbdebug.training.engine.stopping.breakpoints import Break, Breakpoints
from nbdebug.training.engine.stopping.counts_guard import CountsGuard
from nbdebug.training.engine.stopping.stop_report import Retries, restoring_attributes
from nbdebug.training.engine.updating.step_body import StepBody, Values

NO_OUTPUTS = (
    "A metric takes outputs and targets, which step_fn does not return: return (loss, outputs, "
    "targets), or the metrics themselves as (loss, {name: value})."
)
HOST_DRAW_STEPS, MAX_REPLAY_TRIES = 3, 10


class Loop:
    """Loop that makes one step after another and records each one.

    Args:
        control_values: returns the values of numeric controls, by name.

    Attributes:
        body: makes the update of a step.
        batch: batch of the next step, if a failed step is to be retried; part: the one of several
            that a step has come to.
        last: loss and gradient norm of the last step.
        after_update: schedule and validation after the update of a step.
        counts: puts back what the user's functions count in a step that fails.
        unread: True if the last failure was in reading a batch, which is read again.
        updating: True while the optimizer writes to the weights, and after it failed there.
        put_back: True if all that the last failed step changed was put back.
    """

    def __init__(
        self,
        session: Session,
        probes: ProbeRunner,
        history: History,
        control_values: Callable[[], dict[str, float]],
        breakpoints: Breakpoints,
    ) -> None:
        self.session = session
        self.probes, self.history, self.breakpoints = probes, history, breakpoints
        self._guard, self._retries = StepGuard(session.model), Retries(history)
        self._reads = RetriedReads()
        self._recorder = StepRecorder(session, control_values)
        self.body: StepBody = session.body or OwnUpdate()
        self.counts = CountsGuard(session)
        self.after_update = AfterUpdate(session)
        probes.reserve(self._recorder.names)
        self.last = math.nan, math.nan
        self.reset()

    def reset(self) -> None:
        """Drop the current batch and the averages of times."""
        self.batch: Batch | None = None
        self.part: Batch | None = None
        # Position of the sampler before that batch, and the settings that it was drawn with.
        self._before: Any = None
        self._drawn_with: tuple[Any, ...] = ()
        self._retries.clear()
        self._reads.clear()
        self.updating = self.unread = self.put_back = False
        self.after_update.clear()
        self._recorder.reset()
        self.probes.reset()

    def position(self) -> Any:
        """Position of the sampler for the next step: before a batch that is tried again."""
        return self.session.sampler.position() if self.batch is None else self._before

    @property
    def step_seconds(self) -> float:
        """Average seconds per step, including measurements."""
        return self._recorder.step_seconds

    @property
    def fetch_seconds(self) -> float:
        """Average seconds of a step that it waits for its batch."""
        return self._recorder.fetch_seconds

    def controls_changed(self) -> None:
        """Include the values of the controls in the next record, with all measurements."""
        self._recorder.controls_due = True
        self.probes.hasten(self.session.step)

    def step(self) -> StepRecord:
        """Make one step; an exception leaves the weights as they were before it.

        What fails after the update is in `after_update`.

        Raises:
            NonFiniteError: loss or gradient is NaN or Inf; the batch is skipped.
            Exception: whatever the user's code raised; the batch will be retried.
        """
        self.breakpoints.inspection = None
        return self._recorded_step(self.history, watched=True)

    def trial_step(self, history: History) -> StepRecord:
        """Make a step of a fork: its numbers go to another History, without breakpoints.

        Raises:
            NonFiniteError: loss or gradient is NaN or Inf; the batch is skipped.
            Exception: whatever the user's code raised.
        """
        self.finish_step(history)
        self.after_update.raise_failure()
        record = self._recorded_step(history, watched=False)
        self.after_update.raise_failure()
        return record

    def _recorded_step(self, history: History, watched: bool) -> StepRecord:
        # A loop of the user's own waits for its batch before the step begins.
        start, session = time.perf_counter() - self.body.ahead_seconds, self.session
        self.body.ahead_seconds = 0.0
        batch = self._next_batch()
        fetched = time.perf_counter() - start
        self.probes.follow(session)
        due = self.probes.begin(session.step)
        batch, values = self._guarded_update(batch, watched)
        readings, histograms = self.probes.read(session.step) if due else ([], [])
        if session.step == 0 and session.metrics.asked and session.outputs is None:
            history.add_notice(Notice(0, "info", "Metrics are not measured", NO_OUTPUTS))
        if session.logs:
            readings += logged_readings(session.logs, history)
        seconds, spent = time.perf_counter() - start, self.probes.take_seconds()
        if not due:
            self.probes.account_step(seconds - spent, spent)
        self._recorder.update_averages((seconds, spent, fetched), batch)
        with self.probes.stopwatch:
            record = self._recorder.record(batch, values, readings, histograms)
            history.append(record)
        self._advance(batch, values[0])
        self.finish_step(history)
        return record

    def finish_step(self, history: History | None = None) -> bool:
        """Try again what failed after the update of the last step; True if nothing is left."""
        validated = self.after_update.run()
        history = self.history if history is None else history
        if validated:
            # A function of the user's own names its values itself.
            note_metrics([name for one in validated.readings for name in one.names], history)
            history.append(validated)
        return not self.after_update.pending

    @contextmanager
    def trial_steps(self) -> Iterator[None]:
        """Make trial steps inside; afterwards the schedule of the probes is as before."""
        due = self._recorder.controls_due
        with self.probes.at_full_rate():
            try:
                yield
            finally:
                self._recorder.controls_due = due

    def replay_step(self, validated: bool = True) -> StepRecord:
        """Make a step that was made before, without probes and without a record in History.

        Args:
            validated: False if the validation after this step failed and was left out.

        Raises:
            NonFiniteError: loss or gradient is NaN or Inf, as before; the batch is skipped.
            Exception: whatever the user's code raised.
        """
        batch, values = self._guarded_update(self._next_batch())
        self.probes.take_seconds()
        record = self._recorder.record(batch, values, [], [])
        self._advance(batch, values[0], validated and self.session.schedule.course.listens)
        # What failed then has succeeded before the next step, or its schedule was replaced.
        for _ in range(MAX_REPLAY_TRIES):
            self.after_update.run()
        return record

    def skip_batch(self) -> Batch:
        """Leave out all batches of the next step, one of which cannot be read; without data.

        Raises:
            DataError: the data cannot be read on behind it.
        """
        self.batch = None
        self._reads.clear()
        return skip_step(self.session.sampler, self.session.batching)

    def leave_out_last(self) -> float | None:
        """Leave out the last batch of the next step.

        Returns:
            The progress of the epoch if the step had no other batch, else None.
        """
        batch = self._next_batch()
        rest = batch.without_last()
        self.batch = None if rest is None else rest.to(self.session.device)
        return batch.completed().progress if rest is None else None

    def _guarded_update(self, batch: Batch, watched: bool = False) -> tuple[Batch, Values]:
        """Update the weights; an exception leaves the model as it was.

        Returns:
            All that the step was made of, and the numbers of its update.
        """
        session, self.put_back = self.session, False
        self._guard.capture()
        armed = watched and bool(self.breakpoints)
        try:
            with (
                session.rng,
                session.recurrent,
                restoring_attributes(session.model, armed),
                self.counts.kept(armed),
                session.ready.step(batch, armed),
            ):
                values = self.body.make_update(self, batch, watched)
        except BaseException as error:
            self.probes.cancel()
            if isinstance(error, LoopLeft) and not self.body.repeats:
                # Nobody repeats this step: its loop has ended as it does without nbdebug.
                self._guard.settle()
            else:
                self._guard.restore(error, self._retries.count(session.step, error))
            if isinstance(error, Break) and self.body.read_again(self._before):
                self.batch = None
            session.drop_outputs()
            raise
        self._guard.settle()
        self._retries.clear()
        self.batch = None
        self.last = values[0], values[1]
        batch = self.body.whole(batch).completed()
        session.samples += batch.samples
        session.epoch = batch.epoch + batch.progress
        return batch, values

    def _advance(self, batch: Batch, loss: float, validate: bool = True) -> None:
        """Advance to the next step; the schedule is then due, and perhaps a validation."""
        session = self.session
        session.drop_outputs()
        session.step, session.untried = session.step + 1, False
        last = batch.progress == 1.0
        self.after_update.begin(loss, batch.samples, last, validate)

    def update_weights(self, batch: Batch) -> float:
        """Make only the update of a step, without probes, records or schedule.

        Returns:
            The loss before the update.

        Raises:
            NonFiniteError: loss or gradient is NaN or Inf; the update was not made.
        """
        session = self.session
        kept = self.batch, session.grad_norms, session.with_gradient
        try:
            with session.rng, session.recurrent, session.ready.step(batch, False):
                return self.body.make_update(self, batch, False)[0]
        finally:
            self.batch, session.grad_norms, session.with_gradient = kept
            session.drop_outputs()

    def _next_batch(self) -> Batch:
        session, settings = self.session, self.session.batching.settings
        if self.batch is not None and self._drawn_with != settings and self.body.repeats:
            # What was changed since it was drawn holds for this step already.
            session.sampler.seek(self._before)
            self.batch = None
        self.unread, self.part = False, None
        if session.step < HOST_DRAW_STEPS:
            session.rng.detect_host_draws()
        if self.batch is None:
            before = session.sampler.position()
            try:
                batch = self._reads.draw(session)
            except BaseException as error:
                # Reading is tried again, which a fault in the setup would not mend.
                session.sampler.seek(before)
                self.unread = not isinstance(error, NbdebugError)
                raise
            self._before, self._drawn_with, self.batch = before, settings, batch
        return self.batch
