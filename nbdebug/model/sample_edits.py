"""What the user left out of the data or labelled anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from nbdebug.errors import ControlValueError, DataError


class TargetSpec(NamedTuple):
    """What the target of one sample is: its dtype and its shape."""

    dtype: torch.dtype
    shape: tuple[int, ...]


class SampleEdits:
    """Changes to the samples that batches hold; the data itself stays as it is.

    Attributes:
        excluded: indices of samples that no batch holds, sorted.
        relabelled: new targets, by the index of the sample.
        form: of the targets; None until a batch was seen.
        unavailable: why targets cannot be replaced, "" as far as is known.
        pairs_only: whether the last part of a batch counts as targets only in pairs.
    """

    def __init__(self) -> None:
        self.excluded: tuple[int, ...] = ()
        self.relabelled: dict[int, Any] = {}
        self.form: TargetSpec | None = None
        self.unavailable = ""
        self.pairs_only = False

    def kept(self, indices: torch.Tensor) -> torch.Tensor:
        """Which of the indices [N] are not left out, as booleans [N]."""
        return torch.isin(indices, torch.tensor(self.excluded, dtype=torch.int64), invert=True)

    def see(self, data: Any, count: int) -> None:
        """Learn from a batch of so many samples what targets are."""
        reason = self._no_targets(data, count)
        if reason:
            self.unavailable = reason
        else:
            self.form = TargetSpec(data[-1].dtype, tuple(data[-1].shape[1:]))

    def applied(self, data: Any, indices: torch.Tensor) -> Any:
        """A batch with its new targets; its own tensors are not written to.

        Args:
            indices: [B] of its samples.

        Raises:
            DataError: a new target does not fit.
        """
        if self.form is None and not self.unavailable:
            self.see(data, len(indices))
        places = [
            (place, self.relabelled[index])
            for place, index in enumerate(indices.tolist() if self.relabelled else ())
            if index in self.relabelled
        ]
        if not places:
            return data
        reason = self._no_targets(data, len(indices))
        if reason:
            raise DataError(f"relabelled cannot be applied: {reason} dbg.set(relabelled={{}}).")
        *inputs, targets = data
        targets = targets.clone()
        for place, value in places:
            new = torch.as_tensor(value, dtype=targets.dtype, device=targets.device)
            if new.shape != targets.shape[1:]:
                raise DataError(
                    f"relabelled cannot be applied: the target of sample {int(indices[place])} has "
                    f"shape {tuple(targets.shape[1:])}, the new one {tuple(new.shape)}."
                )
            targets[place] = new
        kind = type(data)
        return kind(*inputs, targets) if hasattr(data, "_fields") else kind((*inputs, targets))

    def _no_targets(self, data: Any, count: int) -> str:
        """Why a batch of so many samples has no targets that can be replaced; "" when it has."""
        if not isinstance(data, tuple | list) or len(data) < 2:
            return f"A batch is a {type(data).__name__}: expected (inputs, targets)."
        if self.pairs_only and len(data) != 2:
            return f"With a step_fn a batch of {len(data)} parts does not say which are targets."
        targets = data[-1]
        if not isinstance(targets, torch.Tensor):
            return f"The targets are a {type(targets).__name__}: expected a tensor."
        if not targets.ndim or len(targets) != count or targets.is_complex():
            return f"The targets are of shape {tuple(targets.shape)}: expected a row a sample."
        return ""


def plain_target(name: str, value: Any, form: TargetSpec | None) -> Any:
    """A new target as a number or nested lists of numbers.

    Args:
        name: what to call it in an error.
        form: what it must fit; None when nobody knows yet.

    Raises:
        ControlValueError: it does not fit.
    """
    wanted = _words(form)
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
        most = 1 if form.dtype == torch.bool else torch.iinfo(form.dtype).max
        if not whole or bool((tensor < 0).any()) or bool((tensor > most).any()):
            raise refused
    return tensor.to(form.dtype).tolist()


def _words(form: TargetSpec | None) -> str:
    if form is None:
        return "a number or a list of numbers"
    one = "a number" if form.dtype.is_floating_point else "a whole number from 0 on"
    if form.dtype == torch.bool:
        one = "False or True"
    return f"a list of shape {form.shape}, each {one}" if form.shape else one
