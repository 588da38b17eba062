"""Graphs of the losses of a loop, judged in one of its own steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import nn

from nbdebug.checks._loss_nodes import named_nodes
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.training.own_loop.seen.last_calls import LastCalls
from nbdebug.training.own_loop.seen_calls import SeenCalls

Judge = Callable[[Sequence[tuple[str, Any]]], Outcome | None]
MAX_PASSES = 8
GRAVE = {"pass": 0, "warning": 1, "fail": 2}


class SeenLosses:
    """Outcomes of checks for the losses of the first backward passes.

    A graph holds shapes until its backward pass; to look at it takes part in nothing.

    Attributes:
        judges: of the nodes of a graph, by the name of their check; outcomes: the gravest of each.
        calls: of the model in the first steps; last: in the present one, if it is not repeated.
    """

    def __init__(self) -> None:
        self.judges: Mapping[str, Judge] = {}
        self.outcomes: dict[str, Outcome] = {}
        self._passes, self.calls, self.last = 0, SeenCalls(), LastCalls()

    def begin(self, model: nn.Module) -> None:
        """Forget what was seen: a loop begins that trains a model."""
        self.outcomes, self._passes = {}, 0
        self.calls.begin(model)
        self.last.begin(model)

    def close(self) -> None:
        """See nothing any more."""
        self.calls.close()
        self.calls.rows.close()
        self.last.close()

    def step_begins(self, watched: bool, kept: bool) -> None:
        """Begin a step, `watched` unless on trial; `kept` if its last calls are."""
        self.last.step_begins(kept)
        self.calls.rows.step_begins(watched)

    def see(self, losses: Sequence[torch.Tensor]) -> None:
        """Judge the losses of a backward pass that comes next."""
        self.calls.see(losses)
        self.last.passed_back(losses)
        if self._passes >= MAX_PASSES or not losses:
            return
        self._passes += 1
        # Where a check raises it says nothing, and the loop goes on.
        with suppress(Exception):
            nodes = list(named_nodes(losses))
            for name, judge in self.judges.items():
                self._take(name, judge, nodes)

    def _take(self, name: str, judge: Judge, nodes: Sequence[tuple[str, Any]]) -> None:
        """Keep the outcome of a check if it is graver than the one before."""
        with suppress(Exception):
            found, before = judge(nodes), self.outcomes.get(name)
            if found and (before is None or GRAVE[found.status] > GRAVE[before.status]):
                self.outcomes[name] = found
