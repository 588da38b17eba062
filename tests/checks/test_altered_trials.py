"""User code that raises for what a check tries out: weights, outputs or sizes it never meets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributions import Beta, Distribution, MultivariateNormal, Normal, kl_divergence
from torch.nn import functional

import nbdebug as nbd
from nbdebug.core.results.checks.check_report import CheckReport
from nbdebug.core.results.checks.check_result import BAD_STATUSES
from tests.checks.watched import watched

torch.manual_seed(0)
X = torch.randn(256, 12)
CLASS = (X[:, 0] > 0).long() + (X[:, 1] > 0).long()


@pytest.fixture(autouse=True)
def validated() -> None:
    """Distributions check their arguments, also where a test before has compiled a model."""
    Distribution.set_default_validate_args(True)


class Coder(nn.Module):
    """A variational autoencoder; `spread` gives the standard deviation from its logarithm."""

    def __init__(self, spread: Callable[[torch.Tensor], torch.Tensor] = torch.exp) -> None:
        super().__init__()
        self.body, self.spread = nn.Sequential(nn.Linear(12, 32), nn.ReLU()), spread
        self.mean, self.log, self.back = nn.Linear(32, 4), nn.Linear(32, 4), nn.Linear(4, 12)

    def forward(self, x: torch.Tensor) -> Any:
        hidden = self.body(x)
        found = Normal(self.mean(hidden), self.spread(self.log(hidden)))
        return self.back(found.rsample()), found.mean, found.stddev


def coded(model: nn.Module, batch: Any) -> torch.Tensor:
    out, mean, spread = model(batch[0])
    rest = kl_divergence(Normal(mean, spread), Normal(0.0, 1.0)).sum(1).mean()
    return functional.mse_loss(out, batch[0], reduction="sum") / len(out) + rest


def plain(count: int) -> nn.Module:
    return nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, count))


def asserted(model: nn.Module, batch: Any) -> torch.Tensor:
    out = model(batch[0])
    assert float(out.detach().abs().max()) < 20, "the outputs exploded"
    return functional.cross_entropy(out, batch[1])


def shares(model: nn.Module, batch: Any) -> torch.Tensor:
    """Likelihood of shares under a Beta distribution, whose numbers are above 0."""
    first, second = model(batch[0]).exp().unbind(1)
    share = torch.sigmoid(batch[0][:, 0]).clamp(0.05, 0.95)
    return -Beta(first, second).log_prob(share).mean()


def correlated(model: nn.Module, batch: Any) -> torch.Tensor:
    """Likelihood under a Gaussian whose covariance has to be positive definite."""
    out = model(batch[0])
    root = out[:, 2:6].view(-1, 2, 2)
    around = MultivariateNormal(out[:, :2], root @ root.mT + 0.1 * torch.eye(2))
    return -around.log_prob(batch[0][:, :2]).mean()


def in_pairs(model: nn.Module, batch: Any) -> torch.Tensor:
    """Neighbours in the batch are pairs: an odd number of samples has no pairs."""
    first, second = model(batch[0]).view(-1, 2, 3).unbind(1)
    alike = (batch[1].view(-1, 2)[:, 0] == batch[1].view(-1, 2)[:, 1]).float()
    apart = (first - second).square().sum(1)
    return (alike * apart + (1 - alike) * functional.relu(1 - apart.add(1e-6).sqrt())).mean()


def looked_up(model: nn.Module, batch: Any) -> torch.Tensor:
    """A table of 40 weights, in which an output of the model looks up that of its sample."""
    out = model(batch[0])
    weight = torch.linspace(0.9, 1.1, 40)[(out.detach()[:, 0] * 2 + 20).long()]
    return (functional.cross_entropy(out, batch[1], reduction="none") * weight).mean()


def limited(model: nn.Module, batch: Any) -> torch.Tensor:
    """As `coded`, of a loop that ends where the loss explodes."""
    loss = coded(model, batch)
    if float(loss.detach()) > 1e4:
        raise RuntimeError("the loss exploded")
    return loss


def smooth() -> nn.Module:
    return Coder(lambda log: functional.softplus(log) + 1e-3)


STEPS: dict[str, tuple[Callable[[], nn.Module], Callable[..., torch.Tensor]]] = {
    "a scale of 0": (Coder, coded), "an assertion": (lambda: plain(3), asserted),
    "shares": (lambda: plain(2), shares), "a covariance": (lambda: plain(6), correlated),
    "pairs": (lambda: plain(3), in_pairs), "a table": (lambda: plain(3), looked_up),
    "a limit": (smooth, limited),
}  # fmt: skip


def of(model: nn.Module, step_fn: Any, **more: Any) -> CheckReport:
    with nbd.Debugger(model, (X, CLASS), step_fn=step_fn, batch_size=32, **more) as dbg:
        return dbg.check()


@pytest.mark.parametrize("kind", STEPS)
def test_what_a_check_tried_out_is_no_fault_of_the_step(kind: str) -> None:
    torch.manual_seed(0)
    make, step_fn = STEPS[kind]
    report = of(make(), step_fn)
    assert [(r.name, r.seen) for r in report if r.raised] == []
    assert [(r.name, r.seen) for r in report if r.status in BAD_STATUSES] == []


def test_a_check_says_what_its_trial_raised() -> None:
    torch.manual_seed(0)
    report = of(Coder(), coded)
    for name in ("loss_direction", "output_activation"):
        assert report[name].status == "not_applicable"
        assert "ValueError: Expected parameter scale" in report[name].seen
        assert "tensor([" not in report[name].seen


@pytest.mark.parametrize("kind", STEPS)
def test_nor_is_a_loop_left_for_it(kind: str) -> None:
    torch.manual_seed(0)
    make, step_fn = STEPS[kind]
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    report = watched((), model, (X, CLASS), step_fn, 32, optimizer=optimizer)
    assert [(r.name, r.seen) for r in report if r.raised] == []
    assert [(r.name, r.seen) for r in report if r.status in BAD_STATUSES] == []


def test_what_the_step_raises_by_itself_stays_a_failure() -> None:
    torch.manual_seed(0)
    report = of(Coder(spread=lambda log: log), coded)
    assert report["shapes"].status == report["output_activation"].status == "fail"
    assert report["output_activation"].raised
    assert "Expected parameter scale" in report["output_activation"].seen


class Apart(nn.Module):
    """Returns a second output while it trains only."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.beside = plain(3), nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> Any:
        return (self.body(x), self.beside(x)) if self.training else self.body(x)


