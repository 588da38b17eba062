from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from nbdebug.errors import ModelError
from nbdebug.model.state.model_state import ModelState, RngState, undisturbed


def make() -> tuple[nn.Sequential, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 1))
    adam = torch.optim.Adam(model.parameters(), 0.1)
    return model, adam, torch.optim.lr_scheduler.StepLR(adam, 2)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, schedule: object, n: int) -> None:
    for _ in range(n):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
        schedule.step()  # type: ignore[attr-defined]


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_all_generators_come_back() -> None:
    state = RngState.capture()
    first = draws()
    assert draws() != first
    state.restore()
    assert draws() == first


def test_a_generator_of_a_gpu_is_set_only_where_it_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Setting it makes cuDNN begin the dropout of recurrent layers anew."""
    now = [torch.tensor([1], dtype=torch.uint8), torch.tensor([2], dtype=torch.uint8)]
    written = []

    def write(state: torch.Tensor, device: int) -> None:
        written.append((int(state), device))

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: list(now))
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: now[device])
    monkeypatch.setattr(torch.cuda, "set_rng_state", write)
    state = RngState.capture()
    state.restore()
    assert written == []
    now[1] = torch.tensor([3], dtype=torch.uint8)
    state.restore()
    assert written == [(2, 1)]


def test_training_goes_on_exactly_as_after_the_capture() -> None:
    model, adam, schedule = make()
    train(model, adam, schedule, 3)
    identities = [id(p) for p in model.parameters()]
    model[0].bias.requires_grad_(False)
    model[1].eval()
    state, rng = ModelState.capture(model, adam, [schedule]), RngState.capture()
    train(model, adam, schedule, 5)
    expected = copy.deepcopy((model.state_dict(), adam.state_dict(), schedule.state_dict()))
    for _ in range(2):
        model[0].bias.requires_grad_(True)
        model.train()
        adam.param_groups[0]["lr"] = 7.0
        state.restore(model, adam, [schedule])
        rng.restore()
        assert not model[0].bias.requires_grad
        assert [m.training for m in model] == [True, False, True, True]
        train(model, adam, schedule, 5)
        assert all(torch.equal(expected[0][k], v) for k, v in model.state_dict().items())
        assert expected[1]["param_groups"] == adam.state_dict()["param_groups"]
        for index, moments in adam.state_dict()["state"].items():
            for key, value in moments.items():
                assert torch.equal(value, expected[1]["state"][index][key])
        assert expected[2] == schedule.state_dict()
    assert [id(p) for p in model.parameters()] == identities


def test_another_model_or_optimizer_is_refused_unchanged() -> None:
    model, adam, schedule = make()
    state = ModelState.capture(model, adam, [schedule])
    train(model, adam, schedule, 1)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ModelError, match=r"0\.weight"):
        state.restore(nn.Sequential(nn.Linear(4, 2)), adam, [schedule])
    with pytest.raises(ModelError, match="Captured was Adam"):
        state.restore(model, torch.optim.SGD(model.parameters(), 0.1), [schedule])
    with pytest.raises(ModelError, match="1 schedules"):
        state.restore(model, adam)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_lazy_weights_are_named() -> None:
    model = nn.Sequential(nn.LazyLinear(2))
    sgd = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(ModelError, match=r"0\.weight has no value yet"):
        ModelState.capture(model, sgd)


@pytest.mark.parametrize("fails", [False, True])
def test_undisturbed_puts_everything_back(fails: bool) -> None:
    model, adam, schedule = make()
    train(model, adam, schedule, 1)
    model[2].eval()
    gradients = [p.grad for p in model.parameters()]
    values = [g.clone() for g in gradients]
    buffers, rng = copy.deepcopy(dict(model.named_buffers())), torch.get_rng_state()

    def disturb() -> None:
        with undisturbed(model):
            model.train()
            model(torch.randn(8, 4)).sum().backward()
            model[1].register_buffer("extra", torch.ones(1))
            model[1].running_mean = torch.zeros(4)
            if fails:
                raise KeyError("expected")

    if fails:
        with pytest.raises(KeyError, match="expected"):
            disturb()
    else:
        disturb()
    assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))
    assert all(torch.equal(g, v) for g, v in zip(gradients, values, strict=True))
    assert dict(model.named_buffers()).keys() == buffers.keys()
    assert all(torch.equal(buffers[k], v) for k, v in model.named_buffers())
    assert [m.training for m in model] == [True, True, False, True]
    assert torch.equal(torch.get_rng_state(), rng)


def test_buffers_that_are_expanded_or_none_survive() -> None:
    model = nn.Linear(2, 2)
    model.register_buffer("wide", torch.ones(1).expand(3))
    model.register_buffer("none", None)
    with undisturbed(model):
        model.none = torch.ones(2)
    assert model.none is None
    assert torch.equal(model.wide, torch.ones(3))
