"""Documents of records that an earlier version wrote, with today's names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nbdebug.core.deprecated import current_name, current_settings, current_value

Row = dict[str, Any]


def current_documents(documents: Mapping[str, Any]) -> dict[str, Any]:
    """The documents of a run with today's names and values of controls.

    Nothing is added, and anything that has another form is returned unchanged.
    """
    found = dict(documents)
    if isinstance(found.get("parameters"), dict):
        found["parameters"] = current_settings(found["parameters"])
    _convert(found, "changes", _change)
    _convert(found, "findings", _finding)
    _convert(found, "checks", _check)
    return found


def _convert(documents: Row, name: str, current: Callable[[Row], Row]) -> None:
    rows = documents.get(name)
    if isinstance(rows, list):
        documents[name] = [current(row) if isinstance(row, dict) else row for row in rows]


def _change(row: Row) -> Row:
    if not isinstance(row.get("control"), str):
        return row
    control = current_name(row["control"])
    values = {k: current_value(control, v) if k in ("old", "new") else v for k, v in row.items()}
    return {**values, "control": control}


def _finding(row: Row) -> Row:
    found = dict(row)
    _convert(found, "remedies", _remedy)
    return found


def _remedy(row: Row) -> Row:
    settings = row.get("settings")
    return {**row, "settings": current_settings(settings)} if isinstance(settings, dict) else row


def _check(row: Row) -> Row:
    return {"expensive" if key == "dear" else key: value for key, value in row.items()}
