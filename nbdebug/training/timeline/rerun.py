"""Rerun of steps and edits that were made before."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace

import torch

from nbdebug.core.commands.running import SetControl
from nbdebug.core.contexts import contextmanager
from nbdebug.core.error_text import describe_error, raise_interrupt
from nbdebug.core.history.history import History
from nbdebug.core.records import Notice, StepRecord
from nbdebug.core.results.timeline import Difference, ReplayResult
from nbdebug.errors import NonFiniteError, NotRepeatableError, TaskStopped
from nbdebug.model.state.copying import to_host
from nbdebug.training.data.loops.sampler import LoopSampler
from nbdebug.training.engine.control_set import ControlSet
from nbdebug.training.engine.loop import Loop
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.engine.session import Session
from nbdebug.training.timeline.batchnorm_reestimation import reestimate_statistics
from nbdebug.training.timeline.checkpoint import Checkpoint
from nbdebug.training.timeline.edit_log import EditLog
from nbdebug.training.timeline.failures import leave_out_batch
from nbdebug.training.timeline.nondeterminism import find_nondeterminism
from nbdebug.training.timeline.replay_events import NO_OBSERVER, Event, ReplayObserver
from nbdebug.training.timeline.step_log import StepLog

NAN = float("nan")


class Rerun:
    """Makes steps and edits again, and compares each step with its record."""

    def __init__(self, loop: Loop, controls: ControlSet, edits: EditLog, log: StepLog) -> None:
        self._loop, self._controls = loop, controls
        self._edits, self._log = edits, log

    def run(
        self,
        base: Checkpoint,
        target: tuple[int, int],
        progress: TaskProgress,
        records: deque[StepRecord] | None = None,
        observer: ReplayObserver = NO_OBSERVER,
    ) -> ReplayResult:
        """Restore `base`, and rerun steps and events up to `target`.

        Args:
            target: a step, and the number of events before it.

        Raises:
            TaskStopped: `progress` was told to stop.
        """
        session, (step, cursor) = self._loop.session, target
        known = session.held_out.capture()
        base.restore(self._loop, self._controls, strict=True)
        events = deque(self._edits.events[base.cursor : cursor])
        observer.begin()
        difference, compared = None, 0
        while True:
            while events and events[0].step <= session.step:
                with observer.event(events[0]):
                    difference = self._redo(events.popleft()) or difference
            if session.step >= step:
                break
            progress.advance((session.step - base.step) / (step - base.step), "Rerunning steps")
            _check_not_stopped(progress)
            compared += self._log.at(session.step) is not None
            with observer.step():
                found, record = self._step()
            difference = difference or found
            if records is not None:
                records.append(record)
        session.held_out.go_on(step, known)
        if difference is not None:
            difference = replace(difference, where=find_nondeterminism(session))
        return ReplayResult(base.step, step, compared, difference)

    @contextmanager
    def rolled_back(self, keep: bool, steps: bool = True) -> Iterator[Checkpoint]:
        """Roll training back to its present state on exit; with `keep`, only after an exception.

        Args:
            steps: steps are made inside, so that data has to be read again.
        """
        loop, controls = self._loop, self._controls
        present = Checkpoint.capture(loop, controls, len(self._edits.events))
        data = self._trial_of_data() if steps else nullcontext()
        with controls.trials(), data, controls.silent():
            try:
                yield present
            except BaseException:
                self._end_trial(present, False, steps)
                raise
            self._end_trial(present, keep, steps)

    @contextmanager
    def _trial_of_data(self) -> Iterator[None]:
        session = self._loop.session
        with session.sampler.keep_everything(), session.ready.trial():
            yield

    def _end_trial(self, present: Checkpoint, keep: bool, steps: bool) -> None:
        session = self._loop.session
        if steps:
            kept = session.sampler if isinstance(session.sampler, LoopSampler) else session.ready
            kept.end_trial(keep)
        if not keep:
            present.restore(self._loop, self._controls)

    def undo_outside(self, base: Checkpoint, newest: Checkpoint, history: History) -> None:
        """Undo what a failed step left behind outside of the model, or in half an update.

        Args:
            base: the checkpoint before that step; newest: the last one, of the surroundings.
        """
        session = self._loop.session
        if session.together or self._loop.put_back:
            return
        # Variables of a loop went back with its step.
        now = session.surroundings.capture(to_host)
        moved = not now.equals(newest.surroundings, variables=False)
        counted = self._loop.counts.left and newest.surroundings.counts
        if not (moved or counted or self._loop.updating or session.ready.left):
            return
        target, part = (session.step, len(self._edits.events)), self._loop.part or self._loop.batch
        try:
            with TaskProgress("undo", history, lambda: False) as progress, self.rolled_back(True):
                found = self.run(base, target, progress)
                if found.difference is not None:
                    raise NotRepeatableError(str(found))
        except BaseException as error:
            raise_interrupt(error)
            text = f"{describe_error(error)}. What the failed step changed so far stays."
            title = f"Step {session.step} could not be undone wholly"
            history.add_notice(Notice(session.step, "warning", title, text))
        # Whoever explains the failure looks at its data.
        self._loop.part = part

    def _step(self) -> tuple[Difference | None, StepRecord]:
        """Make a step and compare it with the log."""
        number = self._loop.session.step
        recorded = self._log.at(number)
        record = self._tried_step()
        if recorded is None or _same(self._loop.last, recorded):
            return None, record
        return Difference(number, recorded, self._loop.last), record

    def _tried_step(self) -> StepRecord:
        """Make a step; where it failed before, it may fail as often again."""
        step = self._loop.session.step
        validated = step not in self._log.unvalidated
        for _ in range(self._log.failures(step)):
            before = OutsideCopy(self._loop.session)
            try:
                return self._loop.replay_step(validated)
            except NonFiniteError:
                raise
            except BaseException:
                before.restore()
        return self._loop.replay_step(validated)

    def _redo(self, event: Event) -> Difference | None:
        """Replay an event at a step boundary."""
        self._loop.session.schedule.fallback = event.fallback
        if isinstance(event.command, SetControl):
            self._controls.apply(event.command)
        elif event.unread:
            self._loop.skip_batch()
        elif event.alone:
            self._loop.batch = None
            listens = self._loop.session.schedule.course.listens
            leave_out_batch(self._loop, History(), listens)
        elif event.command is not None:
            reestimate_statistics(event.command, self._loop.session, self._controls)
        else:
            before = OutsideCopy(self._loop.session)
            try:
                self._loop.replay_step()
            except NonFiniteError:
                before.restore()
                return None
            return Difference(event.step, (NAN, NAN), self._loop.last)
        self._loop.controls_changed()
        return None


class OutsideCopy:
    """Copies of what a failed step does not undo by itself: weights, optimizer, surroundings.

    Numbers and lists of the user's functions go back by `CountsGuard`.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._weights = [(p, p.detach().clone()) for p in session.model.parameters()]
        self._optimizers = session.optimizers.capture()
        self._surroundings = session.surroundings.capture()

    def restore(self) -> None:
        """Write the copies back."""
        with torch.no_grad():
            for parameter, value in self._weights:
                parameter.copy_(value)
        for one in self._optimizers.values():
            one.restore()
        self._surroundings.restore()


def _same(now: tuple[float, float], then: tuple[float, float]) -> bool:
    """Tell if loss and gradient norm are equal; a loss that is not seen, NaN, equals itself."""
    return all(a == b or (a != a and b != b) for a, b in zip(now, then, strict=True))


def _check_not_stopped(progress: TaskProgress) -> None:
    if progress.should_stop():
        raise TaskStopped("The rerun was stopped; training is where it was.")
