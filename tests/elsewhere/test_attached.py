"""An attached Debugger has the numbers and the verbs of the training, through a real socket."""

from __future__ import annotations

import gc
import json
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.core.records import ControlChange
from nbdebug.debugger.attached.attached import Attached
from nbdebug.debugger.record import LiveRun
from nbdebug.elsewhere.registry import find
from tests.elsewhere.waiting import until
from tests.problems import blobs, tiny_mlp


@pytest.fixture
def dbg() -> Iterator[nbd.Debugger]:
    with nbd.Debugger(
        tiny_mlp(), blobs(), nn.CrossEntropyLoss(), val_data=blobs(seed=1), val_every=10,
        optimizer="sgd", lr=0.1, name="run", serve=True, runs=None,
    ) as made:  # fmt: skip
        yield made


@pytest.fixture
def far(dbg: nbd.Debugger) -> Iterator[Attached]:
    with nbd.attach("run", who="notebook") as made:
        yield made


def settled(dbg: nbd.Debugger, far: Attached) -> None:
    """Wait until the mirror holds what the History holds."""
    until(lambda: far.history.notices == dbg.history.notices)
    until(lambda: far.history.status == dbg.history.status)
    until(lambda: len(far.history.results) == len(dbg.history.results))
    until(lambda: far.history.changes == dbg.history.changes)


def test_it_shows_the_numbers_of_the_training(dbg: nbd.Debugger, far: Attached) -> None:
    dbg.run(steps=30)
    settled(dbg, far)
    mine, theirs = far.history.snapshot(("*",)), dbg.history.snapshot(("*",))
    assert list(mine.series) == list(theirs.series)
    for name, series in theirs.series.items():
        assert mine.series[name].last.tobytes() == series.last.tobytes(), name
    assert far.history.frame().equals(dbg.history.frame())
    assert far.controls == dbg.controls
    assert far.session.step == 30
    assert far.session.samples == dbg.session.samples
    assert repr(far).startswith("<Attached to run: paused at step 30, process ")


def test_it_runs_pauses_and_steps(dbg: nbd.Debugger, far: Attached) -> None:
    far.run(steps=5)
    assert (dbg.session.step, far.session.step) == (5, 5)
    far.step(2)
    assert far.history.status.step == dbg.session.step == 7
    far.start()
    until(lambda: far.session.step > 12)
    assert far.state == "running"
    far.pause()
    assert dbg.state == far.state == "paused"
    assert far.wait(5)
    far.reset()
    assert far.history.status.step == dbg.history.status.step == 0
    assert far.history.series == ()


def test_set_is_in_force_when_it_returns_and_says_who(dbg: nbd.Debugger, far: Attached) -> None:
    far.run(steps=3)
    far.set(lr=0.05, dropout=0.1, why="plateau")
    assert dbg.controls["lr"] == far.controls["lr"] == 0.05
    rows = [(c.step, c.control, c.new, c.who, c.why) for c in dbg.history.changes]
    assert rows == [
        (3, "lr", 0.05, "notebook", "plateau"), (3, "dropout", 0.1, "notebook", "plateau"),
    ]  # fmt: skip
    assert far.changes.equals(dbg.changes)
    # Of one call, which is taken back at once.
    far.undo()
    assert (dbg.controls["lr"], dbg.controls["dropout"]) == (0.1, pytest.approx(0.3))


def test_set_while_training_runs_is_applied(dbg: nbd.Debugger, far: Attached) -> None:
    far.start()
    far.set(lr=0.025)
    until(lambda: far.controls["lr"] == 0.025)
    far.pause()
    assert [c.status for c in far.history.changes] == ["applied"]


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda one: one.set(lr=-1.0), nbd.ControlValueError),
        (lambda one: one.set(lr=0.2, batch_size=0), nbd.ControlValueError),
        (lambda one: one.set(lrr=1.0), nbd.ControlNameError),
        (lambda one: one.rewind(10**6), nbd.ArgumentError),
        (lambda one: one.rewind("nowhere"), nbd.ArgumentError),
        (lambda one: one.fork(0), nbd.ArgumentError),
        (lambda one: one.fork(5, lr=-3.0), nbd.ControlValueError),
        (lambda one: one.run(steps=-1), nbd.ArgumentError),
        (lambda one: one.run(), nbd.ArgumentError),
        (lambda one: one.check("nonsense"), nbd.CheckNameError),
        (lambda one: one.break_when("los > 3"), nbd.ArgumentError),
        (lambda one: one.break_when("loss >"), nbd.ArgumentError),
        (lambda one: one.undo(), nbd.ArgumentError),
        (lambda one: one.note(""), nbd.ArgumentError),
        (lambda one: one.timeline.save(), None),
        (lambda one: one.network(sample=10**6), nbd.DataError),
        (lambda one: one.explain(method="magic"), nbd.ArgumentError),
        (lambda one: one.predictions(torch.zeros(3, 99)), None),
    ],
)
def test_it_refuses_in_the_words_of_the_training(
    dbg: nbd.Debugger, far: Attached, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    act: Callable[[Any], object], error: type[Exception] | None,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)

    def words(one: Any) -> object:
        try:
            return type(act(one))
        except Exception as raised:
            return type(raised), str(raised)

    here, there = words(dbg), words(far)
    assert there == here
    if error is not None:
        assert here[0] is error  # type: ignore[index]
    assert dbg.session.step == 0
    assert dbg.history.changes == ()


