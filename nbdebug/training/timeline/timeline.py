"""Timeline of a training: checkpoints, edits between them, rewind and replay."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from nbdebug.core.commands.running import ReestimateBatchNorm, SetControl
from nbdebug.core.history.history import History
from nbdebug.core.records import StepRecord
from nbdebug.core.results.timeline import Difference, Mark, MarkKind, ReplayResult, TimelineMarks
from nbdebug.errors import CheckpointError, NonFiniteError, TaskStopped
from nbdebug.training.engine.batchnorm_reestimation import reestimate_statistics
from nbdebug.training.engine.control_set import ControlSet
from nbdebug.training.engine.loop import Loop
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.engine.state_guard import bitwise_equal
from nbdebug.training.timeline.checkpoint import Checkpoint
from nbdebug.training.timeline.checkpoint_file import CheckpointFile
from nbdebug.training.timeline.checkpoint_pool import CheckpointPool, default_budget
from nbdebug.training.timeline.edit_log import EditLog
from nbdebug.training.timeline.nondeterminism import find_nondeterminism
from nbdebug.training.timeline.replay_events import NO_OBSERVER, Event, ReplayObserver
from nbdebug.training.timeline.serialization import restore_plain, to_plain
from nbdebug.training.timeline.step_log import StepLog

MAX_TIME_SHARE, FLIGHT_RECORD_STEPS = 0.004, 5
NAN = float("nan")
# A step, and the number of events before it.
Target = tuple[int, int]


class Timeline:
    """Checkpoints of a running training, and rewind to any step.

    Checkpoints cost at most 0.4 % of the training time. A rewind restores the nearest earlier one
    and reruns the steps from there, edits included; each step is compared with its record.

    Args:
        budget: bytes for checkpoints; None for 10 % of free memory, at most 2 GiB.
    """

    def __init__(
        self,
        loop: Loop,
        controls: ControlSet,
        history: History,
        budget: int | None = None,
        path: Path | None = None,
    ) -> None:
        self._loop, self._controls, self._history = loop, controls, history
        self._budget = default_budget() if budget is None else budget
        self.edits = EditLog()
        self._log = StepLog()
        self._pool = CheckpointPool(Checkpoint.capture(loop, controls), self._budget)
        self._file = CheckpointFile(path, history)
        # Seconds of training without pauses, those of the next checkpoint, start of the step.
        self._trained = self._next = self._began = 0.0
        self.publish_marks()
        if self._pool.too_small:
            history.add_notice(self._pool.too_small_notice())

    # While training runs

    def before_step(self) -> None:
        """Take a checkpoint if one is due."""
        if self._trained >= self._next:
            self.take_checkpoint()
            if self._file.due:
                self._write_to_disk()
        self._began = time.perf_counter()

    def after_step(self) -> None:
        """Log loss and gradient norm of the step."""
        self._log.add(self._loop.session.step - 1, self._loop.last)
        self._trained += time.perf_counter() - self._began

    def record_event(self, command: SetControl | ReestimateBatchNorm | None) -> None:
        """Record an edit at this step; None for an excluded batch with NaN or Inf."""
        session = self._loop.session
        self.edits.events.append(Event(session.step, command, session.schedule.fallback))

    def name_checkpoint(self, name: str) -> None:
        """Take a checkpoint and name it."""
        self.take_checkpoint()
        self.edits.name(name, self._loop.session.step)
        self.publish_marks()

    def mark(self, kind: MarkKind, name: str = "") -> None:
        """Add a mark at the current step."""
        self.edits.mark(self._loop.session.step, kind, name)
        self.publish_marks()

    def close(self) -> None:
        """Write the last checkpoint to disk, if training has a name."""
        if self._file.path is not None and self._loop.session.step > self._pool.checkpoints[0].step:
            self._write_to_disk()
        self._file.close()

    def resume(self, data: Mapping[str, Any]) -> None:
        """Continue from a checkpoint on disk, where the timeline then begins.

        Raises:
            CheckpointError, ModelError, DataError: the checkpoint is of another training.
        """
        session = self._loop.session
        if data.get("length") != session.source.length:
            raise CheckpointError(
                f"The data had {data.get('length')} samples, now it has {session.source.length}."
            )
        restore_plain(data, self._loop, self._controls)
        self._pool = CheckpointPool(Checkpoint.capture(self._loop, self._controls), self._budget)
        self.publish_marks()

    def save(self) -> str:
        """Write the current state to disk now, and return the path; see `CheckpointFile.write`."""
        return str(self._file.write(self._serialized()))

    def _write_to_disk(self) -> None:
        try:
            self._file.put(self._serialized())
        except Exception as error:
            self._file.report_failure(error, self._loop.session.step)

    def _serialized(self) -> dict[str, Any]:
        session, events = self._loop.session, len(self.edits.events)
        newest = self._pool.checkpoints[-1]
        if (newest.step, newest.cursor) != (session.step, events):
            newest = Checkpoint.capture(self._loop, self._controls, events)
        return to_plain(newest, session)

    def take_checkpoint(self) -> None:
        """Take a checkpoint, if there is room and none of this step yet."""
        # One per step, from before its first event, since later steps depend on all events.
        step = self._loop.session.step
        late = self.edits.has_event_at(step) or self._pool.checkpoints[-1].step >= step
        if late or self._pool.too_small:
            return
        start = time.perf_counter()
        self._loop.session.rng.detect_host_draws()
        self._pool.add(Checkpoint.capture(self._loop, self._controls, len(self.edits.events)))
        self.publish_marks()
        self._next = self._trained + (time.perf_counter() - start) / MAX_TIME_SHARE

    # Rewind and replay

    def reset(self) -> None:
        """Restart from the beginning and drop all events and checkpoints."""
        first = self._pool.checkpoints[0]
        first.restore(self._loop, self._controls, restart_data=True)
        self.edits.clear()
        self._log = StepLog()
        self._loop.breakpoints.reset_counts()
        self._pool.drop_after(first.step)
        self.publish_marks()

    def resolve(self, target: int | str) -> Target:
        """Resolve a step or a name to a step and the number of events before it.

        Raises:
            ArgumentError: the target is unknown or out of range.
        """
        return self.edits.resolve(target, self._pool.checkpoints[0].step, self._loop.session.step)

    def rewind(self, target: Target, progress: TaskProgress, who: str, why: str) -> ReplayResult:
        """Rewind to `target`; later steps become an abandoned branch in History.

        Raises:
            TaskStopped, DataError, ModelError: training is where it was.
        """
        step, cursor = target
        here = self._loop.session.step
        records: deque[StepRecord] = deque(maxlen=self._history.stride)
        with self.rolled_back(keep=True):
            found = self._rerun_to(step, cursor, progress, records)
        self.edits.truncate(target)
        self._pool.drop_after(step)
        self._log.drop_from(step)
        self._loop.breakpoints.reset_counts()
        self._history.rewind(step, here, tuple(records))
        self._controls.write_rewind(here, str(found), who, why)
        self.publish_marks()
        return found

    def capture_at(self, target: Target, progress: TaskProgress) -> Checkpoint:
        """Go to `target` inside `rolled_back` and return a checkpoint of it."""
        step, cursor = target
        self._rerun_to(step, cursor, progress)
        return Checkpoint.capture(self._loop, self._controls, cursor)

    def rerun_recent(self, progress: TaskProgress, observer: ReplayObserver) -> None:
        """Rerun the last steps with an observer; training stays where it is."""
        with self.rolled_back():
            step, back = self._loop.session.step, FLIGHT_RECORD_STEPS
            self._rerun_to(step, len(self.edits.events), progress, observer=observer, back=back)

    @property
    def steps_to_rerun(self) -> int:
        """Number of steps that `rerun_recent` has to run."""
        here = self._loop.session.step
        return here - self._before(here, FLIGHT_RECORD_STEPS).step

    def _before(self, step: int, back: int = 0) -> Checkpoint:
        """Return the latest checkpoint at least `back` steps before `step`, or the first one."""
        return self._pool.before(max(step - back, self._pool.checkpoints[0].step))

    def replay(
        self, progress: TaskProgress, observer: ReplayObserver = NO_OBSERVER
    ) -> ReplayResult:
        """Rerun all steps from the beginning and compare; training stays where it is.

        Raises:
            TaskStopped, DataError, ModelError: the replay ended early.
        """
        here, events = self._loop.session.step, len(self.edits.events)
        with self.rolled_back() as present:
            found = self._rerun_to(here, events, progress, observer=observer, first=True)
            now = Checkpoint.capture(self._loop, self._controls)
        return replace(found, end_equal=now.equals(present))

    @contextmanager
    def rolled_back(self, keep: bool = False) -> Iterator[Checkpoint]:
        """Roll training back to its present state on exit; with `keep`, only after an exception."""
        loop, controls = self._loop, self._controls
        present = Checkpoint.capture(loop, controls, len(self.edits.events))
        with loop.session.sampler.keep_everything(), controls.silent():
            try:
                yield present
            except BaseException:
                present.restore(loop, controls)
                raise
            if not keep:
                present.restore(loop, controls)

    def _rerun_to(
        self,
        step: int,
        cursor: int,
        progress: TaskProgress,
        records: deque[StepRecord] | None = None,
        observer: ReplayObserver = NO_OBSERVER,
        first: bool = False,
        back: int = 0,
    ) -> ReplayResult:
        """Restore the nearest checkpoint and rerun steps and events up to `step`."""
        session = self._loop.session
        base = self._pool.checkpoints[0] if first else self._before(step, back)
        base.restore(self._loop, self._controls)
        events = deque(self.edits.events[base.cursor : cursor])
        observer.begin()
        difference: Difference | None = None
        compared = 0
        while True:
            while events and events[0].step <= session.step:
                with observer.event(events[0]):
                    difference = self._redo(events.popleft()) or difference
            if session.step >= step:
                break
            progress.advance((session.step - base.step) / (step - base.step), "Rerunning steps")
            if progress.should_stop():
                raise TaskStopped("The rerun was stopped; training is where it was.")
            number, recorded = session.step, self._log.at(session.step)
            with observer.step():
                record = self._loop.replay_step()
            if recorded is not None:
                compared += 1
                if difference is None and not bitwise_equal(self._loop.last, recorded):
                    difference = Difference(number, recorded, self._loop.last)
            if records is not None:
                records.append(record)
        if difference is not None:
            difference = replace(difference, where=find_nondeterminism(session))
        return ReplayResult(base.step, step, compared, difference)

    def _redo(self, event: Event) -> Difference | None:
        """Replay an event at a step boundary."""
        self._loop.session.schedule.fallback = event.fallback
        if isinstance(event.command, SetControl):
            self._controls.apply(event.command)
        elif event.command is not None:
            reestimate_statistics(event.command, self._loop.session, self._controls)
        else:
            try:
                self._loop.replay_step()
            except NonFiniteError:
                return None
            return Difference(event.step, (NAN, NAN), self._loop.last)
        self._loop.controls_changed()
        return None

    def publish_marks(self) -> None:
        """Publish the marks of the timeline in History."""
        kept = [Mark(checkpoint.step, "checkpoint") for checkpoint in self._pool.checkpoints]
        self._history.set_result(TimelineMarks((*kept, *self.edits.marks)))
        self._loop.session.checkpoint_bytes = self._pool.size
