"""Loops that end early, raise, meet NaN or nest are told in clear words, and nothing hangs."""

from __future__ import annotations

import gc
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.nn import functional

import nbdebug as nbd
from nbdebug.debugger.own_loop.watch import Watch
from nbdebug.model.state.bits import bitwise_equal
from nbdebug.training.own_loop import loop_body
from tests.hidden import unreached_list
from tests.training.own_loop.loops import OwnLoop
from tools.jupyterlab_driver import until


@pytest.fixture
def loop() -> OwnLoop:
    return OwnLoop()


@pytest.fixture
def dbg(loop: OwnLoop) -> Iterator[Watch]:
    with nbd.watch(loop.model, loop.optimizer) as made:
        yield made


def one_step(loop: OwnLoop, batch: Any, scale: float = 1.0) -> None:
    x, y = batch
    loop.optimizer.zero_grad()
    loss = functional.mse_loss(loop.model(x) * scale, y)
    loss.backward()
    loop.optimizer.step()
    loop.losses.append(loss.item())


def test_an_exception_of_the_loop_is_the_users_own(loop: OwnLoop, dbg: Watch) -> None:
    def raises() -> None:
        for number, batch in enumerate(dbg.batches(loop.loader)):
            one_step(loop, batch)
            assert number < 3

    with pytest.raises(AssertionError):
        raises()
    assert dbg.wait(10)
    assert dbg.history.status.step == 4
    dbg.set(lr=1e-3)
    # As with any loop, it begins a new pass.
    for batch in dbg.batches(loop.loader):
        one_step(loop, batch)
    assert dbg.wait(10)
    assert dbg.history.status.step == 10
    assert loop.optimizer.param_groups[0]["lr"] == 1e-3


def test_an_exception_before_the_update_undoes_the_step(loop: OwnLoop, dbg: Watch) -> None:
    def ends(number: int) -> None:
        for at, (x, y) in enumerate(dbg.batches(loop.loader)):
            functional.mse_loss(loop.model(x), y).backward()
            if at == number:
                raise KeyError("mine")
            loop.optimizer.step()

    with pytest.raises(KeyError):
        ends(2)
    assert dbg.wait(10)
    assert dbg.history.status.step == 2


def test_a_loop_in_a_function_of_a_thread_tells_its_exception(loop: OwnLoop, dbg: Watch) -> None:
    def raises() -> None:
        for batch in dbg.batches(loop.loader):
            one_step(loop, batch)
            raise ValueError("mine")

    raised: list[Any] = []
    threading.excepthook = raised.append
    try:
        dbg.run(raises)
        assert until(lambda: raised, "the exception")
    finally:
        threading.excepthook = threading.__excepthook__
    assert dbg.history.status.step == 1
    assert [type(one.exc_value) for one in raised] == [ValueError]


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda batches: batches,
        enumerate,
        lambda batches: (batch for batch in batches),
        lambda batches: itertools.islice(batches, 5),
        lambda batches: map(tuple, batches),
        lambda batches: zip(batches, range(5), strict=False),
    ],
)
def test_a_loop_over_wrapped_batches_is_followed(
    loop: OwnLoop, dbg: Watch, wrapped: Callable[[Any], Any]
) -> None:
    steps = 0
    for one in wrapped(dbg.batches(loop.loader)):
        batch = (
            one
            if isinstance(one[0], torch.Tensor)
            else next(b for b in one if isinstance(b, list | tuple))
        )
        one_step(loop, batch)
        steps += 1
    del one
    assert dbg.history.wait_until(lambda status: status.step == steps, 10)
    dbg.set(clip_mode="norm")


def test_nan_leaves_the_update_out_and_pauses(loop: OwnLoop, dbg: Watch) -> None:
    def sick() -> None:
        for number, batch in enumerate(dbg.batches(loop.loader)):
            one_step(loop, batch, float("nan") if number == 2 else 1.0)

    dbg.run(sick)
    assert dbg.wait(10)
    assert dbg.failure is not None
    assert dbg.failure.kind == "non_finite"
    assert all(torch.isfinite(p).all() for p in loop.model.parameters())
    with pytest.raises(nbd.LoopLeft):
        dbg.run(steps=100)
    assert dbg.history.status.step == 5


