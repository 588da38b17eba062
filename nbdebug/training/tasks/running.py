"""Handlers that run, pause, reset or close training, or set probes and controls."""

from __future__ import annotations

from nbdebug.core.commands.running import (
    Close,
    Pause,
    ReestimateBatchNorm,
    Reset,
    Run,
    SetControl,
    Stop,
    WatchProbe,
)
from nbdebug.core.records import ControlChange
from nbdebug.core.results.metric_names import MetricNames
from nbdebug.errors import DataError, ModelError
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.tasks.handler import Handler, Training
from nbdebug.training.tasks.measure_paused import measure_paused
from nbdebug.training.timeline.batchnorm_reestimation import reestimate_statistics


class RunHandler(Handler[Run]):
    """Handler that lets training run."""

    command = Run

    def handle(self, command: Run, progress: TaskProgress) -> None:
        self._tell_of_modes()
        self.training.run.start(command.steps, command.epochs)

    def _tell_of_modes(self) -> None:
        """Tell of layers that another cell has put into eval mode; training leaves them there."""
        session = self.training.session
        # A loop of the user's own changes modes in every pass; rules watch it.
        found = () if session.body is not None else session.modes.newly_resting()
        if found:
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            text = (
                f"{found[0]}{more}: in eval mode since the last run. Dropout is off and BatchNorm "
                "is frozen there. Call model.train() if that was not meant."
            )
            self.training.notify("warning", "Some layers are in eval mode", text)


class PauseHandler(Handler[Pause]):
    """Handler that pauses training."""

    command = Pause

    def handle(self, command: Pause, progress: TaskProgress) -> None:
        self.training.run.pause()


class StopHandler(Handler[Stop]):
    """Handler without an action: the long command ended because Stop was queued."""

    command = Stop

    def handle(self, command: Stop, progress: TaskProgress) -> None:
        return None


class CloseHandler(Handler[Close]):
    """Handler that ends the training thread."""

    command = Close

    def handle(self, command: Close, progress: TaskProgress) -> None:
        self.training.run.close()


class ResetHandler(Handler[Reset]):
    """Handler that restarts training and clears History."""

    command = Reset

    def handle(self, command: Reset, progress: TaskProgress) -> None:
        training = self.training
        if training.loop.body.no_reset:
            raise DataError(training.loop.body.no_reset)
        training.run.pause()
        training.run.clear_failure()
        training.timeline.reset()
        training.history.clear(keep_curve=True)
        training.flow.restart()
        training.timeline.publish_marks()
        training.loop.breakpoints.publish()
        training.run.announce_goal()
        training.forecast.restart()
        training.checks.announce()
        training.asked.drop()
        training.publish(MetricNames(training.session.metrics.names))
        if training.timeline.resumed:
            text = (
                f"This training was resumed from disk at step {training.session.step:,} and begins "
                "there again, data included: what came before is not known here."
            )
            training.notify("info", "Reset to where training was resumed", text)


class WatchProbeHandler(Handler[WatchProbe]):
    """Handler that switches an on-demand probe or a view; while paused a probe measures once."""

    command = WatchProbe

    def __init__(self, training: Training) -> None:
        super().__init__(training)
        self._viewers: dict[str, set[str]] = {}

    def handle(self, command: WatchProbe, progress: TaskProgress) -> None:
        viewers = self._viewers.setdefault(command.probe, set())
        (viewers.add if command.on else viewers.discard)(command.viewer)
        if viewers and not command.on:
            return
        self.training.views.watch(command.probe, command.on)
        self.training.loop.probes.watch(command.probe, command.on)
        if command.on and self.training.run.state == "paused":
            measure_paused(self.training, command.probe)


class SetControlHandler(Handler[SetControl]):
    """Handler that sets a control, so that rewind and replay reproduce the change."""

    command = SetControl

    def handle(self, command: SetControl, progress: TaskProgress) -> ControlChange:
        return set_control(self.training, command)


class ReestimateHandler(Handler[ReestimateBatchNorm]):
    """Handler that re-estimates BatchNorm's running statistics."""

    command = ReestimateBatchNorm

    def handle(self, command: ReestimateBatchNorm, progress: TaskProgress) -> ControlChange:
        training = self.training
        training.timeline.try_checkpoint()
        change = reestimate_statistics(command, training.session, training.controls)
        if change.status == "refused":
            raise ModelError(change.note)
        training.timeline.record_event(command)
        return change


def set_control(training: Training, command: SetControl) -> ControlChange:
    """Apply a control's value; the change says whether it was applied or refused."""
    # A schedule steps before it is changed; what fails again is told by the next Run.
    training.loop.finish_step()
    training.timeline.try_checkpoint()
    edits = training.timeline.edits
    place = training.session.step, len(edits.events)
    anchor = training.controls.anchor(command.control)
    change = training.controls.apply(command)
    if change.status == "applied":
        training.timeline.record_event(command)
        spec = training.controls.spec(command.control)
        edits.undo.add(change, spec, place, command.call, anchor)
        edits.undo.publish(training.history)
    training.loop.controls_changed()
    return change
