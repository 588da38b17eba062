"""Shapes of outputs and targets inside the loss."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch

from nbdebug.checks._averaged_products import averaged_products
from nbdebug.checks._context import CheckContext
from nbdebug.checks._loss_nodes import crossings
from nbdebug.checks._loss_shapes import Clash, LossShapes
from nbdebug.checks._model_hooks import calls_observed
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import call, leaves, with_leaves

EXPECTED = "each output with its own target"
REMEDY = "Use the same shape for both, for example targets.unsqueeze(1) or outputs.squeeze(1)."


class Broadcast(Check):
    """Checks that the loss compares each output only with its own target.

    Outputs [N, 1] and targets [N] broadcast to [N, N]: every output is compared with every
    target, and the model can only learn the mean of the targets. The check follows outputs and
    targets through the operations of the loss, so that a loss may reshape them first, or compare
    pairs on purpose by axes of its own. It follows them through your metrics in the same way. Two
    outputs, such as a log-probability [N] and the advantage [N, 1], are compared like this too.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "broadcast"
    step = 2
    order = 5
    title = "Shapes of outputs and targets"
    source = "PyTorch, broadcasting semantics; TheDeepChecker (2022)"
    explains = ("initial_loss", "overfit", "zero_gradient")

    def examine(self, context: CheckContext) -> Outcome:
        if context.loss_fn is None:
            return _of_step(context)
        context.train()
        with torch.no_grad():
            outputs = call(context.model, context.inputs)
        outputs = with_leaves(outputs, _needs_gradient)
        shapes = _shapes(outputs), _shapes(context.targets)
        if not all(shapes):
            return Outcome("not_applicable", "outputs or targets hold no tensor.")
        seen = f"outputs {shapes[0]}, targets {shapes[1]}"
        with torch.enable_grad(), LossShapes(outputs, context.targets) as trace:
            context.loss_of(outputs, context.targets)
        found = _judge(seen, trace.clashes)
        return (_of_metrics(context, outputs) or found) if found.status == "pass" else found

    def examine_graph(self, nodes: Sequence[tuple[str, Any]]) -> Outcome:
        found = list(crossings(nodes))
        if not found:
            return Outcome("pass", "no operation of a step crosses its samples", EXPECTED)
        # That of a known operand is surer.
        worst = next((one for one in found if one.other is not None), found[0])
        with_other = "" if worst.other is None else f" and {worst.other}"
        return Outcome(
            "warning" if worst.other is None else "fail",
            f"{worst.operation} in a step of the loop broadcasts {worst.one}{with_other} to "
            f"{worst.both}",
            EXPECTED, REMEDY,
        )  # fmt: skip


def _of_metrics(context: CheckContext, outputs: Any) -> Outcome | None:
    """Outcome where a metric compares an output with the targets of others; else None."""
    for name, metric in context.subject.metrics.functions.items():
        trace = LossShapes(outputs, context.targets, metric=True)
        with suppress(Exception), torch.no_grad(), trace:
            metric(outputs, context.targets)
        for clash in trace.clashes:
            if clash.crossed and not clash.paired:
                return Outcome(
                    "warning",
                    f"the metric {name}: {clash.operation} broadcasts {clash.outputs} and "
                    f"{clash.targets} to {clash.both}",
                    EXPECTED,
                    f"Use the same shape for both in {name}, for example outputs.squeeze(1).",
                )
    return None


def _of_step(context: CheckContext) -> Outcome:
    """Outcome where a step calls the model itself: outputs meet what is in the batch."""
    context.train()
    trace = LossShapes((), context.batch)
    with calls_observed(context.model, trace), torch.enable_grad(), trace:
        loss = context.evaluate(context.batch)[0]
    if not trace.calls:
        return Outcome("not_applicable", "the step calls no module of the model.")
    found = _judge(f"calls of the model in the step: {trace.calls}", trace.clashes)
    return (_of_products(loss, trace) or found) if found.status == "pass" else found


def _of_products(loss: torch.Tensor, trace: LossShapes) -> Outcome | None:
    """Outcome where a loss is a mean of the products of all with all."""
    for one in averaged_products(loss):
        line = trace.products.get(one.both)
        return Outcome(
            "fail",
            f"the loss is a mean of products {one.both}: {one.one} and {one.other} broadcast"
            + (f" ({line})" if line else "")
            + ", so that each sample meets the factors of all others",
            EXPECTED,
            "Give both factors the same shape, for example by .squeeze(1) of the one that is a "
            "column.",
        )
    return None


def _judge(seen: str, clashes: list[Clash]) -> Outcome:
    faults = [c for c in clashes if c.crossed and not (c.paired and _same_axes(c))]
    if not clashes or not (faults or any(not c.crossed for c in clashes)):
        return Outcome("pass", seen, EXPECTED)
    worst = next((c for c in faults if not c.paired), (faults or clashes)[0])
    seen += f"; {worst.operation} in the loss broadcasts {worst.outputs} and {worst.targets} to "
    seen += f"{worst.both}" + (f" ({worst.line})" if worst.line else "")
    # An axis added on purpose beside one added by PyTorch may be meant.
    meant = not worst.crossed or (worst.paired and not worst.operation.endswith("_loss"))
    return Outcome(
        "warning" if meant else "fail", seen, EXPECTED, REMEDY,
    )  # fmt: skip


def _same_axes(clash: Clash) -> bool:
    return len(clash.outputs) == len(clash.targets)


def _needs_gradient(leaf: Any) -> Any:
    if isinstance(leaf, torch.Tensor) and (leaf.is_floating_point() or leaf.is_complex()):
        return leaf.detach().requires_grad_(True)
    return leaf


def _shapes(value: Any) -> str:
    """Shapes of the tensors in a value, in words; empty without any."""
    return ", ".join(str(tuple(x.shape)) for x in leaves(value) if isinstance(x, torch.Tensor))
