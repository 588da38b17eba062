"""Socket on which a training waits for dashboards: a Unix socket, else a port of the loopback."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import suppress
from pathlib import Path

from nbdebug.elsewhere.registry import (
    LOOPBACK,
    SOCKET_ENDING,
    Entry,
    register,
    runtime_folder,
)
from nbdebug.errors import ArgumentError, OutputError

SERVE_VARIABLE = "NBDEBUG_SERVE"
OFF, ON = ("", "0", "off", "no", "false"), ("1", "on", "yes", "true")
PORTS = range(1024, 2**16)
# Of the path of a socket, in bytes, on every system.
MAX_PATH = 100
BACKLOG = 16
Serve = bool | int | None


def wanted(serve: Serve) -> bool | int:
    """False for no socket, True for one of any address, else the number of a port.

    Args:
        serve: None reads the variable NBDEBUG_SERVE.

    Raises:
        ArgumentError: the argument, or the variable, is none of these.
    """
    said: object = serve
    if serve is None:
        text = os.environ.get(SERVE_VARIABLE, "").strip().lower()
        if text in (*OFF, *ON):
            return text in ON
        serve, said = int(text) if text.isdecimal() else -1, f"{SERVE_VARIABLE}={text}"
    if isinstance(serve, bool):
        return serve
    if type(serve) is int and serve in PORTS:
        return serve
    raise ArgumentError(
        f"serve must be True, False or a port from {PORTS.start} to {PORTS.stop - 1}; got "
        f"{said!r:.80}."
    )


class Listener:
    """A listening socket with its token; nobody can find it before `announce`.

    Args:
        where: True for a Unix socket, or a free port where there are none; else a port.

    Raises:
        OutputError: the port is taken, or there is no folder for the socket.
    """

    def __init__(self, where: bool | int) -> None:
        self._folder = runtime_folder()
        self.token = secrets.token_hex(32)
        self._files: list[Path] = []
        self.address = self._bind(where)
        self.socket.listen(BACKLOG)

    def _bind(self, where: bool | int) -> str | int:
        path = self._folder / f"{os.getpid()}-{self.token[:8]}{SOCKET_ENDING}"
        unix = where is True and hasattr(socket, "AF_UNIX")
        if unix and len(os.fsencode(path)) <= MAX_PATH:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.bind(str(path))
            path.chmod(0o600)
            self._files.append(path)
            return str(path)
        self.socket = socket.socket(socket.AF_INET)
        if os.name == "posix":
            # A port of a training that has just ended; never one on which somebody listens.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.socket.bind((LOOPBACK, 0 if where is True else where))
        except OSError as error:
            self.socket.close()
            raise OutputError(
                f"The port {where} of {LOOPBACK} is taken ({error.strerror}). Choose another "
                "one, or serve=True for a socket that needs none."
            ) from error
        return int(self.socket.getsockname()[1])

    def announce(self, name: str) -> Entry:
        """Let dashboards of this user find the training."""
        entry = Entry(name, self.address, self.token)
        self._files.append(register(entry, self._folder))
        return entry

    def close(self) -> None:
        """Take the socket and its files away; may be called twice."""
        files, self._files = self._files, []
        for file in files:
            with suppress(OSError):
                file.unlink()
        self.socket.close()


def listen(serve: Serve) -> Listener | None:
    """Open the socket that was asked for; None if none was."""
    where = wanted(serve)
    return Listener(where) if where is not False else None
