"""`dbg.wait()`: until training is paused, also right after `dbg.start()`."""

from __future__ import annotations

import torch
from torch import nn

from nbdebug import Debugger


def made() -> Debugger:
    data = torch.randn(64, 4), torch.randint(0, 3, (64,))
    return Debugger(nn.Linear(4, 3), data, nn.CrossEntropyLoss(), lr=0.1, runs=None)


def test_right_after_start_training_is_waited_for() -> None:
    with made() as debugger:
        for _ in range(20):
            debugger.start()
            assert not debugger.wait(timeout=0.01)
            debugger.pause()
            assert debugger.wait(timeout=10)


def test_a_breakpoint_ends_the_waiting() -> None:
    with made() as debugger:
        debugger.break_when("step > 20")
        debugger.start()
        assert debugger.wait(timeout=60)
        assert debugger.history.status.step >= 20


def test_a_training_that_is_paused_is_not_waited_for() -> None:
    with made() as debugger:
        assert debugger.wait(timeout=60)
        debugger.run(steps=3)
        assert debugger.wait(timeout=60)
