"""Controls of a session: reading, validating and applying them, with a record of each change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import fields
from typing import Any, TypeVar

from nbdebug.controls.base import Control
from nbdebug.core.commands.running import ReestimateBatchNorm, SetControl
from nbdebug.core.contexts import contextmanager
from nbdebug.core.control_spec import ControlSpec, ControlState
from nbdebug.core.deprecated import accepted_settings, current_name
from nbdebug.core.error_text import describe_error, raise_interrupt
from nbdebug.core.history.history import History
from nbdebug.core.history.present import PresentView
from nbdebug.core.names import unknown_keyword
from nbdebug.core.records import ChangeKind, ChangeStatus, ControlChange, Notice
from nbdebug.core.results.undo import ValueChange
from nbdebug.errors import (
    ArgumentError,
    CheckpointError,
    ControlNameError,
    ControlValueError,
)
from nbdebug.training.engine.capabilities import described, own_errors, validated
from nbdebug.training.engine.session import Session
from nbdebug.training.engine.setup import Setup

ARGUMENTS = tuple(field.name for field in fields(Setup))
RECORDED_EVERY_STEP = ("lr", "batch_size")
# Failures in a row, seen by other threads, after which a control is broken.
MAX_FAILURES = 3
T = TypeVar("T")


class ControlSet:
    """All controls of a session, by name.

    `apply` runs on the training thread only; the other methods read.
    """

    def __init__(self, controls: Sequence[Control], session: Session, history: History) -> None:
        self.controls = {control.name: control for control in controls}
        self._session = session
        self._history = history
        self._silent = False
        self.present = PresentView(session, history)
        self._failures: Counter[str] = Counter()
        kinds = self._of_each(lambda control: described(control, session).kind)
        self._of_each(lambda control: control.read(session))
        self._numeric = [
            name
            for name, kind in kinds.items()
            if kind != "choice" and name not in RECORDED_EVERY_STEP
        ]

    def apply_initial(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Apply values before the first step and return messages for the user, by control.

        Raises:
            ControlValueError: a value is out of range; nothing was changed.
        """
        notes = {}
        for name, value in self.validate(values).items():
            with own_errors(name):
                notes[name] = self.controls[name].apply(self._session, value)
        return {name: note for name, note in notes.items() if note}

    def values(self) -> dict[str, Any]:
        """Return the value in force of every control; for other threads, not one on trial."""
        return self.present.read(
            lambda: self._of_each(lambda control: control.read(self._session)),
            lambda present: dict(present.values),
        )

    def spec(self, name: str) -> ControlSpec:
        """Return the description of a control, an empty one if the control fails to give it."""
        found = self._of_each(lambda control: described(control, self._session), [name])
        return found.get(name, ControlSpec(name, name, "choice", ""))

    def states(self) -> tuple[ControlState, ...]:
        """Return description and value of every control, as `values` does."""
        session = self._session

        def live() -> tuple[ControlState, ...]:
            found = self._of_each(lambda c: ControlState(described(c, session), c.read(session)))
            return tuple(found.values())

        return self.present.read(live, lambda present: present.states)

    def trials(self) -> AbstractContextManager[None]:
        """Context in which values are tried: other threads read those from before."""
        return self.present.kept(self.values, self.states)

    def numbers(self) -> dict[str, float]:
        """Return the numeric values as series, without those that every step records."""
        numeric = [name for name in self._numeric if name in self.controls]
        return self._of_each(lambda control: float(control.series(self._session)), numeric)

    def _of_each(
        self, use: Callable[[Control], T], names: Iterable[str] | None = None
    ) -> dict[str, T]:
        """Results by control; a control that raises is switched off.

        Other threads may read while training changes something, so there one failure is none.
        """
        found: dict[str, T] = {}
        for name in tuple(self.controls) if names is None else names:
            try:
                found[name] = use(self.controls[name])
                if self._failures:
                    self._failures.pop(name, None)
            except BaseException as error:
                raise_interrupt(error)
                self._failures[name] += 1
                if self.present.inside or self._failures[name] >= MAX_FAILURES:
                    self._switch_off(name, error)
        return found

    def _switch_off(self, name: str, error: BaseException) -> None:
        # Replaced instead of changed, since other threads iterate over it.
        self.controls = {n: control for n, control in self.controls.items() if n != name}
        text = f"{describe_error(error)}. Training continues without it; its value stays as it is."
        title = f"The control {name} failed and was switched off"
        self._history.add_notice(Notice(self._session.step, "warning", title, text))

    def validate(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values as they will be applied, under today's names of the controls.

        Raises:
            ControlNameError: a name is unknown; the message lists the known ones.
            ControlValueError: a value is out of range.
        """
        values = accepted_settings(values)
        for name in values:
            self._in_use(name)
        valid = {}
        for name, value in values.items():
            valid[name] = validated(self.controls[name], self._session, value)
        return valid

    def accepts(self, values: Mapping[str, Any]) -> bool:
        """Tell if `validate` accepts these values."""
        try:
            self.validate(values)
        except (ControlNameError, ControlValueError):
            return False
        return True

    def apply(self, command: SetControl) -> ControlChange:
        """Apply a value and record the change: applied, or refused with the reason."""
        name, old = command.control, None
        status: ChangeStatus = "applied"
        try:
            control = self._in_use(name)
            self._session.follow_parts()
            old = control.read(self._session)
            value = validated(control, self._session, command.value)
            note = control.apply(self._session, value)
            action = control.spec(self._session).action
            new = value if action else control.read(self._session)
        except (ControlValueError, ControlNameError) as error:
            status, note, new = "refused", str(error), command.value
        except BaseException as error:
            raise_interrupt(error)
            status, note, new = "refused", describe_error(error), command.value
            # It may have changed some of several values.
            with suppress(Exception):
                if control.read(self._session) != old:
                    control.apply(self._session, old)
        return self._write(name, (old, new), command, status, note)

    def anchor(self, name: str) -> Any:
        """Parts that the value of a control belongs to, see `Control.anchor`."""
        return self.controls[name].anchor(self._session) if name in self.controls else None

    def former(self, value: ValueChange, anchor: Any) -> Any:
        """The value that takes it back, see `Control.former`."""
        return self._in_use(value.control).former(self._session, value.old, value.new, anchor)

    def _in_use(self, name: str) -> Control:
        if name not in self.controls:
            raise ControlNameError(unknown_keyword("control", name, self.controls, ARGUMENTS))
        return self.controls[name]

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Record no changes inside: they are repeated, or will be undone."""
        self._silent = True
        try:
            yield
        finally:
            self._silent = False

    def is_action(self, name: str) -> bool:
        """Tell if each request of a control does something, such as to draw new weights."""
        names = [name] if name in self.controls else []
        return any(self._of_each(lambda c: c.spec(self._session).action, names).values())

    def supersede(self, command: SetControl) -> None:
        """Record a value that a later one replaced before it was applied."""
        change = (self._in_use(command.control).read(self._session), command.value)
        self._write(command.control, change, command, "superseded", "A later value came first.")

    def restore(self, values: Mapping[str, Any]) -> None:
        """Restore earlier values without recording a change.

        Raises:
            ControlValueError: a value, of a file, is out of range.
        """
        refused: dict[str, ControlValueError] = {}

        def put_back(control: Control) -> None:
            value = values[control.name]
            if control.read(self._session) != value:
                try:
                    control.put_back(self._session, value)
                except ControlValueError as error:
                    refused[control.name] = error

        names = [name for name in values if name in self.controls]
        self._of_each(put_back, names)
        if refused:
            # What a control takes may depend on one that was put back after it.
            names = list(refused)
            refused.clear()
            self._of_each(put_back, names)
        for error in refused.values():
            raise error

    def check_known(self, values: Mapping[str, Any]) -> None:
        """Raise CheckpointError if a file has a control that is not there now."""
        for name in values:
            if name not in self.controls:
                raise CheckpointError(
                    f"The checkpoint has a control {name!r:.40}, which is not there now: install "
                    "the version of nbdebug, or the plug-in, that it was written with."
                )

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
            raise ArgumentError(unknown_keyword("keyword", name, known))
