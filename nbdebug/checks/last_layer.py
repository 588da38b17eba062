"""Dropout or normalisation as the last layer."""

from __future__ import annotations

from nbdebug.checks._class_targets import class_targets
from nbdebug.checks._context import CheckContext
from nbdebug.checks._last_operation import LastOperation, last_operations
from nbdebug.checks._model_calls import WatchedStep, batch_tensors, watched_step
from nbdebug.checks._number_targets import number_targets
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome

OVER_BATCH = frozenset({"batch_norm"})
OVER_SAMPLE = frozenset({"layer_norm", "group_norm", "instance_norm", "rms_norm"})
EXPECTED = "a linear layer (or an activation) at the end of the model"


class LastLayer(Check):
    """Checks that neither dropout nor a normalisation is the last operation of the model.

    Dropout at the end sets predictions to 0 at random, so that the loss cannot fall to its
    minimum. A normalisation at the end fixes mean and spread of the predictions: of each batch, so
    that a prediction depends on the other samples, or of each sample, so that one output is always
    the same. Representations that are not compared with targets may be normalised.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "last_layer"
    step = 2
    order = 9
    title = "Last operation of the model"
    source = "Ioffe and Szegedy (2015); Srivastava et al. (2014), Dropout"
    explains = (
        "initial_loss", "prior_bias", "constant_activations", "loss_optimum", "overfit",
        "zero_gradient", "sample_independence",
    )  # fmt: skip

    def examine(self, context: CheckContext) -> Outcome:
        step = watched_step(context)
        if isinstance(step, str):
            return Outcome("not_applicable", step)
        wanted = _wanted(context, step)
        if not wanted:
            return Outcome("not_applicable", "no output has a target in the batch.")
        for last in last_operations(context):
            fault = self._dropout(last) or self._norm(context, last, wanted)
            if fault is not None:
                return fault
        return Outcome("pass", "no dropout or normalisation at the end", EXPECTED)

    def _dropout(self, last: LastOperation) -> Outcome | None:
        if not last.dropped:
            return None
        where = f"{last.name} (layer {last.layer})" if last.layer else last.name
        return Outcome(
            "fail", f"the last operation is {where}: it sets {last.dropped:.0%} of the "
            "predictions to 0 in each step", EXPECTED, "Move the dropout in front of the last "
            "linear layer.",
        )  # fmt: skip

    def _norm(self, context: CheckContext, last: LastOperation, wanted: str) -> Outcome | None:
        if last.name not in OVER_BATCH | OVER_SAMPLE:
            return None
        where = f"{last.name} (layer {last.layer})" if last.layer else last.name
        layer = dict(context.model.named_modules()).get(last.layer)
        free = getattr(layer, "weight", None) is not None
        each = "batch" if last.name in OVER_BATCH else "sample"
        numbers = wanted == "numbers"
        status = "fail" if numbers and (not free or each == "sample") else "warning"
        words = "numbers to be predicted" if numbers else "scores of the classes"
        begin = "begin with" if free else "always have"
        return Outcome(
            status, f"the last operation is {where}: the {words} {begin} mean 0 and standard "  # type: ignore[arg-type]
            f"deviation 1 over each {each}", EXPECTED, f"Remove layer {last.layer}, or move it in "
            "front of the last linear layer.",
        )  # fmt: skip


def _wanted(context: CheckContext, step: WatchedStep) -> str:
    """Kind of the targets that outputs are compared with: "classes", "numbers", or ""."""
    tensors = batch_tensors(context)
    for call in step.calls:
        if class_targets(call):
            return "classes"
        for _, output, gradient in call.read():
            found = number_targets(output, gradient, tensors)
            if found is not None:
                binary = bool(((found.targets == 0) | (found.targets == 1)).all())
                return "classes" if binary else "numbers"
    return ""
