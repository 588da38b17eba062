"""What is on disk after a close, a reset of a resumed training, and changes at one boundary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from nbdebug.training.timeline.disk.paths import path_of
from tests.draw import crossed
from tests.training.timeline.timelines import X, Y, equal, make, net, state


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def named(**options: Any) -> nbd.Debugger:
    return make(name="n", runs=None, val_data=None, **options)


def resume(model: nn.Module | None = None, **options: Any) -> nbd.Debugger:
    return nbd.Debugger.resume(
        "n", model or net(), (X, Y), nn.CrossEntropyLoss(), runs=None, **options
    )


def losses(dbg: nbd.Debugger) -> list[float]:
    return list(dbg.history.frame("loss")["loss"])


CHANGES: dict[str, dict[str, Any]] = {
    "lr": {"lr": 0.5}, "dropout": {"dropout": 0.0}, "schedule": {"schedule": "cosine"},
    "optimizer": {"optimizer": "sgd"}, "batch size": {"batch_size": 5},
    "excluded": {"excluded_samples": (3, 4)}, "clipping": {"clip_mode": "norm"},
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_without_a_step_is_on_disk_after_the_close(what: str) -> None:
    with named() as dbg:
        dbg.run(steps=4)
    with resume() as dbg:
        dbg.set(**CHANGES[what])
        wanted = dict(dbg.controls)
    with resume() as dbg:
        assert dict(dbg.controls) == wanted
        assert {name: wanted[name] for name in CHANGES[what]} == CHANGES[what]


def test_a_change_before_the_first_step_is_on_disk_after_the_close() -> None:
    with named() as dbg:
        dbg.set(lr=0.5)
    with resume() as dbg:
        assert dbg.controls["lr"] == 0.5


@pytest.mark.parametrize("back", ["rewind", "reset", "rewind a little", "reset resumed"])
def test_going_back_is_on_disk_after_the_close(back: str) -> None:
    dbg = named()
    dbg.run(steps=4)
    dbg.timeline.save()
    if back == "reset resumed":
        dbg.close()
        dbg = resume()
        dbg.run(steps=3)
        dbg.timeline.save()
    if back.startswith("rewind"):
        dbg.rewind(3 if "little" in back else 0)
    else:
        dbg.reset()
    there, wanted = dbg.history.status.step, state(dbg)
    dbg.close()
    with resume() as dbg:
        assert dbg.history.status.step == there
        assert equal(state(dbg), wanted)


def test_weights_changed_by_hand_are_on_disk_after_the_close() -> None:
    with named() as dbg:
        dbg.run(steps=4)
    with resume() as dbg:
        with torch.no_grad():
            next(dbg.model.parameters()).fill_(0.25)
        wanted = state(dbg)
    with resume() as dbg:
        assert equal(state(dbg), wanted)


def test_opening_and_closing_leaves_the_files_alone() -> None:
    with named() as dbg:
        dbg.run(steps=4)
    content = path_of("n").read_bytes()
    with resume():
        pass
    with named():
        pass
    with named() as dbg:
        dbg.set(lr=0.5)
    assert path_of("n").read_bytes() == content
    assert len(list(path_of("n").parent.iterdir())) == 1


def test_a_reset_goes_to_where_training_was_resumed_data_included() -> None:
    with named() as dbg:
        dbg.run(steps=9)
    with resume() as dbg:
        dbg.set(lr=0.01)
        dbg.run(steps=8)
        first, wanted = losses(dbg), state(dbg)
        dbg.reset()
        assert dbg.history.status.step == 9
        (notice,) = [n for n in dbg.history.notices if n.title.startswith("Reset")]
        assert "step 9" in notice.text
        dbg.set(lr=0.01)
        dbg.run(steps=8)
        assert losses(dbg) == first
        assert equal(state(dbg), wanted)
        assert dbg.replay().equal
        assert dbg.rewind(-3).equal


def test_a_reset_of_a_training_that_was_not_resumed_begins_with_the_first_batch() -> None:
    with named() as dbg:
        dbg.run(steps=9)
        first = losses(dbg)
        dbg.reset()
        assert not [n for n in dbg.history.notices if n.title.startswith("Reset")]
        dbg.run(steps=9)
        assert losses(dbg) == first


PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "one cycle, step": ({"schedule": "one_cycle"}, {"schedule": "step"}),
    "one cycle, back": ({"schedule": "one_cycle"}, {"schedule": "constant"}),
    "warm-up, back": ({"warmup_steps": 5}, {"warmup_steps": 0}),
    "cosine, longer": ({"schedule": "cosine"}, {"schedule_steps": 50}),
    "plateau, cosine": ({"schedule": "plateau"}, {"schedule": "cosine"}),
    "factor, back": ({"schedule": "inverse_time"}, {"schedule_factor": 0.5}),
    "lr, lr": ({"lr": 0.03}, {"lr": 0.1}),
    "lr, back": ({"lr": 0.03}, {"lr": 0.01}),
    "lr, optimizer": ({"lr": 0.03}, {"optimizer": "sgd"}),
    "optimizer, lr": ({"optimizer": "sgd"}, {"lr": 0.03}),
    "he, undo": ({"reinit": "he"}, {"reinit": "undo"}),
    "one layer, undo": ({"reinit": {"4": "xavier"}}, {"reinit": "undo"}),
    "he, xavier, undo": ({"reinit": "he"}, {"reinit": "xavier"}),
    "frozen, thawed": ({"frozen": {"0": "frozen"}}, {"frozen": {"0": "trainable"}}),
}


STARTS = ("own", "constant", "cosine")
# A schedule of one's own has no warm-up of nbdebug's.
COMBINED = [both for both in crossed(PAIRS, STARTS) if both != ("warm-up, back", "own")]


@pytest.mark.soak
@pytest.mark.parametrize(("pair", "start"), COMBINED)
def test_two_changes_at_one_boundary_are_the_same_with_a_restart_between(
    pair: str, start: str
) -> None:
    one, two = PAIRS[pair]
    own = {"schedule": lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 3)}
    options: dict[str, Any] = own if start == "own" else {"schedule": start}
    found = []
    for restart in (False, True):
        dbg = named(lr=0.01, **options)
        dbg.run(steps=5)
        dbg.set(**one)
        if restart:
            dbg.close()
            dbg = resume(**(own if start == "own" else {}))
        dbg.set(**two)
        dbg.run(steps=5)
        if pair.startswith("he, xavier"):
            dbg.set(reinit="undo")
        found.append((losses(dbg)[-5:], state(dbg), dict(dbg.controls)))
        assert dbg.replay().equal
        dbg.close()
    assert found[0][0] == found[1][0]
    assert equal(found[0][1], found[1][1])
    assert found[0][2] == found[1][2]


def test_a_reinitialisation_can_be_undone_many_steps_and_a_restart_later() -> None:
    found = []
    for restart in (False, True):
        dbg = named(optimizer="sgd", momentum=0.9)
        dbg.run(steps=4)
        dbg.set(reinit="orthogonal")
        dbg.run(steps=3)
        if restart:
            dbg.close()
            dbg = resume()
        dbg.set(reinit="undo")
        dbg.run(steps=3)
        found.append(state(dbg))
        with pytest.raises(nbd.ControlValueError):
            dbg.set(reinit="undo")
        dbg.close()
    assert equal(*found)


@pytest.mark.parametrize("schedule", ["inverse_time", "one_cycle", "cosine", "step", "plateau"])
def test_a_group_that_was_thawed_under_a_schedule_is_resumed(schedule: str) -> None:
    def model() -> nn.Module:
        torch.manual_seed(1)
        made = net()
        made[0].requires_grad_(False)
        return made

    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=1e-2)

    found = []
    for restart in (False, True):
        dbg = named(model=model(), optimizer=optimizer)
        dbg.set(schedule=schedule)
        dbg.run(steps=3)
        dbg.set(frozen="trainable")
        dbg.run(steps=3)
        if restart:
            dbg.close()
            dbg = resume(model(), optimizer=optimizer)
        dbg.run(steps=3)
        found.append(state(dbg))
        dbg.close()
    assert equal(*found)


class Window:
    """A loss divided by the mean of the last ones, whose places begin as one tensor."""

    def __init__(self) -> None:
        zero, none = torch.zeros(()), np.zeros(2)
        self.first, self.second, self.zero = zero, zero, zero
        self.counts, self.nothing = none, none

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss = nn.functional.cross_entropy(outputs, targets)
        self.first, self.second = self.second, loss.detach()
        self.counts = self.counts + 1
        return loss / (1 + self.first + self.second + float(self.counts[0]) / 10 + self.zero)


def test_what_begins_as_one_tensor_goes_on_as_several() -> None:
    def made(go_on: bool, **name: Any) -> nbd.Debugger:
        torch.manual_seed(0)
        if go_on:
            return nbd.Debugger.resume("n", net(), (X, Y), Window(), runs=None)
        return nbd.Debugger(net(), (X, Y), Window(), runs=None, **name)

    with made(False) as dbg:
        dbg.run(steps=9)
        wanted = state(dbg)
    with made(False, name="n") as dbg:
        dbg.run(steps=5)
    with made(True) as dbg:
        dbg.run(steps=4)
        assert bitwise_equal(state(dbg), wanted)
