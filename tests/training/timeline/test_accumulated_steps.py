"""Steps of several batches stop, go back and leave out batches as others do."""

from __future__ import annotations

import math
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import nbdebug as nbd
from tests.draw import draw
from tests.hidden import count_up
from tests.training.engine.accumulation import N, PlainLoop, X, Y, net
from tests.training.engine.test_accumulation import Generated, Pairs, adam, compare, debugger
from tests.training.timeline.timelines import equal, state


def pairs(workers: int = 0) -> DataLoader[Any]:
    return DataLoader(Pairs(), batch_size=8, shuffle=True, num_workers=workers)


DATA: dict[str, Callable[[], Any]] = {
    "tensors": lambda: (X, Y),
    "workers": lambda: pairs(2),
    "ready": lambda: Generated(),
}


@pytest.mark.parametrize("kind", DATA)
def test_a_training_that_went_back_is_the_one_that_did_not(kind: str) -> None:
    def changed(dbg: nbd.Debugger) -> dict[str, torch.Tensor]:
        dbg.run(steps=4)
        dbg.set(accumulate=2)
        dbg.run(steps=6)
        return state(dbg)

    with debugger(net(), DATA[kind](), batch_size=None if kind != "tensors" else 8) as dbg:
        wanted = changed(dbg)
        found = dbg.replay()
        assert (found.equal, found.compared) == (True, 10)
        dbg.rewind(2)
        assert dbg.controls["accumulate"] == 4
        dbg.run(steps=2)
        dbg.set(accumulate=2)
        dbg.run(steps=6)
        assert equal(state(dbg), wanted)
        dbg.reset()
        assert dbg.controls["accumulate"] == 4
        assert equal(changed(dbg), wanted)


def test_undo_takes_back_a_change() -> None:
    with debugger(net()) as dbg:
        dbg.run(steps=2)
        dbg.set(accumulate=2)
        dbg.run(steps=2)
        dbg.undo(rewind=True)
        assert dbg.controls["accumulate"] == 4
        model = net()
        compare(dbg, PlainLoop(model, adam(model)), 7)


def test_a_fork_without_a_change_differs_by_nothing() -> None:
    with debugger(net()) as dbg:
        dbg.run(steps=5)
        fork = dbg.fork(6, accumulate=[4, 2])
        before = state(dbg)
        dbg.run(steps=6)
        base, (same, other) = fork.base, (trial.loss for trial in fork.result.trials)
        assert base.tolist() == same.tolist() == dbg.history.frame("loss")["loss"].tolist()[5:]
        assert other.tolist() != base.tolist()
        assert not equal(state(dbg), before)


def test_a_training_resumes_in_the_middle_of_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with debugger(net()) as straight:
        straight.run(steps=4)
        straight.set(accumulate=3)
        straight.run(steps=7)
        wanted = state(straight)
    with debugger(net(), name="a run") as dbg:
        dbg.run(steps=4)
        dbg.set(accumulate=3)
        dbg.run(steps=1)
    model = net()
    with nbd.Debugger.resume(
        "a run", model, (X, Y), nn.CrossEntropyLoss(), optimizer=adam(model)
    ) as dbg:
        assert dbg.controls["accumulate"] == 3
        dbg.run(steps=6)
        assert equal(state(dbg), wanted)


def test_a_breakpoint_shows_the_last_batch_and_the_whole_gradient() -> None:
    plain = net()
    optimizer = adam(plain)
    PlainLoop(plain, optimizer).run(3)
    gradient = {n: p.grad.clone() for n, p in plain.named_parameters() if p.grad is not None}
    with debugger(net()) as dbg:
        dbg.break_when("step == 2")
        dbg.run(steps=5)
        stopped = dbg.stopped
        assert stopped is not None
        assert len(dbg.batch[0]) == len(dbg.outputs) == len(stopped.targets) == 2
        assert torch.equal(X[stopped.indices], dbg.batch[0])
        assert all(torch.equal(gradient[n], g) for n, g in dbg.gradients.items())
        found = dbg.worst_samples(top=99)
        assert (found.step, found.count, found.looked_at) == (2, 26, 26)
        assert sorted(sample.position for sample in found.samples) == list(range(26))
        compare(dbg, PlainLoop(model := net(), adam(model)), 5)


