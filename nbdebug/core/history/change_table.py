"""Control changes as a DataFrame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

VALUE_COLUMNS = ("old", "new")


def change_frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """One row per change; each value stays of its own type.

    The values of several controls share a column, and a batch size of 64 beside a learning rate
    would become 64.0.

    Args:
        rows: changes by column; what a row lacks is None.
    """
    import pandas as pd

    table = {
        name: pd.Series(
            [row.get(name) for row in rows], dtype=object if name in VALUE_COLUMNS else None
        )
        for name in columns
    }
    return pd.DataFrame(table, columns=list(columns))
