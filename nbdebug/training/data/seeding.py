"""Seeding of data loading: a batch draws the same random numbers each time."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import torch

from nbdebug.core.contexts import contextmanager
from nbdebug.model.state.model_state import RngState


def seed_all(seed: int) -> None:
    """Seed the global generators of torch (CPU), NumPy and Python."""
    torch.default_generator.manual_seed(seed % 2**63)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def derived_seed(seed: int, number: int) -> int:
    """Derive the seed of a batch or epoch."""
    return seed * 1_000_003 + number


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators inside and restore them afterwards."""
    outer = RngState.capture()
    seed_all(seed)
    try:
        yield
    finally:
        outer.restore()
