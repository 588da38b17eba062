"""How far a step goes beyond the lowest point on its way."""

from __future__ import annotations

import torch

from nbdebug.model.subject import Subject
from nbdebug.probes.base import Probe, Values


class Overshoot(Probe):
    """How far up the other side a step goes, by the parabola along it: `overshoot`.

    The slope of the loss where a step ends over that where it begins, along the step, sign
    changed: -1 is no progress, 0 the lowest point of the parabola, 1 the same height on the
    other side, more than that is climbing. Cockpit's Alpha (Schneider et al. 2021), with the
    slope at the end from the batch of the next step, so that no pass is added. Not measured
    while gradients are clipped.
    """

    name = "overshoot"
    order = 25

    def attach(self, session: Subject) -> None:
        self._session = session
        self._way: list[torch.Tensor] | None = None
        self._begun = -1
        self._slope: torch.Tensor | None = None
        self._end: torch.Tensor | None = None

    def before_update(self, step: int) -> None:
        session = self._session
        self._end = None
        if self._way is not None and self._begun == step - 1:
            self._end = self._along(self._way)
            return
        self._way = None
        if session.clipping.mode == "off":
            self._held = [p for _, p in session.parameters if p.requires_grad]
            self._way = [parameter.detach().clone() for parameter in self._held]
            self._begun = step

    def read(self, step: int) -> Values:
        self.soon = False
        if self._way is None:
            return {}
        if self._end is not None and self._slope is not None:
            # Where a step climbs from the start there is no parabola to speak of.
            found = torch.where(self._slope < 0, -self._end / self._slope, torch.nan)
            self._way = self._slope = None
            return {"overshoot": found}
        torch._foreach_sub_(self._way, [p.detach() for p in self._held])
        self._slope = self._along(self._way)
        self.soon = True
        return {}

    def _along(self, way: list[torch.Tensor]) -> torch.Tensor:
        """Slope of the loss along the step; `way` is the step backwards."""
        first = way[0].device
        parts = [
            torch.sum(parameter.grad * back).float().to(first)
            for parameter, back in zip(self._held, way, strict=True)
            if parameter.grad is not None
        ]
        return -torch.stack(parts).sum() if parts else torch.zeros((), device=first)
