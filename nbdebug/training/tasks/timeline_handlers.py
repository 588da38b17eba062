"""Handlers of the timeline: checkpoint, rewind, replay, keep or discard a fork, breakpoints."""

from __future__ import annotations

from nbdebug.core.commands.running import SetControl
from nbdebug.core.commands.timeline import (
    BreakWhen,
    ClearBreakpoint,
    DiscardFork,
    KeepFork,
    NameCheckpoint,
    Replay,
    Rewind,
    SaveCheckpoint,
)
from nbdebug.core.results.fork_result import ForkResult
from nbdebug.core.results.timeline import ReplayResult
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.tasks.handler import Handler, Training
from nbdebug.training.tasks.measure_paused import measure_watched
from nbdebug.training.tasks.running import set_control


class NameCheckpointHandler(Handler[NameCheckpoint]):
    """Handler that takes a checkpoint and answers with its step."""

    command = NameCheckpoint

    def handle(self, command: NameCheckpoint, progress: TaskProgress) -> int:
        self.training.timeline.name_checkpoint(command.label)
        return self.training.session.step


class SaveCheckpointHandler(Handler[SaveCheckpoint]):
    """Handler that writes a checkpoint to disk and answers with its path."""

    command = SaveCheckpoint

    def handle(self, command: SaveCheckpoint, progress: TaskProgress) -> str:
        return self.training.timeline.save()


class RewindHandler(Handler[Rewind]):
    """Handler that rewinds and answers with the comparison of the rerun steps."""

    command = Rewind
    failed = "The rewind failed"

    def handle(self, command: Rewind, progress: TaskProgress) -> ReplayResult:
        target = self.training.timeline.resolve(command.target)
        found = rewind_to(self.training, target, progress, command.who, command.why)
        measure_watched(self.training)
        return found


class ReplayHandler(Handler[Replay]):
    """Handler that reruns all steps and compares."""

    command = Replay
    failed = "The replay failed"

    def handle(self, command: Replay, progress: TaskProgress) -> ReplayResult:
        training = self.training
        found = training.publish(training.timeline.replay(progress))
        training.notify("info" if found.equal else "warning", "Replay", str(found))
        return found


class KeepForkHandler(Handler[KeepFork]):
    """Handler that rewinds to a fork, applies its change and trains its steps."""

    command = KeepFork
    failed = "The fork could not be kept"

    def handle(self, command: KeepFork, progress: TaskProgress) -> None:
        training = self.training
        fork, trial = command.chosen()
        here, edits = training.session.step, training.timeline.edits
        edits.check_reachable(fork, here)
        if (here, len(edits.events)) != (fork.step, fork.cursor):
            target = (fork.step, fork.cursor)
            training.timeline.rewind(target, progress, command.who, "a fork kept")
        if fork.schedule_steps:
            training.session.schedule.fallback = fork.schedule_steps
        # Taken back together; the numbers of calls of `set` are above 0.
        call = -1 - len(edits.events)
        for name, value in trial.settings.items():
            set_control(training, SetControl(name, value, command.who, "a fork kept", call))
        training.forecast.restart()
        training.run.start(fork.steps)


class DiscardForkHandler(Handler[DiscardFork]):
    """Handler that removes the last fork."""

    command = DiscardFork

    def handle(self, command: DiscardFork, progress: TaskProgress) -> None:
        self.training.history.drop_result(ForkResult)


class BreakWhenHandler(Handler[BreakWhen]):
    """Handler that adds a breakpoint."""

    command = BreakWhen

    def handle(self, command: BreakWhen, progress: TaskProgress) -> None:
        self.training.loop.breakpoints.add(command.condition)


class ClearBreakpointHandler(Handler[ClearBreakpoint]):
    """Handler that removes a breakpoint, or all of them."""

    command = ClearBreakpoint

    def handle(self, command: ClearBreakpoint, progress: TaskProgress) -> None:
        self.training.loop.breakpoints.remove(command.breakpoint)


def rewind_to(
    training: Training, target: tuple[int, int], progress: TaskProgress, who: str, why: str
) -> ReplayResult:
    """Rewind to a step and the number of events before it, and pause there."""
    training.double_step.require(progress)
    found = training.timeline.rewind(target, progress, who, why)
    if found.compared or not found.equal:
        training.history.set_result(found)
    if not found.equal:
        training.notify("warning", "Rewind did not reproduce the recorded steps", str(found))
    training.run.pause()
    training.run.clear_failure()
    training.forecast.restart()
    return found
