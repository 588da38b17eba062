"""Debugger: a model under training, and the dashboard around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from nbdebug.core.control_spec import ControlState
from nbdebug.core.records import Notice
from nbdebug.core.results.findings import Findings
from nbdebug.debugger.assembly import assemble, keyword_names, resumed
from nbdebug.debugger.face.delegate import Shortcut
from nbdebug.debugger.face.verbs import TrainingVerbs
from nbdebug.debugger.keywords import refuse_unknown_keywords
from nbdebug.debugger.lifetime import Lifetime
from nbdebug.debugger.notebook_cells import replace_predecessors
from nbdebug.debugger.record import Recording
from nbdebug.debugger.serving import opened, serve
from nbdebug.debugger.session import DebuggerSession
from nbdebug.debugger.timeline import DebuggerTimeline
from nbdebug.elsewhere.listener import Serve
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
    from nbdebug.dashboard.dashboard import Dashboard


@refuse_unknown_keywords
class Debugger(TrainingVerbs):
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
        serve: listen on this machine for `nbdebug.attach`, True or a port; None asks NBDEBUG_SERVE.

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
        serve: Serve = None,
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
        with opened(setup.serve) as listener:
            parts = assemble(setup, controls, keyword_names(Debugger), notices)
        self._parts = parts
        self._client = client = parts.new_client()
        self.name, self.model = parts.name, parts.training.session.model
        self.history = parts.history
        self.timeline = DebuggerTimeline(client, parts.history, parts.training.diagnosis)
        training = parts.training
        self.session = DebuggerSession(training.session, client, training.controls.present)
        self._recording = Recording(parts, client)
        self._lifetime = Lifetime(parts, client, serve(parts, listener))
        replace_predecessors(self._lifetime)

    @property
    def controls(self) -> Mapping[str, Any]:
        """The value in force of every control, by name; never one that a fork or replay tries."""
        return self._parts.training.controls.values()

    @property
    def _left(self) -> bool:
        return self._parts.home.left

    def _states(self) -> Sequence[ControlState]:
        return self._parts.training.controls.states()

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

    optimizer = Shortcut[torch.optim.Optimizer]("session.optimizer", "The optimizer in force.")
    batch = Shortcut[Any]("_stop.batch", "The batch that training stopped in, or None.")
    outputs = Shortcut[Any]("_stop.outputs", "Outputs of the model for `batch`, or None.")
    gradients = Shortcut[dict[str, torch.Tensor]]("_stop.gradients", "Gradients before clipping.")
