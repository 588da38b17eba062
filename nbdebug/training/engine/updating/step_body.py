"""The maker of the update of a step, the loop around it, and the numbers of the update."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from nbdebug.training.data.batch import Batch
from nbdebug.training.engine.gradients import Clipped, Gradients
from nbdebug.training.engine.stopping.breakpoints import Break, Breakpoints

if TYPE_CHECKING:
    import torch

    from nbdebug.training.engine.probe_runner import ProbeRunner
    from nbdebug.training.engine.session import Session

# Loss, gradient norm before clipping, clipping result, learning rate.
Values = tuple[float, float, Clipped, float]


def measured(session: Session, found: Gradients, loss: torch.Tensor) -> tuple[float, float]:
    """Measure loss and gradient norm of a step, and show them to the probes."""
    values = found.measure(loss)
    session.grad_norms, session.loss = found.norms.each, values[0]
    session.with_gradient = found.named
    session.note_gradients(found.named)
    return values


class StepLoop(Protocol):
    """Loop of which a step is made; see `Loop`."""

    session: Session
    probes: ProbeRunner
    breakpoints: Breakpoints
    batch: Batch | None
    part: Batch | None
    updating: bool
    put_back: bool


class StepBody(Protocol):
    """Maker of the update of a step.

    Attributes:
        no_reset: why training cannot begin again; "" if it can.
        ahead_seconds: that the batch of the next step took, where it was read before the step.
    """

    no_reset: str
    ahead_seconds: float

    def read_again(self, before: Any) -> bool:
        """Go back to the position `before` a step of several batches; False if it has only one.

        What the loop has written into its data since the pass began is not read again.
        """

    @property
    def repeats(self) -> bool:
        """False if its steps cannot be made again."""

    @property
    def attended(self) -> bool:
        """False if training must not pause by itself, since nobody could let it go on."""

    def raises(self, error: BaseException) -> bool:
        """Raise an error where who makes the steps waits; False if training is to pause for it."""

    def is_ready(self) -> bool:
        """Tell if a step can be made now."""

    def is_apart(self) -> bool:
        """Tell if who makes the steps is on its own before the next one, after waiting a moment."""

    def end_looks(self) -> None:
        """Let the code that was looked at come to where a step begins."""

    def held(self) -> AbstractContextManager[None]:
        """Context of commands: a pass that is asked for has begun, and no other one begins."""

    def make_update(self, loop: StepLoop, batch: Batch, watched: bool) -> Values:
        """Update the weights.

        Args:
            watched: False for trials, which no breakpoint stops.

        Raises:
            NonFiniteError: loss or gradient is NaN or Inf; the update was not made.
            Break: a breakpoint holds; the update was not made.
        """

    def whole(self, batch: Batch) -> Batch:
        """Return all that the last step was made of, of which `batch` was the first."""

    def settle(self) -> None:
        """Called once the last step is written down."""

    def late_stop(self) -> Break | None:
        """The breakpoint that held in the last step, where its update was made all the same."""
