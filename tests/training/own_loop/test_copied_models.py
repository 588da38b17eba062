"""A loop may copy and save its model in every step, measured or not."""

from __future__ import annotations

import copy
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.model.module.hooks import after_forward, before_forward
from nbdebug.model.state.bits import bitwise_equal
from tests.inside import open_view

X = torch.randn(96, 6, generator=torch.Generator().manual_seed(0))
Y = (X.sum(1) > 0).long()


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 2)
    )


def run(watched: bool, look: bool, batches: bool) -> tuple[Any, list[Any]]:
    """Train; return the state of the model, and what it was in its copies and files."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(TensorDataset(X, Y), batch_size=16, shuffle=True)
    copies: list[nn.Module] = []
    dbg = nbd.watch(model, optimizer, runs=None) if watched else None

    def step(x: torch.Tensor, y: torch.Tensor) -> None:
        # What a view measures while training is paused is left out, as a loop leaves out prints.
        kept: list[nn.Module] = [] if dbg is not None and dbg.on_trial else copies
        kept.append(copy.deepcopy(model))
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        kept.append(torch.load(file, weights_only=False))
        # One that is called does not pass for the model.
        kept[-1](x)

    def loop() -> None:
        for number in range(5):
            if dbg is not None and look and number == 2:
                dbg.check()
            passes = loader if dbg is None or not batches else dbg.batches(loader)
            for x, y in passes:
                if dbg is None or batches:
                    step(x, y)
                else:
                    with dbg.step():
                        step(x, y)

    torch.manual_seed(1)
    if dbg is None:
        loop()
    else:
        with dbg:
            open_view(dbg.dashboard, "Findings")
            loop()
    model.eval()
    for one in copies:
        one.eval()
    return model.state_dict(), [one(X) for one in copies]


@pytest.mark.parametrize("look", [False, True])
@pytest.mark.parametrize("batches", [False, True])
def test_copies_and_files_are_those_of_the_bare_loop(batches: bool, look: bool) -> None:
    wanted = run(watched=False, look=False, batches=batches)
    assert bitwise_equal(run(watched=True, look=look, batches=batches), wanted)


def test_a_file_is_loaded_without_nbdebug(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    seen = []
    handles = [
        after_forward(model, lambda *given: seen.append(given)),
        before_forward(model, lambda *given: seen.append(given), with_kwargs=True),
    ]
    torch.save(model, tmp_path / "model.pt")
    code = (
        "import sys, torch; sys.modules['nbdebug'] = None; "
        f"model = torch.load({str(tmp_path / 'model.pt')!r}, weights_only=False); "
        "print(tuple(model(torch.zeros(1, 3)).shape))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(1, 2)"
    copy.deepcopy(model)(torch.zeros(1, 3))
    assert not seen
    model(torch.zeros(1, 3))
    assert len(seen) == 2
    for handle in handles:
        handle.remove()
    assert not model._forward_hooks