def test_it_goes_back_forks_and_replays(dbg: nbd.Debugger, far: Attached) -> None:
    far.run(steps=12)
    assert far.checkpoint("good") == 12
    far.run(steps=5)
    result = far.rewind("good")
    assert result.equal
    assert dbg.session.step == far.session.step == 12
    assert far.timeline.marks == dbg.timeline.marks
    settled(dbg, far)
    assert [one.until for one in far.timeline.branches] == [17]

    fork = far.fork(6, lr=[0.01, 0.5])
    mine = dbg.fork(6, lr=[0.01, 0.5])
    assert repr(fork) == repr(mine)
    assert fork.difference.tobytes() == mine.difference.tobytes()
    fork.keep(1)
    assert dbg.session.step == 18
    assert dbg.controls["lr"] == 0.5
    assert far.replay().equal


def test_breakpoints_stop_and_are_cleared(dbg: nbd.Debugger, far: Attached) -> None:
    far.break_when("step == 4")
    assert far.breakpoints == dbg.breakpoints == ("step == 4",)
    far.start()
    assert far.wait(20)
    assert far.failure == dbg.failure
    assert far.failure is not None
    assert far.failure.title == "Break: step == 4"
    far.clear_breakpoints()
    assert dbg.breakpoints == far.breakpoints == ()
    with pytest.raises(nbd.ArgumentError, match="A function cannot be sent"):
        far.break_when(lambda values: values["loss"] > 3)


def test_results_of_inspections_are_those_of_the_training(dbg: nbd.Debugger, far: Attached) -> None:
    far.run(steps=20)
    for act in (
        lambda one: one.summary(),
        lambda one: one.check("shapes", "seeds").frame().drop(columns="seconds").to_csv(),
        lambda one: one.worst_samples(),
        lambda one: one.flight_record(),
        lambda one: one.network(part="0").to_frame()[["name", "mean", "std"]].to_csv(),
        lambda one: one.explain(method="saliency"),
        lambda one: one.network(index=3),
        lambda one: one.embedding().to_frame().to_csv(),
        lambda one: one.predictions().to_frame().to_csv(),
        lambda one: one.findings.to_dict(),
        lambda one: one.lr_range_test(steps=20),
        lambda one: one.timeline.undoable,
    ):
        assert repr(act(far)) == repr(act(dbg))


def test_samples_of_ones_own_travel(dbg: nbd.Debugger, far: Attached) -> None:
    X, y = blobs(seed=5)
    found = far.predictions((X[:7], y[:7]))
    assert len(found.values) == 7
    assert np.array_equal(found.values, dbg.predictions().values)


def test_the_record_comes_over_and_files_are_written_here(
    dbg: nbd.Debugger, far: Attached, tmp_path: Path
) -> None:
    far.run(steps=6)
    far.note("seen from afar")
    run = far.record
    assert isinstance(run, LiveRun)
    assert run.steps == 6
    assert list(run.notes["text"]) == ["seen from afar"]
    assert run.bundle.series.keys() == dbg.record.bundle.series.keys()
    page = far.report(tmp_path / "report.html")
    assert "seen from afar" in page.read_text(encoding="utf-8")
    far.script(tmp_path / "train.py")
    assert "SGD" in (tmp_path / "train.py").read_text(encoding="utf-8")


