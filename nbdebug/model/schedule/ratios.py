"""Ratios of a setting of parameter groups, which a loop may add, take away, move and set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

Group = dict[str, Any]
# Ratios that differ by less were rounded, on the way of a scheduler or of a change.
ROUNDING = 1e-9


class GroupRatios:
    """Ratios of a setting of parameter groups to that of the leading group.

    The leading group is the first one whose setting is not 0, or was not. A ratio is that of the
    settings as they are; where the leading one is 0, the ratio from before holds. Groups are known
    by their dict, or by a parameter where an optimizer has loaded them from a file.

    Args:
        optimizer: whose groups have their ratios now; option: the setting, such as `lr`.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, option: str) -> None:
        self._option = option
        self._known: list[tuple[Group, list[Any], float]] = []
        values = [self._value(group) for group in optimizer.param_groups]
        first = next((value for value in values if value), 0.0)
        self.keep(optimizer, [value / first if first else 1.0 for value in values])

    def keep(self, optimizer: torch.optim.Optimizer, ratios: Sequence[float]) -> None:
        """Take these ratios of all groups for the last known ones."""
        groups = optimizer.param_groups
        self._known = [(g, list(g["params"]), r) for g, r in zip(groups, ratios, strict=True)]

    def kept(self, optimizer: torch.optim.Optimizer) -> tuple[float, ...]:
        """The last known ratios by place; of a new group that of its setting now."""
        before, now = self._before(optimizer), self.now(optimizer)
        return tuple(new if old is None else old for old, new in zip(before, now, strict=True))

    def leader(self, optimizer: torch.optim.Optimizer) -> int:
        """Place of the leading group."""
        return self._leader(optimizer.param_groups, self._before(optimizer))

    def now(self, optimizer: torch.optim.Optimizer) -> tuple[float, ...]:
        """Ratios of all groups as they are."""
        groups, before = optimizer.param_groups, self._before(optimizer)
        leader = self._leader(groups, before)
        main, base = self._value(groups[leader]), before[leader] or 1.0
        return tuple(
            _ratio(self._value(group), main, None if ratio is None else ratio / base)
            for group, ratio in zip(groups, before, strict=True)
        )

    def values(self, optimizer: torch.optim.Optimizer, value: float) -> list[float]:
        """Settings of all groups for a setting of the leading one, which keep their ratios.

        A group that the loop has set by itself stays where the leading one is 0.
        """
        groups, ratios, leader = optimizer.param_groups, self.now(optimizer), self.leader(optimizer)
        self.keep(optimizer, ratios)
        if self._value(groups[leader]):
            return [value * ratio for ratio in ratios]
        return [
            self._value(group) or value * ratio for group, ratio in zip(groups, ratios, strict=True)
        ]

    def former(
        self, optimizer: torch.optim.Optimizer, then: Group, old: float, new: float
    ) -> float:
        """Setting of the leading group that takes back a change from `old` to `new`.

        Args:
            then: the leading group at that time.
        """
        groups, parts = optimizer.param_groups, {id(p) for p in then["params"]}
        found = [group is then for group in groups]
        if not any(found):
            found = [any(id(p) in parts for p in group["params"]) for group in groups]
        ratio = self.now(optimizer)[found.index(True)] if any(found) else 0.0
        if ratio:
            return old / ratio
        main = self._value(groups[self.leader(optimizer)])
        return main * (old / new) if new else old

    def _before(self, optimizer: torch.optim.Optimizer) -> list[float | None]:
        """Last known ratios of the groups, None for a new one."""
        groups = optimizer.param_groups
        if len(groups) == len(self._known):
            same = zip(groups, self._known, strict=True)
            if all(group is known for group, (known, _, _) in same):
                return [ratio for _, _, ratio in self._known]
        by_dict = {id(known): ratio for known, _, ratio in self._known}
        by_part = {id(p): ratio for _, params, ratio in reversed(self._known) for p in params}
        return [
            by_dict[id(group)]
            if id(group) in by_dict
            else next((by_part[id(p)] for p in group["params"] if id(p) in by_part), None)
            for group in groups
        ]

    def _leader(self, groups: Sequence[Group], before: Sequence[float | None]) -> int:
        pairs = zip(groups, before, strict=True)
        found = (at for at, (group, ratio) in enumerate(pairs) if self._value(group) or ratio)
        return next(found, 0)

    def _value(self, group: Group) -> float:
        return float(group.get(self._option, 0.0))


def _ratio(value: float, main: float, before: float | None) -> float:
    if not main:
        return 1.0 if before is None else before
    if before is not None and math.isclose(value, main * before, rel_tol=ROUNDING):
        return before
    return value / main
