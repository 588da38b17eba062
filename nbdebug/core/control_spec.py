"""What a control looks like from outside: all that a widget or a person needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

ControlKind = Literal["float", "int", "choice", "samples"]
Scale = Literal["linear", "log"]


@dataclass(frozen=True, slots=True)
class ControlSpec:
    """Description of one control of one session.

    Attributes:
        name: what `Debugger.set` calls it.
        label: what the dashboard calls it.
        kind: float, int or choice; samples: set by their number from a table, without a widget.
        help: what it does and when it takes effect; the tooltip.
        low, high: ends of the range offered by a slider (float and int).
        step: distance of two slider positions; in decades for a log scale.
        scale: linear or log.
        unit: "" when it has none.
        choices: the values of a choice, each with the words shown for it.
        members: parts that can be set one by one (layers), each by its name.
        unavailable: why it cannot be used now; "" when it can.
        advanced: shown one click away.
        group: the heading over it among the advanced controls; those of one name stand together.
        plotted: its value in force has a lane among the plots, when it is a number.
        action: done once when it is asked for; the value in force stays "".
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
    unavailable: str = ""
    advanced: bool = False
    group: str = "More"
    plotted: bool = True
    action: bool = False


@dataclass(frozen=True, slots=True)
class ControlState:
    """A control as it stands: its description and the value in force.

    `value` is a float, an int or a str, or a dict by member where members differ; of samples a
    tuple of indices, or a dict by index.
    """

    spec: ControlSpec
    value: Any
