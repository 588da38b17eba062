"""The slider over the kept steps of the tab Predictions, and the class probabilities there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nbdebug.core.results.inside.predicted_step import PredictedSamples, PredictedStep
from nbdebug.core.results.inside.predictions import MAX_STEPS, Predictions
from nbdebug.panels.predictions import PredictionCurves
from nbdebug.panels.predictions_confusion import ConfusionMatrix
from nbdebug.panels.predictions_probabilities import (
    ClassProbabilities,
    hardest,
    probabilities,
)
from tests.panels.showing import context_with, draw, history
from tests.panels.test_predictions import CLASSES, COUNT, DRAWN, TARGETS, Page, classes, show


class Slider:
    """Panels of the tab, with their results exchanged as training goes on."""

    def __init__(self, *kinds: Any) -> None:
        self.source, self.page = history(loss=np.ones(3_000)), Page()
        self.context = context_with(self.page)
        self.panels = [kind(self.context) for kind in kinds]
        for panel in self.panels:
            panel.build()

    def draw(self, found: Predictions) -> None:
        self.source.set_result(found)
        for panel in self.panels:
            draw(panel, self.source)

    @property
    def option(self) -> dict[str, Any]:
        offered = self.context.choices.describe()
        return next(one for one in offered if one["name"] == "predictions_step")

    @property
    def values(self) -> list[str]:
        return [value for value, _ in self.option["options"]]


def test_the_slider_has_the_latest_at_its_end_and_all_kept_steps() -> None:
    slider = Slider(PredictionCurves)
    found = classes(range(0, 3 * MAX_STEPS, 1))
    slider.draw(found)
    assert slider.option["slider"]
    assert slider.option["value"] == ""
    assert slider.option["options"][0] == ["", f"{found.steps[-1]:,}, latest"]
    assert len(found.steps) == MAX_STEPS
    assert slider.values[1:] == [f"{step}" for step in reversed(found.steps[:-1])]


def test_the_latest_stays_at_the_end_and_a_chosen_step_stays_chosen() -> None:
    slider, found = Slider(PredictionCurves, ConfusionMatrix), classes((0, 10, 20))
    slider.draw(found)
    slider.context.choices.pick("predictions_step", "10")
    slider.draw(found)
    matrix = slider.page.actions["predictions_confusion"].text
    assert matrix.startswith("Step 10:")
    slider.draw(found.with_step(classes((30,)).history[0]))
    assert slider.option["value"] == "10"
    assert slider.page.actions["predictions_confusion"].text == matrix
    assert slider.values == ["", "20", "10", "0"]
    slider.context.choices.pick("predictions_step", "")
    for step in (40, 50):
        found = found.with_step(classes((step,)).history[0])
        slider.draw(found)
        assert slider.page.actions["predictions_confusion"].text.startswith(f"Step {step}:")


def test_a_step_that_thinning_dropped_gives_way_to_the_one_before_it() -> None:
    slider, found = Slider(PredictionCurves), classes((0, 10, 20, 30))
    slider.draw(found)
    slider.context.choices.pick("predictions_step", "20")
    slider.draw(classes((0, 10, 30)))
    assert slider.option["value"] == "10"
    # A rewind went back behind it.
    slider.draw(classes((0, 5)))
    assert slider.option["value"] == ""


def test_a_line_marks_the_chosen_step() -> None:
    slider, found = Slider(PredictionCurves), classes((0, 10, 20))
    slider.draw(found)
    (curves,) = slider.panels
    assert slider.page.prop(curves.chosen, "visible") is False
    slider.context.choices.pick("predictions_step", "10")
    slider.draw(found)
    assert slider.page.prop(curves.chosen, "visible") is True
    assert slider.page.prop(curves.chosen, "location") == 10


def cells(page: Page, panel: Any) -> dict[tuple[str, str], tuple[float, bool]]:
    """Probability by sample and class, and whether the class is the target."""
    found = {}
    for source, right in ((panel.right, True), (panel.wrong, False)):
        drawn = page.of(source)
        for sample, name, share in zip(
            drawn["sample"], drawn["class"], drawn["probability"], strict=True
        ):
            found[sample, name] = float(share), right
    return found


@pytest.mark.parametrize("step", ["", "10"])
def test_class_probabilities_are_those_of_the_chosen_step(step: str) -> None:
    found = classes()
    page, (_, panel) = show(found, PredictionCurves, ClassProbabilities, step=step)
    one = found.history[1 if step else -1]
    means = np.mean([np.nan_to_num(at.of_target) for at in found.history], axis=0)
    rows = sorted(np.argsort(means, kind="stable")[:16].tolist())
    expected = {
        (f"{row}", f"{name}"): (float(one.values[row, name]), bool(TARGETS[row] == name))
        for row in rows
        for name in range(CLASSES)
        if one.values[row, name] >= 0.005
    }
    assert cells(page, panel) == expected
    assert page.actions[panel.name].text == f"Step {one.step}."
    texts = page.of(panel.texts)
    assert len(texts["text"]) == sum(share >= 0.1 for share, _ in expected.values())


def test_rows_do_not_change_while_the_slider_moves() -> None:
    found = classes((0, 10, 20, 30))
    names = set()
    for step in ("0", "10", "20", ""):
        page, (_, panel) = show(found, PredictionCurves, ClassProbabilities, step=step)
        names.add(tuple(page.prop(panel.figure.yaxis[0], "major_label_overrides").values()))
    assert len(names) == 1


def test_yes_or_no_has_two_columns() -> None:
    shares = DRAWN.random((COUNT, 1)).astype(np.float32)
    targets = np.arange(COUNT) % 2
    chance = np.where(targets == 1, shares[:, 0], 1 - shares[:, 0])
    samples = PredictedSamples(COUNT, "val_data", None, targets)
    found = Predictions("binary", 2, samples=samples).with_step(
        PredictedStep(0, shares, (shares[:, 0] > 0.5).astype(int), chance)
    )
    page, (_, panel) = show(found, PredictionCurves, ClassProbabilities)
    for (sample, name), (share, right) in cells(page, panel).items():
        row = int(sample)
        assert share == pytest.approx(shares[row, 0] if name == "1" else 1 - shares[row, 0])
        assert right == (f"{targets[row]}" == name)


def test_of_many_classes_the_most_probable_and_the_targets_are_drawn() -> None:
    many, count = 300, 20
    shares = DRAWN.dirichlet(np.full(many, 0.02), count).astype(np.float32)
    top = np.argsort(-shares, axis=1)[:, :5]
    kept = np.take_along_axis(shares, top, axis=1)
    targets = DRAWN.integers(0, many, count)
    samples = PredictedSamples(count, "val_data", None, targets)
    chance = shares[np.arange(count), targets]
    found = Predictions("classes", many, samples=samples).with_step(
        PredictedStep(0, kept, top[:, 0], chance, top)
    )
    rows = hardest(found)
    table, names = probabilities(found, found.history[0], rows)
    assert table.shape == (16, 20)
    for at, row in enumerate(rows):
        for place, name in enumerate(names):
            listed = int(name) in top[row]
            assert table[at, place] == (shares[row, int(name)] if listed else 0.0)
    page, (_, panel) = show(found, PredictionCurves, ClassProbabilities)
    assert "Drawn are 20 of 300 classes." in page.actions[panel.name].text


def test_nan_is_said() -> None:
    broken = np.full((COUNT, CLASSES), np.nan, np.float32)
    guess = np.full(COUNT, -1)
    found = classes(()).with_step(PredictedStep(4, broken, guess, broken[:, 0]))
    page, (_, panel) = show(found, PredictionCurves, ClassProbabilities)
    assert "NaN or Inf" in page.notes[panel.name]
    assert cells(page, panel) == {}
