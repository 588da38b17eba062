"""Handler that writes what a loop of the user's own has measured."""

from __future__ import annotations

import numpy as np
import torch

from nbdebug.core.commands.loops import LogValues
from nbdebug.core.records import Reading, StepRecord
from nbdebug.core.results.metric_names import MetricNames
from nbdebug.training.engine.probe_runner import to_floats
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.tasks.handler import Handler


class LogValuesHandler(Handler[LogValues]):
    """Handler that adds the values to the series of their names."""

    command = LogValues
    failed = "The values could not be written down"

    def handle(self, command: LogValues, progress: TaskProgress) -> None:
        names = tuple(name for name, _ in command.values)
        tensors = [value for _, value in command.values if isinstance(value, torch.Tensor)]
        fetched = iter(to_floats(tensors))
        readings = tuple(
            Reading((n,), np.array([next(fetched) if isinstance(v, torch.Tensor) else float(v)]))
            for n, v in command.values
        )
        known = self.training.history.results.of(MetricNames, MetricNames(()))
        metrics = dict.fromkeys(name.removeprefix("val_") for name in names)
        fresh = [name for name in metrics if name not in (*known.names, "loss")]
        if fresh:
            self.training.publish(MetricNames((*known.names, *fresh)))
        step = max(min(command.step, self.training.session.step - 1), 0)
        self.training.history.append(StepRecord(step, readings))
