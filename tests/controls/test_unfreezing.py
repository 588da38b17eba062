"""Layers that came frozen, unfrozen in the middle of a run, against a plain loop, to the bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

import nbdebug as nbd
from nbdebug.errors import ControlValueError, ModelError
from tests.inside import probes_of
from tests.problems import CLASSES, FEATURES, PlainLoop, blobs, same_weights, tiny_mlp

SGD = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3}
KINDS: dict[str, tuple[Callable[..., torch.optim.Optimizer], dict[str, Any]]] = {
    "sgd": (torch.optim.SGD, SGD),
    "adam": (torch.optim.Adam, {"lr": 1e-2, "weight_decay": 1e-3}),
}


def pretrained() -> nn.Sequential:
    """A body that came frozen, BatchNorm included, under a head that learns."""
    model = tiny_mlp()
    for module in (model[0], model[1]):
        module.requires_grad_(False)
    return model


def trained(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def body(model: nn.Module) -> list[nn.Parameter]:
    return [*model[0].parameters(), *model[1].parameters()]  # type: ignore[index]


def unfreeze(loop: PlainLoop) -> None:
    for parameter in body(loop.model):
        parameter.requires_grad_(True)


def unfreeze_in_new_group(loop: PlainLoop) -> None:
    unfreeze(loop)
    first = loop.optimizer.param_groups[0]
    settings = {key: value for key, value in first.items() if key != "params"}
    loop.optimizer.add_param_group({**settings, "params": body(loop.model)})


def debugger(model: nn.Module, optimizer: Any, **keywords: Any) -> nbd.Debugger:
    loss_fn = nn.CrossEntropyLoss()
    return nbd.Debugger(model, blobs(), loss_fn, optimizer=optimizer, batch_size=32, **keywords)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("holds", ["by name", "trained alone", "everything"])
def test_a_body_that_is_unfrozen_later_learns_as_in_a_plain_loop(holds: str, name: str) -> None:
    cls, options = KINDS[name]
    reference, model = pretrained(), pretrained()
    held = trained(reference) if holds == "trained alone" else reference.parameters()
    edit = unfreeze_in_new_group if holds == "trained alone" else unfreeze
    loop = PlainLoop(reference, blobs(), cls(held, **options), at={7: edit}).run(25)
    optimizer: Any = name
    if holds != "by name":
        own = trained(model) if holds == "trained alone" else model.parameters()
        optimizer = cls(own, **options)
    with debugger(model, optimizer, **({} if holds != "by name" else {"lr": options["lr"]})) as dbg:
        if holds == "by name":
            dbg.set(weight_decay=options["weight_decay"], momentum=0.9)
        assert dbg.controls["frozen"] == {"0": "frozen", "1": "frozen", "4": "trainable"}
        dbg.run(steps=7)
        dbg.set(frozen="trainable")
        change = dbg.changes.iloc[-1]
        assert (change.status, change.new) == ("applied", "trainable")
        assert ("settings of group 0" in change.note) is (holds == "trained alone")
        dbg.run(steps=18)
        assert dbg.history.frame("loss")["loss"].tolist() == loop.losses
        assert dbg.history.notices == ()
    assert same_weights(model, reference)


@pytest.mark.parametrize("name", KINDS)
def test_reset_freezes_again_and_the_groups_are_those_that_were(name: str) -> None:
    cls, options = KINDS[name]
    model = pretrained()
    optimizer = cls(trained(model), **options)
    with debugger(model, optimizer) as dbg:
        controls = dict(dbg.controls)
        dbg.run(steps=4)
        dbg.set(frozen={"0": "trainable"})
        dbg.run(steps=4)
        losses = dbg.history.frame("loss")["loss"].tolist()
        dbg.set(frozen={"1": "trainable"}, lr=0.3)
        dbg.run(steps=2)
        assert len(optimizer.param_groups) == 3
        dbg.reset()
        assert dict(dbg.controls) == controls
        assert len(optimizer.param_groups) == 1
        assert trained(model) == list(model[4].parameters())
        dbg.run(steps=4)
        dbg.set(frozen={"0": "trainable"})
        dbg.run(steps=4)
        assert dbg.history.frame("loss")["loss"].tolist() == losses


SCHEDULES: dict[str, Callable[..., Any]] = {
    "step": partial(lr_scheduler.StepLR, step_size=3, gamma=0.5),
    "lambda": partial(lr_scheduler.LambdaLR, lr_lambda=lambda step: 1 / (1 + step)),
    "cosine": partial(lr_scheduler.CosineAnnealingLR, T_max=12),
    "one cycle": partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=40),
    "cyclic": partial(lr_scheduler.CyclicLR, base_lr=0.01, max_lr=0.1, step_size_up=4),
    "chained": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.ConstantLR(o), lr_scheduler.ExponentialLR(o, 0.9)], [3]
    ),
    "plateau": partial(lr_scheduler.ReduceLROnPlateau, patience=0, threshold=0.9),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_moves_the_new_group_like_its_leader(name: str) -> None:
    model = pretrained()
    optimizer = torch.optim.SGD(trained(model), **SGD)
    with debugger(model, optimizer, schedule=SCHEDULES[name]) as dbg:
        dbg.run(steps=5)
        dbg.set(frozen="trainable")
        for changes in ({}, {"lr": 0.02}, {"schedule": "exponential"}, {"schedule": "yours"}):
            dbg.set(**changes)
            dbg.run(steps=4)
            old, new = optimizer.param_groups
            assert old["lr"] == new["lr"]
        dbg.set(schedule="inverse_time")
        dbg.lr_range_test(steps=10)
        assert dict(dbg.controls)["schedule"] == "inverse_time"
        rates = optimizer.param_groups[0]["lr"]
        dbg.run(steps=1)
        assert optimizer.param_groups[0]["lr"] < rates
        dbg.reset()
        dbg.run(steps=9)
        assert len(optimizer.param_groups) == 1


def test_a_scheduler_put_away_comes_back_with_the_new_group() -> None:
    model = pretrained()
    optimizer = torch.optim.SGD(trained(model), **SGD)
    own = SCHEDULES["lambda"](optimizer)
    with debugger(model, optimizer, schedule=own) as dbg:
        dbg.run(steps=3)
        dbg.set(schedule="constant")
        dbg.set(frozen="trainable")
        dbg.run(steps=2)
        dbg.set(schedule="yours")
        dbg.run(steps=3)
        assert optimizer.param_groups[0]["lr"] == optimizer.param_groups[1]["lr"]


def test_the_leading_group_lends_its_settings_and_ratios_stay() -> None:
    model = pretrained()
    groups = [
        {"params": [model[4].weight], "lr": 0.0},
        {"params": [model[4].bias], "lr": 0.04, "weight_decay": 0.1},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.8, 0.9))
    with debugger(model, optimizer) as dbg:
        dbg.set(frozen={"0": "trainable"})
        assert "group 1" in dbg.changes.iloc[-1].note
        new = optimizer.param_groups[2]
        assert (new["lr"], new["weight_decay"], new["betas"]) == (0.04, 0.1, (0.8, 0.9))
        decay = [group["weight_decay"] for group in optimizer.param_groups]
        dbg.set(lr=0.02, weight_decay=2 * decay[0])
        assert [group["lr"] for group in optimizer.param_groups] == [0.0, 0.02, 0.02]
        assert [g["weight_decay"] for g in optimizer.param_groups] == pytest.approx(
            [2 * value for value in decay]
        )


@pytest.mark.parametrize("unfrozen_first", [True, False])
def test_switching_the_optimizer_keeps_the_new_group(unfrozen_first: bool) -> None:
    model = pretrained()
    optimizer = torch.optim.SGD(trained(model), **SGD)
    steps: list[dict[str, Any]] = [{"frozen": "trainable"}, {"optimizer": "adam"}]
    with debugger(model, optimizer) as dbg:
        dbg.run(steps=2)
        for change in steps if unfrozen_first else steps[::-1]:
            dbg.set(**change)
        kept = model[0].weight.detach().clone()
        dbg.run(steps=2)
        assert not torch.equal(kept, model[0].weight)
        kept = model[0].weight.detach().clone()
        dbg.set(optimizer="sgd")
        dbg.run(steps=2)
        assert not torch.equal(kept, model[0].weight)
        assert [change.status for change in dbg.changes.itertuples()] == ["applied"] * 3
        dbg.reset()
        assert len(optimizer.param_groups) == 1
        dbg.run(steps=2)


def test_probes_measure_a_layer_from_when_it_is_unfrozen() -> None:
    with debugger(pretrained(), "adam", overhead=1.0) as dbg:
        dbg.run(steps=3)
        dbg.set(frozen={"0": "trainable"})
        probes_of(dbg).reset()
        dbg.run(steps=1)
        series = dbg.history.snapshot(["*"]).series
        for group in ("grad_norm", "update_ratio"):
            unfrozen = series[f"{group}/0.weight"]
            assert unfrozen.step[unfrozen.count > 0].tolist() == [3]
            assert not series[f"{group}/1.weight"].count.any()
            assert series[f"{group}/4.weight"].step[-1] == 3
        assert dbg.history.notices == ()
        # They take their places in the model's order.
        rows = list(dbg.history.snapshot().members("grad_norm"))
        assert rows == [name for name, _ in dbg.model.named_parameters()]


def test_clipping_by_layer_takes_the_unfrozen_ones_in() -> None:
    def edit(loop: PlainLoop) -> None:
        unfreeze(loop)

    def clip(parameters: list[nn.Parameter]) -> None:
        for part in (parameters[:2], parameters[2:4], parameters[4:]):
            nn.utils.clip_grad_norm_([p for p in part if p.grad is not None], 0.05)

    reference, model = pretrained(), pretrained()
    made = torch.optim.SGD(reference.parameters(), **SGD)
    PlainLoop(reference, blobs(), made, at={4: edit}, clip=clip).run(12)
    own = torch.optim.SGD(model.parameters(), **SGD)
    with debugger(model, own, clip_mode="layer", clip_threshold=0.05) as dbg:
        dbg.run(steps=4)
        dbg.set(frozen="trainable")
        dbg.run(steps=8)
    assert same_weights(model, reference)


def test_a_bias_that_was_frozen_alone_stays_so() -> None:
    model = tiny_mlp()
    model[4].bias.requires_grad_(False)
    with debugger(model, "sgd") as dbg:
        assert dbg.controls["frozen"] == "trainable"
        dbg.set(frozen={"4": "frozen"})
        dbg.set(frozen="trainable")
        assert model[4].weight.requires_grad
        assert not model[4].bias.requires_grad


def test_what_the_user_left_out_of_the_optimizer_stays_out() -> None:
    model = tiny_mlp()
    optimizer = torch.optim.SGD(model[4].parameters(), **SGD)
    with debugger(model, optimizer) as dbg:
        dbg.set(frozen={"0": "frozen"})
        dbg.set(frozen={"0": "trainable"})
        assert len(optimizer.param_groups) == 1
        assert dbg.changes.iloc[-1].note == ""


def test_unfrozen_from_the_start_by_a_keyword() -> None:
    model = pretrained()
    optimizer = torch.optim.SGD(trained(model), **SGD)
    with debugger(model, optimizer, frozen={"0": "trainable"}) as dbg:
        dbg.run(steps=2)
        dbg.reset()
        assert len(optimizer.param_groups) == 2
        assert dbg.controls["frozen"] == {"0": "trainable", "1": "frozen", "4": "trainable"}


def test_an_optimizer_that_takes_no_more_is_a_refusal() -> None:
    class Closed(torch.optim.SGD):
        def add_param_group(self, param_group: dict[str, Any]) -> None:
            if hasattr(self, "param_groups") and self.param_groups:
                raise NotImplementedError("one group")
            super().add_param_group(param_group)

    model = pretrained()
    optimizer = Closed(trained(model), **SGD)
    with debugger(model, optimizer) as dbg:
        dbg.run(steps=2)
        with pytest.raises(nbd.ControlValueError, match="one group"):
            dbg.set(frozen="trainable")
        change = dbg.changes.iloc[-1]
        assert change.status == "refused"
        assert "one group" in change.note
        assert "model.parameters()" in change.note
        assert dbg.controls["frozen"]["0"] == "frozen"
        assert not model[0].weight.requires_grad
        dbg.run(steps=1)


def test_a_gradient_left_from_before_is_not_counted() -> None:
    model = pretrained()
    model[0].weight.grad = torch.full_like(model[0].weight, 1e6)
    with debugger(model, torch.optim.SGD(trained(model), **SGD)) as dbg:
        dbg.run(steps=1)
        assert dbg.history.frame("grad_norm")["grad_norm"].iloc[-1] < 100
        assert math.isnan(dbg.history.last("grad_norm/0.weight"))


def test_a_model_of_which_nothing_learns_is_refused() -> None:
    model = nn.Sequential(nn.Linear(FEATURES, CLASSES)).requires_grad_(False)
    with pytest.raises(ModelError, match="no trainable parameter"):
        debugger(model, "adam")


def test_whole_numbers_cannot_learn() -> None:
    model = pretrained()
    model[0].scale = nn.Parameter(torch.ones(2, dtype=torch.int8), requires_grad=False)
    with debugger(model, "adam") as dbg:
        dbg.set(frozen="trainable")
        assert model[0].weight.requires_grad
        assert not model[0].scale.requires_grad
        with pytest.raises(ControlValueError, match="There are: 0, 1, 4"):
            dbg.set(frozen={"scale": "trainable"})
