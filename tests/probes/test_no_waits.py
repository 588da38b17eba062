"""Probes do not wait for the device in a step: no operation reads a number on the host.

No GPU is here: the operations that wait on one are seen as they are dispatched.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from nbdebug import Debugger
from nbdebug.examples.data import blobs
from nbdebug.probes._class_counts import class_counts
from tests.inside import probes_of

METHODS = ("begin", "before_backward", "after_batch", "before_update", "read")
WAITING = ("_local_scalar_dense", "nonzero", "bincount", "masked_select", "unique", "equal")
# What it reads was measured in an earlier step, and of parameters under suspicion alone.
KNOWN = {"update_ratio"}
# They look for the kind of the loss in their first three measurements.
FIRST = ("constant_loss", "variance_shift")
# It looks for the kind of the targets once, by two questions.
ONCE = ("missed_class",)


class Waits(TorchDispatchMode):
    """Notes operations whose result, or its size, the host waits for."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_booleans = name == "index" and any(
            part is not None and part.dtype == torch.bool for part in args[1]
        )
        if name in WAITING or by_booleans:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def watched(probe: Any, found: list[str]) -> None:
    for name in METHODS:
        method = getattr(probe, name)

        def call(*args: Any, method: Any = method, **kwargs: Any) -> Any:
            with Waits(found):
                return method(*args, **kwargs)

        setattr(probe, name, call)


LOSSES = {
    "cross entropy": (nn.CrossEntropyLoss(), lambda y: y),
    "squared error": (nn.MSELoss(), lambda y: nn.functional.one_hot(y).float()),
}


@pytest.mark.parametrize("name", LOSSES)
def test_no_probe_waits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loss, targets = LOSSES[name]
    X, y = blobs()
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 4)
    )
    found: dict[str, list[str]] = {}
    with Debugger(model, (X, targets(y)), loss, batch_size=32, overhead=1.0, runs=None) as debugger:
        for one, slot in probes_of(debugger).scheduled.items():
            watched(slot.probe, found.setdefault(one, []))
        debugger.run(steps=60)
        assert {"missed/0", "constant_loss"} & set(debugger.history.series)
    for one in FIRST:
        assert len(found.pop(one)) <= 3 * 8
    for one in ONCE:
        assert len(found.pop(one)) <= 2
    waits = {one: set(ops) for one, ops in found.items() if ops and one not in KNOWN}
    assert waits == {}


@pytest.mark.parametrize("classes", [2, 7])
def test_classes_are_counted_as_numpy_counts_them(classes: int) -> None:
    labels = torch.randint(-1, classes + 2, (500,), generator=torch.Generator().manual_seed(0))
    counted = (labels >= 0) & (labels < classes)
    wanted = torch.bincount(labels[counted], minlength=classes)
    assert torch.equal(class_counts(labels, counted, classes), wanted.double())
