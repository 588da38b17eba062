"""Detects a reward that falls from the start of the training on."""

from __future__ import annotations

import math

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.metric_names import LoggedLines
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule, downsampled

KINDS = ("reward", "return", "rewards", "returns", "score")
PARTS = ("", "mean_", "avg_", "average_", "episode_", "ep_", "total_", "train_", "eval_", "val_")


class FallingReward(Rule):
    """The logged reward is lower than at the start, and was never higher: the policy gets worse.

    Optimizers make a loss small. That of a policy gradient is minus log-probability times
    advantage; without the minus, actions that were rewarded become rarer. So they do where the
    advantage is baseline minus reward, or where a reward is a cost.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "falling_reward"
    title = "The reward falls from the start"
    source = "Williams (1992), REINFORCE; nbdebug: means of the first and of the last values"
    wants = tuple(part + kind for kind in KINDS for part in PARTS)

    MIN_VALUES, FIRST, WINDOW = 200, 0.05, 10
    MIN_FALL = 5.0

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        for name in self.wants:
            series = snapshot.series.get(name)
            if series is None or not np.isfinite(series.mean).all():
                continue
            found = self._fall(series.mean)
            if found is not None:
                first, last = found
                lines = dict(snapshot.results.of(LoggedLines, LoggedLines()).lines)
                where = f" ({lines[name]})" if lines.get(name) else ""
                seen = f"{name} was {first:.3g} at the start, is {last:.3g}, and was never higher "
                seen += f"in between{where}."
                remedies = (
                    Remedy("Look at the sign of the loss: -(log_prob * advantage).mean()"),
                    Remedy("Check that the advantage is reward minus baseline, not the reverse"),
                )
                since = int(series.step[len(series) // 2])
                return Symptom(last, first, since, seen, remedies, downsampled(series.mean))
        return None

    def _fall(self, values: Array) -> tuple[float, float] | None:
        """Means of the first and the last of some rewards [N], if they fell and never rose."""
        count = len(values)
        if count < self.MIN_VALUES:
            return None
        some = max(self.WINDOW, int(self.FIRST * count))
        first, last = values[:some], values[count // 2 :]
        smooth = np.convolve(values, np.full(self.WINDOW, 1 / self.WINDOW), mode="valid")
        noise = math.hypot(float(first.std()), float(last.std())) * _slowness(last)
        noise /= math.sqrt(self.WINDOW)
        begin = float(max(smooth[0], first.mean()))
        fell = begin - float(last.mean()) > self.MIN_FALL * noise
        # The rest is never above the start, but by chance, and its second half is far below.
        rose = float(smooth[some:].max()) > begin
        below = bool(smooth[count // 2 :].max() < begin)
        return (begin, float(last.mean())) if fell and below and not rose else None

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        noise = 0.02 * np.sin(np.arange(400.0))
        falls = 0.1 * np.exp(-np.arange(400) / 40) + noise * 0.1
        return (
            example({**loss, "reward": falls}),
            example({**loss, "reward": 0.5 - falls + noise}),
        )


def _slowness(values: Array) -> float:
    """Factor by which means of values [N] that follow each other vary more than of apart ones."""
    places = np.arange(len(values))
    rest = values - np.polyval(np.polyfit(places, values, 1), places)
    squares = float((rest**2).mean())
    if not squares > 0:
        return 1.0
    alike = float((rest[1:] * rest[:-1]).mean()) / squares
    alike = min(max(alike, 0.0), 0.999)
    return math.sqrt((1 + alike) / (1 - alike))
