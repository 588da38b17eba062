"""The last steps before a stop, module by module."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class ModuleOutput:
    """The output of one module in one step.

    Attributes:
        largest: the largest finite magnitude, NaN where there is none.
        bad: how many values were not finite, of `count`.
        updated: whether the update of that step was made.
    """

    step: int
    module: str
    kind: str
    largest: float
    non_finite: int
    count: int
    updated: bool = True


@dataclass(frozen=True)
class FlightRecord:
    """Outputs of all modules in the last steps, which were run again on a copy."""

    outputs: tuple[ModuleOutput, ...]

    @property
    def first(self) -> ModuleOutput | None:
        """The first output that was not finite, None when all were finite."""
        return next((output for output in self.outputs if output.non_finite), None)

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps that were looked at, the oldest first."""
        return tuple(dict.fromkeys(output.step for output in self.outputs))

    def frame(self) -> pd.DataFrame:
        """Largest magnitudes, one row a module, one column a step; inf where not finite."""
        import pandas as pd

        rows = {module: dict(values) for module, values in self._table().items()}
        return pd.DataFrame.from_dict(rows, orient="index", columns=list(self.steps))

    def _table(self) -> dict[str, dict[int, float]]:
        table: dict[str, dict[int, float]] = {}
        for output in self.outputs:
            value = math.inf if output.non_finite else output.largest
            row = table.setdefault(f"{output.module} ({output.kind})", {})
            row[output.step] = max(value, row.get(output.step, value))
        return table

    def __str__(self) -> str:
        found = self.first
        if found is None:
            return "All outputs of all modules were finite."
        return (
            f"Step {found.step:,}: {found.non_finite:,} of {found.count:,} values of the output of "
            f"{found.module} ({found.kind}) were not finite."
        )

    def __repr__(self) -> str:
        return f"{self}\n{self.frame().to_string(float_format=lambda value: f'{value:.3g}')}"

    def _repr_html_(self) -> str:
        return flight_table(self)


def flight_table(record: FlightRecord) -> str:
    """A flight record as HTML."""
    steps = record.steps
    head = _row("th", ["largest output", *(f"step {step:,}" for step in steps)])
    body = "".join(
        _row("td", [module, *(_number(values.get(step)) for step in steps)])
        for module, values in record._table().items()
    )
    return (
        f"<div><b>{html.escape(str(record))}</b></div>"
        f'<div style="overflow-x:auto"><table>{head}{body}</table></div>'
    )


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return "not finite" if math.isinf(value) else f"{value:.3g}"


def _row(tag: str, cells: Sequence[str]) -> str:
    style = "text-align:left;overflow-wrap:normal"
    inner = "".join(f'<{tag} style="{style}">{html.escape(cell)}</{tag}>' for cell in cells)
    return f"<tr>{inner}</tr>"
