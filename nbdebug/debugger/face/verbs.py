"""Verbs of a training, wherever it is made: in this process or in another one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from nbdebug.core.commands.examining import RunChecks
from nbdebug.core.commands.running import Pause, Reset, Run
from nbdebug.core.control_spec import ControlState
from nbdebug.core.history.history import History
from nbdebug.core.records import Notice
from nbdebug.core.results.checks.check_report import CheckReport
from nbdebug.core.results.findings import Findings
from nbdebug.debugger.client import Client
from nbdebug.debugger.face.delegate import Delegate, Shortcut
from nbdebug.debugger.face.display import mimebundle, show
from nbdebug.debugger.keywords import refuse_unknown_keywords
from nbdebug.debugger.record import LiveRun, Recording
from nbdebug.debugger.session import DebuggerSession
from nbdebug.debugger.timeline import DebuggerTimeline
from nbdebug.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd

    from nbdebug.dashboard.dashboard import Dashboard


@refuse_unknown_keywords
class TrainingVerbs(ABC):
    """The face of a training: its numbers, and verbs that are commands.

    Attributes:
        name: of the training; history: the numbers; timeline: rewind, fork, replay, ...
        session: the model and what is seen of it.
    """

    name: str
    history: History
    timeline: DebuggerTimeline
    session: DebuggerSession
    _client: Client
    _recording: Recording
    # Of the class in texts.
    _said: ClassVar[str] = "Debugger"

    @property
    @abstractmethod
    def _left(self) -> bool:
        """True in a forked child, which has a copy without threads."""

    @abstractmethod
    def _states(self) -> Sequence[ControlState]:
        """The controls with their values in force."""

    @property
    @abstractmethod
    def controls(self) -> Mapping[str, Any]:
        """The value in force of every control, by name; never one that a fork or replay tries."""

    @property
    @abstractmethod
    def findings(self) -> Findings:
        """Symptoms of a sick training, their causes and remedies: root causes first."""

    @property
    @abstractmethod
    def dashboard(self) -> Dashboard:
        """The widget; `display(dbg)` shows the same one."""

    @abstractmethod
    def close(self) -> None:
        """Stop threads and remove widgets. May be called twice."""

    def start(self) -> None:
        """Train until paused; returns at once."""
        self._client.start()

    def pause(self) -> None:
        """Finish the current step and pause."""
        self._client.do(Pause())

    def step(self, n: int = 1) -> None:
        """Train `n` steps and pause; returns when they are done, raises as `run` does."""
        self.run(steps=n)

    def run(self, steps: int | None = None, epochs: float | None = None) -> None:
        """Train for `steps` or `epochs` more; returns when they are done.

        Interrupting the kernel pauses training; it can continue afterwards.

        Raises:
            ArgumentError: neither steps nor epochs is given, or both, or a negative one.
            NonFiniteError: loss or gradient became NaN or Inf.
            TaskStopped, ClosedError: another thread moved or closed the training meanwhile.
            Exception: whatever the model, the loss or the data raised, as it was.
        """
        if (steps is None) == (epochs is None):
            raise ArgumentError("Give run(steps=...) or run(epochs=...); start() has no end.")
        self._client.do(Run(steps, epochs))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until training is paused; False if `timeout` seconds passed before."""
        return self._client.wait(timeout)

    def reset(self) -> None:
        """Restart from the beginning, or where training was resumed; History is cleared."""
        self._client.do(Reset())

    def set(self, *, why: str | None = None, **controls: Any) -> None:
        """Change controls, as the dashboard's sliders do; checked at once, in force when paused.

        While training runs, `set` does not wait: they are in force from the next step. A value
        that is refused only then, since another change came before it, is a notice; while paused
        it raises. Either way it is a row of `changes` with its reason.

        Args:
            why: a reason, recorded with the change.

        Raises:
            ControlNameError, ControlValueError: nothing changed, or the message says what did.
        """
        self._client.applied_or_told(self._client.set(controls, why=why or ""))

    @property
    def changes(self) -> pd.DataFrame:
        """Every change of a control: step, samples, old, new, who, why, status."""
        return self.history.changes_frame()

    state = Shortcut[str]("history.status.state", "paused, running or closed.")
    failure = Shortcut[Notice | None]("history.status.failure", "Reason of the stop, or None.")

    def check(self, *names: str, slow: bool = False) -> CheckReport:
        """Run checks of the five-step checklist between two steps; they change nothing.

        Args:
            names: of the checks, all cheap ones without; slow: also those that train for seconds.

        Raises:
            CheckNameError: there is no such check; the message lists the known ones.
        """
        return cast(CheckReport, self._client.do(RunChecks(names, slow)))

    @property
    def record(self) -> LiveRun:
        """Record of this training so far; `note` and `repeat` add to the record."""
        return self._recording.run

    checkpoint = Delegate("timeline", DebuggerTimeline.checkpoint)
    rewind = Delegate("timeline", DebuggerTimeline.rewind)
    undo = Delegate("timeline", DebuggerTimeline.undo)
    fork = Delegate("timeline", DebuggerTimeline.fork)
    try_remedy = Delegate("timeline", DebuggerTimeline.try_remedy)
    replay = Delegate("timeline", DebuggerTimeline.replay)
    flight_record = Delegate("timeline", DebuggerTimeline.flight_record)
    script = Delegate("timeline", DebuggerTimeline.script)
    break_when = Delegate("timeline", DebuggerTimeline.break_when)
    clear_breakpoints = Delegate("timeline", DebuggerTimeline.clear_breakpoints)
    lr_range_test = Delegate("session", DebuggerSession.lr_range_test)
    reestimate_batchnorm = Delegate("session", DebuggerSession.reestimate_batchnorm)
    network = Delegate("session", DebuggerSession.network)
    explain = Delegate("session", DebuggerSession.explain)
    embedding = Delegate("session", DebuggerSession.embedding)
    summary = Delegate("session", DebuggerSession.summary)
    worst_samples = Delegate("session", DebuggerSession.worst_samples)
    culprits = Delegate("session", DebuggerSession.culprits)
    predictions = Delegate("session", DebuggerSession.predictions)
    note = Delegate("_recording", Recording.note)
    repeat = Delegate("_recording", Recording.repeat)
    report = Delegate("_recording", Recording.report)
    runs = Shortcut["pd.DataFrame"]("_recording.runs", "All runs in the store of this one.")
    breakpoints = Shortcut[tuple[str, ...]]("timeline.breakpoints", "Conditions that pause.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return mimebundle(self, self._left, kwargs)

    def _ipython_display_(self) -> None:
        show(self, self._left, self._states)

    def __repr__(self) -> str:
        return f"<{self._said} {self.name}: {self.state} at step {self.history.status.step}>"
