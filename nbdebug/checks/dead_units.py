"""Units that are always 0."""

from __future__ import annotations

import torch
from torch import nn

from nbdebug.checks.base import Check
from nbdebug.checks.study import Study
from nbdebug.core.checklist import Outcome
from nbdebug.model.tree import measured_layers

SAMPLES = 512


class DeadUnits(Check):
    """Units of an activation layer that give 0 for nearly every sample.

    A dead unit gets no gradient and never recovers. Too large a bias or learning rate, or
    inputs far from 0, kill ReLU units.
    """

    name = "dead_units"
    step = 3
    order = 20
    title = "Dead units"
    source = "TheDeepChecker (2022): 95th percentile of |activation| under 1e-5"
    explains = ("zero_gradient", "overfit")

    ZERO = 1e-5
    SHARE = 0.8

    def examine(self, study: Study) -> Outcome:
        kinds = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU)
        layers = [layer for layer in measured_layers(study.model) if isinstance(layer[1], kinds)]
        if not layers:
            return Outcome("not_applicable", "the model has no activation module such as ReLU.")
        seen: dict[str, list[torch.Tensor]] = {layer.name: [] for layer in layers}
        handles = [
            layer.module.register_forward_hook(
                lambda _m, _i, output, rows=seen[layer.name]: rows.append(_by_unit(output))
            )
            for layer in layers
        ]
        try:
            self._run(study)
        finally:
            for handle in handles:
                handle.remove()
        shares = {name: self._dead(rows) for name, rows in seen.items() if rows}
        if not shares:
            return Outcome("not_applicable", "no activation module is called in forward.")
        name, worst = max(shares.items(), key=lambda item: item[1])
        words = f"{worst:.0%} of the units of {name} are dead"
        if worst > self.SHARE:
            remedy = "Draw its weights anew (reinit), lower the learning rate, standardise inputs."
            return Outcome("fail" if worst == 1 else "warning", words, "at most 80%", remedy)
        return Outcome("pass", words, "at most 80%")

    def _run(self, study: Study) -> None:
        study.model.eval()
        enough = -(-SAMPLES // study.subject.batching.size)
        with torch.no_grad():
            for batch in study.batches[:enough]:
                study.evaluate(batch)

    def _dead(self, rows: list[torch.Tensor]) -> float:
        level = torch.quantile(torch.cat(rows).float(), 0.95, dim=0)
        return float((level < self.ZERO).float().mean())


def _by_unit(output: torch.Tensor) -> torch.Tensor:
    """|activation| [N, units]: the largest of each channel, for images and sequences."""
    values = output.detach().abs()
    if values.ndim == 4 or values.ndim == 5:
        return values.flatten(2).amax(2)
    return values.flatten(0, -2) if values.ndim == 3 else values.flatten(1)
