"""Checks that rules ask for: they find the cause, and training does not notice them."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset

import nbdebug as nbd
from nbdebug.checks.base import Check
from nbdebug.core.plugins import discover
from nbdebug.core.records import Progress


class Mixed(nn.Module):
    """A batch is viewed in the wrong order, so that its samples are mixed."""

    def __init__(self, mixed: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.mixed = nn.Linear(4, 16), nn.Linear(16, 3), mixed

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = self.first(inputs).relu()
        if self.mixed:
            hidden = hidden.t().reshape(hidden.shape)
        out: torch.Tensor = self.last(hidden)
        return out


def data(n: int = 256, noise: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(n, 4, generator=draw)
    labels = inputs[:, :3].argmax(1)
    return inputs, labels[torch.randperm(n, generator=draw)] if noise else labels


def debugger(model: nn.Module, **options: Any) -> nbd.Debugger:
    given = {"loss_fn": nn.CrossEntropyLoss(), "batch_size": 32, "lr": 1e-2, **options}
    return nbd.Debugger(model, data(), runs=None, **given)


RUN_NOTHING = {check.name for check in discover("nbdebug.checks", Check) if not check.runs_model}


def statuses(dbg: nbd.Debugger) -> set[str]:
    """Statuses of the checks that run the model; the others may run by themselves."""
    rows = dbg.history.snapshot(()).checks
    return {one.status for one in rows if one.name not in RUN_NOTHING}


def test_a_loss_that_will_not_fall_is_explained_by_a_check_that_nobody_pressed() -> None:
    with debugger(Mixed()) as dbg:
        dbg.run(steps=220)
        found = dbg.findings
        assert [one.name for one in found.causes] == ["failed_check"]
        assert "Samples do not mix" in found[0].seen
        assert {"not_learning", "no_better_than_constant"} & set(found.names)
        assert dbg.history.results.of(Progress) is None


def test_while_paused_the_model_is_left_to_other_cells() -> None:
    """A dashboard that looks at the findings does not run checks beside a cell of the user's."""
    with debugger(Mixed(), overhead=0.0) as dbg:
        dbg.run(steps=220)
        dbg.model.eval()
        for _ in range(20):
            dbg.dashboard.tick()
            time.sleep(0.02)
            assert not dbg.model.training
        assert statuses(dbg) == {"not_run"}
        assert dbg.findings.causes[0].name == "failed_check"


def test_a_healthy_training_is_asked_nothing() -> None:
    with debugger(Mixed(mixed=False)) as dbg:
        dbg.run(steps=220)
        assert not dbg.findings
        assert statuses(dbg) == {"not_run"}


def plain_weights(steps: int) -> list[torch.Tensor]:
    """The weights after steps on the batches of a Debugger that nobody asks."""
    with debugger(Mixed()) as dbg:
        dbg.run(steps=steps)
        return [p.detach().clone() for p in dbg.model.parameters()]


def test_weights_are_those_of_a_training_without_questions() -> None:
    expected = plain_weights(300)
    with debugger(Mixed()) as dbg:
        dbg.run(steps=220)
        assert dbg.findings
        dbg.run(steps=80)
        assert all(map(torch.equal, dbg.model.parameters(), expected))


def test_while_training_runs_they_wait_until_their_price_is_allowed() -> None:
    with debugger(Mixed(), overhead=1.0) as dbg:
        dbg.run(steps=220)
        dbg.start()
        dbg.rules.look()
        assert dbg.history.wait_until(lambda status: "fail" in statuses(dbg), 30)
        dbg.pause()
        expected = plain_weights(dbg.history.status.step)
        assert all(map(torch.equal, dbg.model.parameters(), expected))


def test_without_overhead_they_never_run_beside_training() -> None:
    with debugger(Mixed(), overhead=0.0) as dbg:
        dbg.run(steps=220)
        dbg.start()
        dbg.rules.look()
        assert dbg.history.wait_until(lambda status: status.step >= 300, 30)
        assert statuses(dbg) == {"not_run"}
        dbg.pause()
        assert "failed_check" in dbg.findings.names


class Counted(Mixed):
    """Counts its calls in a list that no copy of a training holds."""

    calls: list[int]

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        COUNTED[0] += 1
        return super().forward(inputs)


COUNTED = [0]


def own_step(model: nn.Module, batch: Any) -> torch.Tensor:
    COUNTED[0] += 1
    return functional.cross_entropy(model(batch[0]), batch[1])


def own_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    COUNTED[0] += 1
    return functional.cross_entropy(outputs, targets)


def clean_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.nll_loss(outputs.log_softmax(1), targets)


class Weighted(nn.Module):
    """A loss that counts in an attribute, which goes back with it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return functional.cross_entropy(outputs, targets)


class Reading(Dataset[Any]):
    """A dataset that reads, and perhaps counts what it read."""

    def __init__(self, counts: bool) -> None:
        self.parts, self.counts = data(), counts

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitem__(self, index: int) -> Any:
        return self.parts[0][index], self.parts[1][index]


class Counting(Reading):
    """A dataset that counts what it read."""

    def __getitem__(self, index: int) -> Any:
        COUNTED[0] += 1
        return super().__getitem__(index)


@pytest.mark.parametrize("kind", ["step_fn", "loss_fn", "model", "hook", "dataset"])
def test_code_that_could_count_them_is_not_run_behind_the_back(kind: str) -> None:
    model = Counted() if kind == "model" else Mixed()
    given: dict[str, Any] = {"loss_fn": own_loss if kind == "loss_fn" else nn.CrossEntropyLoss()}
    if kind == "step_fn":
        given = {"step_fn": own_step}
    if kind == "hook":
        model.first.register_forward_hook(lambda *_: COUNTED.append(0))
    source = Counting(True) if kind == "dataset" else data()
    with nbd.Debugger(model, source, batch_size=32, lr=1e-2, runs=None, **given) as dbg:
        dbg.run(steps=220)
        before = list(COUNTED)
        found = dbg.findings
        assert before == COUNTED
        assert statuses(dbg) == {"not_run"}
        texts = [remedy.text for finding in found for remedy in finding.remedies]
        assert "Run the checklist: dbg.check()" in texts


@pytest.mark.parametrize("kind", ["function", "module", "dataset"])
def test_code_of_ones_own_that_holds_no_state_is_no_hindrance(kind: str) -> None:
    loss = {"function": clean_loss, "module": Weighted()}.get(kind, nn.CrossEntropyLoss())
    source = Reading(True) if kind == "dataset" else data()
    with nbd.Debugger(Mixed(), source, loss, batch_size=32, lr=1e-2, runs=None) as dbg:
        dbg.run(steps=220)
        assert "failed_check" in dbg.findings.names
        assert not isinstance(loss, Weighted) or loss.calls == 220


def test_a_reset_forgets_what_was_asked_and_asks_anew() -> None:
    with debugger(Mixed()) as dbg:
        dbg.run(steps=220)
        assert "failed_check" in dbg.findings.names
        dbg.reset()
        assert not dbg.findings
        dbg.run(steps=220)
        assert "failed_check" in dbg.findings.names


def test_what_was_run_is_no_longer_recommended() -> None:
    inputs, labels = data(noise=True)
    with nbd.Debugger(
        Mixed(mixed=False), (inputs, labels), nn.CrossEntropyLoss(), batch_size=32, runs=None
    ) as dbg:
        dbg.run(steps=300)
        texts = [remedy.text for finding in dbg.findings for remedy in finding.remedies]
        assert texts
        assert "Run the checklist: dbg.check()" not in texts
