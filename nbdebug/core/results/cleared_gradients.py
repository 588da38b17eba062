"""Gradients that a loop cleared before it used them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClearedGradients:
    """A loop of its own cleared gradients between the backward pass and the update.

    Attributes:
        step: the first step in which it did.
    """

    step: int
