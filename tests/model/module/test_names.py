from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from nbdebug.model.module.names import layers, measured_layers, trainable


def names(found: tuple[tuple[str, object], ...]) -> list[str]:
    return [name for name, _ in found]


@pytest.fixture
def nested() -> nn.Module:
    body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Dropout2d())
    return nn.Sequential(
        OrderedDict(
            body=body,
            pool=nn.MaxPool2d(2),
            flat=nn.Flatten(),
            skip=nn.Sequential(),
            same=nn.Identity(),
            head=nn.Linear(8, 3),
        )
    )


def test_layers_are_the_leaves_in_order(nested: nn.Module) -> None:
    assert names(layers(nested)) == [
        "body.0", "body.1", "body.2", "body.3", "pool", "flat", "same", "head",
    ]  # fmt: skip
    assert all(nested.get_submodule(name) is module for name, module in layers(nested))


def test_measured_layers_leave_out_what_only_passes_on(nested: nn.Module) -> None:
    assert names(measured_layers(nested)) == ["body.0", "body.1", "body.2", "pool", "head"]


def test_a_shared_module_is_listed_once() -> None:
    act = nn.Tanh()
    model = nn.Sequential(nn.Linear(2, 2), act, nn.Linear(2, 2), act)
    assert names(layers(model)) == ["0", "1", "2"]


def test_a_model_of_one_layer_is_named_for_its_class() -> None:
    model = nn.Linear(2, 2)
    assert layers(model) == (("linear", model),)
    assert names(layers(torch.compile(model, backend="eager"))) == ["linear"]


def test_compiling_does_not_change_names(nested: nn.Module) -> None:
    compiled = torch.compile(nested, backend="eager")
    assert isinstance(compiled, nn.Module)
    assert layers(compiled) == layers(nested)
    assert trainable(compiled) == trainable(nested)
    nested.body = torch.compile(nested.body, backend="eager")
    assert names(layers(nested))[:2] == ["body.0", "body.1"]
    assert names(trainable(nested))[0] == "body.0.weight"


def test_attention_and_parametrized_layers_are_single_layers() -> None:
    attention = nn.MultiheadAttention(4, 2)
    normed = parametrizations.weight_norm(nn.Linear(4, 4))
    model = nn.ModuleDict({"attention": attention, "normed": normed})
    assert layers(model) == (("attention", attention), ("normed", normed))


def test_a_loss_inside_the_model_is_not_measured() -> None:
    model = nn.ModuleDict({"fc": nn.Linear(2, 2), "criterion": nn.CrossEntropyLoss()})
    assert names(measured_layers(model)) == ["fc"]


def test_trainable_skips_frozen_and_repeats() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    first.bias.requires_grad_(False)
    model = nn.Sequential(first, second)
    assert names(trainable(model)) == ["0.weight", "1.bias"]
    assert trainable(model)[0][1] is first.weight
