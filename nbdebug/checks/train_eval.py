"""Training mode and eval mode of the model."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.error_text import describe_error, kind_of
from nbdebug.core.results.checks.check_result import OTHER_INPUTS, Outcome, Proposal
from nbdebug.errors import LoopLeft
from nbdebug.model.module.forward import first_samples, tensors_of
from nbdebug.model.module.hooks import after_forward, before_forward
from nbdebug.model.module.modes import depends_on_mode
from nbdebug.model.state.model_state import RngState

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
    # Two calls in one mode, which differ by state or by a generator of the model's own.
    MAX_WITHIN = 3.0

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
        given: list[list[torch.Tensor]] = []
        found = _differences(context, given)
        if _differ(given):
            return Outcome("pass", f"both modes run; {OTHER_INPUTS}", "both modes run")
        if found is None:
            return Outcome(
                "pass", "both modes run, also with one sample in eval mode", "both modes run"
            )
        apart, within = found
        seen = f"the outputs of the two modes differ by {apart:.2g} of their size"
        if within > self.TOLERANCE:
            seen += f", those of one mode by {within:.2g}"
        apart -= self.MAX_WITHIN * within
        if apart > self.TOLERANCE and not acting and not _uses_training_flag(context.model):
            return Outcome(
                "warning", f"{seen}, but no layer depends on the mode", "0",
                "Check what forward and the functions that it calls do by `training`.",
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
        if context.in_loop:
            return Outcome("not_applicable", "the loop is in training mode, which it may mind.")
        context.model.eval()
        for batch, words, status in (
            (few, "in eval mode forward raised", "fail"),
            (first_samples(context.batch, 1), "in eval mode a single sample raised", "warning"),
        ):
            forward = _Forward(context.model)
            try:
                with forward:
                    context.look(batch)
            except LoopLeft:
                if status == "fail":
                    raise
            except Exception as error:
                validated = context.samples.held_out is not None
                if status == "fail" and not forward.is_at_fault and not validated:
                    return Outcome(
                        "not_applicable", f"the step is made for training mode: {kind_of(error)}."
                    )
                if not forward.is_at_fault and status == "warning":
                    # The loss may be one of several samples.
                    continue
                remedy = (
                    "Fix forward, which also fails in validation; .squeeze() is a common cause."
                )
                said = f"{words} {describe_error(error)}"
                return Outcome(status, said, "no exception", remedy)  # type: ignore[arg-type]
        return None


class _Forward:
    """Calls of the model in a look that raised.

    Attributes:
        is_at_fault: True if its forward raised, or dropped the first dimension.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model, self._begun, self._ended = model, 0, 0
        self._rows: int | None = None
        self._dropped = False

    def __enter__(self) -> None:
        self._hooks = (
            before_forward(self._model, self._begins), after_forward(self._model, self._ends)
        )  # fmt: skip

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()

    @property
    def is_at_fault(self) -> bool:
        return self._begun > self._ended or self._dropped

    def _begins(self, _: nn.Module, given: tuple[Any, ...]) -> None:
        self._begun += 1
        rows = [len(one) for one in tensors_of(given) if one.ndim]
        self._rows = rows[0] if rows else None

    def _ends(self, _: nn.Module, given: Any, outputs: Any) -> None:
        self._ended += 1
        kept = [one.ndim > 0 and len(one) == self._rows for one in tensors_of([outputs])]
        self._dropped = self._dropped or (self._rows is not None and not any(kept))


def _differ(given: list[list[torch.Tensor]]) -> bool:
    """True if the model got other inputs in training mode, and the same in both of eval mode."""
    if len(given) != 3:
        return False
    first, trained, again = given

    def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
        return len(one) == len(other) and all(map(torch.equal, one, other))

    return same(first, again) and not same(first, trained)


def _differences(
    context: CheckContext, given: list[list[torch.Tensor]]
) -> tuple[float, float] | None:
    """Difference of outputs between modes, and within eval mode, in parts of their size.

    Each call begins with the same random numbers. None where the outputs are no tensor.

    Args:
        given: takes what the model got in each call.
    """
    few, drawn = first_samples(context.batch, TESTED_SAMPLES), RngState.capture()
    found = []
    for training in (False, True, False):
        drawn.restore()
        if training:
            context.train()
        else:
            context.model.eval()
        inputs: list[torch.Tensor] = []
        hook = before_forward(context.model, lambda _, args, to=inputs: to.extend(_copied(args)))
        try:
            found.append(context.look(few)[1])
        finally:
            hook.remove()
        given.append(inputs)
    first, trained, again = found
    if not all(isinstance(one, torch.Tensor) for one in found):
        return None
    scale = float(first.abs().max()) or 1.0
    return tuple(float((one - first).abs().max()) / scale for one in (trained, again))  # type: ignore[return-value]


def _copied(args: Any) -> list[torch.Tensor]:
    return [one.detach().clone() for one in tensors_of(args)]


def _uses_training_flag(model: nn.Module) -> bool:
    """True if the class of some module uses `training`, or if its source is not available."""
    kinds = {kind for module in model.modules() for kind in type(module).__mro__}
    for kind in kinds:
        if not issubclass(kind, nn.Module) or kind.__module__.startswith("torch.nn"):
            continue
        try:
            if "training" in inspect.getsource(kind):
                return True
        except (OSError, TypeError):
            return True
    return False
