"""An average that is still the initial weights at the end is named; one that follows is not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn, get_ema_multi_avg_fn

import nbdebug as nbd
from nbdebug.core.results.findings import Finding

X = torch.randn(640, 8, generator=torch.Generator().manual_seed(5))
Y = (X[:, :2].prod(1) > 0).long()
BATCHES = [(X[at : at + 16], Y[at : at + 16]) for at in range(0, 640, 16)]
Update = Callable[[nn.Module, int], Any]
Make = Callable[[nn.Module], Update]


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 2))


def found(dbg: nbd.Debugger) -> list[Finding]:
    return [one for one in dbg.findings if one.name == "slow_average"]


def in_loop(make: Make, epochs: int = 10, each_epoch: bool = False) -> list[Finding]:
    """Findings after 40 updates per epoch, where `make(model)` gives what follows an update."""
    model = network()
    update = make(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        number = 0
        for _ in dbg.epochs(epochs):
            for inputs, labels in dbg.batches(BATCHES):
                optimizer.zero_grad()
                functional.cross_entropy(model(inputs), labels).backward()
                optimizer.step()
                number += 1
                if not each_epoch:
                    update(model, number)
            if each_epoch:
                update(model, number)
        dbg.wait(20)
        return found(dbg)


def lerp(decay: float, every: int = 1) -> Make:
    def make(model: nn.Module) -> Update:
        average = copy.deepcopy(model)

        def update(model: nn.Module, number: int) -> None:
            if number % every:
                return
            with torch.no_grad():
                for one, own in zip(average.parameters(), model.parameters(), strict=True):
                    one.lerp_(own, 1 - decay)

        return update

    return make


def mul_add(decay: Callable[[int], float]) -> Make:
    def make(model: nn.Module) -> Update:
        teacher = copy.deepcopy(model).eval().requires_grad_(False)

        def update(model: nn.Module, number: int) -> None:
            for one, own in zip(teacher.parameters(), model.parameters(), strict=True):
                one.data.mul_(decay(number)).add_(own.data, alpha=1 - decay(number))

        return update

    return make


def averaged(**keywords: Any) -> Make:
    def make(model: nn.Module) -> Update:
        average = AveragedModel(model, **keywords)
        return lambda model, number: average.update_parameters(model)

    return make


class Shadow:
    """The averages that many programs have: a dictionary, in which each update binds anew."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow = {n: p.detach().clone() for n, p in model.named_parameters()}

    def __call__(self, model: nn.Module, number: int) -> None:
        for name, own in model.named_parameters():
            self.shadow[name] = self.decay * self.shadow[name] + (1 - self.decay) * own.detach()


