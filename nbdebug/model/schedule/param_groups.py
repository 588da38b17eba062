"""Per-group attributes of schedulers, when parameter groups are added and dropped."""

from __future__ import annotations

import copy
from typing import Any

PER_GROUP_ATTRIBUTES = (
    "base_lrs",
    "max_lrs",
    "min_lrs",
    "lr_lambdas",
    "base_momentums",
    "max_momentums",
    "_last_lr",
)


def add_group(values: dict[str, Any], leader: int) -> None:
    """Add a group, like the leading one, to the attributes or state of a scheduler."""
    for name in PER_GROUP_ATTRIBUTES:
        kept = values.get(name)
        if isinstance(kept, list) and len(kept) > leader:
            # A new list: another scheduler may hold the same one.
            values[name] = [*kept, copy.deepcopy(kept[leader])]
    for inner in values.get("_schedulers", ()):
        add_group(inner if isinstance(inner, dict) else vars(inner), leader)


def drop_groups(values: dict[str, Any], groups: int) -> None:
    """Drop the entries after the first `groups` from a scheduler's attributes."""
    for name in PER_GROUP_ATTRIBUTES:
        kept = values.get(name)
        if isinstance(kept, list):
            values[name] = kept[:groups]
    for inner in values.get("_schedulers", ()):
        drop_groups(vars(inner), groups)
