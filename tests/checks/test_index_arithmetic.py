"""Places of the largest numbers, used as numbers and as places."""

from __future__ import annotations

import copy
import queue
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import nbdebug as nbd
from nbdebug.core.results.checks.check_result import CheckResult
from nbdebug.examples.setups.base import X, mlp, regression, y
from tests.checks.result_of import result_of
from tests.checks.watched import watched

N, GAMMA = len(X), 0.97
torch.manual_seed(1)
NEXT = X[torch.randperm(N)]
ACTIONS, REWARDS, DONE = torch.randint(4, (N,)), torch.randn(N), (torch.rand(N) < 0.2).float()
PLAY = X, NEXT, ACTIONS, REWARDS, DONE
Q = mlp()
TARGET = copy.deepcopy(Q)


def chosen(m: Any, b: Any) -> Any:
    return m(b[0]).gather(1, b[2][:, None]).squeeze(1)


def bootstrap(m: Any, b: Any) -> Any:
    with torch.no_grad():
        wanted = b[3] + GAMMA * TARGET(b[1]).max(1)[1] * (1 - b[4])
    return F.smooth_l1_loss(chosen(m, b), wanted)


def by_argmax(m: Any, b: Any) -> Any:
    wanted = b[3] + GAMMA * m(b[1]).argmax(dim=1)
    return (chosen(m, b) - wanted).square().mean()


def written(m: Any, b: Any) -> Any:
    """As in the tutorial of PyTorch, with .indices in place of .values."""
    best = torch.zeros(len(b[0]))
    alive = b[4] == 0
    with torch.no_grad():
        best[alive] = TARGET(b[1][alive]).max(1).indices.float()
    return F.mse_loss(chosen(m, b), best * GAMMA + b[3])


def whole_rows(m: Any, b: Any) -> Any:
    now = m(b[0])
    wanted = now.detach().clone()
    best = TARGET(b[1]).detach().topk(1)[1].squeeze(1)
    wanted[torch.arange(len(wanted)), b[2]] = b[3] + GAMMA * best * (1 - b[4])
    return F.mse_loss(now, wanted)


def one_by_one(m: Any, b: Any) -> Any:
    wanted = torch.stack([
        r + GAMMA * m(x).detach().max(0)[1] for x, r in zip(b[1], b[3], strict=True)
    ])  # fmt: skip
    return F.mse_loss(chosen(m, b), wanted)


def error_as_weight(m: Any, b: Any) -> Any:
    with torch.no_grad():
        better = b[3] + GAMMA * m(b[1]).max(1)[1] - m(b[0]).max(1)[0]
    return -(m(b[0]).log_softmax(1).gather(1, b[2][:, None])[:, 0] * better).mean()


def hinge(m: Any, b: Any) -> Any:
    out = m(b[0])
    right = out.gather(1, b[2][:, None])
    others = out.scatter(1, b[2][:, None], -1e3)
    return F.relu(1 + others.max(1, keepdim=True)[1] - right).mean()


def nearest(m: Any, b: Any) -> Any:
    """Triplets, of which the hardest negative is a place."""
    rows = m(b[0])
    apart = torch.cdist(rows, rows)
    same = b[2][:, None] == b[2]
    far = apart.masked_fill(~same, 0).max(1)[0]
    near = apart.masked_fill(same, 1e3).min(1)[1]
    return F.relu(far - near + 1).mean()


def scaled_inputs(m: Any, b: Any) -> Any:
    return F.cross_entropy(m(b[0] / (1 + b[0].abs().max(1, keepdim=True)[1])), b[2])


def centred_inputs(m: Any, b: Any) -> Any:
    return F.cross_entropy(m(b[0] - b[0].median(0)[1]), b[2])


def confidence(m: Any, b: Any) -> Any:
    sure = m(b[0]).softmax(1).max(1)[1]
    return (F.cross_entropy(m(b[0]), b[2], reduction="none") * sure).mean()


