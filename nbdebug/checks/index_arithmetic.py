"""Places of the largest numbers that the loss takes for the numbers."""

from __future__ import annotations

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks._places import Places
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import tensors_of

EXPECTED = "values where the loss adds, subtracts or compares values"


class IndexArithmetic(Check):
    """Checks that the index of a largest number is not taken for the number.

    `q.max(1)[1]` and `q.argmax(1)` tell where the largest number is; `q.max(1)[0]` is that number.
    A target `reward + gamma * q.max(1)[1]` has the right shape and raises no error, and the model
    learns the numbers of the actions. Indices that choose or are compared are right, and so are
    positions, ranks and distances of classes: an index must not meet the numbers that it is an
    index of, of the same network or of its frozen copy. An index read by .item() is not followed.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "index_arithmetic"
    step = 2
    order = 23
    title = "Arithmetic on indices"
    source = "Mnih et al. (2015), deep Q-networks; PyTorch, torch.max and torch.argmax"
    explains = ("loss_optimum", "overfit")
    sees_step = True

    def examine(self, context: CheckContext) -> Outcome:
        context.train()
        groups = context.subject.optimizer.param_groups
        trained = (p for group in groups for p in group["params"])
        watch = Places(context.model, trained, tensors_of(context.batch))
        with torch.enable_grad(), watch:
            loss = context.evaluate(context.batch)[0]
        if not watch.seen:
            return Outcome("not_applicable", "the step takes no index of a largest number.")
        found = watch.of(loss)
        if found is None:
            return Outcome("pass", "indices are used as indices or as positions", EXPECTED)
        where = f" ({found.place.line})" if found.place.line else ""
        used = f" ({found.line})" if found.line and found.line != found.place.line else ""
        meets = "meet the numbers that they are indices of" if found.certain else "weigh the loss"
        return Outcome(
            "fail" if found.certain else "warning",
            f"indices of {found.place.function}{where} are used as numbers: they {meets}{used}",
            EXPECTED,
            "Take the values: .max(dim)[0], .max(dim).values or .amax(dim); or use the indices to "
            "choose, by gather().",
        )  # fmt: skip
