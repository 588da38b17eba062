"""Validation of a loop in training mode is named; calls that are meant so are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from tests.inside import global_hooks
from tests.training.own_loop.loops import X, Y

HELD_X, HELD_Y = X[:48] + 0.01, Y[:48]
HELD = DataLoader(TensorDataset(HELD_X, HELD_Y), 16)
NAME = "validation_in_train_mode"
Work = Callable[[nn.Module], Any]


def network(*, norm: bool = True, dropout: float = 0.1) -> nn.Sequential:
    torch.manual_seed(0)
    middle = nn.BatchNorm1d(8) if norm else nn.Identity()
    return nn.Sequential(
        nn.Linear(X.shape[1], 8), middle, nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 1)
    )


def by_loader(model: nn.Module) -> None:
    with torch.no_grad():
        for x, y in HELD:
            functional.mse_loss(model(x), y)


def in_inference_mode(model: nn.Module) -> None:
    with torch.inference_mode():
        for x, _ in HELD:
            model(x)


def at_once(model: nn.Module) -> None:
    with torch.no_grad():
        model(HELD_X)


def with_gradients(model: nn.Module) -> None:
    for x, y in HELD:
        functional.mse_loss(model(x), y).item()


def put_back_too_early(model: nn.Module) -> None:
    model.eval()
    model.train()
    by_loader(model)


def in_eval_mode(model: nn.Module) -> None:
    model.eval()
    by_loader(model)
    model.train()


def statistics_again(model: nn.Module) -> None:
    """BatchNorm gets statistics of the data, and validation comes after."""
    by_loader(model)
    in_eval_mode(model)


def averaged_statistics(model: nn.Module) -> None:
    torch.optim.swa_utils.update_bn(DataLoader(TensorDataset(X), 16), model)


def drawn_dropout(model: nn.Module) -> None:
    """Several outputs for the same inputs, by dropout."""
    with torch.no_grad():
        for _ in range(5):
            model(HELD_X)


def another_model(model: nn.Module) -> None:
    by_loader(network())


def nothing(model: nn.Module) -> None:
    """Trains only."""


def in_batches(work: Work, model: nn.Module, *, inside: bool = False) -> Any:
    """Findings of a loop over batches, with `work` after each pass or after some updates."""
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    loader = DataLoader(TensorDataset(X, Y), 16)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for _ in dbg.epochs(4):
            for number, (x, y) in enumerate(dbg.batches(loader)):
                optimizer.zero_grad()
                functional.mse_loss(model(x), y).backward()
                optimizer.step()
                if inside and number == 3:
                    work(model)
            if not inside:
                work(model)
        found = dbg.findings
    assert global_hooks() == 0
    return found


def in_steps(work: Work, model: nn.Module, *, every: int = 6) -> Any:
    """Findings of a loop in `with dbg.step():`, with `work` between some of them."""
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for number in range(24):
            with dbg.step():
                rows = torch.arange(16) + number % 6 * 16
                optimizer.zero_grad()
                functional.mse_loss(model(X[rows]), Y[rows]).backward()
                optimizer.step()
            if number % every == every - 1:
                work(model)
        dbg.leave()
        found = dbg.findings
    assert global_hooks() == 0
    return found


def named(found: Any) -> Any:
    return next((one for one in found if one.name == NAME), None)


SICK = [by_loader, in_inference_mode, at_once, put_back_too_early]


@pytest.mark.parametrize("work", SICK)
@pytest.mark.parametrize("loop", [in_batches, in_steps])
def test_validation_in_training_mode_is_named(loop: Any, work: Work) -> None:
    found = named(loop(work, network()))
    assert found is not None
    assert "BatchNorm1d, Dropout" in found.seen
    assert "test_validation_mode.py" in found.seen
    assert "model.eval()" in found.remedies[0].text


def test_it_is_named_within_a_pass_and_without_no_grad() -> None:
    assert named(in_batches(by_loader, network(), inside=True))
    assert named(in_batches(with_gradients, network()))
    assert named(in_steps(at_once, network(norm=False), every=1))


def test_dropout_alone_or_batchnorm_alone_is_enough() -> None:
    assert "statistics" not in named(in_batches(by_loader, network(norm=False))).seen
    assert "statistics" in named(in_batches(by_loader, network(dropout=0.0))).seen


HEALTHY = [in_eval_mode, statistics_again, averaged_statistics, drawn_dropout, another_model,
           nothing]  # fmt: skip


@pytest.mark.parametrize("work", HEALTHY)
@pytest.mark.parametrize("loop", [in_batches, in_steps])
def test_calls_that_are_meant_so_are_not(loop: Any, work: Work) -> None:
    assert named(loop(work, network())) is None


def test_layers_that_do_not_depend_on_the_mode_are_not_named() -> None:
    assert named(in_batches(by_loader, network(norm=False, dropout=0.0))) is None


def test_acting_before_each_step_is_no_validation() -> None:
    def act(model: nn.Module) -> None:
        with torch.no_grad():
            model(torch.randn(16, X.shape[1]))

    assert named(in_steps(act, network(norm=False), every=1)) is None


def test_a_look_at_the_batch_itself_is_no_validation() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    loader = DataLoader(TensorDataset(X, Y), 16)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for _ in dbg.epochs(3):
            for number, (x, y) in enumerate(dbg.batches(loader)):
                optimizer.zero_grad()
                functional.mse_loss(model(x), y).backward()
                optimizer.step()
                if number == 2:
                    with torch.no_grad():
                        functional.mse_loss(model(x), y)
        assert named(dbg.findings) is None


def test_samples_of_a_generator_are_no_validation() -> None:
    nets = {"G": network(), "D": nn.Linear(1, 1)}
    optimizers = {name: torch.optim.SGD(net.parameters(), 0.01) for name, net in nets.items()}
    noise = torch.randn(16, X.shape[1])
    with nbd.watch(nets, optimizers, runs=None) as dbg:
        for number in range(24):
            with dbg.step():
                for name in nets:
                    optimizers[name].zero_grad()
                    nets["D"](nets["G"](torch.randn(16, X.shape[1]))).mean().backward()
                    optimizers[name].step()
            if number % 6 == 5:
                with torch.no_grad():
                    nets["G"](noise)
        dbg.leave()
        assert named(dbg.findings) is None


def test_the_finding_ends_with_validation_in_eval_mode() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    loader = DataLoader(TensorDataset(X, Y), 16)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for epoch in dbg.epochs(6):
            for x, y in dbg.batches(loader):
                optimizer.zero_grad()
                functional.mse_loss(model(x), y).backward()
                optimizer.step()
            (by_loader if epoch < 2 else in_eval_mode)(model)
        found = named(dbg.findings)
        assert found is None or found.resolved


@pytest.mark.parametrize("loop", [in_batches, in_steps])
def test_eval_mode_that_stays_is_named(loop: Any) -> None:
    def left_on(model: nn.Module) -> None:
        model.eval()
        by_loader(model)

    found = loop(left_on, network())
    assert "updates_in_eval" in [one.name for one in found]
    assert named(found) is None


def test_the_numbers_of_the_loop_are_those_without_nbdebug() -> None:
    watched, bare = network(), network()
    in_batches(by_loader, watched)
    optimizer = torch.optim.SGD(bare.parameters(), 0.01)
    torch.manual_seed(0)
    network()
    for _ in range(4):
        for x, y in DataLoader(TensorDataset(X, Y), 16):
            optimizer.zero_grad()
            functional.mse_loss(bare(x), y).backward()
            optimizer.step()
        by_loader(bare)
    for one, other in zip(watched.state_dict().values(), bare.state_dict().values(), strict=True):
        assert torch.equal(one, other)
