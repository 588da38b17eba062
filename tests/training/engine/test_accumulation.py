"""`accumulate=k`: one update for k batches, as a plain loop makes it, to the bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from random import Random
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import nbdebug as nbd
from nbdebug.model.metrics import averaged
from tests.inside import loop_of, session_of
from tests.problems import same_weights
from tests.training.engine.accumulation import N, PlainLoop, X, Y, cross_entropy, net

STEPS = 11


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=0.01)


def debugger(model: nn.Module, data: Any = None, **options: Any) -> nbd.Debugger:
    options = {"batch_size": 8, "accumulate": 4, "optimizer": adam(model), **options}
    if "step_fn" not in options:
        options.setdefault("loss_fn", nn.CrossEntropyLoss())
    return nbd.Debugger(model, (X, Y) if data is None else data, **options)


def compare(dbg: nbd.Debugger, plain: PlainLoop, steps: int = STEPS) -> None:
    """Expect weights, losses, norms and counts of samples of the plain loop."""
    plain.run(steps)
    left = steps - dbg.history.status.step
    if left:
        dbg.run(steps=left)
    frame = dbg.history.frame()
    assert frame["loss"].tolist() == plain.losses
    assert frame["grad_norm"].tolist() == plain.norms
    seen = [0, *frame["samples"].tolist()]
    assert [b - a for a, b in pairwise(seen)] == plain.samples
    assert same_weights(dbg.model, plain.model)


def plain_loop(**options: Any) -> PlainLoop:
    model = net()
    return PlainLoop(model, adam(model), **options)


# The sizes leave a last batch of 2 samples, of a last step of 4; 3, 2 and 1 batches.
@pytest.mark.parametrize("count", [1, 2, 3, 4, 12, 50])
def test_numbers_are_those_of_a_plain_loop(count: int) -> None:
    with debugger(net(), accumulate=count) as dbg:
        compare(dbg, plain_loop(accumulate=count))


@pytest.mark.parametrize(
    ("mode", "threshold", "clip"),
    [
        ("norm", 0.3, partial(nn.utils.clip_grad_norm_, max_norm=0.3)),
        ("value", 0.02, partial(nn.utils.clip_grad_value_, clip_value=0.02)),
    ],
)
def test_the_accumulated_gradient_is_clipped_once(
    mode: str, threshold: float, clip: Callable[[Any], Any]
) -> None:
    with debugger(net(), clip_mode=mode, clip_threshold=threshold) as dbg:
        compare(dbg, plain_loop(clip=clip))
        assert dbg.history.frame("clipped")["clipped"].sum() > 0


def autocast_loss(model: nn.Module, batch: Any) -> torch.Tensor:
    x, y = batch
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return nn.functional.cross_entropy(model(x), y)


def test_bfloat16_under_autocast() -> None:
    with debugger(net(), step_fn=autocast_loss) as dbg:
        compare(dbg, plain_loop(loss=autocast_loss))


def test_a_gradient_scaler_unscales_and_steps_once() -> None:
    scaler, own = (torch.amp.GradScaler("cpu", init_scale=2.0**10) for _ in range(2))
    with debugger(net(), scaler=scaler) as dbg:
        compare(dbg, plain_loop(scaler=own))
    assert scaler.state_dict() == own.state_dict()


class Pairs(Dataset[Any]):
    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        return X[index], Y[index]


def centred(samples: list[Any]) -> Any:
    """A collate function that sees its batch as a whole."""
    x = torch.stack([one for one, _ in samples])
    return x - x.mean(0), torch.stack([one for _, one in samples])


def centred_loss(model: nn.Module, batch: Any) -> torch.Tensor:
    x, y = batch
    return cross_entropy(model, (x - x.mean(0), y))


@pytest.mark.parametrize("workers", [0, 2])
def test_each_batch_is_collated_by_itself(workers: int) -> None:
    loader = DataLoader(
        Pairs(), batch_size=8, shuffle=True, collate_fn=centred, num_workers=workers
    )
    with debugger(net(), loader, batch_size=None) as dbg:
        compare(dbg, plain_loop(loss=centred_loss), 7)


class Ready(IterableDataset[Any]):
    """A stream of samples, one pass after the other."""

    def __iter__(self) -> Iterator[Any]:
        yield from zip(X, Y, strict=True)


def ready_batches() -> list[Any]:
    return [(X[i : i + 8], Y[i : i + 8]) for i in range(0, N, 8)]


class Generated:
    """An iterable of ready batches."""

    def __iter__(self) -> Iterator[Any]:
        yield from ready_batches()


@pytest.mark.parametrize(
    "data",
    [
        lambda: ready_batches(),
        lambda: Generated(),
        lambda: DataLoader(Ready(), batch_size=8),
        lambda: DataLoader(TensorDataset(X, Y), batch_size=8),
        lambda: DataLoader(Pairs(), batch_sampler=torch.arange(N).split(8)),
    ],
    ids=["list", "generated", "stream", "loader", "own batches"],
)
def test_ready_batches_and_streams_are_taken_one_by_one(data: Callable[[], Any]) -> None:
    made = data()
    shuffled = isinstance(made, list)
    with debugger(net(), made, batch_size=None) as dbg:
        if shuffled:
            # A list of ready batches has an order of its own, which is not compared here.
            dbg.run(steps=6)
            assert dbg.history.frame("samples")["samples"].tolist()[2] == N
        else:
            compare(dbg, plain_loop(batches=lambda: iter(ready_batches())), 7)


def test_accumulate_and_batch_size_change_in_the_middle() -> None:
    def both(loop: PlainLoop) -> None:
        loop.accumulate, loop.batch_size = 3, 7

    plain = plain_loop(at={2: both, 6: lambda loop: setattr(loop, "accumulate", 1)})
    with debugger(net()) as dbg:
        dbg.run(steps=2)
        dbg.set(accumulate=3, batch_size=7)
        dbg.run(steps=4)
        dbg.set(accumulate=1)
        compare(dbg, plain)
        assert dbg.changes[["control", "old", "new"]].to_numpy().tolist() == [
            ["accumulate", 4, 3], ["batch_size", 8, 7], ["accumulate", 3, 1],
        ]  # fmt: skip
        assert "linear scaling" in dbg.changes.iloc[0]["note"]


@pytest.mark.parametrize("seed", range(4))
def test_any_changes_are_those_of_a_plain_loop(seed: int) -> None:
    random = Random(seed)
    steps = sorted(random.sample(range(1, 20), 4))
    drawn = {
        step: {"accumulate": random.randint(1, 15), "batch_size": random.choice([6, 9, 11, 45])}
        for step in steps
    }
    plain = plain_loop(at={step: partial(change, **values) for step, values in drawn.items()})
    with debugger(net()) as dbg:
        for step, values in drawn.items():
            dbg.run(steps=step - dbg.history.status.step)
            dbg.set(**values)
        compare(dbg, plain, 24)
        assert dbg.replay().equal


def change(loop: PlainLoop, **values: int) -> None:
    for name, value in values.items():
        setattr(loop, name, value)


def test_the_series_name_batches_and_not_steps() -> None:
    with debugger(net(), val_data=(X[:20], Y[:20])) as dbg:
        dbg.run(epochs=1)
        assert dbg.history.status.step == 3
        frame = dbg.history.frame()
        assert frame["batch_size"].tolist() == [8, 8, 8]
        assert frame["epoch"].tolist() == [32 / N, 64 / N, 1.0]
        assert frame["val_loss"].notna().tolist() == [False, False, True]
        assert frame["accumulate"].dropna().iloc[-1] == 4
        assert dbg.controls["accumulate"] == 4


def test_a_schedule_counts_steps_and_learns_the_length_of_an_epoch() -> None:
    model = net()
    optimizer = adam(model)
    halving = torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
    with debugger(model, optimizer=optimizer, schedule=halving, schedule_every="epoch") as dbg:
        assert session_of(dbg).steps_per_epoch == 3
        dbg.run(steps=7)
        assert dbg.history.frame("lr")["lr"].tolist() == [0.01] * 6 + [0.005]


def logs(model: nn.Module, batch: Any) -> Any:
    x, y = batch
    outputs = model(x)
    loss = nn.functional.cross_entropy(outputs, y)
    return loss, {"size": float(len(x)), "largest": outputs.abs().max()}


def test_what_a_step_function_logs_is_averaged_over_the_samples() -> None:
    with debugger(net(), step_fn=logs) as dbg:
        compare(dbg, plain_loop(loss=lambda model, batch: logs(model, batch)[0]), 4)
        sizes = dbg.history.frame("size")["size"].tolist()
    last = [8, 8, 8, 2]
    assert sizes[:2] == [8, 8]
    assert sizes[2] == pytest.approx(sum(n * n for n in last) / sum(last))


def share_right(outputs: Any, targets: Any) -> torch.Tensor:
    return (outputs.argmax(1) == targets).float().mean()


def test_metrics_are_averaged_over_the_samples() -> None:
    seen: list[tuple[int, float]] = []

    def metric(outputs: Any, targets: Any) -> torch.Tensor:
        found = share_right(outputs, targets)
        seen.append((len(targets), float(found)))
        return found

    with debugger(net(), metrics={"right": metric}) as dbg:
        dbg.run(steps=1)
        value = dbg.history.frame("right")["right"].iloc[0]
        assert [count for count, _ in seen] == [8, 8, 8, 8]
        assert value == pytest.approx(sum(share for _, share in seen) / 4)


def test_every_probe_measures_steps_of_several_batches() -> None:
    with debugger(net(), overhead=1.0) as dbg:
        runner = loop_of(dbg).probes
        for name in runner.scheduled:
            runner.watch(name, True)
        dbg.run(steps=21)
        assert [n.title for n in dbg.history.notices if n.severity != "info"] == []
        wanted = {
            "update_ratio/0.weight", "grad_norm/0.weight", "activation_mean/0", "near_zero/0",
            "overshoot", "accuracy", "output_spread", "left_gradient", "variance_shift/1",
            "eval_loss",
        }  # fmt: skip
        assert wanted - set(dbg.history.series) == set()
        assert {"activation/0", "gradient/0.bias"} <= set(dbg.history.snapshot(()).histograms)
        assert dbg.history.frame("left_gradient")["left_gradient"].max() == 0.0


def test_values_that_a_batch_lacks_do_not_count() -> None:
    found: Any = averaged([(2, {"a": 1.0, "b": torch.tensor(3.0)}), (6, {"a": 5.0})])
    assert found == {"a": 4.0, "b": 3.0}


def test_a_loss_is_known_by_its_value_for_the_batch_that_is_looked_at() -> None:
    with debugger(net(0.0)) as dbg:
        dbg.run(steps=1)
        assert math.isfinite(dbg.history.last("eval_loss"))
        assert "constant_loss" in dbg.history.series


def test_a_loop_of_ones_own_is_told_where_to_set_it() -> None:
    model = net()
    dbg = nbd.watch(model, adam(model))
    with dbg, pytest.raises(nbd.ControlValueError, match=r"the loop itself decides"):
        dbg.set(accumulate=2)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "4", True, math.nan])
def test_wrong_values_are_refused(wrong: Any) -> None:
    with pytest.raises(nbd.ControlValueError, match=r"accumulate must be a"):
        debugger(net(), accumulate=wrong)


@pytest.mark.parametrize("word", ["gradient_accumulation_steps", "accumulate_grad_batches"])
def test_words_of_other_libraries_are_told_the_name(word: str) -> None:
    with pytest.raises(nbd.ArgumentError, match=r"accumulate"):
        nbd.Debugger(net(), (X, Y), nn.CrossEntropyLoss(), **{word: 4})