def test_nested_batches_are_refused(loop: OwnLoop, dbg: Watch) -> None:
    def nests() -> None:
        for _ in dbg.batches(loop.loader):
            for batch in dbg.batches(loop.loader):
                one_step(loop, batch)

    with pytest.raises(nbd.LoopLeft, match="inside of another"):
        nests()


def test_a_closed_watch_is_refused(loop: OwnLoop, dbg: Watch) -> None:
    step = loop.optimizer.step
    dbg.close()
    with pytest.raises(nbd.ClosedError):
        next(iter(dbg.batches(loop.loader)))
    assert loop.optimizer.step == step


def test_a_loop_that_logs_after_the_end_of_its_watch_ends_quietly(
    loop: OwnLoop, dbg: Watch
) -> None:
    closed = threading.Event()

    def logs() -> None:
        for batch in dbg.batches(loop.loader):
            one_step(loop, batch)
        closed.wait(10)
        dbg.log(val_error=1.0)

    dbg.run(logs)
    dbg.close()
    closed.set()
    assert until(
        lambda: not [t for t in threading.enumerate() if t.name == "nbdebug-loop"], "the end"
    )


def test_closing_lets_the_loop_end(loop: OwnLoop, dbg: Watch) -> None:
    def endless() -> None:
        for _ in dbg.epochs(10**9):
            for batch in dbg.batches(loop.loader):
                one_step(loop, batch)

    before = threading.active_count()
    dbg.run(endless)
    dbg.close()
    for thread in threading.enumerate():
        if thread.name == "nbdebug-loop":
            thread.join(10)
            assert not thread.is_alive()
    assert threading.active_count() <= before


def test_a_command_that_needs_steps_is_refused_in_the_loop(loop: OwnLoop, dbg: Watch) -> None:
    for batch in dbg.batches(loop.loader):
        one_step(loop, batch)
        dbg.set(lr=2e-3)
        for verb in (dbg.replay, lambda: dbg.fork(2, lr=[1e-3]), lambda: dbg.rewind(0), dbg.check):
            with pytest.raises(nbd.NbdebugError):
                verb()
        with pytest.raises(nbd.NbdebugError):
            dbg.run(steps=1)
    assert dbg.wait(10)
    assert dbg.controls["lr"] == 2e-3


def test_epochs_without_batches_are_refused(dbg: Watch) -> None:
    with pytest.raises(nbd.ArgumentError, match="batches"):
        for _ in dbg.epochs(3):
            pass


def test_an_iterator_is_read_once(loop: OwnLoop, dbg: Watch) -> None:
    batches = [(torch.randn(4, 8), torch.randn(4, 1)) for _ in range(6)]

    def reads() -> None:
        for batch in dbg.batches(iter(batches)):
            one_step(loop, batch)

    dbg.break_when("step >= 3")
    dbg.run(reads)
    assert dbg.wait(10)
    with pytest.raises(nbd.NbdebugError, match="cannot be read twice"):
        dbg.rewind(1)
    assert dbg.history.status.step == 3


def test_a_loop_without_an_update_says_so(loop: OwnLoop, dbg: Watch) -> None:
    def looks() -> None:
        for _ in dbg.epochs(10**9):
            for x, _ in dbg.batches(loop.loader):
                loop.model(x)

    dbg.run(looks)
    assert dbg.wait(20)
    assert dbg.failure is not None
    assert "without an update" in dbg.failure.text


def test_values_that_the_loop_logs_are_series(loop: OwnLoop, dbg: Watch) -> None:
    for epoch in dbg.epochs(3):
        for batch in dbg.batches(loop.loader):
            one_step(loop, batch)
            dbg.log(error=torch.tensor(0.5), loss=2.0)
        dbg.log(val_accuracy=epoch / 10)
    assert dbg.wait(10)
    assert dbg.history.frame("error")["error"].tolist() == [0.5] * 18
    assert dbg.history.frame("loss")["loss"].tolist() == [2.0] * 18
    held_out = dbg.history.frame("val_accuracy")["val_accuracy"].dropna()
    assert held_out.to_dict() == {5: 0.0, 11: 0.1, 17: 0.2}
    with pytest.raises(nbd.ArgumentError, match="measured by nbdebug"):
        dbg.log(grad_norm=1.0)


