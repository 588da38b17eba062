"""Visitors of a training, and which of them steers."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field

from nbdebug.core.commands.base import Command
from nbdebug.core.commands.running import WatchProbe
from nbdebug.core.history.history import History
from nbdebug.core.records import Attendance, Notice
from nbdebug.errors import ArgumentError, SteeringError

# Who was silent for so long steers no more: its process was stopped, or hangs.
SILENT_SECONDS = 30.0
log = logging.getLogger("nbdebug")


@dataclass(eq=False)
class Visitor:
    """Somebody who is attached.

    Attributes:
        who: name that others see; process: its id, which steers as one.
        heard: time of its last message; watched: probes that it watches.
    """

    who: str
    process: int
    heard: float = field(default_factory=time.monotonic)
    watched: set[str] = field(default_factory=set)

    @property
    def label(self) -> str:
        """Name with the process, which tells two of the same name apart."""
        return f"{self.who} (process {self.process})"


class Steering:
    """The visitors of a training; one of them steers at a time, and everybody sees who."""

    def __init__(self, name: str, history: History) -> None:
        self._name, self._history = name, history
        self._lock = threading.Lock()
        self._visitors: list[Visitor] = []
        self._steers: Visitor | None = None

    def enter(self, visitor: Visitor) -> None:
        """Take somebody in, as one who looks."""
        with self._lock:
            self._visitors.append(visitor)
        self.publish()

    def leave(self, visitor: Visitor, said: bool) -> None:
        """Let somebody go.

        Args:
            said: False if the connection broke without a word.
        """
        with self._lock:
            if visitor not in self._visitors:
                return
            self._visitors.remove(visitor)
            steered = self._steers is visitor
            if steered:
                self._steers = None
        self.publish()
        if not said:
            self._tell_loss(visitor, steered)

    def allow(self, visitor: Visitor, command: Command) -> None:
        """Let somebody steer, if nobody else does.

        Raises:
            SteeringError: somebody else steers.
            ArgumentError: only the process of the training gives this command.
        """
        if command.from_afar == "never":
            raise ArgumentError(
                f"The command {command.name} is given in the process of the training only."
            )
        if command.from_afar == "steer":
            with self._lock:
                now = self._steering
                if now is not None and now.process != visitor.process:
                    raise SteeringError(
                        f"{now.label} steers {self._name!r}, you look: {command.name} was not "
                        "done. Take over with dbg.take_over(), or --take-over in a command line; "
                        "the training's own process always may."
                    )
                self._steers = visitor
            self.publish()

    def take_over(self, visitor: Visitor) -> None:
        """Let somebody steer in place of who does."""
        with self._lock:
            before, self._steers = self._steering, visitor
        self.publish()
        if before is not None and before.process != visitor.process:
            step = self._history.status.step
            text = f"{before.label} steered before and looks on."
            self._history.add_notice(Notice(step, "info", f"{visitor.label} steers now", text))

    def release(self, visitor: Visitor) -> None:
        """Let others steer."""
        with self._lock:
            if self._steers is visitor:
                self._steers = None
        self.publish()

    @property
    def _steering(self) -> Visitor | None:
        now = self._steers
        if now is None or time.monotonic() - now.heard > SILENT_SECONDS:
            return None
        return now

    def publish(self) -> None:
        """Write into History who is there, if that is not what it holds."""
        with self._lock:
            now = self._steering
            names = tuple(visitor.label for visitor in self._visitors)
            found = Attendance(names, "" if now is None else now.label)
            if self._history.results.of(Attendance, Attendance()) != found:
                self._history.set_result(found)

    def watches(self, visitor: Visitor, command: WatchProbe) -> None:
        """Note that somebody watches a probe, or does no more."""
        (visitor.watched.add if command.on else visitor.watched.discard)(command.probe)

    @property
    def count(self) -> int:
        """Number of visitors."""
        return len(self._visitors)

    def _tell_loss(self, visitor: Visitor, steered: bool) -> None:
        status = self._history.status
        text = "It steered; now nobody does. " if steered else ""
        text += "Training goes on."
        if status.state == "paused":
            text = text.replace("goes on", "is paused and waits for whoever attaches next")
        title = f"{visitor.label} is gone without a word"
        log.warning("nbdebug: %s. %s", title, text)
        self._history.add_notice(Notice(status.step, "warning", title, text))
