"""Kills everything that writes, and says what is left of it.

Usage: killed_writers.py FOLDER STORE SEED COUNT. STORE is an empty database of MLflow. Each kind of
writer runs in a forked child that is killed COUNT times: half of them at a drawn access to a file,
the others at a drawn time. Prints a line `kind number: ok` or `kind number: what is wrong` for
each.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from os import _exit as leave_child
from pathlib import Path
from typing import Any

import mlflow  # noqa: F401
import numpy as np
import pyarrow  # noqa: F401
import torch

import nbdebug as nbd
from nbdebug.core.history.history import History
from nbdebug.core.records import Reading, Status, StepRecord
from nbdebug.errors import CheckpointError
from nbdebug.runs.record.location import store_location
from nbdebug.runs.recording import recorder as recording
from nbdebug.runs.recording import store_writer
from nbdebug.runs.recording.recorder import Recorder
from nbdebug.training.timeline.checkpoint_file import CheckpointFile
from nbdebug.training.timeline.disk.paths import path_of, previous_of
from nbdebug.training.timeline.disk.reader import FORMAT_VERSION
from nbdebug.training.timeline.disk.seal import check_seal

EVENTS = ("open", "os.rename", "os.remove", "os.link", "os.mkdir", "os.chmod", "sqlite3.connect")
EARLY, LATE, FLUSHES = 40, 90, 12
Say = Callable[[int], None]


class Training:
    """A training that is recorded in the current folder."""

    def __init__(self, start: bool = False) -> None:
        location = store_location("runs.db")
        assert location is not None
        self.history, self.step = History(64), 0
        self.recorder = Recorder(self.history, "run", {"parameters": {"lr": 0.1}}, location, start)

    def train(self, steps: int, shift: float = 0.0) -> None:
        for step in range(self.step, self.step + steps):
            value = np.array([step + shift])
            self.history.append(StepRecord(step, (Reading(("loss",), value),)))
        self.step += steps
        self.history.set_status(Status(step=self.step))
        self.recorder.flush()

    def export(self, name: str) -> None:
        from nbdebug.runs.store.run import Run

        data = self.recorder.bundle()
        Run(lambda: data).export(f"../{name}.zip")


# What is done, and what must hold after a kill; `said` is the last number that it said.


def train(say: Say) -> None:
    recording.COMPACTION_BYTES = 500
    training = Training()
    for _ in range(FLUSHES):
        training.train(30)
        say(training.step)


def trained(said: int) -> None:
    found = whole_runs()
    assert not said or [status for status, _ in found] == ["interrupted"], found
    assert not said or found[0][1] >= said, (found, said)


def end(say: Say) -> None:
    training = Training()
    training.train(LATE)
    say(LATE)
    training.recorder.close()


def ended(said: int) -> None:
    found = whole_runs()
    assert not said or found in ([("interrupted", LATE)], [("finished", LATE)]), found


def take_in(say: Say) -> None:
    nbd.runs("runs.db")


def taken_in(said: int) -> None:
    assert whole_runs() == [("interrupted", LATE)], whole_runs()


def import_longer(say: Say) -> None:
    nbd.import_run("../early.zip", "runs.db")
    say(EARLY)
    nbd.import_run("../late.zip", "runs.db")


def imported_longer(said: int) -> None:
    found = whole_runs()
    assert found in ([], [("interrupted", EARLY)], [("interrupted", LATE)]), found
    assert found or not said
    assert nbd.import_run("../late.zip", "runs.db").steps == LATE
    assert whole_runs() == [("interrupted", LATE)]


def import_other(say: Say) -> None:
    nbd.import_run("../late.zip", "runs.db")
    say(LATE)
    nbd.import_run("../other.zip", "runs.db")


def imported_other(said: int) -> None:
    whole_runs()
    for name in ("late", "other"):
        nbd.import_run(f"../{name}.zip", "runs.db")
    found = sorted(whole_runs())
    assert found == [("interrupted", LATE - 1), ("interrupted", LATE)], found


def save(say: Say) -> None:
    file = CheckpointFile("mine", History())
    for number in range(1, FLUSHES):
        data = {"counters": {"step": number}, "weights": torch.full((2000,), float(number))}
        file.write({**data, "format": FORMAT_VERSION})
        say(number)


def whole_checkpoint(path: Path) -> Any:
    """The newest of the two files that a training would be resumed from."""
    for file in (path, previous_of(path)):
        with suppress(FileNotFoundError, CheckpointError):
            if check_seal(file) is not None:
                return torch.load(file, weights_only=True)
    raise AssertionError("no whole checkpoint is left")


def saved(said: int) -> None:
    if said:
        data = whole_checkpoint(path_of("mine"))
        assert data["counters"]["step"] >= said, (data["counters"], said)
        assert (data["weights"] == data["counters"]["step"]).all()


def export(say: Say) -> None:
    shutil.copy("../early.zip", "run.zip")
    run = nbd.import_run("../late.zip", "all.db")
    say(EARLY)
    run.export("run.zip")
    run.report("run.html")


def exported(said: int) -> None:
    if said:
        assert nbd.import_run("run.zip", "other.db").steps in (EARLY, LATE)
        report = Path("run.html")
        assert not report.exists() or report.read_text(encoding="utf-8").endswith("</html>\n")


WRITERS: dict[str, tuple[Callable[[Say], None], Callable[[int], None]]] = {
    "training": (train, trained), "end": (end, ended), "taking in": (take_in, taken_in),
    "import": (import_longer, imported_longer), "import beside": (import_other, imported_other),
    "checkpoint": (save, saved), "export": (export, exported),
}  # fmt: skip


def whole_runs() -> list[tuple[str, int]]:
    """Status and steps of all runs, each of which holds all its steps; no journal is left."""
    table = nbd.runs("runs.db")
    for which, steps in zip(table.index, table["steps"], strict=True):
        loss = nbd.load_run(which, "runs.db")["loss"]
        assert int(loss.count.sum()) == steps == int(loss.step[-1]) + 1
    left = [path.name for path in Path("runs").glob("*") if path.is_file()]
    assert not [name for name in left if name != "opening.lock" and "damaged" not in name], left
    assert "damaged" not in str(left)
    return list(zip(table["status"], table["steps"], strict=True))


def forked(act: Callable[[], Any], folder: Path) -> tuple[int, str]:
    """Do something in a child, in a folder; its exit status, and what it wrote."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        os.dup2(write, 1)
        try:
            act()
            sys.stdout.flush()
        except BaseException:
            os.write(1, traceback.format_exc().encode())
            leave_child(1)
        leave_child(0)
    os.close(write)
    with open(read, "rb") as pipe:
        text = pipe.read().decode()
    return os.waitpid(child, 0)[1], text


