"""Schedules of trainers, which a change of the learning rate scales as those of torch."""

from __future__ import annotations

from typing import Any

import numpy as np


class ScaledSchedule:
    """A schedule that is no torch scheduler.

    Args:
        schedule: it computes learning rates from these attributes, numbers or lists of numbers,
            in proportion to them.
    """

    def __init__(self, schedule: Any, *attributes: str) -> None:
        self._schedule, self._attributes = schedule, attributes

    @property
    def base_lrs(self) -> list[float]:
        """All numbers that its learning rates are computed from."""
        return [value for name in self._attributes for value in _listed(self._read(name))]

    @base_lrs.setter
    def base_lrs(self, values: list[float]) -> None:
        rest = iter(values)
        for name in self._attributes:
            old = self._read(name)
            new: Any = [next(rest) for _ in _listed(old)]
            if isinstance(old, np.ndarray):
                new = np.array(new)
            elif not isinstance(old, list):
                new = tuple(new) if isinstance(old, tuple) else new[0]
            setattr(self._schedule, name, new)

    def _read(self, name: str) -> Any:
        return getattr(self._schedule, name)


def _listed(value: Any) -> list[float]:
    many = isinstance(value, list | tuple | np.ndarray)
    return [float(one) for one in value] if many else [float(value)]
