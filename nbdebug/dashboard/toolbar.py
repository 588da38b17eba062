"""Toolbar of the dashboard: Run, Pause, Step, Reset, and the status of training."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets

from nbdebug.core.commands.running import Pause, Reset, Run
from nbdebug.core.history.snapshot import Snapshot

MAX_STEPS = 1_000_000
RUN_TIP = "Train until paused; starts at once"


class Toolbar:
    """Buttons that request commands, and one HTML line that a tick rewrites.

    Args:
        ask: requests a command by its name, with fields.
        title: name of the training.
    """

    def __init__(self, ask: Callable[[str, Mapping[str, Any]], None], title: str = "") -> None:
        self._ask, self._title = ask, title
        self._running = False
        self.run = _button("Run", "play", RUN_TIP, "success")
        self.step = _button("Step", "step-forward", "Train the given number of steps, then pause")
        self.reset = _button(
            "Reset",
            "undo",
            "Restart from the beginning after the current step: initial weights, optimizer, data "
            "order and controls. Clears the plots.",
        )
        self.count = ipywidgets.BoundedIntText(
            1,
            min=1,
            max=MAX_STEPS,
            tooltip="Number of steps that Step trains",
            layout=ipywidgets.Layout(width="74px"),
        )
        self.run.on_click(self._on_run)
        self.step.on_click(lambda _: ask(Run.name, {"steps": self.count.value}))
        self.reset.on_click(lambda _: ask(Reset.name, {}))
        self.line = ipywidgets.HTML(layout=ipywidgets.Layout(flex="1 1 480px", min_width="300px"))
        gap = ipywidgets.Layout(margin="0 14px 0 0", align_items="center")
        buttons = ipywidgets.HBox([self.run, self.step, self.count, self.reset], layout=gap)
        self.box = ipywidgets.Box(
            [buttons, self.line],
            layout=ipywidgets.Layout(flex_flow="row wrap", align_items="center", width="100%"),
        )
        self.update(Snapshot(), 2)

    def _on_run(self, _button: Any) -> None:
        self._ask(Pause.name if self._running else Run.name, {})

    def update(self, snapshot: Snapshot, limit: int) -> int:
        """Rewrite what changed with at most `limit` messages."""
        sent = 0
        running = self._running = snapshot.status.state == "running"
        closed = snapshot.status.state == "closed"
        looks = {
            "description": "Pause" if running else "Run",
            "icon": "pause" if running else "play",
            "tooltip": "Finish the current step, then pause" if running else RUN_TIP,
            "button_style": "warning" if running else "success",
            "disabled": closed,
        }
        if sent < limit and any(getattr(self.run, n) != value for n, value in looks.items()):
            with self.run.hold_sync():
                for name, value in looks.items():
                    setattr(self.run, name, value)
            sent += 1
        for button in (self.step, self.reset):
            if sent < limit and button.disabled != closed:
                button.disabled = closed
                sent += 1
        line = status_line(snapshot, self._title)
        if sent < limit and self.line.value != line:
            self.line.value = line
            sent += 1
        return sent


def status_line(snapshot: Snapshot, title: str = "") -> str:
    """Progress and latest values as HTML, in cells of equal width so that nothing jumps."""
    status, latest = snapshot.status, snapshot.latest
    cells = (
        ("state", html.escape(_state(snapshot))),
        ("epoch", f"{status.epoch:.2f}"),
        ("step", f"{status.step:,}"),
        ("samples/s", _number(latest.get("samples_per_second"), ",.0f")),
        ("loss", _number(latest.get("loss"), ".4g")),
        ("measuring", _number(latest.get("measuring_share"), ".1%")),
    )
    boxes = "".join(
        f'<span title="{_CELL_TIPS[name]}" style="flex:1 0 68px;white-space:nowrap">'
        f'<span style="display:block;font-size:11px;line-height:14px;opacity:.7">{name}</span>'
        f'<span style="display:block;line-height:18px;font-variant-numeric:tabular-nums">'
        f"{value}</span></span>"
        for name, value in cells
    )
    share, label = progress(snapshot)
    escaped = html.escape(title)
    return (
        f'<div title="{escaped}" style="display:flex;flex-wrap:wrap;gap:2px 10px">{boxes}</div>'
        f'<progress aria-label="{label}" title="{label}" max="1" value="{share:.3f}" '
        'style="width:100%;height:6px;display:block;accent-color:var(--jp-brand-color1,#0072b2)">'
        f"{label}</progress>"
    )


def progress(snapshot: Snapshot) -> tuple[float, str]:
    """Share and text of the progress to the goal if there is one, else through the epoch."""
    status = snapshot.status
    if status.goal:
        share = min(status.step / status.goal, 1.0)
        return share, f"step {status.step:,} of {status.goal:,}"
    share = status.epoch % 1
    return share, f"{share:.0%} of epoch {math.floor(status.epoch) + 1}"


def _state(snapshot: Snapshot) -> str:
    if snapshot.status.failure is not None:
        return "stopped"
    return snapshot.status.state if snapshot.status.step or snapshot.latest else "ready"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None or not math.isfinite(value) else format(value, form)


def _button(label: str, icon: str, tooltip: str, style: str = "") -> Any:
    return ipywidgets.Button(
        description=label,
        icon=icon,
        tooltip=tooltip,
        button_style=style,
        layout=ipywidgets.Layout(width="84px"),
    )


_CELL_TIPS = {
    "state": "State of training",
    "epoch": "Passes over the training data so far",
    "step": "Optimizer updates so far",
    "samples/s": "Training samples per second",
    "loss": "Loss of the latest step",
    "measuring": "Share of the time spent on measuring",
}
