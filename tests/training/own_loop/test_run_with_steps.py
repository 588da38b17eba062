"""A loop that is given to `run` trains to its own end: a number of steps is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.errors import ArgumentError


@pytest.mark.parametrize("wanted", [{"steps": 7}, {"epochs": 1.0}, {"steps": 0}])
def test_run_with_a_loop_refuses_a_number_of_steps(wanted: dict[str, float]) -> None:
    model, begun = nn.Linear(4, 2), list[int]()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with (
        nbd.watch(model, optimizer, runs=None) as dbg,
        pytest.raises(ArgumentError, match="for as long as the loop does"),
    ):
        dbg.run(lambda: begun.append(1), **wanted)  # type: ignore[arg-type]
    assert begun == []
