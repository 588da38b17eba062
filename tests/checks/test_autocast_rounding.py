"""Numbers that half precision rounds under autocast, too much and not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from nbdebug.core.results.checks.check_result import CheckResult
from nbdebug.examples.setups.base import X, mlp, regression, y
from tests.checks.result_of import result_of
from tests.checks.watched import watched

N = len(X)
torch.manual_seed(2)
HOURS, NUMBER = torch.randint(8760, (N,)).float(), regression()[1]
Step = Callable[[Any, Any], Any]


class OfHours(nn.Module):
    """Waves of the hour of a year, several frequencies of which are fast."""

    freq: torch.Tensor

    def __init__(self, outside: bool = False) -> None:
        super().__init__()
        self.outside, self.body = outside, mlp(out=1)
        self.register_buffer("freq", 2 * math.pi / torch.tensor([[8760.0, 730, 168, 24, 12, 6]]))

    def forward(self, hours: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", enabled=not self.outside, dtype=torch.bfloat16):
            angle = hours[:, None] @ self.freq
            waves = torch.cat([angle.sin(), angle.cos()], 1)
        out: torch.Tensor = self.body(waves)
        return out


class Rotated(nn.Module):
    """Products of neighbours in long rows, with rotary positions made by a product."""

    freq: torch.Tensor

    def __init__(self, outside: bool = False) -> None:
        super().__init__()
        self.outside, self.to_all, self.out = outside, nn.Linear(1, 24), nn.Linear(8, 1)
        self.register_buffer("freq", 10000 ** (-torch.arange(4) / 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.repeat(1, 170)[..., None]
        q, k, v = self.to_all(x).chunk(3, -1)
        places = torch.arange(x.shape[1]).float()
        with torch.autocast("cpu", enabled=not self.outside, dtype=torch.bfloat16):
            angle = places[:, None] @ self.freq[None]
        sin, cos = angle.sin(), angle.cos()
        q, k = (
            torch.cat([a * cos - c * sin, a * sin + c * cos], -1)
            for a, c in (q.chunk(2, -1), k.chunk(2, -1))
        )
        score = (q * k.roll(1, 1)).sum(-1, keepdim=True).tanh()
        out: torch.Tensor = self.out((score * v).mean(1))
        return out


class Scaled(nn.Module):
    """Outputs in the units of an air pressure."""

    def __init__(self, full: bool = False) -> None:
        super().__init__()
        self.full, self.body = full, mlp(out=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.body(x)
        out = out.float() if self.full else out
        return out * 50 + 101325  # type: ignore[no-any-return]


class Fourier(nn.Module):
    """Random features of coordinates."""

    directions: torch.Tensor

    def __init__(self, scale: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.register_buffer("directions", torch.randn(12, 8) * scale)
        self.body = nn.Linear(16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        angle = x @ self.directions
        out: torch.Tensor = self.body(torch.cat([angle.sin(), angle.cos()], 1))
        return out


def under(dtype: torch.dtype = torch.bfloat16, at: int = 0) -> Step:
    def step(m: Any, b: Any) -> Any:
        with torch.autocast("cpu", dtype):
            out = m(b[at])
        return F.mse_loss(out.float(), b[1])

    return step


def years(m: Any, b: Any) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        hidden = m(torch.cat([2000 + b[0][:, :6], b[0][:, 6:]], 1))
        return F.mse_loss(hidden, b[1])


def squares(m: Any, b: Any) -> Any:
    """Norms beyond the range of float16."""
    with torch.autocast("cpu", torch.float16):
        hidden = m[0](b[0] * 300)
        return F.mse_loss(m[2:](hidden / hidden.square().sum(1, keepdim=True).sqrt()), b[1])


def normalised() -> nn.Module:
    """A batch norm removes what the years have in common."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 1))


