"""A step_fn may return named values, or outputs and targets, beside the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional

import nbdebug as nbd
from tests.problems import blobs, tiny_mlp


def parts(model: torch.nn.Module, batch: Any) -> tuple[Any, Any, Any]:
    outputs = model(batch[0])
    return functional.cross_entropy(outputs, batch[1]), outputs, batch[1]


RETURNS: dict[str, Callable[[Any, Any], Any]] = {
    "the loss": lambda model, batch: parts(model, batch)[0],
    "logs": lambda model, batch: (one := parts(model, batch)[0], {"half": one / 2}),
    "a dict": lambda m, b: {"loss": (one := parts(m, b)[0]), "half": one / 2, "two": 2},
    "outputs": parts,
}


@pytest.mark.parametrize("name", RETURNS)
def test_the_numbers_are_those_of_the_loss_alone(name: str) -> None:
    losses = []
    for step_fn in (RETURNS["the loss"], RETURNS[name]):
        torch.manual_seed(0)
        with nbd.Debugger(tiny_mlp(), blobs(), step_fn=step_fn, val_data=blobs()) as dbg:
            dbg.run(steps=12)
            found = dbg.history.frame()
            assert dbg.replay().equal
            dbg.check()
        losses.append(found["loss"].tolist())
    assert losses[0] == losses[1]
    if name in ("logs", "a dict"):
        assert found["half"].tolist() == pytest.approx([one / 2 for one in losses[1]])
    if name == "a dict":
        assert set(found["two"]) == {2.0}
    if name == "outputs":
        assert found["accuracy"].notna().any()


def test_metrics_are_measured_where_outputs_are_returned() -> None:
    metrics = {"mean": lambda outputs, targets: outputs.mean()}
    with nbd.Debugger(tiny_mlp(), blobs(), step_fn=parts, metrics=metrics) as dbg:
        dbg.run(steps=3)
        assert dbg.history.frame("mean")["mean"].notna().any()
        assert dbg.history.notices == ()


def test_metrics_without_outputs_are_told_of() -> None:
    metrics = {"mean": lambda outputs, targets: outputs.mean()}
    with nbd.Debugger(tiny_mlp(), blobs(), step_fn=RETURNS["the loss"], metrics=metrics) as dbg:
        dbg.run(steps=3)
        (notice,) = dbg.history.notices
    assert "(loss, outputs, targets)" in notice.text


@pytest.mark.parametrize("metrics", [None, {"accuracy": lambda outputs, targets: 0.5}])
def test_a_step_may_log_a_metric_that_is_not_measured(metrics: Any) -> None:
    def step(model: torch.nn.Module, batch: Any) -> Any:
        loss, outputs, targets = parts(model, batch)
        return {"loss": loss, "accuracy": (outputs.argmax(1) == targets).float().mean()}

    torch.manual_seed(0)
    with nbd.Debugger(tiny_mlp(), blobs(), step_fn=step, metrics=metrics) as dbg:
        dbg.run(steps=12)
        logged = dbg.history.frame("accuracy")["accuracy"]
    torch.manual_seed(0)
    with nbd.Debugger(tiny_mlp(), blobs(), step_fn=parts) as dbg:
        dbg.run(steps=12)
        measured = dbg.history.frame("accuracy")["accuracy"]
    assert len(logged) == 12
    assert logged[measured.index].tolist() == measured.tolist()


@pytest.mark.parametrize(
    ("logs", "word"), [({"lr": 1.0}, "lr"), ({"a b!": 1.0}, "a b!"), ({"text": "x"}, "text")]
)
def test_what_is_no_series_is_refused_before_the_update(logs: dict[str, Any], word: str) -> None:
    with nbd.Debugger(
        tiny_mlp(), blobs(), step_fn=lambda model, batch: (parts(model, batch)[0], logs)
    ) as dbg:
        with pytest.raises(nbd.ArgumentError, match=word):
            dbg.run(steps=1)
        assert dbg.history.status.step == 0
