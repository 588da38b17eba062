"""Whatever is done in whatever order, training is what a plain second computation says it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.draw import draw
from tests.story.plain_training import EXCLUDED
from tests.story.problem import Problem
from tests.story.programs import Program
from tests.story.verbs import Verb, verbs

CLASSES = 3
# Of four problems, 300 programs in each `make test`.
PROGRAMS_OF_EACH = 75
pytestmark = pytest.mark.whole


def numbers(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labels(count: int) -> torch.Tensor:
    return torch.randint(0, CLASSES, (count,), generator=torch.Generator().manual_seed(1))


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Dropout(0.3), nn.ReLU(), nn.Linear(6, CLASSES)
    )


def cnn() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout2d(0.2), nn.Flatten(),
        nn.Linear(27, CLASSES),
    )  # fmt: skip


class Words(nn.Module):
    """An embedding, a GRU and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.rnn = nn.GRU(4, 5, batch_first=True)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(5, CLASSES)

    def forward(self, words: torch.Tensor) -> Any:
        outputs, _ = self.rnn(self.embedding(words))
        return self.head(self.drop(outputs[:, -1]))


def words() -> nn.Module:
    torch.manual_seed(0)
    return Words()


def poisoned() -> torch.Tensor:
    found = numbers(26, 5, seed=4)
    found[11, 2] = float("nan")
    return found


MLP_ORDERS = {"as_built": "01234", "dropout_norm": "02134", "activation_dropout": "01324"}
CNN_ORDERS = {"as_built": "012345", "norm_dropout": "013245", "dropout_norm": "031245"}
PROBLEMS = {
    "mlp": Problem(mlp(), (numbers(29, 5, seed=2), labels(29)), CLASSES, MLP_ORDERS),
    "cnn": Problem(
        cnn(), (numbers(20, 1, 4, 4, seed=3), labels(20)), CLASSES, CNN_ORDERS,
        {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9},
    ),
    "words": Problem(
        words(), (labels(22)[:, None] + torch.arange(4)[None], labels(22)), CLASSES, {},
        {"optimizer": "adamw", "lr": 0.01, "clip_mode": "norm", "clip_threshold": 0.5,
         "schedule": "one_cycle"},
    ),
    "not finite": Problem(mlp(), (poisoned(), labels(26)), CLASSES, MLP_ORDERS, {"lr": 0.01}),
}  # fmt: skip
PROGRAMS = {
    name: st.lists(verbs(problem), min_size=3, max_size=14) for name, problem in PROBLEMS.items()
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBLEMS)
@settings(max_examples=draw(PROGRAMS_OF_EACH, 4000))
@given(data=st.data())
def test_a_program_of_commands(name: str, data: st.DataObject) -> None:
    problem = PROBLEMS[name]
    todo = data.draw(PROGRAMS[name], label="program")
    outside = torch.get_rng_state()
    program = Program(problem)
    with program.dbg:
        for verb in todo:
            program.do(verb)
    assert torch.equal(torch.get_rng_state(), outside)


# Programs that once went wrong, each as short as it can be.
FOUND: dict[str, list[Verb]] = {
    "a fork is left behind when the change it was made on is undone": [
        ("run", 3), ("set", {"lr": 0.1}), ("fork", 2, {"dropout": 0.0}, None, False),
        ("rewind", 1.0), ("set", {"batch_size": 4}), ("keep", 0), ("run", 2),
    ],
    "adaptive clipping knows the norms from before it was chosen": [
        ("run", 1), ("set", {"clip_mode": "adaptive"}), ("run", 2), ("replay",),
    ],
    "two learning rates at one boundary count as one, whatever was looked at between": [
        ("set", {"schedule": "inverse_time"}), ("run", 3), ("set", {"lr": 0.03}), ("replay",),
        ("set", {"lr": 0.1}), ("run", 3), ("replay",),
    ],
    "two schedules at one boundary count as one, whatever was tried between": [
        ("run", 3), ("set", {"schedule": "one_cycle"}), ("fork", 1, {"lr": 0.1}, None, True),
        ("set", {"schedule": "step"}), ("run", 3), ("replay",),
    ],
    "a batch that failed is drawn again with the batch size in force": [
        ("run", 2), ("set", {"frozen": dict.fromkeys("014", "frozen")}), ("run", 1),
        ("set", {"batch_size": 4}), ("set", {"frozen": {"0": "trainable"}}), ("run", 2),
        ("replay",),
    ],
    "a batch that failed is drawn again without the samples excluded since": [
        ("set", {"batch_size": 4}), ("run_epochs", 1), ("set", {EXCLUDED: (1, 2)}),
        ("set", {"bn_statistics": "freeze"}), ("run", 3), ("rewind_by", 2), ("replay",),
    ],
    "undo walks back over changes, a fork that was kept, and past a rewind": [
        ("set", {"lr": 0.1, "batch_size": 4}), ("run", 3), ("set", {"optimizer": "sgd"}),
        ("fork", 2, {"clip_threshold": 0.1}, None, False), ("run", 1), ("keep", 0),
        ("undo", False), ("run", 2), ("undo", False), ("rewind_by", 1), ("undo", False),
        ("replay",), ("undo", False), ("undo", True), ("run", 2), ("replay",),
    ],
    "what undo refuses stays in force until it is rewound": [
        ("run", 2), ("set", {"schedule": "cosine"}), ("set", {EXCLUDED: (1, 2)}), ("run", 2),
        ("undo", False), ("undo", True), ("undo", False), ("set", {"reinit": "default"}),
        ("undo", False), ("run", 2), ("undo", True), ("run", 3), ("replay",),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_a_program_that_once_went_wrong(name: str) -> None:
    program = Program(PROBLEMS["mlp"])
    with program.dbg:
        for verb in FOUND[name]:
            program.do(verb)
