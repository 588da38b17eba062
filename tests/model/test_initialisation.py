"""Layers drawn anew: distributions, gates, what is left out, and undo."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import init

from nbdebug.model.initialisation import Initialisation


def zoo() -> nn.ModuleDict:
    torch.manual_seed(0)
    return nn.ModuleDict(
        {
            "linear": nn.Linear(40, 30),
            "conv": nn.Conv2d(3, 8, 3),
            "lstm": nn.LSTM(6, 5, proj_size=2),
            "attention": nn.MultiheadAttention(8, 2),
            "norm": nn.LayerNorm([4, 5]),
            "embedding": nn.Embedding(7, 3, padding_idx=0),
            "weighted": nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)),
            "plain": nn.ReLU(),
        }
    )


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    """Adam with state gathered for every parameter."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer


def test_found_are_layers_that_can_be_drawn() -> None:
    made = Initialisation(zoo())
    assert list(made.layers) == ["linear", "conv", "lstm", "attention", "norm", "embedding"]
    assert made.kinds("lstm") == ("he", "xavier", "orthogonal", "default")
    assert made.kinds("norm") == made.kinds("embedding") == ("default",)


@pytest.mark.parametrize("name", ["linear", "conv", "lstm", "attention", "norm", "embedding"])
def test_default_is_what_torch_draws_when_it_builds_the_layer(name: str) -> None:
    model = zoo()
    optimizer = optimizer_of(model)
    torch.manual_seed(3)
    Initialisation(model).draw({name: "default"}, optimizer)
    torch.manual_seed(3)
    reference = copy.deepcopy(model[name])
    getattr(reference, "reset_parameters", getattr(reference, "_reset_parameters", None))()
    for value, expected in zip(model[name].parameters(), reference.parameters(), strict=True):
        assert torch.equal(value, expected)
    if name == "embedding":
        assert not model[name].weight[0].any()


def test_he_has_the_variance_of_the_paper() -> None:
    model = nn.Sequential(nn.Linear(500, 400))
    Initialisation(model).draw({"0": "he"}, optimizer_of(model))
    assert model[0].weight.var().item() == pytest.approx(2 / 500, rel=0.02)
    assert not model[0].bias.any()


def test_each_gate_is_drawn_for_itself() -> None:
    model = nn.Sequential(nn.LSTM(6, 5, proj_size=2), nn.GRU(6, 5), nn.MultiheadAttention(8, 2))
    kinds = dict.fromkeys(("0", "1", "2"), "orthogonal")
    Initialisation(model).draw(kinds, optimizer_of(model))
    matrices = [
        *model[0].weight_ih_l0.chunk(4),
        *model[0].weight_hh_l0.chunk(4),
        model[0].weight_hr_l0,
        *model[1].weight_hh_l0.chunk(3),
        *model[2].in_proj_weight.chunk(3),
        model[2].out_proj.weight,
    ]
    for matrix in matrices:
        rows = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
        assert torch.allclose(rows @ rows.T, torch.eye(len(rows)), atol=1e-5)


def test_xavier_of_a_matrix_is_that_of_torch() -> None:
    model = nn.Sequential(nn.Linear(6, 5))
    optimizer = optimizer_of(model)
    torch.manual_seed(1)
    Initialisation(model).draw({"0": "xavier"}, optimizer)
    torch.manual_seed(1)
    assert torch.equal(model[0].weight, init.xavier_uniform_(torch.empty(5, 6)))


def test_only_the_state_of_that_layer_is_cleared_and_undo_brings_it_back() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    optimizer = optimizer_of(model)
    model(torch.randn(8, 4))
    before, state = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    objects = [id(parameter) for parameter in model.parameters()]
    made = Initialisation(model)
    made.draw({"1": "default"}, optimizer)
    assert not model[1].running_mean.any()
    assert set(optimizer.state) == set(model[0].parameters())
    optimizer.step()
    for parameter in model[0].parameters():
        parameter.data.copy_(before["0.weight" if parameter.ndim == 2 else "0.bias"])
    made.undo()
    assert [id(parameter) for parameter in model.parameters()] == objects
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    after = optimizer.state_dict()["state"]
    for index in (2, 3):
        for key, value in state["state"][index].items():
            assert torch.equal(after[index][key], value)
    assert not made.undoable
    made.undo()
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_what_is_undone_is_the_last_time() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    optimizer, made = optimizer_of(model), Initialisation(model)
    made.draw({"0": "he"}, optimizer)
    he = model[0].weight.detach().clone()
    made.draw({"0": "xavier"}, optimizer)
    made.undo()
    assert torch.equal(model[0].weight, he)
