"""Controls of a session: reading, validating and applying them, with a record of each change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from nbdebug.controls.base import Control
from nbdebug.core.commands.running import ReestimateBatchNorm, SetControl
from nbdebug.core.control_spec import ControlState
from nbdebug.core.deprecated import accepted_settings, current_name
from nbdebug.core.history.history import History
from nbdebug.core.names import unknown_name
from nbdebug.core.records import ChangeKind, ChangeStatus, ControlChange
from nbdebug.errors import (
    ArgumentError,
    CheckpointError,
    ControlNameError,
    ControlValueError,
)
from nbdebug.training.engine.session import Session

RECORDED_EVERY_STEP = ("lr", "batch_size")


class ControlSet:
    """All controls of a session, by name.

    `apply` runs on the training thread only; the other methods read.
    """

    def __init__(self, controls: Sequence[Control], session: Session, history: History) -> None:
        self.controls = {control.name: control for control in controls}
        self._session = session
        self._history = history
        self._silent = False
        self._numeric = [
            control.name
            for control in controls
            if control.spec(session).kind != "choice" and control.name not in RECORDED_EVERY_STEP
        ]

    def apply_initial(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Apply values before the first step and return messages for the user, by control.

        Raises:
            ControlValueError: a value is out of range; nothing was changed.
        """
        notes = {}
        for name, value in self.validate(values).items():
            notes[name] = self.controls[name].apply(self._session, value)
        return {name: note for name, note in notes.items() if note}

    def values(self) -> dict[str, Any]:
        """Return the value in force of every control."""
        return {name: control.read(self._session) for name, control in self.controls.items()}

    def states(self) -> tuple[ControlState, ...]:
        """Return description and value of every control."""
        session = self._session
        return tuple(
            ControlState(control.spec(session), control.read(session))
            for control in self.controls.values()
        )

    def numbers(self) -> dict[str, float]:
        """Return the numeric values as series, without those that every step records."""
        return {name: self.controls[name].series(self._session) for name in self._numeric}

    def validate(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values as they will be applied, under today's names of the controls.

        Raises:
            ControlNameError: a name is unknown; the message lists the known ones.
            ControlValueError: a value is out of range.
        """
        values = accepted_settings(values)
        for name in values:
            if name not in self.controls:
                raise ControlNameError(unknown_name("control", name, self.controls))
        return {
            name: self.controls[name].validate(self._session, value)
            for name, value in values.items()
        }

    def accepts(self, values: Mapping[str, Any]) -> bool:
        """Tell if `validate` accepts these values."""
        try:
            self.validate(values)
        except (ControlNameError, ControlValueError):
            return False
        return True

    def apply(self, command: SetControl) -> ControlChange:
        """Apply a value and record the change: applied, or refused with the reason."""
        control = self.controls[command.control]
        old = control.read(self._session)
        status: ChangeStatus = "applied"
        try:
            # The range may have changed since the request.
            value = control.validate(self._session, command.value)
            note = control.apply(self._session, value)
            action = control.spec(self._session).action
            new = value if action else control.read(self._session)
        except ControlValueError as error:
            status, note, new = "refused", str(error), command.value
        except Exception as error:
            status, note, new = "refused", f"{type(error).__name__}: {error}", command.value
        return self._write(command.control, (old, new), command, status, note)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Record no changes inside: they are repeated, or will be undone."""
        self._silent = True
        try:
            yield
        finally:
            self._silent = False

    def supersede(self, command: SetControl) -> None:
        """Record a value that a later one replaced before it was applied."""
        old = self.controls[command.control].read(self._session)
        change = (old, command.value)
        self._write(command.control, change, command, "superseded", "A later value came first.")

    def restore(self, values: Mapping[str, Any]) -> None:
        """Restore earlier values without recording a change.

        Raises:
            CheckpointError: a file has a control that is not there now.
        """
        for name, value in values.items():
            if name not in self.controls:
                raise CheckpointError(
                    f"The checkpoint has a control {name!r:.40}, which is not there now: install "
                    "the version of nbdebug, or the plug-in, that it was written with."
                )
            control = self.controls[name]
            if control.read(self._session) != value:
                control.apply(self._session, control.validate(self._session, value))

    def write_reestimation(
        self, command: ReestimateBatchNorm, mode: str, status: ChangeStatus, note: str
    ) -> ControlChange:
        """Record a re-estimation of BatchNorm's statistics, or the reason of its refusal.

        Args:
            mode: the value of `bn_statistics` in force, which does not change.
        """
        change = (mode, "re-estimated")
        return self._write("bn_statistics", change, command, status, note, "reestimate")

    def write_rewind(self, old: int, note: str, who: str, why: str) -> None:
        """Record a rewind from step `old` to the current one."""
        command = SetControl("timeline", None, who, why)
        self._write("timeline", (old, self._session.step), command, "applied", note, "rewind")

    def _write(
        self,
        control: str,
        values: tuple[Any, Any],
        command: SetControl | ReestimateBatchNorm,
        status: ChangeStatus,
        note: str,
        kind: ChangeKind = "control",
    ) -> ControlChange:
        """Add a change to History, unless silent.

        Args:
            values: old and new value; command: the request, with its origin and reason.
        """
        session = self._session
        change = ControlChange(
            step=session.step,
            samples=session.samples,
            epoch=session.epoch,
            control=control,
            old=values[0],
            new=values[1],
            who=command.who,
            why=command.why,
            status=status,
            note=note,
            kind=kind,
        )
        if not self._silent:
            self._history.add_change(change)
        return change


def check_keywords(
    given: Iterable[str], controls: Sequence[Control], arguments: Iterable[str]
) -> None:
    """Raise ArgumentError for a keyword that is no name of a control."""
    names = [control.name for control in controls]
    for name in given:
        if current_name(name) not in names:
            known = {*names, *arguments} - {"controls"}
            raise ArgumentError(unknown_name("keyword", name, known))
