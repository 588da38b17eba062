"""Threads that carry messages between the socket of a training and its desk."""

from __future__ import annotations

import hmac
import logging
import socket
import threading
import time
from contextlib import suppress
from typing import Any

from nbdebug._version import __version__
from nbdebug.core.error_text import describe_error
from nbdebug.core.forked import when_forked
from nbdebug.elsewhere.desk import Desk, Place
from nbdebug.elsewhere.failures import described
from nbdebug.elsewhere.frames import MAX_FIRST, pack, receive
from nbdebug.elsewhere.listener import Listener
from nbdebug.elsewhere.registry import PROTOCOL, Entry
from nbdebug.elsewhere.served import Served
from nbdebug.errors import LinkError

GREETING_SECONDS = 5.0
# How long the end of a training waits until everybody knows of it.
FAREWELL_SECONDS = 5.0
MAX_CONNECTIONS, RETRY_SECONDS = 64, 0.2
log = logging.getLogger("nbdebug")


class Server:
    """Serves one training on a socket; a thread accepts, and each connection has one of its own.

    Attributes:
        entry: how the training is found.
    """

    def __init__(self, served: Served, listener: Listener) -> None:
        self.desk, self._listener = Desk(served), listener
        self._connections: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._closing = self._left = False
        self.entry: Entry = listener.announce(served.name)
        when_forked(self, Server._forget)
        self._thread = threading.Thread(target=self._accept, name="nbdebug-serving", daemon=True)
        self._thread.start()

    def _forget(self) -> None:
        """Let go of the sockets in a forked child, which would keep them open after our end."""
        self._left = self._closing = True
        for one in (self._listener.socket, *self._connections):
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.socket.accept()
            except OSError:
                # Too many open files, for example: somebody may close some.
                time.sleep(RETRY_SECONDS)
                if self._closing:
                    return
                continue
            if self._closing:
                connection.close()
                return
            if len(self._connections) >= MAX_CONNECTIONS:
                connection.close()
                continue
            self._connections.add(connection)
            thread = threading.Thread(
                target=self._serve, args=(connection,), name="nbdebug-desk-visit", daemon=True
            )
            self._threads.add(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        place: Place | None = None
        try:
            connection.settimeout(GREETING_SECONDS)
            place = self._greet(connection)
            connection.settimeout(None)
            while place is not None and not (place.said_bye or place.told_end):
                self._send(connection, place.answer(receive(connection)))
        except (EOFError, OSError):
            pass
        except Exception as error:
            log.warning("nbdebug: a connection was given up: %s", describe_error(error))
        finally:
            # First, so that nobody holds a socket of a connection that is over.
            self._connections.discard(connection)
            connection.close()
            if place is not None and not self._left:
                place.leave()
            self._threads.discard(threading.current_thread())

    def _greet(self, connection: socket.socket) -> Place | None:
        """Let somebody in who has the token and speaks the same version."""

        def too_late() -> None:
            raise EOFError

        hello = receive(connection, MAX_FIRST, too_late)
        hello = hello if isinstance(hello, dict) else {}
        reason = self._refusal(hello)
        if reason:
            self._send(connection, {"error": described(LinkError(reason))})
            return None
        place = self.desk.enter(hello)
        served = self.desk.served
        self._send(
            connection,
            {"name": served.name, "buckets": served.history.buckets, "about": served.about},
        )
        return place

    def _refusal(self, hello: dict[str, Any]) -> str:
        """Reason not to let somebody in, ""; the token is compared in constant time."""
        token = str(hello.get("token", "")).encode("utf-8", "replace")
        if not hmac.compare_digest(token, self._listener.token.encode()):
            return f"Wrong token for {self.entry}: it is that of another training, or misspelt."
        there = hello.get("version"), hello.get("protocol")
        if there != (__version__, PROTOCOL):
            return (
                f"{self.entry} runs nbdebug {__version__} (protocol {PROTOCOL}), and nbdebug "
                f"{there[0]!r:.20} (protocol {there[1]!r:.20}) attaches: install the same version "
                "in both."
            )
        return ""

    def _send(self, connection: socket.socket, message: dict[str, Any]) -> None:
        """Send a message; objects of the user's that cannot be sent travel as their text."""
        packed, _ = pack(message)
        connection.sendall(packed)

    def close(self, wait: bool = True) -> None:
        """End the service; everybody who is attached learns of it. May be called twice.

        Args:
            wait: until they know, a few seconds at most; else a thread does.
        """
        if self._closing:
            return
        if not wait:
            threading.Thread(target=self.close, name="nbdebug-farewell", daemon=True).start()
            return
        self.desk.close()
        self._listener_ends()
        end = time.monotonic() + FAREWELL_SECONDS
        threads = [one for one in self._threads if one is not threading.current_thread()]
        for thread in threads:
            thread.join(max(end - time.monotonic(), 0.0))
        for connection in tuple(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(FAREWELL_SECONDS)

    def _listener_ends(self) -> None:
        self._closing = True
        # Wakes the thread that accepts, on every system.
        with suppress(OSError), socket.socket(self.entry.family) as knock:
            knock.settimeout(FAREWELL_SECONDS)
            knock.connect(self.entry.target)
        self._thread.join(FAREWELL_SECONDS)
        self._listener.close()
