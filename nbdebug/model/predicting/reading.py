"""Reads predictions of a batch off its outputs."""

from __future__ import annotations

from typing import Any

import torch

from nbdebug.core.results.inside.predicted_step import PredictedStep
from nbdebug.model.module.forward import tensors_of
from nbdebug.model.predicting.forms import Form

MAX_CLASSES = 256
MAX_COUNTED = 100
MAX_OUTPUTS = 1024
TOP = 5


def first_tensor(outputs: Any, count: int) -> torch.Tensor | None:
    """The first tensor of floating-point numbers with `count` samples, None without one."""
    tensors = [one for one in tensors_of(outputs) if one.ndim and len(one) == count]
    floats = (one for one in tensors if one.is_floating_point())
    return next(floats, tensors[0] if tensors else None)


def read(form: Form, step: int, outputs: torch.Tensor, targets: Any) -> PredictedStep:
    """Predictions of a batch.

    Args:
        outputs: [N] or [N, ...]; targets: as the loss takes them, None if they do not fit.
    """
    found = outputs.detach()
    if found.dtype in (torch.float16, torch.bfloat16):
        found = found.float()
    if form.kind == "classes":
        return _classes(form, step, found, targets)
    return _numbers(form, step, found, targets)


def sample_targets(form: Form, targets: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Targets of samples for tables: classes [N], or numbers [N, K] as `values` has them.

    Args:
        shape: of the outputs.
    """
    if form.kind != "classes":
        flat = _columns(targets.reshape(shape).float())
        return (flat > 0.5).long()[:, 0] if _is_one(form, flat) else flat
    classes = shape[form.axis]
    chosen = _labels(form, targets, classes)
    if chosen.ndim == 1:
        return chosen
    return torch.stack([_most_frequent(row) for row in chosen.flatten(1)])


def _classes(form: Form, step: int, outputs: torch.Tensor, targets: Any) -> PredictedStep:
    scores = outputs.movedim(form.axis, 1)
    shares = torch.softmax(scores, 1) if form.squash else scores
    guess = scores.argmax(1).masked_fill(~shares.isfinite().all(1), -1)
    labels = None if targets is None else _labels(form, targets, shares.shape[1])
    of_target = None if labels is None else _of_labels(shares, labels)
    right = counts = None
    if guess.ndim > 1:
        guess, places = guess.flatten(1), guess
        shares = shares.flatten(2).mean(2)
        if labels is not None and of_target is not None:
            known = labels.flatten(1) >= 0
            hits = (guess == labels.flatten(1)) & known
            right = hits.sum(1) / known.sum(1)
            counts = _counts(labels, places, shares.shape[1])
            of_target = of_target.flatten(1).nanmean(1)
        guess = torch.stack([_most_frequent(row) for row in guess])
    top = None
    if shares.shape[1] > MAX_CLASSES:
        shares, top = shares.topk(TOP, 1)
    return PredictedStep(
        step, _host(shares), _whole(guess), _host(of_target), _whole(top), _whole(counts),
        _host(right),
    )  # fmt: skip


def _numbers(form: Form, step: int, outputs: torch.Tensor, targets: Any) -> PredictedStep:
    flat = outputs.reshape(len(outputs), -1)
    if form.kind == "regression":
        return PredictedStep(step, _host(_columns(flat)))
    shares = torch.sigmoid(flat) if form.squash else flat
    yes = shares > 0.5
    guess = yes.long().masked_fill(~shares.isfinite(), -1)
    of_target = right = counts = None
    if targets is not None:
        wanted = targets.reshape(flat.shape) > 0.5
        of_target = torch.where(wanted, shares, 1 - shares).mean(1)
        if flat.shape[1] > 1:
            right = (guess == wanted.long()).float().mean(1)
            counts = _counts(wanted.long(), guess, 2)
    one = guess[:, 0] if flat.shape[1] == 1 else None
    return PredictedStep(
        step, _host(_columns(shares)), _whole(one), _host(of_target), None, _whole(counts),
        _host(right),
    )  # fmt: skip


def _labels(form: Form, targets: torch.Tensor, classes: int) -> torch.Tensor:
    """Classes as whole numbers; -1 where a target is none of them, as ignored ones are."""
    if form.soft:
        return targets.argmax(form.axis)
    whole = targets.long()
    return whole.masked_fill((whole < 0) | (whole >= classes), -1)


def _of_labels(shares: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Probability of each label, NaN where there is none."""
    found = shares.gather(1, labels.clamp(min=0).unsqueeze(1)).squeeze(1)
    return found.masked_fill(labels < 0, torch.nan)


def _counts(labels: torch.Tensor, guess: torch.Tensor, classes: int) -> torch.Tensor | None:
    """Counts of each label and predicted class [C, C]; None for many classes."""
    if classes > MAX_COUNTED:
        return None
    pairs = (labels * classes + guess)[(labels >= 0) & (guess >= 0)]
    return torch.bincount(pairs.flatten(), minlength=classes**2).reshape(classes, classes)


def _most_frequent(row: torch.Tensor) -> torch.Tensor:
    """The class that most positions [P] have, -1 if none has one."""
    known = row[row >= 0]
    return known.mode().values if len(known) else row.new_tensor(-1)


def _columns(values: torch.Tensor) -> torch.Tensor:
    """Numbers of samples [N, K], at most 1,024 of each, at even distances."""
    flat = values.reshape(len(values), -1)
    return flat[:, :: -(-flat.shape[1] // MAX_OUTPUTS)] if flat.shape[1] > MAX_OUTPUTS else flat


def _is_one(form: Form, flat: torch.Tensor) -> bool:
    return form.kind == "binary" and flat.shape[1] == 1


def _host(values: torch.Tensor | None) -> Any:
    return None if values is None else values.float().cpu().numpy().copy()


def _whole(values: torch.Tensor | None) -> Any:
    return None if values is None else values.long().cpu().numpy().copy()
