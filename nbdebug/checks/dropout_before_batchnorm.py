"""Variance shift of BatchNorm caused by dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome, Proposal
from nbdebug.model.module.hooks import before_forward
from nbdebug.model.module.names import DROPOUTS

SAFE_ORDER = "norm_dropout"


class DropoutBeforeBatchNorm(Check):
    """Checks that dropout does not change the variance of BatchNorm inputs between modes.

    Dropout with probability p multiplies the variance of activations by 1/(1 - p) during
    training. A BatchNorm after the dropout learns this variance, but the variance in eval mode is
    smaller: its outputs are too small, in every such layer.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "dropout_before_batchnorm"
    step = 3
    order = 60
    title = "Dropout before BatchNorm"
    source = "Li et al. (2018), Understanding the Disharmony between Dropout and BatchNorm"
    alters = True

    MAX_SHIFT = 1.5

    def examine(self, context: CheckContext) -> Outcome:
        norms = context.subject.batch_norms.layers
        dropping = [m for m in context.model.modules() if isinstance(m, DROPOUTS) and m.p > 0]
        if not norms or not dropping:
            return Outcome("not_applicable", "the model does not have both Dropout and BatchNorm.")
        whole = self._variances(context, dropping)
        dropped = self._variances(context, [])
        shifts = {
            name: dropped[name] / whole[name]
            for name in norms
            if dropped.get(name) and whole.get(name)
        }
        if not shifts:
            return Outcome("not_applicable", "forward calls no BatchNorm.")
        name, worst = max(shifts.items(), key=lambda item: item[1])
        seen = f"the input variance of {name} is {worst:.2f} times as large with dropout"
        expected = f"below {self.MAX_SHIFT:g}"
        if worst < self.MAX_SHIFT:
            return Outcome("pass", seen, expected)
        orders = context.subject.layer_order
        possible = SAFE_ORDER in orders.available and orders.current != SAFE_ORDER
        return Outcome(
            "warning", seen, expected, "Move Dropout after BatchNorm, or after the last BatchNorm.",
            Proposal("layer_order", SAFE_ORDER) if possible else None,
        )  # fmt: skip

    def _variances(self, context: CheckContext, off: Sequence[nn.Module]) -> dict[str, float]:
        """Input variance of each BatchNorm in training mode, with some dropouts switched off.

        The statistics of an untrained BatchNorm say nothing of its inputs, so both measurements
        normalise by the batch.
        """
        met: dict[str, float] = {}
        handles = []
        for name, norm in context.subject.batch_norms.layers.items():

            def look(_m: nn.Module, inputs: Any, name: str = name) -> None:
                channels = inputs[0].detach().transpose(0, 1).flatten(1)
                if channels.shape[1] > 1:
                    met[name] = float(channels.float().var(1).mean())

            handles.append(before_forward(norm, look))
        context.train()
        for dropout in off:
            dropout.training = False
        try:
            context.look(context.batch)
        finally:
            for handle in handles:
                handle.remove()
        return met
