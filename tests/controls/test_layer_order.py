from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.controls.layer_order import LayerOrderControl
from nbdebug.core.control_spec import ControlSpec
from nbdebug.errors import ControlValueError
from nbdebug.training.engine.session import Session
from nbdebug.training.engine.setup import Setup
from tests.problems import CLASSES, FEATURES, PlainLoop, blobs, same_weights, tiny_mlp


class Classifier(nn.Module):
    """Functional activation, dropout before the norm."""

    def __init__(self, norm: type[nn.Module] = nn.BatchNorm1d) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.outer = nn.Linear(FEATURES, 16), nn.Linear(16, CLASSES)
        self.norm, self.drop = norm(16), nn.Dropout(0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outer(self.norm(self.drop(self.inner(x))).relu())


class NormFirst(Classifier):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outer(self.drop(self.norm(self.inner(x))).relu())


class Undecided(Classifier):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x if x.sum() > 0 else -x)


def debug(model: nn.Module) -> nbd.Debugger:
    return nbd.Debugger(model, blobs(), nn.CrossEntropyLoss(), batch_size=32)


def spec_of(model: nn.Module) -> ControlSpec:
    session = Session(Setup(model, blobs(), nn.CrossEntropyLoss()))
    return LayerOrderControl().spec(session)


def plain(model: nn.Module, change: int = -1, back: int = -1) -> PlainLoop:
    loop = PlainLoop(model, blobs(), torch.optim.Adam(model.parameters(), lr=1e-3))
    kinds = {change: NormFirst, back: Classifier}
    loop.at = {
        step: lambda loop, kind=kind: setattr(loop.model, "__class__", kind)
        for step, kind in kinds.items()
    }
    return loop.run(30)


def test_a_forward_of_its_own_is_reordered_while_it_trains() -> None:
    model = Classifier()
    expected = plain(copy.deepcopy(model), 10, 20)
    with debug(model) as dbg:
        dbg.run(steps=10)
        dbg.set(layer_order="norm_dropout")
        dbg.run(steps=10)
        dbg.set(layer_order="as_built")
        dbg.run(steps=10)
        assert dbg.history.frame("loss")["loss"].tolist() == expected.losses
        assert same_weights(dbg.model, expected.model)
        assert dbg.model is model
        assert "Now drop (Dropout) after norm (BatchNorm1d)." in dbg.changes.note.tolist()


def test_reset_brings_back_the_order_that_training_began_with() -> None:
    expected = plain(Classifier())
    with debug(Classifier()) as dbg:
        dbg.run(steps=5)
        dbg.set(layer_order="norm_dropout")
        dbg.run(steps=5)
        dbg.reset()
        assert dbg.controls["layer_order"] == "as_built"
        dbg.run(steps=30)
        assert dbg.history.frame("loss")["loss"].tolist() == expected.losses
        assert same_weights(dbg.model, expected.model)


def test_the_words_name_the_norms_there_are() -> None:
    batch = dict(spec_of(Classifier()).choices)
    assert batch == {
        "as_built": "As built",
        "norm_dropout": "BatchNorm, then Dropout",
        "dropout_norm": "Dropout, then BatchNorm",
        "activation_dropout": "BatchNorm, activation, then Dropout",
    }
    assert dict(spec_of(Classifier(nn.LayerNorm)).choices)["norm_dropout"] == "Norm, then Dropout"


def test_the_last_norm_is_offered_where_it_is_another_one() -> None:
    model = nn.Sequential(tiny_mlp()[:4], nn.Linear(16, CLASSES))
    assert "dropout_last" not in dict(spec_of(model).choices)
    row = [*tiny_mlp()[:4], nn.Linear(16, 16), nn.BatchNorm1d(16), nn.Linear(16, CLASSES)]
    words = dict(spec_of(nn.Sequential(*row)).choices)["dropout_last"]
    assert words == "Dropout after the last BatchNorm"


def test_a_forward_that_cannot_be_followed_greys_the_control() -> None:
    spec = spec_of(Undecided())
    assert "the model (Undecided) cannot be traced by torch.fx" in spec.unavailable
    assert "test_layer_order.py" in spec.unavailable
    assert "x.sum() > 0" in spec.unavailable
    with debug(Undecided()) as dbg, pytest.raises(ControlValueError, match=r"x\.sum"):
        dbg.set(layer_order="norm_dropout")
