"""Beside a finding that follows a change of a control stands "Undo and go back"; it goes back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.examples import digits
from nbdebug.panels.base import NoSink, PanelContext
from nbdebug.panels.first_finding import FirstFinding
from nbdebug.plots.plot_options import PlotOptions
from tests.inside import requests_of


class Page(NoSink):
    page = ""

    def set_section(self, panel: str, section: str, page: str) -> None:
        self.page = page


@pytest.fixture
def dbg() -> Iterator[nbd.Debugger]:
    torch.manual_seed(0)
    X, y = digits(count=600)
    model = nn.Sequential(
        nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 32), nn.ReLU(),
        nn.Linear(32, 10),
    )  # fmt: skip
    with nbd.Debugger(
        model, (X[:500], y[:500]), nn.CrossEntropyLoss(), val_data=(X[500:], y[500:]),
        lr=1e-3, runs=None,
    ) as made:  # fmt: skip
        yield made


def line(dbg: nbd.Debugger) -> str:
    """The line above the plots."""
    context = PanelContext(PlotOptions())
    context.sink = page = Page()
    panel = FirstFinding(context)
    panel.update(dbg.history.snapshot(panel.needs))
    return page.page


def commands(page: str) -> dict[str, dict[str, Any]]:
    """Fields of each button, by its command."""
    found = re.findall(r'data-command="(\w+)" data-fields="([^"]*)"', page)
    return {command: json.loads(unescape(fields)) for command, fields in found}


def parameters(dbg: nbd.Debugger) -> list[torch.Tensor]:
    return [value.detach().clone() for value in dbg.model.parameters()]


@pytest.mark.parametrize("before", [200, 207])
@pytest.mark.parametrize(
    "change",
    [
        {"lr": 1.0}, {"dropout": 0.95}, {"weight_decay": 10.0},
        {"clip_mode": "norm", "clip_threshold": 1e-5}, {"optimizer": "sgd", "lr": 5.0},
    ],
    ids=str,
)  # fmt: skip
def test_a_change_that_makes_training_sick_can_be_taken_back(
    dbg: nbd.Debugger, change: dict[str, Any], before: int
) -> None:
    dbg.run(before)
    weights, values = parameters(dbg), dict(dbg.controls)
    assert not dbg.findings.causes
    dbg.set(**change)
    dbg.run(100)
    assert dbg.findings.causes
    fields = commands(line(dbg))["undo_and_rewind"]
    (ticket,) = requests_of(dbg).ask("undo_and_rewind", fields)
    assert ticket.answer.result(60).rewound
    assert dbg.history.status.step == before
    assert all(map(torch.equal, parameters(dbg), weights))
    assert dict(dbg.controls) == values


def test_what_was_found_before_the_change_is_not_blamed_on_it(dbg: nbd.Debugger) -> None:
    dbg.run(200)
    dbg.set(clip_mode="norm", clip_threshold=1e-5)
    dbg.run(100)
    assert dbg.findings.names == ("clipping_too_hard",)
    dbg.set(lr=0.002)
    dbg.run(20)
    assert dbg.findings.names == ("clipping_too_hard",)
    assert "undo_and_rewind" not in commands(line(dbg))
