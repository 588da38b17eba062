"""Breakpoints pause before the update; its data can be inspected, and training continues."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.core.results.flight_record import FlightRecord
from tests.inside import timeline_of
from tests.training.timeline.timelines import KINDS, X, Y, equal, go_on_to, make, state


def test_training_pauses_before_the_update(dbg: nbd.Debugger) -> None:
    with make() as plain:
        plain.run(steps=7)
        dbg.break_when("step == 7")
        dbg.run(steps=50)
        assert (dbg.state, dbg.history.status.step) == ("paused", 7)
        assert dbg.failure is not None
        assert dbg.failure.title == "Break: step == 7"
        assert equal(state(dbg), state(plain))


@pytest.mark.slow
def test_batch_outputs_and_gradients_are_those_of_the_step() -> None:
    with make() as dbg, make() as plain:
        plain.run(steps=7)
        dbg.break_when("step == 7")
        dbg.run(steps=50)
        inputs, targets = dbg.batch
        indices = dbg.stopped.indices  # type: ignore[union-attr]
        assert torch.equal(inputs, X[indices])
        assert torch.equal(targets, Y[indices])
        loss = nn.functional.cross_entropy(dbg.outputs, targets)
        assert dbg.stopped is not None
        assert float(loss) == dbg.stopped.loss
        assert not dbg.outputs.requires_grad
        norm = torch.stack([g.norm() for g in dbg.gradients.values()]).norm()
        plain.run(steps=1)
        assert plain.history.last("loss") == dbg.stopped.loss
        assert plain.history.last("grad_norm") == pytest.approx(float(norm), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_break_changes_nothing_of_what_follows(kind: str) -> None:
    with KINDS[kind]() as dbg, KINDS[kind]() as plain:
        dbg.break_when("step == 3 or step == 4")
        stops = 0
        while dbg.history.status.step < 15:
            dbg.run(steps=15 - dbg.history.status.step)
            stops += 1
        assert stops == 3
        plain.run(steps=15)
        assert equal(state(dbg), state(plain))
        assert dbg.replay().equal


def test_a_scaler_is_asked_once_more(dbg: nbd.Debugger) -> None:
    def scaled() -> torch.amp.GradScaler:
        return torch.amp.GradScaler("cpu", init_scale=16.0, growth_interval=3)

    with make(scaler=scaled()) as dbg, make(scaler=scaled()) as plain:
        dbg.break_when("step == 4")
        dbg.run(steps=10)
        dbg.run(steps=6)
        plain.run(steps=10)
        assert equal(state(dbg), state(plain))
        assert dbg.history.last("loss_scale") == plain.history.last("loss_scale")


def test_what_is_looked_at_is_let_go_when_training_goes_on(dbg: nbd.Debugger) -> None:
    assert (dbg.stopped, dbg.batch, dbg.outputs, dbg.gradients) == (None, None, None, {})
    dbg.break_when("step == 2")
    dbg.run(steps=5)
    assert dbg.batch is not None
    dbg.step()
    assert (dbg.history.status.step, dbg.batch) == (3, None)
    assert dbg.failure is None


def test_a_rewind_arms_them_again(dbg: nbd.Debugger) -> None:
    dbg.break_when("step == 5")
    dbg.run(steps=9)
    dbg.run(steps=4)
    dbg.rewind(2)
    dbg.run(steps=10)
    assert dbg.history.status.step == 5


def test_losses_that_rise(dbg: nbd.Debugger) -> None:
    dbg.break_when("loss rises 3")
    dbg.run(steps=500)
    step = dbg.history.status.step
    losses = [*dbg.history.frame("loss")["loss"], dbg.stopped.loss]  # type: ignore[union-attr]
    rises = [later > earlier for earlier, later in itertools.pairwise(losses)]
    runs = [i for i in range(2, len(rises)) if all(rises[i - 2 : i + 1])]
    assert runs[0] + 1 == step == len(losses) - 1


def test_validation_counts_its_own_measurements() -> None:
    with make(lr=0.5, val_every=4) as dbg:
        dbg.break_when("val_loss rises 2")
        dbg.run(steps=500)
        found = dbg.history.frame("val_loss")["val_loss"].dropna().tolist()
        assert dbg.failure is not None
        assert found[-1] > found[-2] > found[-3]


def test_a_function_is_asked_with_the_newest_values(dbg: nbd.Debugger) -> None:
    seen: list[Mapping[str, float]] = []

    def large(values: Mapping[str, float]) -> bool:
        seen.append(dict(values))
        return values["step"] == 3

    dbg.break_when(large)
    dbg.run(steps=10)
    assert dbg.history.status.step == 3
    assert dbg.breakpoints == ("large",)
    assert [values["step"] for values in seen] == [0, 1, 2, 3]
    assert seen[2]["clip_norm"] == dbg.history.frame("clip_norm")["clip_norm"].iloc[1]


def test_a_function_that_raises_is_removed_and_training_goes_on(dbg: nbd.Debugger) -> None:
    def broken(values: Any) -> bool:
        raise KeyError("gone")

    dbg.break_when(broken)
    dbg.run(steps=5)
    assert (dbg.breakpoints, dbg.history.status.step) == ((), 5)
    assert any("broken failed" in notice.title for notice in dbg.history.notices)


def test_a_condition_is_checked_at_once(dbg: nbd.Debugger) -> None:
    dbg.run(steps=3)
    with pytest.raises(nbd.ArgumentError, match="grad_norm"):
        dbg.break_when("grad_nrm > 3")
    with pytest.raises(nbd.ArgumentError, match="cannot be read"):
        dbg.break_when("loss >")
    with pytest.raises(nbd.ArgumentError):
        dbg.break_when(3)  # type: ignore[arg-type]
    assert dbg.breakpoints == ()


def test_they_can_be_cleared(dbg: nbd.Debugger) -> None:
    dbg.break_when("step == 3")
    dbg.break_when("loss > 100")
    dbg.clear_breakpoints("step == 3")
    assert dbg.breakpoints == ("loss > 100",)
    dbg.clear_breakpoints()
    dbg.run(steps=5)
    assert (dbg.breakpoints, dbg.history.status.step) == ((), 5)


def test_a_stop_for_a_value_that_is_not_finite_names_the_samples() -> None:
    broken = X.clone()
    broken[[40, 41]] = torch.nan
    with make(data=(broken, Y), val_data=None, batch_size=96) as dbg:
        with pytest.raises(nbd.NonFiniteError) as caught:
            dbg.run(steps=10)
        said = str(caught.value)
        assert "The data of 2 of 96 samples contain NaN or Inf (index in the data: " in said
        assert {"40", "41"} <= set(said.split("data: ")[1].split(")")[0].split(", "))
        assert torch.isnan(dbg.batch[0]).any()


class Steep(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.exp(1000.0 * x.abs().max()) * x


def test_a_stop_names_the_first_module_and_the_range_that_went_in() -> None:
    model = nn.Sequential(nn.Linear(6, 3), Steep(), nn.Linear(3, 3))
    with make(model=model) as dbg, pytest.raises(nbd.NonFiniteError) as caught:
        dbg.run(steps=10)
    assert "first seen in the output of layer 1 (Steep), whose input ran from -" in str(
        caught.value
    )


def test_the_last_steps_are_looked_at_module_by_module() -> None:
    model = nn.Sequential(nn.Linear(6, 3), Steep(), nn.Linear(3, 3))
    for parameter in model[0].parameters():
        nn.init.constant_(parameter, 1e-3)
    with make(model=model, optimizer="sgd", lr=0.5) as dbg:
        before = None
        with pytest.raises(nbd.NonFiniteError):
            dbg.run(steps=500)
        before = state(dbg)
        record = dbg.history.results.of(FlightRecord)
        assert record is not None
        assert record.first is not None
        step = dbg.history.status.step
        assert (record.first.step, record.first.module) == (step, "1")
        assert not record.first.updated
        assert record.steps == tuple(range(max(step - 5, 0), step + 1))
        frame = dbg.flight_record().frame()
        assert list(frame.index) == ["0 (Linear)", "1 (Steep)", "2 (Linear)"]
        assert frame.loc["1 (Steep)", step] == float("inf")
        assert "NaN or Inf" in record._repr_html_()
        assert equal(before, state(dbg))
        dbg.set(lr=1e-6)
        assert dbg.replay().equal


def test_the_outputs_seen_are_those_of_the_steps(dbg: nbd.Debugger) -> None:
    dbg.run(steps=12)
    seen = dbg.flight_record()
    assert seen.first is None
    assert seen.steps == (7, 8, 9, 10, 11)
    dbg.rewind(9)
    found: list[float] = []
    hook = dbg.model[4].register_forward_hook(
        lambda module, inputs, output: found.append(float(output.detach().abs().max()))
    )
    dbg.run(steps=1)
    hook.remove()
    (largest,) = [look.largest for look in seen.outputs if (look.step, look.module) == (9, "4")]
    assert found[0] == largest


def broken_data() -> tuple[torch.Tensor, torch.Tensor]:
    broken = X.clone()
    broken[40] = torch.nan
    return broken, Y


def test_batches_can_be_left_out_without_a_stop() -> None:
    """As if someone had pressed Run after each stop, to the bit."""
    with make(data=broken_data(), val_data=None, not_finite="exclude") as dbg:
        dbg.run(steps=20)
        assert dbg.history.status.step == 20
        said = [notice for notice in dbg.history.notices if notice.title == "A batch was excluded"]
        assert len(said) >= 3
        assert "index in the data: 40" in said[0].text
        with make(data=broken_data(), val_data=None) as other:
            go_on_to(other, 20)
            assert equal(state(dbg), state(other))
        assert dbg.replay().equal


def test_a_fork_proves_that_leaving_batches_out_helps() -> None:
    with make(data=broken_data(), val_data=None) as dbg:
        with pytest.raises(nbd.NonFiniteError):
            dbg.run(steps=50)
        here = dbg.history.status.step
        fork = dbg.fork(30, not_finite="exclude")
        assert "NaN or Inf after" in fork.result.base.ended
        assert not fork.result.trials[0].ended
        assert "continues; without the change: NaN or Inf" in repr(fork)
        assert "nan" not in fork._repr_html_()
        dbg.set(not_finite="exclude")
        dbg.run(steps=30)
        assert dbg.history.frame("loss")["loss"].tolist()[here:] == fork.changed.tolist()


def test_it_stops_where_no_batch_is_finite() -> None:
    with make(data=(X * torch.nan, Y), val_data=None, not_finite="exclude") as dbg:
        with pytest.raises(nbd.NonFiniteError):
            dbg.run(steps=5)
        assert len(timeline_of(dbg).edits.events) == 20
        fork = dbg.fork(5, lr=0.1)
        assert fork.result.base.ended == "NaN or Inf after 0 steps"