def said_in(text: str) -> int:
    lines = [line for line in text.splitlines() if line.isdigit()]
    return int(lines[-1]) if lines else 0


def say(number: int) -> None:
    os.write(1, f"{number}\n".encode())


def killed_at(act: Callable[[Say], None], event: int, seconds: float) -> None:
    """Do something, and be killed at an access to a file, or after a time."""
    count = 0

    def watch(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if name in EVENTS:
            count += 1
            if count == event:
                os.kill(os.getpid(), signal.SIGKILL)

    store_writer.START_DELAY_SECONDS = 0.0
    sys.addaudithook(watch)
    if seconds:
        # Nobody handles this signal, so it ends the process at once.
        signal.setitimer(signal.ITIMER_REAL, seconds)
    begun = time.monotonic()
    act(say)
    took = time.monotonic() - begun
    os.write(1, f"took {json.dumps([count, took])}\n".encode())


def prepare(base: Path) -> None:
    """Exports of a run at three times, and the journal that a kernel left."""
    training = Training()
    training.train(EARLY)
    training.export("early")
    training.train(LATE - EARLY)
    training.export("late")
    assert training.recorder.path is not None
    shutil.copy(training.recorder.path, base / "orphan.journal")
    (base / "key").write_text(training.recorder.key)
    training.history.rewind(20, LATE)
    training.step = 20
    training.train(LATE - 1 - 20, shift=0.5)
    training.export("other")


def fresh(base: Path, store: Path, kind: str) -> Path:
    folder = base / "work"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in ("runs.db", "all.db", "other.db"):
        shutil.copy(store, folder / name)
    if kind == "taking in":
        (folder / "runs").mkdir()
        key = (base / "key").read_text()
        shutil.copy(base / "orphan.journal", folder / "runs" / f"{key}.journal")
        (folder / "runs" / f"{key}.recording.lock").touch()
    return folder


def main(base: Path, store: Path, draw: random.Random, count: int) -> None:
    prepared = base / "prepared"
    prepared.mkdir()
    shutil.copy(store, prepared / "runs.db")
    status, text = forked(lambda: prepare(base), prepared)
    assert status == 0, text
    for at, (kind, (act, check)) in enumerate(WRITERS.items()):
        folder = fresh(base, store, kind)
        status, text = forked(lambda act=act: killed_at(act, 0, 0.0), folder)
        assert status == 0, text
        # Without a kill it holds too.
        said = said_in(text)
        whole, wrong = forked(lambda check=check, said=said: check(said), folder)
        assert whole == 0, f"{kind}: {wrong}"
        events, took = json.loads(text.rpartition("took ")[2])
        for number in range(count):
            folder = fresh(base, store, kind)
            event = draw.randint(1, events) if (at + number) % 2 == 0 else 0
            seconds = 0.0 if event else draw.uniform(0.0, took)
            status, text = forked(
                lambda act=act, event=event, seconds=seconds: killed_at(act, event, seconds),
                folder,
            )
            said = said_in(text)
            status, text = forked(lambda check=check, said=said: check(said), folder)
            how = f"access {event} of {events}" if event else f"{seconds:.3f} of {took:.3f} s"
            wrong = "" if status == 0 else f" killed at {how}: {' | '.join(text.splitlines())}"
            print(f"{kind} {number}: {wrong or 'ok'}", flush=True)


if __name__ == "__main__":
    folder, store = (Path(argument).absolute() for argument in sys.argv[1:3])
    main(folder, store, random.Random(int(sys.argv[3])), int(sys.argv[4]))
