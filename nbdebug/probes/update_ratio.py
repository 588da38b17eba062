"""Size of the update in relation to the weights."""

from __future__ import annotations

import torch

from nbdebug.model.subject import Subject
from nbdebug.probes.base import Probe, Values

KEPT = 64 * 2**20


class UpdateRatio(Probe):
    """L2 norm of the update over L2 norm of the weights: `update_ratio/<parameter>`.

    About 1e-3 is often seen in healthy training (CS231n); a band, not a rule.
    """

    name = "update_ratio"
    order = 20

    def attach(self, session: Subject) -> None:
        self._parameters = [parameter for _, parameter in session.parameters]
        self._size = sum(p.numel() * p.element_size() for p in self._parameters)
        self._copies: list[torch.Tensor] | None = None
        self._names = tuple(f"update_ratio/{name}" for name, _ in session.parameters)

    def before_update(self, step: int) -> None:
        now = [parameter.detach() for parameter in self._parameters]
        if self._copies is None:
            self._copies = [torch.empty_like(parameter) for parameter in now]
        torch._foreach_copy_(self._copies, now)

    def read(self, step: int) -> Values:
        if self._copies is None:
            return {}
        kept = [norm.float() for norm in torch._foreach_norm(self._copies)]
        torch._foreach_sub_(self._copies, [parameter.detach() for parameter in self._parameters])
        moved = [norm.float() for norm in torch._foreach_norm(self._copies)]
        device = moved[0].device
        weights = torch.stack([norm.to(device) for norm in kept])
        ratio = torch.stack([norm.to(device) for norm in moved]) / weights
        # Weights that are all zero (a new bias) have no relative size; a frozen layer gets
        # no update.
        learns = [parameter.requires_grad for parameter in self._parameters]
        known = (weights > 0) & torch.tensor(learns, device=device)
        return {self._names: torch.where(known, ratio, torch.nan)}

    def cancel(self) -> None:
        # Small copies are kept: fresh memory costs more than the copy does.
        if self._size > KEPT:
            self._copies = None
