"""What follows from what: a finding under its cause is folded away."""

from __future__ import annotations

from collections.abc import Iterable

EXPLAINS: dict[str, tuple[str, ...]] = {
    "updates_too_large": (
        "dead_units", "unchanged_parameters", "diverging", "gradient_spike", "oscillating",
        "not_learning", "exploding_gradients", "not_finite",
    ),
    "dead_units": (
        "unchanged_parameters", "vanishing_gradients", "updates_too_small", "not_learning",
    ),
    "vanishing_gradients": ("unchanged_parameters", "not_learning", "updates_too_small"),
    "exploding_gradients": ("not_finite", "diverging", "gradient_spike", "not_learning"),
    "unchanged_parameters": ("not_learning", "updates_too_small"),
    "updates_too_small": ("not_learning",),
    "clipping_too_hard": ("updates_too_small", "not_learning"),
    "heavy_dropout": ("not_learning",),
    "oscillating": ("not_learning",),
    "diverging": (
        "gradient_spike", "not_learning", "not_finite", "unchanged_parameters",
        "updates_too_small", "vanishing_gradients",
    ),
    "gradient_spike": ("not_finite",),
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
