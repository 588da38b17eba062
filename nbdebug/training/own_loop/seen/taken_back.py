"""Updates of a loop that somebody takes back before the next backward pass."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Sequence

import torch
from torch import nn

from nbdebug.core.history.history import History
from nbdebug.core.results.loops.compared import BoundedWeights
from nbdebug.core.results.metric_names import TakenBack

# Updates that are looked at: the first ones, and some in a row of each so many.
FIRST, EACH, IN_A_ROW = 12, 23, 3
MAX_PARAMETERS, MAX_ENTRIES = 16, 64
LAST, MIN_SHARE, MIN_MOVED, ALL = 5, 0.5, 0.9, 0.999
# Weights on each side of 0 that a bound sets back.
MIN_SET_BACK = 2
Named = Sequence[tuple[str, nn.Parameter]]


class TakenBackUpdates:
    """Compares some weights before and after an update, and before the next backward pass.

    What is written into the weights in between may lead them back, as an average does that is
    copied the wrong way round. Weights that are set to a bound, to 0 or to what they were, such as
    clipped, pruned or frozen ones, are left out.
    """

    def __init__(self) -> None:
        self._weights: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._history = History()
        self._shares: deque[float] = deque(maxlen=LAST)
        self._bounded: deque[float] = deque(maxlen=LAST)
        self._count, self._told, self._told_bound = 0, False, False
        self.forget()

    def attach(self, history: History, parameters: Named) -> None:
        """Set where what is found is written, and the weights that are compared."""
        self._history = history
        chosen = [p for _, p in parameters if p.numel() > 1 and p.is_floating_point()]
        chosen = chosen[:: -(-len(chosen) // MAX_PARAMETERS) or 1]
        self._weights = [
            (p, torch.linspace(0, p.numel() - 1, min(p.numel(), MAX_ENTRIES)).long().to(p.device))
            for p in chosen
        ]

    def forget(self) -> None:
        """Compare nothing with the last update."""
        self._before: torch.Tensor | None = None
        self._after: torch.Tensor | None = None

    def passed_back(self, step: int) -> None:
        """See the weights at the first backward pass of a step."""
        due = self._count < FIRST or self._count % EACH < IN_A_ROW
        if not self._weights or not (due or self._after is not None):
            self.forget()
            return
        now = self._now()
        if self._before is not None and self._after is not None:
            self._compare(step, self._before, self._after, now)
        self._before, self._after = (now if due else None), None

    def updated(self) -> None:
        """See the weights behind an update."""
        self._count += 1
        self._after = self._now() if self._before is not None else None

    def _now(self) -> torch.Tensor:
        """Some numbers [N] of the weights."""
        parts = [p.detach().reshape(-1)[places].float() for p, places in self._weights]
        return torch.cat([part.to(parts[0].device) for part in parts])

    def _compare(
        self, step: int, before: torch.Tensor, after: torch.Tensor, now: torch.Tensor
    ) -> None:
        self._see_bound(step, after, now)
        change = after - before
        moved = change != 0
        if bool(((now == before) & moved).sum() < ALL * moved.sum()):
            # Set to a bound that others are at, to 0, or to what they were.
            bound = (now.abs() == now.abs().amax()) | (now == 0) | (now == before)
            moved &= ~bound
        change, back = change[moved], (after - now)[moved]
        touched = float((back != 0).float().mean()) if len(back) else 0.0
        size = float(change.square().sum())
        share = float((back * change).sum()) / size if size > 0 else 0.0
        self._shares.append(share if touched >= MIN_MOVED else 0.0)
        if len(self._shares) == LAST and min(self._shares) > MIN_SHARE:
            share = min(1.0, statistics.median(self._shares))
            self._history.set_result(TakenBack(step, share))
            self._told = True
        elif self._told and max(self._shares) <= MIN_SHARE:
            self._history.set_result(TakenBack(None))
            self._told = False

    def _see_bound(self, step: int, after: torch.Tensor, now: torch.Tensor) -> None:
        """Tell of weights that are set to a bound from both sides."""
        bound = now.abs().amax()
        at = now.abs() == bound
        set_back = at & (after.abs() > bound)
        sides = min(int((set_back & (now > 0)).sum()), int((set_back & (now < 0)).sum()))
        self._bounded.append(float(at.float().mean()) if sides >= MIN_SET_BACK else 0.0)
        if len(self._bounded) == LAST and min(self._bounded) > 0:
            share = statistics.median(self._bounded)
            self._history.set_result(BoundedWeights(step, float(bound), share))
            self._told_bound = True
        elif self._told_bound and max(self._bounded) == 0:
            self._history.set_result(BoundedWeights(None))
            self._told_bound = False
