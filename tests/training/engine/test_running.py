"""Run, pause, step, reset, interrupt, and failures."""

from __future__ import annotations

import _thread
import copy
import gc
import signal
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.core.commands.running import SetControl, WatchProbe
from tests.inside import queue_of, thread_of
from tests.problems import PlainLoop, blobs, images, same_weights, tiny_cnn, tiny_mlp


@pytest.fixture
def dbg() -> Iterator[nbd.Debugger]:
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), batch_size=32) as made:
        yield made


def plain(steps: int) -> nn.Module:
    model = tiny_mlp()
    PlainLoop(model, blobs(), torch.optim.Adam(model.parameters())).run(steps)
    return model


def watch_everything(dbg: nbd.Debugger) -> None:

    for name in ("activation_histogram", "gradient_histogram"):
        queue_of(dbg).put(WatchProbe(name, True))


def test_with_every_probe_on_weights_equal_those_of_a_plain_loop(dbg: nbd.Debugger) -> None:
    watch_everything(dbg)
    dbg.run(steps=200)
    assert same_weights(dbg.model, plain(200))
    assert {"activation/0", "gradient/4.weight"} <= set(dbg.history.snapshot().histograms)


def test_a_convolutional_network_equals_a_plain_loop() -> None:
    model, reference = tiny_cnn(), tiny_cnn()
    with nbd.Debugger(
        model, images(), nn.CrossEntropyLoss(), optimizer="adamw", batch_size=32
    ) as dbg:
        watch_everything(dbg)
        dbg.run(steps=60)
    loop = PlainLoop(reference, images(), torch.optim.AdamW(reference.parameters(), lr=1e-3))
    loop.run(60)
    assert same_weights(model, reference)


def test_run_for_epochs_ends_with_the_last_batch_of_one(dbg: nbd.Debugger) -> None:
    dbg.run(epochs=2)
    # 200 samples in batches of 32: seven steps per epoch.
    assert dbg.history.status.step == 14
    assert dbg.history.status.epoch == 2.0
    assert dbg.history.status.samples == 400


def test_the_batch_size_may_change_between_epochs(dbg: nbd.Debugger) -> None:
    dbg.run(epochs=1)
    dbg.set(batch_size=100)
    dbg.run(epochs=1)
    assert dbg.history.status.step == 9


def test_start_returns_at_once_and_pause_stops_between_steps(dbg: nbd.Debugger) -> None:
    dbg.start()
    assert dbg.history.wait_until(lambda status: status.step >= 5, timeout=60)
    assert dbg.state == "running"
    dbg.pause()
    step = dbg.history.status.step
    assert dbg.state == "paused"
    assert same_weights(dbg.model, plain(step))


def test_a_paused_run_goes_on_as_if_it_had_not_been_paused(dbg: nbd.Debugger) -> None:
    dbg.run(steps=7)
    torch.randn(5)
    dbg.step()
    dbg.step(2)
    torch.manual_seed(3)
    dbg.run(steps=10)
    assert same_weights(dbg.model, plain(20))


def test_training_leaves_the_random_numbers_of_other_cells_alone(dbg: nbd.Debugger) -> None:
    torch.manual_seed(1)
    expected = torch.randn(3)
    torch.manual_seed(1)
    dbg.run(steps=5)
    assert torch.equal(torch.randn(3), expected)


def test_reset_goes_back_to_the_beginning(dbg: nbd.Debugger) -> None:
    dbg.run(steps=9)
    dbg.set(lr=0.3, dropout=0.0, optimizer="sgd", batch_size=10, clip_mode="value")
    dbg.run(steps=9)
    dbg.reset()
    assert same_weights(dbg.model, tiny_mlp())
    assert dbg.controls["lr"] == 1e-3
    assert dbg.controls["optimizer"] == "adam"
    assert dbg.history.status.step == 0
    assert dbg.history.series == ()
    dbg.run(steps=20)
    assert same_weights(dbg.model, plain(20))


def test_reset_restores_a_schedule() -> None:
    def halve(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        return torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)

    with nbd.Debugger(
        tiny_mlp(), blobs(), nn.CrossEntropyLoss(), optimizer="sgd", lr=0.1, schedule=halve
    ) as dbg:
        dbg.run(steps=3)
        dbg.set(lr=1.0)
        dbg.reset()
        dbg.run(steps=4)
        assert dbg.history.frame("lr")["lr"].tolist() == [0.1, 0.05, 0.025, 0.0125]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl+C works, also where the tests run in the background and it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_pauses_and_leaves_a_session_that_goes_on(dbg: nbd.Debugger) -> None:
    def interrupt() -> None:
        dbg.history.wait_until(lambda status: status.step >= 3)
        _thread.interrupt_main()

    helper = threading.Thread(target=interrupt)
    helper.start()
    with pytest.raises(KeyboardInterrupt):
        dbg.run(steps=10_000_000)
    helper.join()
    assert dbg.state == "paused"
    step = dbg.history.status.step
    dbg.run(steps=5)
    assert same_weights(dbg.model, plain(step + 5))


