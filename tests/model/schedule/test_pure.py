"""Functions that only compute are told apart without a call."""

from __future__ import annotations

import bisect
import math
import random
import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR

from nbdebug.model.schedule.length import factors_of
from nbdebug.model.schedule.pure import only_computes

WARM_UP, WIDTH = 400, 512
options = SimpleNamespace(warm_up=100, total=1000)
milestones = [10, 20]


def noam(step: int) -> float:
    step += 1
    return WIDTH**-0.5 * min(step**-0.5, step * WARM_UP**-1.5)


def warmed_up(step: int, total: int) -> float:
    if step < 100:
        return step / 100
    return 0.5 * (1 + math.cos(math.pi * (step - 100) / total))


def of_milestones(step: int) -> float:
    return 0.1 ** bisect.bisect_right(milestones, step)


def closed_over(total: int) -> Callable[[int], float]:
    return lambda step: max(0.0, 1 - step / total)


PURE: dict[str, Any] = {
    "noam": noam,
    "partial": partial(warmed_up, total=1000),
    "milestones": of_milestones,
    "closure": closed_over(100),
    "another function": lambda step: 0.5 * noam(step),
    "settings": lambda step: min(1.0, step / options.warm_up),
    "numpy": lambda step: float(np.interp(step, [0, 10, 100], [0.0, 1.0, 0.1])),
}
seen: list[int] = []
count = 0


def counted(step: int) -> float:
    global count
    count += 1
    return 1 / count


def told(step: int) -> float:
    print(step)
    return 0.9**step


def kept(step: int) -> float:
    seen.append(step)
    return 0.9**step


def behind(step: int) -> float:
    return 0.5 * kept(step)


def in_a_cell() -> Callable[[int], float]:
    last = 1.0

    def decay(step: int) -> float:
        nonlocal last
        last *= 0.9
        return last

    return decay


class Counter:
    """A schedule with a state of its own."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, step: int) -> float:
        self.calls += 1
        return 0.9**self.calls


NOT_PURE: dict[str, Any] = {
    "a global": counted,
    "print": told,
    "append": kept,
    "another function": behind,
    "a cell": in_a_cell(),
    "random": lambda step: random.random(),
    "numpy random": lambda step: np.random.rand(),
    "clock": lambda step: 1 / time.time(),
    "object": Counter(),
    "object called": (lambda counter: lambda step: counter(step))(Counter()),
    "attribute": lambda step: setattr(options, "at", step) or 1.0,
    "item": lambda step: ([0].__setitem__(0, step), 1.0)[1],
}


@pytest.mark.parametrize("name", PURE)
def test_what_only_computes(name: str) -> None:
    assert only_computes(PURE[name])


@pytest.mark.parametrize("name", NOT_PURE)
def test_what_may_do_something_is_not_called(name: str) -> None:
    assert not only_computes(NOT_PURE[name])
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    scheduler = LambdaLR(optimizer, NOT_PURE[name])
    before = count, len(seen), getattr(NOT_PURE[name], "calls", 0)
    assert factors_of(scheduler) is None
    assert (count, len(seen), getattr(NOT_PURE[name], "calls", 0)) == before