def test_worst_samples_of_an_earlier_step_are_those_of_all_its_batches() -> None:
    with debugger(net()) as dbg:
        dbg.run(steps=4)
        found = dbg.worst_samples(1, top=99)
        order = torch.randperm(N, generator=torch.Generator().manual_seed(0))
        assert [s.index for s in sorted(found.samples, key=lambda s: s.position)] == (
            order[32:64].tolist()
        )


def broken(row: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Data with a NaN in one sample of the order of the first epoch."""
    order = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    bad = X.clone()
    bad[order[row], 0] = math.nan
    return bad, Y


@pytest.mark.parametrize(("row", "number"), [(33, 1), (45, 2), (63, 4)])
def test_a_nan_stops_before_the_update_and_names_its_batch(row: int, number: int) -> None:
    data = broken(row)
    with debugger(net(), data) as dbg:
        dbg.run(steps=1)
        before = state(dbg)
        with pytest.raises(nbd.NonFiniteError) as raised:
            dbg.run(steps=1)
        assert f"It arose in batch {number} of the 4 of this step." in str(raised.value)
        order = torch.randperm(N, generator=torch.Generator().manual_seed(0))
        assert f"(index in the data: {int(order[row])})" in str(raised.value)
        assert equal(state(dbg), before)
        assert bool(dbg.batch[0].isnan().any())
        assert (dbg.outputs is None) is (number < 4)
        assert dbg.worst_samples(top=1).samples[0].index == int(order[row])
        # The whole step is left out.
        dbg.run(steps=1)
        assert dbg.history.status.samples == 32 + 26
        assert dbg.replay().equal


class Steep(torch.autograd.Function):
    """Identity, whose gradient is NaN where an input is above 100."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x.clamp(max=1.0)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return torch.where(x > 100, torch.nan, gradients[0])


class SteepNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.scale, self.head = nn.Parameter(torch.ones(6)), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(Steep.apply(x * self.scale))


def test_a_nan_of_the_gradient_alone_is_found_in_its_batch() -> None:
    order = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    data = X.clone()
    data[order[12], 3] = 1000.0
    with debugger(SteepNet(), (data, Y)) as dbg:
        with pytest.raises(nbd.NonFiniteError, match=r"It arose in batch 2 of the 4"):
            dbg.run(steps=1)
        assert dbg.batch[0].max() == 1000.0


def test_excluded_steps_go_on_and_are_left_out_again() -> None:
    with debugger(net(), broken(40), not_finite="exclude") as dbg:
        dbg.run(steps=4)
        assert dbg.history.frame("samples")["samples"].tolist()[:2] == [32, 58]
        wanted = state(dbg)
        assert dbg.replay().equal
        assert equal(state(dbg), wanted)


def test_excluded_samples_leave_the_others_in_their_order() -> None:
    with debugger(net(), excluded_samples=[0, 1]) as dbg:
        dbg.run(epochs=1)
        assert dbg.history.status.samples == N - 2
        assert dbg.history.status.step == 3


def test_a_last_batch_of_one_sample_is_left_out_of_its_step() -> None:
    data = X[:89], Y[:89]
    order = torch.randperm(89, generator=torch.Generator().manual_seed(0))
    rows = order[:88].split(8)

    def batches() -> Any:
        return iter([(X[i], Y[i]) for i in rows])

    model = net()
    plain = PlainLoop(model, adam(model), batches=batches)
    with debugger(net(), data, val_data=(X[:20], Y[:20])) as dbg:
        compare(dbg, plain, 3)
        assert dbg.history.status.epoch == 1.0
        assert math.isfinite(dbg.history.last("val_loss"))
        dbg.run(steps=4)
        wanted = state(dbg)
        assert dbg.replay().equal
        dbg.rewind(1)
        dbg.run(steps=6)
        assert equal(state(dbg), wanted)
        assert sum("one sample" in notice.title for notice in dbg.history.notices) == 1


def test_a_step_without_its_last_batch_may_be_forked_before_it_is_made() -> None:
    with debugger(net(), (X[:89], Y[:89])) as straight:
        straight.run(steps=5)
        wanted = state(straight)
    with debugger(net(), (X[:89], Y[:89])) as dbg:
        dbg.break_when("step == 2")
        dbg.run(steps=5)
        assert dbg.history.status.step == 2
        dbg.fork(2, lr=0.1)
        dbg.clear_breakpoints()
        dbg.run(steps=3)
        assert equal(state(dbg), wanted)
        assert dbg.replay().equal


class Clocked(Pairs):
    """Samples that differ each time."""

    def __init__(self) -> None:
        self.own = iter(torch.randn(10_000))

    def __getitem__(self, index: int) -> Any:
        return X[index] + next(self.own), Y[index]


def test_a_step_that_differs_is_traced_to_its_data() -> None:
    with debugger(net(), Clocked()) as dbg:
        dbg.run(steps=3)
        found = dbg.replay()
        assert found.difference is not None
        assert "The data changes when it is read again" in found.difference.where


class Unreadable(Dataset[Any]):
    """Data with a sample that cannot be read."""

    def __init__(self, bad: int) -> None:
        self.bad = bad

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        if index == self.bad:
            raise OSError("broken file")
        return X[index], Y[index]


# With workers, torch waits 5 seconds for each of them.
@pytest.mark.soak
@pytest.mark.parametrize("workers", draw([0], [0, 2]))
def test_a_step_with_an_unreadable_batch_is_left_out_as_a_whole(workers: int) -> None:
    order = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    data = DataLoader(Unreadable(int(order[50])), batch_size=8, shuffle=True, num_workers=workers)
    with debugger(net(), data, batch_size=None) as dbg:
        dbg.run(steps=1)
        with pytest.raises(OSError, match="broken file"):
            dbg.run(steps=1)
        dbg.run(steps=1)
        assert dbg.history.frame("samples")["samples"].tolist() == [32, 58]
        said = [n.text for n in dbg.history.notices if n.title == "A batch was left out"]
        assert len(said) == 1
        assert said[0].startswith("One of the 4 batches of a step, which were all left out (")
        assert f"index in the data: {int(order[32])}, " in said[0]
        assert dbg.replay().equal


def test_an_exception_in_the_middle_leaves_nothing_behind() -> None:
    calls = queue.SimpleQueue[None]()

    def failing(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if count_up(calls) == 6:
            raise RuntimeError("not today")
        return nn.functional.cross_entropy(outputs, targets)

    with debugger(net(), loss_fn=failing) as dbg:
        dbg.run(steps=1)
        before = state(dbg)
        with pytest.raises(RuntimeError, match="not today"):
            dbg.run(steps=1)
        assert equal(state(dbg), before)
        model = net()
        compare(dbg, PlainLoop(model, adam(model)), 5)


def test_a_range_test_sweeps_over_steps_of_several_batches() -> None:
    with debugger(net()) as dbg:
        dbg.run(steps=1)
        before = state(dbg)
        assert len(dbg.lr_range_test(steps=10).loss) == 10
        assert equal(state(dbg), before)
        model = net()
        compare(dbg, PlainLoop(model, adam(model)), 5)


def test_a_flight_record_looks_at_every_batch() -> None:
    with debugger(net()) as dbg:
        dbg.run(steps=3)
        record = dbg.flight_record()
        assert sum(one.step == 1 and one.module == "0" for one in record.outputs) == 4
