"""Panels of the tab Predictions: what they draw of a result, and what they say without one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from nbdebug.core.results.inside.predicted_step import PredictedSamples, PredictedStep
from nbdebug.core.results.inside.predictions import Predictions
from nbdebug.core.results.inside.recorded_predictions import DecisionRegions
from nbdebug.panels.base import Panel
from nbdebug.panels.predictions import PredictionCurves
from nbdebug.panels.predictions_confusion import ConfusionMatrix, most_confused
from nbdebug.panels.predictions_errors import PredictionErrors
from nbdebug.panels.predictions_probabilities import ClassProbabilities
from nbdebug.panels.predictions_regions import DecisionRegionsPlot
from nbdebug.panels.predictions_residual_histogram import ResidualHistogram
from nbdebug.panels.predictions_residuals import Residuals
from tests.panels.showing import Shown, context_with, draw, history

PANELS = (
    PredictionCurves, ConfusionMatrix, PredictionErrors, DecisionRegionsPlot, ResidualHistogram,
    Residuals, ClassProbabilities,
)  # fmt: skip
DRAWN = np.random.default_rng(0)
COUNT, CLASSES = 30, 4
TARGETS = np.arange(COUNT) % CLASSES


class Page(Shown):
    """Sections and hidden panels too."""

    def __init__(self) -> None:
        super().__init__()
        self.pages: dict[str, str] = {}
        self.hidden: dict[str, bool] = {}

    def set_section(self, panel: str, section: str, page: str) -> None:
        self.pages[panel] = page

    def set_hidden(self, panel: str, hidden: bool) -> None:
        self.hidden[panel] = hidden


def classes(steps: Iterable[int] = (0, 10, 20), **samples: Any) -> Predictions:
    values = {"targets": TARGETS, "rows": tuple((float(i),) for i in range(COUNT)), **samples}
    found = Predictions("classes", CLASSES, samples=PredictedSamples(COUNT, "val_data", **values))
    targets = values["targets"]
    for step in steps:
        shares = DRAWN.dirichlet(np.ones(CLASSES), COUNT).astype(np.float32)
        shares[5] = np.nan
        guess = np.where(np.isnan(shares[:, 0]), -1, shares.argmax(1))
        chance = None if targets is None else shares[np.arange(COUNT), targets]
        found = found.with_step(PredictedStep(step, shares, guess, chance))
    return found


def values(steps: Iterable[int] = (0, 10)) -> Predictions:
    targets = DRAWN.normal(size=(COUNT, 1)).astype(np.float32)
    found = Predictions("regression", samples=PredictedSamples(COUNT, "val_data", None, targets))
    for step in steps:
        outputs = targets + DRAWN.normal(size=targets.shape).astype(np.float32)
        found = found.with_step(PredictedStep(step, outputs))
    return found


def show(found: Predictions | None, *kinds: type[Panel], step: str = "") -> tuple[Page, list[Any]]:
    source = history(loss=np.ones(30))
    if found is not None:
        source.set_result(found)
    page = Page()
    context = context_with(page)
    panels = [kind(context) for kind in kinds]
    for panel in panels:
        panel.build()
    for chosen in ("", step):
        context.choices.pick("predictions_step", chosen)
        for panel in panels:
            draw(panel, source)
    return page, panels


def test_without_a_result_one_panel_says_what_to_do_and_the_others_are_left_out() -> None:
    page, _ = show(None, *PANELS)
    assert "Press Run" in page.notes["predictions"]
    assert page.hidden == dict.fromkeys((kind.name for kind in PANELS[1:]), True)


def test_a_reason_stands_over_the_plot() -> None:
    page, _ = show(Predictions(why="It cannot be shown."), *PANELS)
    assert page.notes["predictions"] == "It cannot be shown."


def test_a_reason_beside_older_steps_leaves_them_drawn() -> None:
    found = classes()
    broken = Predictions("classes", CLASSES, "No eval", (), found.samples, found.history)
    page, (curves,) = show(broken, PredictionCurves)
    assert page.notes["predictions"] == ""
    assert page.actions["predictions"].text.startswith("No eval. Predictions (4 classes)")
    assert len(page.of(curves.band)["x"]) == 3


@pytest.mark.parametrize(
    ("found", "seen"),
    [
        (classes(), {"predictions_confusion", "predictions_errors", "predictions_probabilities"}),
        (
            values(),
            {"predictions_errors", "predictions_residual_histogram", "predictions_residuals"},
        ),
    ],
    ids=["classes", "values"],
)
def test_only_panels_that_fit_are_seen(found: Predictions, seen: set[str]) -> None:
    page, _ = show(found, *PANELS)
    assert {name for name, hidden in page.hidden.items() if not hidden} == seen


def test_curves_are_quartiles_of_all_and_the_worst_samples() -> None:
    found = classes()
    page, (curves,) = show(found, PredictionCurves)
    table = np.array([one.of_target for one in found.history], float)
    expected = np.nanquantile(table, (0.25, 0.5, 0.75), axis=1)
    band = page.of(curves.band)
    assert np.allclose([band["low"], band["y"], band["high"]], expected)
    drawn = {int(page.of(line)["sample"][0]): page.of(line)["y"] for line in curves.lines}
    assert set(drawn) == set(np.argsort(table[-1])[:12].tolist())
    for sample, line in drawn.items():
        assert np.array_equal(line, table[:, sample], equal_nan=True)


def test_a_sample_that_stays_among_the_worst_keeps_its_line() -> None:
    source, page = history(loss=np.ones(30)), Page()
    curves = PredictionCurves(context_with(page))
    curves.build()
    found = classes((0,))
    held: list[dict[int, str]] = []
    for step in (0, 10):
        found = found if step == 0 else found.with_step(classes((step,)).history[0])
        source.set_result(found)
        draw(curves, source)
        held.append({int(page.of(line)["sample"][0]): line.id for line in curves.lines})
    stayed = held[0].keys() & held[1].keys()
    assert stayed
    assert all(held[0][sample] == held[1][sample] for sample in stayed)


def test_the_matrix_is_that_of_the_chosen_step() -> None:
    found = classes()
    for chosen, one in (("", found.history[-1]), ("10", found.history[1])):
        page, (_, matrix) = show(found, PredictionCurves, ConfusionMatrix, step=chosen)
        counts = np.zeros((CLASSES, CLASSES))
        for source in (matrix.right, matrix.wrong):
            cells = page.of(source)
            counts[cells["y"], cells["x"]] = cells["count"]
        assert one.predicted is not None
        expected = np.zeros((CLASSES, CLASSES))
        for true, guess in zip(TARGETS, one.predicted, strict=True):
            expected[true, guess] += guess >= 0
        assert (counts == expected).all()
        assert page.actions[matrix.name].text.startswith(f"Step {one.step}: ")
        assert "1 predictions are NaN or Inf" in page.actions[matrix.name].text


def test_of_many_classes_those_with_the_most_errors_are_drawn() -> None:
    counts = np.eye(50, dtype=np.int64) * 9
    counts[7, 31] = counts[2, 7] = 5
    kept = most_confused(counts)
    assert len(kept) == 20
    assert {2, 7, 31} <= set(kept.tolist())
    assert kept.tolist() == sorted(kept.tolist())


def test_errors_are_listed_with_their_pictures() -> None:
    images = DRAWN.random((COUNT, 1, 8, 8)).astype(np.float32)
    page, _ = show(classes(images=images), PredictionErrors)
    assert page.pages["predictions_errors"].count("<img") == 6
    page, _ = show(classes(targets=None), PredictionErrors)
    assert "not known" in page.pages["predictions_errors"]


def test_an_error_leads_to_its_picture_while_training_is_there() -> None:
    page, _ = show(classes(), PredictionErrors)
    button = 'data-choose="inside_sample" data-value="5" data-tab="Network"'
    assert button in page.pages["predictions_errors"]
    assert ">5</button>" in page.pages["predictions_errors"]
    source, context = history(state="closed", loss=np.ones(30)), context_with(page := Page())
    source.set_result(classes())
    panel = PredictionErrors(context)
    panel.build()
    draw(panel, source)
    assert "<table" in page.pages["predictions_errors"]
    assert "<button" not in page.pages["predictions_errors"]


def test_no_errors_are_said() -> None:
    sure = np.eye(CLASSES, dtype=np.float32)[TARGETS]
    found = classes(()).with_step(PredictedStep(4, sure, TARGETS, np.ones(COUNT, np.float32)))
    page, _ = show(found, PredictionErrors)
    assert "No errors at step 4: 30 of 30 right" in page.pages["predictions_errors"]


def test_residuals_are_outputs_minus_targets() -> None:
    found = values()
    page, (dots, bars) = show(found, Residuals, ResidualHistogram)
    targets, outputs = found.samples.targets, found.values
    assert targets is not None
    shown = page.of(dots.dots)
    assert np.allclose(shown["x"], targets.ravel())
    assert np.allclose(shown["y"], outputs.ravel())
    counts, edges = np.histogram((outputs - targets).astype(float), 30)
    assert (page.of(bars.source)["count"] == counts).all()
    assert np.allclose(page.of(bars.source)["left"], edges[:-1])


def test_many_outputs_are_thinned() -> None:
    many = np.zeros((256, 64), np.float32)
    samples = PredictedSamples(256, "val_data", None, many)
    found = Predictions("regression", samples=samples).with_step(PredictedStep(0, many + 1))
    page, (dots, bars) = show(found, Residuals, ResidualHistogram)
    assert len(page.of(dots.dots)["x"]) == 600
    assert page.of(bars.source)["count"].sum() == 256 * 64


def test_regions_are_a_picture_below_the_samples() -> None:
    points = DRAWN.normal(size=(COUNT, 2)).astype(np.float32)
    found = classes(points=points)
    grid = DRAWN.integers(0, CLASSES, (60, 60)).astype(np.float32)
    regions = DecisionRegions(
        20, (-3.0, 3.0), (-2.0, 5.0), grid, np.full((60, 60), 0.9, np.float32)
    )
    shown = Predictions("classes", CLASSES, "", (), found.samples, found.history, regions)
    page, (plot,) = show(shown, DecisionRegionsPlot)
    picture = page.of(plot.picture)
    assert picture["url"][0].startswith("data:image/png;base64,")
    assert (picture["x"], picture["y"], picture["w"], picture["h"]) == ([-3.0], [5.0], [6.0], [7.0])
    assert np.allclose(page.of(plot.dots)["x"], points[:, 0])
    predicted = found.history[-1].predicted
    assert predicted is not None
    assert len(page.of(plot.wrong)["x"]) == int((predicted != TARGETS).sum())
    assert page.prop(plot.figure.y_range, "end") == 5.0
