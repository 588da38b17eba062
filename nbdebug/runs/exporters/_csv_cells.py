"""Tables as CSV that no spreadsheet takes for formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# Spreadsheets run a cell that begins with one of these, also in the wide form of East Asia.
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%", *"\uff1d\uff0b\uff0d\uff20")
# Spreadsheets pass over these at the beginning of a cell.
IGNORED = " \u00a0\u3000\ufeff\u200b\x00\"'"


def harmless_table(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose texts, and names of columns, are no formulas; numbers stay as they are.

    A text that a spreadsheet would run gets an apostrophe before it. Source: OWASP, "CSV
    Injection".
    """
    found = table.rename(columns=harmless_cell)
    for index, kind in enumerate(found.dtypes):
        if kind.kind not in "biufM":
            found.isetitem(index, [harmless_cell(value) for value in found.iloc[:, index]])
    return found


def harmless_cell(value: Any) -> Any:
    """A cell that is no formula; numbers, and texts that are numbers, are returned as given."""
    if isinstance(value, list | dict | tuple):
        value = str(value)
    if not isinstance(value, str) or _is_number(value):
        return value
    begins = value.lstrip(IGNORED).startswith(FORMULA_SIGNS) or value.startswith(FORMULA_SIGNS)
    # A carriage return alone is not quoted, and begins a new row.
    lines = value.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{lines}" if begins else lines


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.strip() == text
