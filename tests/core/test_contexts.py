"""Contexts of generators: as those of contextlib, but for exceptions that take no attributes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.core.contexts import contextmanager


class Frozen(Exception):  # noqa: N818
    """As a frozen dataclass."""

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("frozen")


def passing() -> Iterator[int]:
    try:
        yield 7
    finally:
        pass


def taking() -> Iterator[int]:
    with contextlib.suppress(ValueError):
        yield 7


def replacing() -> Iterator[int]:
    try:
        yield 7
    except Exception as error:
        raise KeyError("another") from error


def replacing_by_a_runtime_error() -> Iterator[int]:
    try:
        yield 7
    except Exception as error:
        raise RuntimeError("another") from error


def twice() -> Iterator[int]:
    with contextlib.suppress(ValueError):
        yield 7
    yield 8


def outcome(make: Callable[..., Any], generator: Callable[[], Iterator[int]], error: Any) -> Any:
    """What comes out of a context, and the exception behind it."""
    try:
        with make(generator)() as value:
            if error is not None:
                raise error
        return value
    except BaseException as raised:
        cause = raised.__cause__ or raised.__context__
        return raised if raised is error else type(raised), None if cause is None else type(cause)


@pytest.mark.parametrize(
    "generator", [passing, taking, replacing, replacing_by_a_runtime_error, twice]
)
@pytest.mark.parametrize(
    "kind", [None, ValueError, OSError, StopIteration, RuntimeError, KeyboardInterrupt]
)
def test_it_is_like_that_of_contextlib(generator: Any, kind: Any) -> None:
    error = None if kind is None else kind("x")
    found = outcome(contextmanager, generator, error)
    assert found == outcome(contextlib.contextmanager, generator, error)


def test_an_exception_that_takes_no_attributes_comes_out_as_it_is() -> None:
    error = Frozen("x")
    with pytest.raises(Frozen) as found, contextmanager(passing)():
        raise error
    assert found.value is error


@pytest.mark.parametrize("place", ["loss", "forward", "metric", "step_fn", "val_fn", "data"])
def test_the_caller_of_a_training_gets_it(place: str) -> None:
    def fail(where: str) -> None:
        if where == place:
            raise Frozen("x")

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def forward(self, x: torch.Tensor) -> Any:
            fail("forward")
            return self.layer(x)

    class Rows(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return 8

        def __getitem__(self, index: int) -> Any:
            fail("data")
            return torch.ones(2), torch.ones(1)

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        fail("loss")
        return ((outputs - targets) ** 2).mean()

    def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        fail("step_fn")
        return loss(model(batch[0]), batch[1])

    def metric(outputs: torch.Tensor, targets: torch.Tensor) -> float:
        fail("metric")
        return 0.0

    def val_fn(model: nn.Module) -> float:
        fail("val_fn")
        return 0.0

    how: dict[str, Any] = {"loss_fn": loss, "metrics": {"metric": metric}}
    if place == "step_fn":
        how = {"step_fn": step_fn}
    how |= {"val_data": Rows()} if place == "metric" else {"val_fn": val_fn}
    with nbd.Debugger(Net(), Rows(), **how, val_every=2, batch_size=4, runs=None) as dbg:
        with pytest.raises(Frozen):
            dbg.run(steps=3)
        # The thread lives: it answers, and fails in the same way.
        with pytest.raises(Frozen):
            dbg.run(steps=3)
