"""A step that is made twice from the same state, before training goes back for the first time."""

from __future__ import annotations

import math
from typing import Any

from nbdebug.core.history.history import History
from nbdebug.errors import NotRepeatableError, TaskStopped
from nbdebug.model.state.bits import bitwise_equal
from nbdebug.training.engine.loop import Loop
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.timeline.nondeterminism import find_nondeterminism
from nbdebug.training.timeline.timeline import Timeline

ROUNDING = 1e-3
REGISTER = "Name what else moves in state={'name': object}"


class DoubleStep:
    """Tells if the code of a user's own that makes a step gives the same step again.

    What such code moves and no copy holds, as an optimizer of a network that it does not reach,
    would stay as a fork, a rewind or a remedy on trial left it.

    Attributes:
        passed: True once a step was equal to its repetition.
    """

    def __init__(self, loop: Loop, timeline: Timeline) -> None:
        self._loop, self._timeline = loop, timeline
        self.passed = not has_own_code(loop)

    def require(self, progress: TaskProgress) -> None:
        """Make the next step twice, undoing both, unless that was done before.

        Raises:
            NotRepeatableError: the second one differs.
            TaskStopped: `progress` was told to stop.
        """
        if self.passed or not self._loop.session.step:
            return
        progress.advance(0.0, "Making a step twice, to see if it repeats")
        try:
            first, second = self._make(), self._make()
        except TaskStopped:
            raise
        except Exception:
            # A step that fails tells nothing; whoever asked meets the failure itself.
            return
        exact = self._loop.session.device.type == "cpu"
        difference = _difference(first, second) if exact else _large_difference(first, second)
        if difference:
            where = find_nondeterminism(self._loop.session)
            raise NotRepeatableError(
                f"A step that was made twice from the same state gave {difference}. Going back "
                f"would not give the training that was. {where} {REGISTER}, or draw random numbers "
                "from the global generators."
            )
        self.passed = True

    def _make(self) -> tuple[tuple[float, float], dict[str, Any]]:
        """Loss and norm of a trial step, and the weights after it, all undone."""
        loop, timeline = self._loop, self._timeline
        with loop.trial_steps(), timeline.rolled_back():
            loop.trial_step(History())
            model = loop.session.model
            return loop.last, {n: p.detach().clone() for n, p in model.named_parameters()}


def has_own_code(loop: Loop) -> bool:
    """True if more than a model and a loss of torch's own makes a step."""
    session = loop.session
    if session.body is not None or session.step_fn is not None:
        return True
    return not type(session.loss_fn).__module__.startswith("torch.")


def _difference(first: Any, second: Any) -> str:
    """First difference of two steps, as the end of a sentence; "" if they are equal."""
    (one, other), (weights, again) = (first[0], second[0]), (first[1], second[1])
    for name, a, b in zip(("loss", "gradient norm"), one, other, strict=True):
        if not (a == b or (a != a and b != b)):
            return f"two results: the {name} was {a:.9g}, then {b:.9g}"
    for name, value in weights.items():
        if not bitwise_equal(value, again[name]):
            return f"two results: {name} has other values the second time"
    return ""


def _large_difference(first: Any, second: Any) -> str:
    """First difference beyond rounding, which differs on accelerators; "" without one."""
    for name, a, b in zip(("loss", "gradient norm"), first[0], second[0], strict=True):
        if not (math.isclose(a, b, rel_tol=ROUNDING) or (a != a and b != b)):
            return f"two results: the {name} was {a:.9g}, then {b:.9g}"
    return ""
