"""While a command tries values that it undoes, other threads read those in force."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

import nbdebug as nbd
from nbdebug.errors import ControlValueError
from tests.hidden import Hidden
from tests.inside import thread_of
from tests.problems import blobs, tiny_mlp

STEPS = 6
COMMANDS: dict[str, Callable[[nbd.Debugger], Any]] = {
    "fork": lambda dbg: dbg.fork(2, lr=0.5, optimizer="sgd", batch_size=8, dropout=0.3),
    "fork from before": lambda dbg: dbg.fork(2, start=1, clip_threshold=0.1),
    "replay": lambda dbg: dbg.replay(),
    "flight_record": lambda dbg: dbg.flight_record(),
    "worst_samples": lambda dbg: dbg.worst_samples(step=2),
    "lr_range_test": lambda dbg: dbg.lr_range_test(steps=10),
    "check": lambda dbg: dbg.check(),
}


class Watched:
    """A loss during which another thread reads the Debugger, and the training thread too."""

    look, found = Hidden(), Hidden()

    def __init__(self) -> None:
        self.look, self.found = None, ((), ())

    @property
    def seen(self) -> tuple[Any, ...]:
        return tuple(self.found[0])

    @property
    def inside(self) -> tuple[Any, ...]:
        return tuple(self.found[1])

    def __call__(self, outputs: Any, targets: Any) -> Any:
        if self.look is not None:
            read: list[Any] = []
            thread = threading.Thread(target=lambda: read.append(self.look()))
            thread.start()
            thread.join(30)
            self.found = (*self.seen, *read), (*self.inside, self.look())
        return nn.functional.cross_entropy(outputs, targets)


def reading(dbg: nbd.Debugger) -> tuple[Any, ...]:
    session = dbg.session
    place = session.step, session.samples, session.epoch
    return *place, id(session.optimizer), id(dbg.optimizer), dict(dbg.controls)


def trained(loss_fn: Watched) -> nbd.Debugger:
    dbg = nbd.Debugger(
        tiny_mlp(), blobs(), loss_fn, batch_size=32, schedule="cosine", lr=0.01, runs=None
    )
    dbg.run(steps=2)
    dbg.set(lr=0.02, weight_decay=1e-3)
    dbg.run(steps=2)
    dbg.set(optimizer="adamw", batch_size=16)
    dbg.run(steps=STEPS - 4)
    return dbg


@pytest.mark.parametrize("command", COMMANDS)
def test_they_read_what_is_in_force(command: str) -> None:
    loss_fn = Watched()
    with trained(loss_fn) as dbg:
        before = reading(dbg)
        loss_fn.look = lambda: reading(dbg)
        COMMANDS[command](dbg)
        loss_fn.look = None
        assert loss_fn.seen
        assert all(seen == before for seen in loss_fn.seen)
        assert reading(dbg) == before
        dbg.run(steps=1)
        assert dbg.session.step == STEPS + 1
        assert dbg.replay().equal


@pytest.mark.parametrize("command", ["fork", "replay"])
def test_code_in_the_step_reads_the_trial(command: str) -> None:
    # A loss that depends on the step is replayed with that step.
    loss_fn = Watched()
    with trained(loss_fn) as dbg:
        loss_fn.look = lambda: (dbg.session.step, dbg.controls["lr"])
        COMMANDS[command](dbg)
        steps = [step for step, _ in loss_fn.inside]
        # A fork first makes a step twice.
        expected = {"fork": [STEPS, STEPS, *[STEPS, STEPS + 1] * 2], "replay": [*range(STEPS)]}
        assert steps == expected[command]
        assert len({lr for _, lr in loss_fn.inside}) > 1
        loss_fn.look = None


def test_a_rewind_shows_where_it_arrives_only_at_the_end() -> None:
    loss_fn = Watched()
    with trained(loss_fn) as dbg:
        dbg.set(lr=0.5)
        dbg.run(steps=2)
        before = reading(dbg)
        loss_fn.look = lambda: reading(dbg)
        dbg.rewind(5)
        loss_fn.look = None
        assert all(seen == before for seen in loss_fn.seen)
        assert dbg.session.step == 5
        assert dbg.controls["lr"] != 0.5


def test_a_fork_that_fails_ends_the_showing() -> None:
    loss_fn = Watched()
    with trained(loss_fn) as dbg:

        def broken() -> None:
            raise OSError("away")

        loss_fn.look = broken
        threading.excepthook, old = lambda _: None, threading.excepthook
        with pytest.raises(OSError, match="away"):
            dbg.fork(2, lr=0.5)
        threading.excepthook = old
        loss_fn.look = None
        dbg.set(lr=0.07)
        assert dbg.controls["lr"] == pytest.approx(0.07)
        dbg.run(steps=1)
        assert dbg.session.step == STEPS + 1


@pytest.mark.parametrize(("value", "fits"), [(0.9, True), (7.0, False)])
def test_a_value_is_judged_by_what_is_in_force(value: float, fits: bool) -> None:
    """beta2 is one of AdamW, which is in force, and none of SGD, which is tried."""
    loss_fn = Watched()
    answers: list[Any] = []
    with trained(loss_fn) as dbg:

        def set_it() -> None:
            try:
                dbg.set(beta2=value)
                answers.append(None)
            except ControlValueError as error:
                answers.append(str(error))

        setter = threading.Thread(target=set_it)

        def look() -> None:
            tried = threading.current_thread() is worker and dbg.controls["optimizer"] == "sgd"
            if tried and not setter.ident:
                setter.start()
                setter.join(0.2)

        worker = thread_of(dbg)
        loss_fn.look = look
        dbg.fork(2, optimizer="sgd")
        loss_fn.look = None
        setter.join(30)
        assert setter.ident
        [answer] = answers
        assert (answer is None) == fits
        assert (dbg.controls["beta2"] == 0.9) == fits


def test_a_second_thread_reads_no_mixture() -> None:
    """Readings while forks begin and end are all of the present."""
    stop, seen = threading.Event(), []
    with trained(Watched()) as dbg:
        before = reading(dbg)

        def look() -> None:
            while not stop.is_set():
                seen.append(reading(dbg))

        thread = threading.Thread(target=look)
        thread.start()
        for _ in range(5):
            dbg.fork(1, lr=0.5, optimizer="sgd")
        stop.set()
        thread.join(30)
        assert len(seen) > 5
        assert all(one == before for one in seen)
