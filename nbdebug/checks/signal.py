"""Signal in the inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from typing import Any

import torch

from nbdebug.checks._constant import best_constant, output_tensors
from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import split
from nbdebug.model.state.model_state import ModelState

TRAINING_STEPS, EVALUATIONS = 150, 6
Change = Callable[[Any], Any]


class Signal(Check):
    """Checks that the inputs help to predict the targets of held-out samples.

    The model is trained for 150 steps with the real data, twice with shuffled targets, and with
    inputs set to 0. If the last three give the same loss on held-out samples, the inputs carry no
    information about the targets: check how inputs and targets were combined.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "signal"
    step = 4
    order = 60
    title = "Inputs predict targets"
    source = "Karpathy, A Recipe for Training Neural Networks; Zhang et al. (2017)"
    expensive = True
    moves_far = True

    MAX_LOSS_RATIO = 0.97

    def examine(self, context: CheckContext) -> Outcome:
        found = output_tensors(context)
        if isinstance(found, Outcome):
            return found
        outputs, targets = found
        held_out, train = context.batches[::4], [b for i, b in enumerate(context.batches) if i % 4]
        inputs = split(context.batch)[0]
        if not train or not isinstance(inputs, torch.Tensor):
            return Outcome(
                "not_applicable", "there is only one batch, or the inputs are not a tensor."
            )
        constant = best_constant(context, targets, outputs.shape[1:])
        start = ModelState.capture(context.model, context.subject.optimizer)
        losses: dict[str, float] = {}
        changes: dict[str, Change] = {
            "real": lambda batch: batch, "shuffled": _shuffled(1), "shuffled again": _shuffled(2),
            "zeroed": _zeroed,
        }  # fmt: skip
        for number, (name, change) in enumerate(changes.items()):
            start.restore(context.model, context.subject.optimizer)
            learned, losses[name] = self._train(context, train, held_out, change, number / 4)
            if name == "real" and (
                constant is None or not learned < self.MAX_LOSS_RATIO * constant
            ):
                return Outcome(
                    "not_applicable", f"the model learns too little in {TRAINING_STEPS} steps."
                )
        real, other = losses["real"], min(loss for name, loss in losses.items() if name != "real")
        said = ", ".join(f"{name} {loss:.3g}" for name, loss in losses.items())
        seen = f"smallest loss on held-out samples: {said}"
        expected = "smallest with the real data"
        if real < other:
            return Outcome("pass", seen, expected)
        remedy = (
            "Check that inputs and targets belong together, and that the inputs are informative."
        )
        return Outcome("warning", seen, expected, remedy)

    def _train(
        self,
        context: CheckContext,
        train: Sequence[Any],
        held_out: Sequence[Any],
        change: Change,
        begun: float,
    ) -> tuple[float, float]:
        """Mean training loss of the last tenth, and the smallest loss on held-out batches."""
        optimizer, losses, best = context.subject.optimizer, [], math.inf
        for step, batch in enumerate(islice(cycle(train), TRAINING_STEPS), 1):
            context.report_progress(begun + step / TRAINING_STEPS / 4)
            context.model.train()
            optimizer.zero_grad()
            loss = context.evaluate(change(batch))[0]
            losses.append(float(loss.detach()))
            if not math.isfinite(losses[-1]):
                return math.inf, best
            loss.backward()
            optimizer.step()
            if step % (TRAINING_STEPS // EVALUATIONS) == 0:
                best = min(best, self._loss(context, held_out, change))
        tail = losses[-TRAINING_STEPS // 10 :]
        return sum(tail) / len(tail), best

    def _loss(self, context: CheckContext, batches: Sequence[Any], change: Change) -> float:
        """Mean loss over batches with real targets; inputs are zeroed as in training."""
        context.eval_step()
        seen = [_zeroed(batch) if change is _zeroed else batch for batch in batches]
        return sum(float(context.look(batch)[0]) for batch in seen) / len(seen)


def _shuffled(seed: int) -> Change:
    """A change that permutes the targets of a batch, always in the same order."""

    def change(batch: Any) -> Any:
        inputs, targets = split(batch)
        order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
        return inputs, targets[order.to(targets.device)]

    return change


def _zeroed(batch: Any) -> Any:
    inputs, targets = split(batch)
    return torch.zeros_like(inputs), targets
