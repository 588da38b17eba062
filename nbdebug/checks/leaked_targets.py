"""Targets among the inputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from nbdebug.checks._context import CheckContext
from nbdebug.checks._leaked_numbers import leaked_numbers
from nbdebug.checks._operations import bare_name
from nbdebug.checks._samples import limited_by_time
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.errors import DataError
from nbdebug.model.module.forward import leaves, split
from nbdebug.model.precision import wide

MIN_SAMPLES, MAX_COLUMNS = 64, 4096
MIN_HELD_OUT = 32
# Functions that take numbers of rows.
LOOKUPS = frozenset({"embedding", "embedding_bag", "one_hot", "getitem", "index_select"})


class LeakedTargets(Check):
    """Checks that no column of the inputs is the class or the number that is to be predicted.

    A table that was read with its last column, or a target that was encoded before it was
    dropped, makes a model that is perfect on this data and useless on new data; so does a window
    of a series that reaches one value too far. A word of a sequence may well tell the class, by a
    rule that the model is to learn: one that tells it in the training data alone does not.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "leaked_targets"
    step = 4
    order = 23
    title = "No input is the target"
    source = "Kaufman et al. (2012), Leakage in Data Mining"
    # No loss before training: only a trained model makes use of a leak.
    explains = ("signal",)

    MAX_SHARE = 0.9

    def examine(self, context: CheckContext) -> Outcome:
        found = _table(context)
        if isinstance(found, str):
            return _of_numbers(context) or Outcome("not_applicable", found)
        inputs, targets = found
        columns = _of_classes(inputs, targets)
        varying = int((inputs != inputs[:1]).any(0).sum())
        # Of a toy problem, each column may tell the class.
        if columns and len(columns) <= varying / 2:
            words = _words(context) & set(columns)
            same = {c for c in words if bool((inputs[:, c] == targets).all())}
            alone = self._alone(context, inputs, targets, words - same)
            told = [c for c in columns if c not in words or c in same or c in alone]
            if told:
                return _leak(told, len(inputs), bool(alone) and set(told) <= alone)
        return Outcome("pass", f"none of {inputs.shape[1]} columns", "inputs without the target")

    def _alone(
        self, context: CheckContext, inputs: torch.Tensor, targets: torch.Tensor, words: set[int]
    ) -> set[int]:
        """Columns among `words` that do not tell the class in the validation data."""
        if not words or context.samples.held_out is None:
            return set()
        found = _joined(limited_by_time(context.samples.held_out()))
        if isinstance(found, str) or found[0].shape[1] != inputs.shape[1]:
            return set()
        classes, first = _first_rows(targets)
        place = torch.searchsorted(classes, found[1]).clamp_max(len(classes) - 1)
        known = classes[place] == found[1]
        if int(known.sum()) < MIN_HELD_OUT:
            return set()
        same = wide(inputs[first[place]] == found[0])[known].mean(0)
        return {column for column in words if float(same[column]) < self.MAX_SHARE}


def _of_numbers(context: CheckContext) -> Outcome | None:
    """Outcome where numbers are to be predicted; None where they are not."""
    with suppress(DataError):
        found = leaked_numbers(context.alike)
        if isinstance(found, str):
            return None
        width = context.inputs[0].numel()
        # Of a toy problem, each column may tell the number.
        if not 0 < len(found) <= width / 2:
            return Outcome("pass", f"none of {width} columns", "inputs without the target")
        names, several = ", ".join(map(str, found[:5])), len(found) > 1
        plural, verb = ("s", "are") if several else ("", "is")
        return Outcome(
            "warning",
            f"column{plural} {names} of the inputs (of {width}, from 0) {verb} the number that is "
            "to be predicted, but for its unit, in all samples",
            "inputs without the target",
            f"Leave column{plural} {names} out. A window of a series has to end before its target: "
            "x = series[i : i + L], y = series[i + L].",
        )
    return None


def _leak(columns: list[int], count: int, alone: bool) -> Outcome:
    names, plural = ", ".join(map(str, columns[:5])), "s" if len(columns) > 1 else ""
    seen = f"column{plural} {names} of the inputs {'give' if plural else 'gives'} the class of "
    seen += f"each sample, in all of {count} samples"
    if alone:
        seen += ", and not in the validation data"
    remedy = f"Leave column{plural} {names} out of the inputs, unless it is known before the "
    return Outcome("warning", seen, "inputs without the target", f"{remedy}target is.")


