"""Verbs that are called by code that training runs: refused in words, or done after the step."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from torch import nn
from torch.utils.data import DataLoader, Dataset

import nbdebug as nbd
from nbdebug.errors import ClosedError, InsideStepError
from nbdebug.plugins import Probe, TrainingState
from tests.hanging import HANG, in_time
from tests.hidden import Hidden
from tests.inside import probes_of
from tests.problems import blobs, tiny_mlp

loss_fn = nn.CrossEntropyLoss()
Call = Callable[[], object]


class Caller:
    """Calls a verb once, at the third call of the code around it."""

    calls = Hidden()

    def __init__(self) -> None:
        self.calls = 0
        self.call: Call = lambda: None

    def __call__(self) -> None:
        self.calls += 1
        if self.calls == 3:
            self.call()


def from_loss(caller: Caller) -> nbd.Debugger:
    def loss(outputs: Any, targets: Any) -> Any:
        caller()
        return loss_fn(outputs, targets)

    return nbd.Debugger(tiny_mlp(), blobs(), loss, batch_size=32)


def from_a_hook(caller: Caller) -> nbd.Debugger:
    model = tiny_mlp()
    model.register_forward_pre_hook(lambda *_: caller())
    return nbd.Debugger(model, blobs(), loss_fn, batch_size=32)


def from_backward(caller: Caller) -> nbd.Debugger:
    model = tiny_mlp()
    list(model.modules())[-1].register_full_backward_hook(lambda *_: caller())
    return nbd.Debugger(model, blobs(), loss_fn, batch_size=32)


def from_a_metric(caller: Caller) -> nbd.Debugger:
    def metric(outputs: Any, targets: Any) -> float:
        caller()
        return 0.0

    return nbd.Debugger(
        tiny_mlp(), blobs(), loss_fn, val_data=blobs(), val_every=1, metrics={"m": metric},
        batch_size=32,
    )  # fmt: skip


def from_the_data(caller: Caller) -> nbd.Debugger:
    class Samples(Dataset[Any]):
        X, y = blobs()

        def __len__(self) -> int:
            return len(self.X)

        def __getitem__(self, index: int) -> Any:
            if index % 32 == 0:
                caller()
            return self.X[index], self.y[index]

    return nbd.Debugger(tiny_mlp(), DataLoader(Samples(), batch_size=32), loss_fn)


PLACES = {
    make.__name__.replace("_", " "): make
    for make in (from_loss, from_a_hook, from_backward, from_a_metric, from_the_data)
}
VERBS: dict[str, Callable[[nbd.Debugger], object]] = {
    "set": lambda dbg: dbg.set(lr=0.1),
    "run": lambda dbg: dbg.run(steps=1),
    "step": lambda dbg: dbg.step(),
    "start": lambda dbg: dbg.start(),
    "reset": lambda dbg: dbg.reset(),
    "rewind": lambda dbg: dbg.rewind(0),
    "fork": lambda dbg: dbg.fork(2),
    "check": lambda dbg: dbg.check(),
    "replay": lambda dbg: dbg.replay(),
    "checkpoint": lambda dbg: dbg.checkpoint("here"),
    "break_when": lambda dbg: dbg.break_when("step == 4"),
    "summary": lambda dbg: dbg.summary(),
    "close": lambda dbg: dbg.close(),
    "wait": lambda dbg: dbg.wait(),
    "wait_until": lambda dbg: dbg.history.wait_until(lambda status: status.step > 100),
}
CASES = [("from loss", verb) for verb in VERBS]
CASES += [(place, verb) for place in PLACES for verb in ("set", "run", "close", "wait")][4:]


@pytest.mark.parametrize(("place", "verb"), CASES)
def test_a_verb_that_would_wait_for_itself_says_so(place: str, verb: str) -> None:
    caller = Caller()
    with PLACES[place](caller) as dbg:
        caller.call = lambda: VERBS[verb](dbg)
        raised = in_time(lambda: dbg.run(steps=6))
        assert isinstance(raised, InsideStepError)
        assert "dbg.pause() works there" in str(raised)
        assert dbg.state == "paused"
        dbg.run(steps=2)


@pytest.mark.parametrize("place", PLACES)
def test_pause_takes_effect_after_the_step(place: str) -> None:
    caller = Caller()
    with PLACES[place](caller) as dbg:
        caller.call = dbg.pause
        assert in_time(lambda: dbg.run(steps=100)) is None
        assert dbg.state == "paused"
        assert dbg.failure is None
        assert 1 <= dbg.history.status.step < 10
        dbg.run(steps=2)


def test_the_first_step_is_no_exception() -> None:
    caller = Caller()
    caller.calls = 2
    with from_loss(caller) as dbg:
        caller.call = lambda: dbg.set(lr=0.1)
        assert isinstance(in_time(lambda: dbg.run(steps=1)), InsideStepError)


def test_pause_inside_a_step_does_not_stop_a_rewind_that_runs_the_step_again() -> None:
    paused = queue.SimpleQueue[Any]()

    def loss(outputs: Any, targets: Any) -> Any:
        if dbg.history.status.step == 3:
            paused.put(dbg.pause())
        return loss_fn(outputs, targets)

    with nbd.Debugger(tiny_mlp(), blobs(), loss, batch_size=32) as dbg:
        dbg.run(steps=10)
        assert dbg.history.status.step == 4
        dbg.run(steps=4)
        assert in_time(lambda: dbg.rewind(6)) is None
        assert dbg.history.status.step == 6
        assert paused.qsize()


def test_plugins_that_call_verbs_are_told_off_and_training_goes_on() -> None:
    class Calling(Probe):
        name, every, cost = "calling", 1, "cheap"

        def attach(self, session: TrainingState) -> None: ...

        def read(self, step: int) -> dict[str, float]:
            dbg.run(steps=1)
            return {}

    with nbd.Debugger(tiny_mlp(), blobs(), loss_fn, batch_size=32) as dbg:
        runner = probes_of(dbg)
        runner.scheduled["calling"] = type(next(iter(runner.scheduled.values())))(Calling())
        assert in_time(lambda: dbg.run(steps=3)) is None
        assert dbg.history.status.step == 3
        titles = [notice.title for notice in dbg.history.notices]
        assert "The probe calling failed and was switched off" in titles


def test_a_rule_that_asks_for_findings_gets_the_last_ones() -> None:
    from tests.plugins import HighLoss

    class Asking(HighLoss):
        """The loss asks.

        It never answers.
        """

        name = "asking"

        def diagnose(self, snapshot: Any) -> Any:
            dbg.findings  # noqa: B018
            return super().diagnose(snapshot)

    with nbd.Debugger(tiny_mlp(), blobs(), loss_fn, batch_size=32) as dbg:
        dbg.rules.add(Asking)
        dbg.run(steps=3)
        assert in_time(lambda: dbg.findings) is None


def test_other_threads_may_call_everything() -> None:
    def loss(outputs: Any, targets: Any) -> Any:
        helper = threading.Thread(target=lambda: dbg.history.series)
        helper.start()
        helper.join()
        return loss_fn(outputs, targets)

    with nbd.Debugger(tiny_mlp(), blobs(), loss, batch_size=32) as dbg:
        dbg.start()
        assert in_time(lambda: dbg.set(lr=0.01)) is None
        assert in_time(dbg.pause) is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_a_thread_that_it_does_not_have() -> None:
    with nbd.Debugger(tiny_mlp(), blobs(), loss_fn, batch_size=32) as dbg:
        dbg.run(steps=2)
        child = os.fork()
        if not child:
            try:
                dbg.run(steps=1)
            except ClosedError:
                os._exit(7)
            finally:
                os._exit(1)
        end = time.monotonic() + HANG
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                break
            time.sleep(0.05)
        else:
            os.kill(child, signal.SIGKILL)
            pytest.fail("the child waits for ever")
        assert os.waitstatus_to_exitcode(status) == 7
        dbg.run(steps=2)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_an_interrupt_pauses_and_returns_control() -> None:
    with nbd.Debugger(tiny_mlp(), blobs(), loss_fn, batch_size=32) as dbg:
        main = threading.main_thread().ident
        assert main is not None

        def interrupt() -> None:
            dbg.history.wait_until(lambda status: status.step > 5)
            signal.pthread_kill(main, signal.SIGINT)

        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            dbg.run(steps=10_000_000)
        assert dbg.state == "paused"
        assert dbg.failure is None
        dbg.run(steps=1)
