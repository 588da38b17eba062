"""Rail with all controls of a session: the common ones first, the others one click away."""

from __future__ import annotations

import html
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

import ipywidgets

from nbdebug.core.commands.queue import Ticket
from nbdebug.core.contexts import contextmanager
from nbdebug.core.control_spec import ControlSpec, ControlState
from nbdebug.core.error_text import describe_error, message_of, raise_interrupt
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import ControlChange
from nbdebug.dashboard.control_widget import ControlWidget
from nbdebug.plots.markers import format_value

GRACE_TICKS = 2


class ControlForm:
    """Widgets for the controls; moving one requests a value, a tick shows the value in force.

    Args:
        controls: returns the controls with their values in force.
        request: requests values by control; may raise, or its ticket may be refused later.
        pending: returns requested values that training has not applied yet, by control.
        wake: lets the pump tick soon.
    """

    def __init__(
        self,
        controls: Callable[[], Sequence[ControlState]],
        request: Callable[[Mapping[str, Any]], Sequence[Ticket]],
        pending: Callable[[], Mapping[str, Any]],
        wake: Callable[[], None],
    ) -> None:
        self._controls, self._request = controls, request
        self._pending, self._wake = pending, wake
        self._lock = threading.Lock()
        # Ticks for which the widget of a control just moved is not updated: training may have
        # taken the command from the queue without having applied the value yet.
        self._moved: dict[str, int] = {}
        self._remark: tuple[str, str] | None = None
        # The last remark about a change; a refusal at once is none.
        self._outcome: tuple[str, str] | None = None
        self._last_change: ControlChange | None = None
        self._open = self._hidden = self._hides = False
        every = controls()
        # Samples are chosen in the table of worst samples.
        states = [state for state in every if state.spec.kind != "samples"]
        self._labels = {state.spec.name: str(state.spec.label) for state in every}
        # What one of these does is not seen in the first view.
        self._folded = {state.spec.name for state in states if state.spec.advanced}
        self._widgets: dict[str, ControlWidget] = {}
        for state in states:
            with self._without(state.spec.name):
                self._widgets[state.spec.name] = self._make(state)
        self._order = deque(self._widgets)
        self._build([state.spec for state in states if state.spec.name in self._widgets])

    @contextmanager
    def _without(self, name: str) -> Iterator[None]:
        """Do without the widget of a control whose state cannot be shown, and say so."""
        try:
            yield
        except BaseException as error:
            raise_interrupt(error)
            self._remark = (name, f"This control cannot be shown: {describe_error(error)}")
            if name in self._widgets:
                self._order.remove(name)

    def _make(self, state: ControlState) -> ControlWidget:
        name = state.spec.name
        widget = ControlWidget(state, lambda value: self.ask(name, value))
        widget.help.on_click(lambda _: self._explain(widget))
        return widget

    def _build(self, specs: Sequence[ControlSpec]) -> None:
        groups: dict[str, list[ControlSpec]] = {}
        for spec in specs:
            if spec.advanced:
                groups.setdefault(spec.group, []).append(spec)
        self.first = self._row([spec for spec in specs if not spec.advanced])
        self.rest = ipywidgets.VBox(
            [
                part
                for name, inside in groups.items()
                for part in (_heading(name), self._row(inside))
            ],
            layout=ipywidgets.Layout(display="none"),
        )
        self.rest.add_class("nbd-more")
        self.more = ipywidgets.ToggleButton(
            description="More",
            tooltip=f"Show or hide: {', '.join(groups)}",
            icon="sliders",
            layout=ipywidgets.Layout(width="auto", flex="0 0 auto"),
        )
        self.more.observe(self._on_more, "value")
        # Seen where the controls stand above the plots: they are out of the way then.
        self.fold = ipywidgets.ToggleButton(
            description="Controls",
            tooltip="Show or hide the controls above the plots; their values stay in force",
            icon="chevron-up",
            layout=ipywidgets.Layout(width="auto", flex="0 0 auto"),
        )
        self.fold.add_class("nbd-fold")
        self.fold.observe(self._on_fold, "value")
        self.note = ipywidgets.HTML(layout=ipywidgets.Layout(flex="1 1 0", margin="2px 4px"))
        bar = ipywidgets.HBox([self.fold, self.more, self.note])
        bar.add_class("nbd-remarks")
        # The button stays above the controls that it shows, and so under the mouse.
        self.box = ipywidgets.VBox([self.first, bar, self.rest])
        self.box.add_class("nbd-rail")

    def _row(self, specs: Sequence[ControlSpec]) -> Any:
        row = ipywidgets.Box([self._widgets[spec.name].box for spec in specs])
        row.add_class("nbd-controls")
        return row

    # Callbacks, on any thread; they only store values and put commands.

    def ask(self, name: str, value: Any) -> None:
        """Request a value; a refusal is shown as a remark under the controls."""
        if value is not None:
            with self._lock:
                self._moved[name] = GRACE_TICKS
                self._remark = None
            try:
                self._request({name: value})
            except Exception as error:
                with self._lock:
                    self._moved.pop(name, None)
                    self._remark = (name, message_of(error))
        self._wake()

    def remark(self, name: str, text: str) -> None:
        """Show a sentence under the controls.

        Args:
            name: of the control in question, "" for none.
        """
        self._remark = (name, text)
        self._wake()

    def _explain(self, widget: ControlWidget) -> None:
        self.remark(widget.name, widget.unavailable)

    def _on_fold(self, change: Any) -> None:
        self._hidden = bool(change["new"])
        self._wake()

    def _on_more(self, change: Any) -> None:
        self._open = bool(change["new"])
        self._wake()

    # Called by the pump.

    def update(self, snapshot: Snapshot, limit: int) -> int:
        """Show the values in force with at most `limit` messages; later ticks send the rest."""
        self._read_outcomes(snapshot)
        sent = 0
        for send in (self._show_fold, self._show_more, self._show_note, *self._refreshers()):
            if sent >= limit:
                break
            sent += send()
        return sent

    def _read_outcomes(self, snapshot: Snapshot) -> None:
        """Read what became of the changes since the last tick."""
        new = list(takewhile(lambda one: one is not self._last_change, reversed(snapshot.changes)))
        for change in reversed(new):
            name = change.control
            if name not in self._labels:
                continue
            if change.status == "refused":
                text = f"{format_value(change.new)} was refused: {change.note}"
                self._remark = self._outcome = (name, text)
            elif name in self._folded and change.who == "dashboard" and change.note:
                self._remark = self._outcome = (name, change.note)
            elif self._remark is self._outcome and self._outcome and self._outcome[0] == name:
                self._remark = None
        self._last_change = snapshot.changes[-1] if snapshot.changes else None

    def _refreshers(self) -> Iterator[Callable[[], int]]:
        states = {state.spec.name: state for state in self._controls()}
        busy = self._busy()
        # Controls updated at this tick come last at the next: none waits for ever.
        for name in list(self._order):
            if name in states and name not in busy:
                yield lambda name=name: self._show(name, states[name])  # type: ignore[misc]

    def _show(self, name: str, state: ControlState) -> int:
        shown = False
        with self._without(name):
            shown = self._widgets[name].show(state)
        if shown:
            self._order.remove(name)
            self._order.append(name)
        return int(shown)

    def _busy(self) -> set[str]:
        with self._lock:
            busy = set(self._moved)
            self._moved = {name: left - 1 for name, left in self._moved.items() if left > 1}
        return busy | set(self._pending())

    def _show_fold(self) -> int:
        if self._hidden == self._hides:
            return 0
        self._hides = self._hidden
        (self.box.add_class if self._hidden else self.box.remove_class)("nbd-folded")
        return 1

    def _show_more(self) -> int:
        display = "flex" if self._open else "none"
        if self.rest.layout.display == display:
            return 0
        self.rest.layout.display = display
        return 1

    def _show_note(self) -> int:
        text = ""
        if self._remark is not None:
            name, reason = self._remark
            label = f"<b>{html.escape(self._labels.get(name, name))}</b>: " if name else ""
            text = label + html.escape(reason)
            text = f'<span role="status">{text}</span>'
        if self.note.value == text:
            return 0
        self.note.value = text
        return 1


def _heading(text: str) -> Any:
    line = (
        '<div role="heading" aria-level="3" style="font-weight:600;line-height:1.35;'
        f'color:var(--jp-ui-font-color2,#666)">{html.escape(text)}</div>'
    )
    return ipywidgets.HTML(line, layout=ipywidgets.Layout(margin="6px 2px 0"))
