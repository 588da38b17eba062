"""Targets of a matrix of pairs."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from nbdebug.checks._context import CheckContext
from nbdebug.checks._model_hooks import Outermost, calls_observed
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.origin.source_line import user_line

MIN_ROWS, MAX_CALLS = 6, 8
LOSSES = frozenset({"cross_entropy", "nll_loss"})
EXPECTED = "another column for each row"


@dataclass(frozen=True)
class Matrix:
    """Scores [B, B] of pairs under a loss.

    Attributes:
        function, line: which asks for a column in each row; scores: with their graph.
        wanted: that column [B].
    """

    function: str
    line: str
    scores: torch.Tensor
    wanted: torch.Tensor


class ContrastiveTargets(Check):
    """Checks that each row of a matrix of pairs has a column of its own as its target.

    A contrastive loss compares each sample with each: the scores are a square, and the pair of row
    i stands in column i. With labels of zeros, which are right where the positive pair was put into
    the first column, each sample is drawn to the first one: the loss falls, and nothing is learned.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "contrastive_targets"
    step = 2
    order = 15
    title = "Pairs of a contrastive loss"
    source = "van den Oord et al. (2018), InfoNCE; Radford et al. (2021), CLIP"
    explains = ("overfit",)

    BATCHES = 3

    def examine(self, context: CheckContext) -> Outcome:
        seen = 0
        fault: Matrix | None = None
        for batch in context.batches[: self.BATCHES]:
            found, outputs = _matrices(context, batch)
            if not found:
                return Outcome("not_applicable", "the loss reads no matrix of pairs.")
            constant = [one for one in found if bool((one.wanted == one.wanted[0]).all())]
            fault = next((one for one in constant if _shares_column(one, outputs)), None)
            if fault is None:
                return Outcome("pass", f"{len(found)} matrices of pairs", EXPECTED)
            seen += 1
        if fault is None:
            return Outcome("not_applicable", "there is no batch.")
        column, where = int(fault.wanted[0]), f" ({fault.line})" if fault.line else ""
        return Outcome(
            "fail",
            f"the {len(fault.wanted)} targets of {fault.function}{where} are all {column}, in "
            f"{seen} of {seen} batches: every row of the square of scores is told that sample "
            f"{column} is its pair",
            EXPECTED,
            "The pair of row i stands on the diagonal: labels = torch.arange(len(scores)).",
        )  # fmt: skip


def _matrices(context: CheckContext, batch: Any) -> tuple[list[Matrix], list[torch.Tensor]]:
    """Squares of scores that the loss of a batch reads, and what the modules gave before it."""
    context.train()
    watch, outermost = _Watch(), Outermost()
    with calls_observed(context.model, outermost), torch.enable_grad(), watch:
        loss = context.evaluate(batch)[0]
    found = []
    for function, line, scores, target in watch.calls:
        wanted = _classes(target) if target is not None else _rewarded(loss, scores)
        if wanted is not None and len(wanted) == len(scores):
            found.append(Matrix(function, line, scores, wanted))
    return found, outermost.outputs


def _classes(target: torch.Tensor) -> torch.Tensor | None:
    """Class [B] of each row, of classes or of their probabilities."""
    wanted = target.detach()
    return wanted.argmax(1) if wanted.ndim == 2 else wanted if wanted.ndim == 1 else None


def _rewarded(loss: Any, scores: torch.Tensor) -> torch.Tensor | None:
    """The only column [B] of log-probabilities that the loss reads in each row."""
    if not isinstance(loss, torch.Tensor) or not loss.requires_grad:
        return None
    with suppress(RuntimeError):
        (slope,) = torch.autograd.grad(loss.sum(), [scores], retain_graph=True, allow_unused=True)
        if slope is not None and bool(((slope != 0).sum(1) == 1).all()):
            return slope.abs().argmax(1)
    return None


def _shares_column(matrix: Matrix, outputs: list[torch.Tensor]) -> bool:
    """True if the target's score of each row depends on the same other sample.

    Where the positive pair was put into the first column, it depends on the row's own sample.
    """
    column = int(matrix.wanted[0])
    rows = [row for row in range(len(matrix.scores)) if row != column][:3]
    sets = [_samples(matrix.scores[row], column, outputs, row) for row in rows]
    return bool(sets) and bool(set.intersection(*sets))


def _samples(
    scores: torch.Tensor, column: int, outputs: list[torch.Tensor], row: int
) -> set[tuple[int, int]]:
    """Other samples of outputs that the score of a column depends on, compared with any other."""
    found: set[tuple[int, int]] | None = None
    others = [place for place in range(len(scores)) if place not in (column, row)][:2]
    for other in others:
        try:
            slopes = torch.autograd.grad(
                scores[column] - scores[other], outputs, retain_graph=True, allow_unused=True
            )
        except RuntimeError:
            # The step has called backward itself.
            return set()
        now = {
            (number, sample)
            for number, slope in enumerate(slopes)
            if slope is not None
            for sample in slope.flatten(1).any(1).nonzero().flatten().tolist()
        }
        found = now if found is None else found & now
    return {one for one in found or set() if one[1] not in (row, len(scores) + row)}


class _Watch(TorchFunctionMode):
    """Notes squares of scores that a loss of classes reads."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, str, torch.Tensor, torch.Tensor | None]] = []

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        # Whatever a tensor of the user's own does here, the step goes on.
        with suppress(Exception):
            name = str(function.__name__)
            given = kwargs.get("input", args[0] if args else None)
            if len(self.calls) < MAX_CALLS and name in LOSSES and _is_square(given):
                target = kwargs.get("target", args[1] if len(args) > 1 else None)
                self.calls.append((name, user_line(), given, target))
            elif len(self.calls) < MAX_CALLS and name == "log_softmax" and _is_square(result):
                self.calls.append((name, user_line(), result, None))
        return result


def _is_square(scores: Any) -> bool:
    return (
        isinstance(scores, torch.Tensor)
        and scores.requires_grad
        and scores.ndim == 2
        and scores.shape[0] == scores.shape[1] >= MIN_ROWS
    )
