"""Parameters that learn nothing."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.rules._examples import example, falling
from nbdebug.rules.base import Rule, group, listed


class UnchangedParameters(Rule):
    """Some parameters do not move at all, although they are meant to learn.

    Their layer takes no part in the forward pass, its output is detached or constant, or the
    optimizer does not hold them.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "unchanged_parameters"
    title = "Parameters that do not change"
    severity = "error"
    source = "proof; TrainCheck, torchtest"
    needs = ("update_ratio/*",)
    wants = ("grad_norm/*",)

    LAST = 2
    ROUNDING = 1e-4

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        if not snapshot.latest.get("lr", 0.0) > 0:
            return None
        known = group(snapshot, "update_ratio", self.LAST)
        gradients = {n: float(s.mean.max()) for n, s in group(snapshot, "grad_norm", 1).items()}
        still = {
            name: one
            for name, one in known.items()
            if not one.maximum.any() and self._meant(gradients.get(name), gradients.values())
        }
        if not still:
            return None
        since = int(min(one.step[0] for one in still.values()))
        share = f"{len(still)} of {len(known)}"
        seen = f"{share} parameters were the same before and after: {listed(still)}."
        held = [name for name in still if gradients.get(name, 0.0) > 0]
        if held:
            seen += f" A gradient reaches {listed(held)}: the optimizer does not hold them, or its "
            seen += "learning rate for them is 0."
        else:
            seen += " No gradient reaches them."
        return Symptom(
            float(len(still)), 0.0, since, seen,
            (Remedy("See whether forward uses them, and whether something detaches their output"),
             Remedy("Freeze the layer, if it is not meant to learn")),
        )  # fmt: skip

    def _meant(self, norm: float | None, norms: Iterable[float]) -> bool:
        """Whether rounding is no excuse: a bias before BatchNorm has a gradient of almost 0."""
        return not norm or norm > self.ROUNDING * max(norms)

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        moves = {"loss": falling(2.3, 0.5), "update_ratio/0.weight": np.full(9, 1e-3)}
        return example({**moves, "update_ratio/1.weight": np.zeros(9)}), example(moves)
