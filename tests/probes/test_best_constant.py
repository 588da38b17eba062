"""Loss of the best constant output, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nbdebug.model.loss_kind import KNOWN_LOSSES
from nbdebug.probes._best_constant import BestConstant

GENERATOR = torch.Generator().manual_seed(0)
LABELS = torch.randint(0, 3, (600,), generator=GENERATOR)
TARGETS = {
    "cross_entropy": LABELS,
    "mse": torch.randn(600, 4, generator=GENERATOR),
    "binary": torch.rand(600, 4, generator=GENERATOR),
}
OUTPUTS = {"cross_entropy": torch.zeros(600, 3), "mse": torch.zeros(600, 4)}


def constant(kind: str, targets: np.ndarray) -> torch.Tensor:
    """The best constant output as the loss takes it: log-probabilities, means or logits."""
    if kind == "cross_entropy":
        return torch.from_numpy(np.log(np.bincount(targets, minlength=3) / len(targets)))
    mean = targets.astype(np.float64).mean(0)
    return torch.from_numpy(np.log(mean / (1 - mean)) if kind == "binary" else mean)


@pytest.mark.parametrize("kind", TARGETS)
def test_the_loss_on_a_batch_is_that_of_the_constant_of_all(kind: str) -> None:
    targets, outputs = TARGETS[kind], OUTPUTS.get(kind, torch.zeros(600, 4))
    best = BestConstant(kind)
    assert best.on(outputs, targets).isnan()
    for start in (0, 200, 400):
        best.add(outputs[start : start + 200], targets[start : start + 200])
    one = constant(kind, targets.numpy())
    for rows in (slice(0, 600), slice(50, 90)):
        part = targets[rows] if kind == "cross_entropy" else targets[rows].double()
        expected = KNOWN_LOSSES[kind](one.expand(len(part), -1), part)
        assert float(best.on(outputs[rows], targets[rows])) == pytest.approx(
            float(expected), rel=1e-6
        )
    assert float(best.value) == pytest.approx(float(best.on(outputs, targets)), rel=1e-6)
