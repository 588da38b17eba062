"""Faults that look like the healthy programs beside them: they are still found."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import Dataset

import nbdebug as nbd
from nbdebug.core.results.checks.check_result import CheckResult
from nbdebug.core.results.findings import Finding
from tests.programs.losses import classes, mlp
from tests.programs.networks import Squeeze, conv, head, mnasnet
from tests.programs.program import images, tokens
from tests.programs.sequences import Bert

CE = nn.CrossEntropyLoss()
X = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
Y = classes(X)
T = X.sum(1)


def check(name: str, model: nn.Module, data: Any, loss_fn: Any = CE, **options: Any) -> CheckResult:
    with (
        warnings.catch_warnings(action="ignore"),
        nbd.Debugger(model, data, loss_fn, runs=None, **{"batch_size": 16, **options}) as dbg,
    ):
        return dbg.check(name)[name]


def found(model: nn.Module, steps: int = 150, **options: Any) -> Finding | None:
    given = {
        "runs": None,
        "batch_size": 16,
        "optimizer": "sgd",
        "lr": 0.05,
        "overhead": 1.0,
        **options,
    }
    with nbd.Debugger(model, (X, Y), CE, **given) as dbg:
        dbg.run(steps=steps)
        return next((f for f in dbg.findings if f.name == "unchanged_parameters"), None)


normal = torch.distributions.Normal
CROSSED: dict[str, tuple[int, Any, Any]] = {
    "subtracted": (1, T, lambda o, t: ((o - t) ** 2).mean()),
    "subtracted the other way": (1, T, lambda o, t: (t - o).abs().mean()),
    "mse": (1, T, nn.MSELoss()),
    "huber": (1, T, nn.HuberLoss()),
    "poisson": (1, T.abs(), nn.PoissonNLLLoss()),
    "squeezed against a column": (1, T[:, None], lambda o, t: F.mse_loss(o.squeeze(1), t)),
    "a column made in the loss": (1, T, lambda o, t: (o.squeeze(1) - t.view(-1, 1)).abs().mean()),
    "a likelihood": (2, T, lambda o, t: -normal(o[:, :1], o[:, 1:].exp()).log_prob(t).mean()),
    "weights of samples": (
        1, torch.stack([T, T.abs()], 1),
        lambda o, t: (F.mse_loss(o, t[:, :1], reduction="none") * t[:, 1]).mean(),
    ),
    "a margin": (1, T.sign(), lambda o, t: F.relu(1 - o * t).mean()),
    "classes as numbers": (1, (T > 0).long(), lambda o, t: ((o.sigmoid() - t) ** 2).mean()),
}  # fmt: skip


@pytest.mark.parametrize("name", CROSSED)
def test_a_loss_that_compares_every_output_with_every_target(name: str) -> None:
    out, targets, loss_fn = CROSSED[name]
    result = check("broadcast", mlp(out), (X, targets), loss_fn)
    assert result.status == "fail"
    assert "(16, 16)" in result.seen


def test_a_broadcast_in_what_is_only_logged_is_no_fault() -> None:
    def loss_fn(o: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        print(float((o.detach() - t).abs().mean()), end="\r")
        return F.mse_loss(o[:, 0], t)

    assert check("broadcast", mlp(), (X, T), loss_fn).status == "pass"


def broken(model: nn.Module, path: str) -> nn.Module:
    nn.init.constant_(model.get_parameter(path), -100.0)
    return model


def test_a_dead_layer_of_a_network_for_images() -> None:
    model = nn.Sequential(conv(3, 16), conv(16, 16), *head(16, 0.2))
    result = check("dead_units", broken(model, "1.1.bias"), images(8))
    assert (result.status, "1.2" in result.seen) == ("fail", True)


def test_a_wide_dead_branch_is_a_warning() -> None:
    model = nn.Sequential(conv(3, 32), Squeeze(32, 32), *head(32, 0.2))
    assert check("dead_units", broken(model, "1.fc1.bias"), images(8)).status == "warning"


def test_dropout_in_front_of_a_batchnorm_of_a_deep_network() -> None:
    blocks = [m for _ in range(4) for m in (nn.Dropout(0.6), conv(16, 16))]
    model = nn.Sequential(conv(3, 16), *blocks, *head(16, 0.0))
    result = check("dropout_before_batchnorm", model, images(8))
    assert result.status == "warning"
    assert 1.5 < float(result.seen.split(" is ")[1].split()[0]) < 10


def test_gradients_that_vanish_in_sigmoids_and_not_in_an_encoder() -> None:
    deep = nn.Sequential(*[m for _ in range(12) for m in (nn.Linear(8, 8), nn.Sigmoid())])
    assert check("gradient_ratio", nn.Sequential(deep, nn.Linear(8, 3)), (X, Y)).status == "warning"
    assert check("gradient_ratio", Bert(8), tokens()).status == "pass"


def test_a_layer_that_no_batch_uses() -> None:
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.spare = mlp(3), nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x)  # type: ignore[no-any-return]

    result = check("zero_gradient", Unused(), (X, Y))
    assert (result.status, "spare.weight" in result.seen) == ("warning", True)
    finding = found(Unused())
    assert finding is not None
    assert finding.severity == "warning"
    assert "No gradient reached spare.weight, spare.bias" in finding.seen


def test_a_parameter_that_the_optimizer_does_not_hold_is_an_error() -> None:
    model = mlp(3)
    optimizer = torch.optim.SGD(model[2:].parameters(), lr=0.05)
    finding = found(model, 40, optimizer=optimizer, lr=None)
    assert finding is not None
    assert finding.severity == "error"
    assert "reaches 0.weight, 0.bias, and the optimizer does not hold them" in finding.seen


class Skipping(torch.optim.SGD):
    """Holds the first layer and never updates it."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        held = self.param_groups[0]["params"]
        self.param_groups[0]["params"] = held[2:]
        super().step(closure)
        self.param_groups[0]["params"] = held


