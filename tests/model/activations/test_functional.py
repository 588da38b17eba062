"""Calls of activation functions exchanged, against models written so by hand, to the bit."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from nbdebug.errors import ModelError
from nbdebug.model.activations.swap import Activations
from nbdebug.model.order.layer_order import LayerOrder

Act = Callable[[torch.Tensor], torch.Tensor]
FUNCTIONS: dict[str, Act] = {
    "relu": functional.relu,
    "leaky_relu": functional.leaky_relu,
    "elu": functional.elu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "tanh": torch.tanh,
}


class Cnn(nn.Module):
    """Functions of `torch.nn.functional` alone, no module."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4 * 16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool2d(functional.relu(self.norm(self.first(x))), 2)
        return self.head(functional.relu(x.flatten(1)))


class HandCnn(Cnn):
    act: Act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool2d(self.act(self.norm(self.first(x))), 2)
        return self.head(self.act(x.flatten(1)))


class Block(nn.Module):
    """A residual block that calls methods and works in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x).relu_()
        return (x + self.second(y)).relu()


class HandBlock(Block):
    act: Act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.act(self.first(x))
        return self.act(x + self.second(y))


class Nested(nn.Module):
    """Blocks with forwards of their own, a module beside them, one function held by name."""

    def __init__(self, block: type[Block]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(block() for _ in range(3))
        self.shared = functional.elu
        self.tail = nn.Sequential(nn.Linear(8, 8), nn.LeakyReLU(), nn.PReLU())

    def forward(self, x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        for block in self.blocks:
            x = self.shared(block(x) * scale)
        y = self.tail(x)
        functional.relu(y, inplace=True)
        return functional.leaky_relu(y, 0.3) + torch.tanh_(y * 2)


class HandNested(Nested):
    act: Act

    def forward(self, x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        for block in self.blocks:
            x = self.act(block(x) * scale)
        y = self.act(self.tail(x))
        slope = 0.3 if self.act is functional.leaky_relu else None
        last = self.act(y) if slope is None else functional.leaky_relu(y, slope)
        return last + self.act(y * 2)


class Encoder(nn.Module):
    """torch's transformer layers inside a forward with a function of its own."""

    def __init__(self, activation: Any = "relu") -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, activation, batch_first=True)
        # torch warns where it cannot.
        nested = activation in ("relu", functional.relu, functional.gelu)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=nested)
        self.decoder = nn.TransformerDecoderLayer(8, 2, 16, 0.0, activation, batch_first=True)
        self.rnn = nn.LSTM(8, 8, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.encoder(functional.gelu(x))
        return self.rnn(self.decoder(hidden, x))[0]


class HandEncoder(Encoder):
    act: Act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.encoder(self.act(x))
        return self.rnn(self.decoder(hidden, x))[0]


def hand(kind: str, cls: type[nn.Module], *args: Any) -> nn.Module:
    torch.manual_seed(0)
    act = FUNCTIONS[kind]
    made = cls(*args)
    for module in made.modules():
        if hasattr(type(module), "__annotations__") and "act" in type(module).__annotations__:
            module.act = act
    return made


def with_tail(model: nn.Module, kind: str) -> nn.Module:
    modules = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "gelu": nn.GELU}
    model.tail[1] = {**modules, "silu": nn.SiLU, "tanh": nn.Tanh}[kind]()
    return model


MODELS: dict[str, tuple[Any, Any, tuple[int, ...]]] = {
    "cnn": (Cnn, lambda kind: hand(kind, HandCnn), (5, 1, 8, 8)),
    "block": (Block, lambda kind: hand(kind, HandBlock), (5, 8)),
    "nested": (
        lambda: Nested(Block),
        lambda kind: with_tail(hand(kind, HandNested, HandBlock), kind),
        (5, 8),
    ),
    "encoder": (Encoder, lambda kind: hand(kind, HandEncoder, FUNCTIONS[kind]), (3, 5, 8)),
}


