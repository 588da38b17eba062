"""What an optimizer keeps beside its state, and what its hooks count, goes back with training."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd

torch.manual_seed(0)
X = torch.randn(48, 6)
Y = X[:, :3].argmax(1)
Verb = Callable[[Any], Any]
VERBS: dict[str, Verb] = {
    "check": lambda dbg: dbg.check(),
    "fork": lambda dbg: dbg.fork(4, lr=0.3).discard(),
    "rewind": lambda dbg: dbg.rewind(3),
    "replay": lambda dbg: dbg.replay(),
    "worst samples": lambda dbg: dbg.worst_samples(),
    "flight record": lambda dbg: dbg.flight_record(),
}


class SignMomentum(torch.optim.Optimizer):
    """Keeps its averages in an attribute of its own, and a ramp that it counts."""

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, {"lr": lr})
        self.updates, self.averages = [0], dict[int, torch.Tensor]()

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.updates[0] += 1
        for group in self.param_groups:
            for number, weight in enumerate(group["params"]):
                average = self.averages.setdefault(number, torch.zeros_like(weight))
                update = torch.sign(0.9 * average + 0.1 * weight.grad)
                weight.add_(update, alpha=-group["lr"] * min(1, self.updates[0] / 10))
                average.mul_(0.95).add_(weight.grad, alpha=0.05)


def own(model: nn.Module) -> tuple[torch.optim.Optimizer, Callable[[], torch.Tensor]]:
    optimizer = SignMomentum(model.parameters(), 1e-2)
    return optimizer, lambda: torch.tensor([float(optimizer.updates[0])])


def averaged(model: nn.Module) -> tuple[torch.optim.Optimizer, Callable[[], torch.Tensor]]:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    average, count = copy.deepcopy(model), [0]

    def follow(*_: Any) -> None:
        count[0] += 1
        with torch.no_grad():
            for kept, weight in zip(average.parameters(), model.parameters(), strict=True):
                kept.mul_(0.9).add_(weight, alpha=0.1)

    optimizer.register_step_post_hook(follow)
    return optimizer, lambda: torch.cat([flat(average), torch.tensor([float(count[0])])])


def decayed(model: nn.Module) -> tuple[torch.optim.Optimizer, Callable[[], torch.Tensor]]:
    optimizer, count = torch.optim.SGD(model.parameters(), 0.1), [0]

    def lower(*_: Any) -> None:
        count[0] += 1
        optimizer.param_groups[0]["lr"] *= 0.8 if count[0] % 7 == 0 else 1.0

    optimizer.register_step_pre_hook(lower)
    return optimizer, lambda: torch.tensor([float(count[0])])


def decayed_by_all(model: nn.Module) -> tuple[torch.optim.Optimizer, Callable[[], torch.Tensor]]:
    optimizer, count = torch.optim.SGD(model.parameters(), 0.1), [0]

    def lower(one: Any, *_: Any) -> None:
        if one is optimizer:
            count[0] += 1
            optimizer.param_groups[0]["lr"] *= 0.8 if count[0] % 7 == 0 else 1.0

    HANDLES.append(register_optimizer_step_post_hook(lower))
    return optimizer, lambda: torch.tensor([float(count[0])])


class Around(torch.optim.Optimizer):
    """Makes its updates by another optimizer, which it holds."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.1})
        self.base = torch.optim.SGD(self.param_groups, lr=0.1, momentum=0.9)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.base.step()


def around(model: nn.Module) -> tuple[torch.optim.Optimizer, Callable[[], torch.Tensor]]:
    optimizer = Around(model.parameters())
    return optimizer, lambda: torch.cat([
        state["momentum_buffer"].flatten() for state in optimizer.base.state.values()
    ])  # fmt: skip


HANDLES: list[Any] = []
KINDS = {
    "attributes": own, "a hook of its updates": averaged, "a hook before them": decayed,
    "a hook of all optimizers": decayed_by_all, "an optimizer inside": around,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_hooks_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    remove_hooks()


def remove_hooks() -> None:
    while HANDLES:
        HANDLES.pop().remove()


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def trained(kind: str, verb: Verb | None) -> torch.Tensor:
    """Weights, and what is kept beside, after 20 steps with a verb behind the eighth."""
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    optimizer, kept = KINDS[kind](model)
    loader = DataLoader(TensorDataset(X, Y), 8)
    with nbd.Debugger(
        model, loader, functional.cross_entropy, optimizer=optimizer, runs=None
    ) as dbg:
        dbg.run(steps=8)
        if verb is not None:
            verb(dbg)
        dbg.run(steps=20 - dbg.session.step)
        return torch.cat([flat(model), kept()])


def plainly(kind: str) -> torch.Tensor:
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    optimizer, kept = KINDS[kind](model)
    done, loader = 0, DataLoader(TensorDataset(X, Y), 8)
    while done < 20:
        for inputs, targets in loader:
            if done < 20:
                optimizer.zero_grad()
                functional.cross_entropy(model(inputs), targets).backward()
                optimizer.step()
                done += 1
    return torch.cat([flat(model), kept()])


def setup(kind: str) -> tuple[nn.Module, Any, torch.optim.Optimizer, Callable[[], torch.Tensor]]:
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    return model, DataLoader(TensorDataset(X, Y), 8), *KINDS[kind](model)


@pytest.mark.parametrize("kind", KINDS)
def test_a_resume_goes_on_with_what_an_optimizer_keeps(kind: str) -> None:
    model, loader, optimizer, _ = setup(kind)
    loss = functional.cross_entropy
    with nbd.Debugger(model, loader, loss, optimizer=optimizer, name="n", runs=None) as dbg:
        dbg.run(steps=11)
    # A new process has none of them.
    remove_hooks()
    model, loader, optimizer, kept = setup(kind)
    with nbd.Debugger.resume("n", model, loader, loss, optimizer=optimizer, runs=None) as dbg:
        dbg.run(steps=9)
        assert torch.equal(torch.cat([flat(model), kept()]), plainly(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_no_verb_moves_what_an_optimizer_keeps(kind: str) -> None:
    expected = plainly(kind)
    assert torch.equal(trained(kind, None), expected)
    for name, verb in VERBS.items():
        assert torch.equal(trained(kind, verb), expected), name


class ById(torch.optim.Optimizer):
    """Knows its slow weights by the address of each parameter, which a restart changes."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.1})
        self.slow = dict[int, torch.Tensor]()

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for weight in self.param_groups[0]["params"]:
            slow = self.slow.setdefault(id(weight), weight.clone())
            weight.add_(weight.grad, alpha=-0.1)
            slow.lerp_(weight, 0.1)


def test_a_resume_tells_of_what_is_known_by_addresses() -> None:
    loss = functional.cross_entropy
    loader = DataLoader(TensorDataset(X, Y), 8)
    model, resumed = nn.Linear(6, 3), nn.Linear(6, 3)
    with nbd.Debugger(
        model, loader, loss, optimizer=ById(model.parameters()), name="n", runs=None
    ) as dbg:
        dbg.run(steps=5)
    optimizer = ById(resumed.parameters())
    with nbd.Debugger.resume("n", resumed, loader, loss, optimizer=optimizer, runs=None) as dbg:
        dbg.run(steps=1)
        told = [one.text for one in dbg.history.notices if "Not everything" in one.title]
    assert any("optimizer.slow" in text for text in told), told
    assert optimizer.slow.keys() == {id(one) for one in resumed.parameters()}
