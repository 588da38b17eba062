"""Predictions over steps as a result: steps, tables, text; bounded in memory."""

from __future__ import annotations

import numpy as np
import pytest

from nbdebug.core.history.history import History
from nbdebug.core.results.inside.predicted_step import PredictedSamples, PredictedStep, thinned
from nbdebug.core.results.inside.predictions import MAX_STEPS, Predictions
from nbdebug.errors import ArgumentError

TARGETS = np.array([0, 1, 2, 1])


def step(number: int, shares: object = None) -> PredictedStep:
    """Predictions in which sample 3 is wrong."""
    values = np.full((4, 3), 0.1, np.float32)
    for row, guess in enumerate((0, 1, 2, 0)):
        values[row, guess] = 0.8
    values = values if shares is None else np.asarray(shares, np.float32)
    return PredictedStep(number, values, values.argmax(1), values[np.arange(4), TARGETS])


def made(*steps: int) -> Predictions:
    samples = PredictedSamples(
        4, "val_data", (10, 11, 12, 13), TARGETS, ((1.0,), (2.0,), (3.0,), (4.0,))
    )
    found = Predictions("classes", 3, samples=samples)
    for number in steps:
        found = found.with_step(step(number))
    return found


def test_a_step_is_found_by_its_number_or_one_after_it() -> None:
    found = made(0, 10, 20)
    assert found.at(10).steps == (10,)
    assert found.at(19).steps == (10,)
    assert found.at(10**9).steps == (20,)
    with pytest.raises(ArgumentError, match="up to step -1: the first are of step 0"):
        found.at(-1)
    with pytest.raises(ArgumentError, match="No predictions were recorded"):
        Predictions().at(3)


def test_a_second_look_at_a_step_replaces_the_first() -> None:
    found = made(0, 10).with_step(step(10, np.eye(4, 3)))
    assert found.steps == (0, 10)
    assert (found.values == np.eye(4, 3)).all()


def test_steps_are_thinned_evenly_and_both_ends_stay() -> None:
    found = made(*range(0, 3000, 3))
    gaps = np.diff(found.steps)
    assert len(found.steps) == MAX_STEPS
    assert (found.steps[0], found.steps[-1]) == (0, 2997)
    assert gaps.max() <= 6 * np.median(gaps)


def test_large_steps_are_fewer() -> None:
    large = np.zeros((256, 250), np.float32)
    found = Predictions("classes", 250)
    for number in range(300):
        found = found.with_step(PredictedStep(number, large))
    assert sum(one.size for one in found.history) <= 32 * 2**20
    assert found.steps[0] == 0
    assert thinned(found.history, 1) == (found.history[0], found.history[-1])


def test_rows_are_samples_by_step() -> None:
    frame = made(0, 10).to_frame()
    assert list(frame) == [
        "step", "sample", "target", "predicted", "probability", "confidence", "right"
    ]  # fmt: skip
    assert frame["step"].tolist() == [0] * 4 + [10] * 4
    assert frame["sample"].tolist() == [10, 11, 12, 13] * 2
    assert frame["right"].tolist() == [True, True, True, False] * 2
    assert np.allclose(frame["probability"], [0.8, 0.8, 0.8, 0.1] * 2)


def test_confusion_counts_targets_by_row() -> None:
    assert made(5).confusion(5).to_numpy().tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]


def test_errors_are_the_wrong_ones() -> None:
    assert made(5).errors()["sample"].tolist() == [13]
    text = repr(made(5))
    assert "3 of 4 right (75.0%)" in text
    assert "13 | 1 | 0 | 80.0% | 10.0% | 4" in text
    assert made(5)._repr_html_().count("<tr>") == 2


def test_texts_of_users_are_escaped() -> None:
    found = Predictions(why="<script>")
    assert "<script>" not in found._repr_html_()
    assert repr(found) == "No predictions: <script>"


def test_values_have_a_row_for_each_output() -> None:
    samples = PredictedSamples(2, "given", None, np.array([[1.0, 2.0], [3.0, np.nan]], np.float32))
    values = np.array([[1.5, 2.0], [3.0, 9.0]], np.float32)
    found = Predictions("regression", samples=samples).with_step(PredictedStep(3, values))
    frame = found.to_frame()
    assert frame["output"].tolist() == [0, 1, 0, 1]
    assert frame["error"].tolist()[:3] == [0.5, 0.0, 0.0]
    assert found.errors(top=1)["sample"].tolist() == [1, 1]
    assert "that were given" in repr(found)


def test_a_rewind_drops_later_steps_and_a_reset_all() -> None:
    history = History()
    history.set_result(made(0, 10, 20))
    history.rewind(15, 20)
    held = history.results.of(Predictions)
    assert held is not None
    assert held.steps == (0, 10)
    history.clear()
    assert history.results.of(Predictions) is None