def made(name: str) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    build, _, shape = MODELS[name]
    return build(), torch.randn(shape, generator=torch.Generator().manual_seed(1))


def outputs(model: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """What training and eval mode give, and the gradients."""
    x = x.clone().requires_grad_()
    model.zero_grad()
    first = model.train()(x)
    first.square().sum().backward()
    found = [first.detach(), x.grad, *(p.grad.clone() for p in model.parameters())]
    model.eval()
    return [*found, model(x).detach()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_computes_what_one_written_so_computes(name: str, kind: str) -> None:
    model, x = made(name)
    keys = list(model.state_dict())
    swapper = Activations(model)
    assert swapper.reason == ""
    swapper.set(kind)
    assert list(model.state_dict()) == keys
    twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    wanted = outputs(MODELS[name][1](kind), x)
    assert same(outputs(model, x), wanted)
    for twin in twins:
        assert same(outputs(twin, x), wanted)
    swapper.set("as_built")
    fresh, _ = made(name)
    model.load_state_dict(fresh.state_dict())
    assert same(outputs(model, x), outputs(fresh, x))


def test_the_way_back_leaves_nothing_on_the_model() -> None:
    model, _ = made("nested")
    before = {module: set(vars(module)) for module in model.modules()}
    swapper = Activations(model)
    assert swapper.set("gelu") == "13 places changed."
    assert swapper.set("leaky_relu") == "13 places changed."
    swapper.set("as_built")
    assert {module: set(vars(module)) for module in model.modules()} == before


def test_a_call_of_the_kind_asked_for_stays_without_cost() -> None:
    model, _ = made("cnn")
    assert Activations(model).set("relu") == "0 places changed."
    assert "forward" not in vars(model)


def test_what_modules_inside_call_is_left_to_them() -> None:
    class Stubborn(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.relu(x) if x.sum() > -1e9 else x

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.six = Stubborn(), nn.Sequential(nn.Softplus(), nn.PReLU())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.six(self.inner(x)))

    model, x = Outer(), torch.randn(4, 3)
    note = Activations(model).set("tanh")
    assert "1 place changed. Function calls (F.relu) stay: inner (Stubborn) cannot" in note
    assert torch.equal(model(x), torch.tanh(model.six(functional.relu(x))))


def test_a_call_that_backward_repeats_stays_in_forward_too() -> None:
    class Saving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = checkpoint(lambda t: functional.relu(self.layer(t)), x, use_reentrant=False)
            return functional.relu(x - 0.1)

    model, x = Saving(), torch.randn(4, 3)
    note = Activations(model).set("tanh")
    assert note.startswith("1 place changed. Function calls")
    assert "torch.utils.checkpoint" in note
    model(x).sum().backward()
    found = model.layer.weight.grad.clone()
    model.zero_grad()
    torch.tanh(functional.relu(model.layer(x)) - 0.1).sum().backward()
    assert torch.equal(found, model.layer.weight.grad)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_with_a_padding_mask_eval_mode_is_that_of_a_model_built_so() -> None:
    mask = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    model, x = made("encoder")
    x = x[:2]
    encoder = model.encoder.eval()
    with torch.no_grad():
        built = encoder(x, src_key_padding_mask=mask)
        swapper = Activations(model)
        swapper.set("tanh")
        by_hand = hand("tanh", HandEncoder, torch.tanh).encoder.eval()
        assert torch.equal(
            encoder(x, src_key_padding_mask=mask), by_hand(x, src_key_padding_mask=mask)
        )
        swapper.set("as_built")
        assert torch.equal(encoder(x, src_key_padding_mask=mask), built)


class Both(nn.Module):
    """A dropout that can move, past an activation module, and a function."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.act = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU()
        self.drop, self.last = nn.Dropout(0.5), nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.drop(self.norm(self.first(x))))
        return functional.relu(self.last(x))


class HandBoth(Both):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.drop(torch.tanh(self.norm(self.first(x))))
        return torch.tanh(self.last(x))


def seeded(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(3)
    return model(x)


@pytest.mark.parametrize("order_first", [True, False])
@pytest.mark.parametrize("order_back_first", [True, False])
def test_layer_order_and_activation_hold_together_in_any_order(
    order_first: bool, order_back_first: bool
) -> None:
    torch.manual_seed(0)
    model, x = Both(), torch.randn(7, 6)
    by_hand = HandBoth()
    by_hand.load_state_dict(model.state_dict())
    before, twin = {module: set(vars(module)) for module in model.modules()}, copy.deepcopy(model)
    order, swapper = LayerOrder(model), Activations(model)
    steps: list[Callable[[], Any]] = [
        lambda: order.set("activation_dropout"),
        lambda: swapper.set("tanh"),
    ]
    for step in steps if order_first else steps[::-1]:
        step()
    copied = pickle.loads(pickle.dumps(model))
    assert torch.equal(seeded(model, x), seeded(by_hand, x))
    assert torch.equal(seeded(copied, x), seeded(model, x))
    assert LayerOrder(copied).current == "activation_dropout"
    undo: list[Callable[[], Any]] = [lambda: order.set("as_built"), lambda: swapper.set("as_built")]
    for step in undo if order_back_first else undo[::-1]:
        step()
    twin.load_state_dict(model.state_dict())
    assert torch.equal(seeded(model, x), seeded(twin, x))
    assert {module: set(vars(module)) for module in model.modules()} == before


def test_a_copy_begins_with_the_functions_that_it_came_with() -> None:
    model, x = made("block")
    Activations(model).set("tanh")
    twin = copy.deepcopy(model)
    swapper = Activations(twin)
    assert swapper.set("gelu") == "2 places changed."
    assert not torch.equal(twin(x), model(x))
    swapper.set("as_built")
    assert torch.equal(twin(x), model(x))


def test_other_obstacles_are_said() -> None:
    model, _ = made("block")
    model.forward = lambda x: functional.relu(x)
    assert "set on the object itself" in Activations(model).reason
    model, _ = made("block")
    parallel = nn.DataParallel(model)
    assert "nn.DataParallel" in Activations(parallel).reason


def test_a_model_that_was_compiled_meanwhile_is_refused() -> None:
    model, _ = made("block")
    swapper = Activations(model)
    model.compile(backend="eager")
    with pytest.raises(ModelError, match="compiled"):
        swapper.set("tanh")


def rectified(x: torch.Tensor) -> torch.Tensor:
    return torch.clamp(x, min=0.0)


class Plain(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        RUNS.append("plain")
        return rectified(x)


class Method(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.within(x)

    def within(self, x: torch.Tensor) -> torch.Tensor:
        return TABLE["one"](x)


class Chosen(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return getattr(functional, "re" + "lu")(x)


class Kept(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.function = partial(functional.leaky_relu, negative_slope=0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


TABLE = {"one": functional.silu}
RUNS: list[str] = []


def test_a_forward_that_names_no_activation_is_not_run() -> None:
    RUNS.clear()
    assert "no activation module" in Activations(Plain()).reason
    assert RUNS == []


def test_where_a_module_can_be_exchanged_no_forward_is_run_before_it_is() -> None:
    class Noted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.ELU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            RUNS.append("noted")
            return functional.relu(self.act(x))

    RUNS.clear()
    swapper = Activations(Noted())
    assert RUNS == []
    assert swapper.set("tanh") == "2 places changed."


@pytest.mark.parametrize("cls", [Method, Chosen, Kept])
def test_functions_behind_other_names_are_found(cls: type[nn.Module]) -> None:
    model, x = cls(), torch.randn(4)
    swapper = Activations(model)
    assert swapper.reason == ""
    assert swapper.set("tanh") == "1 place changed."
    assert torch.equal(model(x), torch.tanh(x))