def stable(m: Any, b: Any) -> Any:
    out = m(b[0])
    out = out - out.max(1, keepdim=True)[1]
    return -(out - out.exp().sum(1, keepdim=True).log()).gather(1, b[2][:, None]).mean()


class Agent(nn.Module):
    """Both networks in one model, which computes its own loss."""

    def __init__(self) -> None:
        super().__init__()
        self.q = mlp()
        self.target = copy.deepcopy(self.q).requires_grad_(False)

    def forward(self, b: Any, place: int = 1) -> torch.Tensor:
        best = self.target(b[1]).max(1)[place]
        return F.mse_loss(chosen(self.q, b), b[3] + GAMMA * best)


class Dueling(nn.Module):
    """Values and advantages, with the atoms of a distribution."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.value, self.better = nn.Linear(12, 16), nn.Linear(16, 1), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.body(x).relu()
        better = self.better(hidden)
        out: torch.Tensor = self.value(hidden) + better - better.mean(1, keepdim=True)
        return out


class Recurrent(nn.Module):
    """Values of the actions at each step of a row."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.LSTM(4, 8, batch_first=True), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.body(x.view(len(x), 3, 4))[0])
        return out


# The same with values in place of places: `at` is 0.


def over_time(m: Any, b: Any, at: int = 1) -> Any:
    out = m(b[0])
    wanted = b[3][:, None] + 0.9 * out.detach()[:, 1:].max(-1)[at]
    actions = b[2].view(-1, 1, 1).expand(-1, 2, 1)
    return F.mse_loss(out[:, :-1].gather(2, actions).squeeze(-1), wanted)


def in_place(m: Any, b: Any, at: int = 1) -> Any:
    wanted = b[3].clone()
    with torch.no_grad():
        wanted += GAMMA * (1 - b[4]) * torch.max(TARGET(b[1]), dim=1)[at]
    return F.smooth_l1_loss(torch.sum(m(b[0]) * F.one_hot(b[2], 4), dim=1), wanted)


def at_ends(m: Any, b: Any, at: int = 1) -> Any:
    with torch.no_grad():
        best = TARGET(b[1]).sort(1, descending=True)[at][:, 0]
        wanted = torch.where(b[4].bool(), b[3], b[3] + GAMMA * best)
    return (wanted - m(b[0])[torch.arange(len(wanted)), b[2]]).square().mean()


def ensemble(m: Any, b: Any, at: int = 1) -> Any:
    both = torch.stack([m(b[1]), TARGET(b[1])])
    return F.mse_loss(m(b[0]), (b[3][:, None] + 0.9 * both.min(0)[at]).detach())


def labels(m: Any, b: Any, at: int = 1) -> Any:
    out = m(b[0])
    others = out.masked_fill(F.one_hot(b[2], 4).bool(), -9).topk(2, 1)[at]
    return F.softplus(others - out.gather(1, b[2][:, None])).mean()


def standardised(m: Any, b: Any, at: int = 1) -> Any:
    low, high = b[0].min(0, keepdim=True)[at], b[0].max(0, keepdim=True)[at]
    return F.cross_entropy(m((b[0] - low) / (high - low + 1e-6)), b[2])


def attack(m: Any, b: Any, at: int = 1) -> Any:
    out = m(b[0])
    best = torch.kthvalue(out, 4, dim=1)[at]
    return (best - out.gather(1, b[2][:, None]).squeeze(1)).clamp(min=-1).mean()


def pseudo_labels(m: Any, b: Any, at: int = 1) -> Any:
    with torch.no_grad():
        sure, label = m(b[1]).softmax(-1).max(-1)
    weight = label if at else sure
    return (F.cross_entropy(m(b[0]), label, reduction="none") * weight).mean()


BOTH = {
    one.__name__: one
    for one in (over_time, in_place, at_ends, ensemble, labels, standardised, attack, pseudo_labels)
}  # fmt: skip