def test_an_optimizer_that_passes_over_a_layer_is_an_error() -> None:
    finding = found(mlp(3), optimizer=lambda p: Skipping(p, lr=0.05), lr=None)
    assert finding is not None
    assert finding.severity == "error"
    assert "The optimizer holds them" in finding.seen


def test_a_group_with_a_rate_of_0_is_named_as_such() -> None:
    model = mlp(3)
    groups = [{"params": model[2:].parameters()}, {"params": model[0].parameters(), "lr": 0.0}]
    finding = found(model, optimizer=torch.optim.SGD(groups, lr=0.05), lr=None)
    assert finding is not None
    assert finding.severity == "warning"
    assert "The learning rate of the group of 0.weight, 0.bias is 0" in finding.seen


def test_a_finding_goes_when_the_parameter_learns() -> None:
    model = mlp(3)
    model[0].requires_grad_(True)
    groups = [{"params": model[2:].parameters()}, {"params": model[0].parameters(), "lr": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=0.05)
    with nbd.Debugger(model, (X, Y), CE, runs=None, overhead=1.0, optimizer=optimizer) as dbg:
        dbg.run(steps=150)
        assert "unchanged_parameters" in dbg.findings.names
        optimizer.param_groups[1]["lr"] = 0.05
        dbg.run(steps=150)
        assert "unchanged_parameters" not in dbg.findings.names


def test_a_fork_to_a_higher_rate_is_not_blamed_on_a_schedule() -> None:
    with nbd.Debugger(mlp(3), (X, Y), CE, runs=None, lr=1e-3) as dbg:
        dbg.run(steps=40)
        dbg.set(lr=1e-4)
        dbg.run(steps=10)
        (trial,) = dbg.fork(20, lr=[1e-3]).result.trials
        assert "schedule_undoes_edit" not in trial.findings.names
        dbg.optimizer.param_groups[0]["lr"] = 1e-4
        assert "schedule_undoes_edit" not in dbg.findings.names


def test_a_warm_up_that_raises_an_edited_rate_is_found_also_in_a_fork() -> None:
    with nbd.Debugger(mlp(3), (X, Y), CE, runs=None, lr=1e-2, warmup_steps=100) as dbg:
        dbg.run(steps=30)
        before = dbg.controls["lr"]
        dbg.set(lr=before / 2)
        base = dbg.fork(100, batch_size=[8]).result.base
        assert "schedule_undoes_edit" in base.findings.names
        dbg.run(steps=100)
        assert "schedule_undoes_edit" in dbg.findings.names


def test_shapes_gives_a_step_function_its_gradients_and_still_names_a_layer() -> None:
    def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        loss = CE(model(batch[0]), batch[1])
        torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
        return loss

    assert check("shapes", mlp(3), (X, Y), None, step_fn=step_fn).status == "pass"
    wrong = nn.Sequential(nn.Linear(8, 4), nn.Linear(5, 3))
    result = check("shapes", wrong, (X, Y), None, step_fn=step_fn)
    assert (result.status, result.seen.startswith("1 (Linear)")) == ("fail", True)


def test_only_steps_under_the_new_threshold_count_as_clipped() -> None:
    with nbd.Debugger(mlp(3), (X, Y), CE, runs=None) as dbg:
        dbg.run(steps=60)
        dbg.set(clip_mode="norm", clip_threshold=1e-3)
        assert dbg.check("clip_threshold")["clip_threshold"].status == "not_applicable"
        dbg.run(steps=30)
        result = dbg.check("clip_threshold")["clip_threshold"]
        assert (result.status, "100% of 30 steps" in result.seen) == ("warning", True)
        dbg.set(clip_threshold=1e3)
        dbg.run(steps=25)
        result = dbg.check("clip_threshold")["clip_threshold"]
        assert (result.status, "0% of 25 steps" in result.seen) == ("pass", True)
        dbg.rewind(80)
        assert "of 20 steps" in dbg.check("clip_threshold")["clip_threshold"].seen


OWN = {"numpy": np.random.default_rng(0).random, "python": random.Random(0).random}
GLOBAL: dict[str, Callable[[], Any]] = {
    "numpy": np.random.rand, "python": random.random, "torch": lambda: torch.rand(()),
}  # fmt: skip


class Noisy(Dataset[Any]):
    def __init__(self, draw: Callable[[], Any]) -> None:
        self.draw = draw

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> Any:
        return X[index] + float(self.draw()), Y[index]


class NoisyNet(nn.Module):
    def __init__(self, draw: Callable[[], Any]) -> None:
        super().__init__()
        self.body, self.draw = mlp(3), draw

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x + float(self.draw()))  # type: ignore[no-any-return]


