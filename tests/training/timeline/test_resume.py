"""After a restart a training continues from disk, bit-identical to one without a restart."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.training.timeline.disk.paths import path_of, previous_of
from nbdebug.training.timeline.disk.reader import read
from tests.inside import let_a_checkpoint_be_due
from tests.training.timeline.timelines import (
    KINDS,
    Augmented,
    Counting,
    Stream,
    X,
    Y,
    change_everything,
    equal,
    make,
    mixup,
    net,
    state,
    workers,
)  # fmt: skip

FOLDER = Path("nbdebug-checkpoints")
VAL = (X[:20], Y[:20])


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def again(kind: str) -> nbd.Debugger:
    """Resume one of `KINDS` with a new model."""
    torch.manual_seed(7)
    model: nn.Module = Counting() if kind == "counting" else net()
    options: dict[str, Any] = {"val_data": VAL, "loss_fn": nn.CrossEntropyLoss()}
    kinds: dict[str, Any] = {"augmented": Augmented, "workers": workers, "stream": Stream}
    data: Any = kinds.get(kind, lambda: (X, Y))()
    if kind == "step_fn":
        options["loss_fn"], options["step_fn"] = None, mixup
    if kind == "own schedule":
        options["schedule"] = lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 0.01, total_steps=500
        )
    return nbd.Debugger.resume("a run", model, data, **options)


@pytest.mark.parametrize("kind", ["adam", "augmented", "workers"])
def test_a_batch_that_was_drawn_but_not_trained_on_comes_again(kind: str) -> None:
    with KINDS[kind]() as straight:
        straight.run(steps=20)
        wanted = state(straight)
    with KINDS[kind](name="a run") as dbg:
        dbg.break_when("step == 9")
        dbg.run(steps=20)
        assert (dbg.state, dbg.history.status.step) == ("paused", 9)
    with again(kind) as dbg:
        dbg.run(steps=11)
        assert equal(state(dbg), wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_it_goes_on_as_if_nothing_had_come_between(kind: str) -> None:
    with KINDS[kind]() as straight:
        change_everything(straight)
        straight.run(steps=20)
        straight.set(lr=2e-3, batch_size=12)
        straight.run(steps=20)
        wanted, controls = state(straight), dict(straight.controls)
    with KINDS[kind](name="a run") as dbg:
        change_everything(dbg)
    with again(kind) as dbg:
        assert dbg.history.status.step == 39
        dbg.run(steps=20)
        dbg.set(lr=2e-3, batch_size=12)
        dbg.run(steps=20)
        assert equal(state(dbg), wanted)
        assert dict(dbg.controls) == controls
        assert dbg.replay().equal
        dbg.rewind(45)
        with pytest.raises(nbd.ArgumentError, match="from 39 to 45"):
            dbg.rewind(10)


def test_relatives_share_their_state_after_a_restart() -> None:
    def first(dbg: nbd.Debugger) -> None:
        for kind in ("adamw", "sgd"):
            dbg.run(steps=3)
            dbg.set(optimizer=kind)
        dbg.run(steps=3)

    def then(dbg: nbd.Debugger) -> None:
        for kind in ("adam", "sgd", "adamw"):
            dbg.set(optimizer=kind)
            dbg.run(steps=3)

    with make() as straight:
        first(straight)
        then(straight)
        wanted = state(straight)
    with make(name="a run") as dbg:
        first(dbg)
    with again("adam") as dbg:
        then(dbg)
        assert equal(wanted, state(dbg))


PROGRAM = """
import os, torch, nbdebug as nbd
from torch import nn
from nbdebug.training.timeline import checkpoint_file as disk
disk.INTERVAL_SECONDS = 0.0
torch.manual_seed(1)
X = torch.randn(96, 6); Y = torch.randint(0, 3, (96,))
model = nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.3), nn.Linear(16, 3))
dbg = nbd.Debugger(model, (X, Y), nn.CrossEntropyLoss(), batch_size=16, name="killed")
dbg.run(steps=100)
dbg.start()
dbg.history.wait_until(lambda status: status.step > 500)
os.kill(os.getpid(), 9)
"""


@pytest.mark.slow
def test_a_process_that_was_killed_leaves_a_checkpoint_that_opens() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=False, capture_output=True)
    assert done.returncode == -9, done.stderr
    data, _ = read("killed")
    assert data["counters"]["step"] > 0
    torch.manual_seed(1)
    inputs, targets = torch.randn(96, 6), torch.randint(0, 3, (96,))
    model = nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.3), nn.Linear(16, 3))
    with nbd.Debugger.resume("killed", model, (inputs, targets), nn.CrossEntropyLoss()) as dbg:
        here = dbg.history.status.step
        assert here == data["counters"]["step"]
        dbg.run(steps=50)
        resumed = {n: t.clone() for n, t in model.state_dict().items()}
    torch.manual_seed(1)
    torch.randn(96, 6), torch.randint(0, 3, (96,))
    fresh = nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.3), nn.Linear(16, 3))
    with nbd.Debugger(fresh, (inputs, targets), nn.CrossEntropyLoss(), batch_size=16) as dbg:
        dbg.run(steps=here + 50)
        assert all(torch.equal(resumed[n], t) for n, t in fresh.state_dict().items())


def keep_twice() -> tuple[Path, Path]:
    for steps in (5, 9):
        with make(name="a run") as dbg:
            dbg.run(steps=steps)
    path = path_of("a run")
    return path, previous_of(path)


def test_a_damaged_file_is_refused_and_the_one_before_it_is_used() -> None:
    path, previous = keep_twice()
    assert previous.exists()
    path.write_bytes(path.read_bytes()[:2000])
    with again("adam") as dbg:
        assert dbg.history.status.step == 5
        (notice,) = [n for n in dbg.history.notices if n.title == "An older checkpoint"]
        assert "cannot be read" in notice.text


def test_a_file_that_would_run_code_is_refused() -> None:
    path, previous = keep_twice()
    previous.unlink()

    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, ("evil",)

    torch.save({"counters": Evil()}, path)
    with pytest.raises(nbd.CheckpointError, match=r"a-run-.*\.pt cannot be read"):
        again("adam")
    assert not Path("evil").exists()


@pytest.mark.parametrize("content", [{"model": 1}, {"counters": 1, "format": 99}])
def test_a_foreign_file_is_refused(content: dict[str, Any]) -> None:
    FOLDER.mkdir()
    torch.save(content, path_of("a run"))
    with pytest.raises(nbd.CheckpointError, match=r"no checkpoint of nbdebug|the format is 99"):
        again("adam")


def test_there_is_nothing_to_resume() -> None:
    with pytest.raises(nbd.CheckpointError, match="does not exist"):
        again("adam")


def test_another_model_or_other_data_is_refused() -> None:
    keep_twice()
    with pytest.raises(nbd.ModelError, match="not the one that was captured"):
        nbd.Debugger.resume("a run", nn.Linear(6, 3), (X, Y), nn.CrossEntropyLoss())
    with pytest.raises(nbd.CheckpointError, match="had 96 samples, now it has 50"):
        nbd.Debugger.resume("a run", net(), (X[:50], Y[:50]), nn.CrossEntropyLoss())


@pytest.mark.parametrize("form", ["tensors", "dataset"])
def test_other_values_of_the_data_are_told(form: str) -> None:
    def data(X: torch.Tensor) -> Any:
        return (X, Y) if form == "tensors" else TensorDataset(X, Y)

    with nbd.Debugger(net(), data(X), nn.CrossEntropyLoss(), name="b", runs=None) as dbg:
        dbg.run(steps=3)
    for there, told in ((X, 0), (X + 1, 1)):
        again = nbd.Debugger.resume("b", net(), data(there), nn.CrossEntropyLoss(), runs=None)
        with again as dbg:
            titles = [notice.title for notice in dbg.history.notices]
            assert titles.count("The data are not those of the checkpoint") == told


def test_a_disk_that_takes_nothing_is_told_and_training_goes_on() -> None:
    FOLDER.write_text("a file where the folder should be")
    with make(name="a run") as dbg:
        let_a_checkpoint_be_due(dbg, on_disk=True)
        dbg.run(steps=5)
        let_a_checkpoint_be_due(dbg)
        dbg.run(steps=50)
        assert dbg.history.status.step == 55
    titles = [notice.title for notice in dbg.history.notices]
    assert titles.count("No checkpoint on disk") == 1


def test_without_a_name_nothing_is_written() -> None:
    with make() as dbg:
        dbg.run(steps=5)
    assert not FOLDER.exists()


def test_a_loader_is_resumed_in_its_order() -> None:
    def loader() -> DataLoader[Any]:
        return DataLoader(Augmented(), batch_size=16, shuffle=True)

    with make(data=loader(), batch_size=None) as straight:
        straight.run(steps=30)
        wanted = state(straight)
    with make(data=loader(), batch_size=None, name="a run") as dbg:
        dbg.run(steps=17)
    with nbd.Debugger.resume("a run", net(), loader(), nn.CrossEntropyLoss()) as dbg:
        dbg.run(steps=13)
        assert equal(state(dbg), wanted)
