"""What follows from what: a finding under its cause is folded away."""

from __future__ import annotations

from collections.abc import Iterable

# A loss that stays where it was follows from almost everything.
FLAT = ("not_learning", "no_better_than_constant", "too_slow")

EXPLAINS: dict[str, tuple[str, ...]] = {
    "missing_zero_grad": (
        *FLAT, "diverging", "oscillating", "exploding_gradients", "gradient_spike", "not_finite",
        "updates_too_large", "dead_units", "constant_output", "saturated_units",
    ),
    "updates_too_large": (
        *FLAT, "dead_units", "saturated_units", "constant_output", "unchanged_parameters",
        "diverging", "gradient_spike", "oscillating", "exploding_gradients", "not_finite",
        "stale_batchnorm",
    ),
    "dead_units": (
        *FLAT, "constant_output", "unchanged_parameters", "vanishing_gradients",
        "updates_too_small",
    ),
    "saturated_units": (
        *FLAT, "constant_output", "unchanged_parameters", "vanishing_gradients",
        "updates_too_small",
    ),
    "vanishing_gradients": (
        *FLAT, "constant_output", "unchanged_parameters", "updates_too_small",
    ),
    "constant_output": (*FLAT, "unchanged_parameters", "updates_too_small"),
    "exploding_gradients": (*FLAT, "not_finite", "diverging", "gradient_spike"),
    "unchanged_parameters": (*FLAT, "updates_too_small"),
    "updates_too_small": FLAT,
    "weight_decay_dominates": (*FLAT, "vanishing_gradients", "constant_output"),
    "clipping_too_hard": (*FLAT, "updates_too_small"),
    "heavy_dropout": (*FLAT, "suspicious_validation"),
    "variance_shift": ("stale_batchnorm",),
    "stale_batchnorm": ("overfitting",),
    "tiny_batchnorm": (*FLAT, "stale_batchnorm", "gradient_spike", "suspicious_validation"),
    "oscillating": FLAT,
    "lr_edits_fight": ("oscillating", "diverging"),
    "schedule_undoes_edit": ("diverging",),
    "diverging": (
        *FLAT, "gradient_spike", "not_finite", "unchanged_parameters", "updates_too_small",
        "vanishing_gradients", "constant_output", "saturated_units",
    ),
    "gradient_spike": (
        *FLAT, "not_finite", "constant_output", "unchanged_parameters", "updates_too_small",
    ),
    "too_slow": ("no_better_than_constant", "not_learning"),
    "no_better_than_constant": ("not_learning",),
}  # fmt: skip


def root_of(name: str, present: Iterable[str]) -> str:
    """The finding at the root of this one among those present; itself when it is one."""
    there, seen = set(present), [name]
    while True:
        above = [
            cause
            for cause, follow in EXPLAINS.items()
            if cause in there and seen[-1] in follow and cause not in seen
        ]
        if not above:
            return seen[-1]
        seen.append(above[0])
