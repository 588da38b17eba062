"""Lists of names in texts."""

from __future__ import annotations

from collections.abc import Sequence


def first_names(names: Sequence[str]) -> str:
    """Text with the first three names and the number of the others."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
