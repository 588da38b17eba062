"""A run that another thread ends does not answer as if it were done."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

import nbdebug as nbd
from nbdebug.errors import ClosedError, TaskStopped
from tests.problems import blobs, tiny_mlp

ENDS: dict[str, tuple[Callable[[nbd.Debugger], Any], type[BaseException] | None]] = {
    "run": (lambda dbg: dbg.run(steps=1), TaskStopped),
    "rewind": (lambda dbg: dbg.rewind(1), TaskStopped),
    "reset": (lambda dbg: dbg.reset(), TaskStopped),
    "keep_fork": (lambda dbg: dbg.fork(1, lr=0.1).keep(), TaskStopped),
    "close": (lambda dbg: dbg.close(), ClosedError),
    "pause": (lambda dbg: dbg.pause(), None),
}


@pytest.mark.parametrize("verb", ENDS)
def test_a_run_says_what_ended_it(verb: str) -> None:
    begun = threading.Event()
    raised: list[Any] = []

    def loss_fn(outputs: Any, targets: Any) -> Any:
        begun.set()
        return nn.functional.cross_entropy(outputs, targets)

    with nbd.Debugger(tiny_mlp(), blobs(), loss_fn, runs=None) as dbg:

        def run() -> None:
            try:
                dbg.run(steps=1_000_000)
                raised.append(None)
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        assert begun.wait(30)
        end, kind = ENDS[verb]
        end(dbg)
        thread.join(30)
        [error] = raised
        assert error is None if kind is None else type(error) is kind
        assert kind is None or f"by the command {verb} " in str(error)
        assert "where it was" not in str(error)