@pytest.mark.parametrize("place", ["data", "model"])
@pytest.mark.parametrize(
    ("draw", "repeats"),
    [(draw, True) for draw in GLOBAL.values()] + [(draw, False) for draw in OWN.values()],
)
def test_seeds_warns_exactly_where_a_replay_differs(
    place: str, draw: Callable[[], Any], repeats: bool
) -> None:
    model = NoisyNet(draw) if place == "model" else mlp(3)
    data = Noisy(draw) if place == "data" else (X, Y)
    # A generator of NumPy in a dataset goes back with the training.
    repeats = repeats or (place == "data" and draw is OWN["numpy"])
    with nbd.Debugger(model, data, CE, runs=None, batch_size=16) as dbg:
        before = dbg.check("seeds")["seeds"].status
        dbg.run(steps=8)
        equal = dbg.replay().equal
        assert (before, dbg.check("seeds")["seeds"].status) == (
            ("pass", "pass") if repeats else ("warning", "warning")
        )
    assert equal is repeats


@pytest.mark.parametrize(
    ("generator", "status"),
    [
        (np.random.default_rng, "warning"),
        (lambda: np.random.default_rng(7), "pass"),
        (lambda: np.random.Generator(np.random.PCG64()), "warning"),
        (lambda: np.random.default_rng(np.random.SeedSequence(3).spawn(2)[1]), "pass"),
        (torch.Generator, "pass"),
        (lambda: torch.Generator().manual_seed(2**31), "pass"),
        (lambda: random.Random(3), "pass"),
    ],
)
def test_seeds_warns_of_a_generator_of_the_dataset_without_a_seed(
    generator: Callable[[], Any], status: str
) -> None:
    data = Noisy(lambda: 0.0)
    data.rng = generator()  # type: ignore[attr-defined]
    with nbd.Debugger(mlp(3), data, CE, runs=None, batch_size=16) as dbg:
        assert dbg.check("seeds")["seeds"].status == status


