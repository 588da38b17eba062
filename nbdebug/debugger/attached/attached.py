"""A training in another process, and its dashboard here."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nbdebug.core.control_spec import ControlState
from nbdebug.core.records import Attendance
from nbdebug.core.results.findings import Findings
from nbdebug.debugger.attached.parts import (
    FarRecording,
    FarRules,
    FarSession,
    FarTimeline,
    elsewhere,
)
from nbdebug.debugger.client import Client
from nbdebug.debugger.face.verbs import TrainingVerbs
from nbdebug.debugger.keywords import refuse_unknown_keywords
from nbdebug.debugger.notebook_cells import replace_predecessors
from nbdebug.elsewhere.far_queue import FarQueue, FarValidator
from nbdebug.elsewhere.link import Link
from nbdebug.runs.store.runs_tab import RunsTabService

if TYPE_CHECKING:
    from nbdebug.dashboard.dashboard import Dashboard

STOPPED = "dbg.flight_record() and dbg.worst_samples() tell of the step that training stopped in."


@refuse_unknown_keywords
class Attached(TrainingVerbs):
    """A training in another process, with the dashboard and the verbs of a Debugger.

    Made by `nbdebug.attach`. Numbers, findings and results are those of the training; commands
    are sent there. `close` detaches and leaves the training as it is.
    """

    _said: ClassVar[str] = "Attached to"

    def __init__(self, link: Link) -> None:
        queue = FarQueue(link)
        self._link, self.name, self.history = link, link.name, link.history
        self._client = client = Client(queue, link.history, FarValidator(link), link)
        self.timeline = FarTimeline(client, link)
        self.session = FarSession(client, link)
        self._recording = FarRecording(link)
        self._ends = Ends(link, client, queue)
        replace_predecessors(self._ends)

    @property
    def _left(self) -> bool:
        return self._link.home.left

    def _states(self) -> Sequence[ControlState]:
        return self._link.states

    @property
    def controls(self) -> Mapping[str, Any]:
        return {state.spec.name: state.value for state in self._link.states}

    @property
    def control_states(self) -> Sequence[ControlState]:
        """Description and value of every control."""
        return self._link.states

    def set_and_wait(self, settings: Mapping[str, Any], why: str = "") -> None:
        """Change controls, and wait until they are in force also while training runs.

        Raises:
            ControlNameError, ControlValueError: nothing changed, or the message says what did.
        """
        self._client.wait_applied(self._client.set(settings, why=why))

    @property
    def findings(self) -> Findings:
        self._link.home.check()
        if self._link.lost:
            return self.history.results.of(Findings, Findings(judged=False))
        return FarRules(self._link).look()

    @property
    def attendance(self) -> Attendance:
        """All that are attached to the training, and the one that steers."""
        return self.history.results.of(Attendance, Attendance())

    def take_over(self) -> None:
        """Steer in place of who does; that one looks on, and is told."""
        self._link.ask("take_over")

    def release(self) -> None:
        """Steer no more, so that others may."""
        self._link.ask("release")

    @property
    def dashboard(self) -> Dashboard:
        self._client.check_open()
        return self._ends.shown()

    def close(self) -> None:
        """Detach and remove the widgets; training goes on. May be called twice."""
        self._ends.close()

    detach = close

    @property
    def model(self) -> Any:
        """Refused: the model lives in the process of the training."""
        return self.session.model

    @property
    def optimizer(self) -> Any:
        """Refused: the optimizer lives in the process of the training."""
        return self.session.optimizer

    @property
    def rules(self) -> Any:
        """Refused: the rules are evaluated in the process of the training."""
        elsewhere("the rules are evaluated", self._link, "dbg.findings has what they found.")

    @property
    def stopped(self) -> Any:
        """Refused: the step that training stopped in is in the process of the training."""
        elsewhere("that step is", self._link, STOPPED)

    batch = outputs = gradients = stopped

    def __repr__(self) -> str:
        said = super().__repr__()[:-1]
        return f"{said}, process {self._link.entry.process}, {self.attendance}>"


class Ends:
    """The end of a link: when it is asked for, or when nobody can reach it any more."""

    def __init__(self, link: Link, client: Client, queue: FarQueue) -> None:
        self._link, self._client, self._queue = link, weakref.ref(client), queue
        self._runs: RunsTabService | None = None
        self._dashboard: Dashboard | None = None
        # The client is shared by all parts, and by the dashboard while it is shown.
        self._unreachable = weakref.finalize(client, link.close)

    def shown(self) -> Dashboard:
        """The dashboard; made when it is first asked for."""
        client = self._client()
        if self._dashboard is None and client is not None:
            from nbdebug.debugger.dashboard_factory import make_far_dashboard

            store = self._link.about["store"]
            if store is not None:
                self._runs = RunsTabService(self._link.history, *store)
            self._dashboard = make_far_dashboard(self._link, client, self._queue, self._runs)
        assert self._dashboard is not None
        return self._dashboard

    def close(self) -> None:
        """Detach and remove the widgets."""
        dashboard, self._dashboard = self._dashboard, None
        if dashboard is not None:
            dashboard.close()
        if self._runs is not None:
            self._runs.close()
        self._unreachable.detach()
        self._link.close()

    def replace(self) -> None:
        """Let another one take the place on the screen; this one ends once unreachable."""
        if not self._unreachable.alive:
            self.close()
