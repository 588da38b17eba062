"""Pairs and triplets of a loss, by the samples of the batch that they are made of."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.nn import functional

from nbdebug.checks._context import CheckContext
from nbdebug.checks._loss_calls import LossCall, loss_calls
from nbdebug.checks._loss_fault import Fault
from nbdebug.checks._model_calls import batch_tensors
from nbdebug.checks._model_hooks import Outermost
from nbdebug.model.precision import wide

TRIPLETS = ("triplet_margin_loss", "triplet_margin_with_distance_loss")
TWO = ("cosine_embedding_loss", "margin_ranking_loss")
PAIRED = (*TRIPLETS, *TWO)
FUNCTIONS = tuple(getattr(functional, name) for name in PAIRED)
MAX_ROWS, MIN_ROWS = 16, 8
MAX_RIGHT, MIN_WRONG = 0.2, 0.9
EXPECTED = "positives that are like the anchor, negatives that are not"


def wrong_roles(context: CheckContext, call: LossCall) -> Fault | None:
    """Tell of positives and negatives, or of signs, that labels or ranks of the batch deny."""
    outermost = Outermost()
    again = loss_calls(context, FUNCTIONS, observer=outermost)
    found = next((one for one in again if (one.name, one.line) == (call.name, call.line)), None)
    tensors = batch_tensors(context)
    if found is None or not outermost.outputs:
        return None
    if call.name == "margin_ranking_loss" and (fault := _of_columns(found, tensors)):
        return fault
    names = ("anchor", "positive", "negative") if call.name in TRIPLETS else ("input1", "input2")
    samples = [_samples(found.arguments[name], outermost.outputs) for name in names]
    places = [n for n, row in enumerate(zip(*samples, strict=False)) if None not in row]
    if len(places) < MIN_ROWS:
        return None
    rows = [torch.tensor([one[n] for n in places]) for one in samples]
    if call.name in TRIPLETS:
        return _of_triplets(rows, list(_labels(tensors, outermost)))
    target = found.numbers("target").flatten()
    if len(target) < max(places) + 1:
        return None
    signs = target[places].cpu()
    if call.name == "cosine_embedding_loss":
        return _of_pairs(rows, signs, list(_labels(tensors, outermost)))
    return _of_ranks(rows, signs, tensors)


def _samples(value: torch.Tensor, outputs: list[torch.Tensor]) -> list[int | None]:
    """The one sample of the only call of a model that each row depends on; None for others."""
    places: list[int | None] = []
    if not value.requires_grad or not value.ndim or len({len(one) for one in outputs}) != 1:
        return places
    for row in range(min(len(value), MAX_ROWS)):
        try:
            slopes = torch.autograd.grad(
                value[row].sum(), outputs, retain_graph=True, allow_unused=True
            )
        except RuntimeError:
            # The step has called backward itself.
            return []
        known = [one.flatten(1).any(1).nonzero().flatten() for one in slopes if one is not None]
        places.append(int(known[0][0]) if len(known) == 1 and len(known[0]) == 1 else None)
    return places


def _labels(tensors: list[torch.Tensor], outermost: Outermost) -> Iterator[torch.Tensor]:
    """Classes [B] of a batch: whole numbers of which several samples share one."""
    count = len(outermost.outputs[0])
    for one in tensors:
        if one.ndim and one.numel() == len(one) == count and not one.is_complex():
            values = one.flatten().cpu()
            if torch.equal(values, values.round()) and 2 <= len(values.unique()) <= count // 2:
                yield values


def _of_triplets(rows: list[torch.Tensor], labels: list[torch.Tensor]) -> Fault | None:
    shares = []
    for label in labels:
        anchor, positive, negative = (label[row] for row in rows)
        near, far = (float(wide(anchor == one).mean()) for one in (positive, negative))
        if near >= far:
            return None
        shares.append((near, far))
    if not shares or shares[0][0] > MAX_RIGHT or shares[0][1] < MIN_WRONG:
        return None
    near, far = shares[0]
    return Fault(
        f"{near:.0%} of the positives have the label of their anchor, and {far:.0%} of the "
        "negatives: the two have changed places", EXPECTED,
        "Check the order of the arguments: anchor, positive, negative.",
    )  # fmt: skip


def _of_pairs(
    rows: list[torch.Tensor], signs: torch.Tensor, labels: list[torch.Tensor]
) -> Fault | None:
    agree = [float(wide((label[rows[0]] == label[rows[1]]) == (signs > 0)).mean())
             for label in labels]  # fmt: skip
    if not agree or max(agree) > 1 - MIN_WRONG or len(signs.unique()) < 2:
        return None
    return Fault(
        "the target is 1 for samples of different labels, and -1 for those of one label",
        "1 for pairs that belong together", "Turn the target round: 1 where the labels are equal.",
    )  # fmt: skip


def _of_ranks(
    rows: list[torch.Tensor], signs: torch.Tensor, tensors: list[torch.Tensor]
) -> Fault | None:
    """A fault of pairs of one batch, whose ranks are in it."""
    count = int(max(row.max() for row in rows)) + 1
    ranks = [one.flatten().cpu() for one in tensors if one.ndim and one.numel() == len(one)]
    agree = [
        _agreement(one[rows[0]], one[rows[1]], signs) for one in ranks if len(one) >= count
    ]  # fmt: skip
    return _reversed(agree)


def _of_columns(call: LossCall, tensors: list[torch.Tensor]) -> Fault | None:
    """A fault of pairs that a batch holds side by side, with the rank of each."""
    signs = call.numbers("target").flatten().cpu()
    ranks = [one.flatten().cpu() for one in tensors if one.ndim and one.numel() == len(signs)]
    ranks = [one for one in ranks if len(one.unique()) > 2]
    if len(ranks) != 2 or len(signs) < MIN_ROWS:
        return None
    return _reversed([_agreement(ranks[0], ranks[1], signs)])


def _agreement(one: torch.Tensor, other: torch.Tensor, signs: torch.Tensor) -> float:
    """Share of pairs whose sign tells which rank is higher; a half where too few differ."""
    apart = (one != other) & (signs != 0)
    if int(apart.sum()) < MIN_ROWS:
        return 0.5
    return float(wide(((one > other) == (signs > 0))[apart]).mean())


def _reversed(agree: list[float]) -> Fault | None:
    # Ranks count from the best one, too: a place says nothing, a score does.
    if not agree or min(agree) > 1 - MIN_WRONG or max(agree) >= MIN_WRONG:
        return None
    return Fault(
        "the target is 1 where input2 has the larger number in the batch, and -1 where input1 has",
        "1 where input1 is to be ranked higher", "Turn the target round, or exchange input1 and "
        "input2; leave it if small numbers stand for the best.", "warning",
    )  # fmt: skip
