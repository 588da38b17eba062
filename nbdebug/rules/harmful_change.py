"""Detects a change of a setting after which the loss rose."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import ControlChange
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules._loss_rise import did_harm
from nbdebug.rules._slow_harm import edits, slow_harm
from nbdebug.rules.base import Rule, downsampled

# New weights begin again, and a loss of other samples is another loss.
NOT_MEANT = ("reinit", "left_out", "relabelled")


class HarmfulChange(Rule):
    """The loss rose after a setting was changed, and the setting is still in force.

    The loss is higher than before, or it fell steadily and has not fallen since. The change is the
    cause of what follows: undo it. If the loss does not come back, the weights
    were moved too far: go back to before the change with `dbg.undo(rewind=True)`.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "harmful_change"
    title = "A change made the loss rise"
    source = "nbdebug: the loss before and after the change, as in the rule diverging"
    harms = True
    needs = ("loss",)
    wants = ("val_loss",)

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        change = self._last(snapshot)
        return self._slow(snapshot) if change is None else self._fast(snapshot, change)

    def _fast(self, snapshot: Snapshot, change: ControlChange) -> Symptom:
        loss = snapshot.series["loss"]
        before = loss.mean[loss.step < change.step][-20:]
        after = loss.mean[loss.step >= change.step][-20:]
        past = float(np.median(before)) if len(before) else float("nan")
        now = float(np.median(after)) if len(after) else float("nan")
        end = f"the median loss is now {now:.3g}; before the change it was {past:.3g}."
        if not np.isfinite(now):
            end = f"loss or gradient is NaN or Inf since; before the change it was {past:.3g}."
        seen = f"{_in_words(change, change)} at step {change.step:,}: {end}"
        back = Remedy("Go back to before the change: dbg.undo(rewind=True)")
        remedies = (_undo(change), back)
        return Symptom(now, past, change.step, seen, remedies, downsampled(loss.mean))

    def _slow(self, snapshot: Snapshot) -> Symptom | None:
        """Harm that shows only in comparison with the trend before the change."""
        for edit in edits(snapshot):
            if said := slow_harm(snapshot, edit):
                first, last = edit.first, edit.last
                when = f"at step {first.step:,}"
                if last is not first:
                    when = f"from step {first.step:,} to {last.step:,}"
                loss = snapshot.series["loss"].mean
                value, past = (
                    float(loss[-1]),
                    float(loss[snapshot.series["loss"].step < first.step][-1]),
                )
                seen = f"{_in_words(first, last)} {when}: {said}"
                return Symptom(value, past, first.step, seen, (_undo(first),), downsampled(loss))
        return None

    def _last(self, snapshot: Snapshot) -> ControlChange | None:
        """The latest change that did harm and is in force."""
        later: set[str] = set()
        for change in reversed(snapshot.changes):
            if change.status != "applied" or change.kind != "control":
                continue
            fresh = change.control not in later and change.control not in NOT_MEANT
            if fresh and change.step > 0 and did_harm(snapshot, change.step):
                return change
            later.add(change.control)
        return None

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        calm = falling_loss(2.3, 0.5)
        rising = np.concatenate([calm, np.linspace(0.6, 3.0, 100)])
        change = ControlChange(400, 0, 0.0, "lr", 0.01, 1.0, "api", "", "applied")
        falls = np.concatenate([calm, np.full(100, 0.4)])
        return example({"loss": rising}, changes=(change,)), example(
            {"loss": falls}, changes=(change,)
        )


def _undo(change: ControlChange) -> Remedy:
    return Remedy(f"Undo it: {change.control} back to {_text(change.old)}", _settings(change))


def _in_words(first: ControlChange, last: ControlChange) -> str:
    old, new = first.old, last.new
    who = "You" if first.who in ("dashboard", "api") else first.who or "Somebody"
    verb = "changed"
    if _is_number(old) and _is_number(new):
        verb = "raised" if new > old else "lowered"
    return f"{who} {verb} {first.control} from {_text(old)} to {_text(new)}"


def _settings(change: ControlChange) -> dict[str, Any]:
    return {change.control: change.old}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
