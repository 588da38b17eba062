"""Documents of records that an earlier version wrote, with today's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbdebug.core.deprecated import current_name, current_settings, current_value


def current_documents(documents: Mapping[str, Any]) -> dict[str, Any]:
    """The documents of a run; names and values of controls are the ones of this version."""
    found = dict(documents)
    if "parameters" in found:
        found["parameters"] = current_settings(found["parameters"])
    for name, current in (("changes", _change), ("findings", _finding), ("checks", _check)):
        if name in found:
            found[name] = [current(row) for row in found[name]]
    return found


def _change(row: Mapping[str, Any]) -> dict[str, Any]:
    control = current_name(row.get("control", ""))
    values = {key: current_value(control, row[key]) for key in ("old", "new") if key in row}
    return {**row, "control": control, **values}


def _finding(row: Mapping[str, Any]) -> dict[str, Any]:
    remedies = [
        {**remedy, "settings": current_settings(remedy.get("settings") or {})}
        for remedy in row.get("remedies") or ()
    ]
    return {**row, "remedies": remedies}


def _check(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"expensive" if key == "dear" else key: value for key, value in row.items()}
