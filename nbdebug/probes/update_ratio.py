"""Size of the update relative to the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from nbdebug.model.training_state import TrainingState
from nbdebug.probes._idle_parameters import IdleParameters
from nbdebug.probes.base import Probe, Values

MAX_KEPT_BYTES = 64 * 2**20


@dataclass(frozen=True)
class MeasuredUpdate:
    """Update of the weights at one step, by name of the parameter.

    Attributes:
        step: that made it.
        sizes: L2 norms of the update and of the weights before it.
        taken: weights before it less those after it, on their device; missing for parameters
            that are too large to be kept.
    """

    step: int
    sizes: Mapping[str, tuple[float, float]]
    taken: Mapping[str, torch.Tensor]


class UpdateRatio(Probe):
    """L2 norm of the update divided by L2 norm of the weights: `update_ratio/<parameter>`.

    Values around 1e-3 are common in healthy training (CS231n); the range is a rule of thumb.

    Parameters that do not change have more series: `unchanged/<parameter>`, the number of measured
    updates with a gradient that did not change it; `unheld/...` and `at_zero_rate/...` likewise, if
    the optimizer does not hold it or its group has a learning rate of 0; `resting/...`, the number
    of steps in a row without a gradient other than 0; `cancelled/...`, the same where there is one
    that is exactly 0. All of them return to 0.
    """

    name = "update_ratio"
    reads_weights = True
    order = 20

    def attach(self, session: TrainingState) -> None:
        self._idle = IdleParameters(session)
        self._session = session
        self.follow()

    def follow(self) -> None:
        session = self._session
        self._idle.forget()
        self._names = tuple(f"update_ratio/{name}" for name, _ in session.parameters)
        # By place among the parameters; frozen layers get no update and are not copied.
        self._copies: dict[int, torch.Tensor] = {}
        self._learn: list[int] = []
        # Step, places and norms of the update that was measured last.
        self._measured: tuple[int, list[int], torch.Tensor] | None = None

    @property
    def latest(self) -> MeasuredUpdate | None:
        """The update that was measured last; None without one, and between two measurements."""
        if self._measured is None:
            return None
        step, places, norms = self._measured
        names = [self._session.parameters[place][0] for place in places]
        pairs = [(moved, weights) for moved, weights in norms.T.tolist()]
        taken = {
            name: self._copies[place]
            for name, place in zip(names, places, strict=True)
            if place in self._copies
        }
        return MeasuredUpdate(step, dict(zip(names, pairs, strict=True)), taken)

    def begin(self, step: int) -> None:
        self._learn = []
        self._idle.compare()

    def before_update(self, step: int) -> None:
        self._idle.before_update()
        self._measured = None
        turn = self._session.turn
        learn = [
            place
            for place, (name, parameter) in enumerate(self._session.parameters)
            if parameter.requires_grad and (turn is None or name in turn)
        ]
        now = self._now(learn)
        for place, parameter in zip(learn, now, strict=True):
            if place not in self._copies:
                self._copies[place] = torch.empty_like(parameter)
        if now:
            torch._foreach_copy_([self._copies[place] for place in learn], now)
        self._learn = learn if turn is None else sorted({*self._learn, *learn})

    def read(self, step: int) -> Values:
        if not self._learn:
            return self._idle.read(step)
        copies = [self._copies[place] for place in self._learn]
        kept = [norm.float() for norm in torch._foreach_norm(copies)]
        torch._foreach_sub_(copies, self._now(self._learn))
        moved = [norm.float() for norm in torch._foreach_norm(copies)]
        device = moved[0].device
        weights = torch.stack([norm.to(device) for norm in kept])
        sizes = torch.stack([norm.to(device) for norm in moved])
        idle = self._idle.read(step)
        self._idle.measured(step, self._learn, sizes)
        self._measured = step, list(self._learn), torch.stack([sizes, weights])
        ratio = sizes / weights
        # An update has no relative size if all weights are zero (a new bias).
        known = torch.where(weights > 0, ratio, torch.nan)
        self._release_large()
        if len(self._learn) == len(self._names):
            return {self._names: known, **idle}
        values = torch.full((len(self._names),), torch.nan, dtype=known.dtype, device=device)
        values[torch.tensor(self._learn, device=device)] = known
        return {self._names: values, **idle}

    def forget(self) -> None:
        self._idle.forget()
        self._measured = None

    def cancel(self) -> None:
        self._release_large()
        self._learn = []

    def _release_large(self) -> None:
        """Release large copies; small ones are kept, since allocating costs more than copying."""
        if sum(copy.nbytes for copy in self._copies.values()) > MAX_KEPT_BYTES:
            self._copies = {}

    def _now(self, places: list[int]) -> list[torch.Tensor]:
        return [self._session.parameters[place][1].detach() for place in places]
