"""Digests tell tensors apart, and read a bounded number of bytes of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nbdebug.model.state import digest
from nbdebug.model.state.digest import tensors_digest

MEGABYTE = 2**20
LARGE = 40 * MEGABYTE


class Counting:
    """SHA-256 that counts the bytes it is given."""

    def __init__(self) -> None:
        self.inner, self.bytes = hashlib.sha256(), 0

    def update(self, data: Any) -> None:
        self.bytes += memoryview(data).nbytes
        self.inner.update(data)

    def hexdigest(self) -> str:
        return self.inner.hexdigest()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Counting]:
    made: list[Counting] = []

    class Hashlib:
        @staticmethod
        def sha256() -> Counting:
            made.append(Counting())
            return made[-1]

    monkeypatch.setattr(digest, "hashlib", Hashlib)
    return made


def plain(*tensors: torch.Tensor) -> str:
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        found.update(tensor.numpy().tobytes())
    return found.hexdigest()


def test_up_to_16_megabytes_every_byte_counts() -> None:
    tensors = [torch.arange(5.0), torch.arange(2**20).reshape(2, -1).float()]
    assert tensors_digest(tensors) == plain(*tensors)
    changed = [tensors[0], tensors[1].clone()]
    changed[1][1, 77] += 1
    assert tensors_digest(changed) != tensors_digest(tensors)


LARGE_SETS: dict[str, Callable[[], list[torch.Tensor]]] = {
    "one": lambda: [torch.zeros(LARGE, dtype=torch.uint8)],
    "rows": lambda: [torch.zeros(LARGE // 400, 100)],
    "transposed": lambda: [torch.zeros(100, LARGE // 400).T],
    "ten": lambda: [torch.zeros(MEGABYTE) for _ in range(10)],
    "a large one and small ones": lambda: [torch.zeros(LARGE // 4), *torch.zeros(50, 7)],
}


@pytest.mark.parametrize("kind", LARGE_SETS)
def test_of_larger_ones_16_megabytes_are_read(kind: str, counted: list[Counting]) -> None:
    tensors = LARGE_SETS[kind]()
    first = tensors_digest(tensors)
    assert counted[0].bytes <= 17 * MEGABYTE
    # Of every tensor the first and the last bytes are among them.
    for tensor in tensors:
        for place in (0, -1):
            edge = tensor[place].clone()
            tensor[place] = 1
            assert tensors_digest(tensors) != first
            tensor[place] = edge
    assert tensors_digest(tensors) == first


def test_many_large_tensors_are_all_read_a_little(counted: list[Counting]) -> None:
    one = torch.zeros(MEGABYTE, dtype=torch.uint8)
    tensors_digest([one] * 2000)
    assert counted[0].bytes < 2000 * 2 * 66_000


def test_a_file_in_memory_is_read_in_blocks(tmp_path: Path, counted: list[Counting]) -> None:
    values = np.memmap(tmp_path / "X", "uint8", "w+", shape=(2**20, 128))
    tensors_digest([torch.from_numpy(values)])
    assert counted[0].bytes <= 17 * MEGABYTE


def test_the_shape_counts_too() -> None:
    flat = torch.zeros(LARGE // 4)
    assert tensors_digest([flat]) != tensors_digest([flat.reshape(2, -1)])
