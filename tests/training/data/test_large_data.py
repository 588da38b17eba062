"""Large data stay where they are: no copy, and no dtype of more bytes, before a batch needs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.errors import DataError
from nbdebug.model.state.digest import tensors_digest
from nbdebug.training.data.sources import TensorSource, as_source

N, D = 60, 4
Y = np.arange(N) % 3


def file_of(path: Path, dtype: str, mode: Any, rows: int = N, shape: tuple[int, ...] = (D,)) -> Any:
    written = np.memmap(path / "X", dtype, "w+", shape=(rows, *shape))
    written[:N] = np.arange(N * int(np.prod(shape))).reshape(N, *shape) % 100
    written.flush()
    return np.memmap(path / "X", dtype, mode, shape=(rows, *shape))


def source_of(X: Any, y: Any = Y) -> TensorSource:
    source = as_source((X, y), torch.float32)
    assert isinstance(source, TensorSource)
    return source


def address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8", "int16", "uint16"])
@pytest.mark.parametrize("mode", ["r", "r+"])
def test_a_memmap_is_viewed_and_its_batches_have_the_dtype_of_training(
    dtype: str, mode: str, tmp_path: Path
) -> None:
    X = file_of(tmp_path, dtype, mode)
    source = source_of(X)
    assert source.tensors[0].data_ptr() == address(X)
    indices = torch.tensor([5, 0, 59, 5])
    rows, targets = source.fetch(indices)
    floating = dtype.startswith("float")
    assert rows.dtype == (torch.float32 if floating else torch.int64)
    assert targets.dtype == torch.int64
    expected = X[indices.numpy()].astype(np.float32 if floating else np.int64)
    assert np.array_equal(rows.numpy(), expected)


def test_a_sparse_file_of_a_gigabyte_trains_without_its_memory(tmp_path: Path) -> None:
    X = file_of(tmp_path, "uint8", "r", rows=2**22, shape=(256,))
    y = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (2**22,), (0,))

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs, targets)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(256, 3)

        def forward(self, X: torch.Tensor) -> Any:
            return self.out(X.float())

    before = anonymous_megabytes()
    with nbd.Debugger(Net(), (X, y), loss, runs=None) as dbg:
        assert anonymous_megabytes() - before < 100
        dbg.run(steps=2)
        assert dbg.replay().equal


def anonymous_megabytes() -> float:
    [line] = [s for s in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in s]
    return int(line.split()[1]) / 1024


class Rows:
    """Such as a data set of HDF5: rows by number, or several, which must increase."""

    def __init__(self, values: Any, single: bool = False) -> None:
        self.values, self.single, self.read = values, single, 0
        if not single:
            self.shape, self.dtype = values.shape, values.dtype

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, int):
            if self.single or np.any(np.diff(key) <= 0):
                raise TypeError("indices must increase")
            self.read += len(key)
            return self.values[key]
        self.read += 1
        return self.values[key]


X = np.random.RandomState(0).randn(N, D)
KINDS: dict[str, Callable[[], Any]] = {
    "array": lambda: X,
    "tensor that is not contiguous": lambda: torch.from_numpy(X.T.copy()).T.float(),
    "reversed": lambda: X[::-1].copy()[::-1],
    "every other column": lambda: np.repeat(X, 2, 1)[:, ::2],
    "Fortran order": lambda: np.asfortranarray(X),
    "other byte order": lambda: X.astype(">f8"),
    "read-only": lambda: np.frombuffer(X.tobytes()).reshape(N, D),
    "frame": lambda: pd.DataFrame(X),
    "frame of two dtypes": lambda: pd.DataFrame({i: X[:, i] for i in range(D)}).astype({0: "f4"}),
    "rows of a file": lambda: Rows(X),
    "single rows of a file": lambda: Rows(X, single=True),
    "list": lambda: X.tolist(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_trains_as_an_array_does(kind: str) -> None:
    def losses(data: Any) -> list[float]:
        torch.manual_seed(0)
        loss_fn = nn.CrossEntropyLoss()
        with nbd.Debugger(nn.Linear(D, 3), (data, Y), loss_fn, batch_size=16, runs=None) as dbg:
            dbg.run(steps=9)
            assert dbg.replay().equal
            return dbg.history.frame("loss")["loss"].tolist()

    value = KINDS[kind]()
    found = losses(value)
    expected = X if kind != "frame of two dtypes" else value.to_numpy()
    assert found == losses(expected)


def test_rows_of_a_file_are_read_for_their_batch_alone() -> None:
    rows = Rows(X)
    source = source_of(rows)
    assert rows.read <= 1
    [found, _] = source.fetch(torch.tensor([7, 3, 7, 50]))
    assert np.array_equal(found.numpy(), X[[7, 3, 7, 50]].astype(np.float32))
    assert rows.read == 3


def test_rows_that_hold_no_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="train_data: X has dtype <U1: expected numbers"):
        source_of(Rows(np.array(["a"] * N)))


def test_arrays_of_the_user_are_not_written_to_by_training_or_validation() -> None:
    data = np.ones((N, D), np.float32)

    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(D, 3)

        def forward(self, X: torch.Tensor) -> Any:
            return self.out(X.mul_(2.0))

    arguments = {"val_data": (data, Y), "val_every": 1, "runs": None}
    with nbd.Debugger(InPlace(), (data, Y), nn.CrossEntropyLoss(), **arguments) as dbg:  # type: ignore[arg-type]
        dbg.run(steps=2)
    assert (data == 1.0).all()


def test_a_fingerprint_reads_a_part_of_a_large_tensor_and_copies_nothing() -> None:
    whole = torch.zeros(1).expand(2**31, 4)
    before = anonymous_megabytes()
    first = tensors_digest([whole])
    assert anonymous_megabytes() - before < 100
    assert first == tensors_digest([whole])
    assert first != tensors_digest([whole + 0 if len(whole) < 10 else whole[: 2**30]])
