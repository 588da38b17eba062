"""Networks and optimizers that the user's functions train beside the model go back with it."""

from __future__ import annotations

import copy
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

import nbdebug as nbd
from tests.hidden import count_up
from tests.training.looking import LOOKING as LOOKS
from tests.training.stateful_models import STATES, iterator_model

DATA = torch.Generator().manual_seed(5)
X = torch.randn(96, 6, generator=DATA)
Y = X.sum(1, keepdim=True)
Step = Callable[[nn.Module, Any], torch.Tensor]


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 1))


class Program(NamedTuple):
    """A training, and what it trains beside its model."""

    model: nn.Module
    step: Step
    others: tuple[nn.Module, ...]


def against_another_network() -> Program:
    model, other = net(), net()
    optimizer = torch.optim.Adam(other.parameters(), 1e-2)

    def step(m: nn.Module, batch: Any) -> torch.Tensor:
        optimizer.zero_grad()
        mse_loss(other(batch[0]), batch[1]).backward()
        optimizer.step()
        return mse_loss(m(batch[0]), other(batch[0]).detach())

    return Program(model, step, (other,))


def in_an_object() -> Program:
    class Trainer:
        def __init__(self) -> None:
            self.other = net()
            self.optimizer = torch.optim.SGD(self.other.parameters(), 0.05, momentum=0.9)
            self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 3, 0.5)

        def step(self, m: nn.Module, batch: Any) -> torch.Tensor:
            self.optimizer.zero_grad()
            mse_loss(self.other(batch[0]), batch[1]).backward()
            self.optimizer.step()
            self.schedule.step()
            return mse_loss(m(batch[0]), self.other(batch[0]).detach())

    trainer = Trainer()
    return Program(net(), trainer.step, (trainer.other,))


def with_an_average_of_weights() -> Program:
    model = net()
    average = copy.deepcopy(model)

    def step(m: nn.Module, batch: Any) -> torch.Tensor:
        with torch.no_grad():
            for mean, now in zip(average.parameters(), m.parameters(), strict=True):
                mean.mul_(0.9).add_(now, alpha=0.1)
        pull = mse_loss(m(batch[0]), average(batch[0]).detach())
        return mse_loss(m(batch[0]), batch[1]) + 0.1 * pull

    return Program(model, step, (average,))


def through_a_helper() -> Program:
    model, other = net(), net()
    parts = {"optimizer": torch.optim.AdamW(other.parameters(), 1e-2)}

    def train_other(batch: Any) -> torch.Tensor:
        parts["optimizer"].zero_grad()
        loss = mse_loss(other(batch[0]), batch[1])
        loss.backward()
        parts["optimizer"].step()
        return loss.detach()

    def step(m: nn.Module, batch: Any) -> torch.Tensor:
        return mse_loss(m(batch[0]), batch[1]) * (1.0 + train_other(batch))

    return Program(model, step, (other,))


def with_noise_of_its_own() -> Program:
    numbers = torch.Generator().manual_seed(3)

    def step(m: nn.Module, batch: Any) -> torch.Tensor:
        return mse_loss(m(batch[0]) + torch.randn((), generator=numbers), batch[1])

    return Program(net(), step, ())


def with_a_loss_that_has_a_buffer() -> Program:
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean: torch.Tensor
            self.register_buffer("mean", torch.zeros(()))

        def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            loss = mse_loss(outputs, targets)
            self.mean = 0.9 * self.mean + 0.1 * loss.detach()
            return loss / (1.0 + self.mean)

    weighted = Weighted()
    return Program(net(), lambda m, batch: weighted(m(batch[0]), batch[1]), (weighted,))


PROGRAMS = {
    f.__name__.replace("_", " "): f
    for f in (
        against_another_network, in_an_object, with_an_average_of_weights, through_a_helper,
        with_noise_of_its_own, with_a_loss_that_has_a_buffer,
    )
}  # fmt: skip
# With a step_fn the inputs of the model, and the loss of a single sample, are unknown.
REFUSED = ("summary", "worst_samples")
LOOKING = {name: look for name, look in LOOKS.items() if name not in REFUSED}


def built(kind: str) -> Program:
    torch.manual_seed(0)
    return PROGRAMS[kind]()


def make(program: Program, step: Step | None = None, **options: Any) -> nbd.Debugger:
    step = program.step if step is None else step
    return nbd.Debugger(program.model, (X, Y), step_fn=step, batch_size=16, **options)