@pytest.mark.parametrize("given", [{}, {"loss": lambda model, batch: model(batch[0]).sum()}])
def test_accuracy_is_what_the_loop_logs(loop: OwnLoop, given: dict[str, Any]) -> None:
    dbg = nbd.watch(loop.model, loop.optimizer, runs=None, **given)
    for batch in dbg.batches(loop.loader):
        one_step(loop, batch)
        dbg.log(accuracy=0.5, val_accuracy=0.25)
    dbg.leave()
    found = dbg.history.frame(["accuracy", "val_accuracy"])
    assert found.iloc[-1].tolist() == [0.5, 0.25]
    dbg.close()


def test_what_is_logged_on_trial_is_left_out(loop: OwnLoop, dbg: Watch) -> None:
    # A list of the loop's own would be put back, and so would an attribute of an object.
    held = unreached_list()

    def logs() -> None:
        for _ in dbg.epochs(4):
            for batch in dbg.batches(loop.loader):
                one_step(loop, batch)
                dbg.log(error=1.0)
                held.result().append(dbg.on_trial)
            dbg.log(val_error=1.0)

    dbg.break_when("step >= 15")
    dbg.run(logs)
    assert dbg.wait(10)
    assert held.result().count(True) == 0
    held.result().clear()
    assert dbg.replay().equal
    assert held.result() == [True] * 15
    assert dbg.history.frame("error")["error"].count() == 15
    dbg.rewind(3)
    dbg.run(steps=2)
    assert dbg.replay().equal


def test_a_loop_without_data_makes_a_step_inside_of_with(loop: OwnLoop, dbg: Watch) -> None:
    x, y = next(iter(loop.loader))

    def trains() -> None:
        for _ in range(12):
            with dbg.step():
                one_step(loop, (x, y))

    dbg.break_when("step >= 8")
    dbg.run(trains)
    assert dbg.wait(10)
    # A step that cannot be repeated is made, and training pauses after it.
    assert dbg.history.status.step == 9
    dbg.clear_breakpoints()
    for verb in (lambda: dbg.rewind(2), dbg.replay, lambda: dbg.fork(2, lr=[1e-3])):
        with pytest.raises(nbd.NbdebugError, match=r"without batches\(\)"):
            verb()
    dbg.step(2)
    assert dbg.history.status.step == 11
    with pytest.raises(nbd.LoopLeft):
        dbg.run(steps=10)
    assert dbg.history.status.step == 12


def test_a_loop_is_ended_from_outside(loop: OwnLoop, dbg: Watch) -> None:
    def endless() -> None:
        while True:
            for batch in dbg.batches(loop.loader):
                one_step(loop, batch)

    dbg.run(endless)
    dbg.end_loop()
    assert until(
        lambda: not [t for t in threading.enumerate() if t.name == "nbdebug-loop"], "the end"
    )
    dbg.run(lambda: [one_step(loop, batch) for batch in dbg.batches(loop.loader)])
    assert dbg.wait(10)


def test_a_short_loop_without_an_update_says_so() -> None:
    loop, other = OwnLoop(), OwnLoop()
    with nbd.watch(loop.model, torch.optim.SGD(loop.model.parameters(), lr=0.1)) as dbg:
        dbg.run(lambda: [one_step(other, batch) for batch in dbg.batches(other.loader)])
        assert dbg.wait(10)
        assert dbg.failure is not None
        assert "6 batches without an update" in dbg.failure.text


