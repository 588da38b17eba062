"""Error messages for unknown names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def unknown_name(kind: str, name: object, known: Iterable[str]) -> str:
    """Build the message for an unknown name: the closest known one first, then all of them."""
    names = sorted(set(known))
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"There is no {kind} {name!r:.80}.{hint} There are: {', '.join(names) or 'none'}."
