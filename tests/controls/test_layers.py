"""Controls of layers against a loop whose author edits the model by hand, to the bit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import init

import nbdebug as nbd
from nbdebug.core.commands.running import SetControl
from nbdebug.errors import ControlValueError
from tests.controls.test_against_plain_loop import SGD, compare
from tests.inside import optimizer_of, probes_of, queue_of
from tests.problems import CLASSES, FEATURES, PlainLoop, blobs, same_weights, tiny_mlp

KINDS = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}
INITS: dict[str, Callable[[torch.Tensor], Any]] = {
    "he": lambda weight: init.kaiming_normal_(weight, nonlinearity="relu"),
    "xavier": init.xavier_uniform_,
    "orthogonal": init.orthogonal_,
}


def debugger(model: nn.Module | None = None, **keywords: Any) -> nbd.Debugger:
    made = tiny_mlp() if model is None else model
    return nbd.Debugger(made, blobs(), nn.CrossEntropyLoss(), batch_size=32, **keywords)


# BatchNorm


def test_momentum_of_all_norms() -> None:
    compare(lambda loop: setattr(loop.model[1], "momentum", 0.4), bn_momentum=0.4)


def test_momentum_of_one_norm() -> None:
    compare(lambda loop: setattr(loop.model[1], "momentum", 0.0), bn_momentum={"1": 0.0})


def test_norms_that_average_over_all_batches_have_no_momentum() -> None:
    model = nn.Sequential(nn.Linear(FEATURES, 4), nn.BatchNorm1d(4, momentum=None))
    with debugger(model) as dbg, pytest.raises(ControlValueError, match="momentum=None"):
        dbg.set(bn_momentum=0.1)


def test_an_unknown_norm_lists_those_there_are() -> None:
    with (
        debugger() as dbg,
        pytest.raises(ControlValueError, match=r"no layer 'norm'.*There are: 1"),
    ):
        dbg.set(bn_momentum={"norm": 0.1})


def test_frozen_statistics_are_those_of_eval_mode() -> None:
    dbg = compare(lambda loop: loop.model[1].eval(), bn_statistics="freeze")
    assert dbg.model.training
    assert not dbg.model[1].training  # type: ignore[index]


def test_statistics_that_are_followed_again() -> None:
    def freeze(loop: PlainLoop) -> None:
        loop.model[1].eval()  # type: ignore[index]

    def thaw(loop: PlainLoop) -> None:
        loop.model[1].train()  # type: ignore[index]

    dbg = compare(thaw, start={"bn_statistics": "freeze"}, first=freeze, bn_statistics="track")
    assert dbg.model[1].training  # type: ignore[index]
    assert not dbg.model[1]._forward_pre_hooks  # type: ignore[index]


def test_frozen_statistics_survive_train_and_validation() -> None:
    X, y = blobs()

    def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        model.train()
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    model = tiny_mlp()
    with nbd.Debugger(model, (X, y), step_fn=step_fn, val_data=(X, y), val_every=2) as dbg:
        dbg.run(steps=3)
        dbg.set(bn_statistics="freeze")
        kept = {key: value.clone() for key, value in model[1].named_buffers()}
        dbg.run(steps=5)
        assert all(torch.equal(kept[key], value) for key, value in model[1].named_buffers())
        dbg.set(bn_statistics="track")
        dbg.run(steps=1)
        assert not torch.equal(kept["running_mean"], model[1].running_mean)


def test_a_norm_that_the_user_put_in_eval_mode_goes_back_there() -> None:
    model = tiny_mlp()
    model[1].eval()
    with debugger(model) as dbg:
        dbg.set(bn_statistics="freeze")
        dbg.set(bn_statistics="track")
        assert not model[1].training


def test_a_model_without_batchnorm() -> None:
    model = nn.Sequential(nn.Linear(FEATURES, CLASSES))
    with debugger(model) as dbg:
        for change in ({"bn_statistics": "freeze"}, {"bn_momentum": 0.5}):
            with pytest.raises(ControlValueError, match="no BatchNorm layer"):
                dbg.set(**change)


# Frozen layers


@pytest.mark.parametrize(
    ("build", "options"),
    [(torch.optim.SGD, SGD), (torch.optim.AdamW, {"lr": 1e-2, "weight_decay": 0.1})],
    ids=["sgd", "adamw"],
)
def test_a_frozen_layer_is_not_moved_by_momentum_or_decay(
    build: Callable[..., torch.optim.Optimizer], options: dict[str, Any]
) -> None:
    def edit(loop: PlainLoop) -> None:
        for parameter in loop.model[0].parameters():  # type: ignore[index]
            parameter.requires_grad_(False)
            parameter.grad = None

    dbg = compare(edit, build=build, options=options, frozen={"0": "frozen"})
    assert dbg.controls["frozen"] == {"0": "frozen", "1": "trainable", "4": "trainable"}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_an_unfrozen_layer_goes_on_with_its_optimizer_state(optimizer: str) -> None:
    def still(flag: bool) -> Callable[[PlainLoop], None]:
        def edit(loop: PlainLoop) -> None:
            for parameter in loop.model[0].parameters():  # type: ignore[index]
                parameter.requires_grad_(not flag)
                parameter.grad = None

        return edit

    cls, options = {"sgd": (torch.optim.SGD, SGD), "adam": (torch.optim.Adam, {"lr": 1e-2})}[
        optimizer
    ]
    reference = tiny_mlp()
    made = cls(reference.parameters(), **options)
    PlainLoop(reference, blobs(), made, at={4: still(True), 9: still(False)}).run(20)
    model = tiny_mlp()
    with debugger(model, optimizer=cls(model.parameters(), **options)) as dbg:
        dbg.run(steps=4)
        dbg.set(frozen={"0": "frozen"})
        kept = model[0].weight.detach().clone()
        dbg.run(steps=5)
        assert torch.equal(kept, model[0].weight)
        dbg.set(frozen="trainable")
        dbg.run(steps=11)
    assert same_weights(model, reference)


def test_probes_have_nothing_to_say_about_a_frozen_layer() -> None:
    with debugger(overhead=1.0) as dbg:
        dbg.run(steps=3)
        dbg.set(frozen={"0": "frozen"})
        probes_of(dbg).reset()
        dbg.run(steps=1)
        latest = dbg.history.snapshot(["*"]).series
        for group in ("grad_norm", "update_ratio"):
            assert latest[f"{group}/0.weight"].step[-1] < 3
            assert latest[f"{group}/4.weight"].step[-1] == 3
        assert dbg.history.notices == ()


def test_freezing_everything_is_refused_and_training_goes_on() -> None:
    with debugger() as dbg:
        with pytest.raises(ControlValueError, match="at least one layer trainable"):
            dbg.set(frozen="frozen")
        assert dbg.controls["frozen"] == "trainable"
        dbg.run(steps=2)
        assert dbg.history.status.step == 2


def test_a_block_stands_for_its_layers_and_wrong_names_list_the_right_ones() -> None:
    model = nn.Sequential()
    model.add_module("body", nn.Sequential(nn.Linear(FEATURES, 4), nn.ReLU(), nn.Linear(4, 4)))
    model.add_module("head", nn.Linear(4, CLASSES))
    with debugger(model) as dbg:
        dbg.set(frozen={"body": "frozen"})
        assert dbg.controls["frozen"] == {
            "body.0": "frozen",
            "body.2": "frozen",
            "head": "trainable",
        }
        with pytest.raises(ControlValueError, match=r"There are: body\.0, body\.2, head"):
            dbg.set(frozen={"tail": "frozen"})
        with pytest.raises(ControlValueError, match="trainable, frozen"):
            dbg.set(frozen={"head": "stiff"})


def test_a_shared_weight_stands_still_until_both_layers_are_trainable() -> None:
    model = nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.Linear(FEATURES, FEATURES))
    model[1].weight = model[0].weight
    with debugger(model) as dbg:
        dbg.set(frozen={"1": "frozen"})
        assert not model[0].weight.requires_grad
        assert model[0].bias.requires_grad
        dbg.set(frozen={"1": "trainable"})
        assert model[0].weight.requires_grad


# Activations


@pytest.mark.parametrize("kind", KINDS)
def test_activations_are_exchanged(kind: str) -> None:
    def edit(loop: PlainLoop) -> None:
        loop.model[3] = KINDS[kind]()  # type: ignore[operator]

    dbg = compare(edit, activation=kind)
    assert type(dbg.model[3]) is KINDS[kind]  # type: ignore[index]


class Functional(nn.Module):
    """Activations that are functions alone."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(FEATURES, 16), nn.Linear(16, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(nn.functional.relu(self.first(x)))


