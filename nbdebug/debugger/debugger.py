"""Debugger: a model under training, and the dashboard around it."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import torch
from torch import nn

from nbdebug.core.commands.examining import RunChecks
from nbdebug.core.commands.running import Pause, Reset, Run
from nbdebug.core.history.history import History
from nbdebug.core.records import Notice
from nbdebug.core.results.checks.check_report import CheckReport
from nbdebug.core.results.findings import Findings
from nbdebug.debugger.assembly import assemble, keyword_names, resumed
from nbdebug.debugger.delegate import Delegate, Shortcut
from nbdebug.debugger.display import mimebundle, show
from nbdebug.debugger.keywords import refuse_unknown_keywords
from nbdebug.debugger.lifetime import Lifetime
from nbdebug.debugger.notebook_cells import replace_predecessors
from nbdebug.debugger.record import LiveRun, Recording
from nbdebug.debugger.session import DebuggerSession
from nbdebug.debugger.timeline import DebuggerTimeline
from nbdebug.errors import ArgumentError
from nbdebug.model.metrics import Metric
from nbdebug.model.module.forward import LossFn, StepFn
from nbdebug.model.schedule.unit import ScheduleLike
from nbdebug.rules._diagnosis import Diagnosis
from nbdebug.runs.record.location import AUTO
from nbdebug.training.data.batch import CountSamples
from nbdebug.training.data.val_function import ValFn
from nbdebug.training.engine.setup import OVERHEAD, OptimizerLike, Setup
from nbdebug.training.engine.stopping.breakpoints import NOT_STOPPED, Inspection

if TYPE_CHECKING:
    import pandas as pd

    from nbdebug.dashboard.dashboard import Dashboard


@refuse_unknown_keywords
class Debugger:
    """A model under training, and the dashboard around it.

    Args:
        model: the module to train, in place.
        train_data: `(X, y)` of tensors, arrays or DataFrames with one row a sample [N, ...]; a
            Dataset; a DataLoader, whose batch size becomes live; or a list of ready batches.
        loss_fn: `loss_fn(outputs, targets)` returns a scalar tensor; step_fn: `f(model, batch)`
            returns the loss, (loss, logs) or (loss, outputs, targets).
        val_data: held-out data, evaluated every `val_every` steps (an epoch); val_grad: with grad;
            val_fn: `f(model)` returns the loss, or {"loss": ..., name: ...}, instead.
        batch_size_of: `f(batch)` returns the samples in it, where its tensors do not tell.
        metrics: `{name: f(outputs, targets)}`; accuracy by default for classification.
        optimizer: `sgd`, `nesterov`, `adam`, `adamw`, `rmsprop`; one, or {name: one}; a factory.
        lr: None is 1e-3, or that of the optimizer; batch_size: samples a batch; None is 64, or the
            DataLoader's own; accumulate: batches a step, each loss divided by their number.
        schedule: a name (`cosine`, ...), a torch scheduler or a factory; schedule_every: its unit.
        scaler: a torch.amp.GradScaler; norms are unscaled; state: {name: object} that goes back.
        seed: of dropout and the order of data; device: where to train, None is the model's.
        name: of the training; None takes the notebook's, script's or model's. With a name the last
            checkpoint is also in nbdebug-checkpoints/, every minute and on close, for `resume`.
        runs: a database file, the address of an MLflow server, or None for no record; "auto" is
            MLFLOW_TRACKING_URI, else nbdebug-runs.db beside the notebook.
        overhead: largest share of time that expensive probes may take; checkpoint_memory: bytes,
            None is 10 % of free memory, at most 2 GiB; **controls: initial values of others.

    Attributes:
        history: the numbers; timeline: rewind, fork, replay, ...; session: model and optimizer.

    Raises:
        ArgumentError, ControlValueError: a keyword is misspelt or missing, a value out of range.
        DataError, ModelError: the data or the model cannot be trained on.
    """

    def __init__(
        self,
        model: nn.Module,
        train_data: Any,
        loss_fn: LossFn | None = None,
        *,
        step_fn: StepFn | None = None,
        val_data: Any = None,
        val_fn: ValFn | None = None,
        val_every: int | None = None,
        val_grad: bool = False,
        batch_size_of: CountSamples | None = None,
        metrics: Mapping[str, Metric] | None = None,
        optimizer: OptimizerLike = "adam",
        lr: float | None = None,
        batch_size: int | None = None,
        accumulate: int | None = None,
        schedule: ScheduleLike = None,
        schedule_every: Literal["step", "epoch"] | None = None,
        scaler: torch.amp.GradScaler | None = None,
        state: Mapping[str, Any] | None = None,
        seed: int = 0,
        device: str | torch.device | None = None,
        name: str | None = None,
        runs: str | PathLike[str] | None = AUTO,
        overhead: float = OVERHEAD,
        checkpoint_memory: int | None = None,
        **controls: Any,
    ) -> None:
        self._begin(Setup.of(locals()), controls)

    @classmethod
    def resume(
        cls,
        name: str | None = None,
        /,
        model: Any = None,
        train_data: Any = None,
        loss_fn: LossFn | None = None,
        **arguments: Any,
    ) -> Debugger:
        """Continue from the last checkpoint, equal to the bit; History and timeline begin there.

        Args:
            name, model, train_data, loss_fn, **arguments: as they were passed to the Debugger; the
                checkpoint holds lr, batch_size, seed and controls.

        Raises:
            CheckpointError: no checkpoint can be read, or it belongs to another training.
            ModelError, DataError: model or data differ from the checkpoint's.
        """
        made = cls.__new__(cls)
        made._begin(*resumed(name, model, train_data, loss_fn, arguments))
        return made

    def _begin(self, setup: Setup, controls: dict[str, Any], *notices: Notice) -> None:
        parts = self._parts = assemble(setup, controls, keyword_names(Debugger), notices)
        self._client = client = parts.new_client()
        self.name, self.model = parts.name, parts.training.session.model
        self.history: History = parts.history
        self.timeline = DebuggerTimeline(client, parts.history, parts.training.diagnosis)
        training = parts.training
        self.session = DebuggerSession(training.session, client, training.controls.present)
        self._recording = Recording(parts, client)
        self._lifetime = Lifetime(parts, client)
        replace_predecessors(self._lifetime)

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
    def controls(self) -> Mapping[str, Any]:
        """The value in force of every control, by name; never one that a fork or replay tries."""
        return self._parts.training.controls.values()

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
    def findings(self) -> Findings:
        """Symptoms of a sick training, their causes and remedies: root causes first."""
        self._parts.home.check()
        return self._parts.judge()

    @property
    def rules(self) -> Diagnosis:
        """Rules behind the findings; `add` takes a rule of your own, `remove` a name."""
        return self._parts.training.diagnosis

    @property
    def stopped(self) -> Inspection | None:
        """The step that training stopped in before its update, by a breakpoint or a NaN or Inf."""
        return self._parts.training.loop.breakpoints.inspection

    _stop = property(lambda self: self.stopped or NOT_STOPPED)

    @property
    def record(self) -> LiveRun:
        """Record of this training so far; `note` and `repeat` add to the record."""
        return self._recording.run

    @property
    def dashboard(self) -> Dashboard:
        """The widget; `display(dbg)` shows the same one."""
        self._client.check_open()
        if self._lifetime.dashboard is None:
            from nbdebug.debugger.dashboard_factory import make_dashboard

            self._lifetime.dashboard = make_dashboard(self._parts)
        return self._lifetime.dashboard

    def close(self) -> None:
        """Stop threads and remove widgets; the model keeps its weights. May be called twice."""
        self._client.refuse_inside("close")
        self._lifetime.close()

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
    summary = Delegate("session", DebuggerSession.summary)
    worst_samples = Delegate("session", DebuggerSession.worst_samples)
    culprits = Delegate("session", DebuggerSession.culprits)
    predictions = Delegate("session", DebuggerSession.predictions)
    note = Delegate("_recording", Recording.note)
    repeat = Delegate("_recording", Recording.repeat)
    report = Delegate("_recording", Recording.report)
    runs = Shortcut["pd.DataFrame"]("_recording.runs", "All runs in the store of this one.")
    optimizer = Shortcut[torch.optim.Optimizer]("session.optimizer", "The optimizer in force.")
    breakpoints = Shortcut[tuple[str, ...]]("timeline.breakpoints", "Conditions that pause.")
    batch = Shortcut[Any]("_stop.batch", "The batch that training stopped in, or None.")
    outputs = Shortcut[Any]("_stop.outputs", "Outputs of the model for `batch`, or None.")
    gradients = Shortcut[dict[str, torch.Tensor]]("_stop.gradients", "Gradients before clipping.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return mimebundle(self, self._parts, kwargs)

    def _ipython_display_(self) -> None:
        show(self, self._parts)

    def __repr__(self) -> str:
        return f"<Debugger {self.name}: {self.state} at step {self.history.status.step}>"
