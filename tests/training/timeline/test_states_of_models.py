"""Plain attributes of a model are a part of its state: looking around moves nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import nbdebug as nbd
from tests.draw import some
from tests.problems import PlainLoop, same_weights
from tests.training.looking import LOOKING
from tests.training.stateful_models import (
    ASIDE,
    CLASSES,
    FEATURES,
    STATES,
    LazyState,
    Stateful,
)

N, BATCH = 96, 16
DATA = torch.Generator().manual_seed(5)
X = torch.randn(N, FEATURES, generator=DATA)
Y = torch.randint(0, CLASSES, (N,), generator=DATA)
MODELS: dict[str, Callable[[], nn.Module]] = {**STATES, **ASIDE, "made lazily": LazyState}


def built(kind: str) -> nn.Module:
    torch.manual_seed(0)
    return MODELS[kind]()


def make(kind: str, **options: object) -> nbd.Debugger:
    return nbd.Debugger(built(kind), (X, Y), nn.CrossEntropyLoss(), batch_size=BATCH, **options)


def bare(kind: str, steps: int) -> nn.Module:
    model = built(kind)
    PlainLoop(model, (X, Y), torch.optim.Adam(model.parameters(), 1e-3), BATCH).run(steps)
    return model


@pytest.mark.soak
@pytest.mark.parametrize("kind", some(MODELS, share=2, seed=1))
def test_every_look_leaves_training_as_it_was(kind: str) -> None:
    with make(kind) as dbg:
        for look in LOOKING.values():
            dbg.run(steps=2)
            look(dbg)
        dbg.run(steps=2)
        assert same_weights(dbg.model, bare(kind, 2 * len(LOOKING) + 2))


@pytest.mark.parametrize("look", LOOKING)
def test_the_look_that_moves_something_is_named(look: str) -> None:
    with make("an object") as dbg:
        dbg.run(steps=3)
        LOOKING[look](dbg)
        dbg.run(steps=3)
        assert same_weights(dbg.model, bare("an object", 6))


@pytest.mark.parametrize("kind", MODELS)
def test_a_replay_is_exact(kind: str) -> None:
    with make(kind) as dbg:
        dbg.run(steps=8)
        assert dbg.timeline.replay().equal


@pytest.mark.soak
@pytest.mark.parametrize("kind", some(MODELS, share=2, seed=2))
def test_a_rewind_brings_the_state_back(kind: str) -> None:
    with make(kind) as dbg:
        dbg.run(steps=9)
        assert dbg.timeline.rewind(4).equal
        dbg.run(steps=5)
        assert same_weights(dbg.model, bare(kind, 9))


@pytest.mark.soak
@pytest.mark.parametrize("kind", some(MODELS, share=2, seed=3))
def test_a_reset_begins_with_the_first_state(kind: str) -> None:
    with make(kind) as dbg:
        dbg.run(steps=5)
        dbg.reset()
        dbg.run(steps=5)
        assert same_weights(dbg.model, bare(kind, 5))


@pytest.mark.soak
@pytest.mark.parametrize("kind", some(MODELS, share=2, seed=4))
def test_a_resumed_training_goes_on_with_the_state(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with make(kind, name="a run") as dbg:
        dbg.run(steps=5)
    resumed = nbd.Debugger.resume("a run", built(kind), (X, Y), nn.CrossEntropyLoss())
    with resumed as dbg:
        dbg.run(steps=5)
        assert same_weights(dbg.model, bare(kind, 10))


class SecondName(nn.Module):
    """Begins with an attribute that is a parameter under a second name, and binds it anew."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(FEATURES, CLASSES)
        self.slow = self.layer.weight.data

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.slow = 0.9 * self.slow + 0.1 * self.layer.weight.detach()
        found: torch.Tensor = self.layer(x) + nn.functional.linear(x, self.slow)
        return found


def spectral() -> nn.Module:
    layer = nn.utils.spectral_norm(nn.Linear(FEATURES, 8))
    return nn.Sequential(layer, nn.ReLU(), nn.Linear(8, CLASSES))


def weight_normed() -> nn.Module:
    layer = nn.utils.weight_norm(nn.Linear(FEATURES, 8))
    return nn.Sequential(layer, nn.ReLU(), nn.Linear(8, CLASSES))


SECOND_NAMES: list[Callable[[], nn.Module]] = [SecondName, spectral, weight_normed]


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("model", SECOND_NAMES)
def test_a_second_name_of_a_parameter_does_not_overwrite_it(
    model: Callable[[], nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(MODELS, "second name", model)
    with make("second name", name="a run") as dbg:
        dbg.run(steps=5)
    resumed = nbd.Debugger.resume("a run", built("second name"), (X, Y), nn.CrossEntropyLoss())
    with resumed as dbg:
        dbg.run(steps=5)
        assert same_weights(dbg.model, bare("second name", 10))


def test_values_that_two_attributes_share_stay_shared() -> None:
    with make("one list under two names") as dbg:
        dbg.run(steps=4)
        dbg.timeline.rewind(2)
        model = dbg.model
        assert isinstance(model, Stateful)
        assert model.held["a"] is model.held["b"]
        assert len(model.held["a"]) == 2


def test_the_objects_of_the_user_stay_the_same_objects() -> None:
    model = built("an object")
    assert isinstance(model, Stateful)
    meter, seen = model.held, model.held.seen
    with nbd.Debugger(model, (X, Y), nn.CrossEntropyLoss(), batch_size=BATCH) as dbg:
        dbg.run(steps=4)
        dbg.timeline.rewind(1)
        assert model.held is meter
        assert model.held.seen is seen
        assert len(seen) == 1
