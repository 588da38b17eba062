"""Function modes of one thread at work in another."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from nbdebug.training.own_loop.meeting.carried_modes import CarriedModes


class Names(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.seen.append(function.__name__)
        return function(*args, **(kwargs or {}))


def in_a_thread(work: Any) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@pytest.mark.parametrize("leaves", [True, False])
def test_operations_are_seen_between_enter_and_leave(leaves: bool) -> None:
    modes, outer, inner, results = CarriedModes(), Names(), Names(), []

    def loop() -> None:
        results.append(torch.ones(2).sum())
        modes.enter()
        results.append(torch.ones(3).sum())
        if leaves:
            modes.leave()
            results.append(torch.ones(4).sum())

    with outer, inner, modes.carried():
        in_a_thread(loop)
    assert outer.seen == inner.seen == ["ones", "sum"]
    assert [float(one) for one in results] == ([2, 3, 4] if leaves else [2, 3])


def test_a_loop_that_never_leaves_is_not_watched_any_more() -> None:
    modes, names, entered, over = CarriedModes(), Names(), threading.Event(), threading.Event()
    results: list[torch.Tensor] = []

    def loop() -> None:
        modes.enter()
        entered.set()
        over.wait(60)
        results.append(torch.ones(3).sum())
        modes.leave()

    thread = threading.Thread(target=loop)
    with names, modes.carried():
        thread.start()
        entered.wait(60)
    over.set()
    thread.join()
    assert names.seen == []
    assert float(results[0]) == 3
