"""Errors of MLflow and its database, in words."""

from __future__ import annotations

from collections.abc import Iterator

from nbdebug.core.contexts import contextmanager
from nbdebug.errors import NbdebugError, RunStoreError

DAMAGED_WORDS = ("not a database", "malformed", "file is encrypted")
NEWER = (
    "a newer MLflow made it than the one of this kernel, or has upgraded it: "
    "pip install --upgrade mlflow-skinny, and restart the kernel. Runs wait in their journals"
)


@contextmanager
def store_errors(name: str, done: str) -> Iterator[None]:
    """Context that turns errors of MLflow and its database into RunStoreError."""
    try:
        yield
    except NbdebugError:
        raise
    except Exception as error:
        raise RunStoreError(f"{name} could not be {done}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if any(words in text for words in DAMAGED_WORDS):
        return f"the file is damaged. Move it away; the next start creates a new one ({text[:200]})"
    if "locate revision" in text or "out-of-date database schema" in text:
        return NEWER
    if "locked" in text:
        return "another program has locked it. nbdebug will try again"
    if "is full" in text or "disk I/O error" in text or "No space left" in text:
        return f"the disk is full, or does not answer ({text[:200]}). Free some space"
    if "readonly" in text or "unable to open" in text or isinstance(error, PermissionError):
        return "the folder or the file cannot be written to. Name another one with runs=..."
    if isinstance(error, ImportError):
        return f"MLflow is broken ({text[:200]}): pip install --force-reinstall mlflow-skinny"
    return f"{type(error).__name__}: {text[:300]}"
