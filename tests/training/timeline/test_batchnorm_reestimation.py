"""Re-estimation of BatchNorm statistics between two steps does not change anything else."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn
from torch.utils.data import IterableDataset

import nbdebug as nbd
from nbdebug.errors import ModelError
from nbdebug.training.timeline.batchnorm_reestimation import MAX_BATCHES
from tests.problems import CLASSES, FEATURES, PlainLoop, blobs, same_weights, tiny_mlp


def debugger(model: nn.Module, data: Any = None, **keywords: Any) -> nbd.Debugger:
    given = blobs() if data is None else data
    return nbd.Debugger(model, given, nn.CrossEntropyLoss(), batch_size=32, **keywords)


def sharp() -> nn.Sequential:
    """A model without randomness: estimates depend on weights and batches only."""
    return tiny_mlp(dropout=0.0)


def test_statistics_are_those_of_torch_on_the_same_batches() -> None:
    X, _ = blobs()
    with debugger(sharp()) as dbg:
        dbg.run(steps=5)
        reference = copy.deepcopy(dbg.model)
        dbg.reestimate_batchnorm()
        # The order is seeded with the step; the short last batch is excluded.
        order = torch.randperm(200, generator=torch.Generator().manual_seed(5)).split(32)[:6]
        update_bn([X[indices] for indices in order], reference)
        assert same_weights(dbg.model, reference)
        change = dbg.changes.iloc[-1]
        assert (change.control, change.old, change.new) == (
            "bn_statistics",
            "track",
            "re-estimated",
        )
        assert (change.step, change.status) == (5, "applied")
        assert "6 training batches" in change.note
        assert dbg.controls["bn_statistics"] == "track"


def test_training_goes_on_with_the_same_batches_and_masks() -> None:
    reference = tiny_mlp()
    PlainLoop(reference, blobs(), torch.optim.Adam(reference.parameters())).run(30)
    model = tiny_mlp()
    outside = torch.get_rng_state()
    with debugger(model) as dbg:
        dbg.run(steps=11)
        dbg.reestimate_batchnorm()
        assert torch.equal(torch.get_rng_state(), outside)
        dbg.run(steps=19)
    # Training mode does not use the running statistics, so the weights cannot differ.
    for name, value in reference.named_parameters():
        assert torch.equal(value, dict(model.named_parameters())[name])


def test_masks_come_from_the_numbers_of_the_session() -> None:
    def estimate(outside: int) -> torch.Tensor:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(FEATURES), nn.Linear(FEATURES, 4))
        with debugger(model) as dbg:
            dbg.run(steps=2)
            torch.manual_seed(outside)
            dbg.reestimate_batchnorm()
        return model[1].running_var.clone()

    assert torch.equal(estimate(1), estimate(2))


def test_at_most_a_hundred_batches_are_taken() -> None:
    with debugger(sharp(), blobs(1000)) as dbg:
        dbg.set(batch_size=5)
        dbg.reestimate_batchnorm()
        assert dbg.model[1].num_batches_tracked == MAX_BATCHES == 100


def test_frozen_statistics_are_estimated_and_stay_frozen() -> None:
    with debugger(sharp()) as dbg:
        dbg.set(bn_statistics="freeze")
        dbg.reestimate_batchnorm()
        assert dbg.model[1].num_batches_tracked == 6
        kept = dbg.model[1].running_mean.clone()
        dbg.run(steps=3)
        assert torch.equal(dbg.model[1].running_mean, kept)
        assert dbg.controls["bn_statistics"] == "freeze"


def test_it_works_while_training_runs_and_with_a_step_function() -> None:
    def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    with nbd.Debugger(tiny_mlp(), blobs(), step_fn=step_fn) as dbg:
        dbg.start()
        dbg.reestimate_batchnorm()
        dbg.pause()
        assert dbg.changes.iloc[-1].status == "applied"
        assert dbg.failure is None


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(zip(*blobs(), strict=True))


@pytest.mark.parametrize(
    ("model", "data", "reason"),
    [
        (lambda: nn.Sequential(nn.Linear(FEATURES, CLASSES)), None, "No BatchNorm"),
        (tiny_mlp, Stream(), "is a stream"),
    ],
    ids=["no norm", "stream"],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(
    model: Any, data: Any, reason: str
) -> None:
    with debugger(model(), data) as dbg:
        dbg.run(steps=2)
        before = copy.deepcopy(dbg.model.state_dict())
        with pytest.raises(ModelError, match=reason):
            dbg.reestimate_batchnorm()
        assert all(torch.equal(before[k], value) for k, value in dbg.model.state_dict().items())
        assert dbg.changes.iloc[-1].status == "refused"
        dbg.run(steps=2)
        assert dbg.history.status.step == 4


def test_a_model_that_raises_is_told_and_nothing_is_changed() -> None:
    class Moody(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.calls, self.limit = tiny_mlp(), 0, 10**9

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            if self.calls > self.limit:
                raise RuntimeError("enough")
            return self.body(x)

    model = Moody()
    with debugger(model) as dbg:
        dbg.run(steps=3)
        before = copy.deepcopy(model.state_dict())
        model.limit = model.calls + 2
        with pytest.raises(ModelError, match="RuntimeError: enough"):
            dbg.reestimate_batchnorm()
        assert all(torch.equal(before[k], value) for k, value in model.state_dict().items())
        assert model.body[1].momentum == 0.1
        assert model.body[1].training
        model.limit = 10**9
        dbg.run(steps=1)
