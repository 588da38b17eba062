"""Arguments that losses of probabilities forbid, told by their numbers."""

from __future__ import annotations

import torch

from nbdebug.checks._loss_calls import LossCall
from nbdebug.checks._loss_fault import CUTS, PROBABILITIES, UNIT, Fault, range_of
from nbdebug.model.precision import wide

# Of logarithms and sums, as rounding in half precision leaves them.
MAX_LOG, MAX_SUM_APART, MAX_LOG_SUM = 1e-2, 0.05, 0.5
MAX_CUT_SHARE = 0.05
# Not a divergence, of which the other direction is one, too.
ONE_WAY = ("cross_entropy", "binary_cross_entropy", "binary_cross_entropy_with_logits")


def _logarithms(call: LossCall, name: str, dim: int) -> Fault | None:
    """A fault of an argument that is to hold log-probabilities, with the classes along `dim`."""
    values = call.numbers(name)
    counted = call.counted(values) if call.result.shape == values.shape else values.flatten()
    if not counted.numel() or float(counted.max()) <= MAX_LOG:
        return None
    shares = _sums_to_one(values, dim) or call.made_by(name) in PROBABILITIES
    what = "probabilities" if shares else "raw outputs"
    remedy = "Replace softmax by log_softmax" if shares else "Apply log_softmax to the outputs"
    seen = f"{range_of(name, counted)}, as of {what}"
    return Fault(seen, "log-probabilities, at most 0", f"{remedy}, over the dimension of the "
                 "classes.")  # fmt: skip


def _sums_to_one(values: torch.Tensor, dim: int) -> bool:
    if values.ndim <= dim or float(values.min()) < 0:
        return False
    total = values.sum(dim)
    return bool((total - 1).abs().max() < MAX_LOG)


def _not_normalised(call: LossCall, name: str, dim: int) -> Fault | None:
    """A fault of a log-softmax over another dimension; factors may follow one, as in focal loss."""
    if call.made_by(name) != "LogSoftmax":
        return None
    total = call.numbers(name).logsumexp(dim)
    total = total[torch.isfinite(total)]
    if not total.numel() or float(total.abs().median()) <= MAX_LOG_SUM:
        return None
    return Fault(
        f"the probabilities of the {name} sum to {float(total.exp().median()):.3g} over dimension "
        f"{dim}", "log-probabilities whose exponentials sum to 1",
        f"Apply log_softmax over dimension {dim}.",
    )  # fmt: skip


def _sums(target: torch.Tensor, dim: int) -> Fault | None:
    """A fault of probabilities that do not sum to 1; rows of 0 do not count."""
    total = target.sum(dim)
    total = total[total > MAX_LOG]
    if not total.numel() or float((total - 1).abs().mean()) <= MAX_SUM_APART:
        return None
    several = bool(((target == 0) | (target == 1)).all())
    remedy = "Divide the target by its sum over the classes."
    if several:
        remedy = "For several classes at a time, use binary_cross_entropy_with_logits."
    return Fault(
        f"the target of a sample sums to {float(total.mean()):.3g}", "probabilities that sum to 1",
        remedy, "fail" if several else "warning",
    )  # fmt: skip


def divergence(call: LossCall) -> Fault | None:
    """Tell a fault of kl_div."""
    values, target = call.numbers("input"), call.numbers("target")
    log_target = bool(call.arguments["log_target"])
    dims = [d for d in range(min(1, values.ndim - 1), values.ndim) if _is_normal(values, d)]
    fault = _logarithms(call, "input", dims[0] if dims else values.ndim - 1)
    wrong = call.counted(target)
    if fault is None and wrong.numel():
        low, high = float(wrong.min()), float(wrong.max())
        if log_target and high > MAX_LOG:
            fault = Fault(
                f"log_target=True, and {range_of('target', wrong)}", "log-probabilities, at most 0",
                "Leave out log_target=True: the target holds probabilities.",
            )  # fmt: skip
        elif not log_target and low < -UNIT:
            logs = high <= MAX_LOG
            remedy = "Pass log_target=True." if logs else "Apply softmax to the target."
            fault = Fault(
                f"{range_of('target', wrong)}, and log_target is False", "probabilities", remedy
            )
    if fault is not None and _swapped(call):
        return fault._replace(remedy="Swap the arguments: kl_div takes the log-probabilities of "
                              "the model first, the target second.")  # fmt: skip
    if fault is None and dims and wrong.numel() == target.numel():
        return _sums(target.exp() if log_target else target, dims[0])
    return fault


def _is_normal(values: torch.Tensor, dim: int) -> bool:
    total = values.logsumexp(dim)
    return bool(total.abs().median() < MAX_SUM_APART)


