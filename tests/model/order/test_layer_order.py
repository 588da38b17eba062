from __future__ import annotations

import copy
import io
from collections.abc import Callable

import pytest
import torch
from torch import nn

from nbdebug.errors import ControlValueError, ModelError
from nbdebug.model.order.layer_order import LayerOrder, orders


def mlp() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)
    )


def cnn() -> nn.Sequential:
    block = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Dropout2d(0.5), nn.PReLU(4), nn.BatchNorm2d(4))
    return nn.Sequential(nn.Sequential(block, nn.Flatten()), nn.Linear(64, 3))


def rebuilt(place: nn.Sequential, *positions: int) -> nn.Sequential:
    """The same modules, copied, in a Sequential built in another order."""
    modules = list(copy.deepcopy(place))
    return nn.Sequential(*(modules[position] for position in positions))


def run(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(3)
    return model(inputs)


def test_reordered_equals_freshly_built() -> None:
    model, inputs = mlp(), torch.randn(16, 6)
    other = rebuilt(model, 0, 3, 1, 2, 4)
    assert not torch.equal(run(copy.deepcopy(model), inputs), run(copy.deepcopy(other), inputs))
    LayerOrder(model).set("dropout_norm")
    assert torch.equal(run(model, inputs), run(other, inputs))
    assert torch.equal(run(model.eval(), inputs), run(other.eval(), inputs))


def test_nested_convolution_equals_freshly_built() -> None:
    model, inputs = cnn(), torch.randn(8, 1, 6, 6)
    other = copy.deepcopy(model)
    other[0][0] = rebuilt(other[0][0], 0, 2, 3, 1)
    LayerOrder(model).set("norm_dropout")
    assert torch.equal(run(model, inputs), run(other, inputs))


@pytest.mark.parametrize("build", [mlp, cnn])
def test_round_trip_is_exact(build: Callable[[], nn.Sequential]) -> None:
    model = build()
    names = [name for name, _ in model.named_modules()]
    modules = list(model.modules())
    keys, weights = list(model.state_dict()), copy.deepcopy(model.state_dict())
    order = LayerOrder(model)
    for value in ("norm_dropout", "dropout_norm", "dropout_norm"):
        order.set(value)
        assert order.current == value
        assert set(model.state_dict()) == set(keys)
        assert set(model.modules()) == set(modules)
    order.set("as_built")
    assert [name for name, _ in model.named_modules()] == names
    assert list(model.modules()) == modules
    assert list(model.state_dict()) == keys
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())


def test_the_same_order_twice_moves_nothing() -> None:
    model = mlp()
    order = LayerOrder(model)
    assert order.set("dropout_norm") == "Now 3 (Dropout) before 1 (BatchNorm1d)."
    keys = list(model._modules)
    assert keys == ["0", "3", "1", "2", "4"]
    assert order.set("dropout_norm") == "Nothing moved."
    assert list(model._modules) == keys


def train(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: torch.Tensor) -> None:
    optimizer.zero_grad()
    run(model, inputs).square().mean().backward()
    optimizer.step()


def test_optimizer_state_follows() -> None:
    model, inputs = mlp(), torch.randn(16, 6)
    adam = torch.optim.Adam(model.parameters(), 0.01)
    train(model, adam, inputs)
    other = rebuilt(model, 0, 3, 1, 2, 4)
    match = {"0": "0", "1": "2", "4": "4"}
    targets = [
        other.get_parameter(f"{match[name[0]]}{name[1:]}") for name, _ in model.named_parameters()
    ]
    other_adam = torch.optim.Adam(targets, 0.01)
    other_adam.load_state_dict(copy.deepcopy(adam.state_dict()))
    LayerOrder(model).set("dropout_norm")
    train(model, adam, inputs)
    train(other, other_adam, inputs)
    ours = dict(model.named_parameters())
    assert all(torch.equal(a, b) for a, b in zip(ours.values(), targets, strict=True))


