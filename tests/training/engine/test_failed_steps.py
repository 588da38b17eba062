"""A step that fails is undone wholly: afterwards all is as if it had never begun."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from tests.hidden import count_up
from tests.problems import PlainLoop, same_weights
from tests.training.stateful_models import ASIDE, CLASSES, FEATURES, STATES, LazyState

N, BATCH, STEPS = 96, 16, 9
DATA = torch.Generator().manual_seed(5)
X = torch.randn(N, FEATURES, generator=DATA)
Y = torch.randint(0, CLASSES, (N,), generator=DATA)


class Rebound(nn.Module):
    """A running mean in a buffer that each forward binds again, and a count in another."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(FEATURES, CLASSES)
        self.mean: torch.Tensor
        self.count: torch.Tensor
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
            self.count += 1
        return self.layer(x - self.mean) * (1.0 + 0.01 * (self.count % 5))


class Modes(nn.Module):
    """A forward that switches a layer to eval mode and back."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.drop = nn.Linear(FEATURES, CLASSES), nn.Dropout(0.5)
        self.steps = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.steps += 1
        self.drop.train(self.steps % 3 > 0)
        return self.layer(self.drop(x))


def norm_net() -> nn.Module:
    return nn.Sequential(
        nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, CLASSES)
    )


MODELS: dict[str, Callable[[], nn.Module]] = {
    **STATES, **ASIDE, "made lazily": LazyState, "rebound buffers": Rebound, "modes": Modes,
    "BatchNorm and Dropout": norm_net,
}  # fmt: skip


def built(kind: str) -> nn.Module:
    torch.manual_seed(0)
    return MODELS[kind]()


def bare(kind: str, steps: int = STEPS) -> nn.Module:
    model = built(kind)
    PlainLoop(model, (X, Y), torch.optim.Adam(model.parameters(), 1e-3), BATCH).run(steps)
    return model


def fails_at(*calls: int) -> Callable[[Any, Any], torch.Tensor]:
    """A loss that raises in some of its calls, counted from 0."""
    count = queue.SimpleQueue[None]()

    def loss_fn(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if count_up(count) in calls:
            raise OSError("the network was away for a moment")
        return nn.functional.cross_entropy(outputs, targets)

    return loss_fn


def ran(dbg: nbd.Debugger, steps: int = STEPS) -> int:
    """Run up to a step, pressing Run after every failure; returns the number of failures."""
    failures = 0
    while dbg.history.status.step < steps and failures < 9:
        try:
            dbg.run(steps=steps - dbg.history.status.step)
        except (OSError, RuntimeError):
            failures += 1
    return failures


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("calls", [(0,), (2, 3, 8)], ids=str)
def test_a_loss_that_fails_once_leaves_no_trace(kind: str, calls: tuple[int, ...]) -> None:
    with nbd.Debugger(built(kind), (X, Y), fails_at(*calls), batch_size=BATCH, overhead=0) as dbg:
        assert ran(dbg) == len(calls)
        assert same_weights(dbg.model, bare(kind))
        assert dbg.history.status.samples == STEPS * BATCH
        assert dbg.timeline.replay().equal


@pytest.mark.parametrize("kind", ["a number", "a list", "rebound buffers", "an object"])
def test_a_batch_with_nan_that_is_excluded_leaves_no_trace_in_the_model(kind: str) -> None:
    calls = queue.SimpleQueue[None]()

    def loss_fn(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss = nn.functional.cross_entropy(outputs, targets)
        return loss * torch.nan if count_up(calls) == 3 else loss

    with nbd.Debugger(
        built(kind), (X, Y), loss_fn, batch_size=BATCH, not_finite="exclude", overhead=0
    ) as dbg:
        dbg.run(steps=3)
        before = {name: value.clone() for name, value in dbg.model.state_dict().items()}
        dbg.run(steps=1)
        assert all(torch.isfinite(value).all() for value in dbg.model.state_dict().values())
        assert dbg.history.status.step == 4
        assert any(not torch.equal(before[n], v) for n, v in dbg.model.state_dict().items())


def test_statistics_that_are_tracked_later_are_protected_too() -> None:
    data = X.clone()
    data[7] = torch.nan
    torch.manual_seed(0)
    with nbd.Debugger(
        norm_net(), (data, Y), nn.CrossEntropyLoss(), batch_size=BATCH,
        not_finite="exclude", bn_statistics="freeze",
    ) as dbg:  # fmt: skip
        dbg.run(steps=8)
        dbg.set(bn_statistics="track")
        dbg.run(steps=20)
        assert all(torch.isfinite(value).all() for value in dbg.model.state_dict().values())


class CountsDown(nn.Module):
    """A forward whose own state decides that it fails, once or for ever."""

    def __init__(self, left: Any, hidden: bool = False) -> None:
        super().__init__()
        self.layer, self.left, self.hidden = nn.Linear(FEATURES, CLASSES), left, hidden
        self.seen: list[float] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(0.01)
        if isinstance(self.left, list):
            self.left[0] -= 1
        else:
            self.left -= 1
        over = (self.left[0] if isinstance(self.left, list) else self.left) == 0
        if self.hidden and over:
            raise RuntimeError("a call too many")
        if (self.left[0] if isinstance(self.left, list) else self.left) == 0:
            raise RuntimeError("a call too many")
        return self.layer(x) * (1.0 + sum(self.seen[-20:]))


class Fuse:
    """A helper object that raises once."""

    def __init__(self, calls: int) -> None:
        self.calls = calls

    def check(self) -> None:
        self.calls -= 1
        if self.calls == 0:
            raise RuntimeError("a call too many")


class WithFuse(CountsDown):
    """A forward that calls a helper object."""

    def __init__(self, calls: int) -> None:
        super().__init__(-1)
        self.fuse = Fuse(calls)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs = super().forward(x)
        self.fuse.check()
        return outputs


@pytest.mark.parametrize(
    ("make", "failures"),
    [
        (lambda: CountsDown([5]), 1), (lambda: CountsDown(5), 1), (lambda: WithFuse(5), 1),
        (lambda: CountsDown([5], hidden=True), 4), (lambda: CountsDown(5, hidden=True), 5),
    ],
    ids=["a list", "a number", "a helper object", "a list, not seen", "a number, not seen"],
)  # fmt: skip
def test_a_failure_that_depends_on_the_state_itself_is_passed(
    make: Callable[[], nn.Module], failures: int
) -> None:
    torch.manual_seed(0)
    model = make()
    with nbd.Debugger(model, (X, Y), nn.CrossEntropyLoss(), batch_size=BATCH, overhead=0) as dbg:
        assert ran(dbg) == failures
        titles = [notice.title for notice in dbg.history.notices]
        hint = ["A failure that may depend on the model's own state"]
        assert titles == (hint if failures > 1 else [])
        torch.manual_seed(0)
        plain = CountsDown(-1)
        PlainLoop(plain, (X, Y), torch.optim.Adam(plain.parameters(), 1e-3), BATCH).run(STEPS)
        if failures == 1:
            assert same_weights(model, plain)
        assert dbg.timeline.replay().equal
