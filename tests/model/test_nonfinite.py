from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from nbdebug.model import nonfinite
from nbdebug.model.nonfinite import nonfinite_gradients

NAN = float("nan")


def first_nonfinite(model: nn.Module, forward: Callable[[], Any]) -> str | None:
    return nonfinite.first_nonfinite(model, forward)[0]


class Log(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.log(inputs - 1e9)


@dataclass
class Answer:
    parts: dict[str, tuple[torch.Tensor, ...]]


class Wrapped(nn.Module):
    def forward(self, inputs: torch.Tensor) -> Answer:
        return Answer({"logits": (inputs, inputs * NAN)})


class Between(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(inputs) / 0)


def net(*middle: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 4), *middle, nn.Linear(4, 4))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (net(nn.Sequential(Log())), "the output of layer 1.0 (Log)"),
        (net(nn.ReLU(), Log(), Log()), "the output of layer 2 (Log)"),
        (nn.Sequential(nn.Linear(4, 4), Wrapped()), "the output of layer 1 (Wrapped)"),
        (Between(), "the input of layer second (Linear)"),
        (net(nn.ReLU()), None),
    ],
)
def test_the_first_layer_is_named(model: nn.Module, words: str | None) -> None:
    assert first_nonfinite(model, lambda: model(torch.randn(8, 4))) == words


def test_bad_input_and_bad_weights_are_named() -> None:
    model = net(nn.ReLU())
    assert (
        first_nonfinite(model, lambda: model(torch.full((2, 4), NAN))) == "the input of the model"
    )
    with torch.no_grad():
        model[2].bias[1] = float("inf")
    found = first_nonfinite(model, lambda: model(torch.randn(2, 4)))
    assert found == "the parameter bias of layer 2 (Linear)"
    assert first_nonfinite(model, lambda: None) == "the parameter 2.bias"


def test_a_bad_buffer_is_named_where_it_is_used() -> None:
    model = net(nn.BatchNorm1d(4)).eval()
    model[1].running_mean[0] = NAN
    found = first_nonfinite(model, lambda: model(torch.randn(2, 4)))
    assert found == "the buffer running_mean of layer 1 (BatchNorm1d)"


def test_infinite_masks_are_no_suspects() -> None:
    model = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    mask = nn.Transformer.generate_square_subsequent_mask(3)
    assert torch.isinf(mask).any()
    assert first_nonfinite(model, lambda: model(torch.randn(2, 3, 4), src_mask=mask)) is None


def test_a_compiled_model_is_looked_into() -> None:
    model = torch.compile(net(Log()), backend="eager")
    found = first_nonfinite(model, lambda: model(torch.randn(8, 4)))
    assert found == "the output of layer 1 (Log)"


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_takes_no_hooks_but_is_not_disturbed() -> None:
    model = torch.jit.script(net(nn.BatchNorm1d(4)))
    before = copy.deepcopy(model.state_dict())
    assert first_nonfinite(model, lambda: model(torch.randn(8, 4))) is None
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_looking_disturbs_nothing() -> None:
    model = net(nn.BatchNorm1d(4), nn.Dropout(), Log())
    before, rng = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    assert first_nonfinite(model, lambda: model(torch.randn(8, 4)).sum()) is not None
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), rng)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_an_exception_of_the_model_comes_through_unless_it_was_explained() -> None:
    model = net(Log())

    def fails(inputs: torch.Tensor) -> None:
        model(inputs)
        raise ValueError("mine")

    assert first_nonfinite(model, lambda: fails(torch.randn(2, 4))) is not None
    with pytest.raises(RuntimeError, match="shapes"):
        first_nonfinite(model, lambda: model(torch.randn(2, 5)))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_gradients_are_named_from_the_output_back() -> None:
    model = net(nn.Tanh())
    assert nonfinite_gradients(model) is None
    model(torch.randn(2, 4)).sum().backward()
    assert nonfinite_gradients(model) is None
    model[0].weight.grad[0, 0] = NAN
    model[2].bias.grad[0] = float("inf")
    assert nonfinite_gradients(model) == "2.bias, 0.weight"


def test_sparse_gradients_are_looked_into() -> None:
    model = nn.Embedding(5, 2, sparse=True)
    (model(torch.tensor([1, 3])) * NAN).sum().backward()
    assert nonfinite_gradients(model) == "weight"