def test_draws_that_began_late_are_not_seeded() -> None:
    class Late(NoisyNet):
        turn = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x + float(self.draw())) if self.late else self.body(x)  # type: ignore[no-any-return]

        late = False

    model = Late(random.random)
    with nbd.Debugger(model, (X, Y), CE, runs=None, batch_size=16) as dbg:
        dbg.run(steps=8)
        model.late = True
        assert dbg.check("seeds")["seeds"].status == "warning"


def test_a_report_judges_what_nobody_asked_for(tmp_path: Path) -> None:
    model = mlp(3)
    optimizer = torch.optim.SGD(model[2:].parameters(), lr=0.05)
    with nbd.Debugger(model, (X, Y), CE, runs=None, optimizer=optimizer) as dbg:
        dbg.run(steps=40)
        page = dbg.report(tmp_path / "report.html").read_text("utf-8")
    assert "does not hold them" in page
    assert "No rule reported a problem" not in page


def test_a_stored_run_is_judged_at_its_end(tmp_path: Path) -> None:
    model, store = mlp(3), tmp_path / "runs.db"
    optimizer = torch.optim.SGD(model[2:].parameters(), lr=0.05)
    with nbd.Debugger(model, (X, Y), CE, runs=store, name="mine", optimizer=optimizer) as dbg:
        dbg.run(steps=40)
    page = nbd.load_run("mine", store).report(tmp_path / "report.html").read_text("utf-8")
    assert "does not hold them" in page


def passed_in_eval() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 3))


def test_a_model_in_eval_mode_is_told_of_and_a_control_calls_train() -> None:
    model = passed_in_eval().eval()
    with nbd.Debugger(model, (X, Y), CE, runs=None) as dbg:
        (notice,) = dbg.history.notices
        assert (notice.severity, notice.title) == ("warning", "The model was passed in eval mode")
        proposal = dbg.check("train_eval")["train_eval"].proposal
        assert proposal is not None
        dbg.run(steps=3)
        assert not model[2].training
        dbg.set(**{proposal.control: proposal.value})
        dbg.run(steps=3)
        assert all(module.training for module in model.modules())
        dbg.rewind(2)
        assert not any(module.training for module in model.modules())
        assert dbg.controls["mode"] == "as_passed"


def test_training_mode_from_the_start_equals_a_model_passed_in_training_mode() -> None:
    ends = []
    for model, options in ((passed_in_eval().eval(), {"mode": "train"}), (passed_in_eval(), {})):
        with nbd.Debugger(model, (X, Y), CE, runs=None, **options) as dbg:
            dbg.run(steps=10)
            assert not dbg.history.notices
        ends.append([p.detach().clone() for p in model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))


def test_a_frozen_batchnorm_is_told_of_and_left_alone() -> None:
    model = passed_in_eval()
    model[1].eval()
    with nbd.Debugger(model, (X, Y), CE, runs=None) as dbg:
        (notice,) = dbg.history.notices
        assert (notice.severity, notice.title) == ("info", "Some layers are in eval mode")
        dbg.check()
        dbg.run(steps=3)
    assert [module.training for module in model] == [True, False, True, True]


def test_a_batchnorm_that_hardly_follows_is_no_dead_network() -> None:
    model, data, _ = mnasnet()
    assert check("dead_units", model, data).status == "pass"
