"""The model in training and in eval mode."""

from __future__ import annotations

import inspect

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.results.check_result import Outcome
from nbdebug.model.module.forward import first_samples
from nbdebug.model.module.names import DROPOUTS

SAMPLES = 8
WITH_DROPOUT = (nn.RNNBase, nn.MultiheadAttention)


class TrainEval(Check):
    """Whether training mode and eval mode differ only where layers say so.

    Dropout and BatchNorm act differently in the two. A model handed over in eval mode
    trains without them; one that breaks in eval mode, or on a single sample, trains well
    and fails when it is used.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "train_eval"
    step = 3
    order = 50
    title = "Training and eval mode"
    source = "PyTorch, Module.eval; Karpathy, A Recipe for Training Neural Networks"

    CLOSE = 1e-4

    def examine(self, context: CheckContext) -> Outcome:
        acting = [type(m).__name__ for m in context.model.modules() if _acts(m)]
        if not context.model.training and acting:
            return Outcome(
                "warning", f"the model was handed over in eval mode: {acting[0]} does not act",
                "training mode", "Call model.train() before training.",
            )  # fmt: skip
        broken = self._eval_runs(context)
        if broken is not None:
            return broken
        few = first_samples(context.batch, SAMPLES)
        with torch.no_grad():
            outputs = context.evaluate(few)[1]
            context.model.train()
            again = context.evaluate(few)[1]
        if not isinstance(outputs, torch.Tensor) or not isinstance(again, torch.Tensor):
            return Outcome("pass", "both modes run, also one sample in eval mode", "both run")
        scale = float(outputs.abs().max()) or 1.0
        apart = float((again - outputs).abs().max()) / scale
        seen = f"outputs of both modes differ by {apart:.2g} of their size"
        if apart > self.CLOSE and not acting and not _speaks_of_training(context.model):
            return Outcome(
                "warning", f"{seen}, without a layer that would", "0",
                "Look for what forward keeps from call to call, or draws at random.",
            )  # fmt: skip
        reason = f": {', '.join(dict.fromkeys(acting))}" if acting else ""
        return Outcome("pass", f"{seen}{reason}", "0, but for layers such as Dropout")

    def _eval_runs(self, context: CheckContext) -> Outcome | None:
        """What is wrong with eval mode, None when it runs with the batch and with one sample."""
        few = first_samples(context.batch, SAMPLES)
        context.model.train()
        with torch.no_grad():
            context.evaluate(few)
        context.model.eval()
        for batch, words, status in (
            (few, "in eval mode the forward raised", "fail"),
            (first_samples(context.batch, 1), "in eval mode one sample alone raised", "warning"),
        ):
            try:
                with torch.no_grad():
                    context.evaluate(batch)
            except Exception as error:
                remedy = "Mend forward, or it fails in validation and in use: .squeeze() may be it."
                said = f"{words} {type(error).__name__}: {error}"
                return Outcome(status, said, "no exception", remedy)  # type: ignore[arg-type]
        return None


def _acts(module: nn.Module) -> bool:
    if isinstance(module, DROPOUTS):
        return module.p > 0
    if isinstance(module, _NormBase):
        return bool(module.track_running_stats)
    if isinstance(module, WITH_DROPOUT):
        return module.dropout > 0
    return isinstance(module, nn.RReLU)


def _speaks_of_training(model: nn.Module) -> bool:
    """Whether some forward asks for the mode, or cannot be read."""
    for kind in {type(module) for module in model.modules()}:
        if kind.__module__.startswith("torch.nn"):
            continue
        try:
            if "training" in inspect.getsource(kind.forward):
                return True
        except (OSError, TypeError):
            return True
    return False
