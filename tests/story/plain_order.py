"""The order of samples, written a second time."""

from __future__ import annotations

from collections.abc import Collection

import torch


class Order:
    """Walks permutations of all samples, one an epoch, past those that are excluded.

    Attributes:
        epoch: passes over the data, with the share of the one under way.
    """

    def __init__(self, length: int, seed: int) -> None:
        self.length = length
        self.generator = torch.Generator().manual_seed(seed)
        self._left: list[int] = []
        self._passes = -1

    def take(self, size: int, excluded: Collection[int]) -> list[int]:
        """The samples of the next batch; what is left of an epoch makes a smaller one."""
        if all(index in excluded for index in self._left):
            self._left = torch.randperm(self.length, generator=self.generator).tolist()
            self._passes += 1
        wanted = [place for place, index in enumerate(self._left) if index not in excluded]
        taken = wanted[:size]
        indices = [self._left[place] for place in taken]
        self._left = self._left[taken[-1] + 1 :] if len(taken) < len(wanted) else []
        return indices

    @property
    def epoch(self) -> float:
        done = self.length - len(self._left)
        return self._passes + (done / self.length if self._left else 1.0)
