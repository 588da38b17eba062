"""The controls of a session: reading, checking and applying them, each change written down."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from nbdebug.controls.base import Control
from nbdebug.core.commands.running import ReestimateBatchNorm, SetControl
from nbdebug.core.control_spec import ControlState
from nbdebug.core.history.history import History
from nbdebug.core.names import unknown_name
from nbdebug.core.records import ChangeKind, ChangeStatus, ControlChange
from nbdebug.errors import ArgumentError, ControlNameError, ControlValueError
from nbdebug.training.engine.session import Session

RECORDED_EVERY_STEP = ("lr", "batch_size")


class ControlSet:
    """All controls, by name.

    `apply` runs on the training thread alone; the rest reads.
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
        """Put values in force before the first step; what the user should know, by control.

        Raises:
            ControlValueError: for a value out of range; nothing was changed.
        """
        notes = {}
        for name, value in self.validate(values).items():
            notes[name] = self.controls[name].apply(self._session, value)
        return {name: note for name, note in notes.items() if note}

    def values(self) -> dict[str, Any]:
        """The value in force of every control."""
        return {name: control.read(self._session) for name, control in self.controls.items()}

    def states(self) -> tuple[ControlState, ...]:
        """Every control as it stands, for whoever draws them."""
        session = self._session
        return tuple(
            ControlState(control.spec(session), control.read(session))
            for control in self.controls.values()
        )

    def numbers(self) -> dict[str, float]:
        """Values that are numbers, as series, but for those that every step carries."""
        return {name: self.controls[name].series(self._session) for name in self._numeric}

    def validate(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values as they will be applied.

        Raises:
            ControlNameError: for a name that does not exist, listing those that do.
            ControlValueError: for a value out of range.
        """
        for name in values:
            if name not in self.controls:
                raise ControlNameError(unknown_name("control", name, self.controls))
        return {
            name: self.controls[name].validate(self._session, value)
            for name, value in values.items()
        }

    def accepts(self, values: Mapping[str, Any]) -> bool:
        """Whether `validate` would take these values."""
        try:
            self.validate(values)
        except (ControlNameError, ControlValueError):
            return False
        return True

    def apply(self, command: SetControl) -> ControlChange:
        """Put a value in force and write the change down: applied, or refused with the reason."""
        control = self.controls[command.control]
        old = control.read(self._session)
        status: ChangeStatus = "applied"
        try:
            # What was in range when it was asked for may not be any more.
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
        """Inside, nothing is written down: what is done was done before, or will be undone."""
        self._silent = True
        try:
            yield
        finally:
            self._silent = False

    def supersede(self, command: SetControl) -> None:
        """Write down a value that a later one overtook before it was applied."""
        old = self.controls[command.control].read(self._session)
        change = (old, command.value)
        self._write(command.control, change, command, "superseded", "A later value came first.")

    def restore(self, values: Mapping[str, Any]) -> None:
        """Put values back in force that were so before, without a record."""
        for name, value in values.items():
            control = self.controls[name]
            if control.read(self._session) != value:
                control.apply(self._session, control.validate(self._session, value))

    def write_reestimation(
        self, command: ReestimateBatchNorm, mode: str, status: ChangeStatus, note: str
    ) -> ControlChange:
        """Write down that BatchNorm's statistics were estimated again, or why not.

        Args:
            mode: the value of `bn_statistics` in force, which stays.
        """
        change = (mode, "re-estimated")
        return self._write("bn_statistics", change, command, status, note, "reestimate")

    def write_rewind(self, old: int, note: str, who: str, why: str) -> None:
        """Write down that training went back from a step to where it stands now."""
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
            values: old and new; command: who asked and why.
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
    """ArgumentError for a keyword that is no control's name."""
    names = [control.name for control in controls]
    for name in given:
        if name not in names:
            known = {*names, *arguments} - {"controls"}
            raise ArgumentError(unknown_name("keyword", name, known))
