"""One measurement while paused: histograms of now, and a training that is as it was."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.core.commands.running import WatchProbe
from nbdebug.training.engine.state_guard import StateGuard
from tests.inside import queue_of
from tests.problems import blobs, images, same_weights, tiny_cnn, tiny_mlp
from tests.training.stateful_models import CLASSES, FEATURES, STATES, iterator_model

PROBES = ("activation_histogram", "gradient_histogram")


def look(dbg: nbd.Debugger) -> None:
    """Open the tabs of both histograms, and close them again."""
    for on in (True, False):
        for name in PROBES:
            queue_of(dbg).put(WatchProbe(name, on)).answer.result(60)


class RandomTransform(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Samples that draw from all three global generators."""

    def __init__(self) -> None:
        self.x, self.y = blobs()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        noise = torch.randn(()) + random.random() + float(np.random.rand())
        return self.x[index] + noise, self.y[index]


def stateful(kind: str) -> Callable[[], dict[str, Any]]:
    def made() -> dict[str, Any]:
        torch.manual_seed(0)
        X = torch.randn(96, FEATURES)
        return {
            "model": STATES[kind](),
            "train_data": (X, X.sum(1).long() % CLASSES),
            "loss_fn": nn.CrossEntropyLoss(),
        }

    return made


def trained(model: nn.Module, data: Any, **more: Any) -> dict[str, Any]:
    return {"model": model, "train_data": data, "loss_fn": nn.CrossEntropyLoss(), **more}


def with_scheduler() -> dict[str, Any]:
    model = tiny_mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    return trained(model, blobs(), optimizer=optimizer, schedule=schedule)


def own_step(model: nn.Module, batch: Any) -> torch.Tensor:
    inputs, targets = batch
    return nn.functional.cross_entropy(model(inputs + 0.1 * torch.randn_like(inputs)), targets)


READY = list(zip(*(part.split(20) for part in blobs()), strict=True))
TRAININGS: dict[str, Callable[[], dict[str, Any]]] = {
    "dropout and BatchNorm": lambda: trained(tiny_mlp(), blobs()),
    "a CNN under AdamW": lambda: trained(tiny_cnn(), images(), optimizer="adamw"),
    "clipping by recent norms": lambda: trained(tiny_mlp(), blobs(), clip_mode="adaptive"),
    "random transforms": lambda: trained(tiny_mlp(), RandomTransform(), batch_size=32),
    "a scheduler": with_scheduler,
    "a step of the user": lambda: {
        "model": tiny_mlp(), "train_data": blobs(), "step_fn": own_step
    },
    "ready batches": lambda: trained(tiny_mlp(), READY),
    "a model that counts": stateful("a number"),
    "a model with a list": stateful("a list"),
    "a model with a generator": stateful("a generator of torch"),
}  # fmt: skip


@pytest.mark.parametrize("kind", TRAININGS)
def test_training_goes_on_as_if_nobody_had_looked(kind: str) -> None:
    ends = []
    for looked in (False, True):
        state = random.getstate(), np.random.get_state(), torch.get_rng_state()
        with nbd.Debugger(**TRAININGS[kind](), runs=None) as dbg:
            dbg.run(steps=7)
            if looked:
                look(dbg)
                found = dbg.history.snapshot().histograms
                assert found, dbg.history.notices
                assert {one.step for one in found.values()} == {7}
            dbg.run(steps=8)
            ends.append((dbg.model, dbg.history.frame(["loss", "grad_norm", "lr"])))
        random.setstate(state[0])
        np.random.set_state(state[1])
        torch.set_rng_state(state[2])
    (one, losses), (other, losses_looked) = ends
    assert same_weights(one, other)
    assert losses.equals(losses_looked)


def test_it_measures_the_paused_weights() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3))
    X = torch.eye(4).repeat(8, 1)
    with nbd.Debugger(model, (X, torch.zeros(32, dtype=torch.int64)), nn.CrossEntropyLoss(),
                      batch_size=32, runs=None) as dbg:  # fmt: skip
        dbg.run(steps=5)
        look(dbg)
        found = dbg.history.snapshot().histograms
    with torch.no_grad():
        outputs = model(X)
    loss = nn.functional.cross_entropy(model(X), torch.zeros(32, dtype=torch.int64))
    (gradient, _) = torch.autograd.grad(loss, list(model.parameters()))
    assert found["activation/0"].low == pytest.approx(float(outputs.min()), rel=1e-5)
    assert found["activation/0"].high == pytest.approx(float(outputs.max()), rel=1e-5)
    assert found["gradient/0.weight"].low == pytest.approx(float(gradient.min()), rel=1e-4)
    assert found["gradient/0.weight"].counts.sum() == 12


def test_before_the_first_step_and_while_training_runs_nothing_is_measured() -> None:
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), runs=None) as dbg:
        look(dbg)
        assert not dbg.history.snapshot().histograms
        assert not dbg.history.begun


def test_a_model_that_cannot_be_copied_is_not_measured_while_paused() -> None:
    X = torch.randn(96, FEATURES)
    with nbd.Debugger(iterator_model(), (X, X.sum(1).long() % CLASSES), nn.CrossEntropyLoss(),
                      runs=None) as dbg:  # fmt: skip
        dbg.run(steps=3)
        seen = next(dbg.model.held)  # type: ignore[call-overload]
        look(dbg)
        assert next(dbg.model.held) == seen + 1  # type: ignore[call-overload]
        assert not dbg.history.snapshot().histograms
        assert "held (generator)" in dbg.history.notices[-1].text


def test_what_the_users_code_raises_becomes_a_message() -> None:
    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if broken:
            raise RuntimeError("no loss today")
        return nn.functional.cross_entropy(outputs, targets)

    broken: list[int] = []
    with nbd.Debugger(tiny_mlp(), blobs(), loss, runs=None) as dbg:
        dbg.run(steps=3)
        broken.append(1)
        look(dbg)
        assert "no loss today" in dbg.history.notices[-1].text
        broken.clear()
        dbg.run(steps=3)
        assert dbg.history.status.step == 6


def test_a_cell_that_draws_random_numbers_meanwhile_is_no_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    restore = StateGuard.restore

    def then_draw(guard: StateGuard) -> None:
        restore(guard)
        # As a cell in the main thread may do at any time.
        torch.rand(3), np.random.rand(), random.random()

    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss()) as dbg:
        dbg.run(steps=3)
        monkeypatch.setattr(StateGuard, "restore", then_draw)
        look(dbg)
        assert not [one.title for one in dbg.history.notices if one.severity == "error"]
