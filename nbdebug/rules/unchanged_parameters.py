"""Detects trainable parameters that do not change."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule, first_names, group_series


class UnchangedParameters(Rule):
    """Some trainable parameters do not change at all.

    Their layer is not used in the forward pass, the output of the layer is detached or constant,
    or the optimizer does not hold the parameters.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "unchanged_parameters"
    title = "Parameters that do not change"
    severity = "error"
    source = "proof; TrainCheck, torchtest"
    needs = ("update_ratio/*",)
    wants = ("grad_norm/*",)

    PATIENCE = 2
    MAX_ROUNDING_RATIO = 1e-4

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        if not snapshot.latest.get("lr", 0.0) > 0:
            return None
        known = group_series(snapshot, "update_ratio", self.PATIENCE)
        gradients = {
            n: float(s.mean.max()) for n, s in group_series(snapshot, "grad_norm", 1).items()
        }
        still = {
            name: one
            for name, one in known.items()
            if not one.maximum.any() and self._meant(gradients.get(name), gradients.values())
        }
        if not still:
            return None
        since = int(min(one.step[0] for one in still.values()))
        share = f"{len(still)} of {len(known)}"
        seen = f"{share} parameters did not change: {first_names(still)}."
        held = [name for name in still if gradients.get(name, 0.0) > 0]
        if held:
            seen += f" A gradient reaches {first_names(held)}: the optimizer does not hold them, "
            seen += "or its learning rate for them is 0."
        else:
            seen += " No gradient reaches them."
        return Symptom(
            float(len(still)), 0.0, since, seen,
            (Remedy("Check that forward uses the layers and that nothing detaches their outputs"),
             Remedy("Freeze the layer if it should not learn")),
        )  # fmt: skip

    def _meant(self, norm: float | None, norms: Iterable[float]) -> bool:
        """False if rounding explains it: a bias before BatchNorm has a gradient of almost 0."""
        return not norm or norm > self.MAX_ROUNDING_RATIO * max(norms)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        moves = {"loss": falling_loss(2.3, 0.5), "update_ratio/0.weight": np.full(9, 1e-3)}
        return example({**moves, "update_ratio/1.weight": np.zeros(9)}), example(moves)
