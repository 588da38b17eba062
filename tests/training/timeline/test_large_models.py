"""The first checkpoint of a large model is copied when the model may change, not before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import nbdebug as nbd
from nbdebug.model.state.weights import Weights
from nbdebug.training.timeline.checkpoint_pool import LARGE_MODEL_BYTES
from tests.inside import checkpoint_bytes_of, checkpoints_of

WIDTH = 2200
X, Y = torch.randn(8, WIDTH), torch.randn(8, WIDTH)


class CopiedBytes(TorchDispatchMode):
    """Counts the bytes of tensors in memory that are made from others, such as copies."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        views = str(func).startswith(("aten.detach", "aten.view", "aten.alias", "aten.slice"))
        if isinstance(made, torch.Tensor) and made.device.type != "meta" and not views:
            self.total += made.nbytes
        return made


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(4)))


def make(model: nn.Module, **options: Any) -> nbd.Debugger:
    loss_fn = nn.MSELoss()
    return nbd.Debugger(model, (X, Y), loss_fn, batch_size=4, optimizer="sgd", runs=None, **options)


def size_of(model: nn.Module) -> int:
    return sum(p.nbytes for p in model.parameters())


def values(model: nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in model.parameters()]


@pytest.fixture
def model() -> nn.Sequential:
    return network()


def test_the_model_of_these_tests_is_large(model: nn.Sequential) -> None:
    assert size_of(model) > LARGE_MODEL_BYTES


def test_making_a_debugger_copies_none_of_its_weights(model: nn.Sequential) -> None:
    with CopiedBytes() as copied:
        dbg = make(model)
    with dbg:
        assert copied.total < 0.1 * size_of(model)
        # The dashboard shows the checkpoint, and its memory is counted, as if it were there.
        assert checkpoint_bytes_of(dbg) >= size_of(model)


def test_a_small_model_is_copied_at_once() -> None:
    small = nn.Linear(WIDTH, 3)
    with CopiedBytes() as copied, nbd.Debugger(small, (X, Y[:, :3]), nn.MSELoss(), runs=None):
        assert copied.total >= size_of(small)


def first_run(dbg: nbd.Debugger) -> None:
    dbg.run(steps=2)


def a_change_first(dbg: nbd.Debugger) -> None:
    dbg.set(lr=0.1)
    dbg.run(steps=2)


def new_weights_first(dbg: nbd.Debugger) -> None:
    dbg.set(reinit={"0": "xavier"})
    dbg.run(steps=1)


@pytest.mark.parametrize("begin", [first_run, a_change_first, new_weights_first])
def test_reset_brings_back_the_weights_from_before(
    model: nn.Sequential, begin: Callable[[nbd.Debugger], None]
) -> None:
    before = values(model)
    with make(model, lr=0.01) as dbg:
        begin(dbg)
        assert not all(map(torch.equal, before, values(model)))
        assert checkpoints_of(dbg)[0] == 0
        assert dbg.replay().equal
        dbg.reset()
        assert all(map(torch.equal, before, values(model)))
        assert dbg.controls["lr"] == 0.01


def test_weights_that_are_loaded_before_the_first_step_are_where_training_begins(
    model: nn.Sequential,
) -> None:
    with make(model) as dbg:
        with torch.no_grad():
            model[0].weight.mul_(0.5)
        loaded = values(model)
        dbg.run(steps=2)
        assert dbg.replay().equal
        dbg.reset()
        assert all(map(torch.equal, loaded, values(model)))


def test_a_copy_that_fails_stops_training_and_is_made_later(
    model: nn.Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make(model) as dbg:
        before = values(model)
        with monkeypatch.context() as patch:

            def capture(*_: Any, **__: Any) -> Weights:
                raise MemoryError("no room")

            patch.setattr(Weights, "capture", capture)
            with pytest.raises(MemoryError):
                dbg.run(steps=1)
            with pytest.raises(MemoryError):
                dbg.set(lr=0.1)
            assert all(map(torch.equal, before, values(model)))
        dbg.run(steps=2)
        assert dbg.replay().equal
        dbg.reset()
        assert all(map(torch.equal, before, values(model)))
