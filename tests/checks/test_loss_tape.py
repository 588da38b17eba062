"""The loss for other outputs than the model's, against the loss itself."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.core.plugins import instances
from tests.inside import LossTapes

torch.manual_seed(0)
X = torch.randn(32, 6)
Y, CLASS = 2 * X[:, :1], (X[:, 0] > 0).long()
OTHER = torch.randn(32, 3)
Loss = Callable[[torch.Tensor, Any], torch.Tensor]


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return 2 * gradient


class Mean:
    """A running mean of outputs, which a loss writes into."""

    def __init__(self) -> None:
        self.value = torch.zeros(3)

    def __call__(self, out: torch.Tensor, batch: Any) -> torch.Tensor:
        self.value.mul_(0.9).add_(0.1 * out.detach().mean(0))
        return (out - self.value).square().mean()


def in_place(out: torch.Tensor, batch: Any) -> torch.Tensor:
    scaled = out * 1.0
    scaled[:, 0] = scaled[:, 1] * 2
    scaled[:, 2].mul_(3)
    scaled += batch[1]
    return scaled.square().mean()


def mixed(out: torch.Tensor, batch: Any) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        product = out @ out.mT
    return product.float().square().mean()


def detached(out: torch.Tensor, batch: Any) -> torch.Tensor:
    with torch.no_grad():
        weight = out.softmax(1)
    return (weight * out.log_softmax(1)).sum() + (out.detach() * out).mean() + out.data.sum()


def noisy(out: torch.Tensor, batch: Any) -> torch.Tensor:
    torch.manual_seed(3)
    noise = torch.randn_like(out) + torch.randn(3)
    return functional.dropout(out + noise, 0.5).square().mean()


def guarded(out: torch.Tensor, batch: Any) -> torch.Tensor:
    loss = functional.cross_entropy(out, batch[2], label_smoothing=0.1)
    assert torch.isfinite(loss).all()
    logged = loss.item()
    assert logged < 50
    return loss + 0.1 * out.square().mean()


SAME: dict[str, Loss] = {
    "cross-entropy": lambda out, batch: functional.cross_entropy(out, batch[2]),
    "a sum of terms": lambda out, batch: (out[:, :1] - batch[1]).abs().mean() + out.T.exp().mean(),
    "writes in place": in_place, "mixed precision": mixed, "a part without gradient": detached,
    "random numbers": noisy, "guards": guarded,
    "lists": lambda out, batch: torch.stack([out[:, 0], out[:, 2]]).logsumexp(0).mean(),
    "a table": lambda out, batch: out.gather(1, batch[2][:, None]).where(out[:, :1] > 0, 0).sum(),
}  # fmt: skip
REFUSED: dict[str, tuple[Loss, str]] = {
    "NumPy": (
        lambda out, _: (out - torch.tensor(out.detach().numpy().mean(0))).square().mean(),
        "numbers that left torch",
    ),
    "a number": (lambda out, _: (out / out.max().item()).square().mean(), "numbers that left"),
    "a function of one's own": (
        lambda out, _: (Doubled.apply(out) - out).square().mean(), "not made by torch alone"
    ),
}  # fmt: skip


@pytest.fixture
def taped(monkeypatch: pytest.MonkeyPatch) -> Callable[[Loss], Any]:
    """Tape of a loss of the outputs of a small model."""

    def tape(loss: Loss) -> Any:
        keeper = LossTapes()

        def found(package: str, base: type, on_error: Any) -> tuple[Any, ...]:
            return (keeper,) if package == "nbdebug.checks" else instances(package, base, on_error)

        monkeypatch.setattr("nbdebug.debugger.assembly.instances", found)
        torch.manual_seed(1)
        data = DataLoader(TensorDataset(X, Y, CLASS), batch_size=32)
        net, step_fn = nn.Linear(6, 3), lambda net, batch: loss(net(batch[0]), batch)
        with nbd.Debugger(net, data, step_fn=step_fn, runs=None) as dbg:
            dbg.check("loss_tapes")
        return keeper.found[0]

    return tape


@pytest.mark.parametrize("name", SAME)
def test_the_loss_of_other_outputs_is_that_of_the_function(
    taped: Callable[[Loss], Any], name: str
) -> None:
    tape, batch = taped(SAME[name])
    for other in (OTHER, 10 * OTHER):
        free, plain = other.clone().requires_grad_(), other.clone().requires_grad_()
        loss, expected = tape.loss_of([free]), SAME[name](plain * 1.0, batch)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
        loss.backward()
        expected.backward()
        assert torch.allclose(free.grad, plain.grad, rtol=1e-5)
        assert torch.equal(free, other)


def test_outputs_that_the_code_refuses_have_a_loss(taped: Callable[[Loss], Any]) -> None:
    far, (tape, batch) = 1000 * OTHER, taped(guarded)
    with pytest.raises(AssertionError):
        guarded(far, batch)
    expected = functional.cross_entropy(far, batch[2], label_smoothing=0.1)
    expected = expected + 0.1 * far.square().mean()
    assert tape.loss_of([far]).item() == pytest.approx(expected.item(), rel=1e-6)


def test_what_a_loss_writes_into_stays_as_it_is(taped: Callable[[Loss], Any]) -> None:
    mean = Mean()
    tape, batch = taped(mean)
    before = mean.value.clone()
    for _ in range(2):
        assert tape.loss_of([OTHER]).item() == pytest.approx(Mean()(OTHER, batch).item())
    assert torch.equal(mean.value, before)


@pytest.mark.parametrize("name", REFUSED)
def test_a_loss_beyond_torch_is_refused_in_words(taped: Callable[[Loss], Any], name: str) -> None:
    loss, words = REFUSED[name]
    assert words in taped(loss)[0]
