"""Codes of missing values that are taken for numbers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks._far_values import FarValue, far_value
from nbdebug.checks._samples import limited_by_time
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.module.forward import leaves, split, with_leaves

MAX_BATCHES, MAX_ROWS, MAX_NUMBERS = 64, 2048, 5_000_000
EXPECTED = "no value that stands alone far from the others"


class SentinelValues(Check):
    """Checks that no code of a missing value is taken for a number.

    Tables and sensors write -999, 9999 or 1e9 where a value is missing. As a target, a few such
    rows rule a squared error; as an input, they squeeze all real values together. A loss that
    leaves such targets out, and a model that replaces such inputs, are no fault: the loss and the
    outputs with and without these rows are compared.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "sentinel_values"
    step = 4
    order = 9
    title = "Codes of missing values"
    source = "pandas, working with missing data; scikit-learn, imputation of missing values"
    explains = (
        "labels", "input_scale", "validation_scale", "initial_loss", "overfit", "prior_bias",
        "gradient_ratio", "saturated_units", "dead_units", "lr_range",
    )  # fmt: skip

    MIN_LOSS_RATIO = 2.0

    def examine(self, context: CheckContext) -> Outcome:
        pairs = list(_pairs(context))
        seen = 0
        for place, name in enumerate(("inputs", "targets")):
            parts = [pair[place] for pair in pairs]
            columns = _columns(parts)
            if columns is None:
                continue
            seen += 1
            found = far_value(columns, others_too=name == "targets")
            if found is None:
                continue
            acts = self._rules_loss if name == "targets" else self._moves_outputs
            if acts(context, place, found):
                return _outcome(name, found, columns)
        if not seen:
            return Outcome("not_applicable", "neither inputs nor targets are real numbers.")
        return Outcome("pass", "no value stands alone far from all others", EXPECTED)

    def _rules_loss(self, context: CheckContext, place: int, found: FarValue) -> bool:
        """True if a batch with these targets has a much larger loss than with other rows."""
        for batch in _batches_with(context, place, found):
            rows, others = _rows(split(batch)[place], found)
            index = torch.arange(len(rows) + len(others), device=rows.device)
            index[rows] = others[torch.arange(len(rows), device=rows.device) % len(others)]
            whole = len(index)

            def chosen(leaf: Any, index: torch.Tensor = index, whole: int = whole) -> Any:
                cut = isinstance(leaf, torch.Tensor) and leaf.ndim and len(leaf) == whole
                return leaf[index] if cut else leaf

            with_them = abs(float(context.look(batch)[0]))
            without = abs(float(context.look(with_leaves(batch, chosen))[0]))
            return not with_them < self.MIN_LOSS_RATIO * without
        return False

    def _moves_outputs(self, context: CheckContext, place: int, found: FarValue) -> bool:
        """True if outputs for these rows differ from those for usual values by their spread."""
        for batch in _batches_with(context, place, found):
            inputs = split(batch)[place]
            rows, others = _rows(inputs, found)
            usual = inputs[rows].clone()
            usual[usual == found.value] = (found.low + found.high) / 2
            given, changed, rest = (
                next((x for x in leaves(context.outputs(one)) if isinstance(x, torch.Tensor)), None)
                for one in (inputs[rows], usual, inputs[others])
            )
            if given is None or changed is None or rest is None or len(others) < 2:
                return False
            moved = float((given - changed).abs().float().mean())
            return not moved <= float(rest.float().std(0).mean())
        return False


def _outcome(name: str, found: FarValue, columns: torch.Tensor) -> Outcome:
    which = f" of column {found.column}" if columns.shape[1] > 1 else ""
    return Outcome(
        "warning",
        f"{found.share:.2g} of the {name}{which} are {found.value:.6g}; all others lie between "
        f"{found.low:.3g} and {found.high:.3g}: a code of a missing value, or an outlier",
        EXPECTED,
        f"Leave these rows out, or fill in their {name}, before anything is computed of the data; "
        "a loss can leave them out by a mask.",
    )  # fmt: skip


def _pairs(context: CheckContext) -> Iterator[tuple[Any, Any]]:
    """Inputs and targets of some batches."""
    samples, rows = context.samples, 0
    known = samples.fetch is not None and samples.length and samples.others is None
    batches = limited_by_time(samples.epoch()) if known else iter(context.data)
    for batch in islice(batches, MAX_BATCHES):
        pair = split(batch)
        yield pair
        rows += len(pair[1]) if isinstance(pair[1], torch.Tensor) and pair[1].ndim else 1
        if rows >= MAX_ROWS:
            return


def _columns(parts: list[Any]) -> torch.Tensor | None:
    """Columns [N, D] of tables; numbers of anything else as one column; None without numbers."""
    real = all(
        isinstance(x, torch.Tensor)
        and x.is_floating_point()
        and x.ndim
        and x.layout is torch.strided
        for x in parts
    )
    if not parts or not real or len({x.shape[1:] for x in parts}) > 1:
        return None
    if sum(x.numel() for x in parts) > MAX_NUMBERS:
        parts = parts[:1]
    whole = torch.cat(parts)
    if whole.ndim == 1 or not whole.numel():
        return whole[:, None] if whole.numel() else None
    return whole if whole.ndim == 2 else whole.flatten()[:, None]


def _rows(part: torch.Tensor, found: FarValue) -> tuple[torch.Tensor, torch.Tensor]:
    """Places [B] of the rows of a batch with this value, and of those without it."""
    has = (part.detach() == found.value).reshape(len(part), -1).any(1)
    return has.nonzero().flatten(), (~has).nonzero().flatten()


def _batches_with(context: CheckContext, place: int, found: FarValue) -> Iterator[Any]:
    """Batches that the model and the loss may be given, with this value in some of their rows."""
    free = context.loss_fn is not None
    more = [batch for batch in context.data if free]
    for batch in [*context.batches, *more]:
        part = split(batch)[place]
        if isinstance(part, torch.Tensor) and part.ndim:
            rows, others = _rows(part, found)
            if len(rows) and len(others):
                yield batch
