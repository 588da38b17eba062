"""Usual rounding of half precision under autocast, which is no fault."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from nbdebug.examples.setups.base import mlp, regression
from nbdebug.model.module.forward import call, split
from tests.checks.result_of import result_of
from tools.architectures.catalogue import ARCHITECTURES

DATA = regression()
Step = Callable[[Any, Any], Any]
STOCK = ("VAE", "ViT", "policy gradient", "normalising flow", "distillation", "U-Net with Dice")


def under(dtype: torch.dtype = torch.bfloat16) -> Step:
    def step(m: Any, b: Any) -> Any:
        with torch.autocast("cpu", dtype):
            out = m(b[0])
        return F.mse_loss(out.float(), b[1])

    return step


class Attention(nn.Module):
    """A transformer with dropout, of 12 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.to_tokens = nn.Linear(1, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.2, batch_first=True)
        self.body, self.out = nn.TransformerEncoder(layer, 2), nn.Linear(16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.out(self.body(self.to_tokens(x[..., None])).mean(1))
        return out


class Recurrent(nn.Module):
    """Two layers with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.out = nn.GRU(1, 16, 2, batch_first=True, dropout=0.3), nn.Linear(16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.out(self.body(x[..., None])[0][:, -1])
        return out


class Siren(nn.Module):
    """Layers of sines, as they are initialised in the paper."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.parts = nn.ModuleList([nn.Linear(12, 32), nn.Linear(32, 32), nn.Linear(32, 1)])
        with torch.no_grad():
            self.parts[0].weight.uniform_(-1 / 12, 1 / 12)
            for part in self.parts[1:]:
                part.weight.uniform_(-math.sqrt(6 / 32) / 30, math.sqrt(6 / 32) / 30)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        *inner, last = self.parts
        for part in inner:
            x = torch.sin(30 * part(x))
        out: torch.Tensor = last(x)
        return out


class Experts(nn.Module):
    """The best two of eight experts."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(12, 8)
        self.parts = nn.ModuleList(nn.Linear(12, 16) for _ in range(8))
        self.out = nn.Linear(16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight, chosen = self.gate(x).softmax(-1).topk(2)
        every = torch.stack([part(x) for part in self.parts], 1)
        rows = every.gather(1, chosen[..., None].expand(-1, -1, 16))
        out: torch.Tensor = self.out((rows * weight[..., None]).sum(1))
        return out


class Dropped(nn.Module):
    """Residual branches that are left out at random, and dropout by functions."""

    def __init__(self) -> None:
        super().__init__()
        self.parts, self.out = nn.ModuleList(nn.Linear(12, 12) for _ in range(8)), nn.Linear(12, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in self.parts:
            hidden = F.dropout(part(F.layer_norm(x, (12,))).relu(), 0.2, self.training)
            x = x + hidden * hidden.new_empty(len(x), 1).bernoulli_(0.8) / 0.8
        out: torch.Tensor = self.out(x)
        return out


def noisy(m: Any, b: Any) -> Any:
    """A variational autoencoder."""
    with torch.autocast("cpu", torch.bfloat16):
        mean, spread = m[:4](b[0]).chunk(2, 1)
        code = mean + torch.randn_like(spread) * (0.5 * spread).exp()
        out = m[4](torch.cat([code, code], 1))
        return F.mse_loss(out, b[1]) - 0.5 * (1 + spread - mean.square() - spread.exp()).mean()


def taught(m: Any, b: Any) -> Any:
    """A teacher that is almost the student: the difference is rounding, and small."""
    with torch.autocast("cpu", torch.bfloat16):
        out = m(b[0])
        with torch.no_grad():
            other = m(b[0] + 1e-5)
        return F.mse_loss(out.float(), b[1]) + (out - other).square().mean()


def cast_by_hand(m: Any, b: Any) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        hidden = m[0](b[0].bfloat16()).to(torch.bfloat16)
        return F.mse_loss(m[1:](hidden).float(), b[1])


def shuffled(m: Any, b: Any) -> Any:
    """Each evaluation draws from a generator that goes on."""
    with torch.autocast("cpu", torch.bfloat16):
        return F.mse_loss(m(b[0] + torch.randn(b[0].shape, generator=OWN)), b[1])


def contrast(m: Any, b: Any) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        one, other = (F.normalize(m(b[0] + 0.1 * torch.randn_like(b[0])), dim=1) for _ in range(2))
        return F.cross_entropy(one @ other.T / 0.1, torch.arange(len(one)))


def penalised(m: Any, b: Any) -> Any:
    """A critic with a penalty of its gradient."""
    with torch.autocast("cpu", torch.bfloat16):
        made = b[0].flip(0) + torch.randn_like(b[0])
        share = torch.rand(len(made), 1)
        mixed = (share * b[0] + (1 - share) * made).requires_grad_()
        (slope,) = torch.autograd.grad(m(mixed).sum(), mixed, create_graph=True)
        return m(made).mean() - m(b[0]).mean() + 10 * (slope.norm(dim=1) - 1).square().mean()


def sampled(m: Any, b: Any) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        out = m(b[0])
        action = torch.multinomial(out.softmax(1), 1)
        hard = F.gumbel_softmax(out, hard=True)
        return -(out.log_softmax(1).gather(1, action) * b[1]).mean() + (hard * out).mean()


def masked(m: Any, b: Any) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        out = m(b[0]).masked_fill(torch.rand(len(b[0]), 4) < 0.2, float("-inf"))
        return F.cross_entropy(
            out.index_fill(1, torch.tensor(0), 0.0), torch.zeros(len(out)).long()
        )


def kelvin(m: Any, b: Any) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        return F.mse_loss(m(b[0]) * 10 + 288, b[1] * 10 + 288)


OWN = torch.Generator().manual_seed(0)


def deep() -> nn.Module:
    torch.manual_seed(0)
    layers = [
        layer for _ in range(16) for layer in (nn.Linear(12, 12), nn.BatchNorm1d(12), nn.ReLU())
    ]
    return nn.Sequential(*layers, nn.Dropout(0.2), nn.Linear(12, 1))


HEALTHY: dict[str, tuple[Callable[[], nn.Module], Any, Step]] = {
    "a network": (lambda: mlp(out=1), DATA, under()),
    "float16": (lambda: mlp(out=1), DATA, under(torch.float16)),
    "deep, with BatchNorm and dropout": (deep, DATA, under()),
    "transformer": (Attention, DATA, under()),
    "recurrent": (Recurrent, DATA, under()),
    "sines": (Siren, DATA, under()),
    "experts": (Experts, DATA, under()),
    "dropped branches": (Dropped, DATA, under()),
    "noise": (lambda: mlp(out=1), DATA, noisy),
    "teacher": (lambda: mlp(out=1), DATA, taught),
    "cast by hand": (lambda: mlp(out=1), DATA, cast_by_hand),
    "contrast": (mlp, DATA, contrast),
    "penalty": (lambda: mlp(out=1, act=nn.Softplus), DATA, penalised),
    "samples": (mlp, DATA, sampled), "masks": (mlp, DATA, masked),
    "kelvin": (lambda: mlp(out=1), DATA, kelvin),
    "draws that go on": (lambda: mlp(out=1), DATA, shuffled),
}  # fmt: skip


@pytest.mark.parametrize("name", HEALTHY)
def test_usual_rounding_passes(name: str) -> None:
    make, data, step = HEALTHY[name]
    found = result_of("autocast_rounding", make(), data, step_fn=step, batch_size=50)
    assert found.status == "pass", found.seen


@pytest.mark.parametrize("name", STOCK)
def test_stock_architectures_under_autocast_pass(name: str) -> None:
    made = ARCHITECTURES[name]
    own = made.settings.get("step_fn")

    def step(m: Any, b: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            if own is not None:
                return own(m, b)
            inputs, targets = split(b)
            assert made.loss is not None
            return made.loss(call(m, inputs), targets)

    settings = {**made.settings, "step_fn": step}
    with dataclasses.replace(made, loss=None, settings=settings).debugger() as dbg:
        found = dbg.check("autocast_rounding")["autocast_rounding"]
    assert found.status == "pass", found.seen
