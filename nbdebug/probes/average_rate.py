"""Rate at which averages of the weights follow them."""

from __future__ import annotations

import torch

from nbdebug.model.training_state import TrainingState
from nbdebug.probes._copies import WeightCopy, copies
from nbdebug.probes.base import Probe, Values

# A copy that moves in another direction than towards the weights is no average.
MAX_REST, ALL_AT_ONCE, MAX_LOOKS = 0.1, 0.99, 400
LEAST_LEFT = 1e-9
Look = tuple[int, torch.Tensor, torch.Tensor]


class AverageRate(Probe):
    """Share of the way to the weights that an average of them goes in a step: `average_rate`.

    One with a decay of 0.999 goes 0.001 of it: `average_rate/<copy>`. What is left of the weights
    that it began with is `average_left/<copy>`, from the rates so far. Copies are found where the
    code of a loop, a step_fn or the model reaches them before the first step.
    """

    name = "average_rate"
    reads_weights = True
    # No multiple of the steps between two updates of an average, which would all be seen or none.
    every = 11
    cost = "cheap"
    order = 16

    def attach(self, session: TrainingState) -> None:
        self._session = session
        self._copies: list[WeightCopy] | None = None
        self._before: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self._looks: dict[str, list[Look]] = {}

    def begin(self, step: int) -> None:
        if self._copies is None:
            self._copies = copies(self._session)
        self._before = {one.name: found for one in self._copies if (found := one.read())}

    def read(self, step: int) -> Values:
        values: dict[str | tuple[str, ...], torch.Tensor | float] = {}
        for one in self._copies or ():
            before, after = self._before.get(one.name), one.read()
            if before is None or after is None:
                continue
            rate = _rate(before, after)
            values[f"average_rate/{one.name}"] = rate
            values[f"average_left/{one.name}"] = self._left(one.name, step, rate)
        return values

    def _left(self, name: str, step: int, rate: torch.Tensor) -> torch.Tensor:
        """Share of the first weights that is left, if rates change evenly between two looks."""
        # Training may have gone back.
        looks = [look for look in self._looks.get(name, []) if look[0] < step]
        kept = torch.log((1 - rate.nan_to_num(0.0)).clamp(LEAST_LEFT, 1.0))
        if not looks:
            # An average may begin as a copy.
            kept = torch.where(rate > ALL_AT_ONCE, torch.zeros_like(kept), kept)
            left = kept
        else:
            last, then, left = looks[-1]
            left = left + (step - last) * (then + kept) / 2
        self._looks[name] = [*looks[-MAX_LOOKS:], (step, kept, left)]
        return left.exp()

    def cancel(self) -> None:
        self._before = {}


def _rate(
    before: tuple[torch.Tensor, torch.Tensor], after: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """Share of the way that a copy went to the weights before or after their update; else NaN."""
    (copied, own), (now, updated) = before, after
    moved = now - copied
    size = moved.square().sum()
    found = []
    for weights in (own, updated):
        way = weights - copied
        rate = (moved * way).sum() / way.square().sum().clamp_min(1e-30)
        found.append((rate, (moved - rate * way).square().sum()))
    (one, rest), (other, another) = found
    rate, rest = torch.where(rest <= another, one, other), torch.minimum(rest, another)
    rate = torch.where((rest <= MAX_REST * size) & (rate > 0), rate, torch.nan)
    return torch.where(size == 0, torch.zeros_like(rate), rate)
