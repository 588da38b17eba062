"""Trains, forks children of all kinds while training goes on, and says what became of them.

Usage: forked_training.py DATABASE [killed]. Children that hang are killed after a while.
"""

from __future__ import annotations

import faulthandler
import gc
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from os import _exit as leave_child
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd

HANGS_SECONDS = 60
PLACE = Path(sys.argv[1])


dbg: Any = None


def training(name: str) -> nbd.Debugger:
    torch.manual_seed(0)
    X = torch.randn(200, 8)
    y = (X.sum(1) > 0).long()
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    return nbd.Debugger(model, (X, y), nn.CrossEntropyLoss(), runs=PLACE, name=name)


def fork(act: Callable[[], Any]) -> int:
    """Do something in a forked child, which then leaves as a program does; its exit status."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        faulthandler.dump_traceback_later(HANGS_SECONDS, exit=True)
        act()
        sys.stdout.flush()
        sys.exit(0)
    return os.waitpid(child, 0)[1]


def say(name: str, status: int, dbg: nbd.Debugger) -> None:
    record = dbg.record
    ended = "ended" if record.bundle["run"]["ended"] else "not ended"
    before = dbg.history.status.step
    dbg.run(steps=5)
    more = dbg.history.status.step - before
    print(f"{name}: ended {status}, {record.status}, {ended}, {more} more steps", flush=True)


def process(act: Callable[[], Any]) -> int:
    child = multiprocessing.get_context("fork").Process(target=act)
    child.start()
    child.join(HANGS_SECONDS)
    return child.exitcode if child.exitcode is not None else -1


def workers() -> int:
    loader = DataLoader(
        TensorDataset(torch.arange(8)), num_workers=2, multiprocessing_context="fork"
    )
    return len(list(loader)) - 8


def collect() -> None:
    global dbg
    del dbg
    gc.collect()


def refusal(name: str, act: Callable[[], Any]) -> None:
    try:
        answer = str(act())
    except Exception as error:
        answer = f"{type(error).__name__} {error}"
    print(f"{name} in a child: {answer.splitlines()[0]}", flush=True)


def ask(dbg: nbd.Debugger) -> None:
    verbs: dict[str, Callable[[], Any]] = {
        "run": lambda: dbg.run(steps=1), "start": dbg.start, "set": lambda: dbg.set(lr=0.1),
        "check": dbg.check, "record": lambda: dbg.record, "note": lambda: dbg.note("in a child"),
        "runs": lambda: dbg.runs, "findings": lambda: dbg.findings,
        "dashboard": lambda: dbg.dashboard, "wait": dbg.wait, "state": lambda: dbg.state,
        "repr": lambda: repr(dbg), "history": dbg.history.frame, "close": dbg.close,
    }  # fmt: skip
    for name, act in verbs.items():
        refusal(name, act)


def own() -> None:
    with training("own") as mine:
        mine.run(steps=7)


def main() -> None:
    global dbg
    dbg = training("forked")
    dbg.run(steps=5)
    _ = dbg.record
    say("exits", fork(lambda: None), dbg)
    say("closes", fork(lambda: dbg.close()), dbg)
    say("collects", fork(collect), dbg)
    say("multiprocessing", process(gc.collect), dbg)
    say("workers", workers(), dbg)
    say("own", fork(own), dbg)
    dbg.start()
    fork(lambda: ask(dbg))
    dbg.pause()
    dbg.rewind(35)
    dbg.close()
    table = nbd.runs(PLACE).sort_values("name")
    print("listed:", table[["name", "status", "steps"]].values.tolist())
    print("rows:", len(nbd.load_run("forked", PLACE).frame("loss")))


def killed() -> None:
    dbg = training("killed")
    dbg.run(steps=5)
    _ = dbg.record
    child = os.fork()
    if child == 0:
        time.sleep(10 * HANGS_SECONDS)
        leave_child(0)
    print(child, flush=True)
    time.sleep(10 * HANGS_SECONDS)


if __name__ == "__main__":
    killed() if "killed" in sys.argv else main()
