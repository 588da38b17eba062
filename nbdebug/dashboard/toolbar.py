"""Toolbar of the dashboard: Run, Pause, Step, Reset, Help, and the status of training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets

from nbdebug.core.commands.running import Pause, Reset, Run
from nbdebug.core.commands.timeline import Undo
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.undo import undo_label
from nbdebug.dashboard.headline import headline
from nbdebug.dashboard.tour import Tour

MAX_STEPS = 1_000_000
RUN_TIP = "Train until paused; starts at once"
RESET_TIP = (
    "Restart from the beginning after the current step: initial weights, optimizer, data order "
    "and controls. Clears the plots. Asks before it does so."
)
SURE_TIP = "Press again to restart from the beginning; the steps trained so far are discarded"
SURE_TICKS = 16
UNDO_TIP = "Take back the last change of controls at the next step (Ctrl+Z)"
NOTHING_TIP = "Nothing to take back: no control was changed"
UNITS = (("steps", "steps"), ("epochs", "epochs"))


class Toolbar:
    """Buttons that request commands, and one HTML line that a tick rewrites.

    Args:
        ask: requests a command by its name, with fields.
        title: name of the training.
    """

    def __init__(self, ask: Callable[[str, Mapping[str, Any]], None], title: str = "") -> None:
        self._ask, self._title = ask, title
        self._running = False
        self._sure = 0
        self.run = _button("Run", "play", RUN_TIP, "success")
        self.step = _button("Step", "step-forward", "Train this many steps or epochs, then pause")
        self.undo = _button("Undo", "undo", NOTHING_TIP)
        self.reset = _button("Reset", "history", RESET_TIP)
        self.count, self.unit = _amount()
        self.help = ipywidgets.ToggleButton(
            description="Help",
            icon="question",
            tooltip="Show or hide a short tour of the dashboard; its terms open their pages",
            layout=ipywidgets.Layout(width="70px"),
        )
        self.tour = Tour()
        self.help.observe(self._on_help, "value")
        self.run.on_click(self._on_run)
        self.step.on_click(lambda _: ask(Run.name, {self.unit.value: self.count.value}))
        self.undo.on_click(lambda _: ask(Undo.name, {}))
        self.reset.on_click(self._on_reset)
        self.line = ipywidgets.HTML(layout=ipywidgets.Layout(flex="1 1 480px", min_width="280px"))
        buttons = ipywidgets.HBox([self.run, self.step, self.count, self.unit, self.undo])
        aside = ipywidgets.HBox([self.help, self.reset])
        bar = ipywidgets.Box(
            [buttons, self.line, aside],
            layout=ipywidgets.Layout(flex_flow="row wrap", align_items="center", width="100%"),
        )
        bar.add_class("nbd-toolbar")
        self.box = ipywidgets.VBox([bar, self.tour.box], layout=ipywidgets.Layout(width="100%"))
        self.update(Snapshot(), 2)

    def _on_run(self, _button: Any) -> None:
        self._ask(Pause.name if self._running else Run.name, {})

    def _on_help(self, change: Any) -> None:
        self.tour.show(change["new"])

    def _on_reset(self, _button: Any) -> None:
        """Reset at the second click; the first one asks, for a few seconds."""
        sure, self._sure = bool(self._sure), 0
        if sure:
            self._ask(Reset.name, {})
        else:
            self._sure = SURE_TICKS

    def update(self, snapshot: Snapshot, limit: int) -> int:
        """Rewrite what changed with at most `limit` messages."""
        running = self._running = snapshot.status.state == "running"
        closed = snapshot.status.state == "closed"
        if not snapshot.status.step:
            # Nothing is lost by a reset.
            self._sure = min(self._sure, 1)
        sure = self._sure > 0
        self._sure = max(0, self._sure - 1)
        change = undo_label(snapshot.results)
        looks: dict[Any, dict[str, Any]] = {
            self.run: {
                "description": "Pause" if running else "Run",
                "icon": "pause" if running else "play",
                "tooltip": "Finish the current step, then pause" if running else RUN_TIP,
                "button_style": "warning" if running else "success",
                "disabled": closed,
            },
            self.step: {"disabled": closed},
            self.undo: {
                "disabled": closed or change is None,
                "tooltip": NOTHING_TIP if change is None else f"{UNDO_TIP}: {change}",
            },
            self.reset: {
                "description": "Sure?" if sure else "Reset",
                "tooltip": SURE_TIP if sure else RESET_TIP,
                "button_style": "danger" if sure else "",
                "disabled": closed,
            },
            self.line: {"value": headline(snapshot, self._title)},
        }
        sent = 0
        for widget, traits in looks.items():
            changed = any(getattr(widget, name) != value for name, value in traits.items())
            if sent < limit and changed:
                with widget.hold_sync():
                    for name, value in traits.items():
                        setattr(widget, name, value)
                sent += 1
        return sent


def _button(label: str, icon: str, tooltip: str, style: str = "") -> Any:
    return ipywidgets.Button(
        description=label,
        icon=icon,
        tooltip=tooltip,
        button_style=style,
        layout=ipywidgets.Layout(width="76px"),
    )


def _amount() -> tuple[Any, Any]:
    """Number of steps or epochs that Step trains, and its unit."""
    count = ipywidgets.BoundedIntText(
        1,
        min=1,
        max=MAX_STEPS,
        tooltip="Number of steps or epochs that Step trains",
        layout=ipywidgets.Layout(width="58px"),
    )
    unit = ipywidgets.Dropdown(
        options=UNITS,
        tooltip="Unit of the number: steps or epochs",
        layout=ipywidgets.Layout(width="78px"),
    )
    return count, unit
