"""Messages of the tab Predictions stay small, whatever the samples are."""

from __future__ import annotations

import numpy as np
import pytest

from nbdebug.core.results.inside.predicted_step import PredictedSamples, PredictedStep
from nbdebug.core.results.inside.predictions import Predictions
from nbdebug.core.results.inside.recorded_predictions import DecisionRegions
from nbdebug.panels.predictions import PredictionCurves
from nbdebug.panels.predictions_confusion import ConfusionMatrix
from nbdebug.panels.predictions_errors import PredictionErrors
from nbdebug.panels.predictions_probabilities import ClassProbabilities
from nbdebug.panels.predictions_regions import DecisionRegionsPlot

COUNT, CLASSES = 256, 20


@pytest.fixture
def panels():
    return [
        PredictionCurves, ConfusionMatrix, PredictionErrors, DecisionRegionsPlot,
        ClassProbabilities,
    ]  # fmt: skip


def test_ticks_fit_into_fifty_kilobytes(wire, training, dashboard, show):
    drawn = np.random.default_rng(0)
    targets = drawn.integers(0, CLASSES, COUNT)
    images = drawn.random((COUNT, 3, 32, 32)).astype(np.float32)
    points = drawn.random((COUNT, 2)).astype(np.float32)
    samples = PredictedSamples(COUNT, "val_data", None, targets, images=images, points=points)
    found = Predictions("classes", CLASSES, samples=samples)
    show(dashboard, tab="Predictions")
    dashboard.tick()
    for step in range(0, 300, 2):
        shares = drawn.dirichlet(np.ones(CLASSES), COUNT).astype(np.float32)
        chance = shares[np.arange(COUNT), targets]
        found = found.with_step(PredictedStep(step, shares, shares.argmax(1), chance))
        if step < 280:
            continue
        grid = drawn.integers(0, CLASSES, (60, 60)).astype(np.float32)
        regions = DecisionRegions(step, (0.0, 1.0), (0.0, 1.0), grid, np.ones((60, 60), np.float32))
        training.train(2)
        training.history.set_result(
            Predictions("classes", CLASSES, "", (), samples, found.history, regions)
        )
        for _ in range(4):
            wire.take()
            dashboard.tick()
            messages = wire.take()
            assert sum(len(str(m["data"])) + sum(map(len, m["buffers"])) for m in messages) < 50_000
