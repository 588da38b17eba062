"""Activation modules exchanged in every place where they can hang."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from nbdebug.model.activations.swap import ACTIVATION_MODULES, Activations


class Shared(nn.Module):
    """One activation object in two places, called three times, and one call of a function."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU(inplace=True)
        self.first = nn.Linear(6, 6)
        self.body = nn.Sequential(nn.Linear(6, 6), self.act, nn.PReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.first(x))
        return functional.relu(self.act(self.body(x)))


class Untraceable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(x) if x.sum() > 0 else functional.relu(x)


@pytest.mark.parametrize("kind", ACTIVATION_MODULES)
def test_outputs_are_those_of_a_model_built_so(kind: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), nn.GELU(), nn.Linear(6, 6), nn.LeakyReLU(), nn.PReLU())
    reference = copy.deepcopy(model)
    reference[1], reference[3] = ACTIVATION_MODULES[kind](), ACTIVATION_MODULES[kind]()
    x = torch.randn(9, 6)
    swapper = Activations(model)
    swapper.set(kind)
    assert torch.equal(model(x), reference(x))
    assert model.state_dict().keys() == reference.state_dict().keys()
    assert isinstance(pickle.loads(pickle.dumps(model))[1], ACTIVATION_MODULES[kind])


def test_a_shared_module_stays_shared_and_comes_back_itself() -> None:
    torch.manual_seed(0)
    model, x = Shared(), torch.randn(5, 6)
    built, expected = model.act, model(x)
    swapper = Activations(model)
    note = swapper.set("tanh")
    assert type(model.act) is nn.Tanh
    assert model.body[1] is model.act
    assert type(model.body[2]) is nn.PReLU
    assert note == "3 places changed."
    inner = torch.tanh(model.first(x))
    inner = model.body[2](torch.tanh(model.body[0](inner)))
    assert torch.equal(model(x), torch.tanh(torch.tanh(inner)))
    swapper.set("silu")
    swapper.set("as_built")
    assert model.act is model.body[1] is built
    assert built.inplace
    assert torch.equal(model(x), expected)


def test_a_module_of_the_kind_asked_for_keeps_its_settings() -> None:
    model = nn.Sequential(nn.LeakyReLU(0.3), nn.ReLU())
    leaky = model[0]
    Activations(model).set("leaky_relu")
    assert model[0] is leaky
    assert model[1].negative_slope == 0.01


def test_the_mode_goes_along_both_ways() -> None:
    model = nn.Sequential(nn.ReLU())
    built, swapper = model[0], Activations(model)
    model.eval()
    swapper.set("elu")
    assert not model[0].training
    model.train()
    swapper.set("as_built")
    assert built.training


def test_hooks_stay_and_handles_remove_them_wherever_they_were_set() -> None:
    model, calls = nn.Sequential(nn.ReLU()), []

    def note(name: str) -> Any:
        def hook(*_: Any) -> None:
            calls.append(name)

        return hook

    handles = [
        model[0].register_forward_pre_hook(note("before")),
        model[0].register_forward_hook(note("after")),
        model[0].register_full_backward_hook(note("backward")),
    ]
    swapper = Activations(model)
    swapper.set("gelu")
    late = model[0].register_forward_hook(note("late"))
    model(torch.ones(2, requires_grad=True)).sum().backward()
    assert calls == ["before", "after", "late", "backward"]
    handles[1].remove()
    swapper.set("as_built")
    calls.clear()
    model(torch.ones(2, requires_grad=True)).sum().backward()
    assert calls == ["before", "late", "backward"]
    late.remove()
    handles[0].remove()
    handles[2].remove()
    calls.clear()
    model(torch.ones(2))
    assert calls == []


def test_a_transformer_layer_computes_the_same_in_both_modes() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(
        8, 2, 16, dropout=0.0, activation=nn.GELU(), batch_first=True
    )
    x = torch.randn(3, 5, 8)
    with torch.no_grad():
        built = layer.eval()(x)
        swapper = Activations(layer)
        swapper.set("tanh")
        fast, slow = layer.eval()(x), layer.train()(x)
        # torch's fused kernel of eval mode rounds otherwise.
        assert torch.allclose(fast, slow, atol=1e-6)
        assert not torch.allclose(fast, built, atol=1e-3)
        swapper.set("as_built")
        assert torch.equal(layer.eval()(x), built)


def test_where_the_trace_stops_the_note_says_where_and_what_stays() -> None:
    model, x = Untraceable(), torch.tensor([-1.0, 0.5])
    note = Activations(model).set("tanh")
    assert note.startswith("1 place changed. Function calls (F.relu) stay: the model (Untr")
    assert "test_swap.py:" in note
    assert "functional.relu(x)" in note
    assert torch.equal(model(x), functional.relu(x))
    assert torch.equal(model(-x), torch.tanh(-x))


def test_the_trace_leaves_no_trace() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.ReLU()
            self.register_buffer("count", torch.zeros(()))
            self.last = None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.count += 1
            self.last, self.seen = x, x
            return self.act(x + torch.rand(()).item())

    model, state = Noisy(), torch.get_rng_state()
    Activations(model).set("elu")
    assert torch.equal(torch.get_rng_state(), state)
    assert isinstance(model.count, torch.Tensor)
    assert model.count == 0
    assert model.last is None
    assert not hasattr(model, "seen")


def plain() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 2), nn.ReLU())


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: nn.Sequential(nn.Linear(2, 2), nn.Sigmoid()), "no activation module"),
        (lambda: torch.compile(plain(), backend="eager"), "compiled"),
        (lambda: torch.jit.script(plain()), "TorchScript"),
    ],
    ids=["none", "compiled", "script"],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_where_nothing_can_be_exchanged_the_reason_is_given(
    build: Callable[[], Any], reason: str
) -> None:
    assert reason in Activations(build()).reason
