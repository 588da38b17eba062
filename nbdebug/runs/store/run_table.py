"""Runs as a DataFrame."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from nbdebug.runs.store.row import Row

if TYPE_CHECKING:
    import pandas as pd

FIRST_COLUMNS = ("name", "status", "started", "seconds", "steps", "loss", "val_loss")


def frame_of_rows(rows: list[Row]) -> pd.DataFrame:
    """Runs as a DataFrame, indexed by id: name, status, times, last values, hyperparameters."""
    import pandas as pd

    columns: dict[str, list[Any]] = {name: [math.nan] * len(rows) for name in FIRST_COLUMNS}
    for place, row in enumerate(rows):
        line: dict[str, Any] = {
            "name": row.name,
            "status": row.status,
            "started": row.started or math.nan,
            "seconds": None if row.ended is None or not row.started else row.ended - row.started,
            "steps": row.steps,
        }
        line |= row.metrics
        line |= {n: _value(v) for n, v in row.parameters.items()}
        line |= {f"tag.{name}": value for name, value in row.tags.items()}
        for name, value in line.items():
            if name not in columns:
                columns[name] = [math.nan] * len(rows)
            columns[name][place] = value
    index = pd.Index([row.id for row in rows], name="id")
    if not rows:
        return pd.DataFrame(columns=list(FIRST_COLUMNS), index=index)
    columns["started"] = list(pd.to_datetime(columns["started"], unit="s", utc=True))
    return pd.DataFrame(columns, index=index)


@lru_cache(10_000)
def _value(text: str) -> Any:
    """A hyperparameter as a number or constant if it is one, else as text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"True": True, "False": False, "None": None}.get(text, text)
