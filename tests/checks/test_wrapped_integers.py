"""Arithmetic on integers that leaves the range of their dtype, and such that is meant to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import Dataset, Subset

from nbdebug.checks._watched_arrays import WatchedArray, arrays_watched
from nbdebug.core.results.checks.check_result import CheckResult
from nbdebug.examples.setups.base import CE
from tests.checks.result_of import result_of
from tests.checks.watched import watched

torch.manual_seed(0)
IMAGES = torch.randint(256, (200, 12), dtype=torch.uint8)
ARRAYS, LABELS = IMAGES.numpy().copy(), torch.randint(4, (200,))
Make = Callable[[Any], Any]


class Pictures(Dataset[Any]):
    """Images as tensors or arrays, changed by a function."""

    def __init__(self, change: Make, arrays: bool = False) -> None:
        self.change, self.images = change, ARRAYS.copy() if arrays else IMAGES

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: int) -> Any:
        return self.change(self.images[place]), LABELS[place]


def jitter(x: Any) -> Any:
    return (torch.rand(()) * 1.6 * x).to(torch.uint8).float() / 255


def noisy(x: Any) -> Any:
    return (x.float() + 20 * torch.randn(x.shape)).byte().float() / 255


def in_place(x: Any) -> Any:
    x = x.clone()
    x += 60
    return x.float() / 255


def small(x: Any) -> Any:
    return (x.to(torch.int16) * x.to(torch.int16) * 2) / 1e4


def brighter(x: Any) -> Any:
    x = x.copy()
    x += 60
    return x


def salted(x: Any) -> Any:
    x = x.copy()
    x[np.arange(12) % 3 == 0] = 255
    return torch.tensor(np.stack([x[:6], x[6:]]).reshape(-1) / 255.0).float()


def checksum(x: Any) -> Any:
    total = torch.zeros((), dtype=torch.uint8)
    for one in x:
        total = total * 31 + one
    return x.float() + (total == x).float()


SICK: dict[str, Make] = {
    "brighter": lambda x: (x + 60).float() / 255,
    "in place": in_place,
    "contrast": lambda x: x * 2 / 255,
    "centred": lambda x: (x - 128) / 128,
    "difference": lambda x: (x - x.roll(1)).float().abs() / 255,
    "inverse": lambda x: -x / 255,
    "cast": jitter,
    "noise": noisy,
    "squares in 16 bits": small,
    "average": lambda x: ((x + x.roll(1)) // 2).float() / 255,
    "signs of classes": lambda x: (x // 128 * 2 - 1).float(),
    "sound": lambda x: ((x.short() - 128) * 256 + (x.roll(1).short() - 128) * 256).float(),
    "signed": lambda x: x.float().to(torch.int8).float() / 128,
}  # fmt: skip
SICK_ARRAYS: dict[str, Make] = {
    "brighter": lambda x: torch.from_numpy((x + 60).astype(np.float32) / 255),
    "left to collate": lambda x: torch.as_tensor(x * 2).float() / 255,
    "difference": lambda x: torch.tensor(np.abs(x - np.roll(x, 1)) / 255.0).float(),
    "cast": lambda x: torch.tensor((x * 1.5).astype(np.uint8) / 255.0).float(),
    "in place": lambda x: torch.from_numpy(np.asarray(brighter(x).astype(np.float32))),
    "mixed": lambda x: torch.tensor((np.roll(x, 1) // 2 + x) / 255.0).float(),
    "several steps": lambda x: torch.tensor(np.clip(x[::-1] + 50, 0, 255) / 255.0).float(),
}  # fmt: skip
HEALTHY: dict[str, Make] = {
    "floats first": lambda x: (x.float() + 60) / 255,
    "clipped": lambda x: (x.int() + 60).clamp(0, 255).to(torch.uint8).float() / 255,
    "clipped floats": lambda x: (x * 1.6).clamp(0, 255).to(torch.uint8).float() / 255,
    "inverse": lambda x: (255 - x) / 255,
    "moving parts": lambda x: (x - x.roll(1) != 0).float(),
    "bits": lambda x: ((x * 37) ^ (x + 99)).bitwise_and(15).float(),
    "ring": lambda x: ((x + 77) % 16).float(),
    "read with a sign": lambda x: (x - 128).to(torch.int8).float() / 128,
    "hash": lambda x: ((x.int() * 73856093) & 1023).float() / 1023,
    "generator": lambda x: (x.int() * 1664525 + 1013904223).float() / 2**31,
    "sum": lambda x: (x.sum() / 3060 + x.float() / 255),
    "table": lambda x: torch.linspace(0, 1, 256)[(x + 60).long()],
    "checksum": checksum,
    "weights in 8 bits": lambda x: (x.float() - 128).round().clamp(-128, 127).char().float(),
    "grey": lambda x: (x * 0.3).to(torch.uint8).float() / 255,
    "half": lambda x: (x // 2 + 100).float() / 255,
}  # fmt: skip
HEALTHY_ARRAYS: dict[str, Make] = {
    "floats first": lambda x: torch.tensor((x.astype(np.float32) + 60) / 255),
    "clipped": lambda x: torch.tensor(np.clip(x * 1.5, 0, 255).astype(np.uint8) / 255.0).float(),
    "wide": lambda x: torch.tensor((x.astype(np.int32) - 128) / 128.0).float(),
    "moving parts": lambda x: torch.tensor((x - np.roll(x, 1) != 0).astype(np.float32)),
    "bits": lambda x: torch.tensor(((x * 37) ^ x & 15) / 255.0).float(),
    "ring": lambda x: torch.tensor((x + 77) % 16 / 16.0).float(),
    "as it is": lambda x: torch.from_numpy(np.asarray(x)).float() / 255,
    "salted": salted,
    "where": lambda x: torch.tensor(np.where(x > 195, 255, x + 60) / 255.0).float(),
    "padded": lambda x: torch.tensor(np.pad(x, 2)[2:-2] / 255.0).float(),
    "mean": lambda x: torch.tensor((x - x.mean()) / x.std()).float(),
}  # fmt: skip


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(12, 4)


def of_data(change: Make, arrays: bool = False) -> CheckResult:
    return result_of("wrapped_integers", model(), Pictures(change, arrays), CE, batch_size=50)


@pytest.mark.parametrize("name", SICK)
def test_a_wrap_is_named(name: str) -> None:
    found = of_data(SICK[name])
    assert found.status == "fail", found.seen
    assert "test_wrapped_integers.py" in found.seen


@pytest.mark.parametrize("name", SICK_ARRAYS)
def test_one_of_arrays_is_named(name: str) -> None:
    found = of_data(SICK_ARRAYS[name], True)
    assert found.status == "fail", found.seen
    assert "test_wrapped_integers.py" in found.seen


@pytest.mark.parametrize("name", HEALTHY)
def test_what_fits_or_is_meant_passes(name: str) -> None:
    assert of_data(HEALTHY[name]).status in ("pass", "not_applicable"), of_data(HEALTHY[name]).seen


@pytest.mark.parametrize("name", HEALTHY_ARRAYS)
def test_arrays_that_fit_pass(name: str) -> None:
    found = of_data(HEALTHY_ARRAYS[name], True)
    assert found.status in ("pass", "not_applicable"), found.seen


def step(m: Any, b: Any) -> Any:
    return F.cross_entropy(m((b[0] + 60).float() / 255), b[1])


def mended(m: Any, b: Any) -> Any:
    return F.cross_entropy(m((b[0].float() + 60) / 255), b[1])


@pytest.mark.parametrize("bad", [False, True])
def test_a_step_and_a_watched_loop(bad: bool) -> None:
    body, data = step if bad else mended, (IMAGES, LABELS)
    of_step = result_of("wrapped_integers", model(), data, step_fn=body)
    of_loop = watched(("wrapped_integers",), model(), data, body)["wrapped_integers"]
    for found in (of_step, of_loop):
        assert (found.status == "fail") is bad, found.seen


def test_the_arrays_of_a_subset_are_its_own_again() -> None:
    pictures = Pictures(SICK_ARRAYS["brighter"], True)
    before = pictures.images
    found = result_of("wrapped_integers", model(), Subset(pictures, range(100)), CE, batch_size=50)
    assert found.status == "fail", found.seen
    assert pictures.images is before
    assert type(before) is np.ndarray
    assert (before == ARRAYS).all()


class Cached(Pictures):
    """Keeps what it has read."""

    def __init__(self) -> None:
        super().__init__(lambda x: x * 2, True)
        self.cache: dict[int, Any] = {}

    def __getitem__(self, place: int) -> Any:
        return self.cache.setdefault(place, (self.change(self.images[place]), LABELS[place]))


def test_a_cache_keeps_plain_arrays() -> None:
    pictures, images = Cached(), ARRAYS * 2
    with arrays_watched(pictures):
        read = pictures[3][0]
        assert isinstance(read, WatchedArray)
        assert read.wrap is not None
    assert type(pictures.cache[3][0]) is type(pictures.images) is np.ndarray
    assert (pictures.cache[3][0] == images[3]).all()


def test_arrays_left_to_collate() -> None:
    body = nn.Sequential(Scale(), model())
    found = result_of("wrapped_integers", body, Cached(), CE, batch_size=50)
    assert found.status == "fail", found.seen


class Scale(nn.Module):
    """Real numbers between 0 and 1 of pixels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float() / 255


def test_the_numbers_are_told() -> None:
    data = torch.full((50, 12), 200, dtype=torch.uint8), LABELS[:50]
    found = result_of("wrapped_integers", model(), data, step_fn=step)
    assert "gives 4 in place of 260" in found.seen