def likelihood(call: LossCall) -> Fault | None:
    """Tell a fault of nll_loss."""
    dim = min(1, call.arguments["input"].ndim - 1)
    return _logarithms(call, "input", dim) or _not_normalised(call, "input", dim)


def cross_entropy(call: LossCall) -> Fault | None:
    """Tell a fault of cross_entropy."""
    values, target = call.numbers("input"), call.numbers("target")
    dim = min(1, values.ndim - 1)
    if values.shape[dim] == 1:
        return Fault(
            f"the input has shape {tuple(values.shape)}: one class, whose loss is always 0",
            "one output per class", "For two classes and one output, use "
            "binary_cross_entropy_with_logits.",
        )  # fmt: skip
    if call.made_by("input") in PROBABILITIES or _sums_to_one(values, dim):
        return Fault(
            f"{range_of('input', values)}, as of probabilities", "logits: cross_entropy applies "
            "log_softmax itself", "Leave out the softmax or sigmoid before it.",
        )  # fmt: skip
    if target.is_floating_point() and target.shape == values.shape:
        return _sums(target, dim)
    return None


def logits(call: LossCall) -> Fault | None:
    """Tell a fault of a loss that applies the sigmoid itself."""
    made = call.made_by("input")
    if made in (*PROBABILITIES, "LogSigmoid", "LogSoftmax"):
        return Fault(
            f"the input comes from {made.lower()}", "logits: the loss applies the sigmoid itself",
            f"Leave out the {made.lower()} before it.",
        )  # fmt: skip
    return _between_0_and_1(call)


def _between_0_and_1(call: LossCall) -> Fault | None:
    target = call.counted(call.numbers("target"))
    if not target.numel() or (float(target.min()) >= -UNIT and float(target.max()) <= 1 + UNIT):
        return None
    high = float(target.max())
    remedy = f"Divide the target by {high:.4g}."
    if bool((target.abs() == 1).all()):
        remedy = "Turn -1 and 1 into 0 and 1: (target + 1) / 2."
    elif float(target.min()) < 0:
        remedy = "Scale the target, or leave out those outside by a weight of 0."
    if _swapped(call):
        remedy = "Swap the arguments: the output of the model comes first, the target second."
    return Fault(range_of("target", target), "targets from 0 to 1", remedy)


def binary(call: LossCall) -> Fault | None:
    """Tell a fault of binary_cross_entropy."""
    values = call.counted(call.numbers("input"))
    if values.numel() and call.made_by("input") in CUTS:
        share = float(wide((values <= 0) | (values >= 1)).mean())
        if share > MAX_CUT_SHARE:
            return Fault(
                f"{share:.0%} of the input is cut off at 0 or 1, where no gradient comes back",
                "probabilities between 0 and 1", "Apply a sigmoid instead of the cut, or use "
                "binary_cross_entropy_with_logits on the outputs before it.",
            )  # fmt: skip
    return _between_0_and_1(call)


def _swapped(call: LossCall) -> bool:
    """True if the target comes from the model, and the input does not."""
    one, other = call.arguments["input"], call.arguments["target"]
    return bool(other.requires_grad and not one.requires_grad)


def exchanged(call: LossCall) -> Fault | None:
    """Tell of an output of the model in the place of the target, and data in that of the input."""
    if call.name not in ONE_WAY or not _swapped(call) or call.arguments["input"].ndim < 1:
        return None
    return Fault(
        "the target comes from the model, and the input does not",
        "the output of the model as the input, data as the target",
        "Swap the arguments: the output of the model comes first, the target second.",
    )  # fmt: skip


def alignment(call: LossCall) -> Fault | None:
    """Tell a fault of ctc_loss."""
    scores, targets = call.arguments["log_probs"], call.numbers("targets")
    last = scores.ndim - 1
    fault = _logarithms(call, "log_probs", last) or _not_normalised(call, "log_probs", last)
    if fault is not None:
        return fault
    lengths = torch.as_tensor(call.arguments["target_lengths"]).cpu()
    blank, targets = int(call.arguments["blank"]), targets.cpu()
    if targets.ndim == 2:
        targets = targets[torch.arange(targets.shape[1]) < lengths.reshape(-1, 1)]
    if bool((targets == blank).any()):
        return Fault(
            f"the targets contain {blank}, which is the blank", "targets without the blank",
            f"Number the labels without {blank}, or pass blank=.",
        )  # fmt: skip
    short = torch.as_tensor(call.arguments["input_lengths"]).cpu() < lengths
    if bool(short.any()) and not call.arguments["zero_infinity"]:
        return Fault(
            f"{int(short.sum())} targets are longer than their inputs", "an input at least as long",
            "Reduce the stride before the loss, or leave these samples out.", "warning",
        )  # fmt: skip
    return None
