"""One control as a widget: shows the value in force, requests another."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import ipywidgets

from nbdebug.core.control_spec import ControlSpec, ControlState


class ControlWidget:
    """A slider or a drop-down for one control.

    Args:
        state: of the control at the start.
        ask: called with a value that the user requests; never called by `show`.
    """

    def __init__(self, state: ControlState, ask: Callable[[Any], None]) -> None:
        self.name = state.spec.name
        self._ask = ask
        self._spec = state.spec
        self._showing: int | None = None
        self.input = _input(state.spec)
        self.member = _member(state.spec)
        self.help = ipywidgets.Button(
            description="?", layout=ipywidgets.Layout(width="28px", padding="0", flex="0 0 28px")
        )
        rows = [self.input] if self.member is None else [self.input, self.member]
        inputs = ipywidgets.VBox(rows, layout=ipywidgets.Layout(flex="1 1 auto", min_width="0"))
        self.box = ipywidgets.HBox([inputs, self.help])
        self.box.add_class("nbd-control")
        while self.show(state):
            pass
        self.input.observe(self._on_value, "value")
        if self.member is not None:
            self.member.observe(self._on_member, "value")

    @property
    def unavailable(self) -> str:
        """Reason why the control cannot be used now, "" if it can."""
        return self._spec.unavailable

    def show(self, state: ControlState) -> bool:
        """Show the value in force; True if that took a message."""
        self._spec = state.spec
        self._state = state
        display = "none" if state.spec.idle else "flex"
        if self.box.layout.display != display:
            self.box.layout.display = display
            return True
        wanted = self._traits(state)
        if any(getattr(self.input, name) != value for name, value in wanted.items()):
            # The user may move the widget at the same time, on another thread.
            self._showing = threading.get_ident()
            try:
                with self.input.hold_sync():
                    _assign(self.input, wanted)
            finally:
                self._showing = None
            return True
        return self._show_help(state.spec)

    def _show_help(self, spec: ControlSpec) -> bool:
        """Show the `?` button only if there is something to explain."""
        display = "inline-flex" if spec.unavailable else "none"
        if self.help.layout.display != display:
            self.help.layout.display = display
            return True
        tooltip = f"Why {spec.label} cannot be changed: {spec.unavailable}"
        if spec.unavailable and self.help.tooltip != tooltip:
            self.help.tooltip = tooltip
            return True
        return False

    def _traits(self, state: ControlState) -> dict[str, Any]:
        spec = state.spec
        traits: dict[str, Any] = {"disabled": bool(spec.unavailable)}
        if spec.kind == "choice":
            traits["options"] = tuple((label, value) for value, label in spec.choices)
            value = self._picked(state.value)
            # Blank if layers differ.
            if value is None or value in dict(spec.choices):
                traits["value"] = value
            return traits
        value = self._number(state.value)
        low, high = spec.low, spec.high
        if value is not None and math.isfinite(value):
            if _is_log(spec) and value <= 0:
                # A schedule may end at 0, which has no logarithm: the slider shows its low end.
                value = low
            # The API may set values outside the range of the slider; the slider then grows.
            low, high = min(low, value), max(high, value)
            traits["value"] = int(value) if spec.kind == "int" else float(value)
        if _is_log(spec):
            low, high = math.log10(low), math.log10(high)
        return {"min": low, "max": high, **traits}

    def _number(self, value: Any) -> float | None:
        picked = self._picked(value)
        if picked is None and isinstance(value, dict):
            parts = list(value.values())
            return sum(parts) / len(parts) if parts else None
        return None if picked is None or isinstance(picked, str) else picked

    def _picked(self, value: Any) -> Any:
        """Value of the chosen layer; None for all layers if they differ."""
        if not isinstance(value, dict):
            return value
        return value.get(self.member.value if self.member is not None else "")

    def _on_value(self, change: Any) -> None:
        if self._showing == threading.get_ident():
            return
        value = change["new"]
        if self.member is not None and self.member.value:
            value = {self.member.value: value}
        self._ask(value)

    def _on_member(self, _change: Any) -> None:
        self._ask(None)


def _input(spec: ControlSpec) -> Any:
    common = {
        "description": spec.label,
        "tooltip": spec.help,
        "style": {"description_width": "auto"},
        "layout": ipywidgets.Layout(width="auto"),
    }
    if spec.kind == "choice":
        return ipywidgets.Dropdown(
            options=[(label, value) for value, label in spec.choices], **common
        )
    common["continuous_update"] = False
    if spec.kind == "int":
        return ipywidgets.IntSlider(
            int(spec.low), int(spec.low), int(spec.high), int(max(spec.step, 1)), **common
        )
    if _is_log(spec):
        ends = {"min": math.log10(spec.low), "max": math.log10(spec.high)}
        return ipywidgets.FloatLogSlider(
            spec.low, **ends, step=spec.step, readout_format=".3g", **common
        )
    return ipywidgets.FloatSlider(
        spec.low,
        min=spec.low,
        max=spec.high,
        step=spec.step,
        readout_format=_digits(spec.step),
        **common,
    )


def _digits(step: float) -> str:
    """Number format with enough digits to tell two slider positions apart."""
    return f".{max(0, math.ceil(-math.log10(step) - 1e-9))}f"


def _member(spec: ControlSpec) -> Any:
    if len(spec.members) < 2:
        return None
    return ipywidgets.Dropdown(
        options=[(f"all {spec.part}s", ""), *((name, name) for name in spec.members)],
        description="applies to",
        tooltip=f"The {spec.part} whose {spec.label} is shown and set; takes effect at once",
        style={"description_width": "auto"},
        layout=ipywidgets.Layout(width="auto"),
    )


def _assign(widget: Any, traits: dict[str, Any]) -> None:
    """Set limits before values, the wider limit first, so that no value is clamped."""
    if "min" in traits and traits["min"] <= widget.max:
        widget.min, widget.max = traits["min"], traits["max"]
    elif "min" in traits:
        widget.max, widget.min = traits["max"], traits["min"]
    if "options" in traits and tuple(widget.options) != traits["options"]:
        widget.options = traits["options"]
    if "value" in traits:
        widget.value = traits["value"]
    widget.disabled = traits["disabled"]


def _is_log(spec: ControlSpec) -> bool:
    return spec.kind == "float" and spec.scale == "log" and spec.low > 0
