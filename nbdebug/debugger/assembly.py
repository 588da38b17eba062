"""Assembly of a Debugger: the only module that connects its parts."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from nbdebug.checks.base import Check
from nbdebug.controls.base import Control
from nbdebug.core.commands.examining import AskChecks
from nbdebug.core.commands.queue import CommandQueue
from nbdebug.core.error_text import describe_error
from nbdebug.core.forked import HomeProcess
from nbdebug.core.history.history import History
from nbdebug.core.plugins import instances
from nbdebug.core.records import Notice
from nbdebug.core.results.findings import Findings
from nbdebug.core.results.metric_names import MetricNames
from nbdebug.core.unused_memory import tidy
from nbdebug.debugger.client import Client, CommandValidator
from nbdebug.debugger.run_name import default_name
from nbdebug.errors import ArgumentError
from nbdebug.model.module.names import compiled_parts, measured_layers
from nbdebug.probes.base import Probe
from nbdebug.rules._diagnosis import Diagnosis
from nbdebug.rules.base import Rule
from nbdebug.runs.record.location import StoreLocation, store_location
from nbdebug.runs.record.store_packages import kept_in
from nbdebug.runs.recording.recorder import Recorder
from nbdebug.runs.store.runs_tab import RunsTabService
from nbdebug.training.engine.control_effect import would_change
from nbdebug.training.engine.control_set import ControlSet, check_keywords
from nbdebug.training.engine.loop import Loop
from nbdebug.training.engine.lr_forecast import LrForecast
from nbdebug.training.engine.probe_runner import ProbeRunner
from nbdebug.training.engine.session import Session
from nbdebug.training.engine.setup import Setup
from nbdebug.training.engine.stopping.breakpoints import Breakpoints, possible_series
from nbdebug.training.engine.stopping.run_control import RunControl
from nbdebug.training.run_metadata import describe
from nbdebug.training.tasks.checking.asked_checks import MAX_PAUSED_SECONDS, AskedChecks
from nbdebug.training.tasks.checking.check_runner import CheckRunner
from nbdebug.training.tasks.handler import Training
from nbdebug.training.tasks.inside.fixed_samples import FixedData
from nbdebug.training.tasks.inside.live_views import LiveViews
from nbdebug.training.tasks.layer_flow import LayerFlow
from nbdebug.training.tasks.trials.double_step import DoubleStep
from nbdebug.training.tasks.trials.stopped_step import StoppedStep
from nbdebug.training.timeline.disk.reader import read
from nbdebug.training.timeline.timeline import Timeline
from nbdebug.training.together import join, make_queue
from nbdebug.training.worker import Worker

UNCOUNTED = (
    "The number of samples in a batch is taken to be the first length of its tensors, or 1 where "
    "they differ. Where that is wrong give batch_size_of=, a function of a batch."
)


@dataclass(frozen=True)
class Parts:
    """The parts of a Debugger.

    Attributes:
        training: state of the training thread; no other thread writes to it.
        name: of the training; about: its parameters, model, data and code, as JSON values.
        recorder, runs: None if the training is not recorded.
        home: the process of all threads.
    """

    training: Training
    queue: CommandQueue
    worker: Worker
    validator: CommandValidator
    name: str
    about: Mapping[str, Any]
    recorder: Recorder | None
    runs: RunsTabService | None
    home: HomeProcess

    @property
    def history(self) -> History:
        return self.training.history

    def new_client(self) -> Client:
        """Make a sender of commands; the training lives as long as that of its Debugger."""
        return Client(self.queue, self.history, self.validator, self.home)

    def judge(self) -> Findings:
        """Evaluate the rules; while training is paused, checks that they ask for run before."""
        diagnosis, asked = self.training.diagnosis, self.training.asked
        found = diagnosis.look()
        waits = not asked.done.is_set()
        if waits and self.history.status.state == "paused" and not self.history.inside:
            with asked.attended():
                # Wakes the training thread.
                self.queue.put(AskChecks(()))
                asked.done.wait(2 * MAX_PAUSED_SECONDS)
            found = diagnosis.look()
        return found


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
    tidy()
    history = History()
    kinds = _plugins(history, "nbdebug.controls", Control)
    check_keywords(controls, kinds, keywords)
    location = store_location(setup.runs)
    session = Session(setup)
    session.recorded_in = "" if location is None else kept_in(location)
    known = ControlSet(kinds, session, history)
    for control, note in known.apply_initial(controls | setup.controls()).items():
        history.add_notice(Notice(0, "info", f"{control} at the start", note))
    _say_what_is_unusual(session, history)
    training = _training(setup, session, known, history)
    queue = make_queue(setup)
    training.diagnosis.ask = partial(_ask, training, queue)
    validator = CommandValidator(known, training.checks, training.loop.breakpoints, history)
    name = setup.name or default_name(setup.model)
    about = describe(session, setup, known.states())
    for notice in notices:
        history.add_notice(notice)
    recorder, runs = _recording(history, name, about, location)
    worker = Worker(training, queue)
    join(queue, training)
    home = HomeProcess()
    return Parts(training, queue, worker, validator, name, about, recorder, runs, home)


def _training(setup: Setup, session: Session, controls: ControlSet, history: History) -> Training:
    probes = _plugins(history, "nbdebug.probes", Probe)
    runner = ProbeRunner(probes, setup.overhead, history.add_notice)
    runner.attach(session)
    history.set_result(MetricNames(session.metrics.names))
    breakpoints = Breakpoints(history, possible_series(session, controls.numbers(), probes))
    loop = Loop(session, runner, history, controls.numbers, breakpoints)
    fixed = FixedData(session)
    checks = CheckRunner(_plugins(history, "nbdebug.checks", Check), session, history)
    timeline = Timeline(loop, controls, history, setup.checkpoint_memory, setup.name)
    if setup.resumed is not None:
        timeline.resume(setup.resumed)
    if session.body is not None:
        # What the loop moves is known when it begins.
        session.body.attach(loop, timeline.begin)
        history.inside.in_loop = session.body.is_called_from
        history.inside.may_wait = session.body.may_wait
    return Training(
        loop=loop,
        controls=controls,
        history=history,
        timeline=timeline,
        checks=checks,
        asked=AskedChecks(checks, loop, history, setup.overhead),
        diagnosis=Diagnosis(
            _plugins(history, "nbdebug.rules", Rule), history, partial(would_change, controls)
        ),
        run=RunControl(session, history),
        forecast=LrForecast(session, history),
        flow=LayerFlow(session, history, fixed.note_call),
        fixed=fixed,
        views=LiveViews(loop, history, setup.overhead),
        double_step=DoubleStep(loop, timeline),
        stopped=StoppedStep(loop, timeline.edits, history),
    )


def _ask(training: Training, queue: CommandQueue, names: tuple[str, ...]) -> None:
    """Let checks that rules ask for run, when training can afford them."""
    if training.session.together:
        return
    training.asked.expect()
    queue.put(AskChecks(names))


def _say_what_is_unusual(session: Session, history: History) -> None:
    _say_mode(session, history)
    _say_compiled(session, history)
    if session.schedule_unit:
        title = "The schedule counts steps"
        history.add_notice(Notice(0, "info", title, session.schedule_unit))
    for data in session.uncounted:
        history.add_notice(Notice(0, "info", f"{data} comes as ready batches", UNCOUNTED))


def _say_mode(session: Session, history: History) -> None:
    """Tell which layers were passed in eval mode; training leaves them there."""
    modes = session.modes
    if not modes.resting or modes.current == "train":
        return
    more = f" and {len(modes.resting) - 1} more" if len(modes.resting) > 1 else ""
    seen = f"{modes.resting[0]}{more}: dropout is off and BatchNorm is frozen there."
    title = "Some layers are in eval mode"
    if modes.whole:
        title = "The model was passed in eval mode"
        seen += " Set the control mode to Training mode, or call model.train() before."
    history.add_notice(Notice(0, "warning" if modes.whole else "info", title, seen))


def _say_compiled(session: Session, history: History) -> None:
    """Tell which layers have no activations, since they are inside of a compiled module."""
    inside = compiled_parts(session.model)
    hidden = [one.name for one in measured_layers(session.model) if one.module in inside]
    if hidden:
        more = f" and {len(hidden) - 1} more" if len(hidden) > 1 else ""
        text = (
            f"{hidden[0]}{more}: no activations are measured there, since a hook would change the "
            "compiled program. Train without torch.compile to see them."
        )
        history.add_notice(Notice(0, "info", "Some layers are compiled", text))


def _recording(
    history: History, name: str, about: Mapping[str, Any], location: StoreLocation | None
) -> tuple[Recorder | None, RunsTabService | None]:
    if location is None:
        return None, None
    recorder = Recorder(history, name, about, location)
    return recorder, RunsTabService(history, location, recorder.key)


def _plugins(history: History, package: str, base: Any) -> tuple[Any, ...]:
    """Instance of every plug-in; a notice names each plug-in that fails."""

    def skip(plugin: str, error: BaseException) -> None:
        text = f"{describe_error(error)}. Everything else works without it."
        history.add_notice(Notice(0, "warning", f"{plugin} could not be loaded", text))

    return instances(package, base, skip)


def resumed(
    name: str | None, model: Any, train_data: Any, loss_fn: Any, arguments: Mapping[str, Any]
) -> tuple[Any, ...]:
    """Setup and controls of a training that continues from disk; see `Debugger.resume`.

    Returns:
        The setup, the values of controls, and notices about the file.
    """
    if "name" in arguments and name is not None:
        raise ArgumentError(
            f"resume has two names, {name!r:.80} and name={arguments['name']!r:.80}: a training "
            "keeps its name."
        )
    name = arguments.get("name", name)
    data, notices = read(name)
    known = {field.name for field in dataclasses.fields(Setup)} - {"resumed"}
    found = {"seed": data["seed"], "optimizer": data["optimizers"][0][0]}
    given = found | {n: v for n, v in arguments.items() if n in known} | {"name": name}
    setup = Setup(model=model, train_data=train_data, loss_fn=loss_fn, resumed=data, **given)
    controls = {n: v for n, v in arguments.items() if n not in known}
    return setup, controls, *notices


def keyword_names(function: Any) -> Mapping[str, Any]:
    """Parameters of a function, by name."""
    return inspect.signature(function).parameters
