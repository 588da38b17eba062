"""Validation equals a plain evaluation and does not change training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import nbdebug as nbd
from tests.problems import PlainLoop, blobs, same_weights, tiny_mlp

SEEN = blobs()
HELD_OUT = blobs(samples=333, seed=8)
EPOCH = 7
loss_fn = nn.CrossEntropyLoss()


def plain_evaluation(model: nn.Module) -> tuple[float, float]:
    """Mean loss and accuracy over all held-out samples, at once, in double precision."""
    X, y = HELD_OUT
    was = model.training
    model.eval()
    with torch.no_grad():
        outputs = model(X).double()
    model.train(was)
    accuracy = (outputs.argmax(1) == y).double().mean()
    return float(loss_fn(outputs, y)), float(accuracy)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return zip(*HELD_OUT, strict=True)


FORMS: dict[str, Callable[[], Any]] = {
    "tensors": lambda: HELD_OUT,
    "numpy": lambda: tuple(part.numpy() for part in HELD_OUT),
    "dataset": lambda: TensorDataset(*HELD_OUT),
    "loader": lambda: DataLoader(TensorDataset(*HELD_OUT), batch_size=50),
    "shuffled loader": lambda: DataLoader(TensorDataset(*HELD_OUT), batch_size=7, shuffle=True),
    "workers": lambda: DataLoader(TensorDataset(*HELD_OUT), batch_size=100, num_workers=1),
    "stream": Stream,
}


def plain_training(steps: int, model: nn.Module | None = None) -> PlainLoop:
    model = tiny_mlp() if model is None else model
    return PlainLoop(model, SEEN, torch.optim.Adam(model.parameters(), lr=1e-3)).run(steps)


@pytest.mark.parametrize("form", FORMS)
def test_once_an_epoch_it_equals_a_plain_evaluation(form: str) -> None:
    with nbd.Debugger(tiny_mlp(), SEEN, loss_fn, batch_size=32, val_data=FORMS[form]()) as dbg:
        dbg.run(epochs=2)
        frame = dbg.history.frame(["val_loss", "val_accuracy"])
    assert frame.index.tolist() == [EPOCH - 1, 2 * EPOCH - 1]
    for epoch, (loss, accuracy) in enumerate(frame.to_numpy(), start=1):
        expected = plain_evaluation(plain_training(epoch * EPOCH).model)
        assert (loss, accuracy) == pytest.approx(expected, rel=1e-6)


def test_every_few_steps_it_equals_a_plain_evaluation() -> None:
    with nbd.Debugger(
        tiny_mlp(), SEEN, loss_fn, batch_size=32, val_data=HELD_OUT, val_every=3
    ) as dbg:
        dbg.run(steps=8)
        series = dbg.history.frame("val_loss")["val_loss"]
    assert series.index.tolist() == [2, 5]
    for step, loss in series.items():
        expected = plain_evaluation(plain_training(int(str(step)) + 1).model)
        assert loss == pytest.approx(expected[0], rel=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_training_is_bit_equal_with_and_without(form: str) -> None:
    with nbd.Debugger(
        tiny_mlp(), SEEN, loss_fn, batch_size=32, val_data=FORMS[form](), val_every=2
    ) as dbg:
        dbg.run(steps=20)
        expected = plain_training(20)
        assert dbg.history.frame("loss")["loss"].dropna().tolist() == expected.losses
        assert same_weights(dbg.model, expected.model)
    with nbd.Debugger(tiny_mlp(), SEEN, loss_fn, batch_size=32) as without:
        without.run(steps=20)
        assert same_weights(without.model, expected.model)


def test_the_random_numbers_of_other_cells_stay() -> None:
    with nbd.Debugger(
        tiny_mlp(), SEEN, loss_fn, val_data=FORMS["shuffled loader"](), val_every=1
    ) as dbg:
        torch.manual_seed(5)
        dbg.run(steps=3)
        drawn = torch.rand(4)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(4))


def test_training_flags_stay_also_that_of_a_frozen_layer() -> None:
    model, plainly = tiny_mlp(), tiny_mlp()
    flags: list[tuple[bool, ...]] = []
    for each in (model, plainly):
        each.train()
        each[1].eval()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.register_forward_pre_hook(
        lambda module, _: flags.append(tuple(m.training for m in module.modules()))
    )
    with nbd.Debugger(model, SEEN, loss_fn, batch_size=32, val_data=HELD_OUT, val_every=2) as dbg:
        dbg.run(steps=6)
    assert [module.training for module in model] == [True, False, True, True, True]
    assert set(flags) == {(True, True, False, True, True, True), (False,) * 6}
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, before[name])
    assert same_weights(model, plain_training(6, plainly).model)


def test_flags_and_random_numbers_stay_when_it_fails() -> None:
    model = tiny_mlp()
    broken = [True]

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if broken[0] and not model.training:
            raise RuntimeError("no luck")
        return loss_fn(outputs, targets)

    with nbd.Debugger(model, SEEN, loss, batch_size=32, val_data=HELD_OUT, val_every=2) as dbg:
        with pytest.raises(RuntimeError, match="no luck"):
            dbg.run(steps=6)
        assert dbg.history.status.step == 2
        assert all(module.training for module in model.modules())
        broken[0] = False
        dbg.run(steps=4)
        assert dbg.history.frame("loss")["loss"].dropna().tolist() == plain_training(6).losses
        assert same_weights(model, plain_training(6).model)


def test_metrics_of_the_users_own_are_averaged_over_samples() -> None:
    metrics = {"largest": lambda outputs, targets: outputs.max(1).values.mean()}
    with nbd.Debugger(
        tiny_mlp(), SEEN, loss_fn, batch_size=32, val_data=HELD_OUT, metrics=metrics
    ) as dbg:
        dbg.run(epochs=1)
        dbg.model.eval()
        with torch.no_grad():
            expected = dbg.model(HELD_OUT[0]).double().max(1).values.mean()
        assert dbg.history.last("val_largest") == pytest.approx(float(expected), rel=1e-6)
        assert "val_accuracy" not in dbg.history.series


def test_it_does_not_count_as_training() -> None:
    with nbd.Debugger(
        tiny_mlp(), SEEN, loss_fn, batch_size=32, val_data=HELD_OUT, val_every=1
    ) as dbg:
        dbg.run(steps=3)
        assert dbg.history.last("samples") == 96
        assert all(parameter.grad is not None for parameter in dbg.model.parameters())


@pytest.mark.parametrize("name", ["", "x\ny", "\x00", "\u202eacc", "\ud800", " acc", 3])
def test_a_metric_has_a_name_that_a_record_gives_back(name: Any) -> None:
    metrics = {name: lambda outputs, targets: 1.0}
    with pytest.raises(nbd.ArgumentError, match="A metric cannot be called"):
        nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), metrics=metrics, runs=None)