def values(program: Program) -> list[torch.Tensor]:
    return [v.clone() for m in (program.model, *program.others) for v in m.state_dict().values()]


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def bare(kind: str, steps: int) -> list[torch.Tensor]:
    """The values after a plain loop."""
    program = built(kind)
    optimizer = torch.optim.Adam(program.model.parameters(), 1e-3)
    order = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    left = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        left = left if len(left) else torch.randperm(len(X), generator=order)
        batch, left = left[:16], left[16:]
        loss = program.step(program.model, (X[batch], Y[batch]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return values(program)


@pytest.mark.parametrize("kind", PROGRAMS)
def test_every_look_leaves_training_as_it_was(kind: str) -> None:
    program = built(kind)
    with make(program) as dbg:
        for look in LOOKING.values():
            dbg.run(steps=2)
            look(dbg)
        dbg.run(steps=2)
    assert equal(values(program), bare(kind, 2 * len(LOOKING) + 2))


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_replay_is_exact_and_a_rewind_goes_back(kind: str) -> None:
    program = built(kind)
    with make(program) as dbg:
        dbg.run(steps=8)
        assert dbg.timeline.replay().equal
        assert dbg.timeline.rewind(3).equal
        dbg.run(steps=5)
        assert equal(values(program), bare(kind, 8))
        dbg.reset()
        dbg.run(steps=4)
    assert equal(values(program), bare(kind, 4))


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_resumed_training_goes_on_with_all_networks(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with make(built(kind), name="a run") as dbg:
        dbg.run(steps=5)
    program = built(kind)
    with nbd.Debugger.resume("a run", program.model, (X, Y), step_fn=program.step) as dbg:
        dbg.run(steps=5)
    assert equal(values(program), bare(kind, 10))


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_step_that_fails_after_it_trained_another_network_is_undone(kind: str) -> None:
    program = built(kind)
    calls = queue.SimpleQueue[None]()

    def step(m: nn.Module, batch: Any) -> torch.Tensor:
        loss = program.step(m, batch)
        if count_up(calls) in (4, 9):
            raise OSError("the network was away for a moment")
        return loss

    with make(program, step, overhead=0) as dbg:
        for _ in range(3):
            try:
                dbg.run(steps=10 - dbg.history.status.step)
            except OSError:
                continue
        assert dbg.history.status.step == 10
        assert equal(values(program), bare(kind, 10))
        assert dbg.timeline.replay().equal


class FailsHalfway(torch.optim.SGD):
    """An optimizer that fails once, when it has updated some of the parameters."""

    calls = 0

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        FailsHalfway.calls += 1
        if FailsHalfway.calls == 4:
            with torch.no_grad():
                self.param_groups[0]["params"][0].add_(1.0)
            raise MemoryError("no memory for the momentum of a large layer")
        super().step()


def test_half_an_update_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FailsHalfway, "calls", 0)
    torch.manual_seed(0)
    model = net()
    optimizer = FailsHalfway(model.parameters(), lr=0.05, momentum=0.9)
    with nbd.Debugger(
        model, (X, Y), nn.MSELoss(), batch_size=16, optimizer=optimizer, overhead=0
    ) as dbg:
        with pytest.raises(MemoryError):
            dbg.run(steps=6)
        dbg.run(steps=6 - dbg.history.status.step)
        undisturbed = copy.deepcopy(model.state_dict())
        monkeypatch.setattr(FailsHalfway, "calls", 100)
        torch.manual_seed(0)
        other = net()
        optimizer = FailsHalfway(other.parameters(), lr=0.05, momentum=0.9)
    with nbd.Debugger(
        other, (X, Y), nn.MSELoss(), batch_size=16, optimizer=optimizer, overhead=0
    ) as dbg:
        dbg.run(steps=6)
    assert equal(list(undisturbed.values()), list(other.state_dict().values()))


def test_what_cannot_be_copied_is_said_before_anything_looks() -> None:
    torch.manual_seed(0)
    with nbd.Debugger(iterator_model(), (X, Y[:, 0].long() % 3), nn.CrossEntropyLoss()) as dbg:
        notices = {notice.title: notice.text for notice in dbg.history.notices}
    assert "held (generator)" in notices["A part of the model cannot be copied"]


@pytest.mark.parametrize("kind", STATES)
def test_what_can_be_copied_needs_no_word(kind: str) -> None:
    torch.manual_seed(0)
    with nbd.Debugger(STATES[kind](), (X, Y[:, 0].long() % 3), nn.CrossEntropyLoss()) as dbg:
        assert not dbg.history.notices


def test_a_list_of_the_user_that_grows_is_no_difference() -> None:
    seen: list[torch.Tensor] = []
    program = built("against another network")

    def step(m: nn.Module, batch: Any) -> torch.Tensor:
        seen.append(batch[1].clone())
        return program.step(m, batch)

    with make(program, step) as dbg:
        dbg.run(steps=4)
        assert dbg.timeline.replay().equal
        report = dbg.check()
    assert not [result for result in report if "could not restore" in result.seen]


def test_data_that_a_function_reaches_is_the_users() -> None:
    rows, targets = X.clone(), Y.clone()
    program = built("with noise of its own")

    def step(m: nn.Module, batch: Any) -> torch.Tensor:
        return program.step(m, batch) + 0.0 * rows.mean()

    with nbd.Debugger(program.model, (rows, targets), step_fn=step, batch_size=16) as dbg:
        dbg.run(steps=3)
        rows[5] = 7.0
        dbg.timeline.rewind(1)
        assert bool((rows[5] == 7.0).all())
