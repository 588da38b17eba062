"""Numbers that autocast rounds away."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nbdebug.checks._autocast import HALF, Seen, watched_precisions
from nbdebug.checks._context import CheckContext
from nbdebug.checks._detached_derivatives import SUMS
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome

MIN_ROWS, MIN_COLUMN_SHARE, MIN_SIZE_SHARE = 8, 0.1, 0.05
ROWS_SHARE = 0.75
MAX_REPEATED, MIN_DIFFERENCE_SHARE, MAX_OPERATIONS_BEFORE = 0.05, 0.05, 6


class AutocastRounding(Check):
    """Checks that autocast does not round away what the model computes.

    bfloat16 has 8 bits: it rounds the hours of a year to multiples of 32, and a wave of them is
    noise. The step is made as it is and in full precision, from the same random numbers, and the
    tensors of both are compared in order: three quarters of the numbers of a feature must be nearer
    to those of full precision than half of their spread. In healthy networks they are 1 to 10 % of
    it apart. A small difference of two numbers is not judged.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "autocast_rounding"
    step = 2
    order = 4
    title = "Rounding under autocast"
    source = "PyTorch, automatic mixed precision; Micikevicius et al. (2018)"
    explains = ("input_scale", "initial_loss", "overfit")

    MAX_LOST = 0.5

    def examine(self, context: CheckContext) -> Outcome:
        runs = watched_precisions(context)
        if runs is None:
            return Outcome("not_applicable", "the step does not use torch.autocast.")
        plain, again, full = runs
        place, lost = _first_lost(plain, again, full, self.MAX_LOST)
        expected = f"at most {self.MAX_LOST:.0%} of their spread"
        if place is None:
            seen = f"the tensors of a step are up to {lost:.2g} of their spread from those in full "
            return Outcome("pass", f"{seen}precision", expected)
        found, cause = plain[place], _cause(plain, full, place)
        kind = str(cause.dtype if cause.dtype in HALF else found.dtype).removeprefix("torch.")
        where = f" ({found.line})" if found.line else ""
        seen = f"the numbers of {found.name}{where} are {_apart(lost)} from those in full "
        seen += "precision"
        if cause is not found:
            at = f" ({cause.line})" if cause.line else ""
            seen += f", since {kind} rounds those of {cause.name}{at}"
        return Outcome(
            "fail", seen, expected,
            "Compute it outside of autocast, of inputs in float32: with "
            f"torch.autocast({context.subject.device.type!r}, enabled=False). Or make the numbers "
            "smaller first: centre and scale them.",
        )  # fmt: skip


def _apart(lost: float) -> str:
    return (
        "out of range, and Inf or NaN," if lost == float("inf") else f"{lost:.0%} of their spread"
    )


def _first_lost(
    plain: Sequence[Seen], again: Sequence[Seen], full: Sequence[Seen], most: float
) -> tuple[int | None, float]:
    """Place of the first tensor that is rounded away, and how far; None, and how far at most."""
    small: set[int] = set()
    worst = 0.0
    for place, (one, other, exact) in enumerate(zip(plain, again, full, strict=False)):
        shapes = {each.numbers.shape for each in (one, other, exact)}
        if len(shapes) > 1 or one.name != exact.name:
            # From here on the steps have gone other ways.
            break
        if any(given in small for given in one.given) or _is_difference(exact, full):
            small.add(place)
            continue
        lost = _lost(one.numbers, exact.numbers)
        if lost > MAX_REPEATED and _lost(one.numbers, other.numbers) > MAX_REPEATED:
            break
        if lost > most:
            return place, lost
        worst = max(worst, lost)
    return None, worst


def _is_difference(one: Seen, seen: Sequence[Seen]) -> bool:
    """True for a sum of numbers that nearly cancel each other."""
    if one.name not in SUMS or not one.numbers.dim():
        return False
    spreads = (_spread(seen[given].numbers) for given in one.given)
    return _spread(one.numbers) < MIN_DIFFERENCE_SHARE * max(spreads, default=0.0)


def _lost(rounded: torch.Tensor, exact: torch.Tensor) -> float:
    """Largest distance of a feature in most rows, as a share of its spread; Inf out of range.

    The spread counts as at least a twentieth of the size of its numbers: what lies far from 0 is
    judged where that offset is gone, such as behind a norm or a difference.
    """
    finite = exact.isfinite()
    if bool((finite & ~rounded.isfinite()).any()):
        return float("inf")
    off = torch.where(finite, (rounded - exact).abs(), torch.nan)
    exact = torch.where(finite, exact, torch.nan)
    spread = _deviation(exact.flatten()[:, None])
    axes = {0} if exact.dim() < 2 else {1, exact.dim() - 1}
    found = 0.0
    for axis in axes if exact.dim() else ():
        columns, apart = (
            each[:, None] if each.dim() < 2 else each.movedim(axis, -1).flatten(0, -2)
            for each in (exact, off)
        )
        if len(columns) < MIN_ROWS:
            continue
        scale = _deviation(columns).clamp(min=MIN_COLUMN_SHARE * float(spread))
        scale = torch.maximum(scale, MIN_SIZE_SHARE * columns.square().nanmean(0).sqrt())
        shares = torch.where(scale > 0, apart.nanquantile(ROWS_SHARE, 0) / scale, 0)
        found = max(found, float(shares.nan_to_num().max()))
    return found


def _spread(numbers: torch.Tensor) -> float:
    """Standard deviation within a feature, on average; 0 of few numbers."""
    rows = numbers.flatten(0, -2) if numbers.dim() > 1 else numbers.reshape(-1, 1)
    return float(_deviation(rows).mean()) if len(rows) >= MIN_ROWS else 0.0


def _deviation(columns: torch.Tensor) -> torch.Tensor:
    """Standard deviation of each column [M, N] without NaN, [N]."""
    apart = columns - columns.nanmean(0)
    return apart.square().nanmean(0).sqrt()


def _cause(plain: Sequence[Seen], full: Sequence[Seen], place: int) -> Seen:
    """The operation that is rounded most: this one, or one of the last before it.

    Args:
        plain: tensors of the step as it is; full: in full precision.
    """
    known = latest = {place}
    for _ in range(MAX_OPERATIONS_BEFORE):
        latest = {given for each in latest for given in plain[each].given} - known
        known = known | latest
    sizes = {each: _rounding(plain[each].dtype, full[each].numbers) for each in known}
    worst = max(sizes, key=lambda each: (sizes[each], each))
    return plain[worst] if sizes[worst] else plain[place]


def _rounding(dtype: torch.dtype, exact: torch.Tensor) -> float:
    """Largest distance of numbers from themselves in half precision; 0 for other dtypes."""
    if dtype not in HALF or not exact.numel():
        return 0.0
    return float((exact.to(dtype).float() - exact).abs().nan_to_num().max())
