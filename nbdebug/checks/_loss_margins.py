"""Arguments that losses of margins, counts and variances forbid, told by their numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nbdebug.checks._loss_calls import LossCall
from nbdebug.checks._loss_fault import PROBABILITIES, UNIT, Fault, range_of
from nbdebug.model.precision import wide

MIN_TRIPLETS, MIN_DEVIATIONS, MIN_RATIO = 16, 6.0, 1.1
MAX_FLOOR_SHARE, MAX_NEGATIVE_SHARE, MIN_EQUAL_SHARE = 0.05, 0.02, 0.9


def signs(call: LossCall) -> Fault | None:
    """Tell a fault of targets that are to be -1 and 1."""
    target = call.counted(call.numbers("target"))
    zeros = target == 0
    # A 0 between -1 and 1 may be a tie.
    if not target.numel() or not bool(zeros.any()) or not bool((zeros | (target == 1)).all()):
        return None
    return Fault(
        "the target is 0 and 1: a 0 is neither", "targets of -1 and 1", "Pass 2 * target - 1."
    )


def distances(call: LossCall) -> Fault | None:
    """Tell a fault of hinge_embedding_loss."""
    fault = signs(call)
    values, target = call.numbers("input"), call.numbers("target")
    if fault is None and values.shape == target.shape:
        near = call.counted(torch.where(target == 1, values, 0.0))
        share = float(wide(near < -UNIT).mean()) if near.numel() else 0.0
        if share > MAX_NEGATIVE_SHARE:
            return Fault(
                f"{range_of('input', values)}: where the target is 1 the loss falls without bound",
                "distances, at least 0", "Pass a distance of two samples; for scores of one, use "
                "soft_margin_loss.",
            )  # fmt: skip
    return fault


def ranks(call: LossCall) -> Fault | None:
    """Tell a fault of margin_ranking_loss."""
    return signs(call) or _equal(call, "input1", "input2")


def cosine(call: LossCall) -> Fault | None:
    """Tell a fault of cosine_embedding_loss."""
    margin = float(call.arguments["margin"])
    if abs(margin) > 1:
        return Fault(f"margin={margin:g}", "a cosine, from -1 to 1", "Use a margin from 0 to 0.5.")
    return signs(call) or _equal(call, "input1", "input2")


def _equal(call: LossCall, one: str, other: str) -> Fault | None:
    """A fault of two arguments that are the same in almost all rows, though others differ."""
    first, second = call.numbers(one), call.numbers(other)
    if first.shape != second.shape or len(first.flatten()) < 2 or _is_constant(first):
        return None
    same = (first == second).reshape(len(first), -1).all(1)
    if float(wide(same).mean()) < MIN_EQUAL_SHARE:
        return None
    return Fault(
        f"{one} and {other} are equal", "different samples",
        f"Compute {other} from another sample than {one}.",
    )  # fmt: skip


def _is_constant(values: torch.Tensor) -> bool:
    return bool((values == values[:1]).all())


def triplets(call: LossCall) -> Fault | None:
    """Tell a fault of losses of triplets."""
    for one, other in (("anchor", "positive"), ("anchor", "negative"), ("positive", "negative")):
        fault = _equal(call, one, other)
        if fault is not None:
            return fault
    margin, anchor = float(call.arguments["margin"]), call.numbers("anchor")
    unit = (call.numbers(n).norm(dim=-1) for n in ("anchor", "positive", "negative"))
    bounded = anchor.ndim > 1 and all(bool((u - 1).abs().max() < UNIT) for u in unit)
    if bounded and margin > 2 and call.name == "triplet_margin_loss":
        return Fault(
            f"margin={margin:g} for vectors of length 1, which are at most 2 apart",
            "a margin that can be reached", "Use a margin from 0.1 to 1.",
        )  # fmt: skip
    return None


def changed_places(calls: Sequence[LossCall]) -> Fault | None:
    """Tell if negatives are nearer than positives, which were not chosen by their distance."""
    found = [one for one in map(_distances, calls) if one is not None]
    if not found or sum(map(len, (near for near, _ in found))) < MIN_TRIPLETS:
        return None
    near, far = (torch.cat(part) for part in zip(*found, strict=True))
    apart = wide(near - far)
    deviation = apart.std() / len(apart) ** 0.5
    if apart.mean() <= MIN_DEVIATIONS * deviation or near.mean() < MIN_RATIO * far.mean():
        return None
    return Fault(
        f"the positives lie {float(near.mean() / far.mean()):.2g} times as far from the anchors as "
        "the negatives", "positives that are like the anchor, negatives that are not",
        "Check the order of the arguments: anchor, positive, negative.", "warning",
    )  # fmt: skip


def _distances(call: LossCall) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Distances [N] of positives and of negatives; None if they were chosen by these."""
    names = "anchor", "positive", "negative"
    anchor, positive, negative = (call.numbers(name) for name in names)
    if any(call.is_chosen(name) for name in names) or anchor.ndim != 2:
        return None
    if not anchor.shape == positive.shape == negative.shape:
        return None
    return (anchor - positive).norm(dim=1), (anchor - negative).norm(dim=1)


def several(call: LossCall) -> Fault | None:
    """Tell a fault of multilabel_margin_loss."""
    target = call.numbers("target")
    if target.shape[-1] < 3 or not bool(((target == 0) | (target == 1)).all()):
        return None
    return Fault(
        "the target is 0 and 1 for each class", "numbers of the classes, then -1",
        "Use multilabel_soft_margin_loss, which takes 0 and 1.",
    )  # fmt: skip


def counts(call: LossCall) -> Fault | None:
    """Tell a fault of poisson_nll_loss."""
    values, target = call.counted(call.numbers("input")), call.counted(call.numbers("target"))
    made = call.made_by("input")
    if target.numel() and float(target.min()) < -UNIT:
        return Fault(range_of("target", target), "counts, at least 0", "Pass counts as they are.")
    if call.arguments["log_input"] and made in ("Exp", "Softplus", "Relu", *PROBABILITIES):
        return Fault(
            f"the input comes from {made.lower()}, and log_input is True", "logarithms of rates",
            f"Pass log_input=False, or leave out the {made.lower()}.",
        )  # fmt: skip
    if not call.arguments["log_input"] and values.numel() and float(values.min()) < -UNIT:
        return Fault(
            f"{range_of('input', values)}, and log_input is False", "rates above 0",
            "Leave out log_input=False, or apply softplus to the outputs.",
        )  # fmt: skip
    return None


def variances(call: LossCall) -> Fault | None:
    """Tell a fault of gaussian_nll_loss."""
    variance = call.arguments["var"]
    if not isinstance(variance, torch.Tensor) or not variance.requires_grad:
        return None
    values = wide(variance.detach())
    share = float(wide(values <= float(call.arguments["eps"]) * 1.001).mean())
    if share <= MAX_FLOOR_SHARE:
        return None
    return Fault(
        f"{share:.0%} of the variances are at the smallest number, where no gradient comes back",
        "variances above 0", "Pass a variance that is positive by itself: exp of an output that is "
        "its logarithm, or softplus.",
    )  # fmt: skip
