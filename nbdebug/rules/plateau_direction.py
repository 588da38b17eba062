"""Detects a ReduceLROnPlateau that looks for the wrong direction."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.metric_names import PlateauValues
from nbdebug.core.series import Series
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule, downsampled

# Words in the call of step() for values that are to fall, and to rise.
FALLS = re.compile(
    r"(?:^|[^a-z])(?:\w*loss\w*|nll|mse|mae|rmse|err|error|perplexity|ppl|wer|cer)\b"
)
RISES = re.compile(
    r"(?:^|[^a-z])(?:\w*acc\w*|f1|auc|iou|dice|score|precision|recall|r2|bleu|map)\b"
)
COUNTS = np.arange(1, 20_001)
MAX_BLOCKS = 10


class PlateauDirection(Rule):
    """ReduceLROnPlateau lowers the learning rate while the values that it is given improve.

    With mode="max" a loss that falls is no improvement, with mode="min" an accuracy that rises is
    none: after `patience` calls the learning rate is lowered, again and again, and training slows
    down where it went well. An accuracy is told from a loss by its numbers, which are shares of a
    count, or by the name that it has in the call; a loss by its course, which is that of the
    training loss.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "plateau_direction"
    title = "ReduceLROnPlateau looks for the wrong direction"
    source = "PyTorch, ReduceLROnPlateau (mode); nbdebug: three quarters of the changes one way"
    needs = ("loss",)

    MIN_VALUES, MIN_RATIO = 4, 3
    SLOWEST, FASTEST = 0.4, 2.5
    MIN_CHANGE = 0.05

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        found = snapshot.results.of(PlateauValues)
        if found is None or len(found.values) < self.MIN_VALUES:
            return None
        values = np.array(found.values)
        loss = snapshot.series["loss"]
        if found.steps[-1] > snapshot.status.step or not np.isfinite(values).all():
            return None
        falls, call = found.mode == "max", found.line.lower().rpartition("step(")[2]
        losses = _between(loss, np.array(found.steps))
        if not (self._goes(values, falls) and losses[-1] < losses[0]):
            return None
        if not (self._is_loss(values, losses, call) if falls else self._is_share(values, call)):
            return None
        seen = f'ReduceLROnPlateau(mode="{found.mode}") was stepped with values that '
        seen += f"{'fall' if falls else 'rise'} from {values[0]:.4g} to {values[-1]:.4g}, and has "
        seen += f"lowered the learning rate {found.lowered} times, from {found.before:.3g} to "
        seen += f"{found.after:.3g}{f' ({found.line})' if found.line else ''}."
        right = "min" if falls else "max"
        remedy = Remedy(f'Make it with mode="{right}", since {_kind(falls)} improves that way')
        return Symptom(
            found.after, found.before, found.steps[0], seen, (remedy,), downsampled(values)
        )

    def _goes(self, values: Array, falls: bool) -> bool:
        """True if the values go one way, by more than a little."""
        means = _blocks(values)
        changes = -np.diff(means) if falls else np.diff(means)
        # Once the rate is low they may stay where they are.
        better, worse = int((changes > 0).sum()), int((changes < 0).sum())
        least = self.MIN_CHANGE * float(np.abs(means).max())
        return better >= max(2, self.MIN_RATIO * worse) and float(changes.sum()) > least

    def _is_loss(self, values: Array, losses: Array, call: str) -> bool:
        """True for values that fall as the losses of the training do, or have such a name."""
        if FALLS.search(call):
            return True
        means = _blocks(values)
        if losses[-1] <= 0 or (means <= 0).any():
            return False
        share = np.log(means[-1] / means[0]) / np.log(losses[-1] / losses[0])
        return bool(self.SLOWEST <= share <= self.FASTEST)

    def _is_share(self, values: Array, call: str) -> bool:
        """True for values that are shares of a count, or have the name of such; no loss."""
        return not FALLS.search(call) and (RISES.search(call) is not None or _counted(values))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        curve = falling_loss(2.3, 0.5)
        steps = tuple(range(49, 400, 50))
        values = tuple(float(curve[step - 49 : step + 1].mean()) for step in steps)
        sick = PlateauValues("max", steps, values, 0.1, 1e-3, 2)
        healthy = PlateauValues("max", steps, tuple(1 - one / 3 for one in values), 0.1, 0.01, 1)
        return example({"loss": curve}, [sick]), example({"loss": curve}, [healthy])


def _kind(falls: bool) -> str:
    return "a loss" if falls else "an accuracy"


def _blocks(values: Array) -> Array:
    """Means of up to ten parts of the values [N], in order."""
    return np.array([one.mean() for one in np.array_split(values, min(len(values), MAX_BLOCKS))])


def _between(loss: Series, steps: NDArray[np.int64]) -> Array:
    """Means of the training loss in the times of these parts; NaN where there is none."""
    ends = [one[-1] for one in np.array_split(steps, min(len(steps), MAX_BLOCKS))]
    gap = max(int(ends[1] - ends[0]), 1)
    parts = [loss.mean[(loss.step > end - gap) & (loss.step <= end)] for end in ends]
    return np.array([float(part.mean()) if len(part) else np.nan for part in parts])


def _counted(values: Array) -> bool:
    """True if all values are shares of one count, of 1 or in percent; 0 and 1 tell nothing."""
    telling = np.unique(values[(values > 0) & (values != 1) & (values != 100)])
    if len(telling) < 3 or (values < 0).any() or values.max() > 100:
        return False
    for scale in (1.0, 100.0):
        shares = telling / scale
        if shares.max() > 1:
            continue
        numbers = COUNTS[:, None] * shares
        # In single precision, where a large count tells nothing any more.
        off = np.abs(numbers - np.round(numbers)) <= 2e-7 * numbers + 1e-9
        chance = COUNTS * (4e-7 * shares.max()) + 1e-9
        fits = off.all(1) & (np.cumsum(chance ** len(telling)) < 1e-3)
        if fits.any():
            return True
    return False
