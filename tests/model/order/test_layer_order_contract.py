"""What holds in every order for every architecture: second computations are hand-written."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from typing import Any

import pytest
import torch
from torch import nn

from nbdebug.model.order.layer_order import LayerOrder
from tests.model.architectures import ARCHITECTURES, Architecture, tensors

CASES = [
    pytest.param(architecture, order, id=f"{name}-{order}")
    for name, architecture in ARCHITECTURES.items()
    for order in architecture.written
]
every_case = pytest.mark.parametrize(("architecture", "order"), CASES)
every_architecture = pytest.mark.parametrize(
    "architecture", ARCHITECTURES.values(), ids=ARCHITECTURES.keys()
)


def built(architecture: Architecture) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    model = architecture.build()
    return model, torch.randn(architecture.shape) + 0.5


def written(architecture: Architecture, order: str, model: nn.Module, x: torch.Tensor) -> Any:
    return architecture.written[order](model, x)


def loss_of(outputs: Any) -> torch.Tensor:
    return sum((output.square().sum() for output in tensors(outputs)), torch.zeros(()))


def results(model: nn.Module, run: Callable[[], Any]) -> list[torch.Tensor]:
    """Outputs, gradients and buffers of one pass that draws from a fixed seed."""
    torch.manual_seed(3)
    model.zero_grad()
    outputs = run()
    loss_of(outputs).backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(gradient is not None for gradient in gradients)
    return [*tensors(outputs), *gradients, *(buffer.clone() for buffer in model.buffers())]  # type: ignore[list-item]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) > 0 and all(map(torch.equal, one, other))


@every_architecture
def test_the_orders_that_are_possible_are_offered(architecture: Architecture) -> None:
    order = LayerOrder(built(architecture)[0])
    assert order.available == tuple(architecture.written)
    assert order.reason == ""


@every_case
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_an_order_equals_the_model_written_so(
    architecture: Architecture, order: str, training: bool
) -> None:
    model, x = built(architecture)
    other = copy.deepcopy(model)
    LayerOrder(model).set(order)
    model.train(training)
    other.train(training)
    ours = results(model, lambda: architecture.call(model, x))
    assert same(ours, results(other, lambda: written(architecture, order, other, x)))


@every_architecture
def test_the_orders_differ_where_layers_stand_differently(architecture: Architecture) -> None:
    outputs = []
    for order in architecture.written:
        model, x = built(architecture)
        LayerOrder(model).set(order)
        torch.manual_seed(3)
        outputs.append(loss_of(architecture.call(model, x)).item())
    assert len(set(outputs)) > 1


@every_case
def test_objects_names_and_keys_stay(architecture: Architecture, order: str) -> None:
    model, x = built(architecture)
    modules = {name: id(module) for name, module in model.named_modules()}
    parameters = [(name, id(parameter)) for name, parameter in model.named_parameters()]
    keys = list(model.state_dict())
    LayerOrder(model).set(order)
    architecture.call(model, x)
    assert {name: id(module) for name, module in model.named_modules()} == modules
    assert [(name, id(parameter)) for name, parameter in model.named_parameters()] == parameters
    assert list(model.state_dict()) == keys


def calls(model: nn.Module, run: Callable[[], Any]) -> list[tuple[str, float]]:
    """The layers that hooks meet, with the sums of what they were given and gave."""
    met: list[tuple[str, float]] = []
    names = {module: name for name, module in model.named_modules()}

    def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], outputs: Any) -> None:
        output = outputs[0] if isinstance(outputs, tuple) else outputs
        met.append((names[module], inputs[0].sum().item() + output.sum().item()))

    handles = [m.register_forward_hook(hook) for m in model.modules() if not list(m.children())]
    torch.manual_seed(3)
    run()
    for handle in handles:
        handle.remove()
    return met


@every_case
def test_hooks_fire_for_their_own_module(architecture: Architecture, order: str) -> None:
    model, x = built(architecture)
    other = copy.deepcopy(model)
    fired: list[nn.Module] = []
    model.register_forward_hook(lambda module, *_: fired.append(module))
    LayerOrder(model).set(order)
    met = calls(model, lambda: architecture.call(model, x))
    assert met == calls(other, lambda: written(architecture, order, other, x))
    assert len(met) > 2
    assert fired == [model]


@every_case
def test_undo_is_exact(architecture: Architecture, order: str) -> None:
    model, x = built(architecture)
    before = [dict(vars(module)) for module in model.modules()]
    keys = [list(module._modules) for module in model.modules()]
    other = copy.deepcopy(model)
    layers = LayerOrder(model)
    assert [dict(vars(module)) for module in model.modules()] == before
    layers.set(order)
    layers.set("as_built")
    assert layers.current == "as_built"
    assert [dict(vars(module)) for module in model.modules()] == before
    assert [list(module._modules) for module in model.modules()] == keys
    ours = results(model, lambda: architecture.call(model, x))
    assert same(ours, results(other, lambda: architecture.call(other, x)))


def saved(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    assert isinstance(loaded, nn.Module)
    return loaded


COPIES: dict[str, Callable[[nn.Module], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "torch.save": saved,
    "multiprocessing": lambda model: ForkingPickler.loads(ForkingPickler.dumps(model)),
}


@every_case
@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES.keys())
def test_a_copy_has_the_order_and_layers_of_its_own(
    architecture: Architecture, order: str, copied: Callable[[nn.Module], nn.Module]
) -> None:
    model, x = built(architecture)
    other = copy.deepcopy(model)
    LayerOrder(model).set(order)
    twin = copied(model)
    assert not {id(m) for m in twin.modules()} & {id(m) for m in model.modules()}
    ours = results(twin, lambda: architecture.call(twin, x))
    assert same(ours, results(other, lambda: written(architecture, order, other, x)))
    assert all(parameter.grad is None for parameter in model.parameters())


@every_case
def test_training_with_changes_of_order_equals_a_plain_loop(
    architecture: Architecture, order: str
) -> None:
    model, x = built(architecture)
    other = copy.deepcopy(model)
    layers = LayerOrder(model)
    adam, other_adam = (torch.optim.Adam(m.parameters(), 0.01) for m in (model, other))
    torch.manual_seed(5)
    losses = []
    for step in range(5):
        if step in (2, 4):
            layers.set(order if step == 2 else "as_built")
        loss = loss_of(architecture.call(model, x))
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    torch.manual_seed(5)
    plain = []
    for step in range(5):
        now = order if step in (2, 3) else "as_built"
        loss = loss_of(written(architecture, now, other, x))
        other_adam.zero_grad()
        loss.backward()
        other_adam.step()
        plain.append(loss.item())
    assert losses == plain
    assert same(list(model.state_dict().values()), list(other.state_dict().values()))
