"""Steps that compare outputs with the targets of another batch, and steps that seem to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.core.results.checks.check_result import CheckResult
from tests.checks.result_of import result_of
from tests.checks.watched import watched

DRAW = torch.Generator().manual_seed(0)
N, CLASSES = 384, 4
Y = torch.randint(CLASSES, (N,), generator=DRAW)
X = torch.randn(N, 10, generator=DRAW) + 2 * F.one_hot(Y, 10)
Z = X[:, :2].sum(1) + 0.1 * torch.randn(N, generator=DRAW)
DATA = (X, Y, Z)
Step = Callable[[nn.Module, Any], torch.Tensor]


def mlp(out: int = CLASSES) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, out))


def plain() -> Step:
    return lambda model, batch: F.cross_entropy(model(batch[0]), batch[1])


def targets_before() -> Step:
    """The targets of the step before, as in a loop that keeps them for the next one."""
    kept: list[torch.Tensor] = []

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        kept.append(batch[1])
        return F.cross_entropy(model(batch[0]), kept[-2] if len(kept) > 1 else kept[-1])

    return step


def numbers_before() -> Step:
    kept: list[torch.Tensor] = []

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        kept.append(batch[2])
        return F.mse_loss(model(batch[0])[:, 0], kept[-2] if len(kept) > 1 else kept[-1])

    return step


def inputs_before() -> Step:
    """Inputs that are loaded ahead, and targets that are not."""
    kept: list[torch.Tensor] = []

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        kept.append(batch[0])
        return F.cross_entropy(model(kept[-2] if len(kept) > 1 else kept[-1]), batch[1])

    return step


def two_before() -> Step:
    kept: list[torch.Tensor] = []

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        kept.append(batch[1])
        return F.cross_entropy(model(batch[0]), kept[max(0, len(kept) - 3)])

    return step


def another_loader() -> Step:
    """Targets of a second loader, which is shuffled on its own."""
    loader = DataLoader(TensorDataset(*DATA), 32, shuffle=True, drop_last=True)
    batches = iter(loader)

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        nonlocal batches
        found = next(batches, None)
        if found is None:
            batches = iter(loader)
            found = next(batches)
        return F.cross_entropy(model(batch[0]), found[1])

    return step


def random_targets() -> Step:
    return lambda model, batch: F.cross_entropy(
        model(batch[0]), Y[torch.randint(N, (len(batch[0]),))]
    )


def both_before() -> Step:
    """Both are loaded ahead."""
    kept: list[Any] = []

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        kept.append(batch)
        x, y, _ = kept[-2] if len(kept) > 1 else batch
        return F.cross_entropy(model(x), y)

    return step


def labels_of_itself() -> Step:
    """Pseudo-labels of another network."""
    teacher = mlp()
    return lambda model, batch: F.cross_entropy(model(batch[0]), teacher(batch[0]).argmax(1))


def turned() -> Step:
    """Self-supervision: the model tells how an input was turned."""

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        turns = torch.randint(CLASSES, (len(batch[0]),))
        rows = [row.roll(int(turn)) for row, turn in zip(batch[0], turns, strict=True)]
        return F.cross_entropy(model(torch.stack(rows)), turns)

    return step


def both_in_another_order() -> Step:
    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        order = torch.randperm(len(batch[0]))
        return F.cross_entropy(model(batch[0][order]), batch[1][order])

    return step


def mixed() -> Step:
    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        order, out = torch.randperm(len(batch[0])), model(batch[0])
        return 0.7 * F.cross_entropy(out, batch[1]) + 0.3 * F.cross_entropy(out, batch[1][order])

    return step


def replayed() -> Step:
    """Each batch together with the one before it."""
    kept: list[Any] = []

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        kept.append(batch)
        x, y, _ = kept[-2] if len(kept) > 1 else batch
        own = F.cross_entropy(model(batch[0]), batch[1])
        return own + F.cross_entropy(model(x), y)

    return step


def numbers() -> Step:
    return lambda model, batch: F.mse_loss(model(batch[0])[:, 0], batch[2])


SICK = {
    "targets before": (targets_before, "the batch before"),
    "numbers before": (numbers_before, "the batch before"),
    "inputs before": (inputs_before, "the batch after"),
    "targets of two steps before": (two_before, "2 batches before"),
    "another loader": (another_loader, "neither"),
    "random targets": (random_targets, "neither"),
}
HEALTHY = [
    plain, both_before, labels_of_itself, turned, both_in_another_order, mixed, replayed, numbers,
]  # fmt: skip


def model_for(make: Callable[[], Step]) -> nn.Module:
    return mlp(1) if make in (numbers, numbers_before) else mlp()


def row(make: Callable[[], Step]) -> CheckResult:
    data = TensorDataset(*DATA)
    return result_of("other_batch", model_for(make), data, step_fn=make(), batch_size=32)


@pytest.mark.parametrize("name", SICK)
def test_targets_of_another_batch_fail(name: str) -> None:
    make, words = SICK[name]
    found = row(make)
    assert found.status == "fail"
    if words != "neither":
        assert words in found.seen


@pytest.mark.parametrize("name", SICK)
def test_they_fail_in_a_loop(name: str) -> None:
    make, _ = SICK[name]
    report = watched(("other_batch",), model_for(make), DATA, make(), batch_size=32)
    # The iterator of a second loader cannot be put back: the loop is not run for a check.
    once = name == "another loader"
    assert report["other_batch"].status == ("not_applicable" if once else "fail")


@pytest.mark.parametrize("make", HEALTHY)
def test_targets_that_are_meant_pass(make: Callable[[], Step]) -> None:
    assert row(make).status in ("pass", "not_applicable")
    report = watched(("other_batch",), model_for(make), DATA, make(), batch_size=32)
    assert report["other_batch"].status in ("pass", "not_applicable")


def test_a_loss_that_nbdebug_calls_is_not_judged() -> None:
    found = result_of("other_batch", mlp(), (X, Y), nn.CrossEntropyLoss())
    assert found.status == "not_applicable"


def test_labels_that_nothing_predicts_are_not_judged_by_their_relation() -> None:
    noise = torch.randn(N, 10, generator=torch.Generator().manual_seed(1))
    data = TensorDataset(noise, Y, Z)
    step = another_loader()
    found = result_of("other_batch", mlp(), data, step_fn=step, batch_size=32)
    assert found.status in ("pass", "not_applicable")


def test_the_training_is_left_as_it_was() -> None:
    weights = []
    for checked in (False, True):
        with nbd.Debugger(
            mlp(), TensorDataset(*DATA), step_fn=plain(), batch_size=32, runs=None
        ) as dbg:
            if checked:
                dbg.check("other_batch")
            dbg.run(steps=5)
            weights.append([p.detach().clone() for p in dbg.model.parameters()])
    assert all(map(torch.equal, *weights))
