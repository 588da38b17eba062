"""Timeline of a training: checkpoints, edits between them, rewind and replay."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from nbdebug.core.commands.running import ReestimateBatchNorm, SetControl
from nbdebug.core.deprecated import current_settings
from nbdebug.core.files.output_files import output
from nbdebug.core.history.history import History
from nbdebug.core.records import StepRecord
from nbdebug.core.results.timeline import Mark, MarkKind, ReplayResult, TimelineMarks
from nbdebug.errors import CheckpointError, DataError, ModelError
from nbdebug.training.data.samplers import prepare_resume
from nbdebug.training.engine.control_set import ControlSet
from nbdebug.training.engine.loop import Loop
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.timeline.checkpoint import Checkpoint
from nbdebug.training.timeline.checkpoint_clock import CheckpointClock
from nbdebug.training.timeline.checkpoint_file import CheckpointFile
from nbdebug.training.timeline.checkpoint_pool import CheckpointPool, default_budget
from nbdebug.training.timeline.disk.rehearsal import rehearse_schedule
from nbdebug.training.timeline.edit_log import EditLog
from nbdebug.training.timeline.failures import Failures
from nbdebug.training.timeline.replay_events import NO_OBSERVER, Event, ReplayObserver
from nbdebug.training.timeline.rerun import Rerun
from nbdebug.training.timeline.serialization import from_plain, to_plain
from nbdebug.training.timeline.step_log import StepLog
from nbdebug.training.timeline.uncopied_notice import UncopiedNotice

FLIGHT_RECORD_STEPS, DAMAGED = 5, "The checkpoint is damaged, or of another training"
Target = tuple[int, int]  # A step, and the number of events before it.
Rolled = AbstractContextManager[Checkpoint]


class Timeline:
    """Checkpoints of a running training, and rewind to any step.

    A rewind restores the nearest earlier checkpoint and reruns the steps from there, edits
    included; each step is compared with its record.

    Args:
        budget: bytes for checkpoints; None for 10 % of free memory, at most 2 GiB.
        name: of the training, whose last checkpoint is also on disk; None for none there.

    Attributes:
        pool: checkpoints, from the one that the timeline begins with.
        resumed: True if the training continues one of another process.
    """

    def __init__(
        self,
        loop: Loop,
        controls: ControlSet,
        history: History,
        budget: int | None = None,
        name: str | None = None,
    ) -> None:
        self._loop, self._controls, self._history = loop, controls, history
        self._budget = default_budget() if budget is None else budget
        self.edits = EditLog()
        self._log = StepLog()
        self._rerun = Rerun(loop, controls, self.edits, self._log)
        self._told_too_small = self.resumed = False
        refusal = prepare_resume(loop.session.sampler) if name else ""
        self._file = CheckpointFile(name, history, refusal)
        self._clock, self._uncopied = CheckpointClock(history), UncopiedNotice(history)
        self.failures = Failures(loop, self.edits, self._log, history)
        self.begin(later=True)

    def before_step(self) -> None:
        """Take a checkpoint if one is due."""
        if self._clock.due:
            self.try_checkpoint()
            if self._file.due:
                self._file.try_put(self._serialized, self._loop.session.step)
        self._clock.begin_step()

    def after_step(self) -> None:
        """Log loss and gradient norm of the step."""
        self._log.add(self._loop.session.step - 1, self._loop.last)
        self.failures.clear()
        self._uncopied.tell_of_data(self._loop.session)
        self._clock.end_step()

    def record_event(self, command: SetControl | ReestimateBatchNorm | None) -> None:
        """Record an edit at this step; None for an excluded batch with NaN or Inf."""
        session = self._loop.session
        self.edits.events.append(Event(session.step, command, session.schedule.fallback))

    def after_failed_step(self, error: BaseException) -> bool:
        """Note that a step failed in the user's code; True if training goes on at once."""
        unread, batch, failures = self._loop.unread, self._loop.batch, self.failures
        self._log.add_failure(self._loop.session.step)
        self.undo_outside()
        return failures.unread_batch(error) if unread else failures.lone_batch(error, batch)

    def undo_outside(self) -> None:
        """Undo what a failed step left behind outside of the model, or in half an update."""
        last = self.pool.checkpoints[-1]
        self._rerun.undo_outside(self._before(self._loop.session.step), last, self._history)

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
        """Write the last checkpoint to disk, if training has a name and has begun."""
        path, edited = self._file.path, bool(self.edits.events or self.edits.rewinds)
        begun = self._loop.session.step > 0 or self._file.written
        # Nothing of an earlier training is replaced by a training that made no step.
        if path is not None and (
            self._moved if self.resumed else begun or (edited and not path.exists())
        ):
            self._file.try_put(self._serialized_now, self._loop.session.step)
        self._file.close()
        # The copies may be large, and whoever keeps the Debugger needs them no more.
        del self.pool.kept[1:]

    @property
    def _moved(self) -> bool:
        """Tell if anything differs from where the timeline began, or was written since."""
        if self._file.written or self.edits.events or self.edits.rewinds:
            return True
        first, now = self.pool.checkpoints[0], Checkpoint.capture(self._loop, self._controls)
        return now.step != first.step or not now.equals(first)

    def resume(self, data: Mapping[str, Any]) -> None:
        """Continue from a checkpoint on disk, where the timeline then begins.

        Raises:
            CheckpointError, ModelError, DataError: the checkpoint is damaged or of another
                training; nothing was changed.
        """
        session = self._loop.session
        try:
            with self.rolled_back(keep=True):
                self._controls.check_known(current_settings(data["controls"]))
                (found := from_plain(data, session)).restore(self._loop, self._controls)
                rehearse_schedule(session.schedule.course, session.optimizer)
        except (CheckpointError, ModelError, DataError):
            raise
        except Exception as error:
            reason = f"({type(error).__name__}: {str(error)[:300]})."
            raise CheckpointError(f"{DAMAGED} {reason}") from error
        self.resumed = True
        self._uncopied.tell_of_resumed(found, data, session)
        self.begin()

    def begin(self, later: bool = False) -> None:
        """Begin the timeline here; see `CheckpointPool.begin`."""
        self.pool = CheckpointPool.begin(self._loop, self._controls, self._budget, later)
        self._uncopied.tell(self.pool.kept[0], self._loop.session)
        self.publish_marks()
        self._tell_if_too_small()

    def _tell_if_too_small(self) -> None:
        if self.pool.too_small and not self._told_too_small:
            self._told_too_small = True
            self._history.add_notice(self.pool.too_small_notice())

    def save(self) -> str:
        """Write the current state to disk now, and return the path; see `CheckpointFile.write`."""
        with output(self._file.writable_path()):
            return str(self._file.write(self._serialized_now()))

    def _serialized_now(self) -> dict[str, Any]:
        """The state as it is, changes of the user's own code included."""
        now = Checkpoint.capture(self._loop, self._controls, len(self.edits.events))
        return to_plain(now, self._loop.session, self._file.name)

    def _serialized(self) -> dict[str, Any]:
        """The state at the beginning of a step, whose checkpoint may have just been taken."""
        session, newest = self._loop.session, self.pool.checkpoints[-1]
        if (newest.step, newest.cursor) != (session.step, len(self.edits.events)):
            return self._serialized_now()
        return to_plain(newest, session, self._file.name)

    def try_checkpoint(self) -> None:
        """Take a checkpoint if that is possible; else training goes on, with a notice."""
        self.pool.complete()
        with self._clock.tolerating(self._loop.session.step):
            self.take_checkpoint()

    def take_checkpoint(self) -> None:
        """Take a checkpoint, if it is of use, there is room and none of this step yet."""
        # One per step, from before its first event, since later steps depend on all events.
        step = self._loop.session.step
        late = self.edits.has_event_at(step) or self.pool.checkpoints[-1].step >= step
        if late or self.pool.too_small or not self._loop.body.repeats:
            return
        with self._clock.timing():
            self._loop.session.rng.detect_host_draws()
            checkpoint = Checkpoint.capture(self._loop, self._controls, len(self.edits.events))
            self._uncopied.tell(checkpoint, self._loop.session)
            self.pool.add(checkpoint)
            self._tell_if_too_small()
            self.publish_marks()

    def reset(self) -> None:
        """Restart from the beginning and drop all events and checkpoints.

        A resumed training restarts where it was resumed: what was before is in no memory.
        """
        first = self.pool.checkpoints[0]
        first.restore(self._loop, self._controls, restart_data=not self.resumed, strict=True)
        self.edits.clear()
        self._log.drop_from(0)
        self._loop.breakpoints.reset_counts()
        self.pool.drop_after(first.step)
        self.publish_marks()

    def resolve(self, target: int | str) -> Target:
        """Resolve a step or a name to a step and the number of events before it.

        Raises:
            ArgumentError: the target is unknown or out of range.
        """
        return self.edits.resolve(target, self.pool.checkpoints[0].step, self._loop.session.step)

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
        self.pool.drop_after(step)
        self._log.drop_from(step)
        self._loop.breakpoints.reset_counts()
        self._history.rewind(step, here, tuple(records), self.edits.commands_at(step))
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
        return (here := self._loop.session.step) - self._before(here, FLIGHT_RECORD_STEPS).step

    def _before(self, step: int, back: int = 0) -> Checkpoint:
        """Return the latest checkpoint at least `back` steps before `step`, or the first one."""
        return self.pool.before(max(step - back, self.pool.checkpoints[0].step))

    def replay(
        self, progress: TaskProgress, observer: ReplayObserver = NO_OBSERVER
    ) -> ReplayResult:
        """Rerun all steps from the beginning and compare; training stays where it is.

        Raises:
            TaskStopped, DataError, ModelError: the replay ended early.
        """
        here = self._loop.session.step, len(self.edits.events)
        with self.rolled_back() as present:
            found = self._rerun.run(self.pool.checkpoints[0], here, progress, observer=observer)
            now = Checkpoint.capture(self._loop, self._controls)
        return replace(found, end_equal=now.equals(present))

    def rolled_back(self, keep: bool = False, steps: bool = True) -> Rolled:
        """Roll training back to its present state on exit; see `Rerun`."""
        return self._rerun.rolled_back(keep, steps)

    def _rerun_to(
        self, target: Target, progress: TaskProgress, back: int = 0, **options: Any
    ) -> ReplayResult:
        """Restore a checkpoint at least `back` steps before `target`, and rerun up to it."""
        return self._rerun.run(self._before(target[0], back), target, progress, **options)

    def publish_marks(self) -> None:
        """Publish the marks of the timeline in History."""
        kept = [Mark(checkpoint.step, "checkpoint") for checkpoint in self.pool.kept]
        self._history.set_result(TimelineMarks((*kept, *self.edits.marks)))
        self.edits.undo.publish(self._history)
        self._loop.session.checkpoint_bytes = self.pool.size
