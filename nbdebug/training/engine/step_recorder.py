"""Recorder of the numbers of a step."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from nbdebug.core.records import Array, Histogram, Reading, StepRecord
from nbdebug.training.data.batch import Batch
from nbdebug.training.engine.gradients import Clipped
from nbdebug.training.engine.session import Session

STEP_SERIES = (
    "loss",
    "grad_norm",
    "grad_norm_clipped",
    "clipped",
    "clip_norm",
    "clip_limit",
    "lr",
    "batch_size",
    "samples",
    "epoch",
    "step_ms",
    "samples_per_second",
    "measuring_share",
    "data_share",
)
SCALER_SERIES = ("skipped", "loss_scale")
# Of each of several optimizers, at the steps at which it made its update.
OPTIMIZER_SERIES = ("loss", "grad_norm", "grad_norm_clipped", "lr")
CONTROLS_INTERVAL = 10
AVERAGE_WEIGHT = 0.02


class StepRecorder:
    """Builder of step records, with average times per step.

    Args:
        control_values: returns the values of numeric controls, by name.

    Attributes:
        step_seconds: average seconds per step, including measurements; fetch_seconds: of waiting
            for its batch.
        controls_due: whether the next record includes the values of the controls.
    """

    def __init__(self, session: Session, control_values: Callable[[], dict[str, float]]) -> None:
        self._session, self._control_values = session, control_values
        self.controls_due = True
        self.reset()

    def reset(self) -> None:
        """Reset the averages."""
        self.step_seconds = self._samples = self._spent = self.fetch_seconds = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the series that a record can have."""
        several = self._session.named_optimizers
        each = [f"{series}/{name}" for name in several for series in OPTIMIZER_SERIES]
        return (*STEP_SERIES, *SCALER_SERIES, *self._control_values(), *each)

    def update_averages(self, times: tuple[float, float, float], batch: Batch) -> None:
        """Add a step to the averages.

        Args:
            times: seconds of the step, of measurements, and of waiting for the batch.
        """
        seconds, spent, fetched = times
        weight = AVERAGE_WEIGHT if self.step_seconds else 1.0
        self.step_seconds += weight * (seconds - self.step_seconds)
        self._samples += weight * (batch.samples - self._samples)
        self._spent += weight * (spent - self._spent)
        self.fetch_seconds += weight * (fetched - self.fetch_seconds)

    def record(
        self,
        batch: Batch,
        values: tuple[float, float, Clipped, float],
        readings: list[Reading],
        histograms: list[Histogram],
    ) -> StepRecord:
        """Create the record of a step.

        Args:
            values: loss, gradient norm before clipping, clipping result, learning rate.
        """
        session = self._session
        readings.append(Reading(STEP_SERIES, self._step_values(batch, values)))
        readings += self._by_optimizer()
        if session.scaler is not None:
            readings.append(
                Reading(SCALER_SERIES, np.array((session.skipped, session.scaler.get_scale())))
            )
        if self.controls_due or session.step % CONTROLS_INTERVAL == 0:
            self.controls_due = False
            control_values = self._control_values()
            readings.append(Reading(tuple(control_values), np.array(list(control_values.values()))))
        return StepRecord(session.step, tuple(readings), tuple(histograms))

    def _by_optimizer(self) -> list[Reading]:
        found: list[Reading] = []
        for name, values in self._session.by_optimizer.items():
            names = tuple(f"{series}/{name}" for series in OPTIMIZER_SERIES)
            found.append(Reading(names, np.array(values)))
        return found

    def _step_values(self, batch: Batch, values: tuple[float, float, Clipped, float]) -> Array:
        """Return the values of STEP_SERIES."""
        session = self._session
        loss, norm, clipped, lr = values
        batching = session.batching
        # The last batch of an epoch may be short, which is no change of the batch size.
        short = batching.fixed or batch.progress < 1.0
        size = batch.each[0].samples if short else batching.size
        seconds = self.step_seconds or math.nan
        return np.array(
            (
                loss,
                norm,
                clipped.after,
                float(clipped.active),
                clipped.compared,
                session.clipping.fixed_limit,
                lr,
                size,
                session.samples,
                session.epoch,
                seconds * 1e3,
                self._samples / seconds,
                self._spent / seconds,
                self.fetch_seconds / seconds,
            )
        )
