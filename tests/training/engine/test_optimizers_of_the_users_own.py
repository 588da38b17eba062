"""What an optimizer keeps beside its state, and what its hooks count, goes back with training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
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


KINDS = {"attributes": own, "a hook of its updates": averaged}


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


@pytest.mark.parametrize("kind", KINDS)
def test_no_verb_moves_what_an_optimizer_keeps(kind: str) -> None:
    expected = plainly(kind)
    assert torch.equal(trained(kind, None), expected)
    for name, verb in VERBS.items():
        assert torch.equal(trained(kind, verb), expected), name
