"""Every control, changed in the middle of a run, does what a hand-edited loop does, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from tests.problems import PlainLoop, blobs, same_weights, tiny_mlp

BEFORE, AFTER = 7, 25
SGD = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3}


def set_groups(**options: Any) -> Callable[[PlainLoop], None]:
    def edit(loop: PlainLoop) -> None:
        for group in loop.optimizer.param_groups:
            group.update(options)

    return edit


def compare(
    edit: Callable[[PlainLoop], Any],
    start: dict[str, Any] | None = None,
    first: Callable[[PlainLoop], Any] = lambda loop: None,
    build: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
    options: dict[str, Any] | None = None,
    **controls: Any,
) -> nbd.Debugger:
    """Train both ways with one change at step 7 and expect equal weights after 25 more."""
    data = blobs()
    reference = tiny_mlp()
    loop = PlainLoop(
        reference,
        data,
        build(reference.parameters(), **(options or {"lr": 1e-2})),
        at={0: first, BEFORE: edit},
    )
    loop.run(BEFORE + AFTER)

    model = tiny_mlp()
    made = build(model.parameters(), **(options or {"lr": 1e-2}))
    with nbd.Debugger(
        model, data, nn.CrossEntropyLoss(), optimizer=made, batch_size=32, **(start or {})
    ) as dbg:
        dbg.run(steps=BEFORE)
        dbg.set(**controls)
        dbg.run(steps=AFTER)
        assert same_weights(model, reference)
        assert dbg.history.frame("loss")["loss"].tolist() == loop.losses
        change = dbg.changes.iloc[-1]
        assert (change.step, change.status) == (BEFORE, "applied")
    return dbg


def test_lr() -> None:
    compare(set_groups(lr=3e-4), lr=3e-4)


def test_batch_size_takes_the_next_samples_of_the_same_epoch() -> None:
    compare(lambda loop: setattr(loop, "batch_size", 17), batch_size=17)


@pytest.mark.parametrize("threshold", [0.3, 1e3])
def test_clip_by_norm(threshold: float) -> None:
    def edit(loop: PlainLoop) -> None:
        loop.clip = lambda parameters: torch.nn.utils.clip_grad_norm_(parameters, threshold)

    compare(edit, clip_mode="norm", clip_threshold=threshold)


def test_clip_by_value() -> None:
    def edit(loop: PlainLoop) -> None:
        loop.clip = lambda parameters: torch.nn.utils.clip_grad_value_(parameters, 0.02)

    compare(edit, clip_mode="value", clip_threshold=0.02)


def test_clip_off_again() -> None:
    compare(
        lambda loop: setattr(loop, "clip", None),
        first=lambda loop: setattr(loop, "clip", partial(nn.utils.clip_grad_norm_, max_norm=0.3)),
        start={"clip_mode": "norm", "clip_threshold": 0.3},
        clip_mode="off",
    )


def test_momentum_of_sgd() -> None:
    compare(set_groups(momentum=0.5), build=torch.optim.SGD, options=SGD, momentum=0.5)


def test_first_and_second_beta_of_adam() -> None:
    compare(set_groups(betas=(0.8, 0.95)), momentum=0.8, beta2=0.95)


def test_alpha_of_rmsprop() -> None:
    compare(set_groups(alpha=0.9), build=torch.optim.RMSprop, beta2=0.9)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_weight_decay(optimizer: Callable[..., torch.optim.Optimizer]) -> None:
    compare(set_groups(weight_decay=0.02), build=optimizer, weight_decay=0.02)


def test_dropout_of_all_layers() -> None:
    compare(lambda loop: setattr(loop.model[2], "p", 0.6), dropout=0.6)


def test_dropout_of_one_layer() -> None:
    compare(lambda loop: setattr(loop.model[2], "p", 0.1), dropout={"2": 0.1})


def test_layer_order_dropout_first() -> None:
    def edit(loop: PlainLoop) -> None:
        norm, drop = loop.model[1], loop.model[2]
        # Keys stay with their modules, as the control keeps them.
        linear, act, head = loop.model[0], loop.model[3], loop.model[4]
        model = nn.Sequential()
        for key, module in (("0", linear), ("2", drop), ("1", norm), ("3", act), ("4", head)):
            model.add_module(key, module)
        loop.model = model

    compare(edit, layer_order="dropout_norm")


def fresh(cls: Callable[..., torch.optim.Optimizer], **options: Any) -> Callable[[PlainLoop], None]:
    def edit(loop: PlainLoop) -> None:
        lr = loop.optimizer.param_groups[0]["lr"]
        loop.optimizer = cls(loop.model.parameters(), lr=lr, weight_decay=0.0, **options)

    return edit


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("sgd", fresh(torch.optim.SGD)),
        ("nesterov", fresh(torch.optim.SGD, momentum=0.9, nesterov=True)),
        ("rmsprop", fresh(torch.optim.RMSprop)),
    ],
)
def test_optimizer_of_another_family_starts_fresh(
    name: str, edit: Callable[[PlainLoop], None]
) -> None:
    dbg = compare(edit, optimizer=name)
    assert "Optimizer state starts empty" in dbg.changes.iloc[-1].note


def test_adam_to_adamw_keeps_its_moments() -> None:
    def edit(loop: PlainLoop) -> None:
        moments = loop.optimizer.state
        loop.optimizer = torch.optim.AdamW(loop.model.parameters(), lr=1e-2, weight_decay=0.0)
        loop.optimizer.state = moments

    compare(edit, optimizer="adamw")


def test_sgd_to_nesterov_keeps_its_momentum() -> None:
    compare(set_groups(nesterov=True), build=torch.optim.SGD, options=SGD, optimizer="nesterov")


def schedule(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    return torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.5)


def test_lr_survives_a_schedule() -> None:
    model = tiny_mlp()
    with nbd.Debugger(
        model, blobs(), nn.CrossEntropyLoss(), optimizer="sgd", lr=0.08, schedule=schedule
    ) as dbg:
        dbg.run(steps=6)
        assert dbg.controls["lr"] == 0.04
        dbg.set(lr=0.4)
        dbg.run(steps=4)
        assert dbg.controls["lr"] == pytest.approx(0.2)
        dbg.run(steps=5)
        assert dbg.controls["lr"] == pytest.approx(0.1)
        assert "schedule" in dbg.changes.iloc[-1].note


def test_lr_survives_a_schedule_that_computes_from_its_base() -> None:
    model = tiny_mlp()
    warm = partial(torch.optim.lr_scheduler.LambdaLR, lr_lambda=lambda step: 1 / (1 + step))
    with nbd.Debugger(
        model, blobs(), nn.CrossEntropyLoss(), optimizer="sgd", lr=0.1, schedule=warm
    ) as dbg:
        dbg.run(steps=4)
        assert dbg.controls["lr"] == pytest.approx(0.1 / 5)
        dbg.set(lr=0.2)
        dbg.run(steps=5)
        # Scaled by 10 at step 4: the curve goes on as 1.0 / (1 + step).
        assert dbg.controls["lr"] == pytest.approx(1.0 / 10)


def test_parameter_groups_keep_their_ratios() -> None:
    model = tiny_mlp()
    groups = [
        {"params": model[0].parameters(), "lr": 0.1, "weight_decay": 0.01},
        {"params": [*model[1].parameters(), *model[4].parameters()], "lr": 0.02},
    ]
    optimizer = torch.optim.SGD(groups)
    with nbd.Debugger(model, blobs(), nn.CrossEntropyLoss(), optimizer=optimizer) as dbg:
        dbg.set(lr=0.5, weight_decay=0.1)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.5, 0.1])
        assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]


def test_an_optimizer_comes_back_with_what_it_had_gathered() -> None:
    model = tiny_mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with nbd.Debugger(model, blobs(), nn.CrossEntropyLoss(), optimizer=optimizer) as dbg:
        dbg.run(steps=5)
        before = optimizer.state[model[0].weight]["exp_avg_sq"].clone()
        dbg.set(optimizer="sgd")
        dbg.run(steps=3)
        dbg.set(optimizer="adam")
        assert torch.equal(optimizer.state[model[0].weight]["exp_avg_sq"], before)
        assert dbg.controls["optimizer"] == "adam"
