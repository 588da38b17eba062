"""Base class of probes: a probe measures one quantity during training and changes nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from nbdebug.core.deprecated import warn_deprecated
from nbdebug.model.training_state import TrainingState

# By a name, or by a tuple of names; a type checker takes dict[str, float] for no mapping of both.
Values = Mapping[Any, torch.Tensor | float]


class Probe(ABC):
    """Measures one quantity at the steps at which the probe is due, at no cost on other steps.

    Order within a due step: `begin`, forward, `zero_grad`, `before_backward`, backward,
    clipping, `before_update`, optimizer step, `read`; or `cancel` if the step was not completed.
    A step that accumulates has a forward and a backward pass, then `after_batch`, for each batch.
    Do not call `.item()` in a hook: the tensors that `read` returns are copied to the host in
    one transfer.

    Attributes:
        name: unique name, used in notices.
        every: smallest number of steps between two measurements.
        cost: "cheap" or "expensive". Cheap probes run every `every` steps; expensive ones run
            less often where needed to keep the total time within the session's budget.
        on_demand: the probe measures only while its panel is visible.
        paused: the probe also measures once when its panel is opened while training is paused:
            `begin`, forward, backward, clipping, `before_update`, `read`, all undone afterwards.
        order: position among the probes.
        reads_outputs: the probe reads `TrainingState.in_loss`, so that a loss of a loop or a
            `step_fn` is looked at for it.
        reads_weights: the probe reads single weights or gradients, of which a rank that trains by
            FSDP holds a part: it is off there.
        inside: seconds spent in hooks since the last time this attribute was read.
        idle: set in `attach` if this training has nothing to measure.
        soon: set in `read` to continue the measurement at the next step.
    """

    name: ClassVar[str]
    every: ClassVar[int] = 10
    cost: ClassVar[str] = "expensive"
    on_demand: ClassVar[bool] = False
    paused: ClassVar[bool] = False
    order: ClassVar[int] = 0
    reads_outputs: ClassVar[bool] = False
    reads_weights: ClassVar[bool] = False
    inside: float = 0.0
    idle: bool = False
    soon: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Read "dear", the old name of the cost "expensive"."""
        super().__init_subclass__(**kwargs)
        if vars(cls).get("cost") == "dear":
            warn_deprecated(f'The cost "dear" of the probe {cls.__name__}', '"expensive"')
            cls.cost = "expensive"

    @abstractmethod
    def attach(self, session: TrainingState) -> None:
        """Store references to the session, once; register hooks in `begin`, not here."""

    def follow(self) -> None:  # noqa: B027
        """Called when the user's code has exchanged, added or taken away layers of the model.

        Between two measurements, after `cancel`. Whoever keeps layers or parameters takes them
        anew; those of one name may be others.
        """

    def begin(self, step: int) -> None:  # noqa: B027
        """Called before the forward pass of a due step."""

    def before_backward(self, step: int) -> None:  # noqa: B027
        """Called between `zero_grad` and the backward pass."""

    def after_batch(self, step: int, samples: int) -> None:  # noqa: B027
        """Called after the backward pass of each of several batches of a step, see `accumulate`.

        Outputs and targets of the session are those of this batch.
        """

    def before_update(self, step: int) -> None:  # noqa: B027
        """Called after clipping, before the optimizer step."""

    @abstractmethod
    def read(self, step: int) -> Values:
        """Return the measurements.

        Returns:
            Values by name: a 0-d tensor or a float is one value of a series; a tuple of K names
            goes with a tensor [K] of their values, NaN where a value is missing; a name with a
            tensor [2 + B] is a histogram: lower limit, upper limit, counts of B bins.
        """

    def forget(self) -> None:  # noqa: B027
        """Discard data collected over several steps; the next step is not their successor."""

    def cancel(self) -> None:  # noqa: B027
        """Remove all hooks that `begin` registered; also called after `read`."""