class Fragile(nn.Module):
    """A model whose forward raises while `broken`."""

    def __init__(self) -> None:
        super().__init__()
        self.net = tiny_mlp()
        self.broken = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.net(x)
        if self.broken:
            raise RuntimeError("a <b>wrong</b> turn")
        return y


def test_an_exception_in_forward_pauses_and_training_goes_on_when_it_is_mended() -> None:
    model = Fragile()
    with nbd.Debugger(model, blobs(), nn.CrossEntropyLoss(), batch_size=32) as dbg:
        dbg.run(steps=5)
        model.broken = True
        before = copy.deepcopy(dict(model.net.named_parameters()))
        with pytest.raises(RuntimeError, match="a <b>wrong</b> turn"):
            dbg.run(steps=5)
        assert dbg.state == "paused"
        assert dbg.failure is not None
        assert "RuntimeError" in dbg.failure.title
        assert "in forward" in dbg.failure.traceback
        assert all(torch.equal(p, before[n]) for n, p in model.net.named_parameters())
        model.broken = False
        dbg.run(steps=5)
        assert dbg.failure is None
        assert dbg.history.status.step == 10
        # The failed batch was retried with the same random numbers.
        reference = plain(10)
        for name, parameter in model.net.named_parameters():
            assert torch.equal(parameter, dict(reference.named_parameters())[name])


def test_an_exception_in_the_loss_is_the_users_own() -> None:
    def loss_fn(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError("mine")

    with nbd.Debugger(tiny_mlp(), blobs(), loss_fn) as dbg:
        with pytest.raises(ZeroDivisionError, match="mine"):
            dbg.run(steps=1)
        assert dbg.history.status.step == 0


def test_a_loss_that_is_not_finite_stops_before_the_update() -> None:
    X, y = blobs()
    X[17, 3] = float("nan")
    model = tiny_mlp()
    with nbd.Debugger(model, (X, y), nn.CrossEntropyLoss(), batch_size=20) as dbg:
        with pytest.raises(nbd.NonFiniteError, match="input"):
            dbg.run(epochs=1)
        assert dbg.failure is not None
        assert all(torch.isfinite(p).all() for p in model.parameters())
        stopped = dbg.history.status.step
        dbg.run(steps=1)
        assert dbg.history.status.step == stopped + 1


def test_a_gradient_that_is_not_finite_names_the_parameter() -> None:
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sqrt(self.scale) * x.sum()

    data = (torch.ones(8, 2), torch.zeros(8))
    model = Root()
    with nbd.Debugger(model, data, lambda outputs, targets: outputs.sum()) as dbg:
        with pytest.raises(nbd.NonFiniteError, match="scale"):
            dbg.run(steps=1)
        assert model.scale.item() == 0.0


def test_commands_put_together_take_the_last_value(dbg: nbd.Debugger) -> None:
    dbg.start()
    for value in (0.1, 0.2, 0.3):
        queue_of(dbg).put(SetControl("lr", value, "dashboard"))
    dbg.pause()
    changes = dbg.changes
    assert dbg.controls["lr"] == 0.3
    assert changes["new"].tolist() == [0.1, 0.2, 0.3]
    assert changes["status"].iloc[-1] == "applied"
    assert set(changes["status"]) <= {"applied", "superseded"}


def test_a_change_is_written_down(dbg: nbd.Debugger) -> None:
    dbg.run(steps=3)
    dbg.set(lr=0.5, why="plateau")
    change = dbg.history.changes[-1]
    assert (change.step, change.samples, change.control) == (3, 96, "lr")
    assert (change.old, change.new, change.why) == (1e-3, 0.5, "plateau")
    assert (change.who, change.status) == ("api", "applied")


def test_closing_ends_the_thread_and_may_be_done_twice() -> None:
    before = threading.active_count()
    dbg = nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss())
    dbg.start()
    dbg.close()
    dbg.close()
    assert threading.active_count() == before
    with pytest.raises(nbd.ClosedError):
        dbg.start()


def test_a_debugger_that_is_let_go_leaves_no_thread() -> None:
    dbg = nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss())
    thread, alive = thread_of(dbg), weakref.ref(dbg)
    dbg.start()
    del dbg
    gc.collect()
    assert alive() is None
    thread.join(30)
    assert not thread.is_alive()


def test_twenty_debuggers_on_one_model_leave_no_hook() -> None:
    model = tiny_mlp()
    for _ in range(20):
        with nbd.Debugger(model, blobs(), nn.CrossEntropyLoss()) as dbg:
            dbg.run(steps=2)
    assert sum(len(module._forward_hooks) for module in model.modules()) == 0


@pytest.mark.parametrize(
    "amount",
    [
        {},
        {"steps": 1, "epochs": 1},
        {"steps": 2.5},
        {"steps": -1},
        {"steps": "3"},
        {"steps": True},
        {"epochs": -1},
        {"epochs": float("nan")},
        {"epochs": "1"},
    ],
)
def test_how_long_to_run_must_be_said_clearly(dbg: nbd.Debugger, amount: dict[str, Any]) -> None:
    with pytest.raises(nbd.ArgumentError, match=r"steps|epochs"):
        dbg.run(**amount)
    assert dbg.history.status.step == 0
