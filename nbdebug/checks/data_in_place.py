"""Data that reading or training changes in place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from nbdebug.checks._context import CheckContext
from nbdebug.checks._same_memory import rewritten_input
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import leaves
from nbdebug.model.origin.source_line import user_line
from nbdebug.model.state.digest import batch_digest

READ_SAMPLES, SEED = 4, 0
MAX_ENTRIES, MAX_BYTES, MAX_DEPTH = 64, 2**25, 3
Array = torch.Tensor | np.ndarray[Any, Any]


class DataInPlace(Check):
    """Checks that neither reading a sample nor a training step changes the stored data.

    `x -= mean` or `x.mul_(2)` on an array that the dataset holds changes the data itself: each
    epoch sees other numbers, which drift or shrink to nothing, and no run can be repeated. Samples
    are read again to see if they are the same, and a step is watched for writes to its batch, also
    of a loop that goes through a list of batches, or that takes slices of a tensor or an array. To
    write the same numbers again does no harm.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "data_in_place"
    step = 4
    order = 12
    title = "Data is not changed in place"
    source = "PyTorch, in-place operations; numpy, copies and views"
    explains = ("seeds", "input_scale")
    sees_step = True
    alters = True

    def examine(self, context: CheckContext) -> Outcome:
        held = context.samples.held
        if held is None:
            return self._of_memory(context)
        kept = _Kept(held)
        try:
            with context.samples.moving():
                found = self._of_reading(context, kept)
            return found or self._of_step(context, kept)
        finally:
            kept.restore()

    def _of_memory(self, context: CheckContext) -> Outcome:
        """Of a loop that takes its batches from tensors and arrays itself."""
        line = rewritten_input(context)
        if line is None:
            return Outcome("not_applicable", "no dataset holds the data.")
        where = f": {line}" if line else ""
        return Outcome(
            "fail", "a step writes into its inputs, which are a part of the stored data, so that "
            f"each epoch sees other numbers{where}", "data that stays as it is",
            "Slices and views are the data itself: .clone() them before changing (.copy() of an "
            "array).",
        )  # fmt: skip

    def _of_reading(self, context: CheckContext, kept: _Kept) -> Outcome | None:
        samples = context.samples
        if samples.fetch is None or not samples.length:
            return None
        chosen = list(range(min(READ_SAMPLES, samples.length)))
        # The first time some datasets fill a cache.
        samples.read(chosen, SEED)
        kept.renew()
        before = batch_digest(samples.read(chosen, SEED))
        lines = _Writes(kept.tensors())
        with lines:
            again = batch_digest(samples.read(chosen, SEED))
        changed = kept.changed()
        if before == again or not changed:
            return None
        where = f"; {lines.line}" if lines.line else ""
        kind = type(samples.held).__name__
        return Outcome(
            "fail", f"reading samples of {kind} changes its {changed} in place: the same samples "
            f"come with other numbers the next time{where}", "the same numbers again",
            f"Copy in __getitem__ before changing: .clone() of a tensor, .copy() of an array "
            f"({changed}).",
        )  # fmt: skip

    def _of_step(self, context: CheckContext, kept: _Kept) -> Outcome:
        samples, batch = context.samples, context.batch
        if samples.fetch is not None and samples.length:
            batch = samples.read(list(range(min(samples.batch_size, samples.length))), SEED)
        tensors = [one for one in leaves(batch) if isinstance(one, torch.Tensor)]
        versions = [one._version for one in tensors]
        lines = _Writes(tensors)
        stored, expected = kept.storages(), "data that stays as it is"
        context.train()
        with torch.enable_grad(), context.in_turn():
            with lines:
                context.evaluate(batch)
            pairs = zip(tensors, versions, strict=True)
            written = [one for one, version in pairs if one._version != version]
            if not any(one.untyped_storage().data_ptr() in stored for one in written):
                return Outcome("pass", "reading and a step leave the data as it is", expected)
            kept.renew()
            context.evaluate(batch)
            # Behind this context the data of a loop go back.
            drifts = bool(kept.changed())
        if not drifts:
            return Outcome("pass", "a step writes the same numbers into its batch again", expected)
        where = f": {lines.line}" if lines.line else ""
        return Outcome(
            "fail", f"a step writes into its batch, which is the stored data itself{where}",
            expected, "Use the operation without the underscore, or .clone() the batch first.",
        )  # fmt: skip


class _Writes(TorchFunctionMode):
    """Notes the line of the first operation that writes into some tensors."""

    def __init__(self, tensors: list[torch.Tensor]) -> None:
        super().__init__()
        self._tensors, self.line = tensors, ""
        self._versions = [one._version for one in tensors]

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if not self.line:
            pairs = zip(self._tensors, self._versions, strict=True)
            if any(one._version != version for one, version in pairs):
                self.line = user_line()
        return result


class _Kept:
    """The arrays of a dataset by name, with copies of them."""

    def __init__(self, held: Any) -> None:
        self._arrays = dict(_arrays(held, "", MAX_DEPTH))
        total = 0
        for name, array in list(self._arrays.items()):
            total += array.nbytes
            if total > MAX_BYTES:
                del self._arrays[name]
        self._first = self._now = self._copies()

    def _copies(self) -> dict[str, Array]:
        return {
            name: one.detach().clone() if isinstance(one, torch.Tensor) else one.copy()
            for name, one in self._arrays.items()
        }

    def renew(self) -> None:
        """Copy again: what changed so far does not count."""
        self._now = self._copies()

    def tensors(self) -> list[torch.Tensor]:
        """Those arrays that are tensors."""
        return [one for one in self._arrays.values() if isinstance(one, torch.Tensor)]

    def storages(self) -> set[int]:
        """Addresses of the memory of the arrays."""
        return {
            one.untyped_storage().data_ptr()
            if isinstance(one, torch.Tensor)
            else torch.from_numpy(one).untyped_storage().data_ptr()
            for one in self._arrays.values()
            if isinstance(one, torch.Tensor) or one.dtype.kind in "fiub"
        }

    def changed(self) -> str:
        """Names of the first arrays that are not as they were; "" without any."""
        names = [n for n, one in self._arrays.items() if not _same(one, self._now[n])]
        return ", ".join(names[:2])

    def restore(self) -> None:
        """Put the numbers back."""
        for name, one in self._arrays.items():
            if not _same(one, self._first[name]):
                # Such as an array that may only be read.
                with suppress(ValueError, RuntimeError), torch.no_grad():
                    one[...] = self._first[name]  # type: ignore[assignment]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return batch_digest(one) == batch_digest(other)
    return one.tobytes() == other.tobytes()  # type: ignore[no-any-return]


def _arrays(value: Any, name: str, depth: int) -> Iterator[tuple[str, Array]]:
    """Tensors and arrays that an object reaches by attributes, keys and places."""
    if isinstance(value, torch.Tensor):
        if value.layout is torch.strided and not value.requires_grad:
            yield name or "tensors", value
    elif isinstance(value, np.ndarray):
        if value.dtype != object:
            yield name or "arrays", value
    elif depth and isinstance(value, list | tuple | dict):
        items = list(value.items() if isinstance(value, dict) else enumerate(value))
        for key, part in items[:MAX_ENTRIES]:
            yield from _arrays(part, f"{name}[{key!r}]", depth - 1)
    elif depth and isinstance(value, torch.utils.data.Dataset):
        for key, part in list(vars(value).items()):
            yield from _arrays(part, f"{name}.{key}" if name else key, depth - 1)
