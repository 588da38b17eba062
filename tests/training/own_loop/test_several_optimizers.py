"""Loops with several optimizers: each has its own loss, norm, learning rate and threshold."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.training.own_loop.loops import Batches, Epochs, OwnLoop, X, Y, mlp

bce = functional.binary_cross_entropy_with_logits


class Gan(OwnLoop):
    """A generator and a discriminator, as they are written most often.

    Attributes:
        seen: by name of the optimizer the steps, losses and gradient norms of its updates.
    """

    clip: float | None = None
    schedules = False

    def make(self) -> None:
        self.G, self.D = mlp(4, 8), mlp(8, 1)
        self.optimizers: dict[str, torch.optim.Optimizer] = self.make_optimizers()
        self.loader = DataLoader(TensorDataset(X), batch_size=16, shuffle=True)
        self.seen: dict[str, list[tuple[int, float, float]]] = {n: [] for n in self.optimizers}
        self.step = 0
        self.schedulers = [
            lr_scheduler.StepLR(one, 4, 0.5) for one in self.optimizers.values() if self.schedules
        ]

    def make_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {
            "G": torch.optim.Adam(self.G.parameters(), lr=1e-3),
            "D": torch.optim.Adam(self.D.parameters(), lr=4e-3),
        }

    def modules(self) -> Any:
        return {"G": self.G, "D": self.D}

    def extra(self) -> dict[str, Any]:
        return {"D": self.D, **self.optimizers}

    @property
    def model(self) -> nn.Module:  # type: ignore[override]
        return self.G

    @property
    def optimizer(self) -> torch.optim.Optimizer:  # type: ignore[override]
        return self.optimizers["G"]

    def update(self, name: str, loss: torch.Tensor) -> None:
        held = [p for group in self.optimizers[name].param_groups for p in group["params"]]
        norm = float(torch.nn.utils.get_total_norm([p.grad for p in held if p.grad is not None]))
        self.seen[name].append((self.step, loss.item(), norm))
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(held, self.clip)
        self.optimizers[name].step()

    def losses_of(self, real: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        fake = self.G(torch.randn(len(real), 4))
        self.fake = fake
        return fake, bce(self.D(real), torch.ones(len(real), 1)) + bce(
            self.D(fake.detach()), torch.zeros(len(real), 1)
        )

    def train(self, real: torch.Tensor) -> None:
        fake, judged = self.losses_of(real)
        self.optimizers["D"].zero_grad()
        judged.backward()
        self.update("D", judged)
        self.optimizers["G"].zero_grad()
        fooled = bce(self.D(fake), torch.ones(len(real), 1))
        fooled.backward()
        self.update("G", fooled)

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for (real,) in batches(self.loader):
                self.train(real)
                for scheduler in self.schedulers:
                    scheduler.step()
                self.losses.append(self.seen["D"][-1][1])
                self.step += 1


class GeneratorFirst(Gan):
    def train(self, real: torch.Tensor) -> None:
        fake = self.G(torch.randn(len(real), 4))
        self.optimizers["G"].zero_grad()
        fooled = bce(self.D(fake), torch.ones(len(real), 1))
        fooled.backward()
        self.update("G", fooled)
        self.optimizers["D"].zero_grad()
        judged = bce(self.D(real), torch.ones(len(real), 1)) + bce(
            self.D(fake.detach()), torch.zeros(len(real), 1)
        )
        judged.backward()
        self.update("D", judged)


class BothBackwardFirst(Gan):
    """Both losses go backward before either optimizer steps; gradients are zeroed in place."""

    def train(self, real: torch.Tensor) -> None:
        fake, judged = self.losses_of(real)
        self.optimizers["G"].zero_grad(set_to_none=False)
        fooled = bce(self.D(fake), torch.ones(len(real), 1))
        fooled.backward()
        self.optimizers["D"].zero_grad(set_to_none=False)
        judged.backward()
        self.update("D", judged)
        self.update("G", fooled)


class ClearedAtTheEnd(Gan):
    def train(self, real: torch.Tensor) -> None:
        fake, judged = self.losses_of(real)
        judged.backward()
        self.update("D", judged)
        for parameter in self.D.parameters():
            parameter.requires_grad_(False)
        fooled = bce(self.D(fake), torch.ones(len(real), 1))
        fooled.backward()
        self.update("G", fooled)
        for parameter in self.D.parameters():
            parameter.requires_grad_(True)
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()


class Critic(Gan):
    """The generator learns at every third batch; weights of the critic are cut (WGAN)."""

    def train(self, real: torch.Tensor) -> None:
        fake = self.G(torch.randn(len(real), 4))
        self.optimizers["D"].zero_grad()
        judged = self.D(fake.detach()).mean() - self.D(real).mean()
        judged.backward()
        self.update("D", judged)
        with torch.no_grad():
            for parameter in self.D.parameters():
                parameter.clamp_(-0.5, 0.5)
        if self.step % 3 == 2:
            self.optimizers["G"].zero_grad()
            fooled = -self.D(fake).mean()
            fooled.backward()
            self.update("G", fooled)


class OneLoss(Gan):
    """Body and head of one model learn by one loss, with optimizers of two kinds."""

    def make_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        self.whole = mlp()
        self.loader = DataLoader(TensorDataset(X), batch_size=16, shuffle=True)
        return {
            "body": torch.optim.Adam(self.whole[0].parameters(), lr=1e-3),
            "head": torch.optim.SGD(self.whole[3].parameters(), lr=1e-2, momentum=0.9),
        }

    def modules(self) -> Any:
        return self.whole

    @property
    def model(self) -> nn.Module:  # type: ignore[override]
        return self.whole

    @property
    def optimizer(self) -> torch.optim.Optimizer:  # type: ignore[override]
        return self.optimizers["body"]

    def train(self, real: torch.Tensor) -> None:
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        loss = functional.mse_loss(self.whole(real), real.sum(1, keepdim=True))
        loss.backward()
        self.update("body", loss)
        self.update("head", loss)

    def run(self, epochs: Epochs, batches: Batches) -> None:
        for _ in epochs(self.epochs):
            for (real,) in batches(self.loader):
                self.train(real)
                self.losses.append(self.seen["head"][-1][1])
                self.step += 1


class Scheduled(Gan):
    schedules = True


class Grows(Gan):
    """The discriminator gets another parameter in the third step."""

    def train(self, real: torch.Tensor) -> None:
        if self.step == 3:
            self.D.register_parameter("shift", nn.Parameter(torch.ones(8)))
            self.optimizers["D"].add_param_group({"params": [self.D.shift]})
        super().train(real if self.step < 3 else real + self.D.shift)


class Temperature(Gan):
    """An optimizer holds a parameter outside of the modules, as of the entropy in SAC."""

    def make_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        self.temperature = nn.Parameter(torch.ones(1))
        made = super().make_optimizers()
        return {**made, "T": torch.optim.Adam([self.temperature], lr=1e-2)}

    def extra(self) -> dict[str, Any]:
        return {**super().extra(), "temperature": self.temperature}

    def train(self, real: torch.Tensor) -> None:
        super().train(real)
        self.optimizers["T"].zero_grad()
        loss = (self.temperature * self.fake.detach().mean() - 1).square().sum()
        loss.backward()
        self.update("T", loss)


KINDS = [
    Gan, GeneratorFirst, BothBackwardFirst, ClearedAtTheEnd, Critic, OneLoss, Scheduled,
    Temperature, Grows,
]  # fmt: skip


def watch(loop: Gan, **keywords: Any) -> Any:
    return nbd.watch(loop.modules(), loop.optimizers, runs=None, **keywords)


def bare(kind: type[Gan]) -> Gan:
    loop = kind()
    loop.run(range, iter)
    return loop


@pytest.mark.parametrize("kind", KINDS)
def test_a_watched_loop_equals_the_bare_one(kind: type[Gan]) -> None:
    plain, loop = bare(kind), kind()
    with watch(loop) as dbg:
        loop.run(dbg.epochs, dbg.batches)
        assert [n.title for n in dbg.history.notices if "failed" in n.title] == []
        for name, optimizer in loop.optimizers.items():
            found = dbg.history.frame([f"loss/{name}", f"grad_norm/{name}", f"lr/{name}"]).dropna()
            steps, losses, norms = zip(*plain.seen[name], strict=True)
            assert found.index.tolist() == list(steps)
            assert found[f"loss/{name}"].tolist() == pytest.approx(losses, rel=1e-6)
            assert found[f"grad_norm/{name}"].tolist() == pytest.approx(norms, rel=1e-6)
            assert found[f"lr/{name}"].iloc[0] == optimizer.defaults["lr"]
        whole = dbg.history.frame(["loss", "grad_norm"]).iloc[-1]
    last = [seen[-1] for seen in plain.seen.values() if seen[-1][0] == plain.step - 1]
    # A loss that both follow counts once.
    wanted = last[0][1] if kind is OneLoss else sum(loss for _, loss, _ in last)
    assert whole["loss"] == pytest.approx(wanted, rel=1e-6)
    assert whole["grad_norm"] == pytest.approx(math.hypot(*(n for _, _, n in last)), rel=1e-6)
    assert loop.losses == plain.losses
    assert bitwise_equal(loop.state(), plain.state())


@pytest.mark.parametrize("kind", [one for one in KINDS if one not in (Critic, Grows)])
def test_a_loop_that_was_rewound_and_forked_equals_the_bare_one(kind: type[Gan]) -> None:
    plain, loop = bare(kind), kind()
    middle = len(plain.losses) // 2
    with watch(loop) as dbg:
        dbg.break_when(f"step >= {middle}")
        dbg.run(lambda: loop.run(dbg.epochs, dbg.batches))
        assert dbg.wait(60)
        dbg.clear_breakpoints()
        here = dbg.history.status.step
        assert dbg.replay().equal
        for step in (here - 1, here // 2, 0):
            dbg.rewind(step)
            dbg.run(steps=here - step)
            assert dbg.replay().equal
        assert not dbg.fork(2, lr=[dbg.controls["lr"]]).difference.any()
        with pytest.raises(nbd.LoopLeft):
            dbg.run(steps=10_000)
    assert bitwise_equal(loop.state(), plain.state())


def test_a_learning_rate_of_one_optimizer_is_changed() -> None:
    class Changes(Gan):
        change: Any = None
        schedules = True

        def train(self, real: torch.Tensor) -> None:
            if self.step == 5:
                self.change()
            super().train(real)

    rates: dict[bool, Any] = {}
    for changed in (False, True):
        loop = Changes()
        with watch(loop) as dbg:
            loop.change = lambda dbg=dbg, on=changed: (
                dbg.set(lr={"D": 0.1 * dbg.controls["lr"]["D"]}) if on else None
            )
            loop.run(dbg.epochs, dbg.batches)
            rates[changed] = dbg.history.frame(["lr/G", "lr/D"])
    plain, scaled = rates[False], rates[True]
    assert scaled["lr/G"].tolist() == plain["lr/G"].tolist()
    assert scaled["lr/D"].iloc[:6].tolist() == plain["lr/D"].iloc[:6].tolist()
    wanted = [0.1 * rate for rate in plain["lr/D"].iloc[6:]]
    assert scaled["lr/D"].iloc[6:].tolist() == pytest.approx(wanted)


def test_each_optimizer_clips_its_own_gradients() -> None:
    plain = Gan()
    plain.clip = 0.05
    plain.run(range, iter)
    loop = Gan()
    with watch(loop, clip_mode="norm", clip_threshold=0.05) as dbg:
        loop.run(dbg.epochs, dbg.batches)
        after = dbg.history.frame(["grad_norm_clipped/D", "clipped"])
    assert loop.losses == plain.losses
    assert bitwise_equal(loop.state(), plain.state())
    assert after["grad_norm_clipped/D"].max() == pytest.approx(0.05, rel=1e-4)
    assert after["clipped"].min() == 1.0


def test_each_optimizer_has_a_threshold_of_its_own() -> None:
    loop = Gan()
    with watch(loop, clip_mode="norm") as dbg:
        dbg.set(clip_threshold={"D": 0.02})
        assert dbg.controls["clip_threshold"] == {"G": 1.0, "D": 0.02}
        loop.run(dbg.epochs, dbg.batches)
        found = dbg.history.frame(["grad_norm/G", "grad_norm_clipped/G", "grad_norm_clipped/D"])
        dbg.set(clip_threshold=0.5)
        assert dbg.controls["clip_threshold"] == 0.5
    assert found["grad_norm_clipped/G"].tolist() == found["grad_norm/G"].tolist()
    assert found["grad_norm_clipped/D"].max() == pytest.approx(0.02, rel=1e-4)


@pytest.mark.parametrize("sick", ["G", "D"])
def test_nan_in_one_of_them_undoes_the_step_of_both(sick: str) -> None:
    class Fails(Gan):
        bad = math.nan

        def make(self) -> None:
            super().make()
            self.sums: list[float] = []

        def train(self, real: torch.Tensor) -> None:
            self.sums.append(float(real.sum()))
            super().train(real)

        def update(self, name: str, loss: torch.Tensor) -> None:
            if name == sick and self.sums[-1] == self.bad:
                for parameter in self.modules()[name].parameters():
                    parameter.grad.mul_(math.nan)
            super().update(name, loss)

    plain, loop = bare(Fails), Fails()
    loop.bad = plain.sums[5]  # type: ignore[attr-defined]
    with watch(loop) as dbg:
        dbg.break_when("step >= 4")
        dbg.run(lambda: loop.run(dbg.epochs, dbg.batches))
        assert dbg.wait(30)
        dbg.clear_breakpoints()
        assert dbg.history.status.step == 5
        before = loop.state()
        with pytest.raises(nbd.NonFiniteError):
            dbg.step(1)
        assert bitwise_equal(loop.state(), before)
        dbg.step(2)
        assert dbg.history.status.step == 7
        assert dbg.replay().equal


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"lr": {"X": 1e-3}}, "Did you mean|There are|optimizer"),
        ({"lr": {"G": -1.0}}, "lr of G"),
        ({"lr": -1.0}, "lr must be"),
        ({"clip_threshold": {"E": 1.0}}, "optimizer"),
        ({"schedule": "cosine"}, "several optimizers"),
        ({"optimizer": "sgd"}, "its own optimizer"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(values: dict[str, Any], why: str) -> None:
    with watch(Gan()) as dbg, pytest.raises(nbd.ControlValueError, match=why):
        dbg.set(**values)


def test_wrong_arguments_are_refused() -> None:
    loop = Gan()
    one = loop.optimizers["G"]
    wrong: list[tuple[Any, Any, type[Exception], str]] = [
        ({"G": loop.G}, [one], nbd.ArgumentError, "give names"),
        ({"G": loop.G}, {"G": 3}, nbd.ArgumentError, "G a int"),
        ({"G": loop.G}, {}, nbd.ArgumentError, "nothing"),
        ({"G": loop.G}, {"G": one, "D": one}, nbd.ArgumentError, "same parameter"),
        ({"G": 3}, one, nbd.ModelError, "G a int"),
        ({}, one, nbd.ModelError, "no module"),
        ({"a.b": loop.G}, one, nbd.ArgumentError, "a.b"),
        ({"G": loop.D}, {"G": one}, nbd.ModelError, "does not hold"),
        ({"G": loop.G}, "adam", nbd.ArgumentError, "torch.optim.Optimizer"),
    ]
    for model, optimizer, error, why in wrong:
        with pytest.raises(error, match=why):
            nbd.watch(model, optimizer, runs=None)


def test_one_debugger_steps_with_several_optimizers() -> None:
    def made() -> tuple[nn.Sequential, dict[str, torch.optim.Optimizer]]:
        torch.manual_seed(0)
        model = mlp(dropout=0.0)
        return model, {
            "body": torch.optim.Adam(model[0].parameters(), lr=1e-3),
            "head": torch.optim.SGD(model[3].parameters(), lr=1e-2, momentum=0.9),
        }

    loader = DataLoader(TensorDataset(X, Y), batch_size=96)
    plain, optimizers = made()
    for x, y in [(X, Y)] * 20:
        for one in optimizers.values():
            one.zero_grad()
        functional.mse_loss(plain(x), y).backward()
        for one in optimizers.values():
            one.step()
    model, named = made()
    with nbd.Debugger(model, loader, nn.MSELoss(), optimizer=named, runs=None) as dbg:
        dbg.run(steps=10)
        dbg.fork(5, lr=[1e-2])
        dbg.rewind(4)
        dbg.run(steps=16)
        assert dbg.replay().equal
        assert dbg.controls["lr"] == {"body": 1e-3, "head": 1e-2}
        assert dbg.history.frame("lr/head")["lr/head"].iloc[-1] == 1e-2
        dbg.set(lr={"body": 0.5})
        assert named["body"].param_groups[0]["lr"] == 0.5
    assert bitwise_equal(model.state_dict(), plain.state_dict())


def test_options_that_differ_are_not_set_to_one_value() -> None:
    loop = Gan()
    loop.optimizers["D"].param_groups[0]["betas"] = (0.5, 0.999)
    with watch(loop) as dbg:
        with pytest.raises(nbd.ControlValueError, match="differ in it"):
            dbg.set(momentum=0.8)
        dbg.set(beta2=0.99, weight_decay=1e-3)
    assert loop.optimizers["D"].param_groups[0]["betas"] == (0.5, 0.99)


def test_a_training_with_several_optimizers_is_resumed(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def made() -> tuple[nn.Sequential, dict[str, torch.optim.Optimizer]]:
        torch.manual_seed(0)
        model = mlp()
        return model, {
            "body": torch.optim.Adam(model[0].parameters(), lr=1e-3),
            "head": torch.optim.SGD(model[3].parameters(), lr=1e-2, momentum=0.9),
        }

    whole, named = made()
    with nbd.Debugger(whole, (X, Y), nn.MSELoss(), optimizer=named, batch_size=8, runs=None) as dbg:
        dbg.run(steps=14)
    first, named = made()
    keywords: dict[str, Any] = {"batch_size": 8, "name": "several", "runs": None}
    with nbd.Debugger(first, (X, Y), nn.MSELoss(), optimizer=named, **keywords) as dbg:
        dbg.run(steps=9)
    again, named = made()
    with nbd.Debugger.resume(
        "several", again, (X, Y), nn.MSELoss(), optimizer=named, runs=None
    ) as dbg:
        dbg.run(steps=5)
    assert bitwise_equal(again.state_dict(), whole.state_dict())
    model, named = made()
    named["tail"] = named.pop("head")
    with pytest.raises(nbd.NbdebugError, match="body, head"):
        nbd.Debugger.resume("several", model, (X, Y), nn.MSELoss(), optimizer=named)
    with pytest.raises(nbd.NbdebugError, match=r"several|JointOptimizer|body"):
        nbd.Debugger.resume("several", made()[0], (X, Y), nn.MSELoss(), optimizer="adam")


class Sparse(OneLoss):
    """The embedding has sparse gradients, and the optimizer for them."""

    def make(self) -> None:
        super().make()
        words = torch.randint(0, 20, (96, 5))
        self.loader = DataLoader(TensorDataset(words), batch_size=16, shuffle=True)

    def make_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        bag = nn.EmbeddingBag(20, 8, sparse=True)
        self.whole = nn.Sequential(bag, nn.Linear(8, 1))
        return {
            "body": torch.optim.SparseAdam(bag.parameters(), lr=1e-2),
            "head": torch.optim.SGD(self.whole[1].parameters(), lr=1e-2),
        }

    def train(self, real: torch.Tensor) -> None:
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        loss = self.whole(real).square().mean()
        loss.backward()
        for name, optimizer in self.optimizers.items():
            self.seen[name].append((self.step, loss.item(), 0.0))
            optimizer.step()


@pytest.mark.parametrize("alone", [False, True])
def test_sparse_gradients_are_measured_and_the_loop_goes_on(alone: bool) -> None:
    plain, loop = bare(Sparse), Sparse()
    given: Any = loop.optimizers["body"] if alone else loop.optimizers
    with nbd.watch(loop.whole, given, runs=None) as dbg:
        loop.run(dbg.epochs, dbg.batches)
        assert [n.title for n in dbg.history.notices] == []
        assert dbg.history.frame("grad_norm")["grad_norm"].min() > 0
        dbg.set(clip_mode="value")
    assert loop.losses == plain.losses
    assert bitwise_equal(loop.state(), plain.state())


def test_what_cannot_be_clipped_leaves_the_loop_alone() -> None:
    plain, loop = bare(Sparse), Sparse()
    with watch(loop, clip_mode="value", clip_threshold=1e-9) as dbg:
        loop.run(dbg.epochs, dbg.batches)
        assert "Gradients could not be measured or clipped" in [
            n.title for n in dbg.history.notices
        ]
    assert len(loop.losses) == len(plain.losses)


def test_an_update_whose_loss_is_not_seen_leaves_the_sum_as_it_is() -> None:
    class ByHand(Gan):
        def train(self, real: torch.Tensor) -> None:
            fake, judged = self.losses_of(real)
            held = list(self.D.parameters())
            for parameter, gradient in zip(held, torch.autograd.grad(judged, held), strict=True):
                parameter.grad = gradient
            self.update("D", judged)
            self.optimizers["G"].zero_grad()
            fooled = bce(self.D(fake), torch.ones(len(real), 1))
            fooled.backward()
            self.update("G", fooled)

    loop = ByHand()
    with watch(loop) as dbg:
        loop.run(dbg.epochs, dbg.batches)
        found = dbg.history.frame(["loss", "loss/G", "loss/D"])
    assert found["loss"].tolist() == found["loss/G"].tolist()
    assert found["loss/D"].isna().all()
