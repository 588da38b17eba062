"""Checks of a plain script: between two passes of its loop, and when the loop has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.training.own_loop.test_seen_calls import X, Y, applied, bad, network

Loss = Callable[[Any, torch.Tensor], torch.Tensor]
MOST = {"shapes", "loss_graph", "reduction", "label_range", "zero_gradient", "features"}


def script(
    loss: Loss = F.cross_entropy, *, watched: bool = True, look: str = "after"
) -> tuple[Any, Any]:
    """State and report of a script with a loop over batches."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    loader = DataLoader(TensorDataset(X, Y), 32, shuffle=True)
    dbg = nbd.watch(model, optimizer, runs=None) if watched else None
    torch.manual_seed(5)
    report = None
    for epoch in range(3):
        for x, y in loader if dbg is None else dbg.batches(loader):
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
        if dbg is not None and look == "between" and epoch == 1:
            report = dbg.check()
    if dbg is not None:
        report = dbg.check() if look == "after" else report
        dbg.close()
    return (model.state_dict(), optimizer.state_dict(), torch.get_rng_state()), report


@pytest.mark.parametrize("look", ["between", "after"])
def test_most_checks_apply_and_change_nothing(look: str) -> None:
    plain, _ = script(watched=False)
    looked_at, report = script(look=look)
    assert bitwise_equal(looked_at, plain)
    assert bad(report) == {}
    assert applied(report) >= MOST


@pytest.mark.parametrize("look", ["between", "after"])
@pytest.mark.parametrize(
    ("loss", "name"),
    [
        (lambda o, y: F.cross_entropy(torch.softmax(o, 1), y), "loss_inputs"),
        (lambda o, y: F.cross_entropy(o, y, reduction="sum"), "reduction"),
        (lambda o, y: -F.cross_entropy(o, y), "loss_direction"),
    ],
)
def test_faults_are_named_without_a_loop(loss: Loss, name: str, look: str) -> None:
    assert name in bad(script(loss, look=look)[1])


def test_without_a_loss_that_is_found_it_is_said_that_no_loop_runs() -> None:
    _, report = script(lambda o, y: F.cross_entropy(o, y) + o.pow(2).mean())
    assert report is not None
    assert report["reduction"].status == "not_applicable"
    assert "No loop is running" in report["reduction"].seen


def test_a_model_that_was_put_into_eval_mode_since_is_no_fault() -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for x, y in dbg.batches(DataLoader(TensorDataset(X, Y), 32)):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        report = dbg.check()
        assert bad(report) == {}
        assert "train_eval" in applied(report)
        assert not any(module.training for module in model.modules())


def test_before_its_loop_there_is_nothing_to_look_at() -> None:
    model = network()
    with nbd.watch(model, torch.optim.SGD(model.parameters(), 0.1), runs=None) as dbg:
        report = dbg.check("reduction", "zero_gradient")
    assert {one.status for one in report} == {"not_applicable"}


def test_within_a_step_the_places_are_told_where_a_check_works() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for _ in range(3):
            with dbg.step():
                optimizer.zero_grad()
                F.cross_entropy(model(X[:32]), Y[:32]).backward()
                optimizer.step()
                with pytest.raises(nbd.NbdebugError, match=r"behind the block of `with dbg.step"):
                    dbg.check()
        assert "reduction" in applied(dbg.check())
