"""A mock comm that records messages, and a training made of numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import comm
import ipywidgets
import numpy as np
import pytest

from nbdebug.core.commands.base import SET_CONTROLS, Form
from nbdebug.core.commands.queue import CommandQueue, Ticket
from nbdebug.core.commands.running import Pause, Reset, Run, SetControl
from nbdebug.core.control_spec import ControlSpec, ControlState
from nbdebug.core.history.history import History
from nbdebug.core.records import ControlChange, Reading, Status, StepRecord
from nbdebug.dashboard.dashboard import Dashboard
from nbdebug.panels.base import Panel


class Wire:
    """All comms of a test: which are open, and every message sent."""

    def __init__(self) -> None:
        self.open: set[str] = set()
        self.messages: list[dict[str, Any]] = []

    def create(self, **options: Any) -> Any:
        wire = self

        class MockComm(comm.base_comm.BaseComm):
            def publish_msg(self, msg_type: str, data: Any = None, **rest: Any) -> None:  # type: ignore[override]
                if msg_type == "comm_open":
                    wire.open.add(self.comm_id)
                elif msg_type == "comm_close":
                    wire.open.discard(self.comm_id)
                else:
                    wire.messages.append(
                        {"comm": self.comm_id, "data": data, "buffers": rest.get("buffers") or []}
                    )

        return MockComm(**options)

    def take(self) -> list[dict[str, Any]]:
        """The messages since the last call."""
        taken, self.messages = self.messages, []
        return taken


class FakeTraining:
    """A history, a queue and three controls; `train` appends steps."""

    def __init__(self) -> None:
        self.history = History()
        self.queue = CommandQueue()
        self.values: dict[str, Any] = {"lr": 1e-3, "batch_size": 64, "clip_mode": "off"}
        self.reason = ""
        self.refuse: Callable[[str, Any], None] = lambda name, value: None
        self.step = 0

    def controls(self) -> Sequence[ControlState]:
        modes = (("off", "off"), ("norm", "global norm"))
        specs = (
            ControlSpec("lr", "Learning rate", "float", "", 1e-6, 10.0, 0.05, "log"),
            ControlSpec("batch_size", "Batch size", "int", "", 1, 512, 1),
            ControlSpec(
                "clip_mode", "Clipping", "choice", "", choices=modes, unavailable=self.reason
            ),
        )
        return [ControlState(spec, self.values[spec.name]) for spec in specs]

    def request(self, command: str, fields: Mapping[str, Any]) -> list[Ticket]:
        if command == SET_CONTROLS:
            ((name, value),) = fields["settings"].items()
            self.refuse(name, value)
            return [self.queue.put(SetControl(name, value, "dashboard"))]
        kinds = {kind.name: kind for kind in (Run, Pause, Reset)}
        return [self.queue.put(kinds[command].from_form(Form(fields)))]

    def apply(self, name: str, value: Any) -> None:
        old, self.values[name] = self.values[name], value
        self.queue.drain()
        self.change(name, old, value, "applied")

    def change(self, name: str, old: Any, new: Any, status: Any, note: str = "") -> None:
        self.history.add_change(
            ControlChange(self.step, 64 * self.step, 0.1, name, old, new, "test", "", status, note)
        )

    def train(self, steps: int) -> None:
        names = ("loss", "grad_norm", "lr", "samples", "epoch", "grad_norm/a.weight")
        for _ in range(steps):
            number = float(self.step)
            values = [np.exp(-number), 1.0, self.values["lr"], 64 * number, number / 10, 0.5]
            self.history.append(StepRecord(self.step, (Reading(names, np.array(values)),)))
            self.step += 1
        self.history.set_status(Status("running", self.step, 64 * self.step, self.step / 10))


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    made = Wire()
    monkeypatch.setattr(comm, "create_comm", made.create)
    return made


@pytest.fixture
def training() -> FakeTraining:
    return FakeTraining()


@pytest.fixture
def panels() -> Sequence[type[Panel]] | None:
    """All of them, which take a second; a file of tests that needs few says which."""
    return None


@pytest.fixture
def dashboard(
    wire: Wire, training: FakeTraining, panels: Sequence[type[Panel]] | None
) -> Iterator[Dashboard]:
    """A dashboard that ticks by hand; the first view has its snapshot already."""
    made = Dashboard(
        training.history, training.queue, training.controls, training.request, panels=panels,
        start=False,
    )  # fmt: skip
    yield made
    made.close()


@pytest.fixture
def show(wire: Wire) -> Callable[..., None]:
    """Play a browser's view that says something to a dashboard."""

    def speak(dashboard: Dashboard, view: str = "first", kind: str = "hello", **rest: Any) -> None:
        content = {"kind": kind, "view": view, "tab": "Findings", **rest}
        message = {"content": {"data": {"method": "custom", "content": content}}, "buffers": []}
        dashboard.view.comm.handle_msg(message)

    return speak


@pytest.fixture
def move() -> Callable[[Any, Any], None]:
    """Play a user who gives a widget a value."""

    def set_value(widget: ipywidgets.Widget, value: Any) -> None:
        data = {"method": "update", "state": {"value": value}, "buffer_paths": []}
        widget.comm.handle_msg({"content": {"data": data}, "buffers": []})

    return set_value