def both(model: nn.Module, batch: Any) -> torch.Tensor:
    out, beside = model(batch[0])
    losses = (functional.cross_entropy(one, batch[1]) for one in (out, beside))
    return next(losses) + 0.5 * next(losses)


def test_a_step_that_is_made_in_training_mode_only_need_not_run_in_eval_mode() -> None:
    torch.manual_seed(0)
    assert of(Apart(), both)["train_eval"].status == "not_applicable"
    # Validation computes the same step.
    held = of(Apart(), both, val_data=(X[:64], CLASS[:64]))["train_eval"]
    assert held.status == "fail"
    assert "ValueError" in held.seen


@pytest.mark.parametrize("loss_fn", [nn.BCEWithLogitsLoss(), None])
def test_a_forward_that_takes_no_single_sample_is_named(loss_fn: Any) -> None:
    class Squeezed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = plain(1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.body(x).squeeze()
            return out

    torch.manual_seed(0)
    data, binary = (X, (CLASS > 0).float()), functional.binary_cross_entropy_with_logits
    step = None if loss_fn else (lambda m, b: binary(m(b[0]), b[1]))
    with nbd.Debugger(Squeezed(), data, loss_fn, step_fn=step, batch_size=32) as dbg:
        found = dbg.check("train_eval")["train_eval"]
    assert found.status == "warning"
    assert "single sample" in found.seen


def test_a_fault_beside_such_a_distribution_is_named() -> None:
    class Bounded(Coder):
        def forward(self, x: torch.Tensor) -> Any:
            hidden = self.body(x)
            found = Normal(self.mean(hidden), functional.softplus(self.log(hidden)) + 1e-3)
            return torch.sigmoid(self.back(found.rsample())), found.mean, found.stddev

    torch.manual_seed(0)
    assert of(Bounded(), coded)["output_activation"].status == "fail"


def blended(model: nn.Module, batch: Any) -> Any:
    share = 0.7 if model.training else 1.0
    out = model(share * batch[0] + (1 - share) * batch[0].flip(0))
    return functional.cross_entropy(out, batch[1]), out, batch[1]


def noisy(model: nn.Module, batch: Any) -> Any:
    noise = torch.randn_like(batch[0]) if model.training else 0.0
    out = model(batch[0] + 0.5 * noise)
    return functional.cross_entropy(out, batch[1]), out, batch[1]


def erased(model: nn.Module, batch: Any) -> Any:
    out = model(functional.dropout(batch[0], 0.3, model.training))
    return functional.cross_entropy(out, batch[1]), out, batch[1]


def scaled(model: nn.Module, batch: Any) -> Any:
    x = batch[0] * (0.8 + 0.4 * torch.rand(len(batch[0]), 1)) if model.training else batch[0]
    out = model(x)
    return functional.cross_entropy(out, batch[1]), out, batch[1]


def halved(model: nn.Module, batch: Any) -> Any:
    """The same inputs, and other outputs: validation judges another model."""
    out = model(batch[0]) * (0.5 if model.training else 1.0)
    return functional.cross_entropy(out, batch[1]), out, batch[1]


@pytest.mark.parametrize("step_fn", [blended, noisy, erased, scaled])
def test_inputs_that_are_altered_in_training_only_are_no_fault_of_the_modes(step_fn: Any) -> None:
    torch.manual_seed(0)
    assert of(plain(3), step_fn)["train_eval"].status == "pass"
    assert of(plain(3), halved)["train_eval"].status == "warning"
