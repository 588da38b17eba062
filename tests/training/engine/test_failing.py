"""A failed step pauses training, reports the reason, and restores everything."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.errors import DataError, LossError, ModelError, NonFiniteError
from tests.inside import optimizer_of
from tests.problems import CLASSES, FEATURES, PlainLoop, blobs, same_weights, tiny_mlp

STEPS = 12
FAILS_AT = 5
loss_fn = nn.CrossEntropyLoss()

LOSSES: dict[str, tuple[Callable[[torch.Tensor, torch.Tensor], Any], type[Exception], str]] = {
    "not a scalar": (
        lambda outputs, targets: nn.functional.cross_entropy(outputs, targets, reduction="none"),
        LossError,
        r"loss_fn gave a tensor of shape \(32,\): expected one number. Reduce it.*mean",
    ),
    "not a tensor": (
        lambda outputs, targets: loss_fn(outputs, targets).item(),
        LossError,
        "loss_fn gave a float: expected a scalar tensor",
    ),
    "nothing": (lambda outputs, targets: None, LossError, "loss_fn gave a NoneType"),
    "detached": (
        lambda outputs, targets: loss_fn(outputs, targets).detach(),
        LossError,
        "loss_fn does not depend on any trainable parameter.*detach",
    ),
    "an exception": (
        lambda outputs, targets: outputs["logits"],
        IndexError,
        "too many indices",
    ),
    "not finite": (
        lambda outputs, targets: loss_fn(outputs, targets) * float("nan"),
        NonFiniteError,
        "update of step 5 was not made",
    ),
}


def plain(steps: int = STEPS) -> PlainLoop:
    model = tiny_mlp()
    return PlainLoop(model, blobs(), torch.optim.Adam(model.parameters(), lr=1e-3)).run(steps)


class Faulty:
    """A loss that fails from step 5 on until it is fixed."""

    def __init__(self, fault: Callable[[torch.Tensor, torch.Tensor], Any]) -> None:
        self.fault, self.calls, self.mended = fault, 0, False

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor) -> Any:
        self.calls += 1
        if self.calls > FAILS_AT and not self.mended:
            return self.fault(outputs, targets)
        return loss_fn(outputs, targets)


@pytest.mark.parametrize("case", LOSSES)
def test_a_loss_that_fails_leaves_everything_as_it_was(case: str) -> None:
    fault, error, said = LOSSES[case]
    loss = Faulty(fault)
    with nbd.Debugger(tiny_mlp(), blobs(), loss, batch_size=32) as dbg:
        dbg.run(steps=FAILS_AT)
        weights, state = copy.deepcopy(dbg.model), optimizer_of(dbg).state_dict()
        state = copy.deepcopy(state)
        with pytest.raises(error, match=said):
            dbg.run(steps=STEPS - FAILS_AT)
        assert dbg.state == "paused"
        assert same_weights(dbg.model, weights)
        now = optimizer_of(dbg).state_dict()
        assert now["param_groups"] == state["param_groups"]
        assert all(
            torch.equal(now["state"][key][name], value)
            for key, values in state["state"].items()
            for name, value in values.items()
        )
        assert dbg.history.status.step == FAILS_AT
        assert len(dbg.history.frame("loss")) == FAILS_AT


@pytest.mark.parametrize("case", [case for case in LOSSES if case != "not finite"])
def test_training_goes_on_as_if_it_had_not_failed(case: str) -> None:
    fault, error, _ = LOSSES[case]
    loss = Faulty(fault)
    with nbd.Debugger(tiny_mlp(), blobs(), loss, batch_size=32) as dbg:
        for _ in range(3):
            with pytest.raises(error):
                dbg.run(steps=STEPS)
        loss.mended = True
        dbg.run(steps=STEPS - FAILS_AT)
        assert dbg.failure is None
        assert dbg.history.frame("loss")["loss"].tolist() == plain().losses
        assert same_weights(dbg.model, plain().model)


def test_the_failure_shows_title_text_and_traceback() -> None:
    loss = Faulty(LOSSES["an exception"][0])
    with nbd.Debugger(tiny_mlp(), blobs(), loss, batch_size=32) as dbg:
        with pytest.raises(IndexError):
            dbg.run(steps=STEPS)
        failure = dbg.failure
    assert failure is not None
    assert (failure.step, failure.severity) == (FAILS_AT, "error")
    assert failure.title == f"Stopped at step {FAILS_AT}: IndexError"
    assert 'outputs["logits"]' in failure.traceback
    assert "Fix it" in failure.text


def test_a_forward_pass_that_fails_late_leaves_no_trace() -> None:
    class Late(nn.Module):
        """Fails after batch normalisation and dropout have run."""

        def __init__(self) -> None:
            super().__init__()
            self.net = tiny_mlp()
            self.calls, self.mended = 0, False

        def forward(self, X: torch.Tensor) -> Any:
            outputs = self.net(X)
            self.calls += 1
            if self.calls > FAILS_AT and not self.mended:
                raise ValueError("the last layer is missing")
            return outputs

    model = Late()
    with nbd.Debugger(model, blobs(), loss_fn, batch_size=32) as dbg:
        with pytest.raises(ValueError, match="the last layer is missing"):
            dbg.run(steps=STEPS)
        assert same_weights(model.net, plain(FAILS_AT).model)
        model.mended = True
        dbg.run(steps=STEPS - FAILS_AT)
        assert same_weights(model.net, plain().model)


def test_a_batch_that_is_not_finite_does_not_spoil_running_statistics() -> None:
    X, y = blobs()
    X[17] = float("nan")
    with nbd.Debugger(tiny_mlp(), (X, y), loss_fn, batch_size=20) as dbg:
        with pytest.raises(NonFiniteError):
            dbg.run(epochs=1)
        for name, value in dbg.model.state_dict().items():
            assert torch.isfinite(value.float()).all(), name
        dbg.run(steps=3)
        assert dbg.failure is None


def test_data_on_another_device_is_named_with_both_devices() -> None:
    model = tiny_mlp()
    X, y = blobs()
    before = copy.deepcopy(model)

    def elsewhere(samples: list[Any]) -> Any:
        rows, labels = zip(*samples, strict=True)
        return torch.stack(rows).to("meta"), torch.stack(labels)

    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(X, y), batch_size=32, collate_fn=elsewhere
    )
    with nbd.Debugger(model, loader, loss_fn) as dbg:
        with pytest.raises(DataError, match=r"data is on meta, the model on cpu: put the data on"):
            dbg.step()
        assert same_weights(model, before)
        assert dbg.history.series == ()


def test_a_batch_without_targets_says_what_to_give() -> None:
    class Single(torch.utils.data.Dataset[torch.Tensor]):
        def __len__(self) -> int:
            return 40

        def __getitem__(self, index: int) -> torch.Tensor:
            return torch.zeros(FEATURES)

    with (
        nbd.Debugger(tiny_mlp(), Single(), loss_fn) as dbg,
        pytest.raises(DataError, match=r"A batch is a Tensor: expected .*step_fn"),
    ):
        dbg.step()


def test_sparse_gradients_are_refused_by_name() -> None:
    model = nn.Sequential(nn.EmbeddingBag(10, CLASSES, sparse=True))
    data = torch.randint(0, 10, (40, 3)), torch.zeros(40, dtype=torch.int64)
    with (
        nbd.Debugger(model, data, loss_fn, optimizer="sgd") as dbg,
        pytest.raises(ModelError, match=r"0.weight has a sparse gradient.*sparse=False"),
    ):
        dbg.step()
