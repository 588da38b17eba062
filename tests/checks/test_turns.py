"""Parameters that learn in their turn only, and those that never do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.core.results.checks.check_result import CheckResult
from tests.checks.result_of import result_of

X = torch.randn(96, 3, generator=torch.Generator().manual_seed(0))
LOADER = DataLoader(TensorDataset(X), batch_size=16)


class Adversaries:
    """A generator that is trained where `turn(count, epoch)` says so, and a critic."""

    def __init__(self, turn: Callable[[int, int], bool], cut: bool = False) -> None:
        torch.manual_seed(0)
        self.turn, self.cut = turn, cut
        self.G = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 3))
        self.C = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
        self.model = {"G": self.G, "C": self.C}
        adam = {
            name: torch.optim.Adam(one.parameters(), lr=1e-3) for name, one in self.model.items()
        }
        self.optimizer = adam

    def run(self, dbg: Any) -> None:
        count = 0
        for epoch in dbg.epochs(6):
            for (x,) in dbg.batches(LOADER):
                with torch.no_grad():
                    fake = self.G(torch.randn(len(x), 2))
                self.optimizer["C"].zero_grad()
                (self.C(fake).sigmoid().mean() - self.C(x).sigmoid().mean()).backward()
                self.optimizer["C"].step()
                count += 1
                if self.turn(count, epoch):
                    made = self.G(torch.randn(len(x), 2))
                    score = self.C(made.detach() if self.cut else made)
                    self.optimizer["G"].zero_grad()
                    (1 - score.sigmoid()).mean().backward()
                    self.optimizer["G"].step()


def of_turns(kind: Adversaries, at: int, check: str = "zero_gradient") -> CheckResult:
    with nbd.watch(kind.model, kind.optimizer, runs=None) as dbg:
        dbg.break_when(f"step >= {at}")
        dbg.run(lambda: kind.run(dbg))
        assert dbg.wait(60)
        found = dbg.check(check)[check]
        dbg.clear_breakpoints()
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=10_000)
    return found


TURNS: dict[str, tuple[Callable[[int, int], bool], int]] = {
    "every third batch": (lambda count, epoch: count % 3 == 0, 1),
    "every third batch, late": (lambda count, epoch: count % 3 == 0, 20),
    "every seventh batch": (lambda count, epoch: count % 7 == 0, 1),
    "every other epoch": (lambda count, epoch: epoch % 2 == 1, 14),
    "the first epoch": (lambda count, epoch: epoch == 0, 20),
    "from a batch on": (lambda count, epoch: count > 10, 2),
}


@pytest.mark.parametrize("kind", TURNS)
def test_a_generator_that_waits_for_its_turn_gets_its_gradient(kind: str) -> None:
    turn, at = TURNS[kind]
    found = of_turns(Adversaries(turn), at)
    assert found.status == "pass", found.seen


@pytest.mark.parametrize("turn", [lambda count, epoch: True, lambda count, epoch: count % 3 == 0])
@pytest.mark.parametrize("at", [1, 14])
def test_one_that_is_cut_off_does_not(turn: Callable[[int, int], bool], at: int) -> None:
    found = of_turns(Adversaries(turn, cut=True), at)
    assert found.status == "warning"
    assert "G.0.weight" in found.seen


class Beside(nn.Module):
    """A body, and a head that only some steps read."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(3, 4), nn.Linear(4, 1)
        self.rest = nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> Any:
        hidden = self.body(x).tanh()
        return self.rest(hidden), self.head(hidden)


@pytest.mark.parametrize(("every", "status"), [(4, "pass"), (9, "pass"), (10**6, "warning")])
def test_a_term_of_every_few_steps_reaches_its_head(every: int, status: str) -> None:
    count = 0

    def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        nonlocal count
        count += 1
        out, beside = model(batch[0])
        loss: torch.Tensor = (out - batch[1]).square().mean()
        return loss + (beside - batch[1]).square().mean() if count % every == 0 else loss

    torch.manual_seed(0)
    found = result_of(
        "zero_gradient", Beside(), (X, X[:, :1].clone()), step_fn=step_fn, batch_size=16
    )
    assert found.status == status, found.seen
