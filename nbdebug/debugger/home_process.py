"""Process that a Debugger lives in, with its threads."""

from __future__ import annotations

import os

from nbdebug.errors import ClosedError


class HomeProcess:
    """Process that a Debugger was made in; a forked child has a copy without any thread."""

    def __init__(self) -> None:
        self._process = os.getpid()

    @property
    def left(self) -> bool:
        """True in a forked child."""
        return os.getpid() != self._process

    def check(self) -> None:
        """Refuse to go on in a forked child, where nothing would ever be answered.

        Raises:
            ClosedError: this is a forked child.
        """
        if self.left:
            raise ClosedError(
                f"This Debugger and its threads live in process {self._process}; here, in process "
                f"{os.getpid()}, is a forked copy that does nothing. Make a new Debugger here."
            )
