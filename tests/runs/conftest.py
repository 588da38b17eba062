from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nbdebug import Debugger


@pytest.fixture
def debugger(place: Path) -> Iterator[Callable[..., Debugger]]:
    """Makes Debuggers of a small model whose runs go to `place`."""
    made: list[Debugger] = []

    def make(**arguments: Any) -> Debugger:
        torch.manual_seed(0)
        X = torch.randn(120, 4)
        y = (X.sum(1) > 0).long()
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 2))
        data = {"val_data": (X[100:], y[100:]), "batch_size": 20, "runs": place} | arguments
        made.append(Debugger(model, (X[:100], y[:100]), nn.CrossEntropyLoss(), **data))
        return made[-1]

    yield make
    for one in made:
        one.close()
