"""Recognises what a model predicts, by its outputs, the targets and the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from nbdebug.model.predicting.loss_calls import CLASSES, LOSSES, VALUES, YES_NO

SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Form:
    """Meaning of outputs.

    Attributes:
        kind: `classes`, `binary` or `regression`.
        axis: of the classes; squash: what makes the outputs probabilities, "" for nothing.
        targets: whether the targets fit; soft: whether they are probabilities of classes.
        note: what was assumed or left out, as a sentence; "" for nothing.
    """

    kind: Literal["classes", "binary", "regression"]
    axis: int = 1
    squash: Literal["softmax", "sigmoid", ""] = ""
    targets: bool = True
    soft: bool = False
    note: str = ""


def recognise(outputs: torch.Tensor, targets: torch.Tensor | None, loss: str) -> Form | str:
    """Find out what outputs mean; or why that cannot be told, as the end of a sentence.

    Args:
        outputs: of N samples, [N] or [N, ...]; targets: None if nobody says them.
        loss: name of a loss of torch that compares both, "" if none is known.
    """
    if not outputs.is_floating_point():
        return f"the model gives numbers of type {_dtype(outputs)}, and no scores or values"
    if not outputs.numel():
        return f"the outputs {_shape(outputs)} hold no number"
    if targets is not None and (not targets.ndim or len(targets) != len(outputs)):
        held = len(targets) if targets.ndim else 1
        note = (
            f"The targets hold {held:,} samples, the outputs {len(outputs):,}: they are left out."
        )
        found = _without_targets(outputs, loss)
        return found if isinstance(found, str) else _noted(found, note)
    if targets is None:
        return _without_targets(outputs, loss)
    return _with_targets(outputs, targets, loss)


def _with_targets(outputs: torch.Tensor, targets: torch.Tensor, loss: str) -> Form | str:
    meant = LOSSES.get(loss, "")
    axis = _class_axis(outputs, targets)
    if axis and (meant == CLASSES or not targets.is_floating_point()):
        return Form("classes", axis, _softmax(outputs, axis, loss))
    if meant == CLASSES and targets.shape == outputs.shape and outputs.ndim > 1:
        return Form("classes", 1, _softmax(outputs, 1, loss), soft=True)
    if targets.numel() != outputs.numel():
        return (
            f"the outputs {_shape(outputs)} and the targets {_shape(targets)} are no classes, and "
            "cannot be compared number by number"
        )
    if meant == YES_NO or (not meant and _are_yes_no(targets)):
        return Form("binary", squash=_sigmoid(outputs, loss))
    if not meant and outputs.ndim == 2 and outputs.shape[1] > 1 and _are_shares(targets, 1):
        return Form("classes", 1, _softmax(outputs, 1, loss), soft=True)
    return Form("regression")


def _without_targets(outputs: torch.Tensor, loss: str) -> Form | str:
    meant = LOSSES.get(loss, "")
    if meant == YES_NO:
        return Form("binary", squash=_sigmoid(outputs, loss), targets=False)
    columns = outputs.shape[1] if outputs.ndim > 1 else 1
    if meant == VALUES or (columns == 1 and outputs.ndim <= 2):
        return Form("regression", targets=False)
    if meant == CLASSES or outputs.ndim == 2:
        said = "" if meant else f"The {columns:,} outputs are taken for scores of classes."
        return Form("classes", 1, _softmax(outputs, 1, loss), targets=False, note=said)
    return f"without targets nobody says what the outputs {_shape(outputs)} mean"


def _class_axis(outputs: torch.Tensor, targets: torch.Tensor) -> int:
    """Axis of the classes, 0 if there is none: 1, as torch has it, or the last one."""
    if outputs.ndim < 2:
        return 0
    if outputs.shape[1] > 1 and outputs.shape[:1] + outputs.shape[2:] == targets.shape:
        return 1
    if outputs.shape[-1] > 1 and outputs.shape[:-1] == targets.shape:
        return outputs.ndim - 1
    return 0


def _softmax(outputs: torch.Tensor, axis: int, loss: str) -> Literal["softmax", ""]:
    """Scores become probabilities; what is none already, unless the loss takes it for scores."""
    return "" if loss != "cross_entropy" and _are_shares(outputs, axis) else "softmax"


def _sigmoid(outputs: torch.Tensor, loss: str) -> Literal["sigmoid", ""]:
    if loss in ("binary_cross_entropy_with_logits", "multilabel_soft_margin_loss"):
        return "sigmoid"
    inside = bool(((outputs >= 0) & (outputs <= 1)).all())
    return "" if loss == "binary_cross_entropy" or inside else "sigmoid"


def _are_shares(values: torch.Tensor, axis: int) -> bool:
    """True if values are at least 0 and sum to 1."""
    if not values.is_floating_point():
        return False
    sums = values.float().sum(axis)
    return bool((values >= 0).all() and ((sums - 1).abs() < SUM_TOLERANCE).all())


def _are_yes_no(targets: torch.Tensor) -> bool:
    return bool(((targets == 0) | (targets == 1)).all())


def _noted(form: Form, note: str) -> Form:
    text = f"{note} {form.note}".strip()
    return Form(form.kind, form.axis, form.squash, form.targets, form.soft, text)


def _shape(tensor: torch.Tensor) -> str:
    return f"{list(tensor.shape)}"


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