class ByHand(Functional):
    act: Callable[[torch.Tensor], torch.Tensor] = staticmethod(nn.functional.relu)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.act(self.first(x)))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_functions_in_forward_are_exchanged_and_exchanged_back(optimizer: str) -> None:
    reference = ByHand()
    cls = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
    edits = {
        4: lambda loop: setattr(loop.model, "act", torch.tanh),
        9: lambda loop: setattr(loop.model, "act", nn.functional.relu),
    }
    made = cls(reference.parameters(), lr=0.01)
    losses = PlainLoop(reference, blobs(), made, at=edits).run(15).losses
    model = Functional()
    with debugger(model, optimizer=optimizer, lr=0.01) as dbg:
        dbg.run(steps=4)
        dbg.set(activation="tanh")
        dbg.run(steps=5)
        change = dbg.changes.iloc[-1]
        assert (change.old, change.new, change.status) == ("as_built", "tanh", "applied")
        assert change.note == "1 place changed."
        dbg.set(activation="as_built")
        assert "forward" not in vars(model)
        dbg.run(steps=6)
        assert dbg.history.frame("loss")["loss"].tolist() == losses
    assert same_weights(model, reference)


def test_a_model_without_activations_says_why_the_control_is_closed() -> None:
    model = nn.Sequential(nn.Linear(FEATURES, CLASSES))
    with debugger(model) as dbg, pytest.raises(ControlValueError, match="no activation module"):
        dbg.set(activation="tanh")


