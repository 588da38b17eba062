"""A change that harms slowly is named; one that only changes the noise, or helps, is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nbdebug.core.records import ControlChange
from nbdebug.core.results.findings import Symptom
from nbdebug.core.series import Series
from nbdebug.rules._examples import example
from nbdebug.rules.harmful_change import HarmfulChange

AT = 300
STEPS = np.arange(1000.0)
NOISE = np.random.default_rng(3).normal(0, 0.05, 1000)
Shape = Callable[[np.ndarray], np.ndarray]
SETTLED = 0.4 + 1.9 * np.exp(-STEPS[:AT] / 40)
FALLING = 2.3 - 0.004 * STEPS[:AT]


def change(control: str, old: Any, new: Any, step: int = AT) -> ControlChange:
    return ControlChange(step, 0, 0.0, control, old, new, "api", "", "applied")


def judged(
    before: np.ndarray, after: Shape, *changes: ControlChange, **more: np.ndarray
) -> Symptom | None:
    rest = after(np.arange(400.0))
    loss = np.concatenate([before, rest]) + NOISE[: len(before) + len(rest)]
    made = changes or (change("weight_decay", 0.0, 0.1),)
    return HarmfulChange().diagnose(example({"loss": loss, **more}, changes=made))


@pytest.mark.parametrize(
    ("before", "after", "control"),
    [
        (SETTLED, lambda t: 0.4 + 0.3 * (1 - np.exp(-t / 60)), "weight_decay"),
        (SETTLED, lambda t: 0.4 + 0.001 * t, "lr"),
        (SETTLED, lambda t: 0.75 + 0 * t, "batch_size"),
        (FALLING, lambda t: 1.1 + 0 * t, "clip_threshold"),
        (FALLING, lambda t: 1.1 - 0.00002 * t, "lr"),
    ],
    ids=["creeps up", "rises slowly", "stays higher", "stalls", "almost stalls"],
)
def test_slow_harm_is_named_with_the_change(before: Any, after: Any, control: str) -> None:
    found = judged(before, after, change(control, 0.5, 0.25))
    assert found is not None
    assert found.seen.startswith(f"You lowered {control} from 0.5 to 0.25 at step 300")
    assert dict(found.remedies[0].settings) == {control: 0.5}


@pytest.mark.parametrize(
    ("before", "after", "control"),
    [
        (SETTLED, lambda t: 0.4 + 0.3 * np.exp(-t / 150), "lr"),
        (SETTLED, lambda t: 0.45 + 0 * t, "lr"),
        (SETTLED, lambda t: 0.4 + 0 * t, "weight_decay"),
        (FALLING, lambda t: 1.1 - 0.001 * t, "lr"),
        (FALLING, lambda t: 0.7 - 0.0001 * t, "lr"),
        (SETTLED, lambda t: 0.8 + 0 * t, "dropout"),
        (SETTLED, lambda t: 0.8 + 0 * t, "reinit"),
    ],
    ids=["recovers", "noise", "settled", "slower", "drops at once", "dropout", "new weights"],
)
def test_what_does_no_harm_is_none(before: Any, after: Any, control: str) -> None:
    assert judged(before, after, change(control, 0.5, 0.25)) is None


def test_a_control_turned_up_bit_by_bit_is_one_change() -> None:
    raised = [change("lr", 0.01 * 1.3**k, 0.01 * 1.3 ** (k + 1), 100 + 60 * k) for k in range(5)]
    loss = np.concatenate([SETTLED[:100], np.full(800, 0.8)]) + NOISE[:900]
    found = HarmfulChange().diagnose(example({"loss": loss}, changes=raised))
    assert found is None or found.since == 100
    loss = np.concatenate([SETTLED[:160], 0.43 + 0.0012 * np.arange(600.0)]) + NOISE[:760]
    found = HarmfulChange().diagnose(example({"loss": loss}, changes=raised))
    assert found is not None
    assert "from 0.01 to" in found.seen
    assert "from step 100 to 340" in found.seen
    assert dict(found.remedies[0].settings) == {"lr": 0.01}


@pytest.mark.parametrize(("validation", "harms"), [(0.5, False), (1.4, True)])
def test_regularisation_is_judged_by_the_validation_loss(validation: float, harms: bool) -> None:
    steps = np.arange(14) * 50
    values = np.where(steps < AT, 0.6 + np.exp(-steps / 100), validation)
    val = Series("val_loss", steps, values, values, values, values, np.ones(14, np.int32))
    loss = np.concatenate([SETTLED, np.full(400, 0.9)]) + NOISE[:700]
    made = example({"loss": loss}, changes=(change("dropout", 0.0, 0.5),))
    series = {**made.series, "val_loss": val}
    assert (HarmfulChange().diagnose(replace(made, series=series)) is not None) == harms


def test_a_setting_that_was_set_back_is_not_blamed() -> None:
    made = (change("lr", 0.1, 0.5), change("lr", 0.5, 0.1, 400))
    assert judged(SETTLED, lambda t: np.where(t < 100, 0.9, 0.4), *made) is None
