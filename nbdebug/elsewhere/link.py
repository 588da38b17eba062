"""Link to a training in another process: a mirror of its History, and a way for commands."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as AnswerTimeout
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from nbdebug.core.control_spec import ControlState
from nbdebug.core.error_text import describe_error
from nbdebug.core.forked import HomeProcess, when_forked
from nbdebug.core.history.mirrored import MirroredHistory
from nbdebug.core.records import Attendance, Notice
from nbdebug.elsewhere.connection import SILENT_SECONDS, Connection, Refused
from nbdebug.elsewhere.failures import restored
from nbdebug.elsewhere.registry import Entry
from nbdebug.errors import ClosedError, LinkError

# Seconds between two looks; the other side may ask for fewer.
LOOK_SECONDS = 0.2
# While somebody waits for an answer: between looks for answers alone, at first and at last.
SOON_SECONDS, LATER_SECONDS = 0.01, 0.1
AFTER_SECONDS = 0.05
ANSWER_SECONDS, RETRY_SECONDS = 10.0, 1.0
JOIN_SECONDS = 5.0


@dataclass(frozen=True)
class _Request:
    """A message that waits to be sent, and its answer."""

    message: Mapping[str, Any]
    answer: Future[Any] = field(default_factory=Future)


class Link:
    """Link to one training.

    One thread speaks and writes to the mirror; everybody else asks that thread.

    Args:
        entry: of the training; who: name that the others see.

    Attributes:
        history: a mirror of the training's; states: its controls with their values in force.
        lost: why there is no link any more, "" while there is one.

    Raises:
        LinkError: see `Connection`.
    """

    def __init__(self, entry: Entry, who: str) -> None:
        self._connection = Connection(entry, who)
        hello = self._connection.hello
        self.entry, self.name = entry, str(hello["name"])
        self.about: Mapping[str, Any] = hello["about"]
        self.home = HomeProcess()
        self.you = f"{who} (process {self.home.process})"
        self.history = MirroredHistory(hello["buckets"])
        self.states: tuple[ControlState, ...] = ()
        self.lost = ""
        self._requests: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        self._awaited: dict[int, Future[Any]] = {}
        self._closing = False
        self._due = self._soon = 0.0
        self._pause, self._misread = SOON_SECONDS, False
        self.history.note_there = lambda text: self.ask("note", text=text)
        self._first_look()
        when_forked(self, Link._forget)
        self._thread = threading.Thread(target=self._live, name="nbdebug-link", daemon=True)
        self.history.inside.writer = self._thread
        self._thread.start()

    def _first_look(self) -> None:
        try:
            self._look(everything=True)
        except (EOFError, OSError) as error:
            self._connection.close()
            raise LinkError(f"{self.entry} closed the connection: it may be ending.") from error
        except Refused as refused:
            self._connection.close()
            raise refused.error from None
        except BaseException:
            self._connection.close()
            raise

    def _forget(self) -> None:
        self._closing = True
        self._connection.forget()

    # Called by any thread.

    def ask(self, name: str, **fields: Any) -> Any:
        """Send a message and return its answer.

        Raises:
            LinkError: nobody has answered for 10 seconds.
            ClosedError: the link is over.
            Exception: whatever the other side raised.
        """
        answer = self._request(name, fields)
        try:
            return answer.result(ANSWER_SECONDS)
        except AnswerTimeout:
            if answer.done():
                raise
            raise LinkError(
                f"{self.entry} has not answered for {ANSWER_SECONDS:g} seconds: it may be stopped, "
                f"or hold the interpreter. {name} is still on its way."
            ) from None

    def begin(self, name: str, **fields: Any) -> Future[Any]:
        """Send a message that is answered with the number of a ticket; return its future.

        Raises:
            Exception: as `ask`.
        """
        answer: Future[Any] = self.ask(name, **fields)["answer"]
        return answer

    def _request(self, name: str, fields: Mapping[str, Any]) -> Future[Any]:
        self.check()
        request = _Request({"ask": name, **fields})
        self._requests.put(request)
        if self.lost:
            # The thread may have ended before it saw this request.
            self._refuse_waiting()
        return request.answer

    def check(self) -> None:
        """Raise ClosedError if there is no link any more, or this is a forked child."""
        self.home.check()
        if self.lost:
            raise ClosedError(self.lost)

    def close(self) -> None:
        """Detach; training goes on. May be called twice, in any thread."""
        if self._closing or self.home.left:
            return
        self._closing = True
        self._requests.put(_Request({"ask": "bye"}))
        if threading.current_thread() is not self._thread:
            self._thread.join(JOIN_SECONDS)
            if self._thread.is_alive():
                self._connection.close()
                self._thread.join(JOIN_SECONDS)

    # In the thread of the link.

    def _live(self) -> None:
        reason = ""
        try:
            while not self._closing and self._turn():
                pass
            with suppress(Exception):
                self._exchange({"ask": "bye"})
            reason = DETACHED
        except (EOFError, OSError) as error:
            reason = str(error) if isinstance(error, LinkError) else self._gone()
            reason = DETACHED if self._closing else reason
        except BaseException as error:
            reason = f"The link to {self.entry} failed: {describe_error(error)}"
        finally:
            self._end(reason)

    def _turn(self) -> bool:
        """Send a request, or look at what changed; False after the end of the training."""
        if request := self._next_request():
            self._send(request)
        now = time.monotonic()
        if now >= self._due or (self._awaited and now >= self._soon):
            try:
                return self._look(everything=now >= self._due)
            except Refused as refused:
                self._misunderstood(refused.error)
        return True

    def _misunderstood(self, error: Exception) -> None:
        """Look again a little later where the other side could not tell what it sees."""
        self._due = self._soon = time.monotonic() + RETRY_SECONDS
        if not self._misread:
            self._misread = True
            self._say("warning", f"{self.entry} could not be read", describe_error(error))

    def _next_request(self) -> _Request | None:
        now = time.monotonic()
        until = min(self._due, self._soon) if self._awaited else self._due
        try:
            return self._requests.get(timeout=max(until - now, 0.0))
        except queue.Empty:
            return None

    def _send(self, request: _Request) -> None:
        if not request.answer.set_running_or_notify_cancel():
            return
        try:
            found = self._exchange(request.message)
        except (EOFError, OSError):
            request.answer.set_exception(ClosedError(self._gone()))
            raise
        except BaseException as error:
            refusal = error.error if isinstance(error, Refused) else error
            request.answer.set_exception(refusal)
            return
        if "ticket" in found:
            awaited: Future[Any] = Future()
            self._awaited[found["ticket"]] = found["answer"] = awaited
            self._pause = SOON_SECONDS
            self._soon = time.monotonic() + self._pause
            # What the command does is soon seen, however rarely this link looks.
            self._due = min(self._due, time.monotonic() + AFTER_SECONDS)
        request.answer.set_result(found)

    def _look(self, everything: bool) -> bool:
        found = self._exchange({"ask": "look", "all": everything})
        update = found.get("update")
        if update is not None:
            seen = replace(update, results=tuple(map(self._signed, update.results)))
            self.history.take(seen)
        self.states = found.get("states", self.states)
        if "next" in found:
            self._due = time.monotonic() + max(LOOK_SECONDS, found["next"])
        # After the state that they led to is here.
        for number, result, error in found["answers"]:
            awaited = self._awaited.pop(number)
            if error is None:
                awaited.set_result(result)
            else:
                awaited.set_exception(restored(error, self.entry.process))
        self._pause = min(1.5 * self._pause, LATER_SECONDS)
        self._soon = time.monotonic() + self._pause
        return not found["ended"]

    def _signed(self, result: Any) -> Any:
        """A result; that about who is attached says who this is."""
        return replace(result, you=self.you) if isinstance(result, Attendance) else result

    def _exchange(self, message: Mapping[str, Any]) -> Any:
        silent = time.monotonic()
        told = False

        def idle() -> None:
            nonlocal told
            waited = time.monotonic() - silent >= SILENT_SECONDS
            if self._closing or (waited and not self.entry.lives):
                raise EOFError
            if waited and not told:
                told = True
                self._say("warning", f"{self.entry} does not answer", SILENT)

        found = self._connection.ask(message, idle)
        if told:
            self._say("info", f"{self.entry} answers again", "Nothing was lost.")
        return found

    def _say(self, severity: Any, title: str, text: str) -> None:
        step = self.history.status.step
        self.history.add_notice(Notice(step, severity, title, text))

    def _gone(self) -> str:
        return (
            f"{self.entry} is gone without a word: it was killed, or crashed. What it had told is "
            f"still here. When it runs again: nbd.attach({self.name!r})."
        )

    def _end(self, reason: str) -> None:
        """Say that there is no link any more, to everybody who waits and to the mirror."""
        ended = self.history.status.state == "closed"
        if ended:
            reason = f"{self.entry} was closed, or its script has ended."
        self.lost = reason
        self._connection.close()
        lost = not (ended or self._closing)
        title = "The training has ended" if ended else "The link to the training is over"
        step, severity = self.history.status.step, "error" if lost else "info"
        self.history.end(Notice(step, severity, title, reason), lost)  # type: ignore[arg-type]
        self._refuse_waiting()
        awaited, self._awaited = self._awaited, {}
        for one in awaited.values():
            one.set_exception(ClosedError(reason))

    def _refuse_waiting(self) -> None:
        with suppress(queue.Empty):
            while True:
                waiting = self._requests.get_nowait()
                if waiting.answer.set_running_or_notify_cancel():
                    waiting.answer.set_exception(ClosedError(self.lost))


DETACHED = "Detached."
SILENT = (
    "It may be stopped, swapped out, or in code that holds the interpreter. What is shown is old; "
    "commands wait."
)
