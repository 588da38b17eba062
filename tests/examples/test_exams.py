"""An exam reads new digits, and leaves the training as it was."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug import examples
from nbdebug.examples.networks import batchnorm_mlp


def healthy(**options: object) -> nbd.Debugger:
    model = batchnorm_mlp(0, 0.2)
    return nbd.Debugger(model, examples.digits(0), nn.CrossEntropyLoss(), lr=1e-3, **options)


def test_an_exam_is_passed_when_new_digits_are_read_and_the_loss_is_low() -> None:
    with healthy() as dbg:
        assert not examples.exam(dbg).passed
        assert math.isnan(examples.exam(dbg).loss)
        dbg.run(epochs=12)
        found = examples.exam(dbg)
        losses = dbg.history.frame("loss")["loss"]

    X, y = examples.load("digits")
    new = torch.randperm(len(X), generator=torch.Generator().manual_seed(0))[1437:]
    with torch.no_grad():
        right = int((dbg.model.eval()(X[new]).argmax(1) == y[new]).sum())
    assert found.samples == len(new) == 360
    assert found.accuracy == pytest.approx(right / 360)
    assert found.loss == pytest.approx(sum(losses.tolist()[-20:]) / 20)
    assert found.passed
    assert repr(found).startswith("passed: ")


@pytest.mark.parametrize(
    ("accuracy", "loss", "passed"),
    [(0.9, 0.49, True), (0.89, 0.1, False), (0.95, 0.5, False), (0.95, math.nan, False)],
)
def test_both_accuracy_and_training_loss_decide(accuracy: float, loss: float, passed: bool) -> None:
    found = examples.Exam(accuracy, 360, loss)

    assert found.passed is passed
    assert repr(found).startswith("passed" if passed else "not passed")


def test_no_sick_training_on_digits_has_seen_the_digits_of_the_exam() -> None:
    X, _ = examples.digits(0, 1797)
    trained_on, _ = examples.digits(0)

    assert torch.equal(X[:1437], trained_on)


def test_a_training_goes_on_to_the_bit_after_an_exam() -> None:
    ends = []
    for examined in (False, True):
        with healthy(seed=3) as dbg:
            dbg.model[1].eval()
            dbg.run(steps=10)
            before = copy.deepcopy(dbg.model.state_dict())
            modes = [module.training for module in dbg.model.modules()]
            if examined:
                examples.exam(dbg)
            assert [module.training for module in dbg.model.modules()] == modes
            for name, value in dbg.model.state_dict().items():
                assert torch.equal(value, before[name])
            dbg.run(steps=10)
            ends.append(dbg.model.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.parametrize("model", [nn.Linear(3, 10), nn.Linear(64, 4)])
def test_a_network_that_reads_no_digits_is_refused(model: nn.Linear) -> None:
    data = (torch.zeros(8, model.in_features), torch.zeros(8, dtype=torch.long))
    with nbd.Debugger(model, data, nn.CrossEntropyLoss()) as dbg:
        with pytest.raises(nbd.ArgumentError, match="The network does not"):
            examples.exam(dbg)
        assert dbg.model.training


@pytest.mark.parametrize("letter", "IJKLMNO")
def test_the_patients_of_the_exercises_do_not_pass_as_they_are(letter: str) -> None:
    with examples.patient(letter) as dbg:
        assert not examples.exam(dbg).passed
