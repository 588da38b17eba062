"""Shapes of outputs and targets."""

from __future__ import annotations

import torch

from nbdebug.checks._constant import output_tensors
from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.check_result import Outcome


class Broadcast(Check):
    """Checks that the loss compares each output only with its own target.

    Outputs [N, 1] and targets [N] broadcast to [N, N]: every output is compared with every
    target, and the model can only learn the mean of the targets.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "broadcast"
    step = 2
    order = 5
    title = "Shapes of outputs and targets"
    source = "PyTorch, broadcasting semantics; TheDeepChecker (2022)"
    explains = ("initial_loss", "overfit")

    def examine(self, context: CheckContext) -> Outcome:
        found = output_tensors(context)
        if isinstance(found, str):
            return Outcome("not_applicable", found)
        outputs, targets = found
        seen = f"outputs {tuple(outputs.shape)}, targets {tuple(targets.shape)}"
        if not targets.is_floating_point():
            return Outcome("pass", seen, "class indices, and one output per class")
        if outputs.shape == targets.shape:
            return Outcome("pass", seen, "equal shapes")
        try:
            both = torch.broadcast_shapes(outputs.shape, targets.shape)
        except RuntimeError:
            return Outcome("pass", seen, "shapes that the loss handles itself")
        if outputs.numel() == targets.numel() == both.numel():
            return Outcome("pass", seen, "the same number of targets and outputs")
        return Outcome(
            "fail",
            f"{seen}, which broadcast to {tuple(both)}",
            "equal shapes",
            "Use the same shape for both, for example targets.unsqueeze(1) or outputs.squeeze(1).",
        )
