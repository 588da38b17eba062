"""Samples that the user excluded or relabelled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from nbdebug.errors import ControlValueError, DataError


class TargetSpec(NamedTuple):
    """Dtype and shape of the target of one sample."""

    dtype: torch.dtype
    shape: tuple[int, ...]


class SampleEdits:
    """Changes to the samples that batches hold; the data itself stays as it is.

    Attributes:
        excluded: indices of samples that no batch holds, sorted.
        relabelled: new targets, by the index of the sample.
        form: dtype and shape of the targets; None until a batch was seen.
        unavailable: reason why targets cannot be replaced, "" if none is known.
        pairs_only: if True, the last part of a batch counts as targets only in pairs.
    """

    def __init__(self) -> None:
        self.excluded: tuple[int, ...] = ()
        self.relabelled: dict[int, Any] = {}
        self.form: TargetSpec | None = None
        self.unavailable = ""
        self.pairs_only = False

    def kept(self, indices: torch.Tensor) -> torch.Tensor:
        """Booleans [N]: True for each of the indices [N] that is not excluded."""
        return torch.isin(indices, torch.tensor(self.excluded, dtype=torch.int64), invert=True)

    def see(self, data: Any, count: int) -> None:
        """Take dtype and shape of the targets from a batch of `count` samples."""
        reason = self._no_targets(data, count)
        if reason:
            self.unavailable = reason
        else:
            self.form = TargetSpec(data[-1].dtype, tuple(data[-1].shape[1:]))

    def applied(self, data: Any, indices: torch.Tensor) -> Any:
        """A batch with its new targets; the tensors of `data` are not modified.

        Args:
            indices: [B] of the samples in the batch.

        Raises:
            DataError: a new target does not fit the shape of the others.
        """
        if self.form is None and not self.unavailable:
            self.see(data, len(indices))
        replaced = [
            (position, self.relabelled[index])
            for position, index in enumerate(indices.tolist() if self.relabelled else ())
            if index in self.relabelled
        ]
        if not replaced:
            return data
        reason = self._no_targets(data, len(indices))
        if reason:
            raise DataError(f"relabelled cannot be applied: {reason} dbg.set(relabelled={{}}).")
        *inputs, targets = data
        targets = targets.clone()
        for position, value in replaced:
            new = torch.as_tensor(value, dtype=targets.dtype, device=targets.device)
            if new.shape != targets.shape[1:]:
                raise DataError(
                    f"relabelled cannot be applied: the target of sample {int(indices[position])} "
                    f"has shape {tuple(targets.shape[1:])}, the new one {tuple(new.shape)}."
                )
            targets[position] = new
        kind = type(data)
        return kind(*inputs, targets) if hasattr(data, "_fields") else kind((*inputs, targets))

    def _no_targets(self, data: Any, count: int) -> str:
        """Reason why a batch of `count` samples has no replaceable targets; "" when it has."""
        if not isinstance(data, tuple | list) or len(data) < 2:
            return f"A batch is a {type(data).__name__}: expected (inputs, targets)."
        if self.pairs_only and len(data) != 2:
            return f"With a step_fn a batch of {len(data)} parts does not say which are targets."
        targets = data[-1]
        if not isinstance(targets, torch.Tensor):
            return f"The targets are a {type(targets).__name__}: expected a tensor."
        if not targets.ndim or len(targets) != count or targets.is_complex():
            return f"The targets have shape {tuple(targets.shape)}: expected one row per sample."
        return ""


def target_as_numbers(name: str, value: Any, form: TargetSpec | None) -> Any:
    """A new target as a number or nested lists of numbers.

    Args:
        name: name of the target in errors.
        form: dtype and shape it must have; None when not known yet.

    Raises:
        ControlValueError: the target does not fit `form`.
    """
    wanted = _expected(form)
    refused = ControlValueError(f"{name} must be {wanted}, got {value!r}.")
    if value is None or isinstance(value, str | bytes | Mapping):
        raise refused
    try:
        tensor = torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise refused from None
    whole = bool((tensor == tensor.round()).all())
    if not bool(torch.isfinite(tensor).all()):
        raise refused
    if form is None:
        return (tensor.to(torch.int64) if whole else tensor).tolist()
    if tuple(tensor.shape) != form.shape:
        raise refused
    if not form.dtype.is_floating_point:
        largest = 1 if form.dtype == torch.bool else torch.iinfo(form.dtype).max
        if not whole or bool((tensor < 0).any()) or bool((tensor > largest).any()):
            raise refused
    return tensor.to(form.dtype).tolist()


def _expected(form: TargetSpec | None) -> str:
    if form is None:
        return "a number or a list of numbers"
    one = "a number" if form.dtype.is_floating_point else "an integer of at least 0"
    if form.dtype == torch.bool:
        one = "False or True"
    return f"a list of shape {form.shape}, each {one}" if form.shape else one
