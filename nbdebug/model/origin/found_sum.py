"""Loss of a step that is the sum of one for each of several calls of a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import torch

from nbdebug.model.module.forward import tensors_of
from nbdebug.model.origin.found_loss import (
    MAX_NODES,
    SCALES,
    TOLERANCE,
    End,
    Found,
    FoundLoss,
    end_of,
    factor_of,
    found_at,
    loss_again,
)
from nbdebug.model.origin.graph import name_of, saved


class FoundSum(NamedTuple):
    """A sum of the same loss for several calls of a model.

    Attributes:
        loss_fn: of one call; rounds: number of the call that each term is of.
        targets: of each term.
    """

    loss_fn: FoundLoss
    rounds: tuple[int, ...]
    targets: tuple[torch.Tensor, ...]


def find_sum(loss: torch.Tensor, calls: Sequence[Any]) -> FoundSum | None:
    """Loss function of a loss that is the sum of one for each of several calls of a model.

    All terms weigh the same, are of calls of their own and of as many samples, so that the loss is
    that of all samples together.

    Args:
        loss: of one number, before its backward pass; calls: what each of them returned.
    """
    with suppress(Exception):
        ends = _terms(loss.grad_fn)
        parts = [list(tensors_of(outputs)) for outputs in calls]
        found: dict[int, tuple[Found, End]] = {}
        for end in ends:
            for number, outputs in enumerate(parts):
                term = found_at(end, outputs)
                if term is not None and number not in found:
                    found[number] = term, end
                    break
        terms = list(found.values())
        first, end = terms[0]
        again = sum(loss_again(term, its_end, calls[n]) for n, (term, its_end) in found.items())
        same = len(terms) == len(ends) > 1 and math.isclose(
            again, float(loss.detach()), rel_tol=TOLERANCE
        )
        alike = {(f.loss_fn.recipe, e.factor, f.targets.shape) for f, e in terms}
        if not same or len(alike) > 1:
            return None
        if first.loss_fn.reduction == "sum" or end.factor < 0:
            first.loss_fn.scale = end.factor
        return FoundSum(first.loss_fn, tuple(found), tuple(f.targets for f, _ in terms))
    return None


def _terms(node: Any) -> list[End]:
    """Ends of the terms of a sum, each with the factor that stands before it.

    Raises:
        ValueError: a term is no criterion.
    """
    waiting: list[tuple[Any, float]] = [(node, 1.0)]
    found: list[End] = []
    while waiting:
        node, factor = waiting.pop()
        following = [one for one, _ in node.next_functions]
        if name_of(node) == "Add" and saved(node, "alpha") == 1:
            waiting += [(one, factor) for one in reversed(following) if one is not None]
            continue
        number = factor_of(node) if name_of(node) in SCALES else None
        inner = next((one for one in following if one is not None), None)
        if number is not None and inner is not None and name_of(inner) in ("Add", *SCALES):
            waiting.append((inner, factor * number))
            continue
        end = end_of(node)
        if end is None or len(found) == MAX_NODES:
            raise ValueError
        found.append(end._replace(factor=end.factor * factor))
    return found