def test_the_activation_of_a_layer_is_measured_after_a_swap_too() -> None:
    with debugger() as dbg:
        dbg.run(steps=1)
        dbg.set(activation="tanh")
        probes_of(dbg).reset()
        dbg.run(steps=1)
        series = dbg.history.snapshot(["activation_mean/3"]).series["activation_mean/3"]
        assert series.step.tolist() == [0, 1]
        dbg.set(activation="as_built")
        probes_of(dbg).reset()
        dbg.run(steps=1)
        series = dbg.history.snapshot(["activation_mean/3"]).series["activation_mean/3"]
        assert series.step.tolist() == [0, 1, 2]


# Re-initialisation


@pytest.mark.parametrize("kind", INITS)
def test_one_layer_is_drawn_anew_from_the_numbers_of_training(kind: str) -> None:
    def edit(loop: PlainLoop) -> None:
        layer = loop.model[0]  # type: ignore[index]
        with torch.no_grad():
            INITS[kind](layer.weight)
            layer.bias.zero_()
        for parameter in layer.parameters():
            loop.optimizer.state.pop(parameter)

    dbg = compare(edit, reinit={"0": kind})
    change = dbg.changes.iloc[-1]
    assert (change.old, change.new) == ("", {"0": kind})
    assert dbg.controls["reinit"] == ""


def test_all_layers_as_torch_builds_them() -> None:
    def edit(loop: PlainLoop) -> None:
        for layer in (loop.model[0], loop.model[1], loop.model[4]):  # type: ignore[index]
            layer.reset_parameters()
        loop.optimizer.state.clear()

    compare(edit, reinit="default")


