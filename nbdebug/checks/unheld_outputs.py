"""Outputs that lower the loss whatever the targets are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch

from nbdebug.checks._class_targets import class_targets
from nbdebug.checks._constant import output_range_of
from nbdebug.checks._context import CheckContext
from nbdebug.checks._loss_tape import LossTape, loss_tape
from nbdebug.checks._model_calls import ModelCall, watched_step
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome

MAX_COLUMNS = 4


class UnheldOutputs(Check):
    """Checks that no output alone brings the loss to 0, whatever the other outputs are.

    A model that says how sure it is, by a variance, a scale or a weight for each sample, makes its
    errors count less where that grows. If no term of the loss pulls it back, as the logarithm of
    the variance does in a likelihood, the loss falls to 0 by this output alone, and the prediction
    is not learnt. It is moved far along the descent, with all other outputs as they are.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "unheld_outputs"
    step = 2
    order = 6
    title = "Outputs that nothing holds"
    source = "Nix & Weigend (1994), Estimating the mean and variance of the target"
    explains = ("overfit", "loss_optimum", "loss_terms")

    # Ways along the descent; share of the loss that is left far along it; of gradients alike.
    WAYS = (10.0, 100.0, 1000.0, 10_000.0)
    MAX_LEFT, ALIKE, FREE = 0.01, 0.9, 5.0

    def examine(self, context: CheckContext) -> Outcome:
        step = watched_step(context)
        if isinstance(step, str):
            return Outcome("not_applicable", step)
        if len(step.calls) > 1 or not float(step.loss) > 0:
            return Outcome("not_applicable", "the loss is not of one call of the model, above 0.")
        call, seen = step.calls[0], 0
        tape = loss_tape(context, step)
        if isinstance(tape, str):
            return Outcome("not_applicable", tape)
        if not tape.compares:
            said = "the loss compares the outputs with nothing, as that of a generator."
            return Outcome("not_applicable", said)
        for number, column, name in _alone(call):
            seen += 1
            left = self._left(context, tape, call, number, column)
            if left is not None:
                fell = f"brings the loss from {float(step.loss):.3g} to {left:.2g}"
                return Outcome(
                    "fail", f"{name} alone {fell}, whatever the targets are: no term of the loss "
                    "pulls it back",
                    "a loss that falls with the error of a prediction only",
                    "Add the term that holds it: of a Gaussian likelihood 0.5 * log_var (the "
                    "logarithm of the predicted variance, see torch.nn.GaussianNLLLoss), of a "
                    "weight for each sample a cost of lowering it.",
                )  # fmt: skip
        if not seen:
            return Outcome("not_applicable", "the model has one kind of output.")
        return Outcome("pass", "no output alone brings the loss to 0", "none")

    def _left(
        self,
        context: CheckContext,
        tape: LossTape,
        call: ModelCall,
        number: int,
        column: int | None,
    ) -> float | None:
        """The loss far along the descent of one output; None where that does not vanish."""
        gradient = call.gradients[number]
        assert gradient is not None
        part = gradient if column is None else gradient[..., column]
        signs = part.sign()
        down = -float(signs.sum().sign())
        if not down or float((signs == -down).float().mean()) < self.ALIKE:
            return None
        place = call.places[number]
        low, high = output_range_of(context, lambda: [call.again(context)[place]])
        # An output that goes so far has no bound.
        low, high = low if low > -self.FREE else -math.inf, high if high < self.FREE else math.inf
        losses = []
        for way in (0.0, *self.WAYS):
            free = [one.detach() for one in call.found]
            moved = free[number].clone()
            at = moved if column is None else moved[..., column]
            at.copy_((at + down * way).clamp(low, high))
            free[number] = moved
            with torch.no_grad():
                losses.append(float(tape.loss_of(free)))
        if not all(map(math.isfinite, losses)) or min(losses) < 0:
            return None
        falls = all(b <= a for a, b in itertools.pairwise(losses))
        return losses[-1] if falls and losses[-1] <= self.MAX_LEFT * losses[0] else None


def _alone(call: ModelCall) -> Iterator[tuple[int, int | None, str]]:
    """Outputs beside others, and columns of one [N, C] of few, each with its name."""
    used = [n for n, one in enumerate(call.gradients) if one is not None and bool(one.any())]
    if len(used) > 1:
        for number in used:
            yield number, None, f"output {call.places[number]} of the model"
        return
    # Samples of one class raise its score.
    for number in used if not class_targets(call) else ():
        output = call.found[number]
        for column in range(output.shape[-1] if output.ndim == 2 else 0):
            if 1 < output.shape[1] <= MAX_COLUMNS:
                yield number, column, f"column {column} of the outputs"
