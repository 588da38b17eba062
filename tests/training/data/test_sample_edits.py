"""Excluded or relabelled samples: bit-identical to a plain loop with the same edits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, SubsetRandomSampler, TensorDataset

import nbdebug as nbd
from nbdebug.errors import ControlValueError, DataError, ScriptError
from nbdebug.model.training_state import Batching
from nbdebug.training.data.batch import Sampler
from nbdebug.training.data.samplers import make_sampler
from nbdebug.training.data.sources import as_source
from tests.training.timeline.timelines import KINDS, X, Y, equal, go_on_to, make, net, pairs, state

LENGTH = 50


def sampler_of(batching: Batching, data: Any = None) -> Sampler:
    data = (torch.arange(LENGTH), torch.arange(LENGTH)) if data is None else data
    return make_sampler(as_source(data, torch.float32), data, batching, 3)


def plain(edits: dict[int, list[int]], batches: int, size: int, drop_last: bool) -> Any:
    """Batches of a plain loop that excludes lists of samples from given batches on."""
    generator = torch.Generator().manual_seed(3)
    left_out: list[int] = []
    order: list[int] = []
    found, position, epoch = [], 0, -1
    for number in range(batches):
        left_out = edits.get(number, left_out)
        rest = [i for i in range(position, len(order)) if order[i] not in left_out]
        if not rest or (drop_last and len(rest) < size and position):
            order = torch.randperm(LENGTH, generator=generator).tolist()
            epoch += 1
            rest = [i for i in range(LENGTH) if order[i] not in left_out]
        taken, rest = rest[:size], rest[size:]
        position = taken[-1] + 1 if rest else LENGTH
        found.append(
            ([order[i] for i in taken], epoch, not rest or (drop_last and len(rest) < size))
        )
    return found


EDITS: list[dict[int, list[int]]] = [
    {0: [3, 17]},
    {2: [3, 17], 5: []},
    {1: list(range(40)), 6: [0], 9: list(range(1, 50)), 12: [2]},
]


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("edits", EDITS, ids=str)
def test_the_others_come_in_the_order_they_had(edits: Any, drop_last: bool) -> None:
    batching = Batching(8, LENGTH)
    data = TensorDataset(torch.arange(LENGTH), torch.arange(LENGTH))
    loader = DataLoader(data, batch_size=8, shuffle=True, drop_last=drop_last)
    sampler = sampler_of(batching, loader)
    seen, positions = [], []
    for number in range(20):
        batching.sample_edits.excluded = tuple(edits.get(number, batching.sample_edits.excluded))
        positions.append((sampler.position(), batching.sample_edits.excluded))
        batch = sampler.next()
        seen.append((batch.data[0].tolist(), batch.epoch, batch.progress == 1.0))
    assert seen == plain(edits, 20, 8, drop_last)
    for number in (15, 3, 0, 9):
        position, batching.sample_edits.excluded = positions[number]
        sampler.seek(position)
        assert sampler.next().data[0].tolist() == seen[number][0]


def test_an_order_of_the_users_own_that_gives_nothing_else_is_an_error() -> None:
    batching = Batching(8, LENGTH)
    data = TensorDataset(torch.arange(LENGTH))
    loader = DataLoader(data, sampler=SubsetRandomSampler([3, 4]), batch_size=8)
    sampler = sampler_of(batching, loader)
    batching.sample_edits.excluded = (3, 4)
    with pytest.raises(DataError, match="are excluded"):
        sampler.next()


def by_hand(steps: int, edit: int, left_out: list[int], labels: dict[int, int]) -> nn.Module:
    """Plain training that skips and relabels from step `edit` on."""
    torch.manual_seed(1)
    model, loss_fn = net(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    order = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    y, left = Y.clone(), torch.empty(0, dtype=torch.int64)
    for step in range(steps):
        for index, label in labels.items() if step == edit else ():
            y[index] = label
        gone = left_out if step >= edit else []
        left = torch.tensor([i for i in left.tolist() if i not in gone], dtype=torch.int64)
        if not len(left):
            left = torch.randperm(len(X), generator=order)
            left = torch.tensor([i for i in left.tolist() if i not in gone])
        batch, left = left[:16], left[16:]
        loss = loss_fn(model(X[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("data", [lambda: (X, Y), pairs], ids=["tensors", "workers"])
def test_training_is_that_of_a_plain_loop(data: Callable[[], Any]) -> None:
    labels = {5: 0, 6: 1, 7: 2}
    kept = Y.clone()
    with make(data=data(), excluded_samples=[3, 17], relabelled=labels) as dbg:
        dbg.run(steps=25)
        assert equal(by_hand(25, 0, [3, 17], labels).state_dict(), dbg.model.state_dict())
    assert torch.equal(Y, kept)


def test_a_change_on_the_way_is_that_of_a_plain_loop_and_is_recorded() -> None:
    labels = {i: (int(Y[i]) + 1) % 3 for i in range(20)}
    with make() as dbg:
        dbg.run(steps=8)
        dbg.set(excluded_samples=[3, 17, 40], relabelled=labels, why="culprits")
        dbg.run(steps=20)
        assert equal(by_hand(28, 8, [3, 17, 40], labels).state_dict(), dbg.model.state_dict())
        change = dbg.changes.iloc[0]
        assert (change.control, change.old, change.new) == ("excluded_samples", (), (3, 17, 40))
        assert (change.step, change.why) == (8, "culprits")
        assert dbg.history.last("excluded_samples") == 3.0
        assert dbg.history.last("relabelled") == 20.0


def test_nothing_left_out_is_training_as_ever() -> None:
    with make() as dbg, make(excluded_samples=(), relabelled={}) as other:
        dbg.run(steps=15)
        other.run(steps=15)
        assert equal(state(dbg), state(other))


@pytest.mark.parametrize("kind", ["augmented", "workers", "step_fn", "plateau"])
def test_changes_of_samples_are_replayed_and_gone_back_over(kind: str) -> None:
    with KINDS[kind]() as dbg:
        dbg.run(steps=5)
        dbg.set(excluded_samples=[1, 2, 3], relabelled={8: 1})
        dbg.run(steps=6)
        dbg.set(excluded_samples=[2], relabelled={})
        dbg.run(steps=6)
        before = state(dbg)
        assert dbg.replay().equal
        assert dbg.rewind(8).equal
        assert dbg.controls["excluded_samples"] == (1, 2, 3)
        dbg.run(steps=3)
        dbg.set(excluded_samples=[2], relabelled={})
        dbg.run(steps=6)
        assert equal(state(dbg), before)
        dbg.rewind(3)
        assert (dbg.controls["excluded_samples"], dbg.controls["relabelled"]) == ((), {})
        if kind != "step_fn":
            fork = dbg.fork(5, excluded_samples=(4, 5), relabelled={9: 2})
            fork.keep()
            dbg.wait(60)
            assert dbg.controls["excluded_samples"] == (4, 5)
            assert dbg.controls["relabelled"] == {9: 2}


def test_a_training_is_resumed_with_its_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with make(name="amended") as dbg:
        dbg.run(steps=4)
        dbg.set(excluded_samples=[3, 17], relabelled={5: 2})
        dbg.run(steps=4)
    torch.manual_seed(1)
    val = (X[:20], Y[:20])
    again = nbd.Debugger.resume("amended", net(), (X, Y), nn.CrossEntropyLoss(), val_data=val)
    with again:
        assert again.controls["excluded_samples"] == (3, 17)
        assert again.controls["relabelled"] == {5: 2}
        again.run(steps=20)
        assert equal(by_hand(28, 4, [3, 17], {5: 2}).state_dict(), again.model.state_dict())


def test_a_sample_that_is_not_finite_is_left_out_and_training_goes_on() -> None:
    broken = X.clone()
    broken[40] = torch.nan
    with make(data=(broken, Y), val_data=None) as dbg:
        with pytest.raises(nbd.NonFiniteError):
            dbg.run(epochs=2)
        dbg.set(excluded_samples=[40])
        go_on_to(dbg, 30)
        assert dbg.failure is None
        assert dbg.reestimate_batchnorm() is None
        assert all(torch.isfinite(value).all() for value in dbg.model.state_dict().values())


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"excluded_samples": [96]}, "no sample 96"),
    ({"excluded_samples": range(96)}, "at least one"),
    ({"excluded_samples": [1.5]}, "whole number"),
    ({"relabelled": {96: 1}}, "no sample 96"),
    ({"relabelled": {1: -1}}, "an integer of at least 0"),
    ({"relabelled": {1: 0.5}}, "an integer of at least 0"),
    ({"relabelled": {1: [1, 2]}}, "sample 1 must be"),
    ({"relabelled": {1: "cat"}}, "sample 1 must be"),
]


@pytest.mark.parametrize(("changes", "words"), REFUSED, ids=str)
def test_what_is_no_sample_or_no_target_is_refused(changes: Any, words: str) -> None:
    with make() as dbg, pytest.raises(ControlValueError, match=words):
        dbg.set(**changes)


def row_net() -> nn.Module:
    torch.manual_seed(2)
    return nn.Linear(6, 2)


def test_targets_that_are_numbers_or_rows_are_replaced_by_such() -> None:
    wide = torch.zeros(96, 2)
    wanted = wide.clone()
    wanted[7] = torch.tensor([0.5, 1.5])
    options: dict[str, Any] = {"loss_fn": nn.MSELoss()}
    with nbd.Debugger(row_net(), (X, wide), **options) as dbg:
        with pytest.raises(ControlValueError, match=r"shape \(2,\)"):
            dbg.set(relabelled={7: 0.5})
        dbg.set(relabelled={"7": [0.5, 1.5]})
        assert dbg.controls["relabelled"] == {7: [0.5, 1.5]}
        dbg.run(epochs=1)
        with nbd.Debugger(row_net(), (X, wanted), **options) as other:
            other.run(epochs=1)
            assert equal(state(dbg), state(other))


def test_streams_have_no_numbered_samples() -> None:
    with KINDS["stream"](val_data=None) as dbg:
        for changes in ({"excluded_samples": [1]}, {"relabelled": {1: 1}}):
            with pytest.raises(ControlValueError, match="is a stream"):
                dbg.set(**changes)
        dbg.set(excluded_samples=[], relabelled={})
        dbg.run(steps=3)
        assert dbg.replay().equal


class Named(Dataset[Any]):
    """Samples that are dicts."""

    def __len__(self) -> int:
        return 96

    def __getitem__(self, index: int) -> Any:
        return {"x": X[index], "y": Y[index]}


def test_batches_without_a_tensor_of_targets_cannot_be_relabelled() -> None:
    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        return nn.functional.cross_entropy(model(batch["x"]), batch["y"])

    with make(data=Named(), step_fn=step, val_data=None, relabelled={2: 1}) as dbg:
        with pytest.raises(DataError, match="relabelled cannot be applied: A batch is a dict"):
            dbg.run(epochs=1)
        dbg.set(relabelled={}, excluded_samples=[2])
        dbg.run(epochs=1)
        with pytest.raises(ControlValueError, match="A batch is a dict"):
            dbg.set(relabelled={2: 1})


def test_a_script_says_that_it_cannot(tmp_path: Path) -> None:
    with make() as dbg:
        dbg.run(steps=3)
        dbg.set(excluded_samples=[3])
        dbg.run(steps=3)
        with pytest.raises(ScriptError, match=r"excluded_samples = .* at step 3"):
            dbg.script(tmp_path / "train.py")
    with make(relabelled={3: 0}) as dbg, pytest.raises(ScriptError, match="relabelled"):
        dbg.script(tmp_path / "train.py")