SICK: dict[str, tuple[Callable[[Any, Any], torch.Tensor], str]] = {
    "bootstrap of another network": (bootstrap, "max(1)[1]"),
    "bootstrap of the same network": (by_argmax, "argmax(dim=1)"),
    "written into zeros": (written, ".indices"),
    "rows of targets": (whole_rows, "topk(1)[1]"),
    "sample by sample": (one_by_one, "max(0)[1]"),
    "weight of a policy": (error_as_weight, "max(1)[1]"),
    "hinge of classes": (hinge, "others.max(1"),
    "hardest negative": (nearest, "min(1)[1]"),
    "scale of inputs": (scaled_inputs, "b[0].abs().max"),
    "centre of inputs": (centred_inputs, "median(0)[1]"),
    "confidence": (confidence, "max(1)[1]"),
    "softmax by hand": (stable, "out.max(1"),
}  # fmt: skip


def values(m: Any, b: Any) -> Any:
    with torch.no_grad():
        wanted = b[3] + GAMMA * TARGET(b[1]).max(1)[0] * (1 - b[4])
    return F.smooth_l1_loss(chosen(m, b), wanted)


def of_step(step: Callable[[Any, Any], Any], model: nn.Module | None = None) -> CheckResult:
    model = Q if model is None else model
    return result_of("index_arithmetic", model, PLAY, step_fn=step, batch_size=50)


@pytest.mark.parametrize("name", SICK)
def test_a_place_that_is_used_as_a_number_is_named(name: str) -> None:
    step, line = SICK[name]
    found = of_step(step)
    assert found.status in ("fail", "warning"), found.seen
    assert line in found.seen


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("name", BOTH)
def test_values_in_the_same_place_pass(name: str, at: int) -> None:
    model = Recurrent() if name == "over_time" else Q
    found = of_step(lambda m, b: BOTH[name](m, b, at), model)
    assert (found.status in ("fail", "warning")) is bool(at), found.seen


@pytest.mark.parametrize("name", ["bootstrap of another network", "hardest negative"])
def test_a_watched_loop_does_not_hide_it(name: str) -> None:
    model = copy.deepcopy(Q)
    for step, bad in ((SICK[name][0], True), (values, False)):
        found = watched(("index_arithmetic",), model, PLAY, step)["index_arithmetic"]
        assert (found.status in ("fail", "warning")) is bad, found.seen


@pytest.mark.parametrize("place", [0, 1])
def test_both_networks_may_be_parts_of_one_model(place: int) -> None:
    found = of_step(lambda m, b: m(b, place), Agent())
    assert found.status == ("fail" if place else "pass"), found.seen


def test_a_network_of_several_parts() -> None:
    model = Dueling()
    assert of_step(by_argmax, model).status == "fail"
    assert of_step(values, model).status == "pass"


def test_a_loss_function_is_followed_too() -> None:
    def loss(out: torch.Tensor, target: torch.Tensor, place: int = 1) -> torch.Tensor:
        others = out.scatter(1, target[:, None], -1e3).max(1)[place]
        return F.relu(1 + others - out.gather(1, target[:, None])[:, 0]).mean()

    assert result_of("index_arithmetic", mlp(), (X, y), loss).status == "fail"
    found = result_of("index_arithmetic", mlp(), (X, y), lambda o, t: loss(o, t, 0))
    assert found.status == "pass"


def test_a_step_without_places_is_not_judged() -> None:
    found = result_of("index_arithmetic", mlp(out=1), regression(), nn.MSELoss())
    assert found.status == "not_applicable"


def test_the_step_gives_what_it_gives_without_the_check() -> None:
    seen = queue.SimpleQueue[float]()

    def step(m: Any, b: Any) -> Any:
        loss = bootstrap(m, b)
        seen.put(float(loss.detach()))
        return loss

    with nbd.Debugger(copy.deepcopy(Q), [PLAY], step_fn=step) as dbg:
        dbg.check("index_arithmetic")
    found = {seen.get_nowait() for _ in range(seen.qsize())}
    assert found == {float(bootstrap(Q, PLAY).detach())}
