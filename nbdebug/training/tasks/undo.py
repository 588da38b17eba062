"""Handlers that take back the last change of controls, with and without a rewind."""

from __future__ import annotations

from nbdebug.core.commands.running import SetControl
from nbdebug.core.commands.timeline import Undo, UndoAndRewind
from nbdebug.core.records import ControlChange
from nbdebug.core.results.undo import UndoResult
from nbdebug.errors import ArgumentError, ControlValueError
from nbdebug.rules._loss_rise import did_harm
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.tasks.handler import Handler, Training
from nbdebug.training.tasks.measure_paused import measure_watched
from nbdebug.training.tasks.timeline_handlers import rewind_to
from nbdebug.training.timeline.undo.undo_stack import Edit

WHO = "undo"


class UndoHandler(Handler[Undo]):
    """Handler that sets the old values again, so that rewind and replay reproduce it."""

    command = Undo

    def handle(self, command: Undo, progress: TaskProgress) -> UndoResult:
        training, edit = self.training, _last_edit(self.training)
        if edit.change.refusal:
            raise ControlValueError(f"The last change cannot be taken back. {edit.change.refusal}")
        # A schedule steps before it is changed; what fails again is told by the next Run.
        training.loop.finish_step()
        training.timeline.try_checkpoint()
        harm = _did_harm(training, edit)
        notes = _set_back(training, edit)
        step = edit.change.step
        return training.publish(
            UndoResult(edit.change, training.session.step, harm, step if harm else None, note=notes)
        )


class UndoAndRewindHandler(Handler[UndoAndRewind]):
    """Handler that rewinds to before the change."""

    command = UndoAndRewind
    failed = "The rewind failed"

    def handle(self, command: UndoAndRewind, progress: TaskProgress) -> UndoResult:
        training, edit = self.training, _last_edit(self.training)
        harm, step = _did_harm(training, edit), training.session.step
        rewind_to(training, edit.place, progress, WHO, _reason(edit))
        measure_watched(training)
        return training.publish(UndoResult(edit.change, step, harm, rewound=True))


def _last_edit(training: Training) -> Edit:
    """The change to take back; ArgumentError without one."""
    edit = training.timeline.edits.undo.top
    if edit is None:
        since = " since training was resumed" if training.timeline.resumed else ""
        raise ArgumentError(
            f"There is nothing to take back: no change of a control is in force{since}."
        )
    return edit


def _did_harm(training: Training, edit: Edit) -> bool:
    return did_harm(training.history.snapshot(("loss",)), edit.change.step)


def _reason(edit: Edit) -> str:
    return f"undo of the change at step {edit.change.step:,}"


def _set_back(training: Training, edit: Edit) -> str:
    """Set the old values, the last one first, all or none; return the notes of the controls.

    Raises:
        ControlValueError: a value cannot be set now; nothing was changed.
    """
    controls, edits = training.controls, training.timeline.edits
    commands = [
        SetControl(
            value.control,
            controls.former(value, edit.anchors.get(value.control)),
            WHO,
            _reason(edit),
        )
        for value in reversed(edit.change.values)
    ]
    changes: list[ControlChange] = []
    # One value is applied or not; of several, those before a refused one are put back.
    several = len(commands) > 1
    with training.timeline.rolled_back(keep=True, steps=False) if several else controls.silent():
        for command in commands:
            changes.append(controls.apply(command))
            if changes[-1].status == "refused":
                raise ControlValueError(
                    f"{edit.change} cannot be taken back: {changes[-1].note} "
                    "dbg.undo(rewind=True) goes back to before it."
                )
    cursor = len(edits.events)
    for command, change in zip(commands, changes, strict=True):
        training.history.add_change(change)
        training.timeline.record_event(command)
    edits.undo.take_off(cursor)
    edits.undo.publish(training.history)
    training.loop.controls_changed()
    return " ".join(change.note for change in changes if change.note)
