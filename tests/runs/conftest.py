from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nbdebug import Debugger


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables and nothing in them: making it takes seconds.

    In a process of its own, since Alembic cannot make two at once in one process.
    """
    file = tmp_path_factory.mktemp("store") / "empty.db"
    program = (
        "import mlflow, sys; store = mlflow.MlflowClient(sys.argv[1]); "
        "store.get_experiment_by_name('nbdebug')"
    )
    subprocess.run(
        [sys.executable, "-c", program, f"sqlite:///{file}"], check=True, capture_output=True
    )
    return file


@pytest.fixture
def place(tmp_path: Path, empty_store: Path) -> Path:
    """A database of runs of this test alone."""
    file = tmp_path / "runs.db"
    shutil.copy(empty_store, file)
    return file


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
