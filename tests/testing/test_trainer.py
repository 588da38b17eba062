"""Trainer gives the numbers of a Debugger, on the calling thread."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug import testing
from nbdebug.examples.catalogue import SICK_SETUPS
from nbdebug.plugins import Probe, TrainingState
from tests.plugins import HighLoss
from tests.problems import blobs, same_weights, tiny_mlp


class ThreadName(Probe):
    """Number of threads that ever read it: `threads`."""

    name = "threads"
    every = 1

    def attach(self, session: TrainingState) -> None:
        self.seen: set[str] = set()

    def read(self, step: int) -> dict[str, float]:
        self.seen.add(threading.current_thread().name)
        return {"threads": float(len(self.seen))}


def test_numbers_are_those_of_a_debugger() -> None:
    loss = nn.CrossEntropyLoss()
    with nbd.Debugger(tiny_mlp(), blobs(), loss, optimizer="sgd", lr=0.1, batch_size=32) as dbg:
        dbg.run(steps=10)
        dbg.set(lr=0.02, why="smaller")
        dbg.run(steps=10)
    trainer = testing.Trainer(tiny_mlp(), blobs(), loss, optimizer="sgd", lr=0.1, batch_size=32)
    with trainer:
        trainer.step(10)
        trainer.set(lr=0.02, why="smaller")
        trainer.step(10)
        assert trainer.controls["lr"] == 0.02
        [change] = trainer.history.changes
        assert (change.step, change.old, change.new, change.why) == (10, 0.1, 0.02, "smaller")
        assert trainer.history.status.step == trainer.session.step == 20
    losses = [one.history.frame("loss")["loss"].tolist() for one in (dbg, trainer)]
    assert losses[0] == losses[1]
    assert same_weights(dbg.model, trainer.model)


def test_all_happens_on_the_calling_thread() -> None:
    before = set(threading.enumerate())
    probe = ThreadName()
    with testing.Trainer.of(testing.MLP, probes=[probe]) as trainer:
        trainer.step(3)
        assert set(threading.enumerate()) == before
    assert probe.seen == {threading.current_thread().name}


def test_going_back_makes_the_same_steps_again() -> None:
    with testing.Trainer.of(testing.MLP, probes=()) as trainer:
        trainer.step(5)
        trainer.set(batch_size=16)
        trainer.step(5)
        losses = trainer.history.frame("loss")["loss"].tolist()
        trainer.rewind(7)
        assert trainer.session.step == 7
        trainer.step(3)
        assert trainer.history.frame("loss")["loss"].tolist() == losses


def test_an_exception_of_the_loss_is_raised_where_the_step_is_made() -> None:
    def broken(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no luck")

    with (
        testing.Trainer(tiny_mlp(), blobs(), broken) as trainer,
        pytest.raises(RuntimeError, match="no luck"),
    ):
        trainer.step()


def test_a_value_out_of_range_and_a_misspelt_keyword_are_refused() -> None:
    with testing.Trainer.of(testing.MLP) as trainer:
        with pytest.raises(nbd.ControlValueError, match="lr"):
            trainer.set(lr=-1.0)
        assert trainer.history.changes == ()
    with pytest.raises(nbd.ArgumentError, match="batch_size"):
        testing.Trainer.of(testing.MLP, batchsize=3)


def test_rules_are_asked() -> None:
    with testing.Trainer.of(testing.MLP, probes=()) as trainer:
        assert list(trainer.diagnose(HighLoss()).not_judged) == ["high_loss"]
        trainer.step()
        [finding] = trainer.diagnose(HighLoss())
    assert finding.name == "high_loss"
    assert finding.value == trainer.history.last("loss")


def test_a_sick_setup_is_a_problem() -> None:
    with testing.Trainer.of(SICK_SETUPS["dead units"]) as trainer:
        trainer.step(3)
        assert trainer.history.last("loss") > 0


def test_a_made_up_snapshot_has_its_series_and_its_step() -> None:
    made = testing.snapshot({"loss": [3.0, 2.0], "dead/1": [0.0, 0.5]}, step=40)
    assert made.series["loss"].last.tolist() == [3.0, 2.0]
    assert made.series["dead/1"].step.tolist() == [0, 10]
    assert made.latest["dead/1"] == 0.5
    assert made.status.step == 40
    assert testing.snapshot({"loss": [3.0, 2.0]}).status.step == 2
