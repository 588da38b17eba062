"""A pipe in the place of a file is refused: reading from it would never end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.training.timeline.disk.paths import path_of, previous_of

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
X = torch.randn(96, 6, generator=torch.Generator().manual_seed(0))
DATA = (X, X.sum(1, keepdim=True))


def debugger(**keywords: object) -> nbd.Debugger:
    return nbd.Debugger(nn.Linear(6, 1), DATA, nn.MSELoss(), batch_size=16, **keywords)


def pipe(path: Path) -> str:
    os.mkfifo(path)
    return str(path)


READERS: dict[str, Callable[[str], object]] = {
    "nbd.runs": nbd.runs,
    "nbd.load_run": lambda path: nbd.load_run("some", path),
    "nbd.import_run": nbd.import_run,
}


@pytest.mark.parametrize("verb", READERS)
@pytest.mark.parametrize("name", ["a.db", "a.zip"])
def test_a_pipe_is_no_run_and_no_store(verb: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(nbd.NbdebugError, match="no file"):
        READERS[verb](pipe(tmp_path / name))


@pytest.mark.parametrize("which", ["the newest", "both"])
def test_a_pipe_is_no_checkpoint(
    which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with debugger(name="piped") as dbg:
        for _ in range(2):
            dbg.run(steps=3)
            dbg.timeline.save()
    newest = path_of("piped")
    for path in (newest, previous_of(newest))[: 1 if which == "the newest" else 2]:
        path.unlink()
        pipe(path)
    if which == "both":
        with pytest.raises(nbd.CheckpointError, match="no file"):
            nbd.Debugger.resume("piped", nn.Linear(6, 1), DATA, nn.MSELoss(), batch_size=16)
        return
    again = nbd.Debugger.resume("piped", nn.Linear(6, 1), DATA, nn.MSELoss(), batch_size=16)
    with again as dbg:
        assert [one.title for one in dbg.history.notices] == ["An older checkpoint"]
        dbg.run(steps=3)
    assert newest.is_file()
