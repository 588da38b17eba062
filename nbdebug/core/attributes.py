"""Attributes of objects of the user's, whose code may raise anything."""

from __future__ import annotations

from typing import Any

ABSENT: Any = object()


def attribute(value: Any, name: str, default: Any = None) -> Any:
    """Attribute of an object, or the default.

    A dict whose keys are attributes raises KeyError for one that it lacks, where `getattr` expects
    AttributeError.
    """
    try:
        return getattr(value, name, default)
    except Exception:
        return default


def has(value: Any, name: str) -> bool:
    """True if an object has an attribute."""
    return attribute(value, name, ABSENT) is not ABSENT
