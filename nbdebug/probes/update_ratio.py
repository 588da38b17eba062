"""Size of the update relative to the weights."""

from __future__ import annotations

import torch

from nbdebug.model.training_state import TrainingState
from nbdebug.probes._idle_parameters import IdleParameters
from nbdebug.probes.base import Probe, Values

MAX_KEPT_BYTES = 64 * 2**20


class UpdateRatio(Probe):
    """L2 norm of the update divided by L2 norm of the weights: `update_ratio/<parameter>`.

    Values around 1e-3 are common in healthy training (CS231n); the range is a rule of thumb.

    Parameters that do not change have more series: `unchanged/<parameter>`, the number of measured
    updates with a gradient that did not change it; `unheld/...` and `at_zero_rate/...` likewise, if
    the optimizer does not hold it or its group has a learning rate of 0; `resting/...`, the number
    of steps in a row without a gradient other than 0. All of them return to 0.
    """

    name = "update_ratio"
    order = 20

    def attach(self, session: TrainingState) -> None:
        self._idle = IdleParameters(session)
        self._parameters = [parameter for _, parameter in session.parameters]
        # Frozen layers get no update and are neither copied nor measured.
        self._learn: list[int] = []
        self._copies: list[torch.Tensor] | None = None
        self._names = tuple(f"update_ratio/{name}" for name, _ in session.parameters)

    def begin(self, step: int) -> None:
        self._idle.compare()

    def before_update(self, step: int) -> None:
        self._idle.before_update()
        learn = [place for place, p in enumerate(self._parameters) if p.requires_grad]
        now = self._now(learn)
        if self._copies is None or learn != self._learn:
            self._learn = learn
            self._copies = [torch.empty_like(parameter) for parameter in now]
        if now:
            torch._foreach_copy_(self._copies, now)

    def read(self, step: int) -> Values:
        if not self._copies:
            return self._idle.read(step)
        kept = [norm.float() for norm in torch._foreach_norm(self._copies)]
        torch._foreach_sub_(self._copies, self._now(self._learn))
        moved = [norm.float() for norm in torch._foreach_norm(self._copies)]
        device = moved[0].device
        weights = torch.stack([norm.to(device) for norm in kept])
        sizes = torch.stack([norm.to(device) for norm in moved])
        idle = self._idle.read(step)
        self._idle.measured(step, self._learn, sizes)
        ratio = sizes / weights
        # An update has no relative size if all weights are zero (a new bias).
        known = torch.where(weights > 0, ratio, torch.nan)
        if len(self._learn) == len(self._names):
            return {self._names: known, **idle}
        values = torch.full((len(self._names),), torch.nan, dtype=known.dtype, device=device)
        values[torch.tensor(self._learn, device=device)] = known
        return {self._names: values, **idle}

    def forget(self) -> None:
        self._idle.forget()

    def cancel(self) -> None:
        # Small copies are kept, since allocating memory costs more than copying.
        if sum(copy.nbytes for copy in self._copies or ()) > MAX_KEPT_BYTES:
            self._copies = None

    def _now(self, places: list[int]) -> list[torch.Tensor]:
        return [self._parameters[place].detach() for place in places]
