"""Snapshots that are made up, for rules and panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array
from nbdebug.plugins import example


def snapshot(
    series: Mapping[str, Sequence[float] | Array] | None = None,
    /,
    *,
    step: int | None = None,
    **fields: Any,
) -> Snapshot:
    """Make up a Snapshot.

    Args:
        series: values [N] by name; a plain name (`loss`) was measured at each step from 0, a
            member of a group (`dead/1`) at every tenth step.
        step: where training stands; None is the step after the last value.
        fields: other fields of the Snapshot, as `changes`, `notices` or `latest`.
    """
    made = example(series or {}, **fields)
    if step is None:
        return made
    return replace(made, status=replace(made.status, step=step))
