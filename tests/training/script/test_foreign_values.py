"""Values that came from a file are written into a script as values, or not at all."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.model.source_code import Sources
from nbdebug.training.script.constructors import leaf
from tests.training.timeline.timelines import make

CODE = "zeros', bias=[c for c in [open({path!r}, 'w')]], padding_mode='zeros"
ODD = 'x"""\n\r\u2028\x0c\x00import os; os.mkdir("owned")\n# coding: \ud800 utf-7 +AAo-'


@pytest.mark.parametrize(
    "mode",
    [
        CODE, "open({path!r}, 'w')", "*[open({path!r}, 'w')]", "x) or open({path!r}, 'w'",
        "zeros', **{{'bias': open({path!r}, 'w')}}, device='cpu",
    ],
)  # fmt: skip
def test_what_a_layer_says_is_never_run(mode: str, tmp_path: Path) -> None:
    layer = nn.Conv2d(1, 1, 1)
    layer.padding_mode = mode.format(path=str(tmp_path / "owned"))

    with pytest.raises(nbd.ScriptError):
        leaf(layer, Sources())

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(3, 2, bias=False), nn.Conv2d(1, 2, 3, padding="same", padding_mode="circular"),
        nn.BatchNorm1d(3, eps=1e-3), nn.LayerNorm((3, 4)), nn.GELU("tanh"), nn.Dropout(0.25),
        nn.LSTM(3, 4, num_layers=2, batch_first=True), nn.Embedding(5, 3, padding_idx=0),
        nn.MaxPool2d(2), nn.Flatten(), nn.LeakyReLU(-0.1), nn.GroupNorm(2, 4), nn.PReLU(),
    ],
    ids=lambda layer: type(layer).__name__,
)  # fmt: skip
def test_layers_of_torch_are_built_from_what_they_say(layer: nn.Module) -> None:
    text = leaf(layer, Sources())

    assert repr(eval(text, {"nn": nn})) == repr(layer)


def test_reasons_and_names_stay_in_their_comment(tmp_path: Path) -> None:
    with make(name=None) as dbg:
        dbg.run(steps=2)
        dbg.set(lr=0.01, why=ODD)
        dbg.run(steps=2)
        path = tmp_path / 'a"); import os; ("b.py'
        dbg.script(path)

    text = path.read_text(encoding="utf-8")
    names = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    assert "os" not in names
    assert torch.load(path.with_suffix(".pt"), weights_only=True)