class Steps(nn.Module):
    """The step of a diffusion, in waves of a linear function."""

    freq: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("freq", 10000 ** (-torch.arange(8) / 8)[:, None])
        self.body, self.of_step = mlp(out=1), nn.Linear(16, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        angle = F.linear(HOURS[: len(x), None] % 1000, self.freq)
        waves = self.of_step(torch.cat([angle.sin(), angle.cos()], -1))
        out: torch.Tensor = self.body(x + waves)
        return out


def exponentials(m: Any, b: Any) -> Any:
    """A softmax by hand."""
    with torch.autocast("cpu", torch.float16):
        grown = (m(b[0]) * 40).exp()
        return (grown / grown.sum(1, keepdim=True) - b[1]).square().mean()


def surveyed(m: Any, b: Any) -> Any:
    """Coordinates in metres, rotated and then centred."""
    with torch.autocast("cpu", torch.bfloat16):
        east, north = 500000 + 300 * b[0][:, :1], 4000000 + 300 * b[0][:, 1:2]
        turned = torch.cat([east, north], 1) @ torch.tensor([[0.8, 0.6], [-0.6, 0.8]])
        turned = (turned - turned.mean(0)) / 300
        return F.mse_loss(m(torch.cat([turned, b[0][:, :10]], 1)), b[1])


def phase(m: Any, b: Any) -> Any:
    """Cast by hand under autocast."""
    with torch.autocast("cpu", torch.bfloat16):
        return F.mse_loss(torch.sin(m(b[0]).bfloat16() * 100 + 5000), b[1])


DATA, PRESSURE = (X, NUMBER), (X, NUMBER * 50 + 101325)
SICK: dict[str, tuple[Callable[[], nn.Module], Any, Step, str]] = {
    "hours": (OfHours, (HOURS, NUMBER), under(), "angle = hours"),
    "rotary positions": (Rotated, DATA, under(), "angle = places"),
    "offset of the output": (Scaled, PRESSURE, under(), "101325"),
    "fast features": (lambda: Fourier(300.0), DATA, under(), "x @ self.directions"),
    "years": (normalised, DATA, years, "m(torch.cat"),
    "range of float16": (lambda: mlp(out=1), DATA, squares, "hidden.square()"),
    "steps": (Steps, DATA, under(), "F.linear"),
    "softmax by hand": (lambda: mlp(out=4), DATA, exponentials, ".exp()"),
    "coordinates": (lambda: mlp(out=1), DATA, surveyed, "@ torch.tensor"),
    "cast by hand": (lambda: mlp(out=1), DATA, phase, "* 100 + 5000"),
    "hours in float16": (OfHours, (HOURS, NUMBER), under(torch.float16), "angle = hours"),
}  # fmt: skip


def of_step(model: nn.Module, data: Any, step: Step) -> CheckResult:
    return result_of("autocast_rounding", model, data, step_fn=step, batch_size=50)


@pytest.mark.parametrize("name", SICK)
def test_numbers_that_are_rounded_away_are_named(name: str) -> None:
    make, data, step, line = SICK[name]
    found = of_step(make(), data, step)
    assert found.status in ("fail", "warning"), found.seen
    assert line in found.seen


OUTSIDE: dict[str, tuple[nn.Module, Any]] = {
    "hours": (OfHours(True), (HOURS, NUMBER)),
    "positions": (Rotated(True), DATA),
    "offset": (Scaled(True), PRESSURE),
    "slow features": (Fourier(1.0), DATA),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_the_remedies_help(name: str) -> None:
    model, data = OUTSIDE[name]
    found = of_step(model, data, under())
    assert found.status == "pass", found.seen


@pytest.mark.parametrize("outside", [False, True])
def test_a_watched_loop_does_not_hide_it(outside: bool) -> None:
    model, data = OfHours(outside), (HOURS, NUMBER)
    found = watched(("autocast_rounding",), model, data, under())["autocast_rounding"]
    assert found.status == ("pass" if outside else "fail"), found.seen


def test_a_model_that_enters_autocast_itself() -> None:
    found = result_of("autocast_rounding", OfHours(), (HOURS, NUMBER), nn.MSELoss())
    assert found.status == "fail", found.seen


def test_full_precision_is_not_judged() -> None:
    found = result_of("autocast_rounding", mlp(), (X, y), nn.CrossEntropyLoss())
    assert found.status == "not_applicable"