def test_torch_is_as_it_was_between_steps_and_after_it() -> None:
    before = torch.autograd.backward, torch.nn.utils.clip_grad_norm_, torch.optim.Adam.step
    loop = OwnLoop()
    with nbd.watch(loop.model, loop.optimizer) as dbg:
        for batch in dbg.batches(loop.loader):
            one_step(loop, batch)
        assert dbg.wait(10)
        now = torch.autograd.backward, torch.nn.utils.clip_grad_norm_, torch.optim.Adam.step
        assert now == before
    assert "step" not in vars(loop.optimizer)


@pytest.mark.slow
def test_an_optimizer_keeps_no_training_alive() -> None:
    loop = OwnLoop()
    dbg = nbd.watch(loop.model, loop.optimizer)
    for batch in dbg.batches(loop.loader):
        one_step(loop, batch)
    assert dbg.wait(10)
    training = next(t for t in threading.enumerate() if t.name == "nbdebug-training")
    del dbg
    assert until(lambda: not (gc.collect() and training.is_alive()), "the end of the training")
    one_step(loop, batch)


def test_two_loops_in_two_threads_see_their_own_calls() -> None:
    loops = [OwnLoop(), OwnLoop()]
    watches = [nbd.watch(loop.model, loop.optimizer) for loop in loops]
    for loop, dbg in zip(loops, watches, strict=True):
        dbg.run(lambda loop=loop, dbg=dbg: loop.run(dbg.epochs, dbg.batches))
    for loop, dbg in zip(loops, watches, strict=True):
        assert dbg.wait(20)
        assert dbg.history.frame("loss")["loss"].tolist() == pytest.approx(loop.losses)
        dbg.close()


@pytest.mark.parametrize("at", [9, 12, 18])
def test_trials_beyond_the_last_epoch_leave_the_loop_running(
    loop: OwnLoop, dbg: Watch, at: int
) -> None:
    plain = OwnLoop()
    plain.run(range, iter)
    # Generators are where a new loop has them.
    OwnLoop()
    # Three epochs of six batches.
    dbg.break_when(f"step >= {at - 1}")
    dbg.run(lambda: loop.run(dbg.epochs, dbg.batches))
    assert dbg.wait(20)
    dbg.clear_breakpoints()
    if at == 18:
        dbg.step(1)
    assert not dbg.fork(20, lr=[dbg.controls["lr"]]).difference.any()
    dbg.lr_range_test(steps=20)
    with pytest.raises(nbd.LoopLeft):
        dbg.run(steps=100)
    assert dbg.history.status.step == 18
    assert bitwise_equal(loop.model.state_dict(), plain.model.state_dict())


@pytest.mark.parametrize("target", [3, 8, 13])
def test_the_number_of_the_epoch_goes_back(loop: OwnLoop, dbg: Watch, target: int) -> None:
    seen = list[tuple[int, int, bool]]()

    def numbered() -> None:
        for epoch in dbg.epochs(3):
            for batch in dbg.batches(loop.loader):
                one_step(loop, batch)
                seen.append((epoch, dbg.epoch, dbg.on_trial))

    dbg.break_when("step >= 15")
    dbg.run(numbered)
    assert dbg.wait(10)
    dbg.clear_breakpoints()
    dbg.rewind(target)
    assert [number for _, number, _ in seen] == [step // 6 for step in range(target)]
    with pytest.raises(nbd.LoopLeft):
        dbg.run(steps=100)
    assert seen[target:] == [(step // 6, step // 6, False) for step in range(target, 18)]


@pytest.mark.parametrize("where", ["a blocking cell", "a thread", "a script"])
def test_the_dashboard_says_that_a_loop_blocks_its_cell(
    loop: OwnLoop, dbg: Watch, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    if where != "a script":
        monkeypatch.setattr(loop_body, "ipython_shell", object)

    def once() -> None:
        for batch in dbg.batches(loop.loader):
            one_step(loop, batch)

    if where == "a thread":
        dbg.run(once)
    else:
        once()
        dbg.leave()
    assert dbg.wait(10)
    told = [one for one in dbg.history.notices if one.title == "The loop blocks its cell"]
    assert len(told) == (where == "a blocking cell")
    assert all("%%nbd" in one.text and one.severity == "info" for one in told)
