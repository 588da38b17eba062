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
from nbdebug.core.records import Notice, StepRecord
from nbdebug.core.results.timeline import Mark, MarkKind, ReplayResult, TimelineMarks
from nbdebug.errors import CheckpointError
from nbdebug.model.state.copying import to_host
from nbdebug.training.engine.control_set import ControlSet
from nbdebug.training.engine.loop import Loop
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.timeline.checkpoint import Checkpoint
from nbdebug.training.timeline.checkpoint_file import CheckpointFile
from nbdebug.training.timeline.checkpoint_pool import CheckpointPool, default_budget
from nbdebug.training.timeline.edit_log import EditLog
from nbdebug.training.timeline.failures import Failures
from nbdebug.training.timeline.replay_events import NO_OBSERVER, Event, ReplayObserver
from nbdebug.training.timeline.rerun import Rerun
from nbdebug.training.timeline.serialization import from_plain, to_plain
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
        self._rerun = Rerun(loop, controls, self.edits, self._log)
        self._pool = CheckpointPool(Checkpoint.capture(loop, controls), self._budget)
        self._file = CheckpointFile(path, history)
        self.failures = Failures(loop, self.edits, self._log, history)
        # Seconds of training without pauses, those of the next checkpoint, start of the step.
        self._trained = self._next = self._began = 0.0
        self.publish_marks()
        self._uncopied: set[str] = set()
        self._tell_uncopied(self._pool.checkpoints[0])
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
        self.failures.clear()
        self._trained += time.perf_counter() - self._began

    def record_event(self, command: SetControl | ReestimateBatchNorm | None) -> None:
        """Record an edit at this step; None for an excluded batch with NaN or Inf."""
        session = self._loop.session
        self.edits.events.append(Event(session.step, command, session.schedule.fallback))

    def after_failed_step(self, error: BaseException) -> bool:
        """Note that a step failed in the user's code; True if training goes on at once."""
        unread = self._loop.unread
        self._log.add_failure(self._loop.session.step)
        self.undo_outside()
        return unread and self.failures.unread_batch(error)

    def undo_outside(self) -> None:
        """Undo what a failed step left behind outside of the model, or in half an update."""
        session, newest = self._loop.session, self._pool.checkpoints[-1]
        moved = not session.surroundings.capture(to_host).equals(newest.surroundings)
        if not (moved or self._loop.updating):
            return
        target = session.step, len(self.edits.events)
        try:
            with (
                TaskProgress("undo", self._history, lambda: False) as progress,
                self.rolled_back(keep=True),
            ):
                self._rerun_to(target, progress)
        except Exception as error:
            text = f"{type(error).__name__}: {error}. What the failed step changed so far stays."
            title = f"Step {session.step} could not be undone wholly"
            self._history.add_notice(Notice(session.step, "warning", title, text))

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
        if data["length"] != session.source.length:
            raise CheckpointError(
                f"The data had {data['length']} samples, now it has {session.source.length}."
            )
        from_plain(data, session).restore(self._loop, self._controls)
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
        checkpoint = Checkpoint.capture(self._loop, self._controls, len(self.edits.events))
        self._tell_uncopied(checkpoint)
        self._pool.add(checkpoint)
        self.publish_marks()
        self._next = self._trained + (time.perf_counter() - start) / MAX_TIME_SHARE

    def _tell_uncopied(self, checkpoint: Checkpoint) -> None:
        """Say once which attributes of the model have a state that cannot be copied."""
        found = checkpoint.weights.attributes.uncopied
        new = [f"{place} ({kind})" for place, kind in found.items() if place not in self._uncopied]
        self._uncopied.update(found)
        if new:
            text = (
                f"{', '.join(new)}: a value of this type may have a state, and cannot be copied. "
                "Rewind, replay, fork, checks and other looks at the training may move it and do "
                "not bring it back. Keep such a state in a tensor, a number, a list, a dict or a "
                "torch.Generator."
            )
            title = "A part of the model cannot be copied"
            self._history.add_notice(Notice(checkpoint.step, "warning", title, text))

    # Rewind and replay

    def reset(self) -> None:
        """Restart from the beginning and drop all events and checkpoints."""
        first = self._pool.checkpoints[0]
        first.restore(self._loop, self._controls, restart_data=True)
        self.edits.clear()
        self._log.drop_from(0)
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
        step, here = target[0], self._loop.session.step
        records: deque[StepRecord] = deque(maxlen=self._history.stride)
        with self.rolled_back(keep=True):
            found = self._rerun_to(target, progress, records=records)
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
        self._rerun_to(target, progress)
        return Checkpoint.capture(self._loop, self._controls, target[1])

    def rerun_recent(self, progress: TaskProgress, observer: ReplayObserver) -> None:
        """Rerun the last steps with an observer; training stays where it is."""
        with self.rolled_back():
            here = self._loop.session.step, len(self.edits.events)
            self._rerun_to(here, progress, FLIGHT_RECORD_STEPS, observer=observer)

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
            first = self._pool.checkpoints[0]
            found = self._rerun.run(first, (here, events), progress, observer=observer)
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
        self, target: Target, progress: TaskProgress, back: int = 0, **options: Any
    ) -> ReplayResult:
        """Restore a checkpoint at least `back` steps before `target`, and rerun up to it."""
        return self._rerun.run(self._before(target[0], back), target, progress, **options)

    def publish_marks(self) -> None:
        """Publish the marks of the timeline in History."""
        kept = [Mark(checkpoint.step, "checkpoint") for checkpoint in self._pool.checkpoints]
        self._history.set_result(TimelineMarks((*kept, *self.edits.marks)))
        self._loop.session.checkpoint_bytes = self._pool.size
