"""The tab Predictions: the step that its panels show, and which of them have something to show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.inside.predicted_step import PredictedStep
from nbdebug.core.results.inside.predictions import Predictions
from nbdebug.panels.base import Panel

TAB, VIEW = "Predictions", "predictions"
STEP = "predictions_step"
LATEST = ("", "latest")


def offer_latest(panel: Panel) -> None:
    """Offer the latest step alone, before any is recorded."""
    panel.context.choices.offer(STEP, "Step", TAB, [LATEST], slider=True)


def offer_steps(panel: Panel, found: Predictions) -> None:
    """Offer the kept steps on a slider, at whose end the latest is; the chosen one stays.

    A step that thinning has dropped gives way to the one that was kept before it.
    """
    choices, steps = panel.context.choices, found.steps
    asked = chosen = choices[STEP]
    if chosen and steps and int(chosen) not in steps:
        nearest = max((step for step in steps if step <= int(chosen)), default=steps[0])
        chosen = f"{nearest}" if int(chosen) <= steps[-1] else ""
    # The newest step is the latest: it is offered on its own only while it is chosen.
    earlier = [step for step in steps if step != steps[-1] or f"{step}" == chosen]
    latest = (LATEST[0], f"{steps[-1]:,}, latest" if steps else LATEST[1])
    options = [(f"{step}", f"{step:,}") for step in reversed(earlier)]
    choices.offer(STEP, "Step", TAB, [latest, *options], slider=True)
    if chosen != asked:
        choices.pick(STEP, chosen)


def shown(panel: Panel, snapshot: Snapshot) -> tuple[Predictions, PredictedStep | None]:
    """The predictions, and the step of them that the viewer chose; the latest by default."""
    found = snapshot.results.of(Predictions, Predictions())
    chosen = panel.context.choices[STEP]
    one = next((one for one in found.history if f"{one.step}" == chosen), found.latest)
    return found, one


def use(panel: Panel, fits: bool) -> bool:
    """Leave a panel out that has nothing to show for this model; returns `fits`."""
    panel.context.sink.set_hidden(panel.name, not fits)
    return fits


def changed(panel: Panel, *state: object) -> bool:
    """Tell if one of the objects that a panel shows is another one than at the last update."""
    before: tuple[object, ...] = vars(panel).get("_state", ())
    vars(panel)["_state"] = state
    pairs = zip(before, state, strict=False)
    return len(before) != len(state) or any(one is not other for one, other in pairs)


def fresh(
    panel: Panel, snapshot: Snapshot, *kinds: str
) -> tuple[Predictions, PredictedStep] | None:
    """The predictions and their step, if they are new and of one of these kinds; else None.

    The panel is left out where they are of another kind.
    """
    found, one = shown(panel, snapshot)
    fits = use(panel, one is not None and found.kind in kinds)
    return (found, one) if fits and one is not None and changed(panel, found, one) else None


def evenly(count: int, limit: int) -> Sequence[int]:
    """At most `limit` of the positions 0 to `count` - 1, at even distances."""
    if count <= limit:
        return range(count)
    places: list[int] = np.linspace(0, count - 1, limit).round().astype(int).tolist()
    return places
