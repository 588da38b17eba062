"""What schedulers keep for each parameter group, when groups come and go."""

from __future__ import annotations

import copy
from typing import Any

PER_GROUP = (
    "base_lrs",
    "max_lrs",
    "min_lrs",
    "lr_lambdas",
    "base_momentums",
    "max_momentums",
    "_last_lr",
)


def grow(values: dict[str, Any], leader: int) -> None:
    """Give a scheduler's attributes or state one more group, as the leading one is."""
    for name in PER_GROUP:
        kept = values.get(name)
        if isinstance(kept, list) and len(kept) > leader:
            # A list of its own: another scheduler may hold the same one.
            values[name] = [*kept, copy.deepcopy(kept[leader])]
    for inner in values.get("_schedulers", ()):
        grow(inner if isinstance(inner, dict) else vars(inner), leader)


def trim(values: dict[str, Any], groups: int) -> None:
    """Take away what a scheduler's attributes hold for more groups than there are."""
    for name in PER_GROUP:
        kept = values.get(name)
        if isinstance(kept, list):
            values[name] = kept[:groups]
    for inner in values.get("_schedulers", ()):
        trim(vars(inner), groups)
