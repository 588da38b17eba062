"""Momentum of BatchNorm."""

from __future__ import annotations

from torch.nn.modules.batchnorm import _BatchNorm

from nbdebug.checks._context import CheckContext
from nbdebug.checks._named import first_names
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome


class BatchNormMomentum(Check):
    """Checks that the running statistics of BatchNorm average over several batches.

    In PyTorch the momentum is the weight of the new batch: 0.1 by default. Other frameworks give
    the weight of the old statistics: their 0.999 is 0.001 here. With 0.999, the statistics in
    eval mode are those of the last batch alone.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "batchnorm_momentum"
    step = 3
    order = 62
    title = "Momentum of BatchNorm"
    source = "PyTorch, BatchNorm: momentum is the weight of the observed value"
    explains = ()

    MAX_MOMENTUM = 0.5

    def examine(self, context: CheckContext) -> Outcome:
        context.train()
        layers = {
            name: module.momentum
            for name, module in context.model.named_modules()
            if isinstance(module, _BatchNorm) and module.track_running_stats and module.training
        }
        if not layers:
            return Outcome("not_applicable", "no BatchNorm updates its running statistics.")
        known = {name: value for name, value in layers.items() if value is not None}
        large = [name for name, value in known.items() if value > self.MAX_MOMENTUM]
        if large:
            value = known[large[0]]
            return Outcome(
                "warning", f"momentum {value:g} in {first_names(large)}: the running statistics "
                f"are {value:.1%} those of the last batch", f"at most {self.MAX_MOMENTUM}",
                "PyTorch's momentum is the weight of the new batch: use "
                f"{max(1 - value, 0.001):.3g} or the default, 0.1.",
            )  # fmt: skip
        largest = f"momentum {max(known.values()):g}" if known else "averages of all batches"
        return Outcome("pass", largest, f"at most {self.MAX_MOMENTUM}")
