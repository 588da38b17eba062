"""The cause of nondeterminism is found and named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nbdebug as nbd
from tests.inside import session_of
from tests.training.timeline.timelines import (
    KINDS,
    N,
    X,
    Y,
    equal,
    make,
    net,
    state,
)


class Clock(nn.Module):
    """A layer whose random numbers are others at every call."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.1 * torch.from_numpy(np.random.default_rng().normal(size=x.shape)).float()


def test_randomness_of_ones_own_is_found_and_named() -> None:
    model = nn.Sequential(net(), nn.Linear(3, 3), Clock())
    with make(model=model) as dbg:
        dbg.run(steps=10)
        found = dbg.replay()
    assert not found.equal
    assert found.difference is not None
    assert found.difference.step == 0
    assert "2 (Clock) has two different outputs for the same input" in str(found)


class Drifting(torch.utils.data.Dataset[Any]):
    """Data whose values change at every read."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        return X[index] + np.random.default_rng().normal(), Y[index]


def test_data_that_cannot_be_read_twice_is_named() -> None:
    with make(data=Drifting()) as dbg:
        dbg.run(steps=10)
        assert "The data changes when it is read again" in str(dbg.rewind(5))


def test_weights_changed_by_hand_are_noticed(dbg: nbd.Debugger) -> None:
    dbg.run(steps=5)
    with torch.no_grad():
        dbg.model[0].weight.mul_(1.5)
    dbg.run(steps=5)
    found = dbg.replay()
    assert found.difference is not None
    assert found.difference.step == 5
    assert "something outside training was changed" in str(found)


def test_a_stream_that_is_gone_is_refused_and_nothing_moves() -> None:
    with KINDS["stream"]() as dbg:
        sampler: Any = session_of(dbg).sampler
        sampler.limit = 5 * 16 * 32
        dbg.run(steps=30)
        before = state(dbg)
        with pytest.raises(nbd.DataError, match="a stream that cannot be read twice"):
            dbg.replay()
        assert equal(before, state(dbg))
        dbg.run(steps=1)
