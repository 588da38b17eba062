"""Debugger: the only place that wires the parts together."""

from __future__ import annotations

import dataclasses
import inspect
import threading
import weakref
from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nbdebug.checks.base import Check
from nbdebug.controls.base import Control
from nbdebug.core.commands import commands
from nbdebug.core.commands.queue import CommandQueue
from nbdebug.core.history.history import History
from nbdebug.core.plugins import instances
from nbdebug.core.records import Notice
from nbdebug.core.results.run_list import RunList
from nbdebug.debugger.dashboard_api import Requests
from nbdebug.debugger.notebook_cells import replace_predecessors
from nbdebug.debugger.training import Steering
from nbdebug.errors import ClosedError
from nbdebug.model.metrics import Metric
from nbdebug.model.module.forward import LossFn, StepFn
from nbdebug.probes.base import Probe
from nbdebug.rules._diagnosis import Diagnosis
from nbdebug.rules.base import Rule
from nbdebug.runs.record.location import AUTO, store_location
from nbdebug.runs.record.store_packages import kept_in
from nbdebug.runs.recording.recorder import Recorder
from nbdebug.runs.store.runs_tab import RunsTabService
from nbdebug.training.engine.breakpoints import Breakpoints
from nbdebug.training.engine.control_set import ControlSet, check_keywords
from nbdebug.training.engine.loop import Loop
from nbdebug.training.engine.probe_runner import ProbeRunner
from nbdebug.training.engine.session import OptimizerLike, ScheduleLike, Session, Setup
from nbdebug.training.run_metadata import describe
from nbdebug.training.tasks.check_runner import CheckRunner
from nbdebug.training.timeline.checkpoint_file import place_of, read
from nbdebug.training.timeline.timeline import Timeline
from nbdebug.training.worker import Worker

if TYPE_CHECKING:
    from nbdebug.dashboard.dashboard import Dashboard


