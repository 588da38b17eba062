"""Texts of exceptions; an exception of the user's may raise even when it is printed."""

from __future__ import annotations

import threading
import traceback

MAX_MESSAGE_LENGTH = 2_000
MAX_TRACEBACK_LENGTH = 20_000


def kind_of(error: BaseException) -> str:
    """Name of the class of an exception; a metaclass of the user's is not asked for it."""
    return str(vars(type)["__name__"].__get__(type(error)))


def message_of(error: BaseException) -> str:
    """Message of an exception, shortened to 2,000 characters."""
    try:
        text = str(error)
    except BaseException as second:
        text = f"(its message cannot be read: __str__ raised {kind_of(second)})"
    return _shortened(text, MAX_MESSAGE_LENGTH)


def describe_error(error: BaseException) -> str:
    """Class and message of an exception, such as "ValueError: no data"."""
    return f"{kind_of(error)}: {message_of(error)}"


def traceback_of(error: BaseException) -> str:
    """Traceback of an exception as text, shortened to 20,000 characters."""
    try:
        text = "".join(traceback.format_exception(error))
    except BaseException as second:
        frames = "".join(traceback.format_tb(error.__traceback__))
        text = f"{frames}{describe_error(error)}\n(the rest raised {kind_of(second)})"
    return _shortened(text, MAX_TRACEBACK_LENGTH)


def raise_interrupt(error: BaseException) -> None:
    """Raise the user's own interrupt of the main thread again: no wall around code may stop it."""
    main = threading.current_thread() is threading.main_thread()
    if main and isinstance(error, KeyboardInterrupt):
        raise error


def _shortened(text: str, length: int) -> str:
    """Text without its middle if it is longer than `length`."""
    if len(text) <= length:
        return text
    half = length // 2
    return f"{text[:half]}\n[{len(text) - 2 * half:,} characters left out]\n{text[-half:]}"
