"""Description and state of a control, as widgets and users see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

ControlKind = Literal["float", "int", "choice", "samples"]
Scale = Literal["linear", "log"]


@dataclass(frozen=True, slots=True)
class ControlSpec:
    """Description of one control of one session.

    Attributes:
        name: the keyword of `Debugger.set`.
        label: the name shown in the dashboard.
        kind: float, int or choice; samples: indices chosen in a table,
            without a widget.
        help: the tooltip: the effect of the control, and when a new value takes effect.
        low, high: ends of the range offered by a slider (float and int).
        step: distance between two slider positions; in decades for a log scale.
        scale: linear or log.
        unit: unit of the value, "" for none.
        choices: the values of a choice, each with its label.
        members: names of the parts that can be set one by one; part: what they are.
        unavailable: the reason why the control cannot be used now, or "".
        idle: whether the value has no effect now, because of other controls; the control is
            then not shown.
        advanced: whether the control is shown one click away.
        group: heading among the advanced controls; controls of one group are shown together.
        plotted: whether a numeric value in force has a lane among the plots.
        action: whether setting the control runs something once; its value stays "".
    """

    name: str
    label: str
    kind: ControlKind
    help: str
    low: float = 0.0
    high: float = 1.0
    step: float = 0.01
    scale: Scale = "linear"
    unit: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    members: tuple[str, ...] = ()
    part: str = "layer"
    unavailable: str = ""
    idle: bool = False
    advanced: bool = False
    group: str = "More"
    plotted: bool = True
    action: bool = False


@dataclass(frozen=True, slots=True)
class ControlState:
    """A control's description and its value in force.

    `value` is a float, an int or a str, or a dict by member where members differ. For
    samples it is a tuple of indices, or a dict by index.
    """

    spec: ControlSpec
    value: Any