class Debugger(Steering):
    """A model under training, and the dashboard around it.

    Args:
        model: the module to train, in place.
        train_data: `(X, y)` of tensors, arrays or DataFrames, each with one row a sample
            [N, ...]; a Dataset; or a DataLoader, whose dataset, collate_fn and workers
            stay while its batch size becomes live.
        loss_fn: `loss_fn(outputs, targets)` gives a scalar tensor.
        step_fn: `step_fn(model, batch)` gives the loss, for everything that is not
            `loss_fn(model(inputs), targets)`; give one of the two.
        val_data: held-out data of the same forms, evaluated once an epoch, or every
            `val_every` steps.
        metrics: `{name: f(outputs, targets)}`; accuracy by default for classification.
        optimizer: `sgd`, `nesterov`, `adam`, `adamw`, `rmsprop`; an optimizer already
            built on the model; or a factory that takes the parameters.
        lr: learning rate; None is 1e-3, or what the optimizer was built with.
        batch_size: samples a step; None is 64, or the DataLoader's own.
        schedule: a name (`cosine`, ...; see the control), a torch.optim.lr_scheduler object
            or a factory that takes the optimizer; stepped after every step,
            ReduceLROnPlateau with the validation loss (without it, an epoch's mean loss).
        scaler: a torch.amp.GradScaler; norms are read and clipped after unscaling, steps
            that it skips are counted (`skipped`). Autocast stays the model's own affair.
        seed: of dropout and of the order of data.
        device: where to train; None is where the model is.
        name: what to call it. With a name, the last checkpoint is also on disk, every minute
            and on close, for `resume`: nbdebug-checkpoints/<name>.pt beside the notebook.
        runs: where to record it: a database file, the address of an MLflow server, None for no
            record; "auto" is MLFLOW_TRACKING_URI, else nbdebug-runs.db beside the notebook.
        overhead: largest share of time that the dear probes may take.
        checkpoint_memory: bytes for checkpoints; None is 10 % of free memory, at most 2 GiB.
        **controls: initial values of other controls, as `clip_mode="norm"`.

    Raises:
        ArgumentError: a keyword is misspelt or missing.
        DataError, ModelError: the data or the model cannot be trained on.
        ControlValueError: a value is out of range.
    """

    def __init__(
        self,
        model: nn.Module,
        train_data: Any,
        loss_fn: LossFn | None = None,
        *,
        step_fn: StepFn | None = None,
        val_data: Any = None,
        val_every: int | None = None,
        metrics: Mapping[str, Metric] | None = None,
        optimizer: OptimizerLike = "adam",
        lr: float | None = None,
        batch_size: int | None = None,
        schedule: ScheduleLike = None,
        scaler: torch.amp.GradScaler | None = None,
        seed: int = 0,
        device: str | torch.device | None = None,
        name: str | None = None,
        runs: str | PathLike[str] | None = AUTO,
        overhead: float = 0.05,
        checkpoint_memory: int | None = None,
        **controls: Any,
    ) -> None:
        setup = Setup(
            model=model, train_data=train_data, loss_fn=loss_fn, step_fn=step_fn,
            val_data=val_data, val_every=val_every, metrics=metrics,
            optimizer=optimizer, lr=lr, batch_size=batch_size, schedule=schedule, scaler=scaler,
            seed=seed, device=device, name=name, runs=runs, overhead=overhead,
            checkpoint_memory=checkpoint_memory,
        )  # fmt: skip
        self._wire(setup, controls)
        replace_predecessors(self)

    @classmethod
    def resume(
        cls,
        name: str,
        model: nn.Module,
        train_data: Any,
        loss_fn: LossFn | None = None,
        **arguments: Any,
    ) -> Debugger:
        """Go on from the last checkpoint on disk, to the bit as if nothing had come between.

        History and the timeline begin there.

        Args:
            name, model, train_data, loss_fn: as they were given to the Debugger.
            **arguments: others as then (val_data, step_fn, ...); what is in the checkpoint (lr,
                batch_size, seed, controls, ...) need not be given.

        Raises:
            CheckpointError: there is none that can be read, or it is of another training.
            ModelError: the model is another one.
        """
        data, reason = read(name)
        known = {field.name for field in dataclasses.fields(Setup)}
        found = {"seed": data["seed"], "optimizer": data["optimizers"][0][0]}
        given = found | {n: v for n, v in arguments.items() if n in known}
        setup = Setup(
            model=model, train_data=train_data, loss_fn=loss_fn, name=name, resumed=data, **given
        )
        made = cls.__new__(cls)
        made._wire(setup, {n: v for n, v in arguments.items() if n not in known})
        if reason:
            made.history.add_notice(Notice(0, "warning", "An older checkpoint", reason))
        replace_predecessors(made)
        return made

    def _wire(self, setup: Setup, controls: dict[str, Any]) -> None:
        self.history = History()
        kinds = instances("nbdebug.controls", Control, self._leave_out)
        check_keywords(controls, kinds, inspect.signature(Debugger).parameters)
        place = store_location(setup.runs)
        session = Session(setup)
        session.recorded_in = "" if place is None else kept_in(place)
        self.model = setup.model
        self.name = setup.name or type(setup.model).__name__
        controls.update(setup.controls())
        self._queue = CommandQueue()
        self._settings = ControlSet(kinds, session, self.history)
        for control, note in self._settings.begin_with(controls).items():
            self.history.add_notice(Notice(0, "info", f"{control} at the start", note))
        self._worker = self._make_worker(session, setup)
        self._dashboard: Dashboard | None = None
        self._about = describe(session, setup, self._settings.states())
        self._recorder = self._desk = None
        if place is None:
            self.history.set_run_list(RunList("off"))
        else:
            self._recorder = Recorder(self.history, self.name, self._about, place)
            self._desk = RunsTabService(self.history, place, self._recorder.key)
        # A Debugger that nobody holds any more must not leave its threads behind.
        self._finalizer = weakref.finalize(
            self, _let_go, self._queue, self._worker, self._recorder, self._desk
        )

    def _make_worker(self, session: Session, setup: Setup) -> Worker:
        probes = instances("nbdebug.probes", Probe, self._leave_out)
        measuring = ProbeRunner(probes, setup.overhead, self.history.add_notice)
        measuring.attach(session)
        self._breakpoints = Breakpoints(self.history)
        loop = Loop(session, measuring, self.history, self._settings.numbers, self._breakpoints)
        checks = instances("nbdebug.checks", Check, self._leave_out)
        self._checking = CheckRunner(checks, session, self.history)
        path = None if setup.name is None else place_of(setup.name)
        timeline = Timeline(loop, self._settings, self.history, setup.checkpoint_memory, path)
        if setup.resumed is not None:
            timeline.resume(setup.resumed)
        rules = instances("nbdebug.rules", Rule, self._leave_out)
        self._diagnosis = Diagnosis(rules, self.history, self._settings.takes)
        return Worker(
            loop, self._settings, self._queue, self.history, timeline, self._checking,
            self._diagnosis,
        )  # fmt: skip

    def close(self) -> None:
        """Remove thread and widgets; the model keeps its weights. May be called twice."""
        if self._dashboard is not None:
            self._dashboard.close()
        self._queue.put(commands.Close())
        self._worker.join(timeout=30)
        if self._desk is not None:
            self._desk.close()
        if self._recorder is not None:
            self._recorder.close()

    def __enter__(self) -> Debugger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def dashboard(self) -> Dashboard:
        """The widget; `display(dbg)` shows the same one."""
        if self.state == "closed":
            raise ClosedError("This Debugger was closed; make a new one.")
        if self._dashboard is None:
            from nbdebug.dashboard.dashboard import Dashboard
            from nbdebug.panels.runs import Runs

            request = Requests(
                self._settings, self._checking, self._breakpoints, self.history, self._queue,
                self._desk,
            )  # fmt: skip
            attend = {} if self._desk is None else {Runs.tab: self._desk.look_when_due}
            self._dashboard = Dashboard(
                self.history, self._queue, self._settings.states, request, title=self.name,
                diagnose=self.rules.look_when_due, attend=attend,
            )  # fmt: skip
        return self._dashboard

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        if self.state == "closed":
            return {"text/plain": repr(self)}
        return self.dashboard._repr_mimebundle_(**kwargs)

    def __repr__(self) -> str:
        status = self.history.status
        return f"<Debugger {self.name}: {status.state} at step {status.step}>"


def _let_go(
    queue: CommandQueue, worker: Worker, recorder: Recorder | None, desk: RunsTabService | None
) -> None:
    """End the threads; at the end of the program also wait, since torch dies with its threads."""
    queue.put(commands.Close())
    if not threading.main_thread().is_alive():
        worker.join(timeout=10)
    if desk is not None:
        desk.close(wait=False)
    if recorder is not None:
        # The journal is complete; the next program takes it into the store.
        recorder.close(file=False)
