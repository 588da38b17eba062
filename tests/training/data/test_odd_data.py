"""Data of odd kinds are refused in words."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import nbdebug as nbd

X = torch.randn(96, 6, generator=torch.Generator().manual_seed(0))
Y = X.sum(1, keepdim=True)


class Samples(Dataset[Any]):
    length: Any = 96

    def __len__(self) -> int:
        return self.length  # type: ignore[no-any-return]

    def __getitem__(self, index: int) -> Any:
        return X[index % 96], Y[index % 96]


def of_length(length: Any) -> Samples:
    made = Samples()
    made.length = length
    return made


ODD: dict[str, tuple[Any, str]] = {
    "a class": (Samples, r"is the class Samples: make one, Samples\("),
    "a length below 0": (of_length(-1), "length of the Samples cannot be read: .* >= 0"),
    "half a sample": (of_length(3.5), "length of the Samples cannot be read"),
    "a length of text": (of_length("9"), "length of the Samples cannot be read"),
    "more than any order": (of_length(10**13), "order of 10,000,000,000,000 samples takes"),
    "more in a loader": (
        DataLoader(of_length(10**13), 8, shuffle=True), "order of 10,000,000,000,000 samples takes"
    ),
    "without values": ((X.to("meta"), Y), "X is a meta tensor: expected a dense one"),
    "sparse": ((X.to_sparse(), Y), "X is a sparse tensor"),
    "sparse rows": (lambda: (X.to_sparse_csr(), Y), "X is a sparse tensor"),
    "sparse targets": ((X, Y.to_sparse()), "y is a sparse tensor"),
    "nested": (
        lambda: (torch.nested.nested_tensor([X[0], X[1, :3]]), Y[:2]), "X is a nested tensor"
    ),
    "rows of two lengths": (([[1.0, 2.0], [3.0]], [1, 2]), "X has rows of different shapes"),
    "objects": ((np.array([[1], None], dtype=object), Y[:2]), "dtype object"),
    "a tuple of batches": (
        tuple((X[i : i + 16], Y[i : i + 16]) for i in range(0, 96, 16)),
        "ready batches belong into a list",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Sparse CSR", "ignore:The PyTorch API of nested")
@pytest.mark.parametrize("kind", ODD)
def test_it_is_refused_by_name(kind: str) -> None:
    made, why = ODD[kind]
    data = made() if isinstance(made, types.LambdaType) else made
    with (
        pytest.raises(nbd.DataError, match=why),
        nbd.Debugger(nn.Linear(6, 1), data, nn.MSELoss(), runs=None) as dbg,
    ):
        dbg.run(steps=1)


def test_an_empty_batch_has_a_loss_that_is_not_finite() -> None:
    batches = [(torch.zeros(0, 6), torch.zeros(0, 1))]
    with (
        nbd.Debugger(nn.Linear(6, 1), batches, nn.MSELoss(), runs=None) as dbg,
        pytest.raises(nbd.NonFiniteError),
    ):
        dbg.run(steps=1)


@pytest.mark.parametrize("seed", [2**70, -(2**64), 1.5, "7", True, None])
def test_a_seed_that_no_generator_takes_is_refused(seed: Any) -> None:
    with pytest.raises(nbd.ArgumentError, match="seed must be a whole number"):
        nbd.Debugger(nn.Linear(6, 1), (X, Y), nn.MSELoss(), runs=None, seed=seed)


@pytest.mark.parametrize("seed", [2**63 - 1, -(2**63), 0])
def test_large_seeds_train(seed: int) -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.5), nn.Linear(4, 1))
    with nbd.Debugger(model, (X, Y), nn.MSELoss(), runs=None, seed=seed) as dbg:
        dbg.run(steps=3)
        assert dbg.timeline.replay().equal
