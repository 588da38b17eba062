"""What is named in `state` goes back with the training, wholly."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

import nbdebug as nbd
from tests.problems import blobs, tiny_mlp


class Curriculum:
    """Numbers, texts and lists, which the search for state leaves alone."""

    def __init__(self) -> None:
        self.level, self.names, self.seen = 0, ["begin"], dict[str, int]()

    def weight(self) -> float:
        self.level += 1
        self.names.append(f"level {self.level}")
        self.seen["steps"] = self.level
        return 1.0 + self.level


def step_fn_of(curriculum: Curriculum) -> Any:
    def step(model: torch.nn.Module, batch: Any) -> torch.Tensor:
        loss: torch.Tensor = functional.cross_entropy(model(batch[0]), batch[1])
        return loss * curriculum.weight()

    return step


def test_an_object_of_numbers_goes_back() -> None:
    curriculum = Curriculum()
    step_fn = step_fn_of(curriculum)
    with nbd.Debugger(tiny_mlp(), blobs(), step_fn=step_fn, state={"c": curriculum}) as dbg:
        dbg.run(steps=12)
        dbg.rewind(5)
        assert (curriculum.level, curriculum.seen, len(curriculum.names)) == (5, {"steps": 5}, 6)
        dbg.run(steps=4)
        dbg.fork(3, lr=[1e-2])
        assert curriculum.level == 9
        assert dbg.replay().equal


@pytest.mark.parametrize("state", [[1], "ema", 3])
def test_a_state_that_is_no_mapping_is_refused(state: Any) -> None:
    with pytest.raises(nbd.ArgumentError, match="state"):
        nbd.Debugger(tiny_mlp(), blobs(), torch.nn.CrossEntropyLoss(), state=state)
