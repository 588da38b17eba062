"""Flight recorder: reruns the last steps and measures the output of every module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from nbdebug.core.contexts import contextmanager
from nbdebug.core.results.flight_record import FlightRecord, ModuleOutput
from nbdebug.model.module.forward import leaves
from nbdebug.model.module.hooks import after_forward
from nbdebug.model.module.names import layers
from nbdebug.model.nonfinite import eager
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.engine.session import Session
from nbdebug.training.timeline.replay_events import Event, ReplayObserver
from nbdebug.training.timeline.timeline import FLIGHT_RECORD_STEPS, Timeline


class FlightRecorder(ReplayObserver):
    """Hooks on all layers in the steps from `start` on, including excluded batches."""

    def __init__(self, session: Session, start: int) -> None:
        self._session, self._start = session, start
        self._measured: list[tuple[int, str, str, torch.Tensor, bool]] = []

    @contextmanager
    def event(self, event: Event) -> Iterator[None]:
        """Measure an excluded batch; other events are not measured."""
        if event.command is None and event.step >= self._start:
            with self._hooked(updated=False):
                yield
        else:
            yield

    @contextmanager
    def step(self) -> Iterator[None]:
        """Measure a rerun step."""
        if self._session.step >= self._start:
            with self._hooked(updated=True):
                yield
        else:
            yield

    @contextmanager
    def _hooked(self, updated: bool) -> Iterator[None]:
        step = self._session.step
        hooks = [
            after_forward(layer.module, self._hook(step, layer.name, updated))
            for layer in layers(self._session.model)
            if not isinstance(layer.module, torch.jit.ScriptModule)
        ]
        try:
            with eager(self._session.model):
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def _hook(self, step: int, name: str, updated: bool) -> Any:
        def measure(module: torch.nn.Module, _inputs: Any, output: Any) -> None:
            found = next((t for t in leaves(output) if isinstance(t, torch.Tensor)), None)
            if found is None or not found.is_floating_point() or not found.numel():
                return
            values = found.detach()
            finite = torch.isfinite(values)
            largest = torch.where(finite, values, 0.0).abs().max()
            count = torch.tensor(float(values.numel()), device=largest.device)
            numbers = torch.stack([largest.float(), (~finite).sum().float(), count])
            self._measured.append((step, name, type(module).__name__, numbers, updated))

        return measure

    def record(self) -> FlightRecord:
        """Create the record, in one transfer from the device."""
        outputs = []
        for step, name, kind, numbers, updated in self._measured:
            largest, non_finite, count = numbers.tolist()
            outputs.append(
                ModuleOutput(
                    step, name or "model", kind, largest, int(non_finite), int(count), updated
                )
            )
        return FlightRecord(tuple(outputs))


def last_steps(timeline: Timeline, session: Session, progress: TaskProgress) -> FlightRecord:
    """Record the last steps, and the batches excluded at the current step.

    Raises:
        TaskStopped, DataError, ModelError: the steps cannot be rerun.
    """
    recorder = FlightRecorder(session, session.step - FLIGHT_RECORD_STEPS)
    timeline.rerun_recent(progress, recorder)
    return recorder.record()
