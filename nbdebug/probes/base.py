"""The contract of a probe: it measures one thing and changes nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch

from nbdebug.model.training_state import TrainingState

Values = Mapping[str | tuple[str, ...], torch.Tensor | float]


class Probe(ABC):
    """Measures one quantity on the steps it is due; costs nothing on the others.

    The order within a due step: `begin`, forward, `zero_grad`, `before_backward`, backward,
    clipping, `before_update`, optimizer step, `read`; or `cancel` when the step did not come to
    its end. Never call `.item()` in a hook: what `read` returns is brought to the host in one
    transfer.

    Attributes:
        name: what it is called in `Debugger.probes` and in notices.
        every: fewest steps from one measurement to the next.
        cost: cheap probes keep to `every`; dear ones are spaced so that all measuring
            stays within the session's budget.
        on_demand: measures only while somebody looks at it.
        inside: seconds spent in hooks since they were last counted.
        idle: set in `attach` where there is nothing to measure in this training.
        soon: set in `read` by a probe whose measurement goes on at the next step.
    """

    name: ClassVar[str]
    every: ClassVar[int] = 10
    cost: ClassVar[str] = "dear"
    on_demand: ClassVar[bool] = False
    order: ClassVar[int] = 0
    inside: float = 0.0
    idle: bool = False
    soon: bool = False

    @abstractmethod
    def attach(self, session: TrainingState) -> None:
        """Get to know the session, once; hooks wait for `begin`."""

    def begin(self, step: int) -> None:  # noqa: B027
        """Before the forward pass of a due step."""

    def before_backward(self, step: int) -> None:  # noqa: B027
        """Between `zero_grad` and the backward pass."""

    def before_update(self, step: int) -> None:  # noqa: B027
        """After clipping, before the optimizer's step."""

    @abstractmethod
    def read(self, step: int) -> Values:
        """What was measured.

        Returns:
            By name: a 0-d tensor or a float is one value of a series; a tuple of names
            goes with a tensor [K] of as many values, NaN where there is none; a name
            with a tensor [2 + B] is a histogram: low end, high end, counts of B bins.
        """

    def forget(self) -> None:  # noqa: B027
        """Let go of what was gathered over several steps: others come next."""

    def cancel(self) -> None:  # noqa: B027
        """Remove every hook of `begin`; called after `read` too."""
