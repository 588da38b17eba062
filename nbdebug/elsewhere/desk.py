"""Answers to the messages of those who are attached to a training, whatever carries them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

from nbdebug.core.commands.base import Command
from nbdebug.core.commands.running import WatchProbe
from nbdebug.core.control_spec import ControlState
from nbdebug.core.error_text import raise_interrupt
from nbdebug.core.history.feed import HistoryFeed
from nbdebug.core.names import unknown_name
from nbdebug.elsewhere.failures import described
from nbdebug.elsewhere.served import Served
from nbdebug.elsewhere.steering import Steering, Visitor
from nbdebug.errors import ArgumentError, ClosedError, LinkError, NbdebugError

# Looking takes at most this share of the time of a training's process, and comes no more often.
MAX_TIME_SHARE, MIN_SECONDS, MAX_SECONDS = 0.01, 0.1, 5.0
MAX_WHO_LENGTH = 60
Message = Mapping[str, Any]


class Desk:
    """Desk of one training: who is there, and what they are told.

    The messages of one visitor come one after the other, those of several in any threads. No
    message waits for the training: a command is answered with the number of its ticket, and the
    answer comes with a later look.
    """

    def __init__(self, served: Served) -> None:
        self.served = served
        self.steering = Steering(served.name, served.history)
        self._pool = ThreadPoolExecutor(1, "nbdebug-desk")
        self.ended = False

    def enter(self, message: Message) -> Place:
        """Take somebody in.

        Args:
            message: with `who` and `process`.
        """
        who, process = message.get("who"), message.get("process")
        if not isinstance(who, str) or type(process) is not int:
            raise LinkError("A greeting must have a name and a process.")
        who = who.strip()[:MAX_WHO_LENGTH] or "somebody"
        return Place(self, Visitor(who, process))

    def slow(self, name: str) -> Future[Any]:
        """Begin what takes a moment, in a thread of its own."""
        found = self.served.slow.get(name)
        if found is None:
            raise ArgumentError(unknown_name("question", name, self.served.slow))
        return self._pool.submit(found)

    def close(self) -> None:
        """Tell everybody at their next look that the training has ended."""
        self.ended = True
        self._pool.shutdown(wait=False, cancel_futures=True)


class Place:
    """Place of one visitor at a desk.

    Attributes:
        told_end: whether the visitor knows that the training has ended.
    """

    def __init__(self, desk: Desk, visitor: Visitor) -> None:
        self._desk, self.visitor = desk, visitor
        self._feed = HistoryFeed(desk.served.history)
        self._states: tuple[ControlState, ...] | None = None
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Future[Any]] = {}
        self.said_bye = self.told_end = False
        desk.steering.enter(visitor)

    def answer(self, message: Any) -> dict[str, Any]:
        """Answer a message; what it raises is in the answer, as `error`."""
        self.visitor.heard = time.monotonic()
        try:
            name = str(message.get("ask")) if isinstance(message, dict) else ""
            if name not in _ANSWERS:
                raise LinkError(f"There is no message {name!r:.40}: other versions of nbdebug?")
            found: dict[str, Any] = _ANSWERS[name](self, message)
            return found
        except BaseException as error:
            raise_interrupt(error)
            return {"error": described(error)}

    def leave(self) -> None:
        """Let the visitor go, and all that was done for it."""
        for probe in tuple(self.visitor.watched):
            # A training that was closed takes no command.
            with suppress(NbdebugError):
                self._put(WatchProbe(probe, False))
        self._waiting.clear()
        self._desk.steering.leave(self.visitor, self.said_bye or self._desk.ended)

    def _look(self, message: Message) -> dict[str, Any]:
        """Answers that are ready and, where that is asked for, everything that changed."""
        self.told_end = ended = self._desk.ended
        # Before the changes: an answer comes with the state that it led to.
        done = [number for number, answer in self._waiting.items() if answer.done()]
        found: dict[str, Any] = {"ended": ended}
        if done or ended or message.get("all"):
            self._desk.steering.publish()
            # With a budget of its own.
            self._desk.served.diagnose()
            found.update(self._changes())
        found["answers"] = [[number, *_result(self._waiting.pop(number))] for number in done]
        return found

    def _changes(self) -> dict[str, Any]:
        """Changes since the last look, and how soon the next one may come."""
        start, first = time.monotonic(), self._states is None
        found: dict[str, Any] = {"update": self._feed.changes()}
        states = tuple(self._desk.served.states())
        if states != self._states:
            self._states = found["states"] = states
        # The first look tells everything, and is no measure of the next ones.
        took = 0.0 if first else time.monotonic() - start
        share = MAX_TIME_SHARE / max(self._desk.steering.count, 1)
        return {**found, "next": min(max(MIN_SECONDS, took / share), MAX_SECONDS)}

    def _give(self, message: Message) -> dict[str, Any]:
        """Put a command into the queue."""
        command = message.get("command")
        if not isinstance(command, Command):
            raise LinkError("A message has no command.")
        self._desk.steering.allow(self.visitor, command)
        return {"ticket": self._await(self._put(command))}

    def _put(self, command: Command) -> Future[Any]:
        visitor = self.visitor
        if isinstance(command, WatchProbe):
            self._desk.steering.watches(visitor, command)
            command = replace(command, viewer=f"{visitor.process}-{id(visitor)}")
        elif hasattr(command, "who"):
            command = replace(cast(Any, command), who=visitor.who)
        return self._desk.served.put(command).answer

    def _await(self, answer: Future[Any]) -> int:
        number = next(self._numbers)
        self._waiting[number] = answer
        return number

    def _check(self, message: Message) -> dict[str, Any]:
        return {"values": self._desk.served.check(message["values"])}

    def _new_call(self, _message: Message) -> dict[str, Any]:
        return {"call": self._desk.served.new_call()}

    def _begin(self, message: Message) -> dict[str, Any]:
        if self._desk.ended:
            raise ClosedError(f"The training {self._desk.served.name!r} was closed.")
        return {"ticket": self._await(self._desk.slow(message["what"]))}

    def _note(self, message: Message) -> dict[str, Any]:
        self._desk.served.history.add_note(message["text"])
        return {}

    def _take_over(self, _message: Message) -> dict[str, Any]:
        self._desk.steering.take_over(self.visitor)
        return {}

    def _release(self, _message: Message) -> dict[str, Any]:
        self._desk.steering.release(self.visitor)
        return {}

    def _bye(self, _message: Message) -> dict[str, Any]:
        self.said_bye = True
        return {}


_ANSWERS: Mapping[str, Callable[[Place, Message], dict[str, Any]]] = {
    "look": Place._look,
    "put": Place._give,
    "check": Place._check,
    "new_call": Place._new_call,
    "begin": Place._begin,
    "note": Place._note,
    "take_over": Place._take_over,
    "release": Place._release,
    "bye": Place._bye,
}


def _result(answer: Future[Any]) -> tuple[Any, Any]:
    """Result of an answer, and its error described; one of them is None."""
    if answer.cancelled():
        return None, described(ClosedError("The training was closed before this was done."))
    error = answer.exception()
    return (answer.result(), None) if error is None else (None, described(error))
