"""Scale of the inputs."""

from __future__ import annotations

import torch
from torch import nn

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import split

EMBEDDINGS = nn.Embedding | nn.EmbeddingBag


class InputScale(Check):
    """Checks that inputs have no NaN or Inf, and their scale fits the initial weights.

    PyTorch's initial weights expect features with a mean near 0 and a standard deviation near 1.
    A single feature in the thousands dominates the others; NaN or Inf stops training at once.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "input_scale"
    step = 4
    order = 10
    title = "Scale of the inputs"
    source = "LeCun et al. (1998), Efficient BackProp; TheDeepChecker (2022)"
    explains = ("initial_loss", "overfit", "dead_units", "saturated_units", "peaked_softmax")

    MAX_SCALE = 10.0

    def examine(self, context: CheckContext) -> Outcome:
        rows = [split(batch)[0] for batch in context.batches]
        if not all(isinstance(r, torch.Tensor) and r.is_floating_point() for r in rows):
            return Outcome("not_applicable", "the inputs are not a single tensor of real numbers.")
        inputs = torch.cat(rows)
        bad = int((~torch.isfinite(inputs)).sum())
        if bad:
            return Outcome(
                "fail", f"{bad:,} of {inputs.numel():,} input values are NaN or Inf", "0",
                "Exclude these samples, or fill in the values, before training.",
            )  # fmt: skip
        features = inputs.flatten(1) if inputs.ndim == 2 else inputs.flatten(0, -1)[:, None]
        numbers = _row_numbers(context.model, features)
        features = features[:, ~numbers]
        if not features.shape[1]:
            return Outcome("not_applicable", "the inputs are numbers of rows of an embedding.")
        mean, spread = features.mean(0).abs().max(), features.std(0).max()
        seen = f"largest mean {float(mean):.3g}, largest standard deviation {float(spread):.3g}"
        if max(float(mean), float(spread)) > self.MAX_SCALE:
            remedy = (
                "Standardise: (X - X.mean(0)) / X.std(0), with statistics of the training data."
            )
            return Outcome("warning", seen, "both at most 10", remedy)
        return Outcome("pass", seen, "both at most 10")


def _row_numbers(model: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Columns [D] of whole numbers, where an embedding of the model has rows for them."""
    rows = [m.num_embeddings for m in model.modules() if isinstance(m, EMBEDDINGS)]
    whole = (features == features.round()).all(0) & (features >= 0).all(0)
    return whole & (features.amax(0) < max(rows, default=0))
