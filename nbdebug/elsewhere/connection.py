"""Connection to a training in another process: one message, one answer."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from nbdebug._version import __version__
from nbdebug.elsewhere.failures import restored
from nbdebug.elsewhere.frames import pack, receive
from nbdebug.elsewhere.registry import PROTOCOL, Entry
from nbdebug.errors import LinkError

CONNECT_SECONDS, SLICE_SECONDS, RETRY_SECONDS = 5.0, 0.5, 0.05
# Somebody who does not answer for so long is asked no more, if its process is there at all.
SILENT_SECONDS = 5.0


class Connection:
    """A socket to the desk of a training, used by one thread at a time.

    Args:
        entry: of the training; who: name that the others see.

    Attributes:
        hello: what the training said of itself.

    Raises:
        LinkError: nobody listens there any more, the token is wrong or the version is another.
    """

    def __init__(self, entry: Entry, who: str) -> None:
        self.entry = entry
        if (entry.version, entry.protocol) != (__version__, PROTOCOL):
            raise LinkError(
                f"{entry} runs nbdebug {entry.version} (protocol {entry.protocol}), here is "
                f"{__version__} (protocol {PROTOCOL}): install the same version in both."
            )
        self._socket = self._connect()
        try:
            self.hello: Mapping[str, Any] = self.ask(
                {
                    "token": entry.token, "version": __version__, "protocol": PROTOCOL,
                    "who": who, "process": os.getpid(),
                },
                self._greeting_over(),
            )  # fmt: skip
        except Refused as refused:
            self._socket.close()
            raise refused.error from None
        except (EOFError, OSError) as error:
            self._socket.close()
            if isinstance(error, LinkError):
                raise
            raise LinkError(f"{entry} closed the connection: it may be ending.") from error
        except BaseException:
            self._socket.close()
            raise

    def _connect(self) -> socket.socket:
        entry = self.entry
        made = socket.socket(entry.family)
        made.settimeout(CONNECT_SECONDS)
        try:
            _connected(made, entry.target)
        except OSError as error:
            made.close()
            gone = "does not answer" if entry.lives else "is gone: it was killed, or crashed"
            raise LinkError(
                f"{entry} {gone} ({error.strerror or error}). nbd.attachable() lists what runs."
            ) from error
        made.settimeout(SLICE_SECONDS)
        return made

    def _greeting_over(self) -> Callable[[], None]:
        end = time.monotonic() + CONNECT_SECONDS

        def over() -> None:
            if time.monotonic() > end:
                raise LinkError(f"{self.entry} does not answer: it may be stopped.")

        return over

    def ask(self, message: Mapping[str, Any], idle: Callable[[], None]) -> Any:
        """Send a message and wait for its answer.

        Args:
            idle: called twice a second while there is none; may raise.

        Raises:
            ArgumentError: an object in the message cannot be sent; nothing was.
            EOFError, OSError: the connection is over.
            Refused: the other side raised an exception.
        """
        packed, _ = pack(message, lenient=False)
        self._send(packed, idle)
        answer = receive(self._socket, idle=idle)
        if isinstance(answer, dict) and answer.get("error"):
            raise Refused(restored(answer["error"], self.entry.process))
        return answer

    def _send(self, packed: bytes, idle: Callable[[], None]) -> None:
        view, place = memoryview(packed), 0
        while place < len(packed):
            try:
                place += self._socket.send(view[place:])
            except TimeoutError:
                idle()

    def close(self) -> None:
        """Close the socket; a thread that waits for an answer gets EOFError."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def forget(self) -> None:
        """Let go of the socket in a forked child."""
        self._socket.close()


class Refused(Exception):  # noqa: N818
    """An answer that is an exception of the other side."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def _connected(made: socket.socket, target: Any) -> None:
    """Connect; a Unix socket refuses at once while others wait to be let in, so try again."""
    end = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            made.connect(target)
        except BlockingIOError:
            if time.monotonic() > end:
                raise
            time.sleep(RETRY_SECONDS)
        else:
            return