class States:
    """Averages a state dict in place, buffers too."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.state = decay, copy.deepcopy(model.state_dict())

    def __call__(self, model: nn.Module, number: int) -> None:
        for name, own in model.state_dict().items():
            if own.is_floating_point():
                self.state[name].mul_(self.decay).add_(own, alpha=1 - self.decay)


def hard(every: int) -> Make:
    def make(model: nn.Module) -> Update:
        target = copy.deepcopy(model)

        def update(model: nn.Module, number: int) -> None:
            if number % every == 0:
                target.load_state_dict(model.state_dict())

        return update

    return make


def frozen(model: nn.Module) -> Update:
    teacher = copy.deepcopy(model)
    return lambda model, number: teacher.eval()


def best(model: nn.Module) -> Update:
    kept = {"best": copy.deepcopy(model.state_dict())}
    return lambda model, number: kept.update(best=copy.deepcopy(model.state_dict()))


def rival(model: nn.Module) -> Update:
    """Another network of the same shapes, which learns by itself."""
    other = copy.deepcopy(model)
    optimizer = torch.optim.SGD(other.parameters(), lr=1e-3)

    def update(model: nn.Module, number: int) -> None:
        optimizer.zero_grad()
        functional.cross_entropy(other(X[:64]), Y[:64]).backward()
        optimizer.step()

    return update


SICK: dict[str, Make] = {
    "0.9999 by lerp": lerp(0.9999),
    "0.999 in 400 steps": lerp(0.999),
    "0.9995 by mul and add": mul_add(lambda n: 0.9995),
    "0.9999 by torch": averaged(multi_avg_fn=get_ema_multi_avg_fn(0.9999)),
    "0.9999 by a function": averaged(avg_fn=get_ema_avg_fn(0.9999)),
    "a dictionary that is bound anew": lambda model: Shadow(model, 0.9998),
    "a state dict in place": lambda model: States(model, 0.9998),
    "each second step": lerp(0.999, 2),
}
HEALTHY: dict[str, Make] = {
    "a decay for this run": lerp(0.97),
    "a teacher of 0.996": mul_add(lambda n: 0.996),
    "a target network of 0.005": lerp(0.995),
    "a decay that warms up": mul_add(lambda n: min(0.9999, (1 + n) / (10 + n))),
    "a mean of all weights": averaged(),
    "hard copies": hard(50),
    "hard copies at each step": hard(1),
    "a frozen teacher": frozen,
    "the best weights": best,
    "another network": rival,
    "a dictionary": lambda model: Shadow(model, 0.98),
}


@pytest.mark.parametrize("name", SICK)
def test_an_average_that_hardly_moved_is_named(name: str) -> None:
    (one,) = in_loop(SICK[name])
    assert "it began with" in one.seen
    assert "0.975" in one.remedies[0].text


@pytest.mark.parametrize("name", HEALTHY)
def test_one_that_follows_is_not(name: str) -> None:
    assert in_loop(HEALTHY[name]) == []


def test_the_decay_and_what_is_left_are_right() -> None:
    (one,) = in_loop(lerp(0.9995))
    assert "about 0.9995" in one.seen
    assert "2,000 steps" in one.seen
    assert one.value == pytest.approx(0.9995**400, rel=0.02)


def test_a_mean_of_a_few_epochs_is_left_alone() -> None:
    assert in_loop(averaged(), each_epoch=True) == []
    assert in_loop(lerp(0.9), each_epoch=True) == []


def test_a_step_fn_and_a_model_that_holds_it_are_seen() -> None:
    for decay, named in ((0.9999, True), (0.98, False)):
        model, update = network(), None

        class Both(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.online = network()
                self.momentum = copy.deepcopy(self.online).requires_grad_(False)

        both = Both()
        update = lerp(decay)(model)

        def step(model: nn.Module, batch: Any, update: Any = update) -> torch.Tensor:
            update(model, 0)
            return functional.cross_entropy(model(batch[0]), batch[1])

        def held(both: Any, batch: Any, decay: float = decay) -> torch.Tensor:
            pairs = zip(both.momentum.parameters(), both.online.parameters(), strict=True)
            for one, own in pairs:
                one.data.lerp_(own.data, 1 - decay)
            return functional.cross_entropy(both.online(batch[0]), batch[1])

        for module, function in ((model, step), (both, held)):
            with nbd.Debugger(module, (X, Y), step_fn=function, batch_size=16, runs=None) as dbg:
                dbg.run(epochs=8)
                assert bool(found(dbg)) is named


def test_a_run_that_is_not_over_is_not_judged() -> None:
    model = network()
    update = lerp(0.9999)(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with nbd.watch(model, optimizer, runs=None) as dbg:

        def loop() -> None:
            for _ in dbg.epochs(10**4):
                for inputs, labels in dbg.batches(BATCHES):
                    optimizer.zero_grad()
                    functional.cross_entropy(model(inputs), labels).backward()
                    optimizer.step()
                    update(model, 1)

        dbg.break_when("step >= 200")
        dbg.run(loop)
        assert dbg.wait(60)
        assert found(dbg) == []
        dbg.end_loop()


def test_steps_without_data_are_seen() -> None:
    model = network()
    average = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for number in range(160):
            with dbg.step():
                inputs, labels = BATCHES[number % 40]
                optimizer.zero_grad()
                functional.cross_entropy(model(inputs), labels).backward()
                optimizer.step()
                with torch.no_grad():
                    for one, own in zip(average.parameters(), model.parameters(), strict=True):
                        one.mul_(0.9999).add_(own, alpha=1e-4)
        dbg.wait(20)
        rates = dbg.history.frame("average_rate/average")["average_rate/average"].dropna()
        assert rates.to_numpy()[1:] == pytest.approx(1e-4, rel=0.05)


@pytest.mark.parametrize(("decay", "named"), [(0.99999, True), (0.9, False)])
def test_one_that_is_validated_is_named_while_it_trains(decay: float, named: bool) -> None:
    model = network()
    average = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for _ in dbg.epochs(8):
            for inputs, labels in dbg.batches(BATCHES):
                optimizer.zero_grad()
                functional.cross_entropy(model(inputs), labels).backward()
                optimizer.step()
                with torch.no_grad():
                    for kept, now in zip(average.parameters(), model.parameters(), strict=True):
                        kept.lerp_(now, 1 - decay)
            with torch.no_grad():
                dbg.log(val_loss=functional.cross_entropy(average(X), Y).item())
            if dbg.history.status.step >= 280:
                assert not dbg.history.status.finished
                assert bool(found(dbg)) == named
                break
