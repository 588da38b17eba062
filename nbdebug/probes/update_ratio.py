"""Size of the update in relation to the weights."""

from __future__ import annotations

import torch

from nbdebug.model.subject import Subject
from nbdebug.probes.base import Probe, Values


class UpdateRatio(Probe):
    """L2 norm of the update over L2 norm of the weights: `update_ratio/<parameter>`.

    About 1e-3 is often seen in healthy training (CS231n); a band, not a rule.
    """

    name = "update_ratio"
    order = 20

    def attach(self, session: Subject) -> None:
        self._parameters = [parameter for _, parameter in session.parameters]
        self._names = tuple(f"update_ratio/{name}" for name, _ in session.parameters)

    def before_update(self, step: int) -> None:
        self._before = [parameter.detach().clone() for parameter in self._parameters]

    def read(self, step: int) -> Values:
        after = [parameter.detach() for parameter in self._parameters]
        updates = torch._foreach_sub(after, self._before)
        kept = [norm.float() for norm in torch._foreach_norm(self._before)]
        moved = [norm.float() for norm in torch._foreach_norm(updates)]
        device = moved[0].device
        weights = torch.stack([norm.to(device) for norm in kept])
        ratio = torch.stack([norm.to(device) for norm in moved]) / weights
        # Weights that are all zero (a new bias) have no relative size.
        return {self._names: torch.where(weights > 0, ratio, torch.nan)}

    def cancel(self) -> None:
        self._before = []
