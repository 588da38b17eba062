"""Exceptions that travel as their class, message and traceback."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

from nbdebug import errors
from nbdebug.core.error_text import kind_of, message_of, traceback_of
from nbdebug.errors import NbdebugError, NonFiniteError, RemoteError


def described(error: BaseException) -> dict[str, str]:
    """An exception as texts."""
    return {
        "kind": kind_of(error),
        "text": message_of(error),
        "origin": getattr(error, "origin", "") if isinstance(error, NonFiniteError) else "",
        "traceback": "" if isinstance(error, NbdebugError) else traceback_of(error),
    }


def restored(found: Mapping[str, str], process: int) -> Exception:
    """The exception again; RemoteError for a class that is not known here.

    Args:
        process: where it was raised; its traceback there is added as a note.
    """
    kind, text = str(found["kind"]), str(found["text"])
    made = _made(kind, text)
    if isinstance(made, NonFiniteError):
        made.origin = found["origin"]  # type: ignore[assignment]
    if made is None:
        made = RemoteError(f"{kind}: {text}")
    if found["traceback"]:
        made.add_note(f"Raised in process {process}:\n{found['traceback']}")
    return made


def _made(kind: str, text: str) -> Exception | None:
    """An exception of nbdebug or of Python that says this text; None if there is none."""
    found: Any = getattr(errors, kind, None) or getattr(builtins, kind, None)
    if not isinstance(found, type) or not issubclass(found, Exception):
        return None
    try:
        made = found(text)
    except Exception:
        return None
    return made if str(made) == text else None
