"""Several may look; one steers at a time, and the others see who."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from torch import nn

import nbdebug as nbd
from nbdebug.core.commands.running import Close, Pause, WatchProbe
from nbdebug.core.records import Attendance
from tests.elsewhere.others import Other, raise_refusal
from tests.elsewhere.waiting import until
from tests.inside import probes_of
from tests.problems import blobs, tiny_mlp


@pytest.fixture
def dbg() -> Iterator[nbd.Debugger]:
    with nbd.Debugger(
        tiny_mlp(), blobs(), nn.CrossEntropyLoss(), name="run", serve=True, runs=None
    ) as made:
        yield made


@pytest.fixture
def other(dbg: nbd.Debugger) -> Iterator[Other]:
    made = Other("anna.ipynb", 77)
    yield made
    made.close()


def steer(other: Other) -> None:
    other.ask("put", command=Pause())


def test_the_first_that_gives_a_command_steers_and_all_see_it(
    dbg: nbd.Debugger, other: Other
) -> None:
    with nbd.attach("run", who="ben") as far:
        until(lambda: len(far.attendance.names) == 2)
        assert far.attendance.steers == ""
        steer(other)
        until(lambda: far.attendance.steers == "anna.ipynb (process 77)")
        assert str(far.attendance) == "anna.ipynb (process 77) steers, 2 attached"
        assert dbg.history.results.of(Attendance) == Attendance(
            far.attendance.names, "anna.ipynb (process 77)"
        )


def test_another_is_refused_and_told_who_steers_and_what_to_do(
    dbg: nbd.Debugger, other: Other
) -> None:
    steer(other)
    with nbd.attach("run", who="ben") as far:
        acts: list[Callable[[], object]] = [
            lambda: far.set(lr=0.5), far.pause, lambda: far.run(steps=1), lambda: far.rewind(0),
            lambda: far.break_when("loss > 9"), lambda: far.fork(2, lr=0.1), far.reset,
        ]  # fmt: skip
        for act in acts:
            with pytest.raises(
                nbd.SteeringError,
                match=r"^anna.ipynb \(process 77\) steers 'run', you look: .*dbg.take_over\(\)",
            ):
                act()
        assert dbg.history.changes == ()
        assert dbg.session.step == 0
        # Looking is free, and so is a note.
        assert far.findings is not None
        assert far.summary() is not None
        far.note("I look")
        # The training's own process always may.
        dbg.set(lr=0.2)
        dbg.run(steps=1)


def test_taking_over_is_told_to_the_one_that_steered(dbg: nbd.Debugger, other: Other) -> None:
    steer(other)
    with nbd.attach("run", who="ben") as far:
        far.take_over()
        far.set(lr=0.5)
        assert dbg.controls["lr"] == 0.5
        until(lambda: far.attendance.steerer == "you")
        assert dbg.history.notices[-1].title.startswith("ben (process ")
        assert dbg.history.notices[-1].text == (
            "anna.ipynb (process 77) steered before and looks on."
        )
        with pytest.raises(nbd.SteeringError, match="ben"):
            steer(other)
        far.release()
        steer(other)


def test_one_that_leaves_steers_no_more(dbg: nbd.Debugger, other: Other) -> None:
    steer(other)
    other.ask("bye")
    with nbd.attach("run") as far:
        far.set(lr=0.5)
    assert [one.title for one in dbg.history.notices if "without a word" in one.title] == []


def test_one_that_is_gone_without_a_word_steers_no_more_and_that_is_said(
    dbg: nbd.Debugger, other: Other, caplog: pytest.LogCaptureFixture
) -> None:
    steer(other)
    other.close()
    until(lambda: any("gone without a word" in one.title for one in dbg.history.notices))
    notice = dbg.history.notices[-1]
    assert notice.title == "anna.ipynb (process 77) is gone without a word"
    assert notice.text == (
        "It steered; now nobody does. Training is paused and waits for whoever attaches next."
    )
    assert "anna.ipynb (process 77) is gone without a word" in caplog.text
    with nbd.attach("run") as far:
        far.set(lr=0.5)


def test_one_that_is_silent_for_long_steers_no_more(
    dbg: nbd.Debugger, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    steer(other)
    monkeypatch.setattr("nbdebug.elsewhere.steering.SILENT_SECONDS", -1.0)
    with nbd.attach("run") as far:
        far.set(lr=0.5)
    assert dbg.controls["lr"] == 0.5


def test_two_of_one_process_steer_as_one(dbg: nbd.Debugger) -> None:
    with nbd.attach("run") as one, nbd.attach("run") as two:
        one.set(lr=0.5)
        two.set(lr=0.25)
    assert dbg.controls["lr"] == 0.25


def test_who_attaches_is_remembered_after_a_reset(dbg: nbd.Debugger, other: Other) -> None:
    with nbd.attach("run", who="ben") as far:
        far.run(steps=2)
        far.reset()
        until(lambda: len(far.attendance.names) == 2)
        assert far.attendance.steerer == "you"


def test_a_probe_is_on_while_anybody_watches(dbg: nbd.Debugger, other: Other) -> None:
    probes = probes_of(dbg).scheduled
    name = next(one for one, slot in probes.items() if slot.probe.on_demand)
    carl = Other("carl", 78)
    other.ask("put", command=WatchProbe(name, True))
    until(lambda: probes[name].on)
    carl.ask("put", command=WatchProbe(name, True))
    other.ask("put", command=WatchProbe(name, False))
    dbg.run(steps=1)
    assert probes[name].on
    # Whoever is gone watches no more.
    carl.close()
    until(lambda: not probes[name].on)


def test_nobody_else_may_end_the_training(dbg: nbd.Debugger, other: Other) -> None:
    with pytest.raises(nbd.ArgumentError, match="close is given in the process of the training"):
        other.ask("put", command=Close())
    dbg.run(steps=1)


@pytest.mark.parametrize(
    "message",
    [3, None, [], {}, {"ask": "eval"}, {"ask": "put"}, {"ask": "put", "command": "Close"},
     {"ask": "begin", "what": "os"}, {"ask": "check"}, {"ask": "note", "text": 3}],
)  # fmt: skip
def test_nonsense_is_answered_with_an_error_and_training_goes_on(
    dbg: nbd.Debugger, other: Other, message: Any
) -> None:
    with pytest.raises((nbd.NbdebugError, KeyError)):
        raise_refusal(lambda: other.connection.ask(message, lambda: None))
    dbg.run(steps=1)
