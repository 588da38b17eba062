"""A backward of one's own that does not fit its forward, and those that are meant to differ."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import Function
from torch.nn import functional

import nbdebug as nbd
from tests.checks.result_of import result_of

X = torch.randn(96, 6, generator=torch.Generator().manual_seed(0))
Y = X[:, :1].sin()


class Kept(Function):
    """A forward that keeps its input."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)


def slope(x: torch.Tensor) -> torch.Tensor:
    s = torch.sigmoid(x)
    return s * (1 + x * (1 - s))


class WithoutOutput(Kept):
    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return slope(*ctx.saved_tensors)


class WithoutInner(Kept):
    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return grad * torch.sigmoid(x)


class OfTheOutput(Kept):
    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return grad * slope(x * torch.sigmoid(x))


class Negated(Kept):
    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return -grad * slope(*ctx.saved_tensors)


class Halved(Kept):
    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return 0.5 * grad * slope(*ctx.saved_tensors)


class Right(Kept):
    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return grad * slope(*ctx.saved_tensors)


class Averaged(Function):
    """A mean whose backward forgets the number of elements."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.shape = x.shape
        return x.mean(1, keepdim=True) + 0 * x

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return grad.sum(1, keepdim=True).expand(ctx.shape)


class Clipped(Function):
    """A kink, and a backward that fits."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return grad * (x > 0)


class Reversed(Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return -0.3 * grad


class StraightThrough(Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return grad


class Dropped(Function):
    """Draws random numbers."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.mask = (torch.rand_like(x) > 0.2).to(x.dtype)
        return x * ctx.mask

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return grad * ctx.mask


class Singles(Function):
    """Takes single precision alone."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        if x.dtype != torch.float32:
            raise TypeError("float32 only")
        ctx.save_for_backward(x)
        return x.tanh()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return grad * (1 - x.tanh() ** 2)


class SinglesWrong(Singles):
    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return grad * (1 - x.tanh())


class InPlace(Function):
    """Writes to its input."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.mark_dirty(x)
        return x.mul_(3)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return 3 * grad


class TwoInputs(Function):
    """The gradients of two inputs, of which one is forgotten in the sick twin."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, scale)
        return x * scale

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:  # type: ignore[override]
        x, scale = ctx.saved_tensors
        return grad * scale, (grad * x).sum(0)


class Exchanged(TwoInputs):
    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:  # type: ignore[override]
        x, scale = ctx.saved_tensors
        return grad * scale.mean(), (grad * x).mean(0)


class Net(nn.Module):
    def __init__(self, kind: type[Function]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.kind = nn.Linear(6, 16), nn.Linear(16, 1), kind
        self.scale = nn.Parameter(torch.rand(16) + 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        more = (self.scale,) if issubclass(self.kind, TwoInputs) else ()
        result: torch.Tensor = self.last(self.kind.apply(self.first(x) * 1, *more))
        return result


SICK = [
    WithoutOutput,
    WithoutInner,
    OfTheOutput,
    Negated,
    Halved,
    Averaged,
    SinglesWrong,
    Exchanged,
]
HEALTHY = [Right, Clipped, Dropped, Singles, InPlace, TwoInputs]
MEANT = [Reversed, StraightThrough]


@pytest.mark.parametrize("kind", SICK)
def test_a_backward_that_does_not_fit_is_named(kind: type[Function]) -> None:
    found = result_of("custom_backward", Net(kind), (X, Y), nn.MSELoss())
    assert found.status == "fail", found
    assert kind.__name__ in found.seen


@pytest.mark.parametrize("kind", HEALTHY)
def test_one_that_fits_passes(kind: type[Function]) -> None:
    assert result_of("custom_backward", Net(kind), (X, Y), nn.MSELoss()).status == "pass"


@pytest.mark.parametrize("kind", MEANT)
def test_one_that_is_meant_to_differ_is_left_alone(kind: type[Function]) -> None:
    found = result_of("custom_backward", Net(kind), (X, Y), nn.MSELoss())
    assert found.status == "not_applicable"


def test_it_is_seen_in_a_loop_of_its_own() -> None:
    model = Net(WithoutOutput)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    batches = [(X[:32], Y[:32]), (X[32:64], Y[32:64]), (X[64:], Y[64:])]
    with nbd.watch(model, optimizer) as dbg:

        def loop() -> None:
            for _ in dbg.epochs(3):
                for x, y in dbg.batches(batches):
                    optimizer.zero_grad()
                    functional.mse_loss(model(x), y).backward()
                    optimizer.step()

        dbg.break_when("step >= 4")
        dbg.run(loop)
        assert dbg.wait(60)
        assert dbg.check("custom_backward")["custom_backward"].status == "fail"
        dbg.end_loop()
    assert Function.__dict__["apply"].__func__.__module__.startswith("torch")
