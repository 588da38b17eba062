"""Assembly of a Debugger: the only module that connects its parts."""

from __future__ import annotations

import dataclasses
import inspect
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nbdebug.checks.base import Check
from nbdebug.controls.base import Control
from nbdebug.core.commands.queue import CommandQueue
from nbdebug.core.commands.running import Close
from nbdebug.core.history.history import History
from nbdebug.core.plugins import instances
from nbdebug.core.records import Notice
from nbdebug.debugger.client import Client, CommandValidator
from nbdebug.probes.base import Probe
from nbdebug.rules._diagnosis import Diagnosis
from nbdebug.rules.base import Rule
from nbdebug.runs.record.location import StoreLocation, store_location
from nbdebug.runs.record.store_packages import kept_in
from nbdebug.runs.recording.recorder import Recorder
from nbdebug.runs.store.runs_tab import RunsTabService
from nbdebug.training.engine.breakpoints import Breakpoints
from nbdebug.training.engine.control_set import ControlSet, check_keywords
from nbdebug.training.engine.loop import Loop
from nbdebug.training.engine.lr_forecast import LrForecast
from nbdebug.training.engine.probe_runner import ProbeRunner
from nbdebug.training.engine.run_control import RunControl
from nbdebug.training.engine.session import Session, Setup
from nbdebug.training.run_metadata import describe
from nbdebug.training.tasks.check_runner import CheckRunner
from nbdebug.training.tasks.handler import Training
from nbdebug.training.timeline.checkpoint_file import path_of, read
from nbdebug.training.timeline.file_values import setup_from_file
from nbdebug.training.timeline.timeline import Timeline
from nbdebug.training.worker import Worker


@dataclass(frozen=True)
class Parts:
    """The parts of a Debugger.

    Attributes:
        training: state of the training thread; no other thread writes to it.
        name: of the training; about: its parameters, model, data and code, as JSON values.
        recorder, runs: None if the training is not recorded.
    """

    training: Training
    queue: CommandQueue
    worker: Worker
    client: Client
    name: str
    about: Mapping[str, Any]
    recorder: Recorder | None
    runs: RunsTabService | None

    @property
    def history(self) -> History:
        return self.training.history


def assemble(
    setup: Setup,
    controls: dict[str, Any],
    keywords: Mapping[str, Any],
    notices: Sequence[Notice] = (),
) -> Parts:
    """Build a training and everything around it, and start its thread.

    Args:
        controls: initial values of controls, as the user passed them.
        keywords: other keywords of the constructor, for the message about an unknown one.
        notices: initial messages.

    Raises:
        ArgumentError, ControlValueError, DataError, ModelError: see `Debugger`.
    """
    history = History()
    kinds = _plugins(history, "nbdebug.controls", Control)
    check_keywords(controls, kinds, keywords)
    location = store_location(setup.runs)
    session = Session(setup)
    session.recorded_in = "" if location is None else kept_in(location)
    known = ControlSet(kinds, session, history)
    for control, note in known.apply_initial(controls | setup.controls()).items():
        history.add_notice(Notice(0, "info", f"{control} at the start", note))
    training = _training(setup, session, known, history)
    queue = CommandQueue()
    validator = CommandValidator(known, training.checks, training.loop.breakpoints, history)
    name = setup.name or type(setup.model).__name__
    about = describe(session, setup, known.states())
    for notice in notices:
        history.add_notice(notice)
    recorder, runs = _recording(history, name, about, location)
    return Parts(
        training, queue, Worker(training, queue), Client(queue, history, validator), name, about,
        recorder, runs,
    )  # fmt: skip


def close(parts: Parts) -> None:
    """Stop the threads and wait for them; may be called twice."""
    parts.queue.put(Close())
    parts.worker.join(timeout=30)
    if parts.runs is not None:
        parts.runs.close()
    if parts.recorder is not None:
        parts.recorder.close()


def abandon(parts: Parts) -> None:
    """Stop the threads of a Debugger that was garbage collected.

    At the end of the program also wait for them, since they must not outlive torch.
    """
    parts.queue.put(Close())
    if not threading.main_thread().is_alive():
        parts.worker.join(timeout=10)
    if parts.runs is not None:
        parts.runs.close(wait=False)
    if parts.recorder is not None:
        # The journal is complete; the next program that opens the store adds the run.
        parts.recorder.close(file=False)


def _training(setup: Setup, session: Session, controls: ControlSet, history: History) -> Training:
    runner = ProbeRunner(
        _plugins(history, "nbdebug.probes", Probe), setup.overhead, history.add_notice
    )
    runner.attach(session)
    loop = Loop(session, runner, history, controls.numbers, Breakpoints(history))
    checks = CheckRunner(_plugins(history, "nbdebug.checks", Check), session, history)
    path = None if setup.name is None else path_of(setup.name)
    timeline = Timeline(loop, controls, history, setup.checkpoint_memory, path)
    if setup.resumed is not None:
        timeline.resume(setup.resumed)
    return Training(
        loop=loop,
        controls=controls,
        history=history,
        timeline=timeline,
        checks=checks,
        diagnosis=Diagnosis(_plugins(history, "nbdebug.rules", Rule), history, controls.accepts),
        run=RunControl(session, history),
        forecast=LrForecast(session, history),
    )


def _recording(
    history: History, name: str, about: Mapping[str, Any], location: StoreLocation | None
) -> tuple[Recorder | None, RunsTabService | None]:
    if location is None:
        return None, None
    recorder = Recorder(history, name, about, location)
    return recorder, RunsTabService(history, location, recorder.key)


def _plugins(history: History, package: str, base: Any) -> tuple[Any, ...]:
    """Instance of every plug-in; a notice names each plug-in that fails."""

    def skip(plugin: str, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}. Everything else works without it."
        history.add_notice(Notice(0, "warning", f"{plugin} could not be loaded", text))

    return instances(package, base, skip)


def resumed(
    name: str, model: Any, train_data: Any, loss_fn: Any, arguments: Mapping[str, Any]
) -> tuple[Any, ...]:
    """Setup and controls of a training that continues from disk; see `Debugger.resume`.

    Returns:
        The setup, the values of controls, and a notice if the latest file was unreadable.
    """
    data, reason = read(name)
    known = {field.name for field in dataclasses.fields(Setup)}
    given = setup_from_file(data) | {n: v for n, v in arguments.items() if n in known}
    setup = Setup(
        model=model, train_data=train_data, loss_fn=loss_fn, name=name, resumed=data, **given
    )
    controls = {n: v for n, v in arguments.items() if n not in known}
    notices = [Notice(0, "warning", "An older checkpoint", reason)] if reason else []
    return setup, controls, *notices


def keyword_names(function: Any) -> Mapping[str, Any]:
    """Parameters of a function, by name."""
    return inspect.signature(function).parameters
