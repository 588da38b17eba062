"""Detects memory that grows with every step."""

from __future__ import annotations

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule, downsampled


class MemoryGrowth(Rule):
    """The memory of the process grows steadily from step to step, not counting checkpoints.

    Some object keeps data of each step: a list of losses that are still tensors keeps the whole
    graph of each loss (use `loss.item()`), or a cache or a hook grows.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "memory_growth"
    title = "Memory grows from step to step"
    source = "nbdebug: 100 MB in four even parts; the resident size of the process"
    needs = ("memory_mb",)
    wants = ("gpu_memory_mb",)

    MAX_GROWTH_MB = 100.0
    PARTS = 4
    MIN_PART_SHARE = 0.15
    MIN_STEPS = 100

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        for name in ("gpu_memory_mb", "memory_mb"):
            series = snapshot.series.get(name)
            if series is None or len(series) < 4 * self.PARTS:
                continue
            # Caches fill at the start; a leak also grows in the second half.
            half = series.part(np.arange(len(series)) >= len(series) // 2)
            steps = int(half.step[-1] - half.step[0])
            if not np.isfinite(half.mean).all():
                continue
            places = np.linspace(0, len(half) - 1, self.PARTS + 1).astype(int)
            gains = np.diff(half.mean[places])
            value = float(gains.sum())
            if steps < self.MIN_STEPS or value < self.MAX_GROWTH_MB:
                continue
            if gains.min() >= self.MIN_PART_SHARE * value:
                return self._symptom(value, steps, int(half.step[0]), downsampled(series.mean))
        return None

    def _symptom(
        self, value: float, steps: int, since: int, evidence: tuple[float, ...]
    ) -> Symptom:
        seen = (
            f"{value:,.0f} MB more over the last {steps:,} steps: {value / steps:.2g} MB per step."
        )
        remedies = (
            Remedy("Store numbers, not tensors: loss.item(), outputs.detach()"),
            Remedy("Look for growing lists and hooks in the model, the loss or step_fn"),
        )
        return Symptom(value, self.MAX_GROWTH_MB, since, seen, remedies, evidence)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        early = np.minimum(np.linspace(500.0, 1500.0, 400), 800.0)
        return (
            example({**loss, "memory_mb": np.linspace(500.0, 1500.0, 400)}),
            example({**loss, "memory_mb": early}),
        )
