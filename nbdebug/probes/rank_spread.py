"""Numbers of all ranks of a training."""

from __future__ import annotations

import math

from nbdebug.core.results.loops.ranks import RankSpread
from nbdebug.model.training_state import TrainingState
from nbdebug.probes.base import Probe, Values


class RankNumbers(Probe):
    """Loss, times and memory over the ranks: `loss_ranks_low`, `_median`, `_high`, and so on.

    On rank 0, where several ranks train together; exchanged every two seconds. `own_ms` is the time
    of a step outside of backward pass and update, `loader_ms` the wait for the batch; the memory is
    that of the process in MB.
    """

    name = "rank_spread"
    cost = "cheap"
    every = 1
    order = 85

    def attach(self, session: TrainingState) -> None:
        self._session, self.idle = session, not session.together
        self._seen: RankSpread | None = None

    def read(self, step: int) -> Values:
        found = self._session.spread
        if found is self._seen or found is None:
            return {}
        self._seen = found
        return {
            f"{one.name}_ranks_{part}": getattr(one, part)
            for one in found.spreads
            for part in ("low", "median", "high")
            if math.isfinite(getattr(one, part))
        }
