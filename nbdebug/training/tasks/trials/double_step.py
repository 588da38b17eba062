"""A step that is made twice from the same state, before training goes back for the first time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from nbdebug.core.contexts import contextmanager
from nbdebug.core.history.history import History
from nbdebug.core.records import Notice
from nbdebug.errors import NotRepeatableError, TaskStopped
from nbdebug.model.state.bits import bitwise_equal
from nbdebug.training.engine.loop import Loop
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.own_loop.torch_calls import gradients_aside
from nbdebug.training.timeline.nondeterminism import find_nondeterminism
from nbdebug.training.timeline.timeline import Timeline

ROUNDING = 1e-3
MOVED = "A look at training has changed it"
# Loss and gradient norm of each, and the weights after the last one.
_Steps = tuple[list[tuple[float, float]], dict[str, Any]]
REGISTER = (
    " Name what else moves in state={'name': object}, or draw random numbers from the global "
    "generators."
)


class DoubleStep:
    """Tells if the code of a user's own that makes a step gives the same step again.

    What such code moves and no copy holds, as an optimizer of a network that it does not reach,
    would stay as a fork, a rewind or a remedy on trial left it.

    A verdict holds for the loop that it was found on: one that was refused could repeat by chance.
    Where an optimizer makes its update at every k-th step, so many steps are made twice that what
    counts them comes to another place.

    Attributes:
        passed: True once a step was equal to its repetition.
    """

    def __init__(self, loop: Loop, timeline: Timeline) -> None:
        self._loop, self._timeline = loop, timeline
        self.passed = not has_own_code(loop)
        self._refusal = ""
        self._judged: Any = None

    def require(self, progress: TaskProgress) -> None:
        """Make the next step twice, undoing both, unless that was done before.

        Raises:
            NotRepeatableError: the second one differs.
            TaskStopped: `progress` was told to stop.
        """
        self._forget_other_loops()
        if self._refusal:
            raise NotRepeatableError(self._refusal)
        if self.passed or not self._loop.session.step:
            return
        progress.advance(0.0, "Making a step twice, to see if it repeats")
        if refusal := self._judge(self._made(), self._made()):
            raise NotRepeatableError(refusal)

    @contextmanager
    def around(self, history: History, what: str) -> Iterator[None]:
        """Make the next step before and after what is done inside, and tell of a difference.

        Nothing is made where a step was equal to its repetition before, or is known to differ.

        Args:
            what: is done inside, as the beginning of a sentence.
        """
        self._forget_other_loops()
        body, step = self._loop.session.body, self._loop.session.step
        if self.passed or self._refusal or not step or (body is not None and not body.repeats):
            yield
            return
        before = self._made()
        yield
        if refusal := self._judge(before, self._made() if before else None):
            text = f"{what} moved on what no copy holds. {refusal}"
            history.add_notice(Notice(step, "warning", MOVED, text))

    def _made(self) -> _Steps | None:
        """The next step or steps, on trial; None if they fail, which tells nothing.

        Whoever asked meets the failure itself.
        """
        session = self._loop.session
        count = 1 if session.body is None else session.body.updates.steps_in_turn
        try:
            with gradients_aside(session.model, session.optimizer):
                return self._make(count)
        except TaskStopped:
            raise
        except BaseException:
            # The user's code fails, or ends the program: the step itself says so when it is made.
            return None

    def _judge(self, first: _Steps | None, second: _Steps | None) -> str:
        """Keep the verdict on steps that were made twice from the same state: why they differ."""
        if first is None or second is None:
            return ""
        session, count = self._loop.session, len(first[0])
        difference = _difference(first, second, session.device.type == "cpu")
        if not difference:
            self.passed = True
            return ""
        what = "A step that was" if count == 1 else f"{count} steps that were"
        where = find_nondeterminism(session)
        # The cause in a loop of the user's own names the remedy.
        where += REGISTER if session.body is None else ""
        self._refusal = (
            f"{what} made twice from the same state gave {difference}. Going back would not give "
            f"the training that was, and the {2 * count} steps on trial moved on what no copy "
            f"holds. {where}"
        )
        return self._refusal

    def _forget_other_loops(self) -> None:
        """Judge a loop that began since the last verdict for itself."""
        body = self._loop.session.body
        if body is not None and body.started is not self._judged:
            self.passed, self._refusal, self._judged = False, "", body.started

    def _make(self, count: int) -> _Steps:
        """Loss and norm of trial steps, and the weights after them, all undone."""
        loop, timeline, made = self._loop, self._timeline, []
        with loop.trial_steps(), timeline.rolled_back():
            for _ in range(count):
                loop.trial_step(History())
                made.append(loop.last)
            model = loop.session.model
            return made, {n: p.detach().clone() for n, p in model.named_parameters()}


def has_own_code(loop: Loop) -> bool:
    """True if more than a model and a loss of torch's own makes a step."""
    session = loop.session
    if session.body is not None or session.step_fn is not None:
        return True
    return not type(session.loss_fn).__module__.startswith("torch.")


def _difference(first: Any, second: Any, exact: bool) -> str:
    """First difference of two steps, as the end of a sentence; "" if they are equal.

    Args:
        exact: to the bit; else only beyond rounding, which differs on accelerators.
    """
    (made, weights), (remade, again) = first, second
    rounding = 0.0 if exact else ROUNDING
    for name, a, b in _numbers(made, remade):
        if not (math.isclose(a, b, rel_tol=rounding) or (a != a and b != b)):
            return f"two results: the {name} was {a:.9g}, then {b:.9g}"
    for name, value in weights.items() if exact else ():
        if not bitwise_equal(value, again[name]):
            return f"two results: {name} has other values the second time"
    return ""


def _numbers(made: Any, remade: Any) -> Iterator[tuple[str, float, float]]:
    """Name of each number of some steps, and its value in both."""
    for one, other in zip(made, remade, strict=True):
        yield from zip(("loss", "gradient norm"), one, other, strict=True)
