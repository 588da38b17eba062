"""The learning-rate range test: its result, and an unchanged training."""

from __future__ import annotations

import copy
import queue
import random
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, SubsetRandomSampler, TensorDataset

import nbdebug as nbd
from nbdebug.core.results.lr_range_test import LrRangeTest
from nbdebug.training.engine.session import Session
from tests.contract.test_controls import same
from tests.hidden import count_up
from tests.inside import queue_of, session_of
from tests.problems import PlainLoop, blobs, same_weights, tiny_mlp

X, y = blobs()


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(zip(X, y, strict=True))


class Noisy(TensorDataset):
    """Data augmented with every global generator."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        x, target = super().__getitem__(index)
        noise = random.random() + np.random.rand() + torch.rand(())
        return x + 0.01 * noise, target


DATA: dict[str, Any] = {
    "tensors": lambda: (X, y),
    "augmented": lambda: Noisy(X, y),
    "own sampler": lambda: DataLoader(
        TensorDataset(X, y), batch_size=32, sampler=SubsetRandomSampler(range(150))
    ),
    "workers": lambda: DataLoader(TensorDataset(X, y), batch_size=32, num_workers=1, shuffle=True),
    "stream": lambda: DataLoader(Stream(), batch_size=32),
}


def debugger(data: Any = None, **arguments: Any) -> nbd.Debugger:
    model = tiny_mlp()
    groups = [
        {"params": model[0].parameters(), "lr": 0.02},
        {"params": [*model[1].parameters(), *model[4].parameters()], "lr": 0.01},
    ]
    return nbd.Debugger(
        model,
        (X, y) if data is None else data,
        nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(groups),
        batch_size=32,
        **arguments,
    )


def seed() -> None:
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)


def all_of(dbg: nbd.Debugger) -> dict[str, Any]:
    """Every number that training moves."""
    session: Session = session_of(dbg)
    return {
        "weights": copy.deepcopy(session.model.state_dict()),
        "gradients": [None if p.grad is None else p.grad.clone() for p in dbg.model.parameters()],
        "modes": [module.training for module in dbg.model.modules()],
        "optimizer": copy.deepcopy(session.optimizer.state_dict()),
        "schedule": [copy.deepcopy(s.state_dict()) for s in session.schedule.schedulers],
        "rng": session.rng.position().cpu.clone(),
        "global": [torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()],
        "counters": (session.step, session.samples, session.epoch, session.skipped),
        "norms": (list(session.clipping.window.recent), list(session.clipping.window.ascending)),
        "scale": None if session.scaler is None else session.scaler.state_dict(),
        "rows": dbg.history.frame(RECORDED_EVERY_STEP).to_numpy().tolist(),
        "controls": dict(dbg.controls),
        "changes": len(dbg.history.changes),
    }


# Other series are measured only if the budget allows.
RECORDED_EVERY_STEP = [
    "loss",
    "grad_norm",
    "grad_norm_clipped",
    "lr",
    "batch_size",
    "samples",
    "epoch",
]


@pytest.mark.parametrize("before", [0, 13])
@pytest.mark.parametrize("name", DATA)
def test_training_notices_nothing(name: str, before: int) -> None:
    def train(tested: bool) -> tuple[dict[str, Any], torch.Tensor]:
        seed()
        with debugger(DATA[name](), schedule="cosine", warmup_steps=3, clip_mode="norm") as dbg:
            # At least one step, so that there are rows to compare.
            dbg.run(steps=max(before, 1))
            if tested:
                first = all_of(dbg)
                found = dbg.lr_range_test(steps=30)
                assert len(found.lr) > 5
                if name not in ("workers", "stream", "own sampler"):
                    assert same(first, all_of(dbg))
            dbg.run(steps=20)
            return all_of(dbg), torch.rand(3)

    (with_test, after), (without, expected) = train(True), train(False)
    assert same(with_test, without)
    assert torch.equal(after, expected)


def test_before_the_first_step() -> None:
    with debugger() as dbg:
        dbg.lr_range_test(steps=20)
        dbg.run(steps=25)
        rates = dbg.history.frame("lr")["lr"]
    reference = tiny_mlp()
    groups = [
        {"params": reference[0].parameters(), "lr": 0.02},
        {"params": [*reference[1].parameters(), *reference[4].parameters()], "lr": 0.01},
    ]
    PlainLoop(reference, (X, y), torch.optim.Adam(groups)).run(25)
    assert same_weights(dbg.model, reference)
    assert set(rates) == {0.02}


def test_the_curve_is_that_of_a_loop_by_hand() -> None:
    rates = np.geomspace(1e-5, 1.0, 40)

    def at(step: int) -> Any:
        def edit(loop: PlainLoop) -> None:
            loop.optimizer.param_groups[0]["lr"] = float(rates[step])

        return edit

    reference = tiny_mlp()
    loop = PlainLoop(
        reference,
        (X, y),
        torch.optim.SGD(reference.parameters(), lr=0.1, momentum=0.9),
        at={step: at(step) for step in range(40)},
    )
    loop.run(40)
    model = tiny_mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with nbd.Debugger(
        model, (X, y), nn.CrossEntropyLoss(), optimizer=optimizer, batch_size=32
    ) as dbg:
        found = dbg.lr_range_test(1e-5, 1.0, 40)
    made = len(found.lr)
    assert made > 20
    assert found.lr.tolist() == rates[:made].tolist()
    assert found.loss.tolist() == loop.losses[:made]
    weights = 0.98 ** np.arange(made)[::-1]
    by_hand = [np.average(found.loss[: n + 1], weights=weights[-n - 1 :]) for n in range(made)]
    assert found.smoothed == pytest.approx(by_hand)


def made(loss: list[float], steps: int = 0) -> LrRangeTest:
    lr = np.geomspace(1e-4, 1.0, len(loss)) if loss else np.empty(0)
    values = np.array(loss)
    return LrRangeTest(lr, values, values, steps or len(loss), "it <ended>.")


def test_the_suggestion_is_the_steepest_descent() -> None:
    loss = [1.0] * 12 + [0.9, 0.5, 0.4] + [0.4] * 9
    found = made(loss)
    assert found.suggestion == found.lr[12]
    assert f"dbg.set(lr={found.lr[12]:.3g})" in repr(found)
    assert "it &lt;ended&gt;" in found._repr_html_()
    assert found.frame().columns.tolist() == ["lr", "loss", "smoothed"]
    assert len(found.frame()) == len(loss)


@pytest.mark.parametrize("length", [0, 1, 3, 4, 6, 40])
def test_no_suggestion_when_the_loss_never_falls(length: int) -> None:
    found = made([1.0 + 0.1 * n for n in range(length)], 40)
    assert found.suggestion is None
    assert "never falls" in repr(found)


def test_the_remedy_can_be_taken() -> None:
    with debugger() as dbg:
        found = dbg.lr_range_test()
        assert found.suggestion is not None
        dbg.set(lr=found.suggestion)
        assert dbg.controls["lr"] == found.suggestion
        assert dbg.history.results.of(LrRangeTest) is found


def test_it_ends_when_the_loss_explodes_or_is_not_finite() -> None:
    model = nn.Linear(12, 4)

    def squares(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (outputs**2).mean()

    for low, high, said in ((1e-3, 1e3, "4 times its best"), (1e28, 1e30, "NaN or Inf")):
        with nbd.Debugger(model, (X, y), squares, optimizer="sgd") as dbg:
            before = copy.deepcopy(model.state_dict())
            found = dbg.lr_range_test(low, high, steps=50)
            assert said in found.ended
            assert len(found.lr) < 50
            assert np.isfinite(found.loss).all()
            assert same(before, model.state_dict())
            assert dbg.failure is None


def test_a_negative_loss_is_swept_too() -> None:
    def loss_fn(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs, targets) - 10.0

    with nbd.Debugger(tiny_mlp(), (X, y), loss_fn, batch_size=32) as dbg:
        assert len(dbg.lr_range_test(1e-6, 1e-2, 30).lr) == 30


def test_while_it_runs_training_goes_on() -> None:
    with debugger() as dbg:
        dbg.start()
        dbg.history.wait_until(lambda status: status.step >= 5)
        dbg.lr_range_test(steps=15)
        assert dbg.state == "running"
        there = dbg.history.status.step
        assert dbg.history.wait_until(lambda status: status.step > there, timeout=60)
        dbg.pause()
        steps = dbg.history.status.step
        frame = dbg.history.frame(["lr", "loss"])
    assert frame.index[-1] == steps - 1
    assert len(frame) == steps or steps > 2048
    assert set(frame["lr"]) == {0.02}
    reference = tiny_mlp()
    groups = [
        {"params": reference[0].parameters(), "lr": 0.02},
        {"params": [*reference[1].parameters(), *reference[4].parameters()], "lr": 0.01},
    ]
    PlainLoop(reference, (X, y), torch.optim.Adam(groups)).run(steps)
    assert same_weights(dbg.model, reference)


class Slow(nn.Module):
    """A model that tells the test that a sweep is running, and waits for the test."""

    def __init__(self) -> None:
        super().__init__()
        self.net = tiny_mlp()
        self.began, self.go_on = threading.Event(), threading.Event()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.began.set()
        self.go_on.wait(60)
        out: torch.Tensor = self.net(x)
        return out


@pytest.mark.parametrize("close", [False, True])
def test_pause_and_close_end_it(close: bool) -> None:
    from nbdebug.core.commands.running import Close, Pause

    model = Slow()
    with nbd.Debugger(model, (X, y), nn.CrossEntropyLoss()) as dbg:
        before = copy.deepcopy(model.net.state_dict())
        found: list[LrRangeTest] = []
        thread = threading.Thread(target=lambda: found.append(dbg.lr_range_test(steps=1000)))
        thread.start()
        assert model.began.wait(60)
        queue_of(dbg).put(Close() if close else Pause())
        model.go_on.set()
        thread.join(60)
        assert found[0].ended == "the sweep was stopped."
        assert len(found[0].lr) == 1
        assert same(before, model.net.state_dict())


def test_an_exception_is_the_users_own_and_leaves_no_trace() -> None:
    calls = queue.SimpleQueue[None]()

    def loss_fn(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if count_up(calls) == 11:
            raise ZeroDivisionError("mine")
        return nn.functional.cross_entropy(outputs, targets)

    model = tiny_mlp()
    with nbd.Debugger(model, (X, y), loss_fn, batch_size=32) as dbg:
        with pytest.raises(ZeroDivisionError, match="mine"):
            dbg.lr_range_test(steps=30)
        assert same_weights(model, tiny_mlp())
        assert dbg.state == "paused"
        assert "range test failed" in dbg.history.notices[-1].title
        dbg.run(steps=20)
    reference = tiny_mlp()
    PlainLoop(reference, (X, y), torch.optim.Adam(reference.parameters())).run(20)
    assert same_weights(model, reference)


@pytest.mark.parametrize(
    "values",
    [
        {"low": 0.0},
        {"low": -1.0},
        {"low": "small"},
        {"high": float("inf")},
        {"high": float("nan")},
        {"low": 1.0, "high": 1.0},
        {"steps": 9},
        {"steps": 2.5},
        {"steps": True},
        {"steps": 10_001},
    ],
    ids=str,
)
def test_ends_and_steps_must_make_sense(values: dict[str, Any]) -> None:
    with debugger() as dbg, pytest.raises(nbd.ArgumentError, match=next(iter(values))):
        dbg.lr_range_test(**values)


def test_closed() -> None:
    dbg = debugger()
    dbg.close()
    with pytest.raises(nbd.ClosedError):
        dbg.lr_range_test()


def test_a_batch_that_waits_to_be_tried_again_still_does() -> None:
    calls = queue.SimpleQueue[None]()

    def loss_fn(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if count_up(calls) == 5:
            raise ZeroDivisionError("mine")
        return nn.functional.cross_entropy(outputs, targets)

    model = tiny_mlp()
    with nbd.Debugger(model, (X, y), loss_fn, batch_size=32) as dbg:
        with pytest.raises(ZeroDivisionError):
            dbg.run(steps=20)
        assert "NaN or Inf" in dbg.lr_range_test(1e37, 3e38, steps=30).ended
        dbg.run(steps=15)
    reference = tiny_mlp()
    PlainLoop(reference, (X, y), torch.optim.Adam(reference.parameters())).run(20)
    assert same_weights(model, reference)
