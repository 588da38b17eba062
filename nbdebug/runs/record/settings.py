"""Settings of a recorded run that may be given to a Debugger again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbdebug.core.plugins import plugin_names

# Where a training is recorded, named, loaded from or run is never taken from a record.
SETUP_KEYWORDS = ("optimizer", "lr", "batch_size", "schedule", "seed")
# Determined by model and data, though it is a control.
DERIVED_CONTROLS = ("bn_statistics",)
NO_VALUES = (None, "", "as_built")


def repeatable_settings(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Set-up values and controls among parameters; everything else is left out."""
    allowed = {*SETUP_KEYWORDS, *plugin_names("nbdebug.controls")} - {*DERIVED_CONTROLS}
    return {n: v for n, v in parameters.items() if n in allowed and v not in NO_VALUES}
