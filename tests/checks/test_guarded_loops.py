"""Loops whose code refuses what a step never gives: no check may end them."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributions import Beta, Dirichlet, Normal
from torch.nn import functional

from nbdebug.core.results.checks.check_result import BAD_STATUSES
from tests.checks.watched import watched
from tests.draw import crossed

torch.manual_seed(0)
X = torch.randn(200, 6)
CLASS, NUMBER = (X[:, 0] > 0).long(), 2 * X[:, 0]
SLOW = ("sharpness", "one_epoch", "noise_scale")
# Checks and the size of a batch: a small one goes through the loop whole.
WAYS: dict[str, tuple[tuple[str, ...], int]] = {
    "quick, small": ((), 8), "slow": (SLOW, 50), "quick": ((), 50), "slow, small": (SLOW, 8)
}  # fmt: skip
Loss = Callable[[nn.Module, Any], torch.Tensor]


def model() -> nn.Module:
    torch.manual_seed(1)
    body = nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1)
    return nn.Sequential(*body, nn.Linear(16, 2))


def squared(net: nn.Module, batch: Any) -> torch.Tensor:
    mean, width = net(batch[0]).unbind(1)
    loss: torch.Tensor = ((mean - batch[2]) ** 2 * (-width).exp()).mean()
    return loss


def in_training(net: nn.Module, batch: Any) -> torch.Tensor:
    assert net.training
    return functional.cross_entropy(net(batch[0]), batch[1])


def finite(net: nn.Module, batch: Any) -> torch.Tensor:
    loss = squared(net, batch)
    if not math.isfinite(loss.item()):
        raise SystemExit(1)
    return loss


def bounded(net: nn.Module, batch: Any) -> torch.Tensor:
    loss = squared(net, batch)
    assert 1e-3 < float(loss.detach()) < 20
    return loss


def outputs_bounded(net: nn.Module, batch: Any) -> torch.Tensor:
    out = net(batch[0])
    assert float(out.detach().abs().max()) < 20
    error = (out[:, 0] - batch[2]) ** 2
    loss: torch.Tensor = (error * (-out[:, 1]).exp()).mean()
    return loss


def shares(net: nn.Module, batch: Any) -> torch.Tensor:
    first, second = net(batch[0]).exp().unbind(1)
    loss: torch.Tensor = -Beta(first, second).log_prob(batch[2].sigmoid().clamp(0.05, 0.95)).mean()
    return loss


def parts(net: nn.Module, batch: Any) -> torch.Tensor:
    share = batch[2].sigmoid().clamp(0.05, 0.95)
    found = torch.stack([share, 1 - share], 1)
    loss: torch.Tensor = -Dirichlet(net(batch[0]).exp()).log_prob(found).mean()
    return loss


def around(net: nn.Module, batch: Any) -> torch.Tensor:
    mean, width = net(batch[0]).unbind(1)
    loss: torch.Tensor = -Normal(mean, width.exp()).log_prob(batch[2]).mean()
    return loss


LOOPS: dict[str, Loss] = {
    "training mode": in_training, "a finite loss": finite, "a loss within bounds": bounded,
    "outputs within bounds": outputs_bounded, "shares": shares, "parts": parts, "around": around,
}  # fmt: skip


@pytest.mark.soak
@pytest.mark.parametrize(("kind", "way"), crossed(LOOPS, list(WAYS)))
def test_no_check_ends_a_loop_that_guards_itself(kind: str, way: str) -> None:
    checks, batch_size = WAYS[way]
    # An exception in the thread of the loop fails the test.
    report = watched(checks, model(), (X, CLASS, NUMBER), LOOPS[kind], batch_size, steps=3)
    assert not [result.name for result in report if result.raised]
    assert not [r.name for r in report if "LoopLeft" in r.seen]


def test_what_is_sick_in_such_a_loop_is_still_named() -> None:
    for loss in (finite, bounded):
        report = watched(("unheld_outputs",), model(), (X, CLASS, NUMBER), loss)
        assert report["unheld_outputs"].status in BAD_STATUSES


def dropped(net: nn.Module, batch: Any) -> torch.Tensor:
    assert all(layer.training for layer in net.modules()), "dropout is off"
    return functional.cross_entropy(net(batch[0]), batch[1])


SEEN = set[float]()


def unseen(net: nn.Module, batch: Any) -> torch.Tensor:
    numbers = batch[0][:, 0].tolist()
    if len(SEEN) == len(X):
        # The next epoch begins.
        SEEN.clear()
    assert SEEN.isdisjoint(numbers), "a sample comes twice"
    SEEN.update(numbers)
    return functional.cross_entropy(net(batch[0]), batch[1])


BEFORE = list[torch.Tensor]()


def near(net: nn.Module, batch: Any) -> torch.Tensor:
    weight = next(net.parameters()).detach()
    assert all(float((weight - one).abs().max()) < 0.5 for one in BEFORE), "the weights jump"
    BEFORE[:] = [weight.clone()]
    return functional.cross_entropy(net(batch[0]), batch[1])


def helped(net: nn.Module, batch: Any) -> torch.Tensor:
    return guarded_by_name(net, batch)


def guarded_by_name(net: nn.Module, batch: Any) -> torch.Tensor:
    assert net[3].training  # type: ignore[index]
    noise = net(batch[0] + torch.randn_like(batch[0])).detach().numpy().mean()
    return functional.cross_entropy(net(batch[0]), batch[1]) + float(noise)


STRICT: dict[str, Loss] = {
    "dropout acts": dropped, "no sample twice": unseen, "weights near": near, "by name": helped
}  # fmt: skip


@pytest.mark.soak
@pytest.mark.parametrize(("kind", "way"), crossed(STRICT, list(WAYS)))
def test_no_check_ends_a_loop_that_asserts(kind: str, way: str) -> None:
    checks, batch_size = WAYS[way]
    SEEN.clear()
    BEFORE.clear()
    slow = ("lr_range", "overfit", "signal", *checks) if checks else ()
    report = watched(slow, model(), (X, CLASS, NUMBER), STRICT[kind], batch_size, steps=3)
    assert not [result.name for result in report if result.raised]
    spared = [result for result in report if "raises or asserts (line " in result.seen]
    assert spared or checks
    assert all(result.status == "not_applicable" for result in spared)