def test_one_kind_for_all_leaves_norms_as_they_are() -> None:
    with debugger() as dbg:
        dbg.run(steps=3)
        norm = {key: value.clone() for key, value in dbg.model[1].state_dict().items()}
        dbg.set(reinit="he")
        assert all(
            torch.equal(norm[key], value) for key, value in dbg.model[1].state_dict().items()
        )
        assert "0, 4" in dbg.changes.iloc[-1].note


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_undo_gives_weights_and_optimizer_state_back(optimizer: str) -> None:
    with debugger(optimizer=optimizer) as dbg:
        dbg.set(momentum=0.9)
        dbg.run(steps=5)
        weights = {key: value.clone() for key, value in dbg.model.state_dict().items()}
        state = optimizer_of(dbg).state_dict()
        kept = {
            index: {key: torch.as_tensor(value).clone() for key, value in entries.items()}
            for index, entries in state["state"].items()
        }
        dbg.set(reinit={"0": "he", "1": "default"})
        assert not torch.equal(weights["0.weight"], dbg.model[0].weight)
        dbg.set(reinit="undo")
        assert all(torch.equal(weights[k], value) for k, value in dbg.model.state_dict().items())
        now = optimizer_of(dbg).state_dict()["state"]
        assert now.keys() == kept.keys()
        for index, entries in kept.items():
            for key, value in entries.items():
                assert torch.equal(torch.as_tensor(now[index][key]), value)
        with pytest.raises(ControlValueError, match="reinit must be one of"):
            dbg.set(reinit="undo")


def test_bad_requests_name_layers_and_kinds() -> None:
    with debugger() as dbg:
        before = {key: value.clone() for key, value in dbg.model.state_dict().items()}
        with pytest.raises(ControlValueError, match="There are: 0, 1, 4"):
            dbg.set(reinit={"head": "he"})
        with pytest.raises(ControlValueError, match="no weight matrix"):
            dbg.set(reinit={"0": "he", "1": "he"})
        with pytest.raises(ControlValueError, match="he, xavier, orthogonal, default"):
            dbg.set(reinit={"0": "ones"})
        assert all(torch.equal(before[k], value) for k, value in dbg.model.state_dict().items())


# All of them


def test_requests_for_two_layers_in_one_step_both_hold() -> None:
    inside, gate = threading.Event(), threading.Event()

    def loss_fn(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        inside.set()
        assert gate.wait(30)
        return nn.functional.cross_entropy(outputs, targets)

    with nbd.Debugger(tiny_mlp(), blobs(), loss_fn) as dbg:
        dbg.start()
        assert inside.wait(30)
        for value in ({"0": "frozen"}, {"1": "frozen"}, {"1": "trainable"}):
            queue_of(dbg).put(SetControl("frozen", value))
        gate.set()
        dbg.pause()
        assert dbg.controls["frozen"] == {"0": "frozen", "1": "trainable", "4": "trainable"}
        assert list(dbg.changes["status"]) == ["applied", "superseded", "applied"]


def test_reset_takes_everything_back() -> None:
    with debugger() as dbg:
        dbg.run(steps=20)
        expected = {key: value.clone() for key, value in dbg.model.state_dict().items()}
        controls = dict(dbg.controls)
        dbg.reset()
        modules = [id(module) for module in dbg.model.modules()]
        dbg.set(bn_momentum=0.5, bn_statistics="freeze", activation="gelu", reinit="xavier")
        dbg.set(frozen={"0": "frozen"})
        dbg.run(steps=5)
        dbg.reset()
        with pytest.raises(ControlValueError, match="reinit must be one of"):
            dbg.set(reinit="undo")
        assert dict(dbg.controls) == controls
        assert [id(module) for module in dbg.model.modules()] == modules
        assert all(parameter.requires_grad for parameter in dbg.model.parameters())
        dbg.run(steps=20)
        assert all(torch.equal(expected[k], value) for k, value in dbg.model.state_dict().items())
