"""Verbs that look at a training and leave it as it was."""

from __future__ import annotations

from collections.abc import Callable

import nbdebug as nbd

LOOKING: dict[str, Callable[[nbd.Debugger], object]] = {
    "check": lambda dbg: dbg.check(),
    "fork": lambda dbg: dbg.timeline.fork(3, lr=[1e-3, 1e-2]),
    "replay": lambda dbg: dbg.timeline.replay(),
    "flight_record": lambda dbg: dbg.timeline.flight_record(),
    "lr_range_test": lambda dbg: dbg.lr_range_test(steps=10),
    "summary": lambda dbg: dbg.summary(),
    "worst_samples": lambda dbg: dbg.worst_samples(),
    "predictions": lambda dbg: dbg.predictions(),
    "findings": lambda dbg: dbg.findings,
    "checkpoint": lambda dbg: dbg.timeline.checkpoint(),
}
