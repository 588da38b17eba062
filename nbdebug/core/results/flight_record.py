"""Flight record: module outputs in the last steps before a stop."""

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
        largest: the largest finite magnitude, NaN without one.
        non_finite: number of NaN or Inf values, of `count`.
        updated: whether the optimizer update of that step was made.
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
    """Outputs of all modules in the last steps, from a rerun on a copy."""

    outputs: tuple[ModuleOutput, ...]

    @property
    def first(self) -> ModuleOutput | None:
        """The first output with NaN or Inf, None if all were finite."""
        return next((output for output in self.outputs if output.non_finite), None)

    @property
    def steps(self) -> tuple[int, ...]:
        """The recorded steps, the oldest first."""
        return tuple(dict.fromkeys(output.step for output in self.outputs))

    def frame(self) -> pd.DataFrame:
        """Largest magnitudes, one row per module, one column per step; inf for NaN or Inf."""
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
            return "No module output contained NaN or Inf."
        return (
            f"Step {found.step:,}: {found.non_finite:,} of {found.count:,} values of the output of "
            f"{found.module} ({found.kind}) were NaN or Inf."
        )

    def __repr__(self) -> str:
        return f"{self}\n{self.frame().to_string(float_format=lambda value: f'{value:.3g}')}"

    def _repr_html_(self) -> str:
        return flight_table(self)


def flight_table(record: FlightRecord) -> str:
    """Render a flight record as HTML."""
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
    return "NaN or Inf" if math.isinf(value) else f"{value:.3g}"


def _row(tag: str, cells: Sequence[str]) -> str:
    style = "text-align:left;overflow-wrap:normal"
    inner = "".join(f'<{tag} style="{style}">{html.escape(cell)}</{tag}>' for cell in cells)
    return f"<tr>{inner}</tr>"
