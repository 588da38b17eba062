"""A fingerprint tells sequences of items apart, whatever their types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from nbdebug.training.data.passes.fingerprint import fingerprint

ITEMS: dict[str, Callable[[int], Any]] = {
    "index": lambda n: n,
    "large index": lambda n: 2**70 + n,
    "indices": lambda n: [3, n],
    "tensor": lambda n: torch.full((3,), float(n)),
    "bfloat16": lambda n: torch.full((3,), float(n), dtype=torch.bfloat16),
    "complex": lambda n: torch.full((3,), 1j * n).conj(),
    "negative": lambda n: torch.imag(torch.full((3,), 1j * n).conj()),
    "transposed": lambda n: torch.full((3, 5), float(n)).T,
    "with gradient": lambda n: torch.full((3,), float(n), requires_grad=True),
    "scalar": lambda n: torch.tensor(n),
    "large tensor": lambda n: torch.full((3, 224, 224), float(n)),
    "long tensor": lambda n: torch.full((10**6,), n),
    "array": lambda n: np.full((2, 2), n)[:, ::2],
    "large array": lambda n: np.full((300, 300), n),
    "text": lambda n: {"text": f"a {n}"},
    "bytes": lambda n: bytes([n]),
    "number": lambda n: (1.5, n / 3),
    "numpy number": lambda n: [np.float32(n)],
}


@pytest.mark.parametrize("kind", ITEMS)
def test_equal_items_have_one_fingerprint_and_others_another(kind: str) -> None:
    make = ITEMS[kind]
    assert fingerprint(make(1)) == fingerprint(make(1))
    assert fingerprint(make(1)) != fingerprint(make(2))
    assert fingerprint(make(1), fingerprint(make(2))) != fingerprint(make(2), fingerprint(make(1)))


@pytest.mark.parametrize("item", [object(), None, [], {}, np.array([object()]), torch.empty(0)])
def test_anything_has_a_fingerprint(item: Any) -> None:
    assert fingerprint(item, 5) == fingerprint(item, 5)
