"""Steps that draw samples of their own, against steps that use their batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.examples.setups.base import CE, X, mlp, y
from tests.checks.result_of import result_of

DATA = TensorDataset(X, y)
IN_ORDER, SHUFFLED = DataLoader(DATA, 20), DataLoader(DATA, 20, shuffle=True)
Step = Callable[[nn.Module, Any], torch.Tensor]


def of_batch(model: nn.Module, batch: Any) -> torch.Tensor:
    loss: torch.Tensor = CE(model(batch[0]), batch[1])
    return loss


def first_again(model: nn.Module, batch: Any) -> torch.Tensor:
    return of_batch(model, next(iter(IN_ORDER)))


def drawn_anew(model: nn.Module, batch: Any) -> torch.Tensor:
    return of_batch(model, next(iter(SHUFFLED)))


def inputs_alone(model: nn.Module, batch: Any) -> torch.Tensor:
    outputs = model(batch[0])
    return (outputs - outputs.roll(1, 0)).square().mean() + outputs.square().mean()


def noise_of_its_size(model: nn.Module, batch: Any) -> torch.Tensor:
    return (model(torch.rand_like(batch[0])).mean(0) - batch[0].mean()).square().sum()


def with_dropout() -> nn.Module:
    return nn.Sequential(nn.Dropout(0.2), mlp())


def row(model: nn.Module, step: Step) -> Any:
    return result_of("unused_batch", model, (X, y), step_fn=step)


@pytest.mark.parametrize("model", [mlp, with_dropout])
@pytest.mark.parametrize(("step", "status"), [(first_again, "fail"), (drawn_anew, "warning")])
def test_a_step_with_samples_of_its_own_is_named(
    step: Step, status: str, model: Callable[[], nn.Module]
) -> None:
    found = row(model(), step)
    assert found.status == status
    assert "next(iter(loader))" in found.remedy


@pytest.mark.parametrize("model", [mlp, with_dropout])
@pytest.mark.parametrize("step", [of_batch, inputs_alone, noise_of_its_size])
def test_a_step_that_reads_its_batch_passes(step: Step, model: Callable[[], nn.Module]) -> None:
    assert row(model(), step).status == "pass"


def test_without_a_step_it_does_not_apply() -> None:
    assert result_of("unused_batch", mlp(), (X, y), CE).status == "not_applicable"


@pytest.mark.parametrize("own", [None, IN_ORDER, SHUFFLED])
def test_a_loop_that_draws_a_second_time_is_named(own: Any) -> None:
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def loop(dbg: Any) -> None:
        for _ in dbg.epochs(2):
            for drawn in dbg.batches(SHUFFLED):
                batch = drawn if own is None else next(iter(own))
                optimizer.zero_grad()
                loss = of_batch(model, batch)
                loss.backward()
                optimizer.step()

    with nbd.watch(model, optimizer, runs=None) as dbg:
        dbg.break_when("step >= 3")
        dbg.run(lambda: loop(dbg))
        assert dbg.wait(60)
        found = dbg.check("unused_batch")["unused_batch"]
        dbg.clear_breakpoints()
        dbg.start()
        assert dbg.wait(60)
    wanted = {None: "pass", IN_ORDER: "fail", SHUFFLED: "warning"}[own]
    assert found.status == wanted, found.seen