def test_hooks_stay_with_their_module() -> None:
    model, seen = mlp(), []
    for module in model:
        module.register_forward_hook(lambda module, *_: seen.append(type(module).__name__))
    LayerOrder(model).set("dropout_norm")
    model(torch.randn(4, 6))
    assert seen == ["Linear", "Dropout", "BatchNorm1d", "ReLU", "Linear"]


def test_a_reordered_model_copies_pickles_and_loads() -> None:
    model, inputs = mlp(), torch.randn(16, 6)
    plain = copy.deepcopy(model)
    LayerOrder(model).set("dropout_norm")
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    pickled = torch.load(file, weights_only=False)
    expected = run(copy.deepcopy(model), inputs)
    assert torch.equal(run(pickled, inputs), expected)
    plain.load_state_dict(model.state_dict())
    LayerOrder(plain).set("dropout_norm")
    assert torch.equal(run(plain, inputs), expected)


def test_a_shared_dropout_serves_both_pairs() -> None:
    drop = nn.Dropout()
    model = nn.Sequential(
        nn.BatchNorm1d(4), drop, nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Tanh(), drop
    )
    LayerOrder(model).set("dropout_norm")
    assert list(model._modules) == ["1", "0", "2", "5", "3", "4"]


class Deciding(nn.Sequential):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if inputs.sum() > 0:
            inputs = -inputs
        return super().forward(inputs)


class Slicing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.net[2:](self.net[:2](inputs))


class Calling(Slicing):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.net(inputs)


def apart() -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 6), nn.Dropout())


def overwriting() -> nn.Module:
    return nn.Sequential(nn.Dropout(), nn.ReLU(inplace=True), nn.BatchNorm1d(6))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (nn.Linear(2, 2), "no BatchNorm"),
        (nn.Sequential(nn.BatchNorm1d(2)), "no dropout"),
        (apart(), "only activations between"),
        (Slicing(), "Slicing.forward accesses one by one"),
        (overwriting(), "overwriting the input"),
        (nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(inplace=True)), "in place"),
        (torch.compile(mlp(), backend="eager"), "compiled"),
        (nn.Sequential(torch.compile(mlp(), backend="eager")), "compiled"),  # type: ignore[call-overload]
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refused_with_the_reason(model: nn.Module, reason: str) -> None:
    order = LayerOrder(model)
    assert (order.available, order.current) == (("as_built",), "as_built")
    assert reason in order.reason
    assert orders(model).reason == order.reason
    with pytest.raises(ControlValueError, match="cannot be"):
        order.set("norm_dropout")


class Naming(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Sequential()])
        self.blocks[0].add_module("norm", nn.BatchNorm1d(2))
        self.blocks[0].add_module("drop", nn.Dropout())

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        for index in range(len(self.blocks)):
            inputs = self.blocks[index].norm(inputs)
        return inputs


def test_layers_called_by_their_key_are_refused() -> None:
    assert (
        "blocks.0 (Sequential) has layers that Naming.forward accesses" in orders(Naming()).reason
    )


def test_calling_the_whole_container_is_fine() -> None:
    assert orders(Calling()).available == (
        "as_built",
        "norm_dropout",
        "dropout_norm",
        "activation_dropout",
    )


def test_what_is_left_alone_is_told() -> None:
    model = nn.Sequential(mlp(), Deciding(nn.BatchNorm1d(3), nn.Dropout()))
    note = LayerOrder(model).set("dropout_norm")
    assert "0.3 (Dropout) before 0.1" in note
    assert "Left alone: 1 (Deciding) cannot be traced" in note
    assert list(model[1]._modules) == ["0", "1"]


def test_wrong_order_and_changed_model_are_refused() -> None:
    model = mlp()
    order = LayerOrder(model)
    with pytest.raises(ControlValueError, match="norm_dropout"):
        order.set("norm_droput")
    model.append(nn.ReLU())
    with pytest.raises(ModelError, match="added or deleted"):
        order.set("dropout_norm")
    assert list(model._modules) == ["0", "1", "2", "3", "4", "5"]