def test_a_path_of_a_script_begins_in_the_folder_of_who_asks(
    dbg: nbd.Debugger, far: Attached, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far.run(steps=2)
    monkeypatch.chdir(tmp_path)
    far.script("here.py")
    assert (tmp_path / "here.py").exists()


@pytest.mark.parametrize(
    "name",
    ["model", "optimizer", "rules", "stopped", "batch", "outputs", "gradients"],
)
def test_what_lives_elsewhere_is_refused_with_the_process(far: Attached, name: str) -> None:
    with pytest.raises(nbd.ElsewhereError, match=r"^Attached: .* in process \d+, where the"):
        getattr(far, name)
    for part in ("model", "optimizer", "parameters", "device"):
        with pytest.raises(nbd.ElsewhereError):
            getattr(far.session, part)
    with pytest.raises(nbd.ElsewhereError, match="a run is repeated in process"):
        far.repeat(far.record)


def test_errors_of_the_users_code_keep_their_class_and_traceback(runtime: Path) -> None:
    def broken(model: nn.Module, batch: Any) -> torch.Tensor:
        raise ZeroDivisionError("my loss is broken")

    with (
        nbd.Debugger(tiny_mlp(), blobs(), step_fn=broken, name="b", serve=True, runs=None),
        nbd.attach("b") as far,
    ):
        with pytest.raises(ZeroDivisionError, match="my loss is broken") as caught:
            far.run(steps=1)
        assert "in broken" in caught.value.__notes__[0]
        assert far.failure is not None
        assert "my loss is broken" in far.failure.text


def test_nan_in_a_loss_is_told_with_its_place(runtime: Path) -> None:
    X, y = blobs()
    X[:] = math.nan
    with (
        nbd.Debugger(
            tiny_mlp(), (X, y), nn.CrossEntropyLoss(), name="n", serve=True, runs=None
        ) as dbg,
        nbd.attach("n") as far,
    ):
        with pytest.raises(nbd.NonFiniteError) as caught:
            far.run(steps=1)
        assert caught.value.origin == "module"
        assert far.failure == dbg.failure


def test_an_interrupt_of_who_waits_pauses_the_training(dbg: nbd.Debugger, far: Attached) -> None:
    import _thread

    threading.Timer(0.3, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        far.run(steps=10**7)
    assert dbg.state == far.state == "paused"
    far.run(steps=1)


def test_a_result_with_an_object_of_the_users_does_not_break_the_link(
    dbg: nbd.Debugger, far: Attached
) -> None:
    dbg.history.add_change(
        ControlChange(0, 0, 0.0, "lr", object(), nn.ReLU(), "plugin", "", "applied")
    )
    until(lambda: len(far.history.changes) == 1)
    assert repr(far.history.changes[0].new) == "ReLU()"
    far.run(steps=2)
    assert far.session.step == 2


def test_an_object_that_cannot_be_sent_is_refused_and_the_link_stays(far: Attached) -> None:
    with pytest.raises(nbd.ArgumentError, match="cannot be sent to another process"):
        far.set(lr=object())
    with pytest.raises(nbd.ArgumentError, match="cannot be sent to another process"):
        far.predictions(object())
    far.run(steps=1)


def test_closing_it_leaves_the_training_and_it_may_come_back(dbg: nbd.Debugger) -> None:
    far = nbd.attach("run")
    far.run(steps=3)
    far.close()
    far.close()
    assert far.state == "closed"
    assert far.history.last("loss") == dbg.history.last("loss")
    with pytest.raises(nbd.ClosedError, match="Detached"):
        far.step()
    dbg.run(steps=2)
    with nbd.attach() as again:
        assert again.session.step == 5


def test_one_that_nobody_reaches_detaches(dbg: nbd.Debugger) -> None:
    nbd.attach("run")
    gc.collect()
    until(lambda: not any(t.name == "nbdebug-link" for t in threading.enumerate()))
    with nbd.attach("run") as other:
        assert len(other.attendance.names) == 1


def test_the_end_of_the_training_is_told(dbg: nbd.Debugger, far: Attached) -> None:
    far.run(steps=4)
    dbg.close()
    until(lambda: far.history.notices)
    assert far.history.notices[-1].title == "The training has ended"
    assert far.state == "closed"
    assert far.failure is None
    with pytest.raises(nbd.ClosedError, match="was closed, or its script has ended"):
        far.set(lr=0.5)
    assert far.history.last("loss") == dbg.history.last("loss")
    with pytest.raises(nbd.LinkError, match="No training 'run' listens here"):
        nbd.attach("run")


def test_who_waits_for_a_run_is_told_of_the_end(dbg: nbd.Debugger, far: Attached) -> None:
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            far.run(steps=10**7)
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: far.session.step > 3)
    dbg.close()
    thread.join(20)
    assert isinstance(caught[0], nbd.ClosedError)


def test_the_token_is_in_no_text(dbg: nbd.Debugger, far: Attached) -> None:
    token = find("run").token
    texts = [repr(far), repr(dbg), json.dumps(dbg.record.bundle["parameters"], default=str)]
    texts += [f"{vars(one)}" for one in (dbg.history, far.history)]
    assert [text for text in texts if token in text] == []
