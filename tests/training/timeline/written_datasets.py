"""Datasets whose samples are read by code that writes into what the dataset holds."""

from __future__ import annotations

import array
import io
from collections import UserDict, deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from tests.training.timeline.timelines import N, X, Y

Read = Callable[[Any, int, Any], Any]


class Held(Dataset[Any]):
    """Reads a sample by a function that may write into what the dataset holds."""

    def __init__(self, held: Any, read: Read) -> None:
        self.held, self.read = held, read

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        x = self.read(self, index, X[index])
        return torch.as_tensor(np.asarray(x), dtype=torch.float32).clone(), Y[index]


def mixed_in(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held[i] = 0.5 * self.held[i] + 0.5 * x.numpy()
    return self.held[i]


def mixed_in_tensor(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held[i] = 0.5 * self.held[i] + 0.5 * x
    return self.held[i].float()


def mixed_in_data(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held.data[i] = 0.5 * self.held[i] + 0.5 * x
    return self.held[i]


def mixed_in_each(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held[i] += 0.5 * (x.numpy() - self.held[i])
    return self.held[i]


def bound_anew(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held = 0.9 * self.held + 0.1 * x.numpy()
    return x - torch.as_tensor(self.held[0])


def counted(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held[i] += 1
    return x / self.held[i]


def counted_in_dict(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held[i]["n"] += 1
    return x / self.held[i]["n"]


def counted_in_array(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held["n"][i] += 1
    return x / self.held["n"][i]


def counted_in_table(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held.loc[i, "n"] += 1
    return x / self.held.loc[i, "n"]


def counted_inside(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held[i]["meta"]["n"][0] += 1
    return x / self.held[i]["meta"]["n"][0]


def counted_by_attribute(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held.n += 1
    return x / self.held.n


def mixed_in_cell(self: Any, i: int, x: torch.Tensor) -> Any:
    cell = self.held.at[i, "x"] if isinstance(self.held, pd.DataFrame) else self.held[i]
    cell[:] = 0.5 * cell + 0.5 * x.numpy()
    return cell


def counted_in_buffer(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held.write(b"x")
    return x / self.held.tell()


def struck_off(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held.discard(i)
    return x * (1 + len(self.held) / 2000)


def remembered(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held.append(x)
    return x + 0.1 * self.held[0]


def logged(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held.append(i)
    return x / self.held.count(i)


def by_key(self: Any, i: int, x: torch.Tensor) -> Any:
    self.held[i % 7] = self.held.get(i % 7, np.zeros(300)) + 1
    return x / self.held[i % 7][0]


def late(self: Any, i: int, x: torch.Tensor) -> Any:
    self.reads = getattr(self, "reads", 0) + 1
    return mixed_in(self, i, x) if self.reads > 150 else x


BANK = np.zeros((N, 6), np.float32)


def mixed_in_global(self: Any, i: int, x: torch.Tensor) -> Any:
    BANK[i] = 0.5 * BANK[i] + 0.5 * x.numpy()
    return BANK[i]


def bank_of_module(_: Any = None) -> None:
    BANK[:] = 0


def closed_over() -> Dataset[Any]:
    bank = np.zeros((N, 6), np.float32)

    def read(self: Any, i: int, x: torch.Tensor) -> Any:
        bank[i] = 0.5 * bank[i] + 0.5 * x.numpy()
        return bank[i]

    return Held(None, read)


class Mean(nn.Module):
    """A transform that keeps a mean in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(300, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.mean.mul_(0.9).add_(0.1 * x)
        return x - self.mean[0]


class Centred:
    """A collate_fn that keeps a mean."""

    def __init__(self) -> None:
        self.mean = np.zeros((60, 6), np.float32)

    def __call__(self, samples: list[Any]) -> Any:
        x = torch.stack([one for one, _ in samples])
        self.mean[:] = 0.9 * self.mean + 0.1 * x.mean(0).numpy()
        return x - torch.as_tensor(self.mean[0]), torch.stack([y for _, y in samples])


def faded(samples: list[Any]) -> Any:
    """Changes the samples of a list in place."""
    for x, _ in samples:
        x.mul_(0.9)
    return torch.stack([x for x, _ in samples]), torch.stack([y for _, y in samples])


def list_of_samples() -> Any:
    samples: Any = [(x.clone(), y) for x, y in zip(X, Y, strict=True)]
    return DataLoader(samples, 8, shuffle=True, collate_fn=faded)


def objects() -> Any:
    found = np.empty(N + 1, dtype=object)
    found[:] = [*(np.zeros(6, np.float32) for _ in range(N)), None]
    return found


def plain(self: Any, i: int, x: torch.Tensor) -> Any:
    return x


def cached(self: Any, i: int, x: torch.Tensor) -> Any:
    if self.held[i] is None:
        self.held[i] = x * 2
    return self.held[i]


KINDS: dict[str, Callable[[], Any]] = {
    "array": lambda: Held(np.zeros((N, 6), np.float32), mixed_in),
    "array in the order of Fortran": lambda: Held(np.zeros((N, 6), order="F"), mixed_in),
    "view of an array": lambda: Held(np.zeros((N, 12))[:, ::2], mixed_in),
    "fields of an array": lambda: Held(np.zeros(N, [("n", "i4"), ("x", "f8")]), counted_in_array),
    "array of counts": lambda: Held(np.zeros(5000, np.int64), counted),
    "array that is bound anew": lambda: Held(np.zeros((60, 6), np.float32), bound_anew),
    "tensor": lambda: Held(torch.zeros(N, 6), mixed_in_tensor),
    "tensor by way of .data": lambda: Held(torch.zeros(N, 6), mixed_in_data),
    "bfloat16": lambda: Held(torch.zeros(N, 6, dtype=torch.bfloat16), mixed_in_tensor),
    "tensor that is transposed": lambda: Held(torch.zeros(6, N).t(), mixed_in_tensor),
    "list of counts": lambda: Held([0] * 5000, counted),
    "dict of counts": lambda: Held(dict.fromkeys(range(2000), 0), counted),
    "bytes": lambda: Held(bytearray(3000), counted),
    "list of arrays": lambda: Held([np.zeros(6, np.float32) for _ in range(N)], mixed_in),
    "arrays of a list": lambda: Held([np.zeros(6, np.float32) for _ in range(N)], mixed_in_each),
    "samples that count": lambda: Held([{"n": 0} for _ in range(N)], counted_in_dict),
    "samples of nested parts": lambda: Held(
        [{"meta": {"n": [0]}} for _ in range(N)], counted_inside
    ),
    "namespace": lambda: Held(SimpleNamespace(n=0), counted_by_attribute),
    "UserDict": lambda: Held(UserDict(dict.fromkeys(range(N), 0)), counted),
    "array of Python": lambda: Held(array.array("d", [0.0] * N), counted),
    "long array of Python": lambda: Held(array.array("d", [0.0] * 5000), counted),
    "file in memory": lambda: Held(io.BytesIO(), counted_in_buffer),
    "arrays of an array": lambda: Held(objects(), mixed_in_cell),
    "arrays of a table": lambda: Held(
        pd.DataFrame({"x": [np.zeros(6, np.float32) for _ in range(N)]}), mixed_in_cell
    ),
    "structured objects": lambda: Held(np.zeros(N, [("n", "i8"), ("o", object)]), counted_in_array),
    "list of samples": list_of_samples,
    "set": lambda: Held(set(range(2000)), struck_off),
    "queue of tensors": lambda: Held(deque(maxlen=90), remembered),
    "list that grows": lambda: Held([], logged),
    "arrays that come later": lambda: Held({}, by_key),
    "from step 19 on": lambda: Held(np.zeros((N, 6), np.float32), late),
    "global array": lambda: Held(bank_of_module(), mixed_in_global),
    "array of a closure": closed_over,
    "buffer of a transform": lambda: Held(Mean(), lambda self, i, x: self.held(x)),
    "collate_fn": lambda: DataLoader(Held(None, plain), 8, shuffle=True, collate_fn=Centred()),
    "table": lambda: Held(pd.DataFrame({"n": np.zeros(N)}), counted_in_table),
    "cache, which is no state": lambda: Held([None] * N, cached),
}
