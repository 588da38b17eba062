"""Dashboards of other processes, as a training sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nbdebug.elsewhere.connection import Connection, Refused
from nbdebug.elsewhere.registry import find


def raise_refusal(ask: Callable[[], Any]) -> Any:
    """The answer, or the exception that it is."""
    try:
        return ask()
    except Refused as refused:
        raise refused.error from None


class Other:
    """A dashboard in a process of this number."""

    def __init__(self, who: str, process: int) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("os.getpid", lambda: process)
            self.connection = Connection(find("run"), who)

    def ask(self, name: str, **fields: Any) -> Any:
        message = {"ask": name, **fields}
        return raise_refusal(lambda: self.connection.ask(message, lambda: None))

    def close(self) -> None:
        self.connection.close()
