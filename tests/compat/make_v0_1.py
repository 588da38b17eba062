"""Made the files in `v0_1/` with nbdebug 0.1.0; kept to show what they hold.

Usage, with that version installed: python make_v0_1.py FOLDER
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import nn

import nbdebug as nbd


def parts() -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    """The model and the data that the test builds again."""
    torch.manual_seed(0)
    X = torch.randn(96, 6)
    y = (X.sum(1) > 0).long()
    model = nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2)
    )
    return model, (X, y)


def train(name: str, runs: str) -> nbd.Debugger:
    """A training with every kind of change that is written down."""
    model, data = parts()
    dbg = nbd.Debugger(
        model, data, nn.CrossEntropyLoss(), val_data=data, batch_size=16, name=name, runs=runs
    )
    dbg.note("begun")
    dbg.run(steps=10)
    dbg.set(lr=3e-3, why="faster")
    dbg.set(left_out=[3, 5], relabelled={7: 1})
    dbg.run(steps=5)
    dbg.reestimate_batchnorm()
    dbg.run(steps=5)
    dbg.checkpoint("here")
    dbg.rewind(18)
    dbg.run(steps=5)
    dbg.set(not_finite="leave_out", layer_order="norm_dropout")
    dbg.fork(4, clip_threshold=0.5, clip_mode="norm").keep()
    dbg.wait()
    dbg.check("shapes", "seeds")
    dbg.culprits()
    assert len(dbg.findings) >= 0
    dbg.run(steps=3)
    return dbg


def after(checkpoint: Path) -> None:
    """Write down which losses follow the checkpoint."""
    Path("nbdebug-checkpoints").mkdir()
    shutil.copy(checkpoint, "nbdebug-checkpoints/old.pt")
    model, data = parts()
    with nbd.Debugger.resume(
        "old", model, data, nn.CrossEntropyLoss(), val_data=data, runs=None
    ) as dbg:
        dbg.run(steps=8)
        losses = dbg.history.frame("loss")["loss"].tolist()
    Path("losses-after-checkpoint.json").write_text(json.dumps(losses))
    shutil.rmtree("nbdebug-checkpoints")


def repeatable(runs: str) -> None:
    """A training of changes that can be made again."""
    model, data = parts()
    with nbd.Debugger(
        model, data, nn.CrossEntropyLoss(), batch_size=16, name="again", runs=runs
    ) as dbg:
        dbg.run(steps=5)
        dbg.set(left_out=[3, 5], relabelled={7: 1}, not_finite="leave_out")
        dbg.run(steps=5)
        dbg.set(lr=3e-3)
        dbg.run(steps=5)
    nbd.load_run("again", runs=runs).export("again-run.zip")


def main(folder: Path) -> None:
    """Write everything into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    repeatable("again.db")
    train("old", "old-runs.db").close()
    run = nbd.load_run("old", runs="old-runs.db")
    run.export("old-run.zip")
    shutil.move("nbdebug-checkpoints/old.pt", "old-checkpoint.pt")
    shutil.rmtree("nbdebug-checkpoints")
    after(Path("old-checkpoint.pt"))
    # A kernel that is killed leaves its journal.
    child = subprocess.Popen([sys.executable, __file__, "--killed"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(3)
    child.send_signal(signal.SIGKILL)
    child.wait()
    shutil.rmtree("nbdebug-checkpoints", ignore_errors=True)
    (journal,) = Path("killed-runs").glob("*journal*")
    shutil.move(journal, "old-killed.journal")
    shutil.rmtree("killed-runs")
    shutil.rmtree("again")
    Path("again.db").unlink()


if __name__ == "__main__":
    if sys.argv[1] == "--killed":
        dbg = train("killed", "killed-runs.db")
        print("ready", flush=True)
        while True:
            time.sleep(1)
    main(Path(sys.argv[1]))