def _first_rows(targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sorted values [C] of targets [N], and a row [C] of each."""
    values, place = targets.unique(return_inverse=True)
    rows = torch.arange(len(targets), device=targets.device)
    return values, rows.new_zeros(len(values)).scatter_(0, place, rows)


def _words(context: CheckContext) -> set[int]:
    """Columns of the inputs that the model looks up together with others: places of a sequence."""
    watch = _Lookups()
    context.train()
    with watch, torch.enable_grad():
        context.evaluate(context.batch)
    inputs, found = context.inputs, set[int]()
    for indices in watch.found.values():
        rows = [one.reshape(len(inputs), -1) for one in indices if one.numel() % len(inputs) == 0]
        if rows:
            equal = (inputs[:, :, None] == torch.cat(rows, 1)[:, None]).all(0)
            columns = set(equal.any(1).nonzero().flatten().tolist())
            found |= columns if len(columns) > 1 else set()
    return found


class _Lookups(TorchFunctionMode):
    """Notes the numbers of rows that are looked up in each weight, or made to 0 and 1."""

    def __init__(self) -> None:
        super().__init__()
        self.found: defaultdict[Any, list[torch.Tensor]] = defaultdict(list)

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        with suppress(Exception):
            name = bare_name(function)
            if name in LOOKUPS:
                given = [one for one in leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
                weights = [id(one) for one in given if one.is_floating_point()]
                whole = [one for one in given if not one.is_floating_point()]
                if whole and whole[0].dtype is not torch.bool and (weights or name == "one_hot"):
                    self.found[(*weights, name)[0]].append(whole[0])
        return function(*args, **kwargs)


def _table(context: CheckContext) -> tuple[torch.Tensor, torch.Tensor] | str:
    """Inputs [N, F] of several columns and targets [N] of some batches; or why there are none."""
    try:
        pairs = context.alike
    except DataError:
        return "a batch is not (inputs, targets)."
    return _of_pairs(pairs)


def _joined(batches: Iterable[Any]) -> tuple[torch.Tensor, torch.Tensor] | str:
    """Inputs [N, F] and targets [N] of batches, as `_table`."""
    try:
        pairs = [split(batch) for batch in batches]
    except DataError:
        return "a batch is not (inputs, targets)."
    if len({tuple(getattr(part, "shape", ())[1:]) for part, _ in pairs}) != 1:
        return "the samples differ in shape."
    return _of_pairs(pairs)


def _of_pairs(pairs: Sequence[tuple[Any, Any]]) -> tuple[torch.Tensor, torch.Tensor] | str:
    if not all(isinstance(part, torch.Tensor) for pair in pairs for part in pair):
        return "inputs or targets are not a single tensor."
    inputs, targets = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    if inputs.ndim != 2 or not 2 <= inputs.shape[1] <= MAX_COLUMNS:
        return "the inputs are no table of several columns."
    if targets.numel() != len(inputs) or len(inputs) < MIN_SAMPLES or inputs.is_complex():
        return "there is no target for each row of the inputs."
    if targets.is_floating_point() and len(targets.unique()) > 2:
        return "the targets are no classes."
    return wide(inputs), targets.flatten()


def _of_classes(inputs: torch.Tensor, targets: torch.Tensor) -> list[int]:
    """One column [N, F] with a value for each class, or those of a one-hot encoding."""
    values, labels = targets.unique(return_inverse=True)
    count = len(values)
    if count < 2 or count > 1000:
        return []
    low = torch.full((count, inputs.shape[1]), torch.inf, dtype=inputs.dtype, device=inputs.device)
    index = labels[:, None].expand_as(inputs)
    low = low.scatter_reduce(0, index, inputs, "amin")
    high = (-low.abs()).fill_(-torch.inf).scatter_reduce(0, index, inputs, "amax")
    # Of one value in each class: another one in each, or 1 in one class and 0 in the others.
    constant = (low == high).all(0)
    single = []
    for column in constant.nonzero().flatten().tolist():
        if len(low[:, column].unique()) == count:
            single.append(column)
    if single:
        return single
    ones = constant & (low.sum(0) == 1) & ((low == 0) | (low == 1)).all(0)
    found = ones.nonzero().flatten().tolist()
    classes = {int(low[:, column].argmax()) for column in found}
    return found if len(classes) >= max(2, count - 1) else []
